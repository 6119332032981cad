"""Affine access maps: which input rows an output row reads.

One map along one streaming axis (image rows, pixels, tokens, elements) describes every operator:
output row r reads input rows [mul·r + lo, mul·r + hi], clipped to the input, or the whole input.
In-place operators, input/output overlap, row streaming and patches all follow from it
(docs/architecture.md, "One map").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowMap:
    """Rows of one input that output row r reads: [mul·r + lo, mul·r + hi] ∩ [0, rows)."""

    rows: int
    row_bytes: int
    mul: int = 1
    lo: int = 0
    hi: int = 0

    def first(self, r: int) -> int:
        """First input row that output row r reads, clipped to [0, rows]."""
        return min(max(self.mul * r + self.lo, 0), self.rows)

    def last(self, r: int) -> int:
        """Last input row that output row r reads, clipped to [−1, rows − 1]."""
        return max(min(self.mul * r + self.hi, self.rows - 1), -1)


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

    @property
    def output_bytes(self) -> int:
        """Bytes of the whole output."""
        return self.rows * self.row_bytes

    def steps(self) -> list[tuple[int, int]]:
        """Output row ranges [first, end) in the order they are computed."""
        return [(r, min(r + self.granule, self.rows)) for r in range(0, self.rows, self.granule)]

    def needed_from(self, i: int, step: tuple[int, int]) -> int | None:
        """First byte of input i still unread while `step` writes; None when all was read."""
        row_map = self.inputs[i]
        first, end = step
        if row_map is None:
            return None if self.buffered and end >= self.rows and first == 0 else 0
        if not self.buffered:
            return row_map.first(first) * row_map.row_bytes
        if end >= self.rows:
            return None
        return row_map.first(end) * row_map.row_bytes

    def overlap_distance(self, i: int) -> int | None:
        """Bytes D that the output must start below input i so that both may share memory.

        The placement `offset(output) + D <= offset(input)` is safe, provided no one reads the
        input afterwards. D <= 0 is fully in place (the output may even start up to −D above).
        None where no row is ever safe to share, so that the ranges must be disjoint; a D of at
        least the output's size says the same with a number.

        Source: segment overlap as in vMCU (Zheng et al., MLSys 2024), derived from the map.
        """
        distance: int | None = None
        for step in self.steps():
            needed = self.needed_from(i, step)
            if needed is None:
                continue
            written = step[1] * self.row_bytes
            distance = max(written - needed, distance) if distance is not None else written - needed
        if distance is None:  # everything is read before anything is written
            row_map = self.inputs[i]
            return 0 if row_map is None else min(0, self.output_bytes - row_map.rows * row_map.row_bytes)
        return distance
