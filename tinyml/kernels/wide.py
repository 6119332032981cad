"""Operators on int16 activations in portable C; weights are int8."""

from __future__ import annotations

import math

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import BinaryAttrs, BinaryFunction, DType, OpKind, ReduceAttrs, UnaryAttrs, UnaryFunction
from tinyml.kernels.convolution import divisible_groups, window_access, window_loop
from tinyml.kernels.dense import whole_rows
from tinyml.kernels.depthwise import whole_depth_multiplier
from tinyml.kernels.elementwise import lower_broadcast, one_constant, two_activations
from tinyml.kernels.geometry import elementwise_access
from tinyml.kernels.pooling import lower_pooling, windows_meet_image
from tinyml.kernels.predicates import (
    at_most_six_dimensions,
    constant_symmetric_weights,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.reduction import reduction_access, reduction_geometry
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.kernels.transpose_conv import equal_depth, lower_transposed
from tinyml.numerics import wide
from tinyml.numerics.binary import sub_params

_MOST_SUMMED = 1 << 16  # int16 values whose sum fits 32 bits


def int16_activations(context: OpContext) -> bool:
    """Activations must be int16 with one scale and zero point 0."""
    tensors = [context.graph.tensors[i] for i in (*context.activation_inputs, *context.op.outputs)]
    return all(t.dtype is DType.INT16 and t.quant is not None and t.quant.zero_point == (0,) for t in tensors)


def int16_constants(context: OpContext) -> bool:
    """Constant operands must be int16 with one scale and zero point 0."""
    constants = [context.graph.tensors[i] for i in context.op.inputs if i not in context.activation_inputs]
    return all(
        t.dtype is DType.INT16 and t.quant is not None and t.quant.zero_point == (0,) for t in constants
    )


def constant_int64_bias(context: OpContext) -> bool:
    """The bias must be constant int64, or absent."""
    bias = context.optional_input(2)
    return bias is None or (bias.data is not None and bias.dtype is DType.INT64)


def sum_fits(context: OpContext) -> bool:
    """A window, or what is averaged, must have less than 65,536 elements."""
    attrs = context.op.attrs
    if isinstance(attrs, ReduceAttrs):
        shape = context.input(0).shape
        inside = all(axis < len(shape) for axis in attrs.axes)
        return inside and math.prod(shape[axis] for axis in attrs.axes) < _MOST_SUMMED
    window = window_attrs(context)
    return window.kernel_h * window.kernel_w < _MOST_SUMMED


def classes_fit(context: OpContext) -> bool:
    """A row must have less than 65,536 classes."""
    shape = context.input(0).shape
    return len(shape) > 0 and shape[-1] < _MOST_SUMMED


def is_sub(context: OpContext) -> bool:
    """The function must be SUB."""
    return isinstance(context.op.attrs, BinaryAttrs) and context.op.attrs.function is BinaryFunction.SUB


def is_linear(context: OpContext) -> bool:
    """The function must be LEAKY_RELU or RELU."""
    return _unary(context) in (UnaryFunction.LEAKY_RELU, UnaryFunction.RELU)


def is_sigmoid(context: OpContext) -> bool:
    """The function must be LOGISTIC or TANH."""
    return _unary(context) in (UnaryFunction.LOGISTIC, UnaryFunction.TANH)


def _unary(context: OpContext) -> UnaryFunction:
    assert isinstance(context.op.attrs, UnaryAttrs)
    return context.op.attrs.function


# Layers with weights


def _axis(context: OpContext) -> int:
    return 3 if context.op.kind is OpKind.DEPTHWISE_CONV_2D else 0


def _needs_64_bits(context: OpContext) -> int:
    """Return 1 where the sums of some input may leave 32 bits."""
    weights = context.input(1).data
    assert weights is not None
    most = wide.largest_sum(weights, _axis(context)) + np.abs(wide.layer_bias(context.graph, context.op))
    return int(most.max() >= 1 << 31)


def _constants(context: OpContext) -> tuple[Constant, ...]:
    """Return weights, bias and requantisation of a convolution."""
    weights = context.input(1).data
    assert weights is not None
    multiplier, shift = wide.layer_requant(context.graph, context.op)
    return (
        Constant("weights", "int8_t", weights),
        Constant("bias", "int64_t", wide.layer_bias(context.graph, context.op)),
        Constant("multiplier", "int32_t", multiplier.astype(np.int32), "times 2^(shift - 15)"),
        Constant("shift", "int8_t", shift.astype(np.int8)),
    )


def _lower_window(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    in_w, in_c = context.input(0).shape[2:]
    out_w, out_c = context.output.shape[2:]
    literals = {"in_w": in_w, "in_c": in_c, "out_w": out_w, "out_c": out_c}
    depth = 1
    if context.op.kind is OpKind.CONV_2D:
        depth = context.input(1).shape[3]
        literals["groups"] = in_c // depth
    lo, hi = numerics.output_range(context.graph, context.op)
    literals |= {
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_w": attrs.stride_w,
        "dilation_w": attrs.dilation_w,
        "pad_left": attrs.pads.left,
        "wide": context.once("wide", lambda: _needs_64_bits(context)),
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=window_access(context),
        constants=context.once("constants", lambda: _constants(context)),
        literals=tuple(literals.items()),
        loop=window_loop(context, 0),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w * depth,
    )


def _lower_transpose_conv(context: OpContext) -> Lowered:
    constants = context.once("constants", lambda: _constants(context))
    return lower_transposed(context, constants, wide=context.once("wide", lambda: _needs_64_bits(context)))


def _dense_constants(context: OpContext) -> tuple[Constant, ...]:
    """Return weights, bias and scales as 53-bit integers times a power of two."""
    weights = context.input(1).data
    assert weights is not None
    words = wide.dense_words(wide.dense_scale(context.graph, context.op))
    return (
        Constant("weights", "int8_t", weights),
        Constant("bias", "int64_t", wide.layer_bias(context.graph, context.op)),
        Constant("scale", "uint32_t", words[:, :2].astype(np.uint32), "high and low word, times 2^-bits"),
        Constant("bits", "uint8_t", words[:, 2].astype(np.uint8)),
    )


def _lower_dense(context: OpContext) -> Lowered:
    out_c, in_c = context.input(1).shape
    batches = context.input(0).elements // in_c
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "batches": batches,
        "in_c": in_c,
        "out_c": out_c,
        "wide": context.once("wide", lambda: _needs_64_bits(context)),
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=2 * out_c, inputs=(RowMap(batches, 2 * in_c),)),
        constants=context.once("constants", lambda: _dense_constants(context)),
        literals=tuple(literals.items()),
        macs=batches * out_c * in_c,
    )


