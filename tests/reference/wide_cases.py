"""Random models of one operator on int16 activations, with int8 weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.cases import ACTIVATIONS, Case


def _wide(c: Case) -> Case:
    c.int16 = True
    return c


def _input(c: Case, shape: tuple[int, ...], low: float = -5, high: float = -2) -> int:
    return c.input(shape, c.log_scale(low, high), 0, "int16")


def _image(c: Case, channels: int | None = None) -> int:
    height, width = c.below(1, 12), c.below(1, 12)
    return _input(c, (1, height, width, channels or c.below(1, 20)))


def _layer(c: Case, x: int, nearest: float = -1.5) -> dict[str, object]:
    """Return keywords of layers with weights; sometimes a far-off output scale."""
    near = c.tensors[x].scale[0] * 0.01  # shifts to the left by up to seven bits
    far = c.log_scale(nearest, 4, near) if c.below(0, 4) == 0 else None
    return {"per_channel": c.flip(), "out_scale": far}


def conv2d_16(c: Case) -> int:
    _wide(c)
    groups = c.below(1, 4) if c.below(0, 3) == 0 else 1
    x = _image(c, groups * c.below(1, 8))
    return c.conv2d(x, groups * c.below(1, 8), groups=groups, **c.window(x), **_layer(c, x))


def depthwise_16(c: Case) -> int:
    x = _image(_wide(c))
    return c.depthwise(x, c.below(1, 4), bias=c.flip(), **c.window(x), **_layer(c, x))


def transpose_conv_16(c: Case) -> int:
    x = _image(_wide(c), c.below(1, 8))
    stride, kernel = c.pair(4), c.pair(6)
    size = [n * s for n, s in zip(c.shape(x)[1:3], stride, strict=True)]
    return c.transpose_conv(
        x, c.below(1, 8), kernel, stride, "SAME", (size[0], size[1]), bias=c.flip(), **_layer(c, x)
    )


def fully_connected_16(c: Case) -> int:
    x = _input(_wide(c), (*c.sizes(c.below(1, 4), 5), c.below(1, 300)))
    return c.fully_connected(
        x,
        c.below(1, 20),
        bias=c.flip(),
        keep_num_dims=c.flip(),
        activation=c.pick(*ACTIVATIONS),
        **_layer(c, x, 0.6),
    )


def _operands(c: Case) -> tuple[int, int]:
    """Return two tensors that broadcast: equal, scalars, channels, or ones anywhere."""
    _wide(c)
    full = c.sizes(c.below(1, 6))
    other = c.pick(full, full, (1,), full[-1:], tuple(1 if c.flip() else n for n in full))
    shapes = (full, other) if c.flip() else (other, full)
    a = _input(c, shapes[0])
    scale = c.log_scale(-2, 2, c.tensors[a].scale[0])
    kind = c.below(0, 6)
    if kind == 0:
        return a, a
    if kind < 3:
        values = c.rng.integers(-(2**15), 2**15, shapes[1]).astype(np.int16)
        return a, c.constant(values, scale, 0)
    return a, c.input(shapes[1], scale, 0, "int16")


def add_16(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(-2, 2, c.tensors[a].scale[0] + c.tensors[b].scale[0]) if c.flip() else None
    return c.add(a, b, c.pick(*ACTIVATIONS), scale)


def sub_16(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(-2, 2, c.tensors[a].scale[0] + c.tensors[b].scale[0])
    return c.binary("SUB", a, b, scale, None, "SubOptions", PotScaleInt16=False)


def mul_16(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(1, 6, c.tensors[a].scale[0] * c.tensors[b].scale[0])
    return c.mul(a, b, c.pick(*ACTIVATIONS), max(scale, 1e-8))


def leaky_relu_16(c: Case) -> int:
    x = _input(_wide(c), (1, 5, 60))
    scale = c.log_scale(-1, 1, c.tensors[x].scale[0])
    return c.unary("LEAKY_RELU", x, scale, None, "LeakyReluOptions", Alpha=c.log_scale(-3, 0.5))


def relu_16(c: Case) -> int:
    x = _input(_wide(c), (1, 5, 60))
    return c.unary("RELU", x, c.log_scale(-1, 1, c.tensors[x].scale[0]) if c.flip() else None)


def _sigmoid_input(c: Case) -> int:
    _wide(c)
    scale = float(c.pick(2.0**-12, 2.0**-11, 2.0**-13, 2.0**-15, *(c.log_scale(-6, 0) for _ in range(4))))
    return c.input((c.below(1, 300),), scale, 0, "int16")


def logistic_16(c: Case) -> int:
    return c.unary("LOGISTIC", _sigmoid_input(c), 1 / 2**15)


def tanh_16(c: Case) -> int:
    return c.unary("TANH", _sigmoid_input(c), 1 / 2**15)


def softmax_16(c: Case) -> int:
    _wide(c)
    x = _input(c, (*c.sizes(c.below(0, 5), 4), c.below(1, 300)), -6, -1)
    return c.softmax(x, c.log_scale(-1, 1) if c.flip() else 1.0)


def mean_16(c: Case) -> int:
    _wide(c)
    x = _input(c, c.sizes(c.below(1, 5), 10))
    rank = len(c.shape(x))
    axes = [a - rank * c.flip() for a in range(rank) if c.flip()] or [-1]
    if rank == 4 and c.flip():
        axes = c.pick([1, 2], [2, 1], [-3, -2])
    scale = c.log_scale(-1, 3, c.tensors[x].scale[0]) if c.flip() else None
    return c.mean(x, axes, c.flip(), scale)


def average_pool_16(c: Case) -> int:
    x = _image(_wide(c))
    return c.average_pool(x, **c.window(x, dilated=False))


def max_pool_16(c: Case) -> int:
    x = _image(_wide(c))
    return c.max_pool(x, **c.window(x, dilated=False))


CASES: tuple[Callable[[Case], int], ...] = (
    conv2d_16,
    depthwise_16,
    transpose_conv_16,
    fully_connected_16,
    add_16,
    sub_16,
    mul_16,
    leaky_relu_16,
    relu_16,
    logistic_16,
    tanh_16,
    softmax_16,
    mean_16,
    average_pool_16,
    max_pool_16,
)
