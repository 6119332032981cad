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
    x = operands[recurrent.X].reshape(-1, p.input_weights.shape[2]).astype(np.int64)
    hidden, cell = operands[recurrent.HIDDEN].reshape(-1), operands[recurrent.CELL].reshape(-1)
    units = cell.size
    y = np.empty((len(x), units), np.int8)

    def gate(g: int, row: Array) -> Int64Array:
        total = np.zeros(units, np.int64)
        sides: Sequence[tuple[Array, Array, Array, tuple[int, int]]] = (
            (row, p.input_weights[g], p.input_bias[g], p.input_rescale[g]),
            (hidden.astype(np.int64), p.recurrent_weights[g], p.recurrent_bias[g], p.recurrent_rescale[g]),
        )
        for values, weights, bias, rescale in sides:
            acc = weights.astype(np.int64) @ values + bias
            total = np.clip(total + multiply_by_quantized_multiplier(acc, *rescale), -32768, 32767)
        return total

    for t, row in enumerate(x):
        entering, forget, output = (recurrent.logistic_q15(gate(g, row)) for g in (0, 1, 3))
        modulation = recurrent.tanh_q15(gate(2, row), 3)
        kept = rounding_divide_by_pot(forget * cell, 15)
        new = rounding_divide_by_pot(entering * modulation, 30 + p.cell_exponent).astype(np.int16)
        state = np.clip(kept + new, -32768, 32767)
        if p.cell_clip:
            state = np.clip(state, -p.cell_clip, p.cell_clip)
        cell[:] = state
        product = output * recurrent.tanh_q15(state, p.tanh_bits)
        scaled = multiply_by_quantized_multiplier(product, p.hidden_multiplier, p.hidden_shift)
        hidden[:] = y[t] = np.clip(scaled + p.hidden_zero_point, -128, 127)
    return y


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
