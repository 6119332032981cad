"""Functions of one int16 value."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.graph import Array, Graph, Op, OpKind, UnaryAttrs, UnaryFunction
from tinyml.numerics import wide


def _unary(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, UnaryAttrs)
    x, scale = operands[0], graph.tensors[op.inputs[0]].scale
    match op.attrs.function:
        case UnaryFunction.LOGISTIC:
            return wide.sigmoid(x, wide.sigmoid_params(scale, tanh=False))
        case UnaryFunction.TANH:
            return wide.tanh(x, wide.sigmoid_params(scale, tanh=True))
    p = wide.linear_params(graph, op)
    positive = numerics.multiply_by_quantized_multiplier(x, p.multiplier_1, p.shift_1)
    negative = numerics.multiply_by_quantized_multiplier(x, p.multiplier_2, p.shift_2)
    return np.clip(np.where(x >= 0, positive, negative), wide.SMALLEST, wide.LARGEST)


RUNNERS = {OpKind.UNARY: _unary}
