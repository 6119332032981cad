"""The integers of recurrent operators with int8 activations and int16 states: LSTM and SVDF.

The gates of an LSTM are Q3.12 before and Q0.15 after their activation; its cell state has a power of two as
its scale.

Source: TensorFlow Lite, `kernels/lstm_eval.cc` (LstmStepInteger) and
`kernels/unidirectional_sequence_lstm.cc` (PopulateQuantizedLstmParams8x8_16), `kernels/svdf.cc` and
`reference/svdf.h` (EvalIntegerSVDF); gemmlowp `fixedpoint.h` with 16-bit raw values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyml.graph import Array, Graph, LstmAttrs, Op, SvdfAttrs, Tensor
from tinyml.numerics import (
    Int32Array,
    Int64Array,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_divide_by_pot,
    wrap_int32,
)
from tinyml.numerics.reduction import inverse_sqrt

GATES = ("input", "forget", "cell", "output")
X, HIDDEN, CELL, INPUT_WEIGHTS, RECURRENT_WEIGHTS, BIASES = 0, 1, 2, 3, 7, 11
PEEPHOLES, PROJECTION, PROJECTION_BIAS, NORMS, INPUTS = 15, 18, 19, 20, 24
"""Where the operator's inputs begin: x, both states, then four of each kind in the order of GATES.

A plain LSTM ends with the biases. Others have INPUTS, −1 where one is absent: weights of the cell state in
the gates of input, forget and output; a projection and its bias; a coefficient per unit of each gate for
layer normalisation. Where the input gate is one less the forget gate what belongs to the former is absent.
"""

_EXP_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(−2^k) in Q0.31 for k = −2, −1, …, 4."""


@dataclass(frozen=True, slots=True, eq=False)
class LstmVariant:
    """What a step of an LSTM with options computes with besides; rows of arrays are gates, absent ones 0."""

    coupled: bool  # the input gate is one less the forget gate
    peephole: bool
    peepholes: Array  # int16 [4, units]
    peephole_rescale: tuple[tuple[int, int], ...]
    normalised: bool
    norms: Array  # int16 [4, units]
    norm_bias: Int32Array  # [4, units]
    norm_rescale: tuple[tuple[int, int], ...]
    variance_guard: tuple[int, ...]  # what stands for a variance of zero
    projection: Array  # int8 [outputs, units]; of no rows where there is none
    projection_bias: Int32Array  # [outputs], the hidden state's zero point folded in
    projection_rescale: tuple[int, int]
    zero_point_out: int
    projection_clip: int  # 0: none


@dataclass(frozen=True, slots=True, eq=False)
class LstmParams:
    """What a step of the LSTM computes with; rows of arrays are the gates in the order of GATES."""

    input_weights: Array  # int8 [4, units, inputs]
    recurrent_weights: Array  # int8 [4, units, outputs]
    input_bias: Int32Array  # [4, units], the input's zero point folded in
    recurrent_bias: Int32Array  # [4, units], the hidden state's zero point folded in
    input_rescale: tuple[tuple[int, int], ...]  # multiplier and shift of each gate
    recurrent_rescale: tuple[tuple[int, int], ...]
    hidden_multiplier: int
    hidden_shift: int
    hidden_zero_point: int  # before any projection
    cell_exponent: int  # the cell state's scale is 2^cell_exponent
    cell_clip: int  # 0: none
    variant: LstmVariant | None

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
    tensors = [graph.tensors[i] if i >= 0 else None for i in op.inputs]
    x, hidden, cell = (graph.tensors[i] for i in op.inputs[:INPUT_WEIGHTS])
    gate_scales = [np.float32(scale) for scale in attrs.gate_scales or (2.0**-12,) * 4]

    def stacked(first: int) -> Array:
        return _stacked(tensors[first : first + 4])

    def rescale(first: int, scale: float) -> tuple[tuple[int, int], ...]:
        gates = zip(tensors[first : first + 4], gate_scales, strict=True)
        return tuple(
            (0, 0)
            if t is None
            else quantize_multiplier(float(np.float32(t.scale) * np.float32(scale) / gate_scale))
            for t, gate_scale in gates
        )

    def folded(weights: Array, zero_point: int) -> Int64Array:
        return np.asarray(-zero_point * weights.sum(axis=2, dtype=np.int64))

    input_weights, recurrent_weights = stacked(INPUT_WEIGHTS), stacked(RECURRENT_WEIGHTS)
    bias = folded(input_weights, x.zero_point)
    if not attrs.gate_scales:  # else it is added behind the normalisation
        bias = bias + stacked(BIASES).astype(np.int64)
    exponent = power_of_two(cell.scale)
    assert exponent is not None
    hidden_scale = float(np.float32(2.0**-15 / np.float32(attrs.hidden_scale) * 2.0**-15))
    multiplier, shift = quantize_multiplier(hidden_scale)
    clip = 0
    if attrs.cell_clip > 0:
        clip = int(min(float(np.float32(attrs.cell_clip) / np.float32(cell.scale)), 32767.0))
    projected = tensors[PROJECTION] if len(tensors) == INPUTS else None
    return LstmParams(
        input_weights,
        recurrent_weights,
        bias.astype(np.int32),
        folded(recurrent_weights, hidden.zero_point).astype(np.int32),
        rescale(INPUT_WEIGHTS, x.scale),
        rescale(RECURRENT_WEIGHTS, hidden.scale),
        multiplier,
        shift,
        # LiteRT subtracts the zero point of what a projection reads, and adds it again in its bias.
        attrs.hidden_zero_point if projected is None else -attrs.hidden_zero_point,
        exponent,
        clip,
        _variant(tensors, attrs, gate_scales) if len(tensors) == INPUTS else None,
    )


