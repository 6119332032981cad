"""Random models of one operator on one int8 value, and of DIV by a constant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.cases import Case


def _input(c: Case, low: float = -3, high: float = 0) -> int:
    shape = c.pick((300,), (1, 5, 60), c.sizes(c.below(1, 7), 5))
    return c.input(shape, c.log_scale(low, high))


def _positive(c: Case) -> int:
    """Return an input that never lies below its zero point: LiteRT has no root of negative numbers."""
    x = c.input((c.below(1, 300),), c.log_scale(-3, 0), c.pick(-128, -128, -100, 0, 100))
    c.limits[c.tensors[x].name] = (c.tensors[x].zero_point[0], 128)
    return x


def _ratio(c: Case, x: int, low: float = -1, high: float = 1) -> float | None:
    """Return a scale in some proportion to that of x, or None for the same."""
    return c.log_scale(low, high, c.tensors[x].scale[0]) if c.flip() else None


def _rescaled(name: str) -> Callable[[Case], int]:
    def case(c: Case) -> int:
        x = _input(c, *c.pick((-3, 0), (-6, 3)))
        return c.unary(name, x, _ratio(c, x, *c.pick((-1, 1), (-5, 5))))

    case.__name__ = name.lower()
    return case


def _bounded(name: str, low: float, high: float) -> Callable[[Case], int]:
    """Return cases of a function whose outputs have nothing to do with the input's scale."""

    def case(c: Case) -> int:
        return c.unary(name, _input(c, -3, 1), c.log_scale(low, high))

    case.__name__ = name.lower()
    return case


def leaky_relu(c: Case) -> int:
    x = _input(c)
    alpha = c.pick(0.0, 0.01, 0.2, 1.0, 3.0, abs(float(c.rng.normal())))
    return c.unary("LEAKY_RELU", x, _ratio(c, x), None, "LeakyReluOptions", Alpha=alpha)


def hard_swish(c: Case) -> int:
    x = _input(c, *c.pick((-3, 0), (-6, 2)))
    scale = c.tensors[x].scale[0] * 10.0 ** c.rng.uniform(-2, *c.pick((0.5,), (4,)))
    return c.unary("HARD_SWISH", x, float(np.float32(scale)))


def logistic(c: Case) -> int:
    return c.unary("LOGISTIC", _input(c, -3, 1), 1 / 256, c.pick(-128, -128, 0, 5))


def gelu(c: Case) -> int:
    x = _input(c)
    return c.unary("GELU", x, _ratio(c, x), None, "GeluOptions", Approximate=c.flip())


def rsqrt(c: Case) -> int:
    x = _positive(c)
    return c.unary("RSQRT", x, float(np.float32(c.tensors[x].scale[0] ** -0.5 / c.rng.uniform(20, 900))))


def sqrt(c: Case) -> int:
    x = _positive(c)
    return c.unary("SQRT", x, float(np.float32(c.tensors[x].scale[0] ** 0.5 / c.rng.uniform(5, 50))))


def div(c: Case) -> int:
    """Where the output's scale is fine enough; beyond, the reference's shifts are not defined."""
    x = _input(c)
    zero_point = c.below(-128, 128)
    by = int(c.rng.choice([v for v in range(-128, 128) if v != zero_point]))
    divisor = c.constant(np.full(c.pick((), (1,)), by, np.int8), c.log_scale(-3, 0), zero_point)
    real = c.tensors[divisor].scale[0] * 2.0 ** (abs(by - zero_point).bit_length() - 1)
    scale = c.tensors[x].scale[0] / real * c.rng.uniform(0.2, 0.999)
    y = c.unary("DIV", x, float(np.float32(scale)), None, "DivOptions")
    c.operators[-1].inputs.append(divisor)
    c.operators[-1].options["FusedActivationFunction"] = c.below(0, 4)
    return y


CASES: tuple[Callable[[Case], int], ...] = (
    _rescaled("ABS"),
    div,
    _bounded("EXP", -3, 1),
    gelu,
    hard_swish,
    leaky_relu,
    _bounded("LOG", -3, 0),
    logistic,
    _rescaled("NEG"),
    _rescaled("RELU"),
    _rescaled("RELU6"),
    _rescaled("RELU_N1_TO_1"),
    rsqrt,
    sqrt,
    _bounded("TANH", -2.5, -1.5),
)
