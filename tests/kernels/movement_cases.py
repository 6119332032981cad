"""Random single-operator graphs for the kernels that move elements of any type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.kernels.kernel_cases import (
    Rng,
    activation_tensor,
    one_op,
    per_tensor,
    pick,
    random_int8,
    transpose,
)
from tinyml import numerics
from tinyml.graph import (
    Array,
    Attrs,
    BlockAttrs,
    ConcatAttrs,
    DType,
    GatherAttrs,
    Graph,
    MirrorPadAttrs,
    NoAttrs,
    OpKind,
    PadAttrs,
    ResizeAttrs,
    SliceAttrs,
    Tensor,
)

_TYPES = (DType.INT8, DType.INT8, DType.INT8, DType.INT16, DType.INT32, DType.FLOAT32)


def _shape(rng: Rng, *ranks: int, largest: int = 6) -> tuple[int, ...]:
    return tuple(pick(rng, *range(1, largest)) for _ in range(pick(rng, *ranks)))


def _tensor(rng: Rng, name: str, shape: Sequence[int], dtype: DType | None = None) -> Tensor:
    dtype = dtype or _TYPES[int(rng.integers(len(_TYPES)))]
    quant = {DType.INT8: per_tensor(0.05, pick(rng, -128, 0, 5, 127)), DType.INT16: per_tensor(0.05, 0)}
    return Tensor(name, tuple(shape), dtype, quant.get(dtype))


def _moved(kind: OpKind, attrs: Attrs, x: Tensor, shape: Sequence[int]) -> Graph:
    return one_op(kind, attrs, (x,), Tensor("y", tuple(shape), x.dtype, x.quant))


def slice_(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4, 4, 5, 6)
    begin, steps, axes, out = [], [], [], []
    for n in shape:
        if rng.random() < 0.15:
            begin.append(int(rng.integers(n)))
            steps.append(1)
            axes.append(-1)
            continue
        step = pick(rng, 1, 1, 1, 2, -1, -2)
        first, last = sorted(int(i) for i in rng.integers(0, n, 2))
        if rng.random() < 0.4:
            first, last = 0, n - 1
        axes.append(len(out))
        out.append((last - first) // abs(step) + 1)
        begin.append(first if step > 0 else last)
        steps.append(step)
    attrs = SliceAttrs(tuple(begin), tuple(steps), tuple(axes))
    return _moved(OpKind.SLICE, attrs, _tensor(rng, "x", shape), out)


def tile(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4, largest=5)
    out = [n * pick(rng, 1, 1, 2, 3) for n in shape]
    return _moved(OpKind.TILE, NoAttrs(), _tensor(rng, "x", shape), [pick(rng, 1, 2)] * pick(rng, 0, 1) + out)


def space_to_depth(rng: Rng) -> Graph:
    (n, h, w, c), b = _shape(rng, 4, largest=4), pick(rng, 1, 2, 3)
    x = _tensor(rng, "x", (n, h * b, w * b, c))
    return _moved(OpKind.SPACE_TO_DEPTH, BlockAttrs((b, b)), x, (n, h, w, c * b * b))


def depth_to_space(rng: Rng) -> Graph:
    (n, h, w, c), b = _shape(rng, 4, largest=4), pick(rng, 1, 2, 3)
    x = _tensor(rng, "x", (n, h, w, c * b * b))
    return _moved(OpKind.DEPTH_TO_SPACE, BlockAttrs((b, b)), x, (n, h * b, w * b, c))


def space_to_batch(rng: Rng) -> Graph:
    shape = _shape(rng, 3, 4)
    block, edges, sizes = [1, 1], [(0, 0), (0, 0)], []
    for d, n in enumerate(shape[1:-1]):
        block[d], before = pick(rng, 1, 2, 3), pick(rng, 0, 0, 1, 2)
        edges[d] = before, -(n + before) % block[d] + block[d] * pick(rng, 0, 1)
        sizes.append((n + sum(edges[d])) // block[d])
    attrs = BlockAttrs((block[0], block[1]), (edges[0], edges[1]))
    out = (shape[0] * math.prod(block), *sizes, shape[-1])
    return _moved(OpKind.SPACE_TO_BATCH_ND, attrs, _tensor(rng, "x", shape), out)


def batch_to_space(rng: Rng) -> Graph:
    shape = _shape(rng, 3, 4)
    block, edges, sizes = [1, 1], [(0, 0), (0, 0)], []
    for d, n in enumerate(shape[1:-1]):
        block[d] = pick(rng, 1, 2, 3)
        before = int(rng.integers(0, n * block[d]))
        edges[d] = before, int(rng.integers(0, n * block[d] - before))
        sizes.append(n * block[d] - sum(edges[d]))
    attrs = BlockAttrs((block[0], block[1]), (edges[0], edges[1]))
    x = _tensor(rng, "x", (shape[0] * math.prod(block), *shape[1:]))
    return _moved(OpKind.BATCH_TO_SPACE_ND, attrs, x, (shape[0], *sizes, shape[-1]))


def mirror_pad(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4, 5)
    reflect = bool(rng.random() < 0.5)
    paddings = tuple(
        (int(rng.integers(0, n + 1 - reflect)), int(rng.integers(0, n + 1 - reflect)))
        if rng.random() < 0.6
        else (0, 0)
        for n in shape
    )
    out = [n + sum(p) for n, p in zip(shape, paddings, strict=True)]
    return _moved(OpKind.MIRROR_PAD, MirrorPadAttrs(paddings, reflect), _tensor(rng, "x", shape), out)


def pad_wide(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4, 5)
    paddings = tuple((pick(rng, 0, 0, 1, 2), pick(rng, 0, 1, 2)) for _ in shape)
    out = [n + sum(p) for n, p in zip(shape, paddings, strict=True)]
    x = _tensor(rng, "x", shape, (DType.INT16, DType.INT32, DType.FLOAT32)[int(rng.integers(3))])
    value = None if rng.random() < 0.5 else int(rng.integers(-30000, 30000))
    return _moved(OpKind.PAD, PadAttrs(paddings, value), x, out)


def concatenation(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4, 5)
    axis = int(rng.integers(len(shape)))
    dtype = _TYPES[int(rng.integers(len(_TYPES)))]
    quant = _tensor(rng, "", (), dtype).quant
    parts = []
    for i in range(pick(rng, 1, 2, 2, 3, 4, 7)):
        own = tuple(pick(rng, *range(1, 6)) if d == axis else n for d, n in enumerate(shape))
        parts.append(
            Tensor(f"x{i}", own, dtype, quant, _values(rng, own, dtype) if rng.random() < 0.3 else None)
        )
    if all(part.data is not None for part in parts):
        parts[0] = Tensor("x", parts[0].shape, dtype, quant)
    out = (*shape[:axis], sum(p.shape[axis] for p in parts), *shape[axis + 1 :])
    return one_op(OpKind.CONCATENATION, ConcatAttrs(axis), parts, Tensor("y", out, dtype, quant))


def _values(rng: Rng, shape: Sequence[int], dtype: DType) -> Array:
    if dtype is DType.FLOAT32:
        return rng.normal(0, 1, shape).astype(np.float32)
    return random_int8(rng, shape).astype(dtype.value)


def gather(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4)
    axis = int(rng.integers(len(shape)))
    batch = int(rng.integers(0, axis + 1)) if rng.random() < 0.5 else 0
    where = (*shape[:batch], *_shape(rng, 0, 1, 2))
    data = _tensor(rng, "x", shape)
    out = (*shape[:axis], *where[batch:], *shape[axis + 1 :])
    indices = _indices(rng, where, shape[axis])
    if indices.data is None and rng.random() < 0.5:
        data = Tensor("x", shape, data.dtype, data.quant, _values(rng, shape, data.dtype))
    y = Tensor("y", out, data.dtype, data.quant)
    return one_op(OpKind.GATHER, GatherAttrs(axis, batch), (data, indices), y)


def _indices(rng: Rng, shape: Sequence[int], limit: int) -> Tensor:
    dtype = DType.INT32 if rng.random() < 0.6 else DType.INT64
    values = rng.integers(0, limit, shape).astype(dtype.value) if rng.random() < 0.4 else None
    return Tensor("indices", tuple(shape), dtype, None, values)


def gather_nd(rng: Rng) -> Graph:
    shape = _shape(rng, 1, 2, 3, 4)
    depth = int(rng.integers(1, len(shape) + 1))
    where = (*_shape(rng, 0, 1, 2), depth)
    data, indices = _tensor(rng, "x", shape), _indices(rng, where, min(shape[:depth]))
    y = Tensor("y", (*where[:-1], *shape[depth:]), data.dtype, data.quant)
    return one_op(OpKind.GATHER_ND, NoAttrs(), (data, indices), y)


def resize_bilinear(rng: Rng) -> Graph:
    sizes = [pick(rng, *range(1, 14)) for _ in range(4)]
    channels = pick(rng, 1, 2, 3, 8)
    x = activation_tensor(rng, "x", (1, *sizes[:2], channels))
    align = bool(rng.random() < 0.4)
    attrs = ResizeAttrs(align, not align and bool(rng.random() < 0.5))
    fits = all(
        int(numerics.bilinear_taps(n, m, attrs)[0].max()) < n
        for n, m in zip(sizes[:2], sizes[2:], strict=True)
    )
    return (
        _moved(OpKind.RESIZE_BILINEAR, attrs, x, (1, *sizes[2:], channels)) if fits else resize_bilinear(rng)
    )


GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_batch_to_space_c": (batch_to_space,),
    "tm_concat_c": (concatenation,),
    "tm_concat_const_c": (concatenation,),
    "tm_embedding_c": (gather,),
    "tm_gather_c": (gather,),
    "tm_gather_const_c": (gather, gather_nd),
    "tm_gather_nd_c": (gather_nd,),
    "tm_index_copy_c": (mirror_pad,),
    "tm_pad_nd_c": (pad_wide,),
    "tm_resize_bilinear_s8_c": (resize_bilinear,),
    "tm_space_to_batch_c": (space_to_batch,),
    "tm_strided_copy_c": (depth_to_space, slice_, space_to_depth, tile, transpose),
}
