"""Functions of int32 and int64 in portable C."""

from __future__ import annotations

from tinyml.graph import DType, IntegerAttrs, IntegerFunction, OpKind
from tinyml.kernels.elementwise import lower_broadcast, one_constant, two_activations
from tinyml.kernels.geometry import elementwise_access
from tinyml.kernels.predicates import at_most_six_dimensions, one_activation
from tinyml.kernels.registry import Isa, Kernel, Lowered, OpContext

_CODES = {function: code for code, function in enumerate(IntegerFunction)}
"""As the enum in tm_integer_c.h."""


def _function(context: OpContext) -> IntegerFunction:
    assert isinstance(context.op.attrs, IntegerAttrs)
    return context.op.attrs.function


def one_integer_type(context: OpContext) -> bool:
    """All operands must be int32 or all int64, the output the same or bool where they are compared."""
    types = {context.graph.tensors[i].dtype for i in context.op.inputs}
    compared = (
        _CODES[IntegerFunction.EQUAL] <= _CODES[_function(context)] <= _CODES[IntegerFunction.GREATER_EQUAL]
    )
    return (
        len(types) == 1
        and types <= {DType.INT32, DType.INT64}
        and context.output.dtype is (DType.BOOL if compared else next(iter(types)))
    )


def of_two(context: OpContext) -> bool:
    """The function must be of two operands."""
    return _CODES[_function(context)] < _CODES[IntegerFunction.ABS] and len(context.op.inputs) == 2


def of_one(context: OpContext) -> bool:
    """The function must be ABS or NEG."""
    return _CODES[_function(context)] >= _CODES[IntegerFunction.ABS]


def nothing_by_zero(context: OpContext) -> bool:
    """What is divided by must be constant and not zero."""
    if _function(context) not in (IntegerFunction.FLOOR_DIV, IntegerFunction.FLOOR_MOD):
        return True
    divisor = context.optional_input(1)
    return divisor is not None and divisor.data is not None and bool(divisor.data.all())


def _literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    return {
        "function": _CODES[_function(context)],
        "swapped": int(order == (1, 0)),
        "bytes": context.input(0).dtype.size_bytes,
        "bytes_out": context.output.dtype.size_bytes,
    }


def _lower_unary(context: OpContext) -> Lowered:
    shape, size = context.output.shape, context.output.dtype.size_bytes
    return Lowered(
        access=elementwise_access(shape, [shape], size),
        literals=(
            ("elements", context.output.elements),
            ("function", _CODES[_function(context)]),
            ("bytes", size),
        ),
    )


_BINARY = (one_integer_type, of_two, nothing_by_zero, at_most_six_dimensions)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_integer_c", OpKind.INTEGER, Isa.C, lower_broadcast(_literals), (*_BINARY, two_activations)),
    Kernel("tm_integer_const_c", OpKind.INTEGER, Isa.C, lower_broadcast(_literals), (*_BINARY, one_constant)),
    Kernel(
        "tm_integer_unary_c",
        OpKind.INTEGER,
        Isa.C,
        _lower_unary,
        (one_integer_type, of_one, one_activation),
    ),
)
