"""Random models of one operator on int32 or int64, and of SELECT between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.binary_cases import broadcasting
from tests.reference.cases import Case
from tinyml.graph import Array

_ARITHMETIC = {
    "ADD": "AddOptions",
    "SUB": "SubOptions",
    "MUL": "MulOptions",
    "MINIMUM": "",
    "MAXIMUM": "",
    "SQUARED_DIFFERENCE": "",
}
_COMPARISONS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")


def _values(c: Case, dtype: str, shape: tuple[int, ...]) -> Array:
    """Any values, or small ones."""
    info = np.iinfo(dtype)
    low, high = (info.min, info.max) if c.flip() else (-3, 4)
    return np.asarray(c.rng.integers(low, high, shape, dtype, endpoint=True))


def _operands(c: Case, dtype: str) -> tuple[int, int]:
    shapes = broadcasting(c)
    operands = [c.input(shape, dtype=dtype) for shape in shapes]
    if c.below(0, 3) == 0:  # any two integers hardly ever are equal
        for t in operands:
            c.limits[c.tensors[t].name] = (-3, 4)
    if c.flip():
        i = c.below(0, 2)
        c.inputs.remove(operands[i])
        operands[i] = c.constant(_values(c, dtype, shapes[i]))
    return operands[0], operands[1]


def integer_arithmetic(c: Case) -> int:
    name = c.pick(*_ARITHMETIC)
    dtype = "int32" if name == "SQUARED_DIFFERENCE" else c.pick("int32", "int64")
    return c.integer(name, *_operands(c, dtype), table=_ARITHMETIC[name])


def integer_division(c: Case) -> int:
    name = c.pick("FLOOR_DIV", "FLOOR_MOD")
    dtype, shapes = "int32" if name == "FLOOR_DIV" else c.pick("int32", "int64"), broadcasting(c)
    x = c.input(shapes[0], dtype=dtype)
    divisor = _values(c, dtype, shapes[1])
    # On the smallest number divided by -1 LiteRT dies.
    return c.integer(name, x, c.constant(np.where((divisor == 0) | (divisor == -1), 5, divisor)))


def integer_comparison(c: Case) -> int:
    return c.relation(c.pick(*_COMPARISONS), *_operands(c, c.pick("int32", "int64")))


def integer_unary(c: Case) -> int:
    name = c.pick("ABS", "NEG")
    dtype = "int32" if name == "ABS" else c.pick("int32", "int64")
    return c.integer(name, c.input(c.sizes(c.below(1, 5), 6), dtype=dtype))


def integer_select(c: Case) -> int:
    dtype, name = c.pick("int16", "int32", "int64"), c.pick("SELECT", "SELECT_V2")
    first, second = broadcasting(c) if name == "SELECT_V2" else [c.sizes(c.below(1, 6), 5)] * 2
    condition = c.input(c.pick(first, first[:1] if name == "SELECT" else second, ()), dtype="bool")
    quant = (0.1, 0) if dtype == "int16" else ()
    choices = [
        c.constant(_values(c, dtype, shape), *quant)
        if c.below(0, 3) == 0
        else c.input(shape, *quant, dtype=dtype)
        for shape in (first, second)
    ]
    return c.select(condition, *choices, name)


def token_ids(c: Case) -> int:
    """What Keras makes of Embedding: negative ids count from the end."""
    rows = c.below(2, 40)
    ids = c.input(c.sizes(c.below(1, 3), 12), dtype="int32")
    c.limits[c.tensors[ids].name] = (-rows, rows)
    wrapped = c.integer("ADD", ids, c.constant(np.array(rows, np.int32)), table="AddOptions")
    below = c.relation("LESS", ids, c.constant(np.array(0, np.int32)))
    table = c.constant(c.rng.integers(-128, 128, (rows, c.below(1, 9))).astype(np.int8), 0.1, 3)
    return c.gather(table, c.select(below, wrapped, ids))


CASES: tuple[Callable[[Case], int], ...] = (
    integer_arithmetic,
    integer_division,
    integer_comparison,
    integer_unary,
    integer_select,
    token_ids,
)
