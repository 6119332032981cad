"""Operators on two tensors that broadcast, other than ADD and MUL; SELECT and LOGICAL_NOT."""

from __future__ import annotations

from tinyml.graph import Activation, BinaryAttrs, BinaryFunction, DType, NoAttrs, OpKind, SelectAttrs
from tinyml.numerics import ADD_LEFT_SHIFT, ADD_LEFT_SHIFT_16
from tinyml.numerics.binary import div_params, squared_difference_multiplier
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.elementwise import check_general_scales
from tinyml.readers.operators.integer import INTEGER_TYPES, read_integer, reads_integers
from tinyml.readers.operators.lookup import float_pair
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import COMPUTED_TYPES, QUANTISE, ModelTensors, dims


def _read(model: ModelTensors, op: RawOperator, activation: Activation = Activation.NONE) -> Read:
    """Return an operator whose operands have been checked."""
    inputs = model.inputs(op, 2, 2)
    shape = model.broadcast(*(model.tensor(i) for i in inputs))
    return Read(inputs, BinaryAttrs(BinaryFunction(op.name), activation), shape)


def _check_below_one(model: ModelTensors, factor: float) -> None:
    """Refuse scales for which LiteRT aborts: it wants requantisations below one."""
    if not factor < 1:
        raise model.error(
            f"its inputs' scales are too large for its output's, by {factor:g}",
            "expected scales in proportion to each other",
            QUANTISE,
        )


def _sub(model: ModelTensors, op: RawOperator) -> Read:
    """Of int32 and int64, without scales, `tm_integer_c` and its kin compute it; sums and products wrap."""
    if reads_integers(model, op):
        return read_integer(model, op)
    operands = model.computed(op, *model.inputs(op, 2, 2))
    y = model.tensor(op.outputs[0])
    left_shift = ADD_LEFT_SHIFT_16 if y.dtype is DType.INT16 else ADD_LEFT_SHIFT
    _check_below_one(model, 2 * max(t.scale for t in operands) / ((1 << left_shift) * y.scale))
    check_general_scales(model, op)
    return _read(model, op, model.activation_function(op))


def _extremum(model: ModelTensors, op: RawOperator) -> Read:
    """Of int32 and int64, without scales, `tm_integer_c` and its kin compute it; sums and products wrap."""
    if reads_integers(model, op):
        return read_integer(model, op)
    for i in (*model.inputs(op, 2, 2), op.outputs[0]):
        model.activation(i)
    return _read(model, op)


def _squared_difference(model: ModelTensors, op: RawOperator) -> Read:
    """Of int32 and int64, without scales, `tm_integer_c` and its kin compute it; sums and products wrap."""
    if reads_integers(model, op):
        return read_integer(model, op)
    a, b, y = (model.activation(i).scale for i in (*model.inputs(op, 2, 2), op.outputs[0]))
    _check_below_one(model, squared_difference_multiplier(a, b, y))
    return _read(model, op)


def _div(model: ModelTensors, op: RawOperator) -> Read:
    """Where what it divides by is zero, on which LiteRT fails as it runs, the result is the nearest bound."""
    x, divisor, y = (model.activation(i) for i in (*model.inputs(op, 2, 2), op.outputs[0]))
    model.check_rescale(x.scale / (divisor.scale * y.scale))
    activation = model.activation_function(op)
    if divisor.data is not None and (divisor.data == divisor.zero_point).any():
        raise model.error("its divisor is zero", "expected another number")
    if not div_params(x, divisor, y, activation).defined(x.data, divisor.data):
        raise model.error(
            f"its scales are {x.scale:g}, {divisor.scale:g} and {y.scale:g}",
            "expected scales for which TensorFlow Lite's division has a defined result",
            "multiply by the reciprocal instead",
        )
    return _read(model, op, activation)


def _prelu(model: ModelTensors, op: RawOperator) -> Read:
    x, alpha, y = (model.activation(i) for i in (*model.inputs(op, 2, 2), op.outputs[0]))
    model.check_rescale(x.scale * max(1.0, alpha.scale) / y.scale)
    if alpha.data is None:
        raise model.error("its slopes are computed by the model", "expected constants")
    read = _read(model, op)
    if read.shape != x.shape:
        raise model.error(
            f"its slopes {dims(alpha.shape)} are larger than its input {dims(x.shape)}",
            "expected slopes that repeat over the input",
        )
    return read


def _compare(model: ModelTensors, op: RawOperator) -> Read:
    """Of int32 and int64, without scales, `tm_integer_c` and its kin compute it."""
    if op.name == "NOT_EQUAL" and model.tensor(op.inputs[0]).dtype is DType.FLOAT32:
        return float_pair(model, op)
    if reads_integers(model, op):
        return read_integer(model, op)
    for index in model.inputs(op, 2, 2):
        scale = model.activation(index).scale
        if not scale < 1:
            raise model.error(
                f"tensor '{model.tensor(index).name}' has a scale of {scale:g}",
                "expected scales below 1: TensorFlow Lite's comparison has no result for others",
                QUANTISE,
            )
    model.activation(op.outputs[0], (DType.BOOL,))
    return _read(model, op)


