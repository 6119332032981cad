"""The plan: which operators run together, in which order, and where every byte lives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of operators executed together, row by row, or one operator alone.

    Args:
        ops: index Graph.ops, in execution order. Every tensor that one of them writes and another reads is
            a ring: the last few rows.
        strips: vertical strips that the output is computed in, one after another. Columns that two strips
            need are computed twice.
        bands: horizontal bands of every strip. Rows that two bands need are computed twice; strips and
            bands together are the patches of MCUNetV2.
        in_place: (operator, tensor): the output rows of the operator are put where the tensor's ring keeps
            the oldest rows it has just read, and have no ring of their own.
        fed: tensors from outside whose rows are copied into a ring before they are read.
        pushed: the rows of the fed tensor, a model input, are not in the arena: the application pushes them.
        bottom_up: the output's rows are computed from the last to the first, so that the output may lie
            above the input it overwrites: operators in place then need not drift downwards one after another.
        single_rows: kernels that can compute several rows per call are asked for one, for smaller rings.
        small_scratch: kernels with more scratch than the stage cannot do without are called with less.
    """

    ops: tuple[int, ...]
    strips: int = 1
    bands: int = 1
    in_place: tuple[tuple[int, int], ...] = ()
    fed: tuple[int, ...] = ()
    pushed: bool = False
    bottom_up: bool = False
    single_rows: bool = False
    small_scratch: bool = False

    @property
    def streamed(self) -> bool:
        """Whether it runs row by row, with rings."""
        return len(self.ops) > 1 or bool(self.fed)


class BufferKind(StrEnum):
    """What a byte range of the arena holds.

    STATE is what a streamed stage remembers between its kernels' calls: the sums of a pool over the whole
    image and, where the application pushes rows, how far it has got.
    """

    TENSOR = "tensor"
    SCRATCH = "scratch"
    RING = "ring"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Buffer:
    """A byte range of the arena and the stages [first, last] during which it is live.

    `tensors` lists every tensor stored there: several where operators only rename bytes (aliases.py); none
    for scratch and state. `places` are their offsets from the buffer's own, all 0 where it is empty. Model
    inputs are live from stage 0, outputs until the last.
    """

    name: str
    kind: BufferKind
    tensors: tuple[int, ...]
    offset: int
    size_bytes: int
    first: int
    last: int
    places: tuple[int, ...] = ()

    def offset_of(self, tensor: int) -> int:
        """Return the arena offset of one of its tensors."""
        return self.offset + (self.places[self.tensors.index(tensor)] if self.places else 0)


@dataclass(frozen=True, slots=True)
class Fill:
    """A row of zero points in the arena that a stage of one operator reads for rows outside the image.

    Args:
        stage: the stage.
        offset: of its first byte in the arena.
        value: what it is filled with.
        size_bytes: of the row.
        fill_at: the first output row of the call before which it is filled; None before all of them. Until
            then the bytes may hold rows of the input.
    """

    stage: int
    offset: int
    value: int
    size_bytes: int
    fill_at: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a choice of stages costs; smaller is better in every number.

    Args:
        peak_bytes: bytes live at the fullest moment, best overlap taken.
        extra_macs: multiply-accumulates computed a second time.
        extra_instructions: executed beyond running the operators one by one, estimated.
        extra_code: bytes of code beyond that, estimated.
    """

    peak_bytes: int = 0
    extra_macs: int = 0
    extra_instructions: int = 0
    extra_code: int = 0


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
    extra_macs: int = 0  # computed a second time where strips or bands meet
    alignment: int = 8
    bodies: tuple[tuple[int, Plan], ...] = ()  # of loops, by operator: each in the loop's scratch buffer
    front: tuple[Cost, ...] = ()  # choices of stages none of which is better in everything, by peak
    fills: tuple[Fill, ...] = ()  # at most one per stage; without one, such a row lies in flash

    def buffer_of(self, tensor: int) -> Buffer:
        """Return the buffer that holds the tensor: the whole of it, or the ring of an inner tensor."""
        found = None
        for buffer in self.buffers:
            if tensor in buffer.tensors:
                if buffer.kind is BufferKind.TENSOR:
                    return buffer
                found = buffer
        if found is None:
            raise KeyError(tensor)
        return found

    def offset_of(self, tensor: int) -> int:
        """Return where in the arena a tensor begins, or the ring of an inner tensor."""
        return self.buffer_of(tensor).offset_of(tensor)

    def is_pushed(self, tensor: int) -> bool:
        """Whether a model input arrives row by row instead of lying in the arena."""
        return any(stage.pushed and stage.fed[0] == tensor for stage in self.stages)

    def ring_of(self, tensor: int, stage: int) -> Buffer | None:
        """Return the ring that holds rows of the tensor during a stage, or None."""
        return self._of(BufferKind.RING, stage, tensor)

    def scratch_of(self, stage: int) -> Buffer | None:
        """Return the scratch buffer of a stage, or None."""
        return self._of(BufferKind.SCRATCH, stage)

    def state_of(self, stage: int) -> Buffer | None:
        """Return what a streamed stage remembers between calls, or None."""
        return self._of(BufferKind.STATE, stage)

    def body_of(self, op: int) -> Plan:
        """Return the plan of a loop's body; its offsets are from the start of the loop's scratch buffer."""
        return dict(self.bodies)[op]

    def fill_of(self, stage: int) -> Fill | None:
        """Return the row of zero points that a stage keeps in the arena, or None."""
        return next((fill for fill in self.fills if fill.stage == stage), None)

    def _of(self, kind: BufferKind, stage: int, tensor: int | None = None) -> Buffer | None:
        for buffer in self.buffers:
            if buffer.kind is kind and buffer.first == stage and (tensor is None or tensor in buffer.tensors):
                return buffer
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return dataclasses.asdict(self)
