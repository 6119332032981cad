"""The integers of operators on two int8 tensors that broadcast, other than ADD and MUL.

Sources: TensorFlow Lite `kernels/sub.cc`, `squared_difference.cc`, `activations.cc` (PRELU) and
`comparisons.cc`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from tinyml.graph import Graph, Op
from tinyml.numerics import AddParams, add_params, quantize_multiplier

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
