"""CONV_2D in portable C: any window row by row, and 1x1 stride 1 pixel by pixel."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind, Pads, Tensor
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    has_rank,
    int8_activations,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext, RowLoop


def requant_constants(context: OpContext) -> tuple[Constant, Constant, Constant]:
    """Return the folded bias, multiplier and shift of each output channel (9 bytes in all).

    Shared by CONV_2D, DEPTHWISE_CONV_2D and per-channel FULLY_CONNECTED.
    """
    return context.once("requant", lambda: _requant_constants(context))


def _requant_constants(context: OpContext) -> tuple[Constant, Constant, Constant]:
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    bias = numerics.folded_bias(context.graph, context.op)
    return (
        Constant("bias", "int32_t", bias.astype(np.int32), "the input's zero point folded in"),
        Constant("multiplier", "int32_t", multiplier.astype(np.int32), "times 2^(shift - 31)"),
        Constant("shift", "int8_t", shift.astype(np.int8)),
    )


def image_row_bytes(image: Tensor) -> int:
    """Return the bytes of one row of an image [1, height, width, channels]."""
    return image.shape[2] * image.shape[3] * image.dtype.size_bytes


def window_access(context: OpContext) -> AccessMap:
    """Return the access map of a kernel that slides a window down the image, one output row a step."""
    attrs = window_attrs(context)
    in_h, out_h = context.input(0).shape[1], context.output.shape[1]
    lo = -attrs.pads.top
    hi = lo + (attrs.kernel_h - 1) * attrs.dilation_h
    return AccessMap(
        rows=out_h,
        row_bytes=image_row_bytes(context.output),
        inputs=(RowMap(in_h, image_row_bytes(context.input(0)), mul=attrs.stride_h, lo=lo, hi=hi),),
    )


def window_loop(context: OpContext, pad_value: int | None) -> RowLoop:
    """Return the row loop of a kernel that slides a window down the image."""
    attrs = window_attrs(context)
    return RowLoop(
        kernel_h=attrs.kernel_h,
        stride_h=attrs.stride_h,
        dilation_h=attrs.dilation_h,
        pad_top=attrs.pads.top,
        in_rows=context.input(0).shape[1],
        in_row_bytes=image_row_bytes(context.input(0)),
        out_rows=context.output.shape[1],
        out_row_bytes=image_row_bytes(context.output),
        pad_value=pad_value,
    )


def lower_window(context: OpContext, macs: int, **extra: int) -> Lowered:
    """Lower a convolution with weights to a row kernel of the portable kind.

    Args:
        context: CONV_2D or DEPTHWISE_CONV_2D.
        macs: multiply-accumulates, padded taps included.
        extra: literals between the sizes and the window, by parameter name.
    """
    attrs = window_attrs(context)
    _, _, in_w, in_c = context.input(0).shape
    _, _, out_w, out_c = context.output.shape
    weights = context.input(1)
    assert weights.data is not None
    zp_in = context.input(0).zero_point
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "in_w": in_w,
        "in_c": in_c,
        "out_w": out_w,
        "out_c": out_c,
        **extra,
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_w": attrs.stride_w,
        "dilation_w": attrs.dilation_w,
        "pad_left": attrs.pads.left,
        "zp_in": zp_in,
        "zp_out": context.output.zero_point,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=window_access(context),
        constants=(Constant("weights", "int8_t", weights.data), *requant_constants(context)),
        literals=tuple(literals.items()),
        loop=window_loop(context, zp_in),
        macs=macs,
        per_column="out_w",
    )


def divisible_groups(context: OpContext) -> bool:
    """The input channels must be a multiple of the weights' channels, and the groups divide the output's."""
    if not has_rank(context, 4, 4):
        return False
    in_c = context.input(0).shape[3]
    out_c, _, _, group_in = context.input(1).shape
    return in_c % group_in == 0 and out_c % (in_c // group_in) == 0


def pointwise(context: OpContext) -> bool:
    """The kernel must be 1x1 with stride 1, no padding and one group."""
    attrs = window_attrs(context)
    return (
        (attrs.kernel_h, attrs.kernel_w, attrs.stride_h, attrs.stride_w) == (1, 1, 1, 1)
        and attrs.pads == Pads()
        and has_rank(context, 4, 4)
        and context.input(1).shape[3] == context.input(0).shape[3]
    )


def _macs(context: OpContext) -> int:
    """Multiply-accumulates, padded taps included."""
    _, kernel_h, kernel_w, group_in = context.input(1).shape
    return context.output.elements * kernel_h * kernel_w * group_in


def _lower_rows(context: OpContext) -> Lowered:
    groups = context.input(0).shape[3] // context.input(1).shape[3]
    return lower_window(context, _macs(context), groups=groups)


def _lower_pixels(context: OpContext) -> Lowered:
    _, out_h, out_w, out_c = context.output.shape
    in_c = context.input(0).shape[3]
    weights = context.input(1)
    assert weights.data is not None
    lo, hi = numerics.output_range(context.graph, context.op)
    pixels = out_h * out_w
    literals = {
        "pixels": pixels,
        "in_c": in_c,
        "out_c": out_c,
        "zp_out": context.output.zero_point,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=AccessMap(rows=pixels, row_bytes=out_c, inputs=(RowMap(pixels, in_c),)),
        constants=(Constant("weights", "int8_t", weights.data), *requant_constants(context)),
        literals=tuple(literals.items()),
        macs=_macs(context),
        per_column="pixels",
    )


_ACCEPTS = (
    one_activation,
    int8_activations,
    single_image,
    constant_symmetric_weights,
    constant_int32_bias,
    divisible_groups,
)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_conv2d_1x1_s8_c", OpKind.CONV_2D, Isa.C, _lower_pixels, (*_ACCEPTS, pointwise)),
    Kernel("tm_conv2d_s8_c", OpKind.CONV_2D, Isa.C, _lower_rows, _ACCEPTS),
)
