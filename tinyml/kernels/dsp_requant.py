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
_AT_ONCE = 512  # channels, whose windows are in memory
_PIECE = 1 << 15  # numbers that are tried at once, of all channels together
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
class _Lines:
    """What a constant that is added to factor · acc must be: at least value − factor · at, of every line.

    Args:
        value: [channels, lines] int64, what is to be reached, or is not.
        at: [channels, lines] int64, the accumulator where that is so.
    """

    value: Int64Array
    at: Int64Array

    def greatest(self, factors: Int64Array) -> Int64Array:
        """Return the greatest number of the lines for each factor of a channel: [channels, factors].

        The factors ascend. Lines are left out that are at both ends of them below what one and the same line
        has at both.
        """
        first, last = (self.value - factors[:, end, None] * self.at for end in (0, -1))
        most = np.maximum(first, last)
        least = np.max(np.minimum(first, last), axis=1, keepdims=True)
        counts = np.count_nonzero(most >= least, axis=1)
        by_count = np.argsort(-counts, kind="stable")
        lines = np.argpartition(-most, counts.max() - 1, axis=1)[:, : counts.max()]
        lines = np.take_along_axis(lines, np.argsort(-np.take_along_axis(most, lines, 1), axis=1), 1)
        factors, lines = factors[by_count], lines[by_count]
        value, at = (np.take_along_axis(x[by_count], lines, 1) for x in (self.value, self.at))
        found = np.full(factors.shape, -_FAR)
        for i in range(lines.shape[1]):
            some = np.count_nonzero(counts > i)
            number = factors[:some] * -at[:some, i, None]
            number += value[:some, i, None]
            np.maximum(found[:some], number, out=found[:some])
        return found[np.argsort(by_count)]


