"""Convolution, depthwise and fully connected layers with DSP instructions (Armv7E-M, Armv8-M).

Each kernel is bit-equal to its portable twin; where a predicate refuses, that one is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind
from tinyml.kernels.convolution import pointwise, window_access, window_loop
from tinyml.kernels.dense import one_weight_scale, whole_rows
from tinyml.kernels.dsp_streams import (
    Int8Array,
    Int32Array,
    RequantForm,
    conv_stream,
    depthwise_3x3_stream,
    depthwise_pairs_stream,
    depthwise_stream,
    fully_connected_stream,
    packable,
    requant_form,
    requant_words,
)
from tinyml.kernels.elementwise import (
    add_literals,
    int8_constants,
    lower_same_shape,
    same_shape,
    two_activations,
)
from tinyml.kernels.pooling import ACCEPTS as POOLING
from tinyml.kernels.pooling import lower_pooling
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    int8_activations,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def one_group(context: OpContext) -> bool:
    """The convolution must have one group."""
    return context.input(1).shape[3] == context.input(0).shape[3]


def depth_multiplier_one(context: OpContext) -> bool:
    """The depth multiplier must be 1."""
    return context.output.shape[3] == context.input(0).shape[3]


def lines_of_pairs(context: OpContext) -> bool:
    """The horizontal stride must be 1 or 2, the horizontal dilation 1."""
    attrs = window_attrs(context)
    return attrs.dilation_w == 1 and attrs.stride_w in (1, 2)


def no_dilation(context: OpContext) -> bool:
    """The dilation must be 1."""
    attrs = window_attrs(context)
    return (attrs.dilation_h, attrs.dilation_w) == (1, 1)


def strides_one_or_two(context: OpContext) -> bool:
    """The strides must be 1 or 2."""
    attrs = window_attrs(context)
    return attrs.stride_h in (1, 2) and attrs.stride_w in (1, 2)


def three_to_five_pairs_of_rows(context: OpContext) -> bool:
    """The vertical stride must be 1 or 2, and the rows of two outputs 5 to 10."""
    attrs = window_attrs(context)
    return attrs.stride_h in (1, 2) and 5 <= attrs.kernel_h + attrs.stride_h <= 10


def at_most_255_pixels(context: OpContext) -> bool:
    """The window must have at most 255 pixels."""
    attrs = window_attrs(context)
    return attrs.kernel_h * attrs.kernel_w <= 255


def kernel_3x3(context: OpContext) -> bool:
    """The kernel must be 3x3."""
    attrs = window_attrs(context)
    return (attrs.kernel_h, attrs.kernel_w) == (3, 3)


def addends_scaled_down(context: OpContext) -> bool:
    """The scales of the addends may differ at most 2^31-fold, and from the output's at most 2^11-fold."""
    shifts = numerics.add_params(context.graph, context.op)
    operands = all(-31 <= shift <= 0 for shift in (shifts.shift_1, shifts.shift_2))
    return operands and -31 <= shifts.shift_out <= -1


def _weights(context: OpContext) -> Int8Array:
    data = context.input(1).data
    assert data is not None
    return np.asarray(data, np.int8)


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a convolution's stream is packed from; channels are the first axis of the weights."""

    weights: Int8Array
    bias: Int32Array
    form: RequantForm
    requant: Int32Array

    @property
    def packed(self) -> bool:
        """Whether a convolution's pairs of channels are packed.

        Unpacking takes 9 instructions, a word of weights one less. The rare form has no code for it.
        """
        flat = self.weights.reshape(len(self.weights), -1)
        worth_it = len(flat) > 1 and flat.shape[1] > 16
        return worth_it and self.form is not RequantForm.ANY and packable(flat)


def settle_constant_channels(
    context: OpContext, weights: Int8Array
) -> tuple[Int8Array, Int32Array, Int32Array, Int32Array]:
    """Return (weights, folded bias, multiplier, shift) of a convolution with harmless constant channels.

    A channel without a weight other than 0, or with a multiplier of 0, gives the same value for
    every input. Pruned networks have many of them, with shifts that would force the slow forms on
    the whole layer; the same value comes out of bias 8·(value − zero point), multiplier 2^30 and a
    right shift by 2, exactly: both roundings see whole numbers.

    Args:
        context: the convolution.
        weights: its weights with the output channels as the first axis.
    """
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    bias = numerics.folded_bias(context.graph, context.op)
    zero_point = context.output.zero_point
    constant = (multiplier == 0) | ~weights.any(axis=tuple(range(1, weights.ndim)))
    value = numerics.multiply_by_quantized_multiplier(bias, multiplier, shift)
    value = np.clip(value, -128 - zero_point, 127 - zero_point)
    weights = np.where(constant.reshape(-1, *[1] * (weights.ndim - 1)), np.int8(0), weights)
    bias = np.where(constant, 8 * value, bias).astype(np.int32)
    multiplier = np.where(constant, np.int32(1 << 30), multiplier)
    shift = np.where(constant, np.int32(-2), shift)
    return weights, bias, multiplier, shift


