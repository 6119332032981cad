"""PAD and RESIZE_NEAREST_NEIGHBOR in portable C: bytes move, none changes."""

from __future__ import annotations

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind, PadAttrs, ResizeAttrs
from tinyml.kernels.geometry import strides, walk
from tinyml.kernels.predicates import (
    at_most_six_dimensions,
    int8_activations,
    one_activation,
    single_image,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext, RowLoop


def _pad_attrs(context: OpContext) -> PadAttrs:
    attrs = context.op.attrs
    assert isinstance(attrs, PadAttrs)
    return attrs


def _lower_pad_rows(context: OpContext) -> Lowered:
    _, (top, _), (left, right), (before, after) = _pad_attrs(context).paddings
    _, in_h, in_w, in_c = context.input(0).shape
    _, out_h, out_w, out_c = context.output.shape
    value = int(numerics.pad_value(context.graph, context.op))
    literals = {
        "in_w": in_w,
        "in_c": in_c,
        "left": left,
        "right": right,
        "before": before,
        "after": after,
        "value": value,
    }
    return Lowered(
        access=AccessMap(
            rows=out_h, row_bytes=out_w * out_c, inputs=(RowMap(in_h, in_w * in_c, lo=-top, hi=-top),)
        ),
        literals=tuple(literals.items()),
        loop=RowLoop(
            kernel_h=1,
            stride_h=1,
            dilation_h=1,
            pad_top=top,
            in_rows=in_h,
            in_row_bytes=in_w * in_c,
            out_rows=out_h,
            out_row_bytes=out_w * out_c,
            pad_value=value,
        ),
    )


def _lower_pad_nd(context: OpContext) -> Lowered:
    shape, output = context.input(0).shape, context.output
    value = int(numerics.pad_value(context.graph, context.op))
    steps = strides(output.shape)
    start = sum(before * step for (before, _), step in zip(_pad_attrs(context).paddings, steps, strict=True))
    return Lowered(
        access=AccessMap(rows=1, row_bytes=output.elements, inputs=(None,)),
        constants=(walk("geometry", shape, steps, comment="input dimensions, output strides"),),
        literals=(("out_elements", output.elements), ("start", start), ("value", value)),
    )


def _lower_resize(context: OpContext) -> Lowered:
    attrs = context.op.attrs
    assert isinstance(attrs, ResizeAttrs)
    _, in_h, in_w, channels = context.input(0).shape
    _, out_h, out_w, _ = context.output.shape
    literals = {"in_w": in_w, "out_h": out_h, "out_w": out_w, "channels": channels}
    return Lowered(
        access=AccessMap(rows=out_h, row_bytes=out_w * channels, inputs=(None,)),
        constants=(
            Constant("in_rows", "int32_t", numerics.resize_indices(in_h, out_h, attrs)),
            Constant("in_cols", "int32_t", numerics.resize_indices(in_w, out_w, attrs)),
        ),
        literals=tuple(literals.items()),
    )


_ACCEPTS = (one_activation, int8_activations)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_pad_s8_c", OpKind.PAD, Isa.C, _lower_pad_rows, (*_ACCEPTS, single_image)),
    Kernel("tm_pad_nd_s8_c", OpKind.PAD, Isa.C, _lower_pad_nd, (*_ACCEPTS, at_most_six_dimensions)),
    Kernel(
        "tm_resize_nearest_s8_c",
        OpKind.RESIZE_NEAREST_NEIGHBOR,
        Isa.C,
        _lower_resize,
        (*_ACCEPTS, single_image),
    ),
)
