"""ADD, MUL, QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import numpy as np

from tinyml.graph import ActivationAttrs, DType, NoAttrs, OpKind
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import QUANTISE, ModelTensors, dims


def _elementwise(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    a, b = (model.activation(i) for i in inputs)
    scale = model.activation(op.outputs[0]).scale
    model.check_rescale(a.scale * b.scale / scale if op.name == "MUL" else 2 * max(a.scale, b.scale) / scale)
    try:
        shape = tuple(int(d) for d in np.broadcast_shapes(a.shape, b.shape))
    except ValueError:
        raise model.error(
            f"its inputs are {dims(a.shape)} and {dims(b.shape)}",
            "expected equal or broadcastable shapes",
        ) from None
    return Read(inputs, ActivationAttrs(model.activation_function(op)), shape)


def _quantize(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0], (DType.FLOAT32, DType.INT8))
    output = model.activation(op.outputs[0])
    if x.dtype is DType.INT8:
        model.check_rescale(x.scale / output.scale)
    if x.dtype is DType.FLOAT32 and inputs[0] not in model.raw.inputs and x.data is None:
        raise model.error(
            f"it reads the float tensor '{x.name}' inside the model",
            "expected float only at the model's inputs and outputs",
            QUANTISE,
        )
    return Read(inputs, NoAttrs(), x.shape)


def _dequantize(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = model.activation(inputs[0])
    model.activation(op.outputs[0], (DType.FLOAT32,))
    return Read(inputs, NoAttrs(), x.shape)


READERS = {
    "ADD": OperatorReader(OpKind.ADD, _elementwise, 2, ("AddOptions", "FusedActivationFunction")),
    "MUL": OperatorReader(OpKind.MUL, _elementwise, 2, ("MulOptions", "FusedActivationFunction")),
    "QUANTIZE": OperatorReader(OpKind.QUANTIZE, _quantize, 1, input_types=("int8", "float32")),
    "DEQUANTIZE": OperatorReader(OpKind.DEQUANTIZE, _dequantize, 1, output_types=("float32",)),
}
