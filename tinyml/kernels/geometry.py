"""Shapes as the C walk of tm_runtime.h wants them: six dimensions, strides, and rows of elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinyml.access import AccessMap, RowMap
from tinyml.kernels.registry import Constant

RANK = 6  # TM_RANK


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides, in elements, of a densely packed tensor."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def walk(name: str, dims: Sequence[int], *tensors: Sequence[int], comment: str = "") -> Constant:
    """Return the table of a walk through `dims`, with the strides of each tensor walked through.

    Neighbouring dimensions that every tensor steps through evenly are merged, so that the last
    one, which is the inner loop, is long; then ones are put in front up to RANK.

    Raises:
        ValueError: more than RANK dimensions are left.
    """
    merged: list[tuple[int, ...]] = []  # (dim, stride of each tensor)
    for dim, *steps in zip(dims, *tensors, strict=True):
        if dim == 1:
            continue
        if merged and all(before == step * dim for before, step in zip(merged[-1][1:], steps, strict=True)):
            merged[-1] = (merged[-1][0] * dim, *steps)
        else:
            merged.append((dim, *steps))
    if len(merged) > RANK:
        raise ValueError(f"{len(merged)} dimensions, but at most {RANK} can be walked")
    ones = [(1,) + (0,) * len(tensors)] * (RANK - len(merged))
    return Constant(name, "int32_t", np.ascontiguousarray(np.array(ones + merged, np.int32).T), comment)


def elementwise_rows(shape: Sequence[int]) -> tuple[int, int]:
    """Return (rows, elements of a row) of a tensor that is walked element by element.

    Rows end at the first dimension above one: image rows where there are several. So a tensor of
    more than one element has more than one row, and an access map that calls each row's reads
    buffered gives the overlap distance 0, which is exact for a kernel that reads an element before
    it writes it. One single buffered row would claim that any overlap is safe.
    """
    for axis, dim in enumerate(shape):
        if dim > 1:
            return math.prod(shape[: axis + 1]), math.prod(shape[axis + 1 :])
    return 1, 1


def elementwise_access(
    output: Sequence[int],
    inputs: Sequence[Sequence[int]],
    element_bytes: int = 1,
    input_bytes: int | None = None,
) -> AccessMap:
    """Return the map of a kernel that reads element i of its inputs, then writes element i of its output.

    Args:
        output: the output's shape.
        inputs: shapes of the activation inputs; one with fewer elements than the output repeats,
            and is read as a whole.
        element_bytes: of the output.
        input_bytes: of an element of the inputs; None is as many.
    """
    elements = math.prod(output)
    aligned = [math.prod(shape) == elements for shape in inputs]
    if not any(aligned):
        return AccessMap(rows=1, row_bytes=elements * element_bytes, inputs=(None,) * len(aligned))
    # Next to an input that repeats, or of another width, only single elements are honest: a buffered row of
    # several would claim that all of that input has been read when the last row is written.
    input_bytes = input_bytes or element_bytes
    alike = all(aligned) and input_bytes == element_bytes
    rows, row = elementwise_rows(output) if alike else (elements, 1)
    return AccessMap(
        rows=rows,
        row_bytes=row * element_bytes,
        inputs=tuple(RowMap(rows, row * input_bytes) if same else None for same in aligned),
        buffered=True,
    )
