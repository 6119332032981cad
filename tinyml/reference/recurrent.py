"""Operators that remember: they update their states, which are among the operands, in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyml.graph import Array, Graph, Op, OpKind
from tinyml.numerics import (
    Int64Array,
    multiply_by_quantized_multiplier,
    recurrent,
    rounding_divide_by_pot,
    wrap_int32,
)


def _lstm(graph: Graph, op: Op, operands: list[Array]) -> Array:
    """UNIDIRECTIONAL_SEQUENCE_LSTM; a batch of 1, so batch-major and time-major are the same bytes."""
    p = recurrent.lstm_params(graph, op)
    v = p.variant
    x = operands[recurrent.X].reshape(-1, p.input_weights.shape[2]).astype(np.int64)
    hidden, cell = operands[recurrent.HIDDEN].reshape(-1), operands[recurrent.CELL].reshape(-1)
    units = cell.size
    y = np.empty((len(x), hidden.size), np.int8)

    def gate(g: int, row: Array) -> Int64Array:
        total = np.zeros(units, np.int64)
        sides: Sequence[tuple[Array, Array, Array, tuple[int, int]]] = (
            (row, p.input_weights[g], p.input_bias[g], p.input_rescale[g]),
            (hidden.astype(np.int64), p.recurrent_weights[g], p.recurrent_bias[g], p.recurrent_rescale[g]),
        )
        for values, weights, bias, rescale in sides:
            acc = weights.astype(np.int64) @ values + bias
            total = np.clip(total + multiply_by_quantized_multiplier(acc, *rescale), -32768, 32767)
        if v is not None and v.peephole and recurrent.GATES[g] != "cell":
            product = cell.astype(np.int64) * v.peepholes[g]
            seen = multiply_by_quantized_multiplier(product, *v.peephole_rescale[g])
            total = np.clip(total + seen, -32768, 32767)
        return total if v is None or not v.normalised else recurrent.layer_norm(total, v, g)

    for t, row in enumerate(x):
        forget = recurrent.logistic_q15(gate(1, row))
        coupled = v is not None and v.coupled
        entering = 32767 - forget if coupled else recurrent.logistic_q15(gate(0, row))
        modulation = recurrent.tanh_q15(gate(2, row), 3)
        kept = rounding_divide_by_pot(forget * cell, 15)
        new = rounding_divide_by_pot(entering * modulation, 30 + p.cell_exponent).astype(np.int16)
        state = np.clip(kept + new, -32768, 32767)
        if p.cell_clip:
            state = np.clip(state, -p.cell_clip, p.cell_clip)
        cell[:] = state
        output = recurrent.logistic_q15(gate(3, row))  # which looks at the new state
        product = output * recurrent.tanh_q15(state, p.tanh_bits)
        scaled = multiply_by_quantized_multiplier(product, p.hidden_multiplier, p.hidden_shift)
        own = np.clip(scaled + p.hidden_zero_point, -128, 127)
        hidden[:] = y[t] = own if v is None or not len(v.projection) else _projected(v, own)
    return y


def _projected(v: recurrent.LstmVariant, own: Int64Array) -> Int64Array:
    acc = v.projection.astype(np.int64) @ own + v.projection_bias
    scaled = multiply_by_quantized_multiplier(acc, *v.projection_rescale) + v.zero_point_out
    clipped = np.clip(scaled, -128, 127)
    return np.clip(clipped, -v.projection_clip, v.projection_clip) if v.projection_clip else clipped


def _svdf(graph: Graph, op: Op, operands: list[Array]) -> Array:
    """SVDF of one sample: every filter's features of the last steps, weighted and added up."""
    p = recurrent.svdf_params(graph, op)
    x = operands[recurrent.SVDF_X].reshape(-1).astype(np.int64)
    state = operands[recurrent.SVDF_STATE].reshape(p.time_weights.shape)
    features = p.feature_weights.astype(np.int64) @ x + p.feature_bias
    newest = multiply_by_quantized_multiplier(features, p.feature_multiplier, p.feature_shift)
    state[:, :-1] = state[:, 1:].copy()
    state[:, -1] = np.clip(newest, -32768, 32767)
    filtered = (state.astype(np.int64) * p.time_weights).sum(axis=1)
    total = wrap_int32(filtered.reshape(-1, p.rank).sum(axis=1) + p.bias)
    scaled = multiply_by_quantized_multiplier(total, p.multiplier, p.shift)
    return np.clip(scaled + p.zero_point_out, -128, 127)


RUNNERS = {OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM: _lstm, OpKind.SVDF: _svdf}
