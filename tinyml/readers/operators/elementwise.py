"""ADD, MUL, QUANTIZE, DEQUANTIZE and CAST."""

from __future__ import annotations

from tinyml.graph import ActivationAttrs, DType, NoAttrs, OpKind
from tinyml.numerics import wide
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.integer import INTEGER_TYPES, read_integer, reads_integers
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import COMPUTED_TYPES, QUANTISE, ModelTensors

_CAST = (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.FLOAT32, DType.BOOL)


def _elementwise(model: ModelTensors, op: RawOperator) -> Read:
    """Of int32 and int64, without scales, `tm_integer_c` and its kin compute it; sums and products wrap."""
    if reads_integers(model, op):
        return read_integer(model, op)
    inputs = model.inputs(op, 2, 2)
    a, b = model.computed(op, *inputs)
    scale = model.tensor(op.outputs[0]).scale
    model.check_rescale(a.scale * b.scale / scale if op.name == "MUL" else 2 * max(a.scale, b.scale) / scale)
    if op.name == "ADD":
        check_general_scales(model, op)
    shape = model.broadcast(a, b)
    return Read(inputs, ActivationAttrs(model.activation_function(op)), shape)


def check_general_scales(model: ModelTensors, op: RawOperator) -> None:
    """Refuse an ADD or SUB of int16 in the fixed point of LSTM cells, which the converter does not make."""
    scales = [model.tensor(i).scale for i in (*op.inputs, *op.outputs)]
    int16 = model.tensor(op.inputs[0]).dtype is DType.INT16
    if int16 and op.options["PotScaleInt16"] and all(wide.power_of_two(s) is not None for s in scales):
        raise model.error(
            "it is marked as fixed-point (pot_scale_int16), and its scales are powers of two",
            "expected general scales",
            "convert again: TensorFlow's converter does not set this mark",
        )


def _quantize(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0], (DType.FLOAT32, DType.INT8, DType.INT16))
    output = model.activation(op.outputs[0], (DType.INT8, DType.INT16))
    if (x.unsigned or output.unsigned) and DType.INT16 in (x.dtype, output.dtype):
        raise model.error("it turns uint8 into int16, or int16 into uint8", "expected int8", QUANTISE)
    if x.dtype is not DType.FLOAT32:
        model.check_rescale(x.scale / output.scale)
    return Read(inputs, NoAttrs(), x.shape)


def _cast(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0], _CAST)
    model.activation(op.outputs[0], _CAST)
    return Read(inputs, NoAttrs(), x.shape)


def _dequantize(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0], (DType.INT8, DType.INT16))
    model.activation(op.outputs[0], (DType.FLOAT32,))
    if x.dtype is DType.INT16 and x.zero_point:
        raise model.error(f"its input has zero point {x.zero_point}", "expected 0 for int16")
    return Read(inputs, NoAttrs(), x.shape)


_COMPUTED_TYPES = (*COMPUTED_TYPES, *INTEGER_TYPES)

READERS = {
    "ADD": OperatorReader(
        OpKind.ADD,
        _elementwise,
        2,
        ("AddOptions", "FusedActivationFunction", "PotScaleInt16"),
        _COMPUTED_TYPES,
        _COMPUTED_TYPES,
    ),
    "MUL": OperatorReader(
        OpKind.MUL,
        _elementwise,
        2,
        ("MulOptions", "FusedActivationFunction"),
        _COMPUTED_TYPES,
        _COMPUTED_TYPES,
    ),
    "QUANTIZE": OperatorReader(
        OpKind.QUANTIZE,
        _quantize,
        1,
        input_types=("int8", "int16", "uint8", "float32"),
        output_types=("int8", "int16", "uint8"),
    ),
    "DEQUANTIZE": OperatorReader(
        OpKind.DEQUANTIZE, _dequantize, 1, input_types=("int8", "int16"), output_types=("float32",)
    ),
    "CAST": OperatorReader(
        OpKind.CAST,
        _cast,
        1,
        input_types=tuple(t.value for t in _CAST),
        output_types=tuple(t.value for t in _CAST),
    ),
}
