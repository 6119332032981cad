"""The rounding primitives against their definitions in whole numbers and fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml import numerics
from tinyml.graph import Activation

INT32 = st.integers(-(2**31), 2**31 - 1)
MULTIPLIERS = st.one_of(st.just(0), st.integers(2**30, 2**31 - 1))


def _srdhm(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul as gemmlowp writes it: a nudge, then C division."""
    if a == b == -(2**31):
        return 2**31 - 1
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    quotient = abs(nudged) >> 31
    return quotient if nudged >= 0 else -quotient


def _rdbp(x: int, exponent: int) -> int:
    """Round half away from zero, by its definition."""
    value = Fraction(x, 2**exponent)
    rounded = int(abs(value) + Fraction(1, 2))
    return rounded if value >= 0 else -rounded


def _wrap(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


@given(INT32, INT32)
def test_srdhm(a: int, b: int) -> None:
    assert int(numerics.saturating_rounding_doubling_high_mul(np.array([a]), b)[0]) == _srdhm(a, b)


@given(INT32, st.integers(0, 31))
def test_rounding_divide_by_pot(x: int, exponent: int) -> None:
    assert int(numerics.rounding_divide_by_pot(np.array([x]), exponent)[0]) == _rdbp(x, exponent)


@given(INT32, MULTIPLIERS, st.integers(-31, 30))
def test_double_rounding(x: int, multiplier: int, shift: int) -> None:
    expected = _rdbp(_srdhm(_wrap(x << max(shift, 0)), multiplier), max(-shift, 0))
    assert int(numerics.multiply_by_quantized_multiplier(np.array([x]), multiplier, shift)[0]) == expected


@given(INT32, MULTIPLIERS, st.integers(-31, 30))
def test_single_rounding(x: int, multiplier: int, shift: int) -> None:
    exact = Fraction(x * multiplier, 2 ** (31 - shift))
    expected = _wrap((exact + Fraction(1, 2)).__floor__())
    actual = numerics.multiply_by_quantized_multiplier_single(np.array([x]), multiplier, shift)
    assert int(actual[0]) == expected


@given(st.floats(2.0**-31, 2.0**29))
def test_quantize_multiplier(real: float) -> None:
    multiplier, shift = numerics.quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier, 2**31) * Fraction(2) ** shift - Fraction(real)) <= Fraction(real) / 2**30


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (1.0 - 2.0**-40, (2**30, 1)),  # rounds up to the next power of two
        (2.0**-40, (0, 0)),  # every bit would be shifted out
    ],
)
def test_quantize_multiplier_edges(real: float, expected: tuple[int, int]) -> None:
    assert numerics.quantize_multiplier(real) == expected


def test_activation_range() -> None:
    assert numerics.activation_range(Activation.NONE, 0.1, 3) == (-128, 127)
    assert numerics.activation_range(Activation.RELU, 0.1, 3) == (3, 127)
    assert numerics.activation_range(Activation.RELU6, 0.1, 3) == (3, 63)
    assert numerics.activation_range(Activation.RELU_N1_TO_1, 0.1, 3) == (-7, 13)
    assert numerics.activation_range(Activation.RELU6, 0.01, 120) == (120, 127)
