"""Finds numbers with which ADD, or SUB, is exact in one fixed-point sum, for tm_add_fixed_s8_dsp.h."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyml import numerics
from tinyml.numerics import AddParams, Int64Array

_SHIFTS = (23, 22, 21, 20)  # those the kernel has code for, the most precise first
_NUDGES = (0, 1, -1, 2, -2, 3, -3)


@dataclass(frozen=True, slots=True)
class FixedAdd:
    """y = clamp((⌊x1 · factor_1 / 2^8⌋ + ⌊x2 · factor_2 / 2^8⌋ + offset) >> shift), in 32 bits."""

    factor_1: int
    factor_2: int
    offset: int
    shift: int


@functools.lru_cache(maxsize=256)
def fixed_add(params: AddParams) -> FixedAdd | None:
    """Return numbers that give TFLite's sum for every pair of int8, or None where none were found.

    TFLite rounds each operand twice and their sum twice, but from some 28 bits to 8: nearly always one
    rounding at the end falls the same way for all 65,536 pairs. For given factors the offsets that do so
    are an interval, which the pairs bound from both sides.
    """
    if not all(-31 <= shift <= 0 for shift in (params.shift_1, params.shift_2, params.shift_out)):
        return None
    x = np.arange(-128, 128, dtype=np.int64)
    terms = [
        _requantized((x + offset) << params.left_shift, multiplier, shift)
        for offset, multiplier, shift in (
            (params.offset_1, params.multiplier_1, params.shift_1),
            (params.offset_2, params.multiplier_2, params.shift_2),
        )
    ]
    sums = terms[0][:, None] + terms[1][None, :]
    y = _requantized(sums, params.multiplier_out, params.shift_out) + params.offset_out
    y = np.clip(y, -128, 127)
    for factor_1, factor_2, shift in _candidates(params):
        fixed = (factor_1 * x >> 8)[:, None] + (factor_2 * x >> 8)[None, :]
        inside = [(y << shift) - fixed, ((y + 1) << shift) - 1 - fixed]
        # a saturated sum may lie anywhere beyond
        lowest = int(np.max(inside[0], where=y > -128, initial=-(1 << 40)))
        highest = int(np.min(inside[1], where=y < 127, initial=1 << 40))
        if lowest > highest:
            continue
        offset = min(max((lowest + highest) // 2, -(1 << 31)), (1 << 31) - 1)
        low, high = int(fixed.min()) + offset, int(fixed.max()) + offset
        if lowest <= offset <= highest and low >= -(1 << 31) and high < 1 << 31:
            return FixedAdd(factor_1, factor_2, offset, shift)
    return None


def _candidates(params: AddParams) -> Iterator[tuple[int, int, int]]:
    """Factors of the most precise shift that leaves room for them, and their neighbours."""
    out = params.multiplier_out * 2.0 ** (params.shift_out - 31 + params.left_shift)
    scales = [
        multiplier * 2.0 ** (shift - 31) * out
        for multiplier, shift in (
            (params.multiplier_1, params.shift_1),
            (params.multiplier_2, params.shift_2),
        )
    ]
    for shift in _SHIFTS:
        factors = [round(scale * 2.0 ** (shift + 8)) for scale in scales]
        if max(map(abs, factors)) + max(_NUDGES) >= 1 << 31:
            continue
        for first in _NUDGES:
            for second in _NUDGES:
                yield factors[0] + first, factors[1] + second, shift


def _requantized(values: Int64Array, multiplier: int, shift: int) -> Int64Array:
    """Return TFLite's double rounding, for shift ≤ 0."""
    product = numerics.saturating_rounding_doubling_high_mul(values, multiplier)
    return numerics.rounding_divide_by_pot(product, -shift)
