"""Random graphs of BINARY, SELECT, LOGICAL_NOT, CAST and conversions to and from int16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from tests.kernels.kernel_cases import (
    Rng,
    activation,
    activation_tensor,
    one_op,
    per_tensor,
    pick,
    random_int8,
    random_shape,
    repeating,
)
from tinyml.graph import (
    Activation,
    BinaryAttrs,
    BinaryFunction,
    DType,
    Graph,
    NoAttrs,
    OpKind,
    SelectAttrs,
    Tensor,
)


def _constant(rng: Rng, tensor: Tensor) -> Tensor:
    values = random_int8(rng, tensor.shape)
    if tensor.dtype is DType.BOOL:
        values = values > 0
    elif tensor.dtype is not DType.INT8:
        values = rng.integers(-(1 << 15), 1 << 15, tensor.shape).astype(tensor.dtype.value)
    return Tensor(tensor.name, tensor.shape, tensor.dtype, tensor.quant, values)


def broadcasting(rng: Rng, count: int) -> list[tuple[int, ...]]:
    """Shapes that broadcast to the first one, in any order; mostly they are the same."""
    shape = random_shape(rng, (1, 2, 3, 4, 4, 5, 6), 5)
    shapes = [shape] + [shape if rng.random() < 0.4 else repeating(rng, shape) for _ in range(count - 1)]
    return [shapes[int(i)] for i in rng.permutation(count)]


def _constant_one(rng: Rng, operands: list[Tensor], constant: bool) -> None:
    if constant:
        i = pick(rng, 0, 1)
        operands[i] = _constant(rng, operands[i])


def _binary(rng: Rng, functions: Sequence[BinaryFunction], constant: bool) -> Graph:
    function = functions[int(rng.integers(len(functions)))]
    shapes = broadcasting(rng, 2)
    operands = [activation_tensor(rng, f"x{i}", shape) for i, shape in enumerate(shapes)]
    if rng.random() < 0.3:  # the same scale, as MINIMUM and comparisons mostly have
        operands[1] = Tensor("x1", shapes[1], DType.INT8, operands[0].quant)
    _constant_one(rng, operands, constant)
    a, b = (t.scale for t in operands)
    shape = np.broadcast_shapes(*shapes)
    if function is BinaryFunction.SQUARED_DIFFERENCE:
        y = activation_tensor(rng, "y", shape, max(a, b) ** 2 * float(rng.choice([3.0, 40.0, 300.0])))
    elif function is BinaryFunction.DIV:
        y = activation_tensor(rng, "y", shape, a / b / 2.0 ** float(rng.uniform(7.01, 14)))
    elif function in (BinaryFunction.SUB, BinaryFunction.MINIMUM, BinaryFunction.MAXIMUM):
        y = activation_tensor(rng, "y", shape, (a + b) * float(rng.choice([0.05, 0.5, 1.0, 3.0])))
    else:
        y = Tensor("y", shape, DType.BOOL)
    fuses = function in (BinaryFunction.SUB, BinaryFunction.DIV)
    fused = activation(rng) if fuses else Activation.NONE
    return one_op(OpKind.BINARY, BinaryAttrs(function, fused), operands, y)


def _logical(rng: Rng, constant: bool) -> Graph:
    function = BinaryFunction.LOGICAL_AND if rng.random() < 0.5 else BinaryFunction.LOGICAL_OR
    operands = [Tensor(f"x{i}", shape, DType.BOOL) for i, shape in enumerate(broadcasting(rng, 2))]
    _constant_one(rng, operands, constant)
    shape = np.broadcast_shapes(*(t.shape for t in operands))
    return one_op(OpKind.BINARY, BinaryAttrs(function), operands, Tensor("y", shape, DType.BOOL))


def prelu(rng: Rng) -> Graph:
    x = activation_tensor(rng, "x", random_shape(rng, (1, 2, 3, 4, 5, 6), 6))
    alpha = _constant(rng, activation_tensor(rng, "alpha", repeating(rng, x.shape), 0.01))
    y = activation_tensor(rng, "y", x.shape, x.scale * float(rng.uniform(0.3, 3)))
    return one_op(OpKind.BINARY, BinaryAttrs(BinaryFunction.PRELU), (x, alpha), y)


def logical_not(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4))
    x, y = (Tensor(name, shape, DType.BOOL) for name in "xy")
    return one_op(OpKind.LOGICAL_NOT, NoAttrs(), (x,), y)


def select(rng: Rng) -> Graph:
    shapes = broadcasting(rng, 3)
    leading = rng.random() < 0.2
    if leading:
        shapes = [shapes[0][:1], shapes[0], shapes[0]]
    wide = (DType.INT16, DType.INT32, DType.INT64)
    dtype = DType.INT8 if rng.random() < 0.5 else (DType.BOOL, *wide)[int(rng.integers(4))]
    quant = per_tensor(0.1, 3) if dtype is DType.INT8 else None
    condition = Tensor("c", shapes[0], DType.BOOL)
    choices = [Tensor(name, shape, dtype, quant) for name, shape in zip("ab", shapes[1:], strict=True)]
    choices = [_constant(rng, t) if rng.random() < 0.5 else t for t in choices]
    shape = shapes[1] if leading else np.broadcast_shapes(*shapes)
    return one_op(
        OpKind.SELECT, SelectAttrs(leading), (condition, *choices), Tensor("y", shape, dtype, quant)
    )


_TYPES = (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.FLOAT32, DType.BOOL)


def cast(rng: Rng) -> Graph:
    x, y = (Tensor(name, (), _TYPES[int(rng.integers(6))]) for name in "xy")
    shape = random_shape(rng, (1, 2, 3, 4))
    return one_op(OpKind.CAST, NoAttrs(), (_shaped(x, shape),), _shaped(y, shape))


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    # A scale only so that floats can be drawn around it.
    return Tensor(tensor.name, shape, tensor.dtype, per_tensor(0.7, 0))


def _int16(rng: Rng, name: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name, shape, DType.INT16, per_tensor(float(rng.uniform(1e-5, 1e-3)), 0))


def requantize_16(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4))
    kind = pick(rng, 0, 1, 2)
    x = activation_tensor(rng, "x", shape) if kind == 0 else _int16(rng, "x", shape)
    y = activation_tensor(rng, "y", shape) if kind == 1 else _int16(rng, "y", shape)
    return one_op(OpKind.QUANTIZE, NoAttrs(), (x,), y)


def quantize_16(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4))
    return one_op(OpKind.QUANTIZE, NoAttrs(), (Tensor("x", shape, DType.FLOAT32),), _int16(rng, "y", shape))


def dequantize_16(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4))
    return one_op(OpKind.DEQUANTIZE, NoAttrs(), (_int16(rng, "x", shape),), Tensor("y", shape, DType.FLOAT32))


_SUB = (BinaryFunction.SUB,)
_QUOTIENT = (BinaryFunction.DIV,)
_EXTREMA = (BinaryFunction.MINIMUM, BinaryFunction.MAXIMUM)
_SQUARES = (BinaryFunction.SQUARED_DIFFERENCE,)
_RELATIONS = (
    BinaryFunction.EQUAL,
    BinaryFunction.NOT_EQUAL,
    BinaryFunction.LESS,
    BinaryFunction.LESS_EQUAL,
    BinaryFunction.GREATER,
    BinaryFunction.GREATER_EQUAL,
)

GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_sub_s8_c": (partial(_binary, functions=_SUB, constant=False),),
    "tm_sub_broadcast_s8_c": (partial(_binary, functions=_SUB, constant=False),),
    "tm_sub_const_s8_c": (partial(_binary, functions=_SUB, constant=True),),
    "tm_extremum_s8_c": (partial(_binary, functions=_EXTREMA, constant=False),),
    "tm_extremum_const_s8_c": (partial(_binary, functions=_EXTREMA, constant=True),),
    "tm_squared_difference_s8_c": (partial(_binary, functions=_SQUARES, constant=False),),
    "tm_squared_difference_const_s8_c": (partial(_binary, functions=_SQUARES, constant=True),),
    "tm_div_s8_c": (partial(_binary, functions=_QUOTIENT, constant=False),),
    "tm_div_const_s8_c": (partial(_binary, functions=_QUOTIENT, constant=True),),
    "tm_compare_s8_c": (partial(_binary, functions=_RELATIONS, constant=False),),
    "tm_compare_const_s8_c": (partial(_binary, functions=_RELATIONS, constant=True),),
    "tm_logical_c": (partial(_logical, constant=False),),
    "tm_logical_const_c": (partial(_logical, constant=True),),
    "tm_prelu_s8_c": (prelu,),
    "tm_logical_not_c": (logical_not,),
    "tm_select_s8_c": (select,),
    "tm_select_a_s8_c": (select,),
    "tm_select_b_s8_c": (select,),
    "tm_select_ab_s8_c": (select,),
    "tm_cast_c": (cast,),
    "tm_requantize_s16_c": (requantize_16,),
    "tm_quantize_f32_s16_c": (quantize_16,),
    "tm_dequantize_s16_f32_c": (dequantize_16,),
}
