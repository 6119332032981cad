"""The integers of operators on two int8 tensors that broadcast, other than ADD and MUL.

Sources: TensorFlow Lite `kernels/sub.cc`, `squared_difference.cc`, `div.cc`, `activations.cc` (PRELU) and
`comparisons.cc`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from tinyml import numerics
from tinyml.graph import Activation, Array, Graph, Op, Tensor
from tinyml.numerics import AddParams, Int64Array, add_params, quantize_multiplier

SQUARED_DIFFERENCE_LEFT_SHIFT = 7
COMPARE_LEFT_SHIFT = 8


def sub_params(graph: Graph, op: Op) -> AddParams:
    """Return the integers of a SUB: an ADD whose second multiplier is negative."""
    params = add_params(graph, op)
    return dataclasses.replace(params, multiplier_2=-params.multiplier_2)


@dataclass(frozen=True, slots=True)
class SquaredDifferenceParams:
    """SQUARED_DIFFERENCE. With rq = double-rounding requantisation:

    s1 = rq((x1 + offset_1) << 7, multiplier_1, shift_1), s2 likewise;
    y = clamp(rq((s1 - s2)^2, multiplier_out, shift_out) + offset_out, -128, 127).
    """

    offset_1: int
    offset_2: int
    multiplier_1: int
    shift_1: int
    multiplier_2: int
    shift_2: int
    multiplier_out: int
    shift_out: int
    offset_out: int


def squared_difference_multiplier(scale_1: float, scale_2: float, scale_out: float) -> float:
    """Return the real multiplier from the squared difference to the output; LiteRT wants it below one."""
    twice_max = 2 * max(scale_1, scale_2)
    return twice_max * twice_max / ((1 << 2 * SQUARED_DIFFERENCE_LEFT_SHIFT) * scale_out)


def squared_difference_params(graph: Graph, op: Op) -> SquaredDifferenceParams:
    """Return the integers of a SQUARED_DIFFERENCE. Source: squared_difference.cc, Prepare."""
    a, b = (graph.tensors[i] for i in op.inputs)
    output = graph.tensors[op.outputs[0]]
    twice_max = 2 * max(a.scale, b.scale)
    return SquaredDifferenceParams(
        -a.zero_point,
        -b.zero_point,
        *quantize_multiplier(a.scale / twice_max),
        *quantize_multiplier(b.scale / twice_max),
        *quantize_multiplier(squared_difference_multiplier(a.scale, b.scale, output.scale)),
        output.zero_point,
    )


@dataclass(frozen=True, slots=True)
class DivParams:
    """DIV: y = clamp((x1 + offset_1)/(x2 + offset_2) · multiplier · 2^(shift - 31) + offset_out, low, high).

    The quotient is a product with the reciprocal of the divisor (`div_values`).
    """

    offset_1: int
    offset_2: int
    multiplier: int
    shift: int
    offset_out: int
    low: int
    high: int

    def defined(self, a: Array | None, b: Array | None) -> bool:
        """Whether the reference shifts every quotient by 0 to 31 bits: beyond, C has no result.

        Args:
            a: the numerators where they are constant, as int8.
            b: the divisors, likewise.
        """
        every = np.arange(-128, 128)
        above, below = (
            np.abs((every if values is None else values.astype(np.int64)) + offset)
            for values, offset in ((a, self.offset_1), (b, self.offset_2))
        )
        above, below = above[above > 0], below[below > 0]
        least = 31 - int(above.max(initial=1)).bit_length() + int(below.min(initial=255)).bit_length()
        # A negative power of two has one bit less there, and is shifted once more.
        most = 32 - int(above.min(initial=255)).bit_length() + int(below.max(initial=1)).bit_length()
        return least - 1 - self.shift >= 0 and most - 1 - self.shift <= 31


def div_params(x: Tensor, divisor: Tensor, y: Tensor, activation: Activation) -> DivParams:
    """Return the integers of a DIV. Source: div.cc, Prepare (float32 arithmetic)."""
    real = np.float32(x.scale) / (np.float32(divisor.scale) * np.float32(y.scale))
    low, high = numerics.activation_range(activation, y.scale, y.zero_point)
    return DivParams(
        -x.zero_point, -divisor.zero_point, *quantize_multiplier(float(real)), y.zero_point, low, high
    )


def div_values(p: DivParams, a: Array, b: Array) -> Int64Array:
    """DIV of int8 arrays that broadcast; LiteRT refuses zero divisors as it runs, here they give a bound.

    Source: reference/div.h and common.h (GetReciprocal).
    """
    first, second = np.broadcast_arrays(a.astype(np.int64) + p.offset_1, b.astype(np.int64) + p.offset_2)
    shape, first, second = first.shape, first.reshape(-1), second.reshape(-1)
    numerator = np.where(second < 0, -first, first)
    reciprocal, over = numerics.softmax_reciprocal(np.maximum(np.abs(second), 1))  # 12 digits, here 31
    bits = np.frexp(np.abs(numerator))[1].astype(np.int64)
    quotient = numerics.saturating_rounding_doubling_high_mul(numerator << (31 - bits), reciprocal)
    right = np.clip(31 - bits + over + 19 - p.shift, 0, 31)  # where it is outside the quotient is zero
    scaled = numerics.rounding_divide_by_pot(
        numerics.saturating_rounding_doubling_high_mul(quotient, p.multiplier), right
    )
    bound = np.where(first < 0, p.low, p.high)
    return np.where(second == 0, bound, np.clip(scaled + p.offset_out, p.low, p.high)).reshape(shape)


@dataclass(frozen=True, slots=True)
class PreluParams:
    """PRELU. With v = x + offset and rq = double-rounding requantisation:

    y = clamp(offset_out + rq(v, multiplier_1, shift_1), -128, 127) where v >= 0, else
    y = clamp(offset_out + rq(v · (alpha + offset_alpha), multiplier_2, shift_2), -128, 127).
    """

    offset: int
    offset_alpha: int
    multiplier_1: int
    shift_1: int
    multiplier_2: int
    shift_2: int
    offset_out: int


def prelu_params(graph: Graph, op: Op) -> PreluParams:
    """Return the integers of a PRELU. Source: activations.cc, PreluPrepare (float32 arithmetic)."""
    x, alpha = (graph.tensors[i] for i in op.inputs)
    output = graph.tensors[op.outputs[0]]
    identity = np.float32(x.scale) / np.float32(output.scale)
    slope = np.float32(x.scale) * np.float32(alpha.scale) / np.float32(output.scale)
    return PreluParams(
        -x.zero_point,
        -alpha.zero_point,
        *quantize_multiplier(float(identity)),
        *quantize_multiplier(float(slope)),
        output.zero_point,
    )


@dataclass(frozen=True, slots=True)
class CompareParams:
    """Comparisons of s1 = rq((x1 + offset_1) << 8, multiplier_1, shift_1) with s2 likewise."""

    offset_1: int
    offset_2: int
    multiplier_1: int
    shift_1: int
    multiplier_2: int
    shift_2: int


def compare_params(graph: Graph, op: Op) -> CompareParams:
    """Return the integers of a comparison of int8, whose scales are below one. Source: comparisons.cc."""
    a, b = (graph.tensors[i] for i in op.inputs)
    return CompareParams(
        -a.zero_point, -b.zero_point, *quantize_multiplier(a.scale), *quantize_multiplier(b.scale)
    )
