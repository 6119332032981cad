"""Operators on two values that broadcast: Add, Sub, Mul, Div, Max, Min, PRelu, Pow."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinyml.graph import (
    ActivationAttrs,
    Array,
    Attrs,
    BinaryAttrs,
    BinaryFunction,
    OpKind,
    Quant,
)
from tinyml.readers.onnx.network import QUANTISE, Constant, Network, Operand, Output, Stored
from tinyml.readers.onnx.operators.functions import function_of, single_number
from tinyml.readers.onnx.operators.reading import OnnxOperator
from tinyml.readers.onnx.operators.shapes import folded
from tinyml.readers.tensors import dims

_COMPUTE: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
}


def _arithmetic(net: Network) -> Operand:
    """Read Add, Sub, Mul and Div. Div by several numbers is a product by their inverses."""
    op = net.node.op
    operands = [net.operand(0), net.operand(1)]
    constants = [o for o in operands if isinstance(o, Constant)]
    if len(constants) == 2 and all(c.quant is None and c.data.dtype.kind == "i" for c in constants):
        return folded(net)
    single = _with_number(net, operands)
    if single is not None:
        return single
    inverse = op == "Div"
    if inverse and not isinstance(operands[1], Constant):
        raise net.unsupported("nothing divides two activations", "expected a constant", "use Mul")
    first, second = _operand(net, 0), _operand(net, 1, invert=inverse)
    kind = {"Add": OpKind.ADD, "Sub": OpKind.BINARY}.get(op, OpKind.MUL)
    return _binary(net, kind, first, second)


def _with_number(net: Network, operands: Sequence[Operand]) -> Operand | None:
    """Return an operator with a single number as a function of the other operand, None where it has none."""
    for i in (0, 1):
        constant, other = operands[i], operands[1 - i]
        # A number of higher rank than the value would give the result its rank.
        if (
            isinstance(constant, Constant)
            and not isinstance(other, Constant)
            and constant.data.size == 1
            and constant.data.dtype.kind in "if"
            and constant.data.ndim <= len(other.shape)
        ):
            compute, number = _COMPUTE[net.node.op], single_number(constant)
            if i == 0:
                return function_of(net, 1, functools.partial(compute, number))
            return function_of(net, 0, functools.partial(_swapped, compute, number))
    return None


def _swapped(compute: Callable[..., Array], number: np.float32, x: Array) -> Array:
    return compute(x, number)


def _operand(net: Network, position: int, *, invert: bool = False) -> Stored | Constant:
    """Return an operand: an activation, or a constant with one scale."""
    operand = net.operand(position)
    if not isinstance(operand, Constant):
        return net.real(position)
    data, quant = operand.data, operand.quant
    if quant is None or data.dtype != np.int8 or quant.per_channel or not data.size:
        raise net.unsupported(
            f"its constant '{net.node.inputs[position]}' is {data.dtype}, or quantised per channel",
            "expected int8 or uint8 with one scale, or a single number",
            QUANTISE,
        )
    if not invert:
        return operand
    codes = data.astype(np.float64) - quant.zero_point[0]
    if not codes.all():
        raise net.error("it divides by zero", "expected numbers other than 0")
    real = 1 / (codes * quant.scale[0])
    scale = float(np.abs(real).max()) / 127
    return Constant(np.rint(real / scale).astype(np.int8), Quant((scale,), (0,)))


def _binary(net: Network, kind: OpKind, first: Stored | Constant, second: Stored | Constant) -> Operand:
    """Return an operator on two operands that broadcast."""
    op = net.node.op
    operands = (first, second)
    values = [o for o in operands if isinstance(o, Stored)]
    if not values:
        raise net.unsupported("it computes with constants only", "expected an activation", "fold it")
    shape = _broadcast(net, first.shape, second.shape)
    rank = len(shape)

    def build(output: Output) -> Stored:
        largest = max(values, key=lambda v: math.prod(v.shape))
        perm = net.order_of(replace(largest, shape=_padded(largest.shape, rank)))
        inputs = []
        for operand in operands:
            padded = _padded(operand.shape, rank)
            if isinstance(operand, Stored):
                inputs.append(net.in_order(operand, padded, perm))
            else:
                data = np.ascontiguousarray(operand.data.reshape(padded).transpose(perm))
                inputs.append(net.add_constant("constant", data, operand.quant))
        a, b = (net.quant(i).scale[0] for i in inputs)
        scale = output.quant.scale[0]
        attrs: Attrs = ActivationAttrs(output.activation)
        if kind is OpKind.MUL:
            net.check_rescale(a * b / scale)
        elif op == "PRelu":
            attrs = BinaryAttrs(BinaryFunction.PRELU)
            net.check_rescale(a * max(1.0, b) / scale)
        else:
            net.check_rescale(2 * max(a, b) / scale)
            if kind is OpKind.BINARY:
                if not 2 * max(a, b) / ((1 << 20) * scale) < 1:
                    raise net.error("its scales are out of proportion", "expected scales of one size")
                attrs = BinaryAttrs(BinaryFunction.SUB, output.activation)
        memory = tuple(shape[p] for p in perm)
        return net.stored(net.emit(kind, inputs, attrs, memory, output.quant, output.name), shape, perm)

    return net.pending(shape, build, fuses=op != "PRelu")


def _broadcast(net: Network, first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(int(d) for d in np.broadcast_shapes(tuple(first), tuple(second)))
    except ValueError:
        raise net.error(
            f"its inputs are {dims(first)} and {dims(second)}", "expected equal or broadcastable shapes"
        ) from None


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(shape)) + shape


def _extremum(net: Network) -> Operand:
    """Read Max and Min of one value and a number, or of two values."""
    if len(net.node.inputs) != 2:
        raise net.unsupported(f"it has {len(net.node.inputs)} inputs", "expected two", "nest them")
    single = _with_number(net, [net.operand(0), net.operand(1)])
    if single is not None:
        return single
    function = BinaryFunction.MAXIMUM if net.node.op == "Max" else BinaryFunction.MINIMUM
    first, second = net.real(0), net.real(1)
    shape = _broadcast(net, first.shape, second.shape)
    rank = len(shape)

    def build(output: Output) -> Stored:
        largest = max((first, second), key=lambda v: math.prod(v.shape))
        perm = net.order_of(replace(largest, shape=_padded(largest.shape, rank)))
        # The larger of two values is that of their codes, where both have the output's scale.
        inputs = [
            net.in_order(net.requantised(v, output), _padded(v.shape, rank), perm) for v in (first, second)
        ]
        memory = tuple(shape[p] for p in perm)
        index = net.emit(OpKind.BINARY, inputs, BinaryAttrs(function), memory, output.quant, output.name)
        return net.stored(index, shape, perm)

    return net.pending(shape, build)


def _prelu(net: Network) -> Operand:
    if not isinstance(net.operand(1), Constant):
        raise net.unsupported("its slopes are computed by the model", "expected constants", "use Relu")
    x = net.real(0)
    if _broadcast(net, x.shape, net.operand(1).shape) != x.shape:
        raise net.error("its slopes are larger than its input", "expected slopes that repeat")
    return _binary(net, OpKind.BINARY, x, _operand(net, 1))


def _power(net: Network) -> Operand:
    single = _with_number(net, [net.operand(0), net.operand(1)])
    if single is None:
        raise net.unsupported("its exponents are several", "expected one number", "use Mul")
    return single


OPERATORS = {
    "Add": OnnxOperator(_arithmetic, "any"),
    "Sub": OnnxOperator(_arithmetic, "any"),
    "Mul": OnnxOperator(_arithmetic, "any"),
    "Div": OnnxOperator(_arithmetic, "any"),
    "Max": OnnxOperator(_extremum, "any"),
    "Min": OnnxOperator(_extremum, "any"),
    "Pow": OnnxOperator(_power, "any"),
    "PRelu": OnnxOperator(_prelu, "any"),
}
