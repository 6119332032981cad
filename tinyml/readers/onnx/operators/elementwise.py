"""Add, Sub, Mul, Div, Relu, Clip."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tinyml.graph import Activation, ActivationAttrs, Array, OpKind, Quant
from tinyml.readers.onnx.network import QUANTISE, Constant, Network, Operand, Output, Pending, Stored
from tinyml.readers.onnx.operators.reading import OnnxOperator
from tinyml.readers.onnx.operators.shapes import folded
from tinyml.readers.tensors import dims


def _arithmetic(net: Network) -> Operand:
    """Read Add and Mul, and Sub and Div by a constant, which are the same."""
    first, second = net.operand(0), net.operand(1)
    if all(isinstance(o, Constant) and o.quant is None and o.data.dtype.kind == "i" for o in (first, second)):
        return folded(net)
    op = net.node.op
    if isinstance(first, Constant) and op in ("Sub", "Div"):
        raise net.unsupported(
            f"its first input '{net.node.inputs[0]}' is a constant", "expected it second", "turn it around"
        )
    operands = [_real(net, i, negate=op == "Sub" and i == 1, invert=op == "Div" and i == 1) for i in (0, 1)]
    values = [o for o in operands if isinstance(o, Stored)]
    if not values:
        raise net.unsupported("it computes with constants only", "expected an activation", "fold it")
    if op in ("Sub", "Div") and not isinstance(second, Constant):
        raise net.unsupported(
            f"nothing runs {op} of two activations", "expected a constant", "use Add or Mul"
        )
    kind = OpKind.ADD if op in ("Add", "Sub") else OpKind.MUL
    try:
        shape = tuple(int(d) for d in np.broadcast_shapes(first.shape, second.shape))
    except ValueError:
        raise net.error(
            f"its inputs are {dims(first.shape)} and {dims(second.shape)}",
            "expected equal or broadcastable shapes",
        ) from None
    rank = len(shape)

    def build(output: Output) -> Stored:
        largest = max(values, key=lambda v: math.prod(v.shape))
        perm = net.order_of(replace(largest, shape=_padded(largest.shape, rank)))
        inputs = []
        # Two quantisations, in the order of the inputs.
        for operand in operands:
            padded = _padded(operand.shape, rank)
            if isinstance(operand, Stored):
                inputs.append(net.in_order(operand, padded, perm))
            else:
                data = np.ascontiguousarray(operand.data.reshape(padded).transpose(perm))
                inputs.append(net.add_constant("constant", data, operand.quant))
        a, b = (net.quant(i).scale[0] for i in inputs)
        scale = output.quant.scale[0]
        net.check_rescale(a * b / scale if kind is OpKind.MUL else 2 * max(a, b) / scale)
        index = net.emit(
            kind,
            inputs,
            ActivationAttrs(output.activation),
            tuple(shape[p] for p in perm),
            output.quant,
            output.name,
        )
        return net.stored(index, shape, perm)

    return net.pending(shape, build, fuses=True)


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(shape)) + shape


def _real(net: Network, position: int, *, negate: bool, invert: bool) -> Stored | Constant:
    """Return an operand: an activation, or a constant with one scale.

    A single float number, and what has to be negated or inverted, gets a scale of its own.
    """
    operand = net.operand(position)
    if not isinstance(operand, Constant):
        return net.real(position)
    data, quant = operand.data, operand.quant
    if quant is not None and data.dtype == np.int8 and not quant.per_channel:
        if not (negate or invert):
            return operand
        real: Array = (data.astype(np.float64) - quant.zero_point[0]) * quant.scale[0]
    elif quant is None and data.dtype == np.float32 and data.size == 1:
        real = data.astype(np.float64)
    else:
        raise net.unsupported(
            f"its constant '{net.node.inputs[position]}' is {data.dtype}, or quantised per channel",
            "expected int8 or uint8 with one scale, or a single number",
            QUANTISE,
        )
    if not data.size or not np.isfinite(real).all() or (invert and not real.all()):
        raise net.error("its constant is empty, infinite, or divides by zero", "expected finite numbers")
    if invert:
        real = 1 / real
    if negate:
        real = -real
    largest = float(np.abs(real).max())
    scale = largest / 127 if largest else 1.0
    if not 2.0**-100 <= scale <= 2.0**100:
        raise net.error(f"its constant reaches {largest:g}", "expected numbers between 2^-90 and 2^90")
    return Constant(np.rint(real / scale).astype(np.int8), Quant((scale,), (0,)))


def _clipped(net: Network, low: float, high: float) -> Operand:
    """Clip a value to [low, high]."""
    value = net.operand(0)
    if not low <= 0 <= high:  # zeros that Pad wrote would have to be clipped too
        raise net.unsupported(f"it clips to {low:g} to {high:g}", "expected a range with 0", "use ReLU6")
    if isinstance(value, Constant):
        raise net.unsupported("it computes with constants only", "expected an activation", "fold it")
    if isinstance(value, Pending):
        return replace(value, low=min(max(value.low, low), high), high=max(min(value.high, high), low))
    value = net.real(0)

    def build(output: Output) -> Stored:
        if output.activation is Activation.NONE:  # what int8 can hold is clipped already
            return net.requantised(value, output)
        # There is no layer to fuse it with: one times the value.
        shape = net.tensors[value.tensor].shape
        net.check_rescale(net.quant(value.tensor).scale[0] / output.quant.scale[0])
        one = net.add_constant("one", np.ones((1,) * len(shape), np.int8), Quant((1.0,), (0,)))
        index = net.emit(
            OpKind.MUL,
            (value.tensor, one),
            ActivationAttrs(output.activation),
            shape,
            output.quant,
            output.name,
        )
        return replace(value, tensor=index)

    return replace(net.pending(value.shape, build, fuses=True), low=low, high=high)


def _relu(net: Network) -> Operand:
    return _clipped(net, 0.0, math.inf)


def _clip(net: Network) -> Operand:
    bounds = [-math.inf, math.inf]
    for i in (1, 2):
        if net.has_input(i):
            operand = net.operand(i)
            if not isinstance(operand, Constant) or operand.data.size != 1:
                raise net.unsupported(
                    "its bounds are computed by the model", "expected constants", "fold them"
                )
            value = float(operand.data.reshape(-1)[0])
            if operand.quant is not None:
                value = (value - operand.quant.zero_point[0]) * operand.quant.scale[0]
            bounds[i - 1] = value
    if not bounds[0] <= bounds[1]:
        raise net.error(f"it clips to {bounds[0]:g} to {bounds[1]:g}", "expected the smaller one first")
    return _clipped(net, bounds[0], bounds[1])


OPERATORS = {
    "Add": OnnxOperator(_arithmetic, "any"),
    "Mul": OnnxOperator(_arithmetic, "any"),
    "Sub": OnnxOperator(_arithmetic, "any"),
    "Div": OnnxOperator(_arithmetic, "any"),
    "Relu": OnnxOperator(_relu, "any"),
    "Clip": OnnxOperator(_clip, "any"),
}
