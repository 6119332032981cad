"""Random models of one operator: reductions, ARG_MAX and ARG_MIN, L2_NORMALIZATION, LOG_SOFTMAX."""

from __future__ import annotations

from collections.abc import Callable

from tests.reference.cases import Case


def _axes(c: Case, x: int) -> list[int]:
    rank = len(c.shape(x))
    return [a - rank * c.flip() for a in range(rank) if c.flip()] or [-1]


def sum_(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 6), 8), c.log_scale(-4, 1))
    scale = c.log_scale(-1, 3, c.tensors[x].scale[0]) if c.flip() else None
    return c.reduce("SUM", x, _axes(c, x), c.flip(), scale, c.below(-128, 128) if c.flip() else None)


def reduce_max(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 6), 8), c.log_scale(-4, 1))
    return c.reduce("REDUCE_MAX", x, _axes(c, x), c.flip())


def reduce_min(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 6), 8), c.log_scale(-4, 1))
    return c.reduce("REDUCE_MIN", x, _axes(c, x), c.flip())


def reduce_prod(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 6), 5), c.log_scale(-2.5, -1))
    return c.reduce("REDUCE_PROD", x, _axes(c, x), c.flip(), c.log_scale(-3, 2), c.below(-128, 128))


def arg_max(c: Case) -> int:
    return _arg(c, "ARG_MAX")


def arg_min(c: Case) -> int:
    return _arg(c, "ARG_MIN")


def _arg(c: Case, name: str) -> int:
    x = c.input((*c.sizes(c.below(0, 4), 5), c.below(1, 60)), 0.05)
    c.limits[c.tensors[x].name] = c.pick((-128, 128), (-3, 3))  # many equal values: the first one wins
    rank = len(c.shape(x))
    return c.arg(name, x, c.below(-rank, rank), c.pick("int32", "int64"))


def l2_normalization(c: Case) -> int:
    x = c.input((*c.sizes(c.below(0, 4), 5), c.below(1, 300)), c.log_scale(-4, 1))
    if c.flip():  # short vectors, 0 among them
        zero = c.tensors[x].zero_point[0]
        c.limits[c.tensors[x].name] = (max(zero - 1, -128), min(zero + 2, 128))
    return c.l2_normalization(x)


def log_softmax(c: Case) -> int:
    return c.log_softmax(c.input((*c.sizes(c.below(0, 4), 5), c.below(1, 300)), c.log_scale(-4, 1)))


CASES: tuple[Callable[[Case], int], ...] = (
    reduce_max,
    reduce_min,
    reduce_prod,
    arg_max,
    arg_min,
    l2_normalization,
    log_softmax,
)