# Elementwise


def sum_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    """Literals of tm_add_s16_*; `order` says which operand of the operator is x1, which x2."""
    params = numerics.add_params if context.op.kind is OpKind.ADD else sub_params
    p = params(context.graph, context.op)
    operands = ((p.multiplier_1, p.shift_1), (p.multiplier_2, p.shift_2))
    literals: dict[str, int] = {}
    for i, operand in enumerate(order, start=1):
        literals[f"multiplier_{i}"], literals[f"shift_{i}"] = operands[operand]
    return literals | {"multiplier": p.multiplier_out, "shift": p.shift_out, "lo": p.low, "hi": p.high}


def product_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    """Literals of tm_mul_s16_*."""
    p = numerics.mul_params(context.graph, context.op)
    return {"multiplier": p.multiplier, "shift": p.shift, "lo": p.low, "hi": p.high}


def _lower_linear(context: OpContext) -> Lowered:
    p = wide.linear_params(context.graph, context.op)
    literals = {
        "elements": context.output.elements,
        "multiplier_1": p.multiplier_1,
        "shift_1": p.shift_1,
        "multiplier_2": p.multiplier_2,
        "shift_2": p.shift_2,
    }
    shape = context.output.shape
    return Lowered(elementwise_access(shape, [shape], 2), literals=tuple(literals.items()))


