"""Layers on int16 activations (int8 weights) with DSP instructions (Armv7E-M, Armv8-M).

Each kernel is bit-equal to its portable twin in wide.py; where a predicate refuses, that one is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind
from tinyml.kernels.convolution import pointwise, window_access, window_loop
from tinyml.kernels.dense import whole_rows
from tinyml.kernels.dsp import Blocks, blocks_for, depth_multiplier_one, filled, one_group
from tinyml.kernels.dsp_streams import Int8Array, Int32Array
from tinyml.kernels.elementwise import lower_same_shape, same_shape, two_activations
from tinyml.kernels.predicates import (
    constant_symmetric_weights,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.kernels.transpose_conv import (
    at_least_the_stride,
    equal_depth,
    lower_transposed,
    phase_weights,
)
from tinyml.kernels.wide import (
    constant_int64_bias,
    int16_activations,
    int16_constants,
    is_sub,
    product_literals,
    sum_literals,
)
from tinyml.numerics import Int64Array, wide

_SHORT_SHIFTS = (-17, -1)
"""Shifts with which a factor of 32 bits and SMMULR are exact (tm_conv_block_s16_dsp.h)."""
_TWO_PIXELS = Blocks.TWOS  # of which the sums of 64 bits fit the registers


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution whose constant channels are harmless.

    Args:
        weights: [out_c, ...] int8.
        bias: [out_c].
        multiplier: [out_c], of 15 bits.
        shift: [out_c], positive to the left.
        wide: whether some sums may leave 32 bits, or some shift is out of the ordinary.
    """

    weights: Int8Array
    bias: Int64Array
    multiplier: Int64Array
    shift: Int64Array
    wide: bool

    @property
    def factor(self) -> Int64Array:
        """What SMMULR takes, [out_c], where not `wide`."""
        return self.multiplier << (17 + self.shift)


def _layer(context: OpContext, name: str, arrange: Callable[[Int8Array], Int8Array]) -> _Layer:
    """Return the layer with its weights arranged as the kernel reads them: channels first.

    Args:
        context: the convolution.
        name: of the arrangement; selection asks several kernels about one operator.
        arrange: turns the operator's weights into the kernel's.
    """
    data = context.input(1).data
    assert data is not None
    return context.once(name, lambda: _settle(context, arrange(np.asarray(data, np.int8))))


def _settle(context: OpContext, weights: Int8Array) -> _Layer:
    """Settle channels that have one value for every input, and prove what the sums of the others fit.

    The value comes out of bias 4·value, multiplier 2^14 and a right shift by 1 exactly. Pruned networks
    have many such channels, with shifts that would force the slow form on the whole layer.
    """
    bias = wide.layer_bias(context.graph, context.op)
    multiplier, shift = wide.layer_requant(context.graph, context.op)
    lowest, highest = _sums(weights, bias)
    constant = _rescaled(lowest, multiplier, shift) == _rescaled(highest, multiplier, shift)
    lo, hi = numerics.output_range(context.graph, context.op)
    value = np.clip(wide.rescale(lowest, multiplier, shift), lo, hi)
    weights = np.where(constant.reshape(-1, *[1] * (weights.ndim - 1)), np.int8(0), weights)
    bias = np.where(constant, 4 * value, bias)
    multiplier = np.where(constant, 1 << 14, multiplier)
    shift = np.where(constant, -1, shift)
    lowest, highest = _sums(weights, bias)
    least, most = _SHORT_SHIFTS
    short = np.all((shift >= least) & (shift <= most))
    fits = np.all((lowest >= -(1 << 31)) & (highest < 1 << 31))
    return _Layer(weights, bias, multiplier, shift, wide=not (short and fits))


def _rescaled(acc: Int64Array, multiplier: Int64Array, shift: Int64Array) -> Int64Array:
    """Requantise without wrapping to 32 bits."""
    total = 15 - shift
    return (acc * multiplier + (np.int64(1) << (total - 1))) >> total


