"""Reductions over any axes, ARG_MAX and ARG_MIN, L2_NORMALIZATION and LOG_SOFTMAX in portable C."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import ArgAttrs, DType, Graph, Op, OpKind, Quant, ReduceAttrs
from tinyml.kernels.geometry import strides, walk
from tinyml.kernels.predicates import at_most_six_dimensions, int8_activations, one_activation
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.numerics.reduction import log_softmax_params, product_params, sum_params


def int32_indices(context: OpContext) -> bool:
    """The input must be int8 with one scale and zero point, the output int32."""
    return _indices(context, DType.INT32)


def int64_indices(context: OpContext) -> bool:
    """The input must be int8 with one scale and zero point, the output int64."""
    return _indices(context, DType.INT64)


def _indices(context: OpContext, dtype: DType) -> bool:
    x = context.input(0)
    one_scale = x.dtype is DType.INT8 and x.quant is not None and not x.quant.per_channel
    return one_scale and context.output.dtype is dtype


def unit_output(context: OpContext) -> bool:
    """The output must have scale 1/128 and zero point 0."""
    return context.output.quant == Quant((1 / 128,), (0,))


def sixteenth_output(context: OpContext) -> bool:
    """The output must have scale 1/16 and zero point 127."""
    return context.output.quant == Quant((1 / 16,), (127,))


def last_dimension_fits(context: OpContext) -> bool:
    """The last dimension may have at most 4,095 elements: then the TFLite reference's sum overflows."""
    shape = context.input(0).shape
    return len(shape) > 0 and shape[-1] < 1 << 12


def reduction_access(context: OpContext) -> AccessMap:
    """Return the map of a kernel that computes one output element after another.

    Where the reduced dimensions are the last ones, each reads its own part of the input.
    """
    attrs = context.op.attrs
    assert isinstance(attrs, ReduceAttrs)
    shape, elements, size = context.input(0).shape, context.output.elements, context.output.dtype.size_bytes
    large = [axis for axis, dim in enumerate(shape) if dim > 1]
    last = large[len(large) - sum(axis in attrs.axes for axis in large) :]
    if elements > 1 and all(axis in attrs.axes for axis in last):
        return AccessMap(
            elements, size, (RowMap(elements, size * context.input(0).elements // elements),), buffered=True
        )
    return AccessMap(rows=1, row_bytes=size * elements, inputs=(None,))


def reduction_geometry(context: OpContext) -> tuple[Constant, ...]:
    """Return the walks through the kept and the reduced dimensions."""
    attrs = context.op.attrs
    assert isinstance(attrs, ReduceAttrs)
    shape = context.input(0).shape
    steps = strides(shape)
    kept = [axis for axis in range(len(shape)) if axis not in attrs.axes]
    return tuple(
        walk(
            name,
            [shape[axis] for axis in axes],
            [steps[axis] for axis in axes],
            comment="dimensions, then the input's strides",
        )
        for name, axes in (("kept", kept), ("reduced", list(attrs.axes)))
    )


def _lower_sums(params_of: Callable[[Graph, Op], numerics.MeanParams]) -> Callable[[OpContext], Lowered]:
    def lower(context: OpContext) -> Lowered:
        params = params_of(context.graph, context.op)
        kept, reduced = reduction_geometry(context)
        literals = {
            "reduced_runs": int(reduced.values.reshape(2, -1)[0, :-1].prod()),
            "sum_offset": params.offset,
            "multiplier": params.multiplier,
            "shift": params.shift,
            "zp_out": params.offset_out,
            "lo": params.low,
            "hi": params.high,
        }
        return Lowered(reduction_access(context), (kept, reduced), tuple(literals.items()))

    return lower


def _lower_extreme(context: OpContext) -> Lowered:
    return Lowered(reduction_access(context), reduction_geometry(context))


def _lower_product(context: OpContext) -> Lowered:
    params = product_params(context.graph, context.op)
    literals = {
        "zp_in": -params.offset,
        "multiplier": params.multiplier,
        "shift": params.shift,
        "zp_out": params.offset_out,
    }
    return Lowered(reduction_access(context), reduction_geometry(context), tuple(literals.items()))


def _lower_arg(context: OpContext) -> Lowered:
    assert isinstance(context.op.attrs, ArgAttrs)
    axis, shape = context.op.attrs.axis, context.input(0).shape
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    literals = {"outer": outer, "count": shape[axis], "inner": inner}
    access = AccessMap(
        outer,
        inner * context.output.dtype.size_bytes,
        (RowMap(outer, shape[axis] * inner),),
        buffered=inner == 1,
    )
    return Lowered(access, literals=tuple(literals.items()))


def _by_rows(context: OpContext, **literals: int) -> Lowered:
    """Lower to a kernel that goes through the rows of the last dimension, each in place."""
    depth = context.input(0).shape[-1]
    rows = context.input(0).elements // depth
    return Lowered(AccessMap(rows, depth, (RowMap(rows, depth),)), literals=tuple(literals.items()))


def _lower_l2_normalization(context: OpContext) -> Lowered:
    x = context.input(0)
    return _by_rows(context, rows=x.elements // x.shape[-1], depth=x.shape[-1], zp_in=x.zero_point)


def _lower_log_softmax(context: OpContext) -> Lowered:
    x, params = context.input(0), log_softmax_params(context.graph, context.op)
    return _by_rows(
        context,
        batches=x.elements // x.shape[-1],
        classes=x.shape[-1],
        multiplier=params.exp.multiplier,
        left_shift=params.exp.left_shift,
        diff_min=params.exp.diff_min,
        reverse_multiplier=params.reverse_multiplier,
        reverse_shift=params.reverse_shift,
    )


_ACCEPTS = (one_activation, int8_activations)
_ANY_AXES = (*_ACCEPTS, at_most_six_dimensions)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_arg_max_s8_s32_c", OpKind.ARG_MAX, Isa.C, _lower_arg, (one_activation, int32_indices)),
    Kernel("tm_arg_max_s8_s64_c", OpKind.ARG_MAX, Isa.C, _lower_arg, (one_activation, int64_indices)),
    Kernel("tm_arg_min_s8_s32_c", OpKind.ARG_MIN, Isa.C, _lower_arg, (one_activation, int32_indices)),
    Kernel("tm_arg_min_s8_s64_c", OpKind.ARG_MIN, Isa.C, _lower_arg, (one_activation, int64_indices)),
    Kernel(
        "tm_l2_normalization_s8_c",
        OpKind.L2_NORMALIZATION,
        Isa.C,
        _lower_l2_normalization,
        (*_ACCEPTS, unit_output),
    ),
    Kernel(
        "tm_log_softmax_s8_c",
        OpKind.LOG_SOFTMAX,
        Isa.C,
        _lower_log_softmax,
        (*_ACCEPTS, sixteenth_output, last_dimension_fits),
    ),
    Kernel("tm_mean_s8_c", OpKind.MEAN, Isa.C, _lower_sums(numerics.mean_params), _ANY_AXES),
    Kernel("tm_reduce_max_s8_c", OpKind.REDUCE_MAX, Isa.C, _lower_extreme, _ANY_AXES),
    Kernel("tm_reduce_min_s8_c", OpKind.REDUCE_MIN, Isa.C, _lower_extreme, _ANY_AXES),
    Kernel("tm_reduce_prod_s8_c", OpKind.REDUCE_PROD, Isa.C, _lower_product, _ANY_AXES),
    Kernel("tm_sum_s8_c", OpKind.SUM, Isa.C, _lower_sums(sum_params), _ANY_AXES),
)
