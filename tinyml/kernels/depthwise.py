"""DEPTHWISE_CONV_2D in portable C, row by row."""

from __future__ import annotations

from tinyml import numerics
from tinyml.graph import OpKind
from tinyml.kernels.convolution import requant_constants, window_access, window_loop
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    has_rank,
    int8_activations,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def whole_depth_multiplier(context: OpContext) -> bool:
    """The output channels must be a multiple of the input channels."""
    return has_rank(context, 4, 4) and context.input(1).shape[3] % context.input(0).shape[3] == 0


def _lower(context: OpContext) -> Lowered:
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
        literals=tuple((name, str(value)) for name, value in literals.items()),
        loop=window_loop(context, zp_in),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w,
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_dwconv2d_s8_c",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.C,
        _lower,
        (
            one_activation,
            int8_activations,
            single_image,
            constant_symmetric_weights,
            constant_int32_bias,
            whole_depth_multiplier,
        ),
    ),
)
