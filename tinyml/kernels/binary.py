"""Operators on two tensors that broadcast in portable C, other than ADD and MUL; SELECT and LOGICAL_NOT."""

from __future__ import annotations

import numpy as np

from tinyml.access import AccessMap, RowMap
from tinyml.graph import BinaryAttrs, BinaryFunction, DType, OpKind, SelectAttrs
from tinyml.kernels.elementwise import (
    Literals,
    add_literals,
    broadcast_strides,
    int8_constants,
    lower_broadcast,
    lower_same_shape,
    one_constant,
    operand_constant,
    same_shape,
    two_activations,
)
from tinyml.kernels.geometry import elementwise_access, walk
from tinyml.kernels.predicates import at_most_six_dimensions, int8_activations, one_activation
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext, Predicate
from tinyml.numerics import binary

_RELATIONS = (
    BinaryFunction.EQUAL,
    BinaryFunction.NOT_EQUAL,
    BinaryFunction.LESS,
    BinaryFunction.LESS_EQUAL,
    BinaryFunction.GREATER,
    BinaryFunction.GREATER_EQUAL,
)
"""In the order of the enum in tm_compare_s8_c.h."""

_SWAPPED = {
    BinaryFunction.LESS: BinaryFunction.GREATER,
    BinaryFunction.LESS_EQUAL: BinaryFunction.GREATER_EQUAL,
    BinaryFunction.GREATER: BinaryFunction.LESS,
    BinaryFunction.GREATER_EQUAL: BinaryFunction.LESS_EQUAL,
}


def _function(context: OpContext) -> BinaryFunction:
    assert isinstance(context.op.attrs, BinaryAttrs)
    return context.op.attrs.function


def function_is(*functions: BinaryFunction) -> Predicate:
    """Return the requirement that a BINARY computes one of these functions."""

    def predicate(context: OpContext) -> bool:
        return _function(context) in functions

    predicate.__doc__ = f"The function must be {' or '.join(functions)}."
    return predicate


def int8_to_bool(context: OpContext) -> bool:
    """Inputs must be int8 with one scale and zero point, the output bool."""
    tensors = [context.graph.tensors[i] for i in context.activation_inputs]
    int8 = all(t.dtype is DType.INT8 and t.quant is not None and not t.quant.per_channel for t in tensors)
    return int8 and context.output.dtype is DType.BOOL


def all_bool(context: OpContext) -> bool:
    """All tensors must be bool."""
    return all(
        context.graph.tensors[i].dtype is DType.BOOL for i in (*context.op.inputs, *context.op.outputs)
    )


_CHOSEN = (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL)


def bool_chooses(context: OpContext) -> bool:
    """The condition must be bool, all other tensors of one type of integers or bool."""
    condition, *data = (context.graph.tensors[i].dtype for i in (*context.op.inputs, *context.op.outputs))
    return condition is DType.BOOL and len(set(data)) == 1 and data[0] in _CHOSEN


def six_runs_of_bytes(context: OpContext) -> bool:
    """At most six dimensions, with the bytes of an element, may be left where even neighbours are joined."""
    try:
        _select_geometry(context)
    except ValueError:
        return False
    return True


def second_constant(context: OpContext) -> bool:
    """The slopes must be constant."""
    return context.activation_inputs == context.op.inputs[:1]


def _sub_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    literals = add_literals(context, order)
    subtracted = f"multiplier_{order.index(1) + 1}"
    return literals | {subtracted: -literals[subtracted]}


def _extremum_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    return {"largest": int(_function(context) is BinaryFunction.MAXIMUM)}


def _operand_literals(
    params: binary.SquaredDifferenceParams | binary.CompareParams, order: tuple[int, int]
) -> dict[str, int]:
    """Literals of both operands; `order` says which of the operator's is x1, which x2."""
    operands = (
        (-params.offset_1, params.multiplier_1, params.shift_1),
        (-params.offset_2, params.multiplier_2, params.shift_2),
    )
    literals: dict[str, int] = {}
    for i, operand in enumerate(order, start=1):
        names = (f"zp_{i}", f"multiplier_{i}", f"shift_{i}")
        literals |= dict(zip(names, operands[operand], strict=True))
    return literals


