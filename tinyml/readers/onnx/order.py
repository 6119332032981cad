"""The order in which a value's elements lie in memory.

ONNX images are [batch, channels, height, width]; the graph's are [batch, height, width, channels]. The
reader therefore keeps every value in the order that was cheapest to compute it in, and notes here what
that order is. Transposing and reshaping a value then only changes the note, and elements are moved
where an operator needs another order than its input has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """`dims` are the sizes of the value's dimensions, in the file's order, without ones; in memory
    the dimensions lie in the order `order`, the last one contiguous.

    Neighbours stay one dimension where they can, so that equal orders are equal objects.
    """

    dims: tuple[int, ...]
    order: tuple[int, ...]


def plain(shape: Sequence[int]) -> Order:
    """Return the order of the file."""
    return transposed(shape, range(len(shape)))


def transposed(shape: Sequence[int], perm: Sequence[int]) -> Order:
    """Return the order of a value of the given shape whose memory is [shape[p] for p in perm]."""
    kept = [axis for axis, size in enumerate(shape) if size != 1]
    return _joined([shape[a] for a in kept], [kept.index(p) for p in perm if p in kept])


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the permutation from [N, C, spatial...] to [N, spatial..., C]."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def permutation(order: Order, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return a permutation of a shape's axes that gives an order, or None where a reshape lies between.

    Where axes of size 1 leave several, it is the identity, then channels last.
    """
    rank = len(shape)
    for candidate in (tuple(range(rank)), channels_last(rank)):
        if transposed(shape, candidate) == order:
            return candidate
    split = _split(order, _suffixes(shape))
    if split is None:
        return None
    axes = _groups(split.dims, shape)  # of each dimension of `split` the axis it is part of
    found: list[int] = []
    for dim in split.order:
        if not found or found[-1] != axes[dim]:
            found.append(axes[dim])
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    candidate = (*ones, *found)
    return candidate if len(set(candidate)) == rank and transposed(shape, candidate) == order else None


def transpose(order: Order, shape: Sequence[int], perm: Sequence[int]) -> Order | None:
    """Return the order of the same memory for the value with its axes permuted.

    None where the memory is that of another shape, which the permutation would take apart.
    """
    split = _split(order, _suffixes(shape))
    if split is None:
        return None
    axes = _groups(split.dims, shape)
    new = [dim for axis in perm for dim, owner in enumerate(axes) if owner == axis]
    return _joined([split.dims[d] for d in new], [new.index(d) for d in split.order])


def move(source: Order, target: Order) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return (shape, permutation) of the TRANSPOSE that turns one order into another.

    None where no single one does; the plain order is one step from every other.
    """
    bounds = sorted({*_suffixes(source.dims), *_suffixes(target.dims)})
    first, second = _split(source, bounds), _split(target, bounds)
    if first is None or second is None:
        return None
    perm = [first.order.index(d) for d in second.order]
    shape = [first.dims[d] for d in first.order]
    runs: list[list[int]] = []
    for p in perm:
        if runs and runs[-1][-1] + 1 == p:
            runs[-1].append(p)
        else:
            runs.append([p])
    by_source = sorted(runs)
    return (
        tuple(math.prod(shape[p] for p in run) for run in by_source),
        tuple(by_source.index(run) for run in runs),
    )


def _suffixes(shape: Sequence[int]) -> list[int]:
    """Return the products of the last one, two, ... dimensions."""
    found, product = [], 1
    for size in reversed(shape):
        product *= size
        if size != 1:
            found.append(product)
    return found


def _split(order: Order, bounds: Sequence[int]) -> Order | None:
    """Divide dimensions where products of the last ones must equal `bounds`; None where they cannot."""
    dims: list[int] = []
    parts: list[list[int]] = []
    product = math.prod(order.dims)
    for size in order.dims:
        inner = [product, *sorted((b for b in bounds if product // size < b < product), reverse=True)]
        product //= size
        inner.append(product)
        sizes = []
        for above, below in itertools.pairwise(inner):
            if above % below:
                return None
            sizes.append(above // below)
        parts.append(list(range(len(dims), len(dims) + len(sizes))))
        dims += sizes
    return Order(tuple(dims), tuple(part for d in order.order for part in parts[d]))


def _groups(dims: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return of each dimension, none of which crosses an axis of the shape, that axis."""
    axes, at = [], 0
    left = 1
    kept = [axis for axis, size in enumerate(shape) if size != 1]
    for size in dims:
        if left == 1:
            left = shape[kept[at]]
            at += 1
        axes.append(kept[at - 1])
        left //= size
    return axes


def _joined(dims: Sequence[int], order: Sequence[int]) -> Order:
    """Make one dimension of those that are neighbours in the file and in memory."""
    runs: list[list[int]] = []
    for d in order:
        if runs and runs[-1][-1] + 1 == d:
            runs[-1].append(d)
        else:
            runs.append([d])
    by_file = sorted(runs)
    return Order(
        tuple(math.prod(dims[d] for d in run) for run in by_file),
        tuple(by_file.index(run) for run in runs),
    )