def _sums(weights: Int8Array, bias: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the least and the greatest sum of each channel, over all inputs: [channels]."""
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    least, most = wide.SMALLEST, wide.LARGEST
    return bias + least * positive + most * negative, bias + most * positive + least * negative


def _words(values: Int64Array) -> Int32Array:
    """Return the low and the high word of each number: [..., 2 n]."""
    return np.ascontiguousarray(values, "<i8").view("<i4")


def conv_stream(layer: _Layer) -> Int32Array:
    """Pack a convolution for tm_conv_block_s16_dsp.h; its weights are [out_c, K].

    Returns:
        Pairs of channels, then a last single channel where out_c is odd; K filled up to 4.
    """
    out_c, k = layer.weights.shape
    weights = np.zeros((out_c, filled(k, 4)), np.int8)
    weights[:, :k] = layer.weights
    if layer.wide:
        bias = _words(layer.bias.reshape(-1, 1))
        requant = np.stack([layer.multiplier, layer.shift], axis=1)
    else:
        bias, requant = layer.bias.reshape(-1, 1).astype(np.int32), layer.factor.reshape(-1, 1)
    pairs = out_c // 2
    even = 2 * pairs
    # of two steps: (first, second) x (channel 0, 1)
    interleaved = weights[:even].reshape(pairs, 2, weights.shape[1] // 2, 2).transpose(0, 2, 3, 1)
    parts = [
        bias[:even].reshape(pairs, 2 * bias.shape[1]),
        np.ascontiguousarray(interleaved).reshape(pairs, 2 * weights.shape[1]).view("<i4"),
        requant[:even].reshape(pairs, 2 * requant.shape[1]),
    ]
    stream = [np.concatenate(parts, axis=1).ravel()]
    if even < out_c:
        last = np.ascontiguousarray(weights[even].reshape(-1, 2, 2).transpose(0, 2, 1))
        stream += [bias[even], last.ravel().view("<i4"), requant[even]]
    return np.concatenate(stream).astype(np.int32)


def _stream(context: OpContext, pack: Callable[[], Int32Array]) -> tuple[Constant, ...]:
    comment = "weights, biases and requantisation, interleaved"
    return context.once("stream", lambda: (Constant("stream", "int32_t", pack(), comment),))


def _lower_pointwise(context: OpContext) -> Lowered:
    _, out_h, out_w, out_c = context.output.shape
    in_c = context.input(0).shape[3]
    pixels = out_h * out_w
    layer = _layer(context, "int16 pixel", lambda weights: weights.reshape(out_c, in_c))
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "pixels": pixels,
        "in_c": in_c,
        "out_c": out_c,
        "blocks": 0,
        "wide": int(layer.wide),
        "lo": lo,
        "hi": hi,
    }
    lowered = Lowered(
        access=AccessMap(pixels, 2 * out_c, (RowMap(pixels, 2 * in_c),), buffered=True),
        constants=_stream(context, lambda: conv_stream(layer)),
        literals=tuple(literals.items()),
        macs=pixels * in_c * out_c,
        per_column="pixels",
    )
    return with_blocks(lowered, _blocks(layer, pixels, in_c))


def one_input_channel(context: OpContext) -> bool:
    """The input must have one channel."""
    return context.input(0).shape[3:] == (1,)


def _lower_conv(context: OpContext) -> Lowered:
    """Lower a convolution, or a depthwise one of a single channel, which is the same."""
    attrs = window_attrs(context)
    in_w, in_c = context.input(0).shape[2:]
    out_w, out_c = context.output.shape[2:]

    def arrange(weights: Int8Array) -> Int8Array:
        if context.op.kind is OpKind.DEPTHWISE_CONV_2D:
            weights = weights.transpose(3, 1, 2, 0)
        return _runs(weights, neighbours=attrs.dilation_w == 1)

    layer = _layer(context, "int16 runs", arrange)
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "in_w": in_w,
        "in_c": in_c,
        "out_w": out_w,
        "out_c": out_c,
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_w": attrs.stride_w,
        "dilation_w": attrs.dilation_w,
        "pad_left": attrs.pads.left,
        "blocks": 0,
        "wide": int(layer.wide),
        "lo": lo,
        "hi": hi,
    }
    lowered = Lowered(
        access=window_access(context),
        constants=_stream(context, lambda: conv_stream(layer)),
        literals=tuple(literals.items()),
        loop=window_loop(context, 0),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w * in_c,
        per_column="out_w",
    )
    return with_blocks(lowered, _blocks(layer, out_w, layer.weights.shape[1]))


def _runs(weights: Int8Array, *, neighbours: bool) -> Int8Array:
    """Return weights [out_c, kernel_h, kernel_w, in_c] as [out_c, K]: a zero after each run of odd length.

    Args:
        weights: the operator's.
        neighbours: whether the taps of a row of the kernel are one run.
    """
    out_c, kernel_h, kernel_w = weights.shape[:3]
    runs = weights.reshape(out_c, kernel_h if neighbours else kernel_h * kernel_w, -1)
    return np.pad(runs, ((0, 0), (0, 0), (0, runs.shape[2] % 2))).reshape(out_c, -1)


def _blocks(layer: _Layer, pixels: int, k: int) -> Blocks:
    return _TWO_PIXELS if layer.wide else blocks_for(pixels, k, packed=False, single=True)


def with_blocks(lowered: Lowered, blocks: Blocks) -> Lowered:
    """Return the same convolution with its pixels in other blocks: less scratch, or fewer instructions.

    Args:
        lowered: to tm_conv2d_1x1_s16_dsp or tm_conv2d_s16_dsp.
        blocks: how the pixels, of all or of a row, fall into blocks.
    """
    literals = dict(lowered.literals) | {"blocks": int(blocks)}
    access, k = lowered.access, literals["in_c"]
    if lowered.loop is None:
        # A call reads a block, then writes it: the shortest of them bound what may overlap.
        granule = blocks.block(literals["pixels"])
        if granule == 1:
            granule = min(literals["pixels"], blocks.most)  # a rest is read before any of it is written
        access = replace(access, granule=granule)
    else:
        taps = literals["kernel_w"] if literals["dilation_w"] == 1 else 1
        runs = literals["kernel_h"] * literals["kernel_w"] // taps
        k = runs * filled(taps * k, 2)
    return replace(
        lowered,
        access=access,
        literals=tuple(literals.items()),
        scratch_bytes=2 * filled(k, 4) * blocks.most,
    )


def in_small_blocks(lowered: Lowered) -> Lowered:
    """Return the same convolution with less scratch: two pixels at a time."""
    smaller = with_blocks(lowered, Blocks.TWOS)
    return smaller if smaller.scratch_bytes < lowered.scratch_bytes else lowered


# Transposed convolutions


def _lower_transpose_conv(context: OpContext) -> Lowered:
    """Lower to one convolution per phase of the columns, of the kernel's taps that meet the row's phase.

    A phase's sums are bounded by those of the whole kernel, so that one layer settles and proves for all.
    """
    attrs = window_attrs(context)
    in_c = context.input(0).shape[3]
    out_w, out_c = context.output.shape[2:]
    layer = _layer(context, "int16 window", lambda weights: weights)
    streams = [
        conv_stream(replace(layer, weights=_runs(weights, neighbours=True)))
        for weights in phase_weights(layer.weights, attrs)
    ]
    starts = np.cumsum([0, *(stream.size for stream in streams[:-1])])
    outputs = -(-out_w // attrs.stride_w)
    k = -(-attrs.kernel_h // attrs.stride_h) * filled(-(-attrs.kernel_w // attrs.stride_w) * in_c, 2)
    blocks = _blocks(layer, outputs, k)
    columns = 2 * filled(k, 4) * blocks.most
    return lower_transposed(
        context,
        (
            Constant("stream", "int32_t", np.concatenate(streams), "weights, biases and requantisation"),
            Constant("starts", "int32_t", starts.astype(np.int32), "of each phase in the stream"),
        ),
        columns + 2 * outputs * out_c,
        columns=columns,
        blocks=int(blocks),
        wide=int(layer.wide),
    )


# Depthwise convolutions


def sums_fit_and_scale_down(context: OpContext) -> bool:
    """Sums must fit 32 bits whatever the input, and be scaled down 2 to 2^18 times."""
    weighted = int16_activations(context) and constant_symmetric_weights(context)
    if not (weighted and constant_int64_bias(context) and context.input(1).shape[0] == 1):
        return False
    return not _depthwise_layer(context).wide


def _depthwise_layer(context: OpContext) -> _Layer:
    """Return the layer with weights as [channels, kernel_h, kernel_w]."""
    return _layer(context, "int16 channels", lambda weights: weights[0].transpose(2, 0, 1))


def depthwise_stream(layer: _Layer) -> Int32Array:
    """Pack a layer for tm_dwconv2d_s16_dsp.h; its weights are [channels, kernel_h, kernel_w]."""
    channels, kernel_h, kernel_w = layer.weights.shape
    pairs = -(-channels // 2)
    more = 2 * pairs - channels
    weights = np.pad(layer.weights, ((0, more), (0, 0), (0, 0))).reshape(pairs, 2, kernel_h, kernel_w)
    even = kernel_h // 2 * 2
    # words of two halfwords: [pair][kernel_w][pair of rows][channel][row], and of an odd last row [channel]
    rows = weights[:, :, :even].reshape(pairs, 2, even // 2, 2, kernel_w).transpose(0, 4, 2, 1, 3)
    last = weights[:, :, even:].transpose(0, 3, 2, 1)
    words = np.concatenate(
        [rows.reshape(pairs, kernel_w, even, 2), last.reshape(pairs, kernel_w, kernel_h % 2, 2)], axis=2
    ).reshape(pairs, -1, 2)
    words = np.pad(words, ((0, 0), (0, words.shape[1] % 2), (0, 0)))
    # SXTB16 takes bytes 0 and 2, ROR #8 bytes 1 and 3
    stored = words.reshape(pairs, -1, 2, 2).transpose(0, 1, 3, 2)
    numbers = np.pad(np.stack([layer.bias, layer.factor], axis=1), ((0, more), (0, 0)))
    numbers = numbers.reshape(pairs, 2, 2).transpose(0, 2, 1).reshape(pairs, 4).astype(np.int32)
    packed = np.ascontiguousarray(stored).reshape(pairs, -1).view("<i4")
    return np.concatenate([numbers, packed], axis=1).ravel()


def _lower_depthwise(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    in_w, channels = context.input(0).shape[2:]
    out_w = context.output.shape[2]
    layer = _depthwise_layer(context)
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "in_w": in_w,
        "channels": channels,
        "out_w": out_w,
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_w": attrs.stride_w,
        "dilation_w": attrs.dilation_w,
        "pad_left": attrs.pads.left,
        "lo": lo,
        "hi": hi,
    }
    columns = (filled(out_w, 2) - 1) * attrs.stride_w + (attrs.kernel_w - 1) * attrs.dilation_w + 1
    return Lowered(
        access=window_access(context),
        constants=_stream(context, lambda: depthwise_stream(layer)),
        literals=tuple(literals.items()),
        scratch_bytes=4 * (filled(attrs.kernel_h * attrs.kernel_w, 2) + attrs.kernel_h * columns),
        loop=window_loop(context, 0),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w,
        per_column="out_w",
    )


# Fully connected layers


def pairs_of_outputs_fit(context: OpContext) -> bool:
    """Of two neighbouring outputs, 256 times a weight of the second plus the first's must be an int16."""
    weights = context.input(1).data
    if weights is None or weights.ndim != 2:
        return False
    even = weights.shape[0] // 2 * 2
    return not np.any((weights[1:even:2] == -128) & (weights[0:even:2] < 0))


def _lower_dense(context: OpContext) -> Lowered:
    data = context.input(1).data
    assert data is not None
    weights = np.asarray(data, np.int8)
    out_c, in_c = weights.shape
    batches = context.input(0).elements // in_c
    bias = wide.layer_bias(context.graph, context.op)
    scale = wide.dense_scale(context.graph, context.op)
    lo, hi = numerics.output_range(context.graph, context.op)
    factors = context.once("factors", lambda: _dense_factors(weights, bias, scale))
    literals = {
        "batches": batches,
        "in_c": in_c,
        "out_c": out_c,
        "wide": int(factors is None),
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=2 * out_c, inputs=(RowMap(batches, 2 * in_c),)),
        constants=_stream(context, lambda: dense_stream(weights, bias, scale, factors)),
        literals=tuple(literals.items()),
        macs=batches * out_c * in_c,
    )


