"""Functions of int32 and int64: what is computed of token ids and masks before an embedding.

LiteRT's integers wrap. A divisor must be a constant other than zero, on which LiteRT fails as it runs.
"""

from __future__ import annotations

from tinyml.graph import COMPARISONS, Activation, DType, IntegerAttrs, IntegerFunction, OpKind
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import ModelTensors

_INTEGERS = (DType.INT32, DType.INT64)
INTEGER_TYPES = tuple(dtype.value for dtype in _INTEGERS)
_DIVISIONS = (IntegerFunction.FLOOR_DIV, IntegerFunction.FLOOR_MOD)


def reads_integers(model: ModelTensors, op: RawOperator) -> bool:
    """Return whether an operator's first input has no scale because it is a number of its own."""
    return bool(op.inputs) and op.inputs[0] >= 0 and model.tensor(op.inputs[0]).dtype in _INTEGERS


def read_integer(model: ModelTensors, op: RawOperator) -> Read:
    """It must be of one integer type, with a constant divisor other than 0 where it divides."""
    function = IntegerFunction(op.name)
    count = 1 if function in (IntegerFunction.ABS, IntegerFunction.NEG) else 2
    inputs = model.inputs(op, count, count)
    operands = [model.activation(i, _INTEGERS) for i in inputs]
    dtype = operands[0].dtype
    output = model.activation(op.outputs[0], (DType.BOOL if function in COMPARISONS else dtype,))
    if any(operand.dtype is not dtype for operand in operands):
        raise model.error(
            f"it computes {output.dtype} of {' and '.join(t.dtype for t in operands)}", "expected one type"
        )
    if "FusedActivationFunction" in op.options and model.activation_function(op) is not Activation.NONE:
        raise model.error(f"it has a fused activation, of {dtype}", "expected none")
    if function in _DIVISIONS and (operands[1].data is None or not operands[1].data.all()):
        raise model.error(
            f"its divisor '{operands[1].name}' may be zero",
            "expected a constant other than zero",
            "divide by a constant, or outside the model",
        )
    return Read(inputs, IntegerAttrs(function), model.broadcast(*operands), OpKind.INTEGER)


READERS = {
    "FLOOR_DIV": OperatorReader(
        OpKind.INTEGER, read_integer, 2, input_types=("int32",), output_types=("int32",)
    ),
    "FLOOR_MOD": OperatorReader(
        OpKind.INTEGER, read_integer, 2, input_types=INTEGER_TYPES, output_types=INTEGER_TYPES
    ),
}
