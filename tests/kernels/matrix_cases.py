"""Random graphs of one operator: TRANSPOSE_CONV and BATCH_MATMUL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tests.kernels.kernel_cases import (
    Rng,
    activation,
    activation_tensor,
    one_op,
    pick,
    random_int8,
    weighted,
)
from tinyml.graph import Graph, MatmulAttrs, OpKind, Pads, WindowAttrs


def transpose_conv(rng: Rng) -> Graph:
    kernel = [pick(rng, 1, 2, 2, 3, 3, 4, 5) for _ in range(2)]
    stride = [pick(rng, 1, 2, 2, 3) for _ in range(2)]
    size = [pick(rng, 1, 2, 3, 4, 5, 7) for _ in range(2)]
    before = [int(rng.integers(0, k)) for k in kernel]
    reach = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel, strict=True)]
    out = [max(r - b - int(rng.integers(-1, k)), 1) for r, b, k in zip(reach, before, kernel, strict=True)]
    in_c, out_c = pick(rng, 1, 2, 3, 4, 5, 8, 17), pick(rng, 1, 2, 3, 4, 5, 8)
    x = activation_tensor(rng, "x", (1, *size, in_c))
    attrs = WindowAttrs(*kernel, *stride, pads=Pads(before[0], before[1]), activation=activation(rng))
    weights = rng.integers(-127, 128, (out_c, *kernel, in_c), dtype=np.int8)
    return weighted(rng, OpKind.TRANSPOSE_CONV, attrs, x, weights, 0, (1, *out, out_c))


def matmul(rng: Rng) -> Graph:
    rows, columns = pick(rng, 1, 2, 3, 4, 5, 7, 9), pick(rng, 1, 2, 3, 4, 5, 8)
    depth = pick(rng, 1, 2, 3, 4, 5, 8, 17, 33, 130)
    dims = tuple(pick(rng, 1, 2, 3) for _ in range(pick(rng, 0, 1, 1, 2, 3)))
    batches = [dims, tuple(1 if rng.random() < 0.3 else n for n in dims)]
    if rng.random() < 0.3:
        batches[1] = batches[1][1:]
    if rng.random() < 0.5:
        batches.reverse()
    adj_x, adj_y = bool(rng.random() < 0.4), bool(rng.random() < 0.5)
    a = activation_tensor(rng, "a", (*batches[0], *((depth, rows) if adj_x else (rows, depth))))
    b = activation_tensor(rng, "b", (*batches[1], *((columns, depth) if adj_y else (depth, columns))))
    shape = (*np.broadcast_shapes(*batches), rows, columns)
    scale = a.scale * b.scale * depth**0.5 * float(rng.choice([2.0, 60.0, 100.0, 100.0]))
    return one_op(
        OpKind.BATCH_MATMUL, MatmulAttrs(adj_x, adj_y), (a, b), activation_tensor(rng, "y", shape, scale)
    )


def matmul_right(rng: Rng) -> Graph:
    return _constant(rng, matmul(rng), 1)


def matmul_left(rng: Rng) -> Graph:
    return _constant(rng, matmul(rng), 0)


def _constant(rng: Rng, graph: Graph, index: int) -> Graph:
    tensors = list(graph.tensors)
    tensors[index] = dataclasses.replace(tensors[index], data=random_int8(rng, tensors[index].shape))
    return graph.replace(tensors=tuple(tensors), inputs=(1 - index,))


GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_batch_matmul_s8_c": (matmul,),
    "tm_batch_matmul_left_s8_c": (matmul_left,),
    "tm_batch_matmul_right_s8_c": (matmul_right,),
    "tm_transpose_conv_s8_c": (transpose_conv,),
}
DSP_GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_batch_matmul_s8_dsp": (matmul,),
    "tm_batch_matmul_right_s8_dsp": (matmul_right,),
    "tm_transpose_conv_s8_dsp": (transpose_conv,),
}
