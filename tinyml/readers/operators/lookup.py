"""Operators on one int8 value: each becomes a table of 256 bytes."""

from __future__ import annotations

import math

from tinyml.graph import DType, FloatFunctionAttrs, LookupAttrs, OpKind, UnaryAttrs, UnaryFunction
from tinyml.numerics import Int64Array
from tinyml.numerics.lookup import FLOAT_FUNCTIONS, Unary, hard_swish_params, lookup_table
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.integer import INTEGER_TYPES, read_integer, reads_integers
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import COMPUTED_TYPES, QUANTISE, ModelTensors

_LARGEST_SIGMOID_SCALE = 1.0  # of int16: beyond, the products with the multiplier leave 31 bits
_MAX_STEPS = 2.0**31  # of the output's scale in the limits of RELU6 and RELU_N1_TO_1


def _unary(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    if op.name in FLOAT_FUNCTIONS and model.tensor(inputs[0]).dtype is DType.FLOAT32:
        return _float_function(model, op)
    if op.name in _INTEGER and reads_integers(model, op):
        return read_integer(model, op)
    (x,), y = model.computed(op, inputs[0]), model.tensor(op.outputs[0])
    alpha = float(op.options.get("Alpha", 0.0))
    if not (math.isfinite(alpha) and alpha >= 0):
        raise model.error(f"its slope is {alpha}", "expected a finite number, 0 or above")
    if op.name not in _FLOAT:
        model.check_rescale(x.scale * max(1.0, abs(alpha)) / y.scale)
    if op.name in ("RELU6", "RELU_N1_TO_1") and not 6 / y.scale < _MAX_STEPS:
        raise model.error(
            f"its output's scale is {y.scale:g}", "expected a scale in proportion to its limits", QUANTISE
        )
    if x.dtype is DType.INT16:
        return _unary_16(model, op, alpha)
    if op.name == "LOGISTIC" and y.scale != 1 / 256:
        raise model.error(f"its output has scale {y.scale:g}", "expected 1/256")
    if op.name == "HARD_SWISH" and hard_swish_params(x, y).exponent > 0:
        raise model.error(
            f"its input has scale {x.scale:g}, its output {y.scale:g}",
            "expected at most 128 times the output's scale for the input",
            QUANTISE,
        )
    unary = Unary(x, y, alpha, bool(op.options.get("Approximate", False)))
    return Read(inputs, _attrs(op.name, lookup_table(op.name, unary)), x.shape)


def _unary_16(model: ModelTensors, op: RawOperator, alpha: float) -> Read:
    """Return a function of one int16 value; the slope has been checked."""
    x, y = model.tensor(op.inputs[0]), model.tensor(op.outputs[0])
    function = UnaryFunction(op.name)
    if function in (UnaryFunction.LOGISTIC, UnaryFunction.TANH):
        if y.scale != 1 / 2**15:
            raise model.error(f"its output has scale {y.scale:g}", "expected 1/32768 for int16")
        if not x.scale < _LARGEST_SIGMOID_SCALE:
            raise model.error(
                f"its input has scale {x.scale:g}", f"expected less than {_LARGEST_SIGMOID_SCALE:g}", QUANTISE
            )
    return Read(op.inputs, UnaryAttrs(function, alpha), x.shape, OpKind.UNARY)


def _float_function(model: ModelTensors, op: RawOperator) -> Read:
    """It must be of what DEQUANTIZE makes of int8, or CAST of bool, and QUANTIZE makes int8 again."""
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0], (DType.FLOAT32,))
    model.activation(op.outputs[0], (DType.FLOAT32,))
    return Read(inputs, FloatFunctionAttrs(op.name), x.shape, OpKind.FLOAT_FUNCTION)


def float_pair(model: ModelTensors, op: RawOperator) -> Read:
    """It must be of a constant number and what DEQUANTIZE makes of int8, or CAST of bool."""
    inputs = model.inputs(op, 2, 2)
    x, operand = (model.activation(i, (DType.FLOAT32,)) for i in inputs)
    model.activation(op.outputs[0], (DType.BOOL if op.name == "NOT_EQUAL" else DType.FLOAT32,))
    if operand.data is None or operand.data.min() != operand.data.max():
        raise model.error(
            f"its second operand '{operand.name}' is not one constant", "expected a constant number", QUANTISE
        )
    shape = model.broadcast(x, operand)
    if shape != x.shape:
        raise model.error("its constant has more dimensions than its input", "expected one number")
    attrs = FloatFunctionAttrs(op.name, float(operand.data.reshape(-1)[0]))
    return Read(inputs[:1], attrs, shape, OpKind.FLOAT_FUNCTION)


def _attrs(function: str, table: Int64Array) -> LookupAttrs:
    return LookupAttrs(function, tuple(int(value) for value in table))


_FLOAT = frozenset(("ELU", "EXP", "GELU", "LOG", "LOGISTIC", "NEG", "SQRT", "TANH"))
"""Functions that are not computed by a requantisation, whose scales may be anything."""

_INTEGER = ("ABS", "NEG")
"""Functions of int32 (NEG of int64 too) as well."""

_INT8_OR_FLOAT = ((), ("int8", "float32"), ("int8", "float32"))
_ONLY_FLOAT = ((), ("float32",), ("float32",))

READERS = {
    "ABS": OperatorReader(OpKind.LOOKUP, _unary, 1, (), ("int8", "int32"), ("int8", "int32")),
    "CEIL": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "COS": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "ELU": OperatorReader(OpKind.LOOKUP, _unary, 1, *_INT8_OR_FLOAT),
    "EXP": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "FLOOR": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "GELU": OperatorReader(OpKind.LOOKUP, _unary, 1, ("GeluOptions", "Approximate")),
    "HARD_SWISH": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "LEAKY_RELU": OperatorReader(
        OpKind.LOOKUP, _unary, 1, ("LeakyReluOptions", "Alpha"), COMPUTED_TYPES, COMPUTED_TYPES
    ),
    "LOG": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "LOGISTIC": OperatorReader(OpKind.LOOKUP, _unary, 1, (), COMPUTED_TYPES, COMPUTED_TYPES),
    "NEG": OperatorReader(
        OpKind.LOOKUP,
        _unary,
        1,
        (),
        ("int8", *INTEGER_TYPES, "float32"),
        ("int8", *INTEGER_TYPES, "float32"),
    ),
    "POW": OperatorReader(OpKind.FLOAT_FUNCTION, float_pair, 2, *_ONLY_FLOAT),
    "RELU": OperatorReader(OpKind.LOOKUP, _unary, 1, (), COMPUTED_TYPES, COMPUTED_TYPES),
    "RELU6": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "RELU_N1_TO_1": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "ROUND": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "RSQRT": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "SIGN": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "SIN": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "SQRT": OperatorReader(OpKind.LOOKUP, _unary, 1),
    "SQUARE": OperatorReader(OpKind.FLOAT_FUNCTION, _float_function, 1, *_ONLY_FLOAT),
    "TANH": OperatorReader(OpKind.LOOKUP, _unary, 1, (), COMPUTED_TYPES, COMPUTED_TYPES),
}
