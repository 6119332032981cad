"""Random models of one operator on two tensors that broadcast, of SELECT, and of conversions of type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.cases import Case


def broadcasting(c: Case) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two shapes that broadcast: equal, scalars, channels, or ones anywhere."""
    full = c.sizes(c.below(1, 7), 5)
    other = c.pick(full, full, (1,), (), full[-1:], tuple(1 if c.flip() else n for n in full))
    return (full, other) if c.flip() else (other, full)


def _operands(c: Case, low: float = -4, high: float = 1) -> tuple[int, int]:
    """Return int8 operands whose shapes broadcast; one may be a constant, both may be one tensor."""
    shapes = broadcasting(c)
    a = c.input(shapes[0], c.log_scale(low, high))
    near = c.pick((0, 0), (-2, 2), (-0.1, 0.1))
    scale = min(c.log_scale(*near, c.tensors[a].scale[0]), 10.0**high)
    zero_point = c.pick(c.tensors[a].zero_point[0], c.below(-128, 128))
    kind = c.below(0, 6)
    if kind == 0:
        return a, a
    if kind > 2:
        return a, c.input(shapes[1], scale, zero_point)
    b = c.constant(c.rng.integers(-128, 128, shapes[1]).astype(np.int8), scale, zero_point)
    return (a, b) if c.flip() else (b, a)


def sub(c: Case) -> int:
    a, b = _operands(c)
    total = c.tensors[a].scale[0] + c.tensors[b].scale[0]
    scale = c.log_scale(*c.pick((-1, 1), (-3, 2)), total)
    return c.binary("SUB", a, b, scale, None, "SubOptions", FusedActivationFunction=c.below(0, 4))


def div(c: Case) -> int:
    """Where the reference's shifts are defined, and no divisor is zero."""
    a, b = _operands(c, -3, 0)
    record = c.tensors[b]
    if record.data is None:
        high = c.flip()
        record.zero_point = (-128,) if high else (127,)
        c.limits[record.name] = (-127, 128) if high else (-128, 127)
        if a == b:
            c.tensors[a].zero_point = record.zero_point
    else:
        values = np.frombuffer(record.data, np.int8)
        zero = record.zero_point[0]
        record.data = (
            np.where(values == zero, zero + (1 if zero < 0 else -1), values).astype(np.int8).tobytes()
        )
    scale = c.tensors[a].scale[0] / record.scale[0] / 2.0 ** c.rng.uniform(6.01, 14)
    return c.binary("DIV", a, b, scale, None, "DivOptions", FusedActivationFunction=c.below(0, 4))


def _extremum(name: str) -> Callable[[Case], int]:
    def case(c: Case) -> int:
        return c.binary(name, *_operands(c))

    case.__name__ = name.lower()
    return case


def squared_difference(c: Case) -> int:
    a, b = _operands(c, -3, 0)
    largest = max(c.tensors[i].scale[0] for i in (a, b))
    # From as small as LiteRT allows to outputs of nearly nothing.
    scale = 4 * largest**2 / (1 << 14) * 10.0 ** c.rng.uniform(0.001, *c.pick((3,), (6,)))
    return c.binary("SQUARED_DIFFERENCE", a, b, float(np.float32(scale)))


def prelu(c: Case) -> int:
    shape = c.sizes(c.below(1, 7), 6)
    slopes = c.pick(shape, (1,), shape[-1:], tuple(1 if c.flip() else n for n in shape))
    x = c.input(shape, c.log_scale(-3, 0))
    values = c.rng.integers(-128, 128, slopes).astype(np.int8)
    alpha = c.constant(values, c.log_scale(-3, -1), c.below(-128, 128))
    return c.binary("PRELU", x, alpha, c.log_scale(-1, 1, c.tensors[x].scale[0]))


def _comparison(name: str) -> Callable[[Case], int]:
    def case(c: Case) -> int:
        return c.relation(name, *_operands(c, -4, -0.01))

    case.__name__ = name.lower()
    return case


def _logical(name: str) -> Callable[[Case], int]:
    def case(c: Case) -> int:
        shapes = broadcasting(c)
        a = c.input(shapes[0], dtype="bool")
        if c.flip():
            return c.relation(name, a, c.input(shapes[1], dtype="bool"))
        return c.relation(name, a, c.constant(c.rng.integers(0, 2, shapes[1]).astype(np.bool_)))

    case.__name__ = name.lower()
    return case


def logical_not(c: Case) -> int:
    return c.relation("LOGICAL_NOT", c.input(c.sizes(c.below(1, 7), 5), dtype="bool"))


def _data(c: Case, shape: tuple[int, ...]) -> int:
    if c.below(0, 3):
        return c.input(shape, 0.1, 3)
    return c.constant(c.rng.integers(-128, 128, shape).astype(np.int8), 0.1, 3)


def select(c: Case) -> int:
    shape = c.sizes(c.below(1, 7), 5)
    condition = c.input(c.pick(shape, shape[:1], ()), dtype="bool")
    return c.select(condition, _data(c, shape), _data(c, shape), "SELECT")


def select_v2(c: Case) -> int:
    shapes = [*broadcasting(c), ()]
    shapes[2] = c.pick(*shapes, (1,), tuple(np.broadcast_shapes(*shapes[:2])))
    order = c.rng.permutation(3)
    condition, a, b = (shapes[i] for i in order)
    return c.select(c.input(condition, dtype="bool"), _data(c, a), _data(c, b))


def select_bool(c: Case) -> int:
    shape = c.sizes(3)
    return c.select(*(c.input(shape, dtype="bool") for _ in range(3)))


def cast(c: Case) -> int:
    types = ("int8", "int16", "int32", "int64", "float32", "bool")
    return c.cast(c.input(c.sizes(c.below(1, 5), 10), dtype=c.pick(*types)), c.pick(*types))


def int16_edges(c: Case) -> int:
    x = c.quantize(c.input(c.sizes(2, 20), dtype="float32"), c.log_scale(-5, 1), 0, "int16")
    return c.dequantize(x)


def requantize_16(c: Case) -> int:
    source, target = c.pick(("int8", "int16"), ("int16", "int8"), ("int16", "int16"))
    x = c.input(c.sizes(2, 20), c.log_scale(-4, 1), c.below(-128, 128) if source == "int8" else 0, source)
    steps = {"int8": 0, "int16": -2.4}
    scale = c.log_scale(-2, 2, c.tensors[x].scale[0] * 10.0 ** (steps[target] - steps[source]))
    return c.quantize(x, scale, c.below(-128, 128) if target == "int8" else 0, target)


CASES: tuple[Callable[[Case], int], ...] = (
    sub,
    div,
    _extremum("MINIMUM"),
    _extremum("MAXIMUM"),
    squared_difference,
    prelu,
    _comparison("EQUAL"),
    _comparison("NOT_EQUAL"),
    _comparison("LESS"),
    _comparison("LESS_EQUAL"),
    _comparison("GREATER"),
    _comparison("GREATER_EQUAL"),
    _logical("LOGICAL_AND"),
    _logical("LOGICAL_OR"),
    logical_not,
    select,
    select_v2,
    select_bool,
    cast,
    int16_edges,
    requantize_16,
)