def _squared_difference_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    p = binary.squared_difference_params(context.graph, context.op)
    return _operand_literals(p, order) | {
        "multiplier": p.multiplier_out,
        "shift": p.shift_out,
        "zp_out": p.offset_out,
    }


def _div_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    attrs = context.op.attrs
    assert isinstance(attrs, BinaryAttrs)
    p = binary.div_params(context.input(0), context.input(1), context.output, attrs.activation)
    zero_points = (-p.offset_1, -p.offset_2)
    return {
        "swapped": int(order == (1, 0)),
        "zp_1": zero_points[order[0]],
        "zp_2": zero_points[order[1]],
        "multiplier": p.multiplier,
        "shift": p.shift,
        "zp_out": p.offset_out,
        "lo": p.low,
        "hi": p.high,
    }


def _compare_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    relation = _function(context)
    if order == (1, 0):
        relation = _SWAPPED.get(relation, relation)
    params = binary.compare_params(context.graph, context.op)
    return {"relation": _RELATIONS.index(relation)} | _operand_literals(params, order)


def _logical_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    return {"both": int(_function(context) is BinaryFunction.LOGICAL_AND)}


def _lower_prelu(context: OpContext) -> Lowered:
    shape = context.output.shape
    alpha = context.input(1)
    p = binary.prelu_params(context.graph, context.op)
    literals = {
        "zp_in": -p.offset,
        "multiplier_1": p.multiplier_1,
        "shift_1": p.shift_1,
        "zp_alpha": -p.offset_alpha,
        "multiplier_2": p.multiplier_2,
        "shift_2": p.shift_2,
        "zp_out": p.offset_out,
    }
    strides = (broadcast_strides(t.shape, shape) for t in (context.input(0), alpha))
    return Lowered(
        access=elementwise_access(shape, [context.input(0).shape]),
        constants=(
            operand_constant("alpha", alpha),
            walk("geometry", shape, *strides, comment="dimensions, then the strides of both"),
        ),
        literals=tuple(literals.items()),
    )


def _constants_are(*constant: bool) -> Predicate:
    """Return the requirement that condition, a and b are constant or not as given."""

    def predicate(context: OpContext) -> bool:
        return tuple(context.input(i).data is not None for i in range(3)) == constant

    names = [name for name, is_constant in zip("cab", constant, strict=True) if is_constant]
    listed = {(): "No input", ("a",): "Only the first choice", ("b",): "Only the second choice"}
    predicate.__doc__ = f"{listed.get(tuple(names), 'Both choices and nothing else')} must be constant."
    return predicate


def _select_geometry(context: OpContext) -> Constant:
    """Return the walk through the bytes of a SELECT: those of one element are a dimension of their own."""
    shape, size = context.output.shape, context.output.dtype.size_bytes
    shapes = [context.input(i).shape for i in range(3)]
    assert isinstance(context.op.attrs, SelectAttrs)
    if context.op.attrs.leading_condition:
        shapes[0] = shapes[0] + (1,) * (len(shape) - 1)
    strides = [broadcast_strides(s, shape) for s in shapes]
    return walk(
        "geometry",
        (*shape, size),
        (*strides[0], 0),
        *((*(step * size for step in steps), 1) for steps in strides[1:]),
        comment="dimensions, then the strides of condition and both choices",
    )


def _lower_select(context: OpContext) -> Lowered:
    inputs = [context.input(i) for i in range(3)]
    choices = [
        Constant(name, "int8_t", t.data.reshape(-1).view(np.int8))
        for name, t in zip("ab", inputs[1:], strict=True)
        if t.data is not None
    ]
    return Lowered(access=_select_access(context), constants=(*choices, _select_geometry(context)))