def _lower_sigmoid(context: OpContext) -> Lowered:
    tanh = _unary(context) is UnaryFunction.TANH
    p = wide.sigmoid_params(context.input(0).scale, tanh=tanh)
    shape = context.output.shape
    literals = {
        "elements": context.output.elements,
        "hyperbolic": int(tanh),
        "multiplier": p.multiplier,
        "shift": p.shift,
    }
    return Lowered(
        elementwise_access(shape, [shape], 2),
        (Constant("table", "uint16_t", wide.sigmoid_table(), "the logistic function of i/24"),),
        tuple(literals.items()),
    )


# Pooling, reduction, softmax


def _lower_mean(context: OpContext) -> Lowered:
    p = numerics.mean_params(context.graph, context.op)
    literals = (("multiplier", p.multiplier), ("shift", p.shift))
    return Lowered(reduction_access(context), reduction_geometry(context), literals)


def _lower_softmax(context: OpContext) -> Lowered:
    classes = context.input(0).shape[-1]
    batches = context.input(0).elements // classes
    multiplier, shift = wide.softmax_requant(context.graph, context.op)
    literals = {"batches": batches, "classes": classes, "multiplier": multiplier, "shift": shift}
    return Lowered(
        AccessMap(rows=batches, row_bytes=2 * classes, inputs=(RowMap(batches, 2 * classes),)),
        (
            Constant("exp", "int16_t", wide.exp_lut(), "on [-10, 0]"),
            Constant("reciprocal", "int16_t", wide.reciprocal_lut(), "of 1 + v on [0, 1]"),
        ),
        tuple(literals.items()),
    )


_ONE = (one_activation, int16_activations)
_WEIGHTED = (*_ONE, constant_symmetric_weights, constant_int64_bias)
_IMAGE = (*_WEIGHTED, single_image)
_PAIR = (int16_activations, int16_constants, at_most_six_dimensions)
_POOL = (*_ONE, single_image, windows_meet_image, sum_fits)
_C = Isa.C
_lower_add, _lower_mul = lower_broadcast(sum_literals), lower_broadcast(product_literals)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_conv2d_s16_c", OpKind.CONV_2D, _C, _lower_window, (*_IMAGE, divisible_groups)),
    Kernel(
        "tm_dwconv2d_s16_c", OpKind.DEPTHWISE_CONV_2D, _C, _lower_window, (*_IMAGE, whole_depth_multiplier)
    ),
    Kernel(
        "tm_transpose_conv_s16_c", OpKind.TRANSPOSE_CONV, _C, _lower_transpose_conv, (*_IMAGE, equal_depth)
    ),
    Kernel("tm_fully_connected_s16_c", OpKind.FULLY_CONNECTED, _C, _lower_dense, (*_WEIGHTED, whole_rows)),
    Kernel("tm_add_s16_c", OpKind.ADD, _C, _lower_add, (*_PAIR, two_activations)),
    Kernel("tm_add_const_s16_c", OpKind.ADD, _C, _lower_add, (*_PAIR, one_constant)),
    Kernel("tm_add_s16_c", OpKind.BINARY, _C, _lower_add, (is_sub, *_PAIR, two_activations)),
    Kernel("tm_add_const_s16_c", OpKind.BINARY, _C, _lower_add, (is_sub, *_PAIR, one_constant)),
    Kernel("tm_mul_s16_c", OpKind.MUL, _C, _lower_mul, (*_PAIR, two_activations)),
    Kernel("tm_mul_const_s16_c", OpKind.MUL, _C, _lower_mul, (*_PAIR, one_constant)),
    Kernel("tm_linear_s16_c", OpKind.UNARY, _C, _lower_linear, (*_ONE, is_linear)),
    Kernel("tm_sigmoid_s16_c", OpKind.UNARY, _C, _lower_sigmoid, (*_ONE, is_sigmoid)),
    Kernel("tm_softmax_s16_c", OpKind.SOFTMAX, _C, _lower_softmax, (*_ONE, classes_fit)),
    Kernel("tm_mean_s16_c", OpKind.MEAN, _C, _lower_mean, (*_ONE, at_most_six_dimensions, sum_fits)),
    Kernel("tm_avg_pool2d_s16_c", OpKind.AVERAGE_POOL_2D, _C, lower_pooling, _POOL),
    Kernel("tm_max_pool2d_s16_c", OpKind.MAX_POOL_2D, _C, lower_pooling, _POOL),
)