@dataclass(frozen=True, slots=True)
class _Search:
    """Channels whose constant is looked for.

    The addend chooses the constant's bits from `unit` on, so factor times bias offset must hit those below.

    Args:
        factors: [channels, 2 · _NUDGES + 1] int64, the nearest to the scale and those around it.
        low: of the same shape, the least constants that will do.
        high: one past the greatest.
        unit: [channels] int64.
    """

    factors: Int64Array
    low: Int64Array
    high: Int64Array
    unit: Int64Array

    def hits(self, rows: Int64Array, columns: Int64Array, start: int, end: int) -> Int64Array:
        """Try bias offsets [start, end) with one factor for each of some channels.

        Returns:
            [rows] int64, the first offset that hits, −1 where none does.
        """
        factor, low, high = (x[rows, columns][:, None] for x in (self.factors, self.low, self.high))
        unit = self.unit[rows][:, None]
        constants = np.arange(start, end, dtype=np.int64) * factor
        hit = (-((constants - low) >> unit) << unit) + constants < high
        first = np.argmax(hit, axis=1)
        return np.where(hit[np.arange(rows.size), first], start + first, -1)

    def addends(self, rows: Int64Array, columns: Int64Array, offsets: Int64Array) -> Int64Array:
        """Return the addends of bias offsets that hit."""
        constants = offsets * self.factors[rows, columns]
        return -((constants - self.low[rows, columns]) >> self.unit[rows])

    def run(self) -> tuple[Int64Array, Int64Array, Int64Array] | None:
        """Return (bias offset, factor, addend) of all channels, or None where one has none.

        The widest window that is hit within the first offsets is taken; further ones are tried with the
        four widest.
        """
        channels = np.arange(self.unit.size)
        wide = np.count_nonzero(self.low < self.high, axis=1)
        if not wide.all():
            return None
        offsets = np.full(channels.size, -1, np.int64)
        chosen = np.argmin(self.low - self.high, axis=1)
        self._first(channels, chosen, offsets)
        left = np.flatnonzero(offsets < 0)
        order = np.argsort(self.low[left] - self.high[left], axis=1, kind="stable")
        for rank in range(1, order.shape[1]):
            some = np.flatnonzero((offsets[left] < 0) & (rank < wide[left]))
            if not some.size:
                break
            chosen[left[some]] = order[some, rank]
            self._first(left[some], order[some, rank], offsets)
        # The narrowest first: one without a hit ends the search.
        widest = np.max(self.high - self.low, axis=1)
        for c in sorted(np.flatnonzero(offsets < 0).tolist(), key=lambda c: int(widest[c])):
            row = order[np.searchsorted(left, c)]
            for start in range(_OFFSETS, _ROUNDS * _OFFSETS, _OFFSETS):
                for at in row[: min(wide[c], 4)]:
                    one = np.array([c])
                    offsets[c] = self.hits(one, np.array([at]), start, start + _OFFSETS)[0]
                    if offsets[c] >= 0:
                        chosen[c] = at
                        break
                if offsets[c] >= 0:
                    break
            else:
                return None
        return offsets, self.factors[channels, chosen], self.addends(channels, chosen, offsets)

    def _first(self, rows: Int64Array, columns: Int64Array, offsets: Int64Array) -> None:
        """Fill in the first offset that hits among the first _OFFSETS, where one does."""
        start = 0
        while rows.size and start < _OFFSETS:
            end = min(start + max(_PIECE // rows.size, 64), _OFFSETS)
            offsets[rows] = self.hits(rows, columns, start, end)
            missed = offsets[rows] < 0
            rows, columns, start = rows[missed], columns[missed], end


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
        found = _numbers(steps, lowest, highest, scale, odd, varies, shift)
        if found is not None:
            return SingleRounding(shift, *found)
    return None


def _numbers(
    steps: Int64Array,
    lowest: Int64Array,
    highest: Int64Array,
    scale: npt.NDArray[np.float64],
    odd: npt.NDArray[np.bool_],
    varies: npt.NDArray[np.bool_],
    shift: int,
) -> tuple[Int64Array, Int64Array, Int64Array] | None:
    """Return (bias offset, factor, addend) of all channels for one right shift, or None."""
    reached = (
        np.count_nonzero(steps <= lowest[:, None], axis=1) - 128
    )  # the output of a channel that is constant
    offsets, factors = np.zeros_like(lowest), np.zeros_like(lowest)
    addends = np.asarray(reached << shift + np.where(odd, 8, 0), np.int64)
    some = np.flatnonzero(varies)
    for at in range(0, some.size, _AT_ONCE):
        part = some[at : at + _AT_ONCE]
        nearest = np.rint(scale[part] * 2.0 ** (32 + shift)).astype(np.int64)
        tried = nearest[:, None] + np.arange(-_NUDGES, _NUDGES + 1)
        low, high = _windows(steps[part], lowest[part], highest[part], tried, shift)
        found = _Search(tried, low, high, np.where(odd[part], 24, 32)).run()
        if found is None:
            return None
        offsets[part], factors[part], addends[part] = found
    return offsets, factors, addends


def _steps(scaling: Scaling) -> Int64Array:
    """Return [channels, 255]: the least accumulators that give 1, 2, ... above the zero point.

    There both of TFLite's roundings are to the nearest, halves up.
    """
    values = np.arange(1, 256, dtype=np.int64)
    right = np.minimum(-scaling.shift, 22)[:, None]  # beyond, the first step is too far for any accumulator
    product = (values[None, :] << right) - (1 << (right - 1))
    return -(-((product << 31) - (1 << 30)) // scaling.multiplier[:, None])


def _windows(
    steps: Int64Array, lowest: Int64Array, highest: Int64Array, factors: Int64Array, shift: int
) -> tuple[Int64Array, Int64Array]:
    """Return the least constants that, added to factor · acc, give every step, and one past the greatest.

    From a step on its value must be reached, and before it must not, at the accumulators that can occur.
    """
    values = np.broadcast_to(np.arange(-127, 128, dtype=np.int64) << (32 + shift), steps.shape)
    lowest, highest = lowest[:, None], highest[:, None]
    reached, beyond = steps <= highest, steps > lowest
    # A line that does not count is far away, whatever the factor.
    at_least = _Lines(np.where(reached, values, -_FAR), np.where(reached, np.maximum(steps, lowest), 0))
    at_most = _Lines(np.where(beyond, -values, -_FAR), np.where(beyond, -np.minimum(steps - 1, highest), 0))
    return at_least.greatest(factors), -at_most.greatest(factors)
