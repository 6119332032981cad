"""Kernels for Helium, the vector extension of Armv8.1-M (Cortex-M55, M85).

Each kernel is bit-equal to its portable twin; where a predicate refuses, the DSP or the portable one is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind
from tinyml.kernels.convolution import pointwise, window_access, window_loop
from tinyml.kernels.dense import one_weight_scale, whole_rows
from tinyml.kernels.depthwise import lower_depthwise, whole_depth_multiplier
from tinyml.kernels.dsp import (
    addends_scaled_down,
    at_most_255_pixels,
    depth_multiplier_one,
    kernel_3x3,
    lines_of_pairs,
    no_dilation,
    one_group,
    settle_constant_channels,
    strides_one_or_two,
)
from tinyml.kernels.dsp_streams import Int8Array, Int32Array
from tinyml.kernels.elementwise import (
    add_literals,
    int8_constants,
    lower_same_shape,
    mul_literals,
    same_shape,
    two_activations,
)
from tinyml.kernels.mve_streams import (
    LANES,
    RequantForm,
    conv_stream,
    depthwise_3x3_stream,
    depthwise_words_stream,
    depthwise_words_taps,
    requant_form,
    requant_words,
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
from tinyml.kernels.quantization import lower_requantize
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def narrow_rows(context: OpContext) -> bool:
    """The output must be at most 16 pixels wide, no multiple of 4, and the vertical dilation 1."""
    out_w = context.output.shape[2]
    return out_w <= 16 and out_w % 4 != 0 and window_attrs(context).dilation_h == 1


def rows_within_offsets(context: OpContext) -> bool:
    """An output row must have less than 65,536 bytes."""
    _, _, out_w, channels = context.output.shape
    return (out_w + 3) * channels < 1 << 16


def at_most_8x8(context: OpContext) -> bool:
    """The kernel must be at most 8x8."""
    attrs = window_attrs(context)
    return max(attrs.kernel_h, attrs.kernel_w) <= 8


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


def _layer(context: OpContext, arrange: Callable[[Int8Array], Int8Array]) -> _Layer:
    """Return the layer with its weights arranged as the kernel reads them: channels first."""
    return context.once("layer", lambda: _fold(context, arrange(_weights(context))))


def _fold(context: OpContext, weights: Int8Array) -> _Layer:
    """Settle the constant channels, and choose the form of requantisation."""
    weights, bias, multiplier, shift = settle_constant_channels(context, weights)
    form = RequantForm(context.once("form", lambda: requant_form(multiplier, shift)))
    return _Layer(weights, bias, form, requant_words(form, multiplier, shift))


def _stream(
    context: OpContext, layer: _Layer, pack: Callable[[Int8Array, Int32Array, Int32Array], Int32Array]
) -> tuple[Constant, ...]:
    def derive() -> tuple[Constant, ...]:
        values = pack(layer.weights, layer.bias, layer.requant)
        return (Constant("stream", "int32_t", values, "weights, biases and requantisation, interleaved"),)

    return context.once("stream", derive)


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
    layer = _layer(context, lambda weights: weights.reshape(out_c, in_c))
    tile = 4 * _filled(out_c, 4) if pixels % 4 or out_c % 4 else 0
    return Lowered(
        access=AccessMap(
            rows=pixels, row_bytes=out_c, inputs=(RowMap(pixels, in_c),), granule=4, buffered=True
        ),
        constants=_stream(context, layer, conv_stream),
        literals=_literals(context, layer.form, pixels=pixels, in_c=in_c, out_c=out_c),
        scratch_bytes=4 * _filled(in_c, LANES) + tile,
        macs=pixels * in_c * out_c,
        per_column="pixels",
    )


def _lower_conv(context: OpContext, **stride_h: int) -> Lowered:
    attrs = window_attrs(context)
    _, _, in_w, in_c = context.input(0).shape
    _, _, out_w, out_c = context.output.shape
    taps = attrs.kernel_h * attrs.kernel_w * in_c
    layer = _layer(context, lambda weights: weights.reshape(out_c, taps))
    return Lowered(
        access=window_access(context),
        constants=_stream(context, layer, conv_stream),
        literals=_literals(
            context,
            layer.form,
            in_w=in_w,
            in_c=in_c,
            out_w=out_w,
            out_c=out_c,
            kernel_h=attrs.kernel_h,
            kernel_w=attrs.kernel_w,
            **stride_h,
            stride_w=attrs.stride_w,
            dilation_w=attrs.dilation_w,
            pad_left=attrs.pads.left,
            zp_in=context.input(0).zero_point,
        ),
        # the column, the windows it is filled from, outputs that fill no block of four by four
        scratch_bytes=(4 if in_c % LANES == 0 else 20) * _filled(taps, LANES) + 4 * _filled(out_c, 4),
        loop=window_loop(context, context.input(0).zero_point),
        macs=context.output.elements * taps,
        per_column="out_w",
    )


def _lower_conv_rows(context: OpContext) -> Lowered:
    """As many rows at a time as make whole blocks of four pixels."""
    step = 4 // math.gcd(context.output.shape[2], 4)
    return _steps(_lower_conv(context, stride_h=window_attrs(context).stride_h), step)


def _depthwise_layer(context: OpContext) -> _Layer:
    """Return the layer with weights as [channels, kernel_h, kernel_w]."""
    return _layer(context, lambda weights: np.asarray(weights[0]).transpose(2, 0, 1))


def _depthwise(
    context: OpContext,
    pack: Callable[[Int8Array, Int32Array, Int32Array], Int32Array],
    scratch_bytes: int,
    **shape: int,
) -> Lowered:
    attrs = window_attrs(context)
    _, _, in_w, channels = context.input(0).shape
    zero_point = context.input(0).zero_point
    layer = _depthwise_layer(context)
    return Lowered(
        access=window_access(context),
        constants=_stream(context, layer, pack),
        literals=_literals(
            context,
            layer.form,
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
        per_column="out_w",
    )


def _lower_depthwise_3x3(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    columns = (context.output.shape[2] - 1) * attrs.stride_w + 3
    lowered = _depthwise(
        context,
        depthwise_3x3_stream,
        64 * attrs.stride_h * (columns + 1),
        stride_h=attrs.stride_h,
        stride_w=attrs.stride_w,
    )
    return _steps(lowered, 2)


def _steps(lowered: Lowered, step: int) -> Lowered:
    """Return the lowering of a kernel that computes several output rows at a time."""
    assert lowered.loop is not None
    return replace(
        lowered, access=replace(lowered.access, granule=step), loop=replace(lowered.loop, step=step)
    )


def _lower_depthwise_words(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    kernel = (attrs.kernel_h, attrs.kernel_w)
    planes, columns = -(-attrs.kernel_h // 4), _filled(attrs.kernel_w, 4)
    lowered = _depthwise(
        context,
        depthwise_words_stream,
        64 * planes * ((context.output.shape[2] - 1) * attrs.stride_w + columns),
        kernel_h=attrs.kernel_h,
        kernel_w=attrs.kernel_w,
        stride_w=attrs.stride_w,
    )
    taps = Constant("taps", "uint8_t", depthwise_words_taps(*kernel), "where each weight stands")
    return replace(lowered, constants=(*lowered.constants, taps))


def _lower_fully_connected(context: OpContext) -> Lowered:
    weights = _weights(context)
    out_c, in_c = weights.shape
    batches = context.input(0).elements // in_c
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    bias = numerics.folded_bias(context.graph, context.op)
    lo, hi = numerics.output_range(context.graph, context.op)
    one_scale = one_weight_scale(context)
    parameters = bias if one_scale else np.concatenate([bias, multiplier, shift])
    literals = {
        "batches": batches,
        "in_c": in_c,
        "out_c": out_c,
        "vector": int(np.all((shift >= -31) & (shift <= -2))),
        "per_output": int(not one_scale),
        "multiplier": int(multiplier[0]) if one_scale else 0,
        "shift": int(shift[0]) if one_scale else 0,
        "zp_out": context.output.zero_point,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=out_c, inputs=(RowMap(batches, in_c),)),
        constants=(
            Constant("weights", "int8_t", weights),
            Constant("parameters", "int32_t", parameters.astype(np.int32), "biases and requantisation"),
        ),
        literals=tuple(literals.items()),
        macs=batches * in_c * out_c,
    )


_ACCEPTS = (one_activation, int8_activations, constant_symmetric_weights, constant_int32_bias)
_CONV = (*_ACCEPTS, single_image, one_group)
_DEPTHWISE = (*_ACCEPTS, single_image, depth_multiplier_one)

_ELEMENTWISE = (int8_activations, int8_constants, two_activations, same_shape)

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_add_s8_mve",
        OpKind.ADD,
        Isa.MVE,
        lower_same_shape(add_literals),
        (*_ELEMENTWISE, addends_scaled_down),
    ),
    Kernel(
        "tm_avg_pool2d_s8_mve",
        OpKind.AVERAGE_POOL_2D,
        Isa.MVE,
        lower_pooling,
        (*POOLING, at_most_255_pixels),
    ),
    Kernel("tm_conv2d_1x1_s8_mve", OpKind.CONV_2D, Isa.MVE, _lower_pointwise, (*_CONV, pointwise)),
    Kernel("tm_conv2d_rows_s8_mve", OpKind.CONV_2D, Isa.MVE, _lower_conv_rows, (*_CONV, narrow_rows)),
    Kernel("tm_conv2d_s8_mve", OpKind.CONV_2D, Isa.MVE, _lower_conv, _CONV),
    Kernel(
        "tm_dwconv2d_3x3_s8_mve",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.MVE,
        _lower_depthwise_3x3,
        (*_DEPTHWISE, kernel_3x3, no_dilation, strides_one_or_two, rows_within_offsets),
        row_in_place=True,
    ),
    Kernel(
        "tm_dwconv2d_words_s8_mve",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.MVE,
        _lower_depthwise_words,
        (*_DEPTHWISE, at_most_8x8, lines_of_pairs),
        row_in_place=True,
    ),
    Kernel(
        "tm_dwconv2d_s8_mve",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.MVE,
        lower_depthwise,
        (*_ACCEPTS, single_image, whole_depth_multiplier),
    ),
    Kernel(
        "tm_fully_connected_s8_mve",
        OpKind.FULLY_CONNECTED,
        Isa.MVE,
        _lower_fully_connected,
        (*_ACCEPTS, whole_rows),
    ),
    Kernel("tm_max_pool2d_s8_mve", OpKind.MAX_POOL_2D, Isa.MVE, lower_pooling, POOLING),
    Kernel("tm_mul_s8_mve", OpKind.MUL, Isa.MVE, lower_same_shape(mul_literals), _ELEMENTWISE),
    Kernel(
        "tm_requantize_s8_mve",
        OpKind.QUANTIZE,
        Isa.MVE,
        lower_requantize,
        (one_activation, int8_activations),
    ),
)
