"""Integers of BATCH_MATMUL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyml.graph import Graph, Op
from tinyml.numerics import output_range, quantize_multiplier


@dataclass(frozen=True, slots=True)
class MatmulParams:
    """BATCH_MATMUL.

    y = clamp(rq(Σ (a + offset_1) · (b + offset_2), multiplier, shift) + offset_out, low, high)
    """

    offset_1: int
    offset_2: int
    multiplier: int
    shift: int
    offset_out: int
    low: int
    high: int


def matmul_params(graph: Graph, op: Op) -> MatmulParams:
    """Return the integers of a BATCH_MATMUL, which rounds twice.

    Source: lite/kernels/batch_matmul.cc, Prepare; kernel_util.cc, GetQuantizedConvolutionMultipler (the
    product of the scales in float).
    """
    a, b = (graph.tensors[i] for i in op.inputs)
    output = graph.tensors[op.outputs[0]]
    product = float(np.float32(a.scale) * np.float32(b.scale))
    multiplier, shift = quantize_multiplier(product / output.scale)
    low, high = output_range(graph, op)
    return MatmulParams(-a.zero_point, -b.zero_point, multiplier, shift, output.zero_point, low, high)
