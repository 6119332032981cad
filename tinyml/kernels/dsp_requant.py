"""Finds numbers with which a convolution's two roundings are one, for the forms TM_REQUANT_2_n of tm_dsp.h.

TFLite rounds an accumulator twice, ties away from zero. Where every output below the zero point saturates, as
behind a ReLU with zero point -128, that is a staircase of at most 255 steps, and a line rounded once can have
the same ones at every accumulator that can occur: two instructions instead of three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

SHIFTS = (4, 2)
"""Right shifts that the kernels have code for; the larger is the more precise."""

_NUDGES = 64  # of the factor, to both sides
_OFFSETS = 1 << 14  # of the bias, tried at a time
_ROUNDS = 64  # of them, before a channel is given up
_FAR = 1 << 62
_LARGEST = (1 << 23) - _ROUNDS * _OFFSETS
"""Accumulators up to here, with an offset, times 256 are int32."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How TFLite rescales the accumulators of a layer, and what it adds.

    Args:
        multiplier: [channels] int64, from `numerics.conv_requant`.
        shift: [channels] int64, positive to the left.
        zero_point: of the output.
    """

    multiplier: Int64Array
    shift: Int64Array
    zero_point: int


@dataclass(frozen=True, slots=True)
class SingleRounding:
    """y = clamp(((acc + bias_offset) · factor + (addend << 32)) >> (32 + shift)), in 64 bits.

    In the odd channel of a packed pair 256 times the sum is scaled, and shifted by 8 more.

    Args:
        shift: of all channels.
        bias_offset: [channels] int64, to be added to the biases.
        factor: [channels] int64, an int32.
        addend: [channels] int64, an int32; holds the zero point.
    """

    shift: int
    bias_offset: Int64Array
    factor: Int64Array
    addend: Int64Array


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What a line must meet: from which accumulator on it reaches a value, and up to which it does not."""

    reached: Int64Array
    reached_from: Int64Array
    beyond: Int64Array
    beyond_to: Int64Array

    def windows(self, factors: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the least constants that, added to factor · acc, meet them, and one past the greatest."""
        low = np.max(self.reached - np.outer(factors, self.reached_from), axis=1, initial=-_FAR)
        high = np.min(self.beyond - np.outer(factors, self.beyond_to), axis=1, initial=_FAR)
        return low, high


def single_rounding(
    scaling: Scaling, lowest: Int64Array, highest: Int64Array, *, packed_pairs: bool
) -> SingleRounding | None:
    """Return numbers that give TFLite's output for every accumulator that can occur, or None.

    Args:
        scaling: of the layer.
        lowest: [channels], the least accumulator that the weights and the bias can give.
        highest: [channels], the greatest.
        packed_pairs: whether odd channels come as packed pairs leave them (tm_requant_odd_dsp).
    """
    right = -scaling.shift
    if scaling.zero_point != -128 or np.any(scaling.multiplier < 1 << 30) or np.any(right < 1):
        return None
    if (
        np.any(lowest < -_LARGEST)
        or np.any(highest > _LARGEST)
        or np.any((right > 22) & (highest >= 1 << 21))
    ):
        return None
    steps = _steps(scaling)
    # Where no step can occur, any factor does.
    varies = np.any((steps > lowest[:, None]) & (steps <= highest[:, None]), axis=1)
    scale = scaling.multiplier / 2.0**31 * 2.0**scaling.shift
    largest = float(np.max(scale, where=varies, initial=2.0**-20))
    odd = np.arange(lowest.size) % 2 == 1
    odd &= packed_pairs & (np.arange(lowest.size) < lowest.size // 2 * 2)
    for shift in SHIFTS:
        if round(largest * 2.0 ** (32 + shift)) + _NUDGES >= 1 << 31:
            continue
        numbers = []
        for c in range(lowest.size):
            if not varies[c]:
                value = int(np.searchsorted(steps[c], lowest[c], side="right")) - 128
                numbers.append((0, 0, value << shift + (8 if odd[c] else 0)))
                continue
            bounds = _bounds(steps[c], int(lowest[c]), int(highest[c]), shift)
            nearest = round(float(scale[c]) * 2.0 ** (32 + shift))
            found = _channel(nearest, bounds, 24 if odd[c] else 32)
            if found is None:
                break
            numbers.append(found)
        else:
            return SingleRounding(shift, *np.array(numbers, np.int64).T)
    return None


def _steps(scaling: Scaling) -> Int64Array:
    """Return [channels, 255]: the least accumulators that give 1, 2, ... above the zero point.

    There both of TFLite's roundings are to the nearest, halves up.
    """
    values = np.arange(1, 256, dtype=np.int64)
    right = np.minimum(-scaling.shift, 22)[:, None]  # beyond, the first step is too far for any accumulator
    product = (values[None, :] << right) - (1 << (right - 1))
    return -(-((product << 31) - (1 << 30)) // scaling.multiplier[:, None])


def _bounds(steps: Int64Array, lowest: int, highest: int, shift: int) -> _Bounds:
    values = np.arange(-127, 128, dtype=np.int64) << (32 + shift)
    reached, beyond = steps <= highest, steps > lowest
    return _Bounds(
        values[reached],
        np.maximum(steps[reached], lowest),
        values[beyond],
        np.minimum(steps[beyond] - 1, highest),
    )


def _channel(nearest: int, bounds: _Bounds, unit: int) -> tuple[int, int, int] | None:
    """Return (bias offset, factor, addend) of a channel, or None where none were found.

    The addend chooses the constant's bits from `unit` on, so factor times bias offset must hit those below.
    """
    factors = np.arange(nearest - _NUDGES, nearest + _NUDGES + 1)
    low, high = bounds.windows(factors)
    order = np.argsort(low - high)[: np.count_nonzero(low < high)]  # the widest window first
    for start in range(0, _ROUNDS * _OFFSETS, _OFFSETS):
        offsets = np.arange(start, start + _OFFSETS, dtype=np.int64)
        for at in order[: 4 if start else None].tolist():
            constants = offsets * factors[at]
            addends = -((constants - low[at]) >> unit)
            hits = np.flatnonzero((addends << unit) + constants < high[at])
            if hits.size:
                return int(offsets[hits[0]]), int(factors[at]), int(addends[hits[0]])
    return None
