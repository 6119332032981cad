"""The integers behind every operator: what a C kernel gets, and how it must round.

All numbers equal those of TensorFlow Lite's reference kernels (LiteRT, `BUILTIN_REF`), which the
tests compare byte for byte. Scales are float32 in the file; whether TFLite multiplies them in
float or double changes a multiplier's last bit, so the order of operations here is TFLite's.

Two requantisations occur. Both compute about acc · multiplier · 2^(shift − 31):

* double rounding, in every operator but FULLY_CONNECTED (`multiply_by_quantized_multiplier`):
  acc << max(shift, 0) wrapped to 32 bits, then SRDHM (round half up at bit 31), then a right shift
  by max(−shift, 0) that rounds half away from zero;
* single rounding, in FULLY_CONNECTED (`multiply_by_quantized_multiplier_single`):
  (acc · multiplier + 2^(30 − shift)) >> (31 − shift) in 64 bits, the result wrapped to 32.

Sources: gemmlowp `fixedpoint.h`; TensorFlow Lite `kernels/internal/common.h`,
`quantization_util.cc`, `kernels/kernel_util.cc`, and each operator's `Prepare`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Array,
    BinaryAttrs,
    DType,
    Graph,
    Op,
    OpKind,
    PadAttrs,
    ReduceAttrs,
    ResizeAttrs,
    SliceAttrs,
    SoftmaxAttrs,
    Tensor,
    WindowAttrs,
)

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

ADD_LEFT_SHIFT = 20  # lite/kernels/add.cc: inputs are scaled up by 2^20 before they are rescaled
ADD_LEFT_SHIFT_16 = 15  # of int16


# Multipliers


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return (multiplier, shift) with real ≈ multiplier · 2^(shift − 31).

    The multiplier is 0 or in [2^30, 2^31); a positive shift is to the left. Below 2^−32 both are 0.

    Source: quantization_util.cc, QuantizeMultiplier.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = _round_half_away(fraction * 2.0**31)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


def multiply_by_quantized_multiplier(x: Array, multiplier: Array | int, shift: Array | int) -> Int64Array:
    """Requantise with double rounding; elementwise, broadcasting, in 64-bit integers.

    Args:
        x: int32 values, any integer dtype.
        multiplier: from `quantize_multiplier`, not negative.
        shift: from `quantize_multiplier`.

    Source: common.h, MultiplyByQuantizedMultiplier (without TFLITE_SINGLE_ROUNDING).
    """
    m = np.asarray(multiplier, np.int64)
    s = np.asarray(shift, np.int64)
    shifted = wrap_int32(np.asarray(x, np.int64) << np.maximum(s, 0))
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, m), np.maximum(-s, 0))


def multiply_by_quantized_multiplier_single(
    x: Array, multiplier: Array | int, shift: Array | int
) -> Int64Array:
    """Requantise with single rounding, as LiteRT's FULLY_CONNECTED does.

    Args and shapes as `multiply_by_quantized_multiplier`.
    """
    total = 31 - np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    one = np.int64(1)
    return wrap_int32((product + (one << (total - 1))) >> total)


def saturating_rounding_doubling_high_mul(x: Array, y: Array | int) -> Int64Array:
    """Return x·y/2^31 rounded half up, saturated; both in int32 range.

    gemmlowp divides towards zero after a signed nudge, which is the same as rounding half up.
    """
    product = np.asarray(x, np.int64) * np.asarray(y, np.int64)
    return np.asarray(np.minimum((product + (1 << 30)) >> 31, 2**31 - 1))


def rounding_divide_by_pot(x: Array, exponent: Array | int) -> Int64Array:
    """Return x/2^exponent rounded half away from zero, 0 <= exponent <= 31."""
    e = np.asarray(exponent, np.int64)
    x64 = np.asarray(x, np.int64)
    mask = (np.int64(1) << e) - 1
    remainder = x64 & mask
    threshold = (mask >> 1) + (x64 < 0)
    return np.asarray((x64 >> e) + (remainder > threshold))


def wrap_int32(x: Array) -> Int64Array:
    """Reduce to int32 as two's complement hardware does; returned as int64."""
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def _round_half_away(value: float) -> int:
    """Round as C's `round` does; exact for |value| < 2^52."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


# Activations


def activation_range(
    activation: Activation, scale: float, zero_point: int, dtype: DType = DType.INT8
) -> tuple[int, int]:
    """Return the quantised [low, high] that a fused activation clamps to.

    Source: kernel_util.cc, CalculateActivationRangeQuantized (float32 division).
    """
    info = np.iinfo(dtype.value)
    low, high = int(info.min), int(info.max)

    def quantize(real: float) -> int:
        return zero_point + _round_half_away(float(np.float32(real) / np.float32(scale)))

    match activation:
        case Activation.RELU:
            low = max(low, quantize(0.0))
        case Activation.RELU6:
            low, high = max(low, quantize(0.0)), min(high, quantize(6.0))
        case Activation.RELU_N1_TO_1:
            low, high = max(low, quantize(-1.0)), min(high, quantize(1.0))
        case Activation.NONE:
            pass
    return low, high


def output_range(graph: Graph, op: Op) -> tuple[int, int]:
    """Return the clamp of an operator with a fused activation (or none), for its int8 output."""
    output = graph.tensors[op.outputs[0]]
    activation = Activation.NONE
    if isinstance(op.attrs, WindowAttrs | ActivationAttrs | BinaryAttrs):
        activation = op.attrs.activation
    return activation_range(activation, output.scale, output.zero_point, output.dtype)


# Convolution and dense layers


def conv_requant(graph: Graph, op: Op) -> tuple[Int32Array, Int32Array]:
    """Return (multiplier[out_c], shift[out_c]) of CONV_2D, DEPTHWISE_CONV_2D or FULLY_CONNECTED.

    Convolutions round twice, FULLY_CONNECTED once (see the module's text).

    Source: kernel_util.cc, PopulateConvolutionQuantizationParams (in double), and
    GetQuantizedConvolutionMultipler (the product of input and weight scale in float) for
    FULLY_CONNECTED with one weight scale.
    """
    x, weights = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
    output = graph.tensors[op.outputs[0]]
    channels = output_channels(graph, op)
    assert weights.quant is not None
    if op.kind is OpKind.FULLY_CONNECTED and not weights.quant.per_channel:
        product = float(np.float32(x.scale) * np.float32(weights.quant.scale[0]))
        pairs = [quantize_multiplier(product / output.scale)] * channels
    else:
        scales = weights.quant.scale if weights.quant.per_channel else weights.quant.scale * channels
        pairs = [quantize_multiplier(x.scale * scale / output.scale) for scale in scales]
    table = np.array(pairs, np.int64).reshape(channels, 2)
    return table[:, 0].astype(np.int32), table[:, 1].astype(np.int32)


def output_channels(graph: Graph, op: Op) -> int:
    """Return the output channels of a convolution or dense layer."""
    weights = graph.tensors[op.inputs[1]].shape
    return weights[3] if op.kind is OpKind.DEPTHWISE_CONV_2D else weights[0]


def folded_bias(graph: Graph, op: Op) -> Int32Array:
    """Return bias − zero_point(input) · Σ weights, per output channel, wrapped to int32.

    With it a kernel multiplies raw int8 inputs. Padding must then read the input's zero point.
    """
    weights = graph.tensors[op.inputs[1]]
    assert weights.data is not None
    axes = (0, 1, 2) if op.kind is OpKind.DEPTHWISE_CONV_2D else tuple(range(1, weights.data.ndim))
    total = weights.data.sum(axis=axes, dtype=np.int64)
    zero_point = graph.tensors[op.inputs[0]].zero_point
    folded: Int64Array = raw_bias(graph, op).astype(np.int64) - zero_point * total
    return folded.astype(np.int32)


def raw_bias(graph: Graph, op: Op) -> Int32Array:
    """Return the bias of a convolution or dense layer, zeros where it has none."""
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return np.zeros(output_channels(graph, op), np.int32)
    data = graph.tensors[op.inputs[2]].data
    assert data is not None
    bias: Int32Array = data.reshape(-1).astype(np.int32)
    return bias


# Elementwise


@dataclass(frozen=True, slots=True)
class AddParams:
    """ADD. With rq = double-rounding requantisation:

    s1 = rq((x1 + offset_1) << left_shift, multiplier_1, shift_1), s2 likewise;
    y = clamp(rq(s1 + s2, multiplier_out, shift_out) + offset_out, low, high).
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
    low: int
    high: int
    left_shift: int = ADD_LEFT_SHIFT


def add_params(graph: Graph, op: Op) -> AddParams:
    """Return the integers of an ADD. Source: lite/kernels/add.cc, Prepare."""
    a, b = (graph.tensors[i] for i in op.inputs)
    output = graph.tensors[op.outputs[0]]
    twice_max = 2 * max(a.scale, b.scale)
    multiplier_1, shift_1 = quantize_multiplier(a.scale / twice_max)
    multiplier_2, shift_2 = quantize_multiplier(b.scale / twice_max)
    left_shift = ADD_LEFT_SHIFT_16 if output.dtype is DType.INT16 else ADD_LEFT_SHIFT
    multiplier_out, shift_out = quantize_multiplier(twice_max / ((1 << left_shift) * output.scale))
    low, high = output_range(graph, op)
    return AddParams(
        -a.zero_point,
        -b.zero_point,
        multiplier_1,
        shift_1,
        multiplier_2,
        shift_2,
        multiplier_out,
        shift_out,
        output.zero_point,
        low,
        high,
        left_shift,
    )


@dataclass(frozen=True, slots=True)
class MulParams:
    """MUL: y = clamp(rq((x1 + offset_1) · (x2 + offset_2), multiplier, shift) + offset_out, low, high)."""

    offset_1: int
    offset_2: int
    multiplier: int
    shift: int
    offset_out: int
    low: int
    high: int


def mul_params(graph: Graph, op: Op) -> MulParams:
    """Return the integers of a MUL. Source: lite/kernels/mul.cc, Prepare (float32 arithmetic)."""
    a, b = (graph.tensors[i] for i in op.inputs)
    output = graph.tensors[op.outputs[0]]
    real = np.float32(a.scale) * np.float32(b.scale) / np.float32(output.scale)
    multiplier, shift = quantize_multiplier(float(real))
    low, high = output_range(graph, op)
    return MulParams(-a.zero_point, -b.zero_point, multiplier, shift, output.zero_point, low, high)


@dataclass(frozen=True, slots=True)
class RequantParams:
    """QUANTIZE between int8 and int16: y = clamp(rq(x + offset, multiplier, shift) + offset_out, low, high).

    The bounds are those of the output's type.
    """

    offset: int
    multiplier: int
    shift: int
    offset_out: int
    low: int = -128
    high: int = 127


def requant_params(graph: Graph, op: Op) -> RequantParams:
    """Return the integers of a QUANTIZE between int8 and int16. Source: lite/kernels/quantize.cc."""
    x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    multiplier, shift = quantize_multiplier(x.scale / output.scale)
    info = np.iinfo(output.dtype.value)
    return RequantParams(-x.zero_point, multiplier, shift, output.zero_point, int(info.min), int(info.max))


# Reduction


@dataclass(frozen=True, slots=True)
class MeanParams:
    """MEAN: y = clamp(rq(Σ x + offset, multiplier, shift) + offset_out, low, high).

    `count` elements are added; `offset` is −count · zero point of the input.
    """

    count: int
    offset: int
    multiplier: int
    shift: int
    offset_out: int
    low: int = -128
    high: int = 127


def mean_params(graph: Graph, op: Op) -> MeanParams:
    """Return the integers of a MEAN.

    The division by the element count is folded into the multiplier, in integers.

    Source: lite/kernels/internal/reference/reduce.h, QuantizedMeanOrSum.
    """
    assert isinstance(op.attrs, ReduceAttrs)
    x, output = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    count = math.prod(x.shape[a] for a in op.attrs.axes)
    multiplier, shift = quantize_multiplier(x.scale / output.scale)
    # floor(log2(count)) more bits before the division keep the multiplier's precision.
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    multiplier = (multiplier << extra) // count
    info = np.iinfo(output.dtype.value)
    offset, low, high = -count * x.zero_point, int(info.min), int(info.max)
    return MeanParams(count, offset, multiplier, shift - extra, output.zero_point, low, high)


# Softmax


@dataclass(frozen=True, slots=True, eq=False)
class SoftmaxParams:
    """SOFTMAX over rows, in integers.

    With m the row's maximum, e[c] = exp_table[m − x[c]] (Q0.31, 0 where negligible):
    sum = Σ rdbp(e[c], 12), int32 with 12 integer bits;
    (scale, over) = `softmax_reciprocal`(sum): scale Q0.31;
    y[c] = −128 + clamp(rdbp(srdhm(scale, e[c]), over + 23), 0, 255), and −128 where e[c] was left out
    (which the table's 0 gives). Where over + 23 exceeds 31 (512 or more nearly equal inputs: LiteRT
    aborts there) every y is −128. Rows have at most 4,095 elements, so that sum cannot overflow.
    rdbp is `rounding_divide_by_pot`, srdhm `saturating_rounding_doubling_high_mul`.
    """

    multiplier: int
    left_shift: int
    diff_min: int
    exp_table: Int32Array  # [256]
    scaled: Int32Array  # [256], the differences 0, −1, ... in Q5.26


def softmax_params(graph: Graph, op: Op) -> SoftmaxParams:
    """Return the integers of a SOFTMAX, with exp as a table.

    Source: lite/kernels/activations.cc, Prepare; internal/quantization_util.cc,
    PreprocessSoftmaxScaling and CalculateInputRadius; reference/softmax.h.
    """
    assert isinstance(op.attrs, SoftmaxAttrs)
    return softmax_table(graph.tensors[op.inputs[0]].scale, op.attrs.beta)


def softmax_table(scale: float, beta: float = 1.0) -> SoftmaxParams:
    """Return the integers with which SOFTMAX and LOG_SOFTMAX take exp of differences of the given scale."""
    integer_bits = 5
    real = min(float(np.float32(beta)) * scale * (1 << (31 - integer_bits)), float(2**31 - 1))
    multiplier, left_shift = quantize_multiplier(real)
    radius = (((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits)) / 2.0**left_shift
    diff_min = -math.floor(radius)
    diff = -np.arange(256, dtype=np.int64)
    rescaled = saturating_rounding_doubling_high_mul(wrap_int32(diff << max(left_shift, 0)), multiplier)
    table = np.where(diff >= diff_min, _exp_on_negative_values(rescaled), 0)
    return SoftmaxParams(multiplier, left_shift, diff_min, table.astype(np.int32), rescaled.astype(np.int32))


def _exp_on_negative_values(a: Array) -> Int64Array:
    """Return exp(a) in Q0.31 for a ≤ 0 in Q5.26. Source: gemmlowp fixedpoint.h."""
    fraction_bits = 26
    one_quarter = 1 << (fraction_bits - 2)
    a = np.asarray(a, np.int64)
    modulo = (a & (one_quarter - 1)) - one_quarter
    result = _exp_on_interval(modulo << 5)
    remainder = modulo - a
    # exp(-2^k) in Q0.31 for k = -2 .. 4
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for k, factor in enumerate(factors, start=-2):
        bit = 1 << (fraction_bits + k)
        result = np.where(remainder & bit, saturating_rounding_doubling_high_mul(result, factor), result)
    return np.where(a == 0, 2**31 - 1, result)


def _exp_on_interval(a: Array) -> Int64Array:
    """Return exp(a) in Q0.31 for −1/4 ≤ a < 0 in Q0.31, by a fourth-order Taylor series around −1/8."""
    constant_term, one_third = 1895147668, 715827883  # exp(−1/8), 1/3
    x = np.asarray(a, np.int64) + (1 << 28)
    x2 = saturating_rounding_doubling_high_mul(x, x)
    x3 = saturating_rounding_doubling_high_mul(x2, x)
    x4 = saturating_rounding_doubling_high_mul(x2, x2)
    x4_over_4 = rounding_divide_by_pot(x4, 2)
    tail = saturating_rounding_doubling_high_mul(x4_over_4 + x3, one_third) + x2
    series = x + rounding_divide_by_pot(tail, 1)
    return constant_term + saturating_rounding_doubling_high_mul(series, constant_term)


def softmax_reciprocal(total: Array) -> tuple[Int64Array, Int64Array]:
    """Return (1/total in Q0.31 after normalisation, bits over unit) for int32 sums with 12 integer bits.

    In C: over = 12 − clz(total); half = (total << clz) − 2^31, taken as Q0.31 in [0, 1);
    scale = 1/(1 + half) by three Newton steps on Q2.29, as written below.

    Source: reference/softmax.h, GetReciprocal; gemmlowp one_over_one_plus_x_for_x_in_0_1.
    """
    total = np.asarray(total, np.int64)
    leading_zeros = 32 - np.frompyfunc(int.bit_length, 1, 1)(total.astype(object)).astype(np.int64)
    over = 12 - leading_zeros
    a = ((total << leading_zeros) & 0xFFFFFFFF) - 2**31
    return reciprocal_of_one_plus(a), over


def reciprocal_of_one_plus(a: Array) -> Int64Array:
    """Return 1/(1 + a) in Q0.31 for 0 ≤ a < 1 in Q0.31. Source: gemmlowp one_over_one_plus_x_for_x_in_0_1."""
    a = np.asarray(a, np.int64)
    # (a + 1)/2, rounding half away from zero; a ≥ 0
    half_denominator = (a + 2**31 - 1 + 1) >> 1
    x = 1515870810 + saturating_rounding_doubling_high_mul(half_denominator, -1010580540)  # 48/17 − 32/17·d
    for _ in range(3):
        one_minus = (1 << 29) - saturating_rounding_doubling_high_mul(half_denominator, x)
        step = saturating_rounding_doubling_high_mul(x, one_minus)
        x = x + np.clip(step << 2, -(2**31), 2**31 - 1)  # Q4.27 → Q2.29
    return np.asarray(np.clip(x << 1, -(2**31), 2**31 - 1))


# Resizing


def resize_indices(in_size: int, out_size: int, attrs: ResizeAttrs) -> Int32Array:
    """Return, for each output row (or column), the input row that RESIZE_NEAREST_NEIGHBOR copies.

    Source: reference/resize_nearest_neighbor.h, GetNearestNeighbor (float32 arithmetic).
    """
    if attrs.align_corners and out_size > 1:
        scale = np.float32(in_size - 1) / np.float32(out_size - 1)
    else:
        scale = np.float32(in_size) / np.float32(out_size)
    offset = np.float32(0.5) if attrs.half_pixel_centers else np.float32(0.0)
    position = (np.arange(out_size, dtype=np.float32) + offset) * scale
    index = np.floor(position + np.float32(0.5)) if attrs.align_corners else np.floor(position)
    return np.asarray(np.clip(index, 0, in_size - 1), np.int32)


def bilinear_taps(
    in_size: int, out_size: int, attrs: ResizeAttrs
) -> tuple[Int32Array, Int32Array, Int32Array]:
    """Return what every output index of one axis of RESIZE_BILINEAR reads.

    Returns:
        (first, second, weight), each int32 [out_size]: input indices, and the weight of the second in
        1024ths; the first has the rest. `first` leaves the input where the 10-bit steps add up to more.

    Source: reference/resize_bilinear.h, ResizeBilinearInteger.
    """
    step = (1024 * in_size + out_size // 2) // out_size
    if attrs.align_corners and out_size > 1:
        step = (1024 * (in_size - 1) + (out_size - 1) // 2) // (out_size - 1)
    at = np.arange(out_size, dtype=np.int64) * step
    if attrs.half_pixel_centers:
        at += step // 2 - 512
    first = np.maximum(at, 0) // 1024
    second = np.minimum(np.maximum(at + 1023, 0) // 1024, in_size - 1)
    return first.astype(np.int32), second.astype(np.int32), (at - 1024 * first).astype(np.int32)


def bilinear(x: Array, shape: tuple[int, ...], attrs: ResizeAttrs) -> Int64Array:
    """RESIZE_BILINEAR of int8 images [n, h, w, c] to `shape`; rounds half away from zero."""
    (y0, y1, wy), (x0, x1, wx) = (bilinear_taps(x.shape[d], shape[d], attrs) for d in (1, 2))
    wide = x.astype(np.int64)
    rows = wide[:, y0] * (1024 - wy[:, None, None]) + wide[:, y1] * wy[:, None, None]
    total = rows[:, :, x0] * (1024 - wx[:, None]) + rows[:, :, x1] * wx[:, None]
    return np.asarray(np.sign(total) * ((np.abs(total) + (1 << 19)) >> 20))


def slice_sizes(op: Op, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many indices a SLICE takes of every input dimension; `shape` is its output's."""
    assert isinstance(op.attrs, SliceAttrs)
    return tuple(1 if axis < 0 else shape[axis] for axis in op.attrs.axes)


def mirrored_indices(size: int, padding: tuple[int, int], reflect: bool) -> Int64Array:
    """Return the input index of every output index of one axis of MIRROR_PAD."""
    before, after = padding
    inside = np.arange(size)
    edge = int(reflect)
    return np.concatenate([inside[edge : edge + before][::-1], inside, inside[::-1][edge : edge + after]])


def pad_value(graph: Graph, op: Op) -> int | float:
    """Return what a PAD fills with."""
    assert isinstance(op.attrs, PadAttrs)
    return pad_value_of(graph.tensors[op.outputs[0]]) if op.attrs.value is None else op.attrs.value


def pad_value_of(output: Tensor) -> int:
    """Return what stands for nothing in a tensor: the zero point, 0 without one."""
    return output.zero_point if output.quant is not None else 0


# Float edges


def quantize_floats(values: Array, tensor: Tensor) -> Array:
    """Return float32 values as the tensor's int8. Source: AffineQuantize, round half away from zero."""
    scaled = np.asarray(values, np.float32) / np.float32(tensor.scale)
    rounded = np.copysign(np.floor(np.abs(scaled.astype(np.float64)) + 0.5), scaled)
    info = np.iinfo(tensor.dtype.value)
    clipped = np.clip(rounded + tensor.zero_point, info.min, info.max)
    return np.where(np.isnan(clipped), info.min, clipped).astype(tensor.dtype.value)


def dequantize_values(values: Array, tensor: Tensor) -> Array:
    """Return int8 values as float32. Source: reference/dequantize.h (double product, then float)."""
    difference = np.asarray(values, np.int64) - tensor.zero_point
    return (tensor.scale * difference).astype(np.float32)
