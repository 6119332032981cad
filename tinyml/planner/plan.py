"""The plan: which operators run together, in which order, and where every byte lives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Storage(StrEnum):
    """How a stage keeps a tensor that lives only inside it."""

    FULL = "full"  # the whole tensor
    RING = "ring"  # the last k rows
    RECOMPUTE = "recompute"  # strips with a recomputed halo


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of operators executed together, row by row.

    `ops` index Graph.ops in execution order. `strips` vertical strips; `storage` has one entry
    per inner tensor (written and read only inside the stage). A stage of one operator has none.
    With `bottom_up` the output's rows are computed from the last to the first, so that the output may
    lie above the input it overwrites: operators in place then need not drift downwards one after another.
    With `single_rows` kernels that can compute several rows per call are asked for one, for smaller rings.
    """

    ops: tuple[int, ...]
    strips: int = 1
    storage: tuple[tuple[int, Storage], ...] = ()
    bottom_up: bool = False
    single_rows: bool = False


class BufferKind(StrEnum):
    """What a byte range of the arena holds."""

    TENSOR = "tensor"
    SCRATCH = "scratch"
    RING = "ring"


@dataclass(frozen=True, slots=True)
class Buffer:
    """A byte range of the arena and the stages [first, last] during which it is live.

    `tensors` lists every tensor stored there: several where operators only change the shape
    (RESHAPE); none for scratch. Model inputs are live from stage 0, outputs until the last.
    """

    name: str
    kind: BufferKind
    tensors: tuple[int, ...]
    offset: int
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A memory plan. All offsets are bytes from an arena aligned to `alignment`."""

    model: str
    stages: tuple[Stage, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    lower_bound_bytes: int  # live bytes at the fullest moment, best overlap taken; of this order
    peak_stage: int
    macs: int
    extra_macs: float = 0.0
    alignment: int = 8

    def buffer_of(self, tensor: int) -> Buffer:
        """Return the buffer that holds the tensor."""
        for buffer in self.buffers:
            if tensor in buffer.tensors:
                return buffer
        raise KeyError(tensor)

    def scratch_of(self, stage: int) -> Buffer | None:
        """Return the scratch buffer of a stage, or None."""
        for buffer in self.buffers:
            if buffer.kind is BufferKind.SCRATCH and buffer.first == stage:
                return buffer
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return dataclasses.asdict(self)
