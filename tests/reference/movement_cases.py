"""Random models of one operator that moves elements, in every element type, and of bilinear resizing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference.cases import Case

_TYPES = ("int8", "int8", "int8", "int16", "int32", "float32")


def _input(c: Case, shape: tuple[int, ...], *types: str) -> int:
    return c.input(shape, dtype=str(c.pick(*(types or _TYPES))))


def concatenation(c: Case) -> int:
    shape = c.sizes(c.below(1, 6), 6)
    axis = c.below(0, len(shape))
    dtype = str(c.pick(*_TYPES))
    zero_point = 0 if dtype == "int16" else c.below(-128, 128)
    parts = []
    for _ in range(c.below(1, 6)):
        own = tuple(c.below(1, 6) if d == axis else n for d, n in enumerate(shape))
        parts.append(c.input(own, 0.05, zero_point, dtype))
    if dtype == "int8" and c.flip():
        own = tuple(c.below(1, 6) if d == axis else n for d, n in enumerate(shape))
        parts.append(c.constant(c.rng.integers(-128, 128, own).astype(np.int8), 0.05, zero_point))
    if c.flip():
        parts.append(parts[0])
    return c.concatenation(parts, axis - len(shape) * c.flip())


def pack(c: Case) -> int:
    shape = c.sizes(c.below(0, 4), 6)
    dtype = str(c.pick(*_TYPES))
    zero_point = c.below(-128, 128)
    parts = [c.input(shape, 0.05, zero_point, dtype) for _ in range(c.below(1, 6))]
    return c.pack(parts, c.below(0, len(shape) + 1) - (len(shape) + 1) * c.flip())


def slice_(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 6), 9), *_TYPES, "bool")
    begin = [c.below(0, n) for n in c.shape(x)]
    size = [int(c.pick(-1, n - b, c.below(1, n - b + 1))) for n, b in zip(c.shape(x), begin, strict=True)]
    return c.slice(x, begin, size)


def strided_slice(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5), 9), *_TYPES, "bool")
    shape = c.shape(x)
    values = np.arange(int(np.prod(shape))).reshape(shape)
    while True:
        begin, end, strides, index = [], [], [], []
        masks = dict.fromkeys(
            ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0
        )
        axis = 0
        ellipsis = c.below(0, 4) == 0
        while axis < len(shape) and not (len(begin) and c.below(0, 8) == 0):
            bit = 1 << len(begin)
            n = shape[axis]
            b, e, s = c.below(-n - 1, n + 2), c.below(-n - 2, n + 3), int(c.pick(1, 1, 2, 3, -1, -2))
            kind = c.below(0, 8)
            if kind == 0 and ellipsis and not masks["ellipsis_mask"]:
                masks["ellipsis_mask"] = bit
                index.append(Ellipsis)
                axis += c.below(1, len(shape) - axis + 1)  # LiteRT goes wrong where it stands for none
            elif kind == 1 and len(shape) + sum(i is None for i in index) < 5:
                masks["new_axis_mask"] |= bit
                index.append(None)
            elif kind == 2:
                b, s = c.below(-n, n), 1
                e = b + 1
                masks["shrink_axis_mask"] |= bit
                index.append(b)
                axis += 1
            else:
                masks["begin_mask"] |= bit * (begin_free := c.flip())
                masks["end_mask"] |= bit * (end_free := c.flip())
                index.append(slice(None if begin_free else b, None if end_free else e, s))
                axis += 1
            begin.append(b)
            end.append(e)
            strides.append(s)
        if sum(i is not None and i is not Ellipsis for i in index) > len(shape):
            continue
        taken = values[tuple(index)]
        if taken.size:
            return c.strided_slice(x, begin, end, strides, taken.shape, **masks)


def split(c: Case) -> int:
    shape = list(c.sizes(c.below(1, 5), 6))
    axis, count = c.below(0, len(shape)), c.below(1, 5)
    shape[axis] *= count
    x = _input(c, tuple(shape), "int8", "int8", "int16", "int32", "float32")
    outputs = c.split(x, count, axis - len(shape) * c.flip())
    c.output(*outputs[1:])
    return outputs[0]


def split_v(c: Case) -> int:
    shape = list(c.sizes(c.below(1, 5), 6))
    axis = c.below(0, len(shape))
    sizes = [c.below(1, 5) for _ in range(c.below(1, 5))]
    shape[axis] = sum(sizes)
    written = list(sizes)
    if c.flip():
        written[c.below(0, len(sizes))] = -1
    x = _input(c, tuple(shape), "int8", "int8", "int16", "int32", "float32")
    outputs = c.split_v(x, sizes, axis - len(shape) * c.flip(), written)
    c.output(*outputs[1:])
    return outputs[0]


def unpack(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5), 6), *_TYPES[:-1], "bool", "float32")
    rank = len(c.shape(x))
    outputs = c.unpack(x, c.below(0, rank) - rank * c.flip())
    c.output(*outputs[1:])
    return outputs[0]


def reverse(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5), 8), "int8", "int8", "int16", "int32", "float32")
    first = c.below(0, len(c.shape(x)))
    return c.reverse(x, list(range(first, c.below(first, len(c.shape(x))) + 1)))


def gather(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5), 7), *_TYPES, "bool")
    rank = len(c.shape(x))
    batch = c.below(0, min(rank, 3)) if c.flip() else 0
    axis = c.below(batch, rank)
    limit = c.shape(x)[axis]
    shape = (*c.shape(x)[:batch], *c.sizes(c.below(0 if batch else 1, 3), 5))
    indices = _indices(c, shape, limit)
    return c.gather(x, indices, axis - rank * (c.flip() and not batch), batch)


def _indices(c: Case, shape: tuple[int, ...], limit: int) -> int:
    dtype = str(c.pick("int32", "int64"))
    if c.flip():
        return c.constant(c.rng.integers(0, limit, shape).astype(dtype))
    index = c.input(shape, dtype=dtype)
    c.limits[c.tensors[index].name] = (0, limit)
    return index


def gather_nd(c: Case) -> int:
    x = _input(c, (c.below(3, 6),) * c.below(1, 4) + c.sizes(c.below(0, 2), 6))
    rank = len(c.shape(x))
    depth = c.below(1, rank + 1)
    limit = min(c.shape(x)[:depth])
    return c.gather_nd(x, _indices(c, (*c.sizes(c.below(1, 3), 5), depth), limit))


def embedding(c: Case) -> int:
    rows, shape = c.below(2, 12), c.sizes(c.below(1, 3), 9)
    values = c.rng.integers(-128, 128, (rows, *shape)).astype(np.int8)
    table = c.constant(values, 0.05, c.below(-128, 128))
    ids = c.input((c.below(1, 7),), dtype="int32")
    c.limits[c.tensors[ids].name] = (0, rows)
    return c.embedding_lookup(ids, table)


def pad_value(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5)), "int8", "int8", "int16", "int32", "float32")
    paddings = [(c.below(0, 3), c.below(0, 3)) for _ in c.shape(x)]
    return c.pad_value(x, paddings, c.below(-128, 128))


def pad_types(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5)), "int16", "int32", "float32")
    return c.pad(x, [(c.below(0, 3), c.below(0, 3)) for _ in c.shape(x)])


def mirror_pad(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5)), "int8", "int8", "int16", "int32", "float32")
    reflect = c.flip()
    most = [n - reflect for n in c.shape(x)]
    return c.mirror_pad(x, [(c.below(0, m + 1), c.below(0, m + 1)) for m in most], reflect)


def tile(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 5), 6), "int8", "int8", "int16", "int32", "float32", "bool")
    return c.tile(x, [int(c.pick(1, c.below(1, 4))) for _ in c.shape(x)])


def broadcast_to(c: Case) -> int:
    shape = c.sizes(c.below(1, 6), 6)
    kept = tuple(1 if c.flip() else n for n in shape)[c.below(0, len(shape)) :]
    x = _input(c, kept, *_TYPES, "bool")
    return c.broadcast_to(x, shape)


def transpose_types(c: Case) -> int:
    x = _input(c, c.sizes(c.below(1, 7), 5), "int8", "int16", "int32", "float32", "bool")
    return c.transpose(x, [int(p) for p in c.rng.permutation(len(c.shape(x)))])


def reshape_types(c: Case) -> int:
    x = _input(c, c.sizes(3), "int16", "int32", "float32", "bool")
    return c.reshape(x, (int(np.prod(c.shape(x))),))


def space_to_depth(c: Case) -> int:
    b = c.below(1, 4)
    n, h, w, channels = c.sizes(4, 5)
    return c.space_to_depth(_input(c, (n, h * b, w * b, channels), "int8", "int8", "int32", "float32"), b)


def depth_to_space(c: Case) -> int:
    b = c.below(1, 4)
    n, h, w, channels = c.sizes(4, 5)
    return c.depth_to_space(_input(c, (n, h, w, channels * b * b), "int8", "int8", "int32", "float32"), b)


def space_to_batch(c: Case) -> int:
    spatial = c.below(1, 3)
    x = _input(c, c.sizes(2 + spatial, 7), "int8", "int8", "int32", "float32")
    block = [c.below(1, 4) for _ in range(spatial)]
    edges = []
    for n, b in zip(c.shape(x)[1:], block, strict=False):
        before = c.below(0, 3)
        edges.append((before, -(n + before) % b + b * c.below(0, 2)))
    return c.space_to_batch(x, block, edges)


def batch_to_space(c: Case) -> int:
    spatial = c.below(1, 3)
    block = [c.below(1, 4) for _ in range(spatial)]
    n, *rest = c.sizes(2 + spatial, 6)
    x = _input(c, (n * int(np.prod(block)), *rest), "int8", "int8", "int32", "float32")
    edges = []
    for size, b in zip(rest, block, strict=False):
        before = c.below(0, size * b)
        edges.append((before, c.below(0, size * b - before)))
    return c.batch_to_space(x, block, edges)


def resize_bilinear(c: Case) -> int:
    mode = c.pick({}, {"align_corners": True}, {"half_pixel_centers": True})
    return c.resize_bilinear(c.image(), c.pair(30), **mode)


CASES: tuple[Callable[[Case], int], ...] = (
    batch_to_space,
    broadcast_to,
    concatenation,
    depth_to_space,
    embedding,
    gather,
    gather_nd,
    mirror_pad,
    pack,
    pad_types,
    pad_value,
    reshape_types,
    resize_bilinear,
    reverse,
    slice_,
    space_to_batch,
    space_to_depth,
    split,
    split_v,
    strided_slice,
    tile,
    transpose_types,
    unpack,
)
