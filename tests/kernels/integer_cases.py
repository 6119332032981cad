"""Random graphs of INTEGER: int32 and int64 with the ends of their range, and small ones that meet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tests.kernels.binary_cases import broadcasting
from tests.kernels.kernel_cases import Rng, integers, one_op, random_shape
from tinyml.graph import COMPARISONS, DType, Graph, IntegerAttrs, IntegerFunction, OpKind, Tensor

_FUNCTIONS = tuple(IntegerFunction)
_DIVISIONS = (IntegerFunction.FLOOR_DIV, IntegerFunction.FLOOR_MOD)
_UNARY = (IntegerFunction.ABS, IntegerFunction.NEG)


def _dtype(rng: Rng) -> DType:
    return DType.INT32 if rng.random() < 0.6 else DType.INT64


def _two(rng: Rng, constant: bool) -> Graph:
    function = rng.choice([f for f in _FUNCTIONS if f not in _UNARY and (constant or f not in _DIVISIONS)])
    dtype, shapes = _dtype(rng), broadcasting(rng, 2)
    operands = [Tensor(f"x{i}", shape, dtype) for i, shape in enumerate(shapes)]
    if constant:
        i = 1 if function in _DIVISIONS else int(rng.integers(0, 2))
        values = integers(rng, operands[i])
        if function in _DIVISIONS:
            values = np.where(values == 0, 5, values)
        operands[i] = Tensor("constant", shapes[i], dtype, None, values)
    y = Tensor("y", np.broadcast_shapes(*shapes), DType.BOOL if function in COMPARISONS else dtype)
    return one_op(OpKind.INTEGER, IntegerAttrs(IntegerFunction(function)), operands, y)


def _one(rng: Rng) -> Graph:
    shape, dtype = random_shape(rng, (1, 2, 3, 4)), _dtype(rng)
    x, y = Tensor("x", shape, dtype), Tensor("y", shape, dtype)
    return one_op(OpKind.INTEGER, IntegerAttrs(IntegerFunction(rng.choice(_UNARY))), (x,), y)


GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_integer_c": (partial(_two, constant=False),),
    "tm_integer_const_c": (partial(_two, constant=True),),
    "tm_integer_unary_c": (_one,),
}