def _layer(context: OpContext, weights: Int8Array) -> _Layer:
    """Settle the constant channels, and choose the form of requantisation."""
    weights, bias, multiplier, shift = settle_constant_channels(context, weights)
    form = requant_form(multiplier, shift)
    return _Layer(weights, bias, form, requant_words(form, multiplier, shift))


def _stream(values: Int32Array) -> tuple[Constant, ...]:
    return (Constant("stream", "int32_t", values, "weights, biases and requantisation, interleaved"),)


def _literals(context: OpContext, form: RequantForm, **shape: int) -> tuple[tuple[str, int], ...]:
    lo, hi = numerics.output_range(context.graph, context.op)
    values = {**shape, "form": int(form), "zp_out": context.output.zero_point, "lo": lo, "hi": hi}
    return tuple(values.items())


def _filled(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _lower_pointwise(context: OpContext) -> Lowered:
    _, out_h, out_w, out_c = context.output.shape
    in_c = context.input(0).shape[3]
    pixels = out_h * out_w
    layer = _layer(context, _weights(context).reshape(out_c, in_c))
    return Lowered(
        access=AccessMap(
            rows=pixels, row_bytes=out_c, inputs=(RowMap(pixels, in_c),), granule=4, buffered=True
        ),
        constants=_stream(conv_stream(layer.weights, layer.bias, layer.requant, packed=layer.packed)),
        literals=_literals(
            context, layer.form, pixels=pixels, in_c=in_c, out_c=out_c, packed=int(layer.packed)
        ),
        scratch_bytes=8 * _filled(in_c, 4),
        macs=pixels * in_c * out_c,
    )


def _lower_conv(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    _, _, in_w, in_c = context.input(0).shape
    _, _, out_w, out_c = context.output.shape
    taps = attrs.kernel_h * attrs.kernel_w * in_c
    layer = _layer(context, _weights(context).reshape(out_c, taps))
    return Lowered(
        access=window_access(context),
        constants=_stream(conv_stream(layer.weights, layer.bias, layer.requant, packed=layer.packed)),
        literals=_literals(
            context,
            layer.form,
            in_w=in_w,
            in_c=in_c,
            out_w=out_w,
            out_c=out_c,
            kernel_h=attrs.kernel_h,
            kernel_w=attrs.kernel_w,
            stride_w=attrs.stride_w,
            dilation_w=attrs.dilation_w,
            pad_left=attrs.pads.left,
            zp_in=context.input(0).zero_point,
            packed=int(layer.packed),
        ),
        # the widened column; gathered windows as well where taps are not whole words
        scratch_bytes=(8 if in_c % 4 == 0 else 12) * _filled(taps, 4),
        loop=window_loop(context, context.input(0).zero_point),
        macs=context.output.elements * taps,
    )


def _depthwise_layer(context: OpContext) -> _Layer:
    """Return the layer with weights as [channels, kernel_h, kernel_w]."""
    return _layer(context, np.asarray(_weights(context)[0]).transpose(2, 0, 1))


def _depthwise_words(context: OpContext, taps: int) -> int:
    """Words per prepared line: enough for the outputs, rounded up to pairs of them."""
    out_w = context.output.shape[2]
    outputs = _filled(out_w, 2)
    return (outputs // 2 if window_attrs(context).stride_w == 1 else outputs) + taps - 1


def _depthwise(
    context: OpContext, stream: Int32Array, form: RequantForm, scratch_bytes: int, **shape: int
) -> Lowered:
    attrs = window_attrs(context)
    _, _, in_w, channels = context.input(0).shape
    zero_point = context.input(0).zero_point
    return Lowered(
        access=window_access(context),
        constants=_stream(stream),
        literals=_literals(
            context,
            form,
            in_w=in_w,
            channels=channels,
            out_w=context.output.shape[2],
            **shape,
            pad_left=attrs.pads.left,
            zp_in=zero_point,
        ),
        scratch_bytes=scratch_bytes,
        loop=window_loop(context, zero_point),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w,
    )


def _two_rows(lowered: Lowered) -> Lowered:
    """Return the lowering of a kernel that computes two output rows at a time."""
    assert lowered.loop is not None
    return replace(lowered, access=replace(lowered.access, granule=2), loop=replace(lowered.loop, step=2))


def _lower_depthwise_3x3(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    layer = _depthwise_layer(context)
    stream = depthwise_3x3_stream(layer.weights, layer.bias, layer.requant)
    columns = (context.output.shape[2] - 1) * attrs.stride_w + 3
    scratch = 16 * (attrs.stride_h + 1) * columns
    return _two_rows(
        _depthwise(context, stream, layer.form, scratch, stride_h=attrs.stride_h, stride_w=attrs.stride_w)
    )


def _lower_depthwise_pairs(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    layer = _depthwise_layer(context)
    words = (attrs.kernel_h + attrs.stride_h + 1) // 2
    columns = (context.output.shape[2] - 1) * attrs.stride_w + attrs.kernel_w
    return _two_rows(
        _depthwise(
            context,
            depthwise_pairs_stream(layer.weights, layer.bias, layer.requant),
            layer.form,
            16 * words * columns + 8 * words * attrs.kernel_w,
            kernel_h=attrs.kernel_h,
            kernel_w=attrs.kernel_w,
            stride_h=attrs.stride_h,
            stride_w=attrs.stride_w,
        )
    )


def _lower_depthwise(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    taps = attrs.kernel_w // 2 + 1 if attrs.stride_w == 1 else -(-attrs.kernel_w // 2)
    layer = _depthwise_layer(context)
    stream = depthwise_stream(layer.weights, layer.bias, layer.requant, taps)
    lines = 16 * _depthwise_words(context, taps) * attrs.kernel_h
    # with stride 1 every weight pair is there twice, the second shifted by one tap
    weights = (8 if attrs.stride_w == 1 else 4) * _filled(taps * attrs.kernel_h, 2)
    return _depthwise(
        context,
        stream,
        layer.form,
        lines + weights,
        kernel_h=attrs.kernel_h,
        kernel_w=attrs.kernel_w,
        stride_w=attrs.stride_w,
    )


def _lower_depthwise_taps(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    taps = -(-attrs.kernel_w // 2)
    layer = _depthwise_layer(context)
    stream = depthwise_stream(layer.weights, layer.bias, layer.requant, taps)
    return _depthwise(
        context,
        stream,
        layer.form,
        32 * _filled(taps * attrs.kernel_h, 2),
        kernel_h=attrs.kernel_h,
        kernel_w=attrs.kernel_w,
        stride_w=attrs.stride_w,
        dilation_w=attrs.dilation_w,
    )


def _lower_fully_connected(context: OpContext) -> Lowered:
    weights = _weights(context)
    out_c, in_c = weights.shape
    batches = context.input(0).elements // in_c
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    bias = numerics.folded_bias(context.graph, context.op)
    lo, hi = numerics.output_range(context.graph, context.op)
    one_scale = one_weight_scale(context)
    requant = None if one_scale else np.stack([multiplier, shift], axis=1)
    fast = one_scale and -23 <= shift[0] <= -2 and in_c % 4 == 0 and out_c >= 4
    packed = bool(fast and packable(weights[: out_c // 4 * 4]))
    literals = {
        "batches": batches,
        "in_c": in_c,
        "out_c": out_c,
        "packed": int(packed),
        "per_output": int(not one_scale),
        "multiplier": int(multiplier[0]) if one_scale else 0,
        "shift": int(shift[0]) if one_scale else 0,
        "zp_out": context.output.zero_point,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=out_c, inputs=(RowMap(batches, in_c),)),
        constants=_stream(fully_connected_stream(weights, bias, requant, packed=packed)),
        literals=tuple(literals.items()),
        macs=batches * in_c * out_c,
    )


_ACCEPTS = (one_activation, int8_activations, constant_symmetric_weights, constant_int32_bias)
_CONV = (*_ACCEPTS, single_image, one_group)
_DEPTHWISE = (*_ACCEPTS, single_image, depth_multiplier_one)

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_add_s8_dsp",
        OpKind.ADD,
        Isa.DSP,
        lower_same_shape(add_literals),
        (int8_activations, int8_constants, two_activations, same_shape, addends_scaled_down),
    ),
    Kernel(
        "tm_avg_pool2d_s8_dsp",
        OpKind.AVERAGE_POOL_2D,
        Isa.DSP,
        lower_pooling,
        (*POOLING, at_most_255_pixels),
    ),
    Kernel("tm_conv2d_1x1_s8_dsp", OpKind.CONV_2D, Isa.DSP, _lower_pointwise, (*_CONV, pointwise)),
    Kernel("tm_conv2d_s8_dsp", OpKind.CONV_2D, Isa.DSP, _lower_conv, _CONV),
    Kernel(
        "tm_dwconv2d_3x3_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_3x3,
        (*_DEPTHWISE, kernel_3x3, no_dilation, strides_one_or_two),
    ),
    Kernel(
        "tm_dwconv2d_pairs_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_pairs,
        (*_DEPTHWISE, no_dilation, three_to_five_pairs_of_rows),
    ),
    Kernel(
        "tm_dwconv2d_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise,
        (*_DEPTHWISE, lines_of_pairs),
    ),
    Kernel(
        "tm_dwconv2d_taps_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_taps,
        _DEPTHWISE,
    ),
    Kernel(
        "tm_fully_connected_s8_dsp",
        OpKind.FULLY_CONNECTED,
        Isa.DSP,
        _lower_fully_connected,
        (*_ACCEPTS, whole_rows),
    ),
)
