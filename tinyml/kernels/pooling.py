"""AVERAGE_POOL_2D and MAX_POOL_2D in portable C, row by row."""

from __future__ import annotations

from tinyml import numerics
from tinyml.graph import OpKind
from tinyml.kernels.convolution import window_access, window_loop
from tinyml.kernels.predicates import int8_activations, one_activation, single_image, window_attrs
from tinyml.kernels.registry import Isa, Kernel, Lowered, OpContext


def windows_meet_image(context: OpContext) -> bool:
    """Every pooling window must hold at least one pixel of the image."""
    if not single_image(context):
        return False
    attrs = window_attrs(context)
    _, in_h, in_w, _ = context.input(0).shape
    _, out_h, out_w, _ = context.output.shape
    pads = attrs.pads
    return (
        pads.top < attrs.kernel_h
        and pads.left < attrs.kernel_w
        and (out_h - 1) * attrs.stride_h - pads.top < in_h
        and (out_w - 1) * attrs.stride_w - pads.left < in_w
    )


def lower_pooling(context: OpContext) -> Lowered:
    """Lower to a row kernel that gets NULL for rows outside the image."""
    attrs = window_attrs(context)
    _, _, in_w, channels = context.input(0).shape
    out_w = context.output.shape[2]
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "in_w": in_w,
        "channels": channels,
        "out_w": out_w,
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_w": attrs.stride_w,
        "pad_left": attrs.pads.left,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=window_access(context),
        literals=tuple(literals.items()),
        loop=window_loop(context, None),
        per_column="out_w",
    )


ACCEPTS = (one_activation, int8_activations, single_image, windows_meet_image)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_avg_pool2d_s8_c", OpKind.AVERAGE_POOL_2D, Isa.C, lower_pooling, ACCEPTS),
    Kernel("tm_max_pool2d_s8_c", OpKind.MAX_POOL_2D, Isa.C, lower_pooling, ACCEPTS),
)
