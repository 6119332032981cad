"""The integers of recurrent operators with int8 activations and int16 states: LSTM and SVDF.

The gates of an LSTM are Q3.12 before and Q0.15 after their activation; its cell state has a power of two as
its scale.

Source: TensorFlow Lite, `kernels/lstm_eval.cc` (LstmStepInteger) and
`kernels/unidirectional_sequence_lstm.cc` (PopulateQuantizedLstmParams8x8_16), `kernels/svdf.cc` and
`reference/svdf.h` (EvalIntegerSVDF); gemmlowp `fixedpoint.h` with 16-bit raw values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinyml.graph import Array, Graph, LstmAttrs, Op, SvdfAttrs
from tinyml.numerics import Int32Array, Int64Array, quantize_multiplier, rounding_divide_by_pot

GATES = ("input", "forget", "cell", "output")
X, HIDDEN, CELL, INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES = 0, 1, 2, 3, 7, 11
"""Where the operator's inputs begin: x, both states, then four of each kind in the order of GATES."""

_EXP_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(−2^k) in Q0.31 for k = −2, −1, …, 4."""


@dataclass(frozen=True, slots=True, eq=False)
class LstmParams:
    """What a step of the LSTM computes with; rows of arrays are the gates in the order of GATES."""

    input_weights: Array  # int8 [4, units, inputs]
    recurrent_weights: Array  # int8 [4, units, units]
    input_bias: Int32Array  # [4, units], the input's zero point folded in
    recurrent_bias: Int32Array  # [4, units], the hidden state's zero point folded in
    input_rescale: tuple[tuple[int, int], ...]  # multiplier and shift of each gate
    recurrent_rescale: tuple[tuple[int, int], ...]
    hidden_multiplier: int
    hidden_shift: int
    hidden_zero_point: int
    cell_exponent: int  # the cell state's scale is 2^cell_exponent
    cell_clip: int  # 0: none

    @property
    def tanh_bits(self) -> int:
        """Integer bits of the cell state."""
        return 15 + self.cell_exponent


def power_of_two(scale: float) -> int | None:
    """Return the exponent of a scale that is a power of two, else None. Source: CheckedLog2 (1e-3)."""
    exponent = math.log2(scale)
    rounded = round(exponent)
    return rounded if abs(exponent - rounded) < 1e-3 else None


def lstm_params(graph: Graph, op: Op) -> LstmParams:
    """Derive the parameters of an LSTM; its scales are multiplied in float32, as there."""
    attrs = op.attrs
    assert isinstance(attrs, LstmAttrs)
    tensors = [graph.tensors[i] for i in op.inputs]
    x, hidden, cell = tensors[X], tensors[HIDDEN], tensors[CELL]
    gate_scale = np.float32(2.0**-12)

    def stacked(first: int) -> Array:
        return np.stack([np.asarray(tensors[first + g].data) for g in range(4)])

    def rescale(first: int, scale: float) -> tuple[tuple[int, int], ...]:
        effective = [np.float32(tensors[first + g].scale) * np.float32(scale) / gate_scale for g in range(4)]
        return tuple(quantize_multiplier(float(e)) for e in effective)

    def folded(weights: Array, zero_point: int) -> Int64Array:
        return np.asarray(-zero_point * weights.sum(axis=2, dtype=np.int64))

    input_weights, recurrent_weights = stacked(INPUT_WEIGHTS), stacked(RECURRENT_WEIGHTS)
    bias = stacked(BIASES).astype(np.int64) + folded(input_weights, x.zero_point)
    exponent = power_of_two(cell.scale)
    assert exponent is not None
    hidden_scale = float(np.float32(2.0**-15 / np.float32(attrs.hidden_scale) * 2.0**-15))
    multiplier, shift = quantize_multiplier(hidden_scale)
    clip = 0
    if attrs.cell_clip > 0:
        clip = int(min(float(np.float32(attrs.cell_clip) / np.float32(cell.scale)), 32767.0))
    return LstmParams(
        input_weights,
        recurrent_weights,
        bias.astype(np.int32),
        folded(recurrent_weights, hidden.zero_point).astype(np.int32),
        rescale(INPUT_WEIGHTS, x.scale),
        rescale(RECURRENT_WEIGHTS, hidden.scale),
        multiplier,
        shift,
        attrs.hidden_zero_point,
        exponent,
        clip,
    )


@dataclass(frozen=True, slots=True, eq=False)
class SvdfParams:
    """What a step of an SVDF computes with; `rank` filters in a row belong to one unit."""

    feature_weights: Array  # int8 [filters, inputs]
    feature_bias: Int32Array  # [filters], -zp_x * sum of the weights
    time_weights: Array  # int16 [filters, memory]
    bias: Int32Array  # [units]
    rank: int
    feature_multiplier: int
    feature_shift: int
    multiplier: int
    shift: int
    zero_point_out: int


SVDF_X, SVDF_STATE, SVDF_FEATURES, SVDF_TIME, SVDF_BIAS = range(5)
"""The operator's inputs: x, state, weights of features, weights of time, bias (-1 where there is none)."""


