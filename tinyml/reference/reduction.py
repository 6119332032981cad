"""Reductions beside MEAN, ARG_MAX and ARG_MIN, L2_NORMALIZATION and LOG_SOFTMAX."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.graph import ArgAttrs, Array, Graph, Op, OpKind, ReduceAttrs
from tinyml.numerics.reduction import (
    inverse_sqrt,
    log_of_sum,
    log_softmax_params,
    product_params,
    sum_params,
)


def _sum(graph: Graph, op: Op, operands: list[Array]) -> Array:
    p = sum_params(graph, op)
    total = operands[0].sum(axis=_axes(op), dtype=np.int64) + p.offset
    scaled = numerics.multiply_by_quantized_multiplier(numerics.wrap_int32(total), p.multiplier, p.shift)
    return np.asarray(np.clip(scaled + p.offset_out, p.low, p.high))


def _maximum(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return np.asarray(operands[0].max(axis=_axes(op)))


def _minimum(graph: Graph, op: Op, operands: list[Array]) -> Array:
    return np.asarray(operands[0].min(axis=_axes(op)))


def _product(graph: Graph, op: Op, operands: list[Array]) -> Array:
    p, axes = product_params(graph, op), _axes(op)
    kept = [d for d in range(operands[0].ndim) if d not in axes]
    x = operands[0].transpose(*kept, *axes)
    x = x.reshape(*(operands[0].shape[d] for d in kept), -1).astype(np.int64) + p.offset
    product = x[..., 0]
    for k in range(1, x.shape[-1]):
        product = _scaled_down(product * x[..., k], p.multiplier, p.shift)
    return np.asarray(np.clip(_scaled_down(product, p.multiplier, p.shift) + p.offset_out, -128, 127))


def _scaled_down(values: Array, multiplier: int, shift: int) -> Array:
    return numerics.wrap_int32((values * multiplier + (1 << (shift - 1))) >> shift)


def _axes(op: Op) -> tuple[int, ...]:
    assert isinstance(op.attrs, ReduceAttrs)
    return op.attrs.axes


def _arg_max(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, ArgAttrs)
    return np.asarray(operands[0].argmax(axis=op.attrs.axis))


def _arg_min(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, ArgAttrs)
    return np.asarray(operands[0].argmin(axis=op.attrs.axis))


def _l2_normalization(graph: Graph, op: Op, operands: list[Array]) -> Array:
    centred = operands[0].astype(np.int64) - graph.tensors[op.inputs[0]].zero_point
    multiplier, shift = inverse_sqrt((centred * centred).sum(axis=-1, keepdims=True))
    scaled = numerics.multiply_by_quantized_multiplier(centred, multiplier, shift + 7)
    return np.clip(scaled, -128, 127)


def _log_softmax(graph: Graph, op: Op, operands: list[Array]) -> Array:
    p = log_softmax_params(graph, op)
    below = (operands[0].max(axis=-1, keepdims=True) - operands[0].astype(np.int64)).astype(np.int64)
    terms = numerics.rounding_divide_by_pot(p.exp.exp_table[below].astype(np.int64), 12)
    log = log_of_sum(terms.sum(axis=-1, keepdims=True))
    scaled = numerics.rounding_divide_by_pot(p.exp.scaled[below].astype(np.int64) - log, 22) + 127
    return np.where(-below > p.least_difference(log), np.clip(scaled, -128, 127), -128)


RUNNERS = {
    OpKind.ARG_MAX: _arg_max,
    OpKind.ARG_MIN: _arg_min,
    OpKind.L2_NORMALIZATION: _l2_normalization,
    OpKind.LOG_SOFTMAX: _log_softmax,
    OpKind.REDUCE_MAX: _maximum,
    OpKind.REDUCE_MIN: _minimum,
    OpKind.REDUCE_PROD: _product,
    OpKind.SUM: _sum,
}