def _logical(model: ModelTensors, op: RawOperator) -> Read:
    for index in (*model.inputs(op, 2, 2), op.outputs[0]):
        model.activation(index, (DType.BOOL,))
    return _read(model, op)


def _logical_not(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0], (DType.BOOL,))
    model.activation(op.outputs[0], (DType.BOOL,))
    return Read(inputs, NoAttrs(), x.shape)


def _select(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 3, 3)
    condition = model.activation(inputs[0], (DType.BOOL,))
    first, second, output = (model.activation(i, _CHOSEN) for i in (*inputs[1:], op.outputs[0]))
    if not first.dtype is second.dtype is output.dtype:
        raise model.error(
            f"it chooses between {first.dtype} and {second.dtype} for {output.dtype}", "expected one type"
        )
    if op.name == "SELECT_V2":
        return Read(inputs, SelectAttrs(), model.broadcast(condition, first, second))
    whole, low_rank = condition.shape == first.shape, condition.shape in ((), first.shape[:1])
    if first.shape != second.shape or not (whole or low_rank):
        raise model.error(
            f"its inputs are {dims(condition.shape)}, {dims(first.shape)} and {dims(second.shape)}",
            "expected equal shapes, and a condition of that shape, a scalar or of the first dimension",
        )
    return Read(inputs, SelectAttrs(len(condition.shape) == 1), first.shape)


_BOOL = ("bool",)
_BYTES_OR_INTEGERS = ("int8", *INTEGER_TYPES)
_CHOSEN = (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL)
_CHOSEN_TYPES = tuple(dtype.value for dtype in _CHOSEN)

READERS = {
    "SUB": OperatorReader(
        OpKind.BINARY,
        _sub,
        2,
        ("SubOptions", "FusedActivationFunction", "PotScaleInt16"),
        (*COMPUTED_TYPES, *INTEGER_TYPES),
        (*COMPUTED_TYPES, *INTEGER_TYPES),
    ),
    "MINIMUM": OperatorReader(OpKind.BINARY, _extremum, 2, (), _BYTES_OR_INTEGERS, _BYTES_OR_INTEGERS),
    "MAXIMUM": OperatorReader(OpKind.BINARY, _extremum, 2, (), _BYTES_OR_INTEGERS, _BYTES_OR_INTEGERS),
    "SQUARED_DIFFERENCE": OperatorReader(
        OpKind.BINARY, _squared_difference, 2, (), ("int8", "int32"), ("int8", "int32")
    ),
    "DIV": OperatorReader(OpKind.BINARY, _div, 2, ("DivOptions", "FusedActivationFunction")),
    "PRELU": OperatorReader(OpKind.BINARY, _prelu, 2),
    "EQUAL": OperatorReader(OpKind.BINARY, _compare, 2, (), _BYTES_OR_INTEGERS, _BOOL),
    "NOT_EQUAL": OperatorReader(OpKind.BINARY, _compare, 2, (), (*_BYTES_OR_INTEGERS, "float32"), _BOOL),
    "LESS": OperatorReader(OpKind.BINARY, _compare, 2, (), _BYTES_OR_INTEGERS, _BOOL),
    "LESS_EQUAL": OperatorReader(OpKind.BINARY, _compare, 2, (), _BYTES_OR_INTEGERS, _BOOL),
    "GREATER": OperatorReader(OpKind.BINARY, _compare, 2, (), _BYTES_OR_INTEGERS, _BOOL),
    "GREATER_EQUAL": OperatorReader(OpKind.BINARY, _compare, 2, (), _BYTES_OR_INTEGERS, _BOOL),
    "LOGICAL_AND": OperatorReader(OpKind.BINARY, _logical, 2, input_types=_BOOL, output_types=_BOOL),
    "LOGICAL_OR": OperatorReader(OpKind.BINARY, _logical, 2, input_types=_BOOL, output_types=_BOOL),
    "LOGICAL_NOT": OperatorReader(OpKind.LOGICAL_NOT, _logical_not, 1, input_types=_BOOL, output_types=_BOOL),
    "SELECT": OperatorReader(
        OpKind.SELECT, _select, 3, input_types=_CHOSEN_TYPES, output_types=_CHOSEN_TYPES
    ),
    "SELECT_V2": OperatorReader(
        OpKind.SELECT, _select, 3, input_types=_CHOSEN_TYPES, output_types=_CHOSEN_TYPES
    ),
}
