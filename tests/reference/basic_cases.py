"""Random models of one operator: convolutions, dense, ADD, MUL, pooling, reduction, layout, edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.cases import ACTIVATIONS, Case


def conv2d(c: Case) -> int:
    groups = c.below(1, 4) if c.below(0, 3) == 0 else 1
    x = c.image(groups * c.below(1, 8))
    return c.conv2d(x, groups * c.below(1, 8), groups=groups, **c.window(x), **c.layer())


def depthwise(c: Case) -> int:
    x = c.image()
    return c.depthwise(x, c.below(1, 4), bias=c.flip(), **c.window(x), **c.layer())


def fully_connected(c: Case) -> int:
    x = c.input((*c.sizes(c.below(1, 4), 5), c.below(1, 300)), c.log_scale(-4, 0))
    return c.fully_connected(
        x,
        c.below(1, 20),
        bias=c.flip(),
        keep_num_dims=c.flip(),
        activation=c.pick(*ACTIVATIONS),
        per_channel=c.flip(),
        # Beyond 2^31 the sums have no defined result, so the scale stays within reach.
        out_scale=c.log_scale(-2, 2) if c.below(0, 4) == 0 else None,
    )


def _operands(c: Case) -> tuple[int, int]:
    """Return two tensors that broadcast: equal, scalars, channels, or ones anywhere."""
    full = c.sizes(c.below(1, 6))
    other = c.pick(full, full, (1,), full[-1:], tuple(1 if c.flip() else n for n in full))
    shapes = (full, other) if c.flip() else (other, full)
    a = c.input(shapes[0], c.log_scale(-4, 1))
    scale = c.log_scale(-2, 2, c.tensors[a].scale[0])
    kind = c.below(0, 6)
    if kind == 0:
        return a, a
    if kind < 3:
        return a, c.constant(c.rng.integers(-128, 128, shapes[1]).astype(np.int8), scale, c.below(-128, 128))
    return a, c.input(shapes[1], scale)


def add(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(-3, 2, c.tensors[a].scale[0] + c.tensors[b].scale[0]) if c.flip() else None
    return c.add(a, b, c.pick(*ACTIVATIONS), scale)


def mul(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(-2, 3, c.tensors[a].scale[0] * c.tensors[b].scale[0])
    # Below 6/2^31 LiteRT refuses, because RELU6's limit does not fit 32 bits.
    return c.mul(a, b, c.pick(*ACTIVATIONS), max(scale, 1e-8))


def mean(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 5), 10), c.log_scale(-4, 1))
    rank = len(c.shape(x))
    axes = [a - rank * c.flip() for a in range(rank) if c.flip()] or [-1]
    if rank == 4 and c.flip():  # the two axes for which TFLite once had code of its own
        axes = c.pick([1, 2], [2, 1], [-3, -2])
    if c.below(0, 8) == 0:
        axes = [*axes, axes[0]]
    scale = c.log_scale(-2, 4, c.tensors[x].scale[0]) if c.flip() else None
    return c.mean(x, axes, c.flip(), scale, c.below(-128, 128) if c.flip() else None)


def softmax(c: Case) -> int:
    # LiteRT aborts on 512 or more nearly equal inputs, so rows stay shorter.
    x = c.input((*c.sizes(c.below(0, 5), 4), c.below(1, 300)), c.log_scale(-4, 1))
    return c.softmax(x, c.log_scale(-1, 1) if c.flip() else 1.0)


def average_pool(c: Case) -> int:
    x = c.image()
    return c.average_pool(x, **c.window(x, dilated=False))


def max_pool(c: Case) -> int:
    x = c.image()
    return c.max_pool(x, **c.window(x, dilated=False))


def resize_nearest(c: Case) -> int:
    mode = c.pick({}, {"align_corners": True}, {"half_pixel_centers": True})
    return c.resize_nearest(c.image(), c.pair(30), **mode)


def pad(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 5)))
    return c.pad(x, [(c.below(0, 3), c.below(0, 3)) for _ in c.shape(x)])


def transpose(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 6), 6))
    return c.transpose(x, [int(p) for p in c.rng.permutation(len(c.shape(x)))])


def reshape(c: Case) -> int:
    x = c.input(c.sizes(4))
    a, b, d, e = c.shape(x)
    return c.reshape(x, c.pick((a * b, d * e), (e, d, b, a), (a * b * d * e,), (1, a, b, d * e)))


def requantize(c: Case) -> int:
    x = c.input(c.sizes(2, 20), c.log_scale(-4, 1))
    return c.quantize(x, c.log_scale(-4, 4, c.tensors[x].scale[0]))


def float_edges(c: Case) -> int:
    return c.dequantize(c.quantize(c.input(c.sizes(2, 20), dtype="float32"), c.log_scale(-2, 1)))


CASES: tuple[Callable[[Case], int], ...] = (
    conv2d,
    depthwise,
    fully_connected,
    add,
    mul,
    mean,
    softmax,
    average_pool,
    max_pool,
    resize_nearest,
    pad,
    transpose,
    reshape,
    requantize,
    float_edges,
)