def _dense_factors(weights: Int8Array, bias: Int64Array, scale: npt.NDArray[np.float64]) -> Int64Array | None:
    """Return factors [out_c] with which floor(sum · factor / 2^64 + 1/2) is exact, or None.

    None also where the sums of some output may leave 32 bits.
    """
    lowest, highest = _sums(weights, bias)
    if np.any(lowest < -(1 << 31)) or np.any(highest >= 1 << 31):
        return None
    largest = np.maximum(np.abs(lowest), np.abs(highest))
    for each in np.unique(scale):
        if not rounds_alike(float(each), int(largest[scale == each].max())):
            return None
    return np.rint(scale * 2.0**64).astype(np.int64)


def rounds_alike(scale: float, largest: int) -> bool:
    """Return whether the factor of `scale` gives what double does for sums up to `largest` in size.

    LiteRT rounds the product to 53 bits, then to an integer, halves away from zero; the kernel once,
    halves up, with a factor of 2^-64. They agree unless a product is as near to an integer and a half as
    these two are apart, for results within int16; further out both saturate. The nearest sum to each
    integer and a half is looked at; its distance is exact modulo 2^64, which holds it.
    """
    if not 2.0**-30 < scale < 0.5:
        return False
    fraction, exponent = math.frexp(scale)
    mantissa, bits = int(fraction * 2.0**53), 53 - exponent  # scale = mantissa / 2^bits
    halves = np.arange(wide.LARGEST + 2) + 0.5
    sums = np.rint(halves / scale)
    sums = sums[sums <= largest + 1]
    twice = np.arange(1, 2 * sums.size, 2, dtype=np.uint64)
    with np.errstate(over="ignore"):
        product = sums.astype(np.uint64) * np.uint64(mantissa)
        half = twice << np.uint64(bits - 1) if bits <= 64 else np.zeros_like(twice)
        distance = np.abs((product - half).astype(np.int64).astype(np.float64)) / 2.0**bits
    of_double = 2.0**-37  # a unit in the last place of a result within int16
    of_factor = 0.0 if bits <= 64 else 2.0**-65 * sums
    return bool(np.all(distance > of_double + of_factor))