def _stacked(tensors: Sequence[Tensor | None]) -> Array:
    """Return the constants one below the other, zeros for those that are absent."""
    some = next(np.asarray(t.data) for t in tensors if t is not None)
    return np.stack([np.zeros_like(some) if t is None else np.asarray(t.data) for t in tensors])


def _variant(
    tensors: Sequence[Tensor | None], attrs: LstmAttrs, gate_scales: Sequence[np.float32]
) -> LstmVariant:
    hidden, cell = tensors[HIDDEN], tensors[CELL]
    assert hidden is not None
    assert cell is not None
    f, units = np.float32, cell.elements

    def per_gate(
        row: Sequence[Tensor | None], scale: Callable[[Tensor, np.float32], np.float32]
    ) -> tuple[Array, tuple[tuple[int, int], ...]]:
        if all(t is None for t in row):
            return np.zeros((4, units), np.int16), ((0, 0),) * 4
        pairs = zip(row, gate_scales, strict=True)
        return _stacked(row), tuple(
            (0, 0) if t is None else quantize_multiplier(float(scale(t, gate))) for t, gate in pairs
        )

    looks = tensors[PEEPHOLES : PEEPHOLES + 3]
    peepholes = per_gate((*looks[:2], None, looks[2]), lambda t, gate: f(cell.scale) * f(t.scale) / gate)
    peepholes[0][:, hidden.elements :] = 0  # LiteRT goes through as many units as there are outputs
    row = tensors[NORMS:INPUTS]
    norms = per_gate(row, lambda t, gate: f(t.scale))
    projection, bias = tensors[PROJECTION], tensors[PROJECTION_BIAS]
    weights, sums, rescale, clip = np.zeros((0, units), np.int8), np.zeros(0, np.int64), (0, 0), 0
    if projection is not None:
        weights = np.asarray(projection.data)
        sums = attrs.hidden_zero_point * weights.sum(axis=1, dtype=np.int64)
        sums = sums if bias is None else sums + np.asarray(bias.data)
        rescale = quantize_multiplier(float(f(projection.scale) * f(attrs.hidden_scale) / f(hidden.scale)))
    if attrs.projection_clip > 0:
        clip = int(min(float(f(attrs.projection_clip) / f(hidden.scale)), 127.0))
    return LstmVariant(
        coupled=tensors[INPUT_WEIGHTS] is None,
        peephole=looks[2] is not None,
        peepholes=peepholes[0],
        peephole_rescale=peepholes[1],
        normalised=row[1] is not None,
        norms=norms[0],
        norm_bias=_stacked(tensors[BIASES : BIASES + 4]).astype(np.int32),
        norm_rescale=norms[1],
        variance_guard=tuple(1 if t is None else max(1, int(f(10000) * f(t.scale))) for t in row),
        projection=weights,
        projection_bias=sums.astype(np.int32),
        projection_rescale=rescale,
        zero_point_out=hidden.zero_point,
        projection_clip=clip,
    )


def layer_norm(gate: Int64Array, variant: LstmVariant, g: int) -> Int64Array:
    """Return a gate's sums normalised over the units, in Q3.12. Source: PortableApplyLayerNorm."""
    count = len(gate)
    mean = _towards_zero(int(gate.sum()) * 1024, count)
    variance = int((gate**2).sum()) * ((1 << 20) // count) - mean * mean
    variance = _towards_zero(variance, 1 << 20)
    inverse = inverse_sqrt(np.array([variance if variance >= 1 else variant.variance_guard[g]]))
    rescaled = multiply_by_quantized_multiplier(1024 * gate - mean, *inverse)
    weighted = wrap_int32(rescaled * variant.norms[g].astype(np.int64)) + variant.norm_bias[g]
    rounded = np.sign(weighted) * ((np.abs(weighted) + 512) // 1024)
    scale, bits = variant.norm_rescale[g]
    return np.clip(multiply_by_quantized_multiplier(rounded, scale, bits + 12), -32768, 32767)


def _towards_zero(a: int, b: int) -> int:
    return a // b if a >= 0 else -(-a // b)


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