def _select_access(context: OpContext) -> AccessMap:
    """Return the map of a SELECT, which reads the condition again for each byte of a wide element."""
    shape, size, elements = context.output.shape, context.output.dtype.size_bytes, context.output.elements
    tensors = [context.graph.tensors[i] for i in context.activation_inputs]
    if size == 1:
        return elementwise_access(shape, [t.shape for t in tensors])
    maps = (RowMap(elements, t.dtype.size_bytes) if t.elements == elements else None for t in tensors)
    return AccessMap(rows=elements, row_bytes=size, inputs=tuple(maps))


def _lower_elements(context: OpContext) -> Lowered:
    shape = context.output.shape
    return Lowered(
        access=elementwise_access(shape, [shape]), literals=(("elements", context.output.elements),)
    )


def _kernels(
    stem: str,
    literals: Literals,
    functions: tuple[BinaryFunction, ...],
    *accepts: Predicate,
    ends: str = "s8_c",
) -> tuple[Kernel, ...]:
    """Return the rows of a function of two activations, and of one and a constant."""
    accepts = (function_is(*functions), *accepts, at_most_six_dimensions)
    lower = lower_broadcast(literals)
    return (
        Kernel(f"{stem}_{ends}", OpKind.BINARY, Isa.C, lower, (*accepts, two_activations)),
        Kernel(f"{stem}_const_{ends}", OpKind.BINARY, Isa.C, lower, (*accepts, one_constant)),
    )


_SUB = (function_is(BinaryFunction.SUB), int8_activations, int8_constants, at_most_six_dimensions)
_SELECT = (bool_chooses, six_runs_of_bytes)

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_sub_s8_c",
        OpKind.BINARY,
        Isa.C,
        lower_same_shape(_sub_literals),
        (*_SUB, two_activations, same_shape),
    ),
    Kernel(
        "tm_sub_broadcast_s8_c",
        OpKind.BINARY,
        Isa.C,
        lower_broadcast(_sub_literals),
        (*_SUB, two_activations),
    ),
    Kernel("tm_sub_const_s8_c", OpKind.BINARY, Isa.C, lower_broadcast(_sub_literals), (*_SUB, one_constant)),
    *_kernels(
        "tm_extremum",
        _extremum_literals,
        (BinaryFunction.MINIMUM, BinaryFunction.MAXIMUM),
        int8_activations,
        int8_constants,
    ),
    *_kernels(
        "tm_squared_difference",
        _squared_difference_literals,
        (BinaryFunction.SQUARED_DIFFERENCE,),
        int8_activations,
        int8_constants,
    ),
    *_kernels("tm_div", _div_literals, (BinaryFunction.DIV,), int8_activations, int8_constants),
    *_kernels("tm_compare", _compare_literals, _RELATIONS, int8_to_bool, int8_constants),
    *_kernels(
        "tm_logical",
        _logical_literals,
        (BinaryFunction.LOGICAL_AND, BinaryFunction.LOGICAL_OR),
        all_bool,
        ends="c",
    ),
    Kernel(
        "tm_prelu_s8_c",
        OpKind.BINARY,
        Isa.C,
        _lower_prelu,
        (
            function_is(BinaryFunction.PRELU),
            second_constant,
            int8_activations,
            int8_constants,
            at_most_six_dimensions,
        ),
    ),
    Kernel("tm_logical_not_c", OpKind.LOGICAL_NOT, Isa.C, _lower_elements, (one_activation, all_bool)),
    Kernel(
        "tm_select_s8_c",
        OpKind.SELECT,
        Isa.C,
        _lower_select,
        (*_SELECT, _constants_are(False, False, False)),
    ),
    Kernel(
        "tm_select_a_s8_c",
        OpKind.SELECT,
        Isa.C,
        _lower_select,
        (*_SELECT, _constants_are(False, True, False)),
    ),
    Kernel(
        "tm_select_b_s8_c",
        OpKind.SELECT,
        Isa.C,
        _lower_select,
        (*_SELECT, _constants_are(False, False, True)),
    ),
    Kernel(
        "tm_select_ab_s8_c",
        OpKind.SELECT,
        Isa.C,
        _lower_select,
        (*_SELECT, _constants_are(False, True, True)),
    ),
)