def dense_stream(
    weights: Int8Array, bias: Int64Array, scale: npt.NDArray[np.float64], factors: Int64Array | None
) -> Int32Array:
    """Pack a layer for tm_fully_connected_s16_dsp.h.

    Args:
        weights: [out_c, in_c]; pairs of outputs fit, as `pairs_of_outputs_fit`.
        bias: [out_c].
        scale: [out_c].
        factors: [out_c], or None for sums of 64 bits.
    """
    out_c, in_c = weights.shape
    filled_weights = np.zeros((out_c, filled(in_c, 4)), np.int8)
    filled_weights[:, :in_c] = weights
    fours = out_c // 4
    four = filled_weights[: 4 * fours]
    if factors is None:
        requant = wide.dense_words(scale).astype(np.uint32).view(np.int32)
        first, after = _words(bias[: 4 * fours].reshape(fours, 4)), np.zeros((fours, 0), np.int32)
        single = _words(bias[:, None])
    else:
        requant = _words(factors[:, None])
        pairs = bias[: 4 * fours].reshape(fours, 2, 2).astype(np.int32)
        first, after = pairs[:, :, 0], pairs[:, :, 1]
        single = bias[:, None].astype(np.int32)
        # halfwords 256 w1 + w0, whose low byte is taken with its sign
        four = four.copy()
        four[1::2] -= four[0::2] < 0
    # [four][two inputs][pair of outputs][input][output]
    words = four.reshape(fours, 2, 2, filled_weights.shape[1] // 2, 2).transpose(0, 3, 1, 4, 2)
    words = np.ascontiguousarray(words).reshape(fours, 4 * filled_weights.shape[1]).view("<i4")
    ends = requant[: 4 * fours].reshape(fours, 4 * requant.shape[1])
    parts = [np.concatenate([first, words, after, ends], axis=1).ravel()]
    for o in range(4 * fours, out_c):
        last = filled_weights[o].reshape(-1, 2, 2).transpose(0, 2, 1)
        parts += [single[o], np.ascontiguousarray(last).ravel().view("<i4"), requant[o]]
    return np.concatenate(parts).astype(np.int32)


# Elementwise


def sum_scaled_down(context: OpContext) -> bool:
    """The scales of both may differ at most 2^31-fold, and be at most 2^13 times the output's."""
    if not _int16_operands(context):
        return False
    params = sum_literals(context, (0, 1))
    operands = all(-31 <= params[name] <= 0 for name in ("shift_1", "shift_2"))
    return operands and _scaled_down(params)


def product_scaled_down(context: OpContext) -> bool:
    """The product of the input scales must be 2 to 2^31 times below the output's."""
    return _int16_operands(context) and _scaled_down(product_literals(context, (0, 1)))


def _int16_operands(context: OpContext) -> bool:
    return int16_activations(context) and int16_constants(context)


def _scaled_down(params: dict[str, int]) -> bool:
    return params["multiplier"] >= 1 << 30 and -31 <= params["shift"] <= -1


_WEIGHTED = (one_activation, int16_activations, constant_symmetric_weights, constant_int64_bias)
_PAIR = (int16_activations, two_activations, same_shape)
_CONV = (*_WEIGHTED, single_image, one_group)

_lower_sum, _lower_product = lower_same_shape(sum_literals), lower_same_shape(product_literals)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_add_s16_dsp", OpKind.ADD, Isa.DSP, _lower_sum, (*_PAIR, sum_scaled_down)),
    Kernel("tm_add_s16_dsp", OpKind.BINARY, Isa.DSP, _lower_sum, (is_sub, *_PAIR, sum_scaled_down)),
    Kernel("tm_mul_s16_dsp", OpKind.MUL, Isa.DSP, _lower_product, (*_PAIR, product_scaled_down)),
    Kernel(
        "tm_conv2d_1x1_s16_dsp",
        OpKind.CONV_2D,
        Isa.DSP,
        _lower_pointwise,
        (*_CONV, pointwise),
        less_scratch=in_small_blocks,
    ),
    Kernel("tm_conv2d_s16_dsp", OpKind.CONV_2D, Isa.DSP, _lower_conv, _CONV, less_scratch=in_small_blocks),
    Kernel(
        "tm_transpose_conv_s16_dsp",
        OpKind.TRANSPOSE_CONV,
        Isa.DSP,
        _lower_transpose_conv,
        (*_WEIGHTED, single_image, equal_depth, at_least_the_stride),
    ),
    Kernel(
        "tm_dwconv2d_s16_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise,
        (*_WEIGHTED, single_image, depth_multiplier_one, sums_fit_and_scale_down),
        row_in_place=True,
    ),
    Kernel(
        "tm_conv2d_s16_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_conv,
        (*_WEIGHTED, single_image, one_input_channel),
        less_scratch=in_small_blocks,
    ),
    Kernel(
        "tm_fully_connected_s16_dsp",
        OpKind.FULLY_CONNECTED,
        Isa.DSP,
        _lower_dense,
        (*_WEIGHTED, whole_rows, pairs_of_outputs_fit),
    ),
)
