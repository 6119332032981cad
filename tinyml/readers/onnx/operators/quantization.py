"""QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinyml.graph import Activation, Array, Quant
from tinyml.readers.onnx.network import Constant, FileValue, Network, Operand, Output, Pending, Stored
from tinyml.readers.onnx.operators.reading import OnnxOperator


def _quantize(net: Network) -> Operand:
    quant, dtype = net.quantisation("uint8")
    if net.integer("block_size", 0):
        raise net.unsupported(
            "it quantises in blocks", "expected one scale, or one per channel", "quantise per channel"
        )
    value = net.operand(0)
    if isinstance(value, Constant):
        return Constant(_codes(net, value.data, net.with_axis(quant, value.shape), dtype))
    if quant.per_channel or dtype == "int32":
        raise net.unsupported(
            "it quantises an activation " + ("to int32" if dtype == "int32" else "per channel"),
            "expected int8 or uint8 with one scale: only weights are quantised per channel",
            "quantise activations per tensor",
        )
    quant = Quant(quant.scale[:1], quant.zero_point[:1])
    # The value's own name reads better than that of its codes.
    output = Output(quant, net.node.inputs[0])
    if isinstance(value, Pending):
        stored = _build(net, value, output)
    elif value.real:
        stored = net.requantised(value, output)
    else:
        raise net.error("it reads quantised values", "expected real ones, behind DequantizeLinear")
    if net.file_values[stored.tensor] is None:
        net.file_values[stored.tensor] = FileValue(net.node.outputs[0], dtype, stored.shape, stored.order)
    return dataclasses.replace(stored, real=False)


def _build(net: Network, value: Pending, output: Output) -> Stored:
    """Compute a pending value with an activation that leaves what Relu and Clip leave."""
    activation = net.activation(value.low, value.high, output.quant)
    if activation is None or (activation is not Activation.NONE and not value.fuses):
        raise net.unsupported(
            f"its input '{value.name}' is clipped to {value.low:g} to {value.high:g}",
            "expected the range of ReLU, ReLU6, or all that the scale and zero point can hold, "
            "right behind a convolution, dense, Add or Mul layer",
            "use ReLU or ReLU6",
        )
    return value.build(dataclasses.replace(output, activation=activation))


def _codes(net: Network, data: Array, quant: Quant, dtype: str) -> Array:
    """Quantise constants as onnxruntime does: round half to even."""
    if data.dtype != np.float32 or not np.isfinite(data).all():
        raise net.error(
            f"its input is a constant of {data.dtype}, or not finite", "expected finite float32 numbers"
        )
    offset = 128 if dtype == "uint8" else 0
    shape = [1] * data.ndim
    if quant.per_channel:
        shape[quant.axis] = -1
    scale = np.array(quant.scale, np.float32).reshape(shape if quant.per_channel else ())
    zero_point = np.array(quant.zero_point, np.float64).reshape(shape if quant.per_channel else ()) + offset
    info = np.iinfo(dtype)
    with np.errstate(over="ignore"):
        codes = np.rint(data / scale).astype(np.float64) + zero_point
    return np.asarray(np.clip(codes, info.min, info.max)).astype(dtype)


def _dequantize(net: Network) -> Operand:
    value = net.operand(0)
    if isinstance(value, Constant):
        dtype = value.data.dtype.name
        quant, declared = net.quantisation(dtype)
        if net.integer("block_size", 0):
            raise net.unsupported(
                "its scales are those of blocks",
                "expected one scale, or one per channel",
                "quantise per channel",
            )
        if declared != dtype or value.quant is not None:
            raise net.error(f"its input is {dtype}", f"expected {declared}, like its zero point")
        data = value.data
        if dtype == "uint8":
            data = (data.astype(np.int16) - 128).astype(np.int8)
        return Constant(data, net.with_axis(quant, value.shape))
    if isinstance(value, Pending) or value.real:
        raise net.error("it reads real numbers", "expected quantised ones")
    tensor = net.tensors[value.tensor]
    file_value = net.file_values[value.tensor]
    quant, dtype = net.quantisation(file_value.dtype if file_value else "int8")
    quant = net.with_axis(quant, value.shape)
    if quant.per_channel:
        raise net.unsupported("it has a scale per channel", "expected one", "quantise activations per tensor")
    quant = Quant(quant.scale[:1], quant.zero_point[:1])
    if tensor.quant is None:  # an input of the model: only here its scale is told
        net.tensors[value.tensor] = dataclasses.replace(tensor, quant=quant)
    elif tensor.quant != quant or (file_value and file_value.dtype != dtype):
        raise net.unsupported(
            f"it reads '{tensor.name}' with another scale or zero point than it was written with",
            "expected the same in QuantizeLinear and DequantizeLinear",
            "quantise the model again",
        )
    return dataclasses.replace(value, real=True)


OPERATORS = {
    "QuantizeLinear": OnnxOperator(_quantize, "any"),
    "DequantizeLinear": OnnxOperator(_dequantize, "any"),
}
