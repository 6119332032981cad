"""Random models of one operator: TRANSPOSE_CONV and BATCH_MATMUL."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.cases import ACTIVATIONS, Case


def transpose_conv(c: Case) -> int:
    height, width = c.pair(8)
    x = c.input((c.pick(1, 1, 1, 2), height, width, c.below(1, 12)), c.log_scale(-3, 0))
    kernel, stride = c.pair(6), c.pair(4)
    padding = c.pick("SAME", "VALID")
    sizes = []
    for n, k, s in zip((height, width), kernel, stride, strict=True):
        # every output size whose convolution has the input's size
        fits = range((n - 1) * s + 1, n * s + 1) if padding == "SAME" else range((n - 1) * s + k, n * s + k)
        sizes.append(c.pick(*fits))
    return c.transpose_conv(
        x,
        c.below(1, 12),
        kernel,
        stride,
        padding,
        (sizes[0], sizes[1]),
        activation=c.pick(*ACTIVATIONS),
        bias=c.flip(),
        **c.layer(),
    )


def batch_matmul(c: Case) -> int:
    rows, columns, depth = c.below(1, 12), c.below(1, 12), c.pick(1, 3, 8, c.below(1, 200))
    full = c.sizes(c.below(0, 4), 4)
    other = c.pick(full, full, (), full[1:], tuple(1 if c.flip() else n for n in full))
    before = (full, other) if c.flip() else (other, full)
    adj_x, adj_y = c.flip(), c.flip()
    a = c.input((*before[0], depth, rows) if adj_x else (*before[0], rows, depth), c.log_scale(-3, 0))
    shape = (*before[1], columns, depth) if adj_y else (*before[1], depth, columns)
    scale = c.log_scale(-3, 0)
    if c.below(0, 3):
        b = c.input(shape, scale)
    else:
        values = c.rng.integers(-128, 128, shape).astype(np.int8)
        b = c.constant(values, scale, c.pick(0, c.below(-128, 128)))
    return c.batch_matmul(a, b, adj_x, adj_y, c.log_scale(-3, 2) if c.below(0, 4) == 0 else None)


def int4_weights(c: Case) -> int:
    """Layers whose weights are two to a byte."""
    c.int4_weights = True
    kind = c.below(0, 3)
    if kind == 0:
        x = c.input((c.below(1, 5), c.below(1, 200)), c.log_scale(-4, 0))
        return c.fully_connected(
            x, c.below(1, 20), c.pick(*ACTIVATIONS), c.flip(), c.flip(), out_scale=c.tensors[x].scale[0] * 0.5
        )
    x = c.image()
    layer = {"out_scale": c.tensors[x].scale[0] * 0.3, "per_channel": c.flip()}
    if kind == 1:
        return c.conv2d(x, c.below(1, 8), **c.window(x), **layer)
    return c.depthwise(x, c.below(1, 4), **c.window(x), **layer)


def batches(c: Case) -> int:
    """Several images at a time, and groups."""
    groups = c.pick(1, 1, 2, 3)
    x = c.input((c.below(2, 4), c.below(1, 8), c.below(1, 8), groups * c.below(1, 6)), c.log_scale(-3, 0))
    kind = c.below(0, 4)
    if kind == 0:
        return c.conv2d(x, groups * c.below(1, 5), groups=groups, **c.window(x), **c.layer())
    if kind == 1:
        return c.depthwise(x, c.below(1, 4), **c.window(x), **c.layer())
    if kind == 2:
        return c.average_pool(x, **c.window(x, dilated=False))
    return c.max_pool(x, **c.window(x, dilated=False))


CASES: tuple[Callable[[Case], int], ...] = (transpose_conv, batch_matmul, int4_weights, batches)
