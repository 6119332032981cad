"""Affine access maps: which input rows an output row reads.

One map along one streaming axis (image rows, pixels, tokens, elements) describes every operator:
output row r reads input rows [(mul·r + lo)/div, (mul·r + hi)/div], rounded down and clipped to the input,
or the whole input; div is 1 but where the output has more rows than the input.
In-place operators, input/output overlap, row streaming and patches all follow from it
(docs/architecture.md, "One map").
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowMap:
    """Rows of one input that output row r reads: [⌊(mul·r + lo)/div⌋, ⌊(mul·r + hi)/div⌋] ∩ [0, rows).

    `mul` is not negative: a later output row never needs an earlier input row than the one before it.
    """

    rows: int
    row_bytes: int
    mul: int = 1
    lo: int = 0
    hi: int = 0
    div: int = 1

    def first(self, r: int) -> int:
        """First input row that output row r reads, clipped to [0, rows]."""
        return min(max((self.mul * r + self.lo) // self.div, 0), self.rows)

    def last(self, r: int) -> int:
        """Last input row that output row r reads, clipped to [−1, rows − 1]."""
        return max(min((self.mul * r + self.hi) // self.div, self.rows - 1), -1)


@dataclass(frozen=True, slots=True)
class AccessMap:
    """How a kernel walks its output and its inputs.

    Args:
        rows: output rows; `row_bytes` each, densely packed.
        inputs: one RowMap per activation input, in operator order; None reads the whole input
            for every row (global pooling, broadcasting, matrix products).
        granule: output rows that the kernel computes in one step (the last step may be shorter).
        buffered: True where a step has read all the input it needs before it writes its first
            output byte; False where it writes output bytes while still reading the step's input.
    """

    rows: int
    row_bytes: int
    inputs: tuple[RowMap | None, ...]
    granule: int = 1
    buffered: bool = False

    def mirrored(self) -> AccessMap:
        """Return the map of the same operator with both memory and rows counted from the end.

        A kernel that computes its rows from the last to the first walks memory exactly as a forward
        one walks its mirror image: its first step ends with the last row.
        """
        last = self.rows - 1

        def mirror(row_map: RowMap | None) -> RowMap | None:
            if row_map is None:
                return None
            end = row_map.div * row_map.rows - 1 - row_map.mul * last
            return dataclasses.replace(row_map, lo=end - row_map.hi, hi=end - row_map.lo)

        return dataclasses.replace(self, inputs=tuple(mirror(row_map) for row_map in self.inputs))

    @property
    def output_bytes(self) -> int:
        """Bytes of the whole output."""
        return self.rows * self.row_bytes

    def steps(self) -> list[tuple[int, int]]:
        """Output row ranges [first, end) in the order they are computed."""
        return [(r, min(r + self.granule, self.rows)) for r in range(0, self.rows, self.granule)]

    def steps_bottom_up(self) -> list[tuple[int, int]]:
        """Output row ranges [first, end) in the order of a kernel that computes the last rows first."""
        return [(self.rows - end, self.rows - first) for first, end in self.steps()]

    def needed_from(self, i: int, step: tuple[int, int]) -> int | None:
        """First byte of input i still unread while `step` writes; None when all was read."""
        row_map = self.inputs[i]
        first, end = step
        if self.buffered and end >= self.rows:
            return None
        if row_map is None:
            return 0
        row = row_map.first(end if self.buffered else first)
        return row * row_map.row_bytes if row < row_map.rows else None

    def overlap_distance(self, i: int) -> int:
        """Bytes D that the output must start below input i so that both may share memory.

        The placement `offset(output) + D <= offset(input)` is safe, provided no one reads the
        input afterwards. D <= 0 is fully in place (the output may even start up to −D above); a D
        of at least the output's size says that the ranges must be disjoint.

        D is the maximum over the steps of (bytes written at the end of the step) − (first byte
        still unread). Both are linear in the step's number but for the clipping of the input row
        to the image, so the maximum lies at an end of one of at most three straight pieces; with a `div`,
        within so many steps of an end.

        Source: segment overlap as in vMCU (Zheng et al., MLSys 2024), derived from the map.
        """
        steps = -(-self.rows // self.granule)
        candidates = {0, steps - 2, steps - 1}
        row_map = self.inputs[i]
        if row_map is not None and row_map.mul > 0:
            per_step = row_map.mul * self.granule
            for bound in (0, row_map.rows):  # steps around the one whose first row passes the bound
                at = (bound * row_map.div - row_map.lo) // per_step
                candidates.update(range(at - 1 - row_map.div, at + 1 + row_map.div))
            if row_map.div > 1:
                candidates.update((*range(row_map.div), *range(steps - 2 - row_map.div, steps)))
        distance: int | None = None
        for k in candidates:
            if not 0 <= k < steps:
                continue
            end = min((k + 1) * self.granule, self.rows)
            needed = self.needed_from(i, (k * self.granule, end))
            if needed is not None:
                step_distance = end * self.row_bytes - needed
                distance = step_distance if distance is None else max(distance, step_distance)
        if distance is None:  # the input is read as a whole before anything is written
            return 0 if row_map is None else -row_map.rows * row_map.row_bytes
        return distance