def svdf_params(graph: Graph, op: Op) -> SvdfParams:
    """Derive the parameters of an SVDF; its scales are multiplied in float32, as there."""
    assert isinstance(op.attrs, SvdfAttrs)
    x, state, features, time = (graph.tensors[i] for i in op.inputs[:SVDF_BIAS])
    output = graph.tensors[op.outputs[0]]
    assert features.data is not None
    assert time.data is not None
    units = len(features.data) // op.attrs.rank
    bias = op.inputs[SVDF_BIAS]
    values = np.zeros(units, np.int32) if bias < 0 else np.asarray(graph.tensors[bias].data, np.int32)
    f = np.float32
    feature = quantize_multiplier(float(f(x.scale) * f(features.scale) / f(state.scale)))
    final = quantize_multiplier(float(f(state.scale) * f(time.scale) / f(output.scale)))
    return SvdfParams(
        features.data,
        (-x.zero_point * features.data.sum(axis=1, dtype=np.int64)).astype(np.int32),
        time.data,
        values,
        op.attrs.rank,
        *feature,
        *final,
        output.zero_point,
    )


# gemmlowp's fixed point with 16-bit raw values: Q<i>.<15 − i>


def logistic_q15(x: Array) -> Int64Array:
    """Return the logistic function in Q0.15 of int16 values in Q3.12."""
    x = np.asarray(x, np.int64)
    positive = _one_over_one_plus(_exp_negative(_wrap16(-np.abs(x)), 3))
    return np.where(x > 0, positive, np.where(x < 0, _wrap16(32767 - positive), 1 << 14))


def tanh_q15(x: Array, integer_bits: int) -> Int64Array:
    """Return tanh in Q0.15 of int16 values with 0 to 6 integer bits."""
    x = np.asarray(x, np.int64)
    negative = _one_minus_over_one_plus(_exp_negative(np.where(x < 0, x, _wrap16(-x)), integer_bits + 1))
    return np.where(x == 0, 0, np.where(x < 0, -negative, negative))


def _wrap16(x: Array) -> Int64Array:
    return np.asarray(x, np.int64).astype(np.int16).astype(np.int64)


def _multiply(a: Array | int, b: Array | int) -> Int64Array:
    """SaturatingRoundingDoublingHighMul: halves away from zero."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    rounded = np.sign(product) * ((np.abs(product) + np.where(product >= 0, 1 << 14, (1 << 14) - 1)) >> 15)
    return np.asarray(np.minimum(rounded, 32767))


def _shift_left(x: Array, bits: int) -> Int64Array:
    return np.asarray(np.clip(np.asarray(x, np.int64) << bits, -32768, 32767))


def _constant(q31: int) -> int:
    """Return a Q.31 constant as a 16-bit one."""
    return int(np.clip(rounding_divide_by_pot(np.array(q31), 16), -32768, 32767))


def _exp_negative(a: Int64Array, integer_bits: int) -> Int64Array:
    """exp(a) in Q0.15 for a <= 0. Source: gemmlowp exp_on_negative_values."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    part = (a & (quarter - 1)) - quarter
    x = _wrap16(_shift_left(part, integer_bits) + (1 << 12))
    x2 = _multiply(x, x)
    x3, x4 = _multiply(x2, x), _multiply(x2, x2)
    tail = _multiply(_wrap16(rounding_divide_by_pot(x4, 2) + x3), _constant(715827883)) + x2
    series = _wrap16(x + rounding_divide_by_pot(_wrap16(tail), 1))
    start = _constant(1895147668)
    result = np.clip(start + _multiply(start, series), -32768, 32767)
    remainder = _wrap16(part - a)
    for k, factor in zip(range(-2, min(integer_bits, 5)), _EXP_FACTORS, strict=False):
        bit = (remainder >> (fraction_bits + k)) & 1
        result = np.where(bit != 0, _multiply(result, _constant(factor)), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, 32767, result)


def _newton(a: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return 1 / d in Q2.13 and d in Q0.15, d = (1 + a) / 2."""
    total = a + 32767
    d = np.sign(total) * ((np.abs(total) + 1) >> 1)
    x = _wrap16(_constant(1515870810) + _multiply(d, _constant(-1010580540)))
    for _ in range(3):
        error = _wrap16((1 << 13) - _multiply(d, x))
        x = _wrap16(x + _shift_left(_multiply(x, error), 2))
    return x, d


def _one_over_one_plus(a: Int64Array) -> Int64Array:
    return _shift_left(_newton(a)[0], 1)


def _one_minus_over_one_plus(a: Int64Array) -> Int64Array:
    return _shift_left(_wrap16(_newton(a)[0] - (1 << 13)), 2)
