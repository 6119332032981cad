"""The one interface to everything that runs a model: this computer, an emulator, a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from tinyml.graph import Array


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """An operator of the model on the target, in the order of execution.

    `name` is that of its output tensor (shortened, unprintable characters replaced); `op` the
    TFLite operator; `size_bytes` the bytes of its output.
    """

    index: int
    name: str
    op: str
    macs: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What a target says about itself.

    `firmware` is "<bytes>-<CRC-32 in hex>" of the program in flash, "" where the target has none
    or does not know. `clock_hz` is 0 where it means nothing. `pushed_input` is the input that is never in
    the arena as a whole, None where all are: for one inference its rows, `pushed_rows` of `row_bytes` bytes,
    arrive one by one. They are more than the image has where the model wants it several times over.
    """

    board: str
    model: str
    model_sha256: str
    firmware: str
    clock_hz: int
    arena_bytes: int
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]
    layer_count: int
    trace: bool
    packet_bytes: int = 0
    pushed_input: int | None = None
    pushed_rows: int = 0
    row_bytes: int = 0
    stateful: bool = False  # an inference depends on those before it

    @property
    def transfers(self) -> tuple[tuple[int, int], ...]:
        """(input, times it is sent for one inference), in the order of sending: pushed rows come last."""
        times = [(i, 1) for i in range(len(self.input_bytes)) if i != self.pushed_input]
        if self.pushed_input is not None:
            sent = self.pushed_rows * self.row_bytes
            times.append((self.pushed_input, sent // self.input_bytes[self.pushed_input]))
        return tuple(times)


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """One inference: outputs as flat uint8 arrays of raw bytes, in the model's order.

    `cycles` is None where the target counts none, `stack_free` (bytes of stack that were never
    used since start) where it has no stack of its own.
    """

    outputs: tuple[Array, ...]
    cycles: int | None = None
    stack_free: int | None = None


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """A layer's output, right after the layer ran, as the CRC-32 of its bytes."""

    index: int
    name: str
    op: str
    crc32: int
    cycles: int | None


class Target(Protocol):
    """Runs one model. Use it as a context manager; the first use connects.

    Inputs are arrays in the model's order whose raw bytes are the model's input bytes (int8, or
    float32 where the model was built with float edges). Every method raises TargetError where the
    target does not answer as it should, UsageError where the inputs' number or size is wrong.
    """

    def __enter__(self) -> Self:
        """Start and connect."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect and clean up, whatever has happened."""
        ...

    @property
    def info(self) -> TargetInfo:
        """Who answers."""
        ...

    def layers(self) -> tuple[LayerInfo, ...]:
        """The operators of the model on the target."""
        ...

    def reset_states(self) -> None:
        """Let a model that remembers earlier inferences forget them, as after a start."""
        ...

    def infer(self, inputs: Sequence[Array]) -> Inference:
        """Run one inference."""
        ...

    def trace(self, inputs: Sequence[Array]) -> list[LayerTrace]:
        """Run one inference layer by layer."""
        ...

    def layer_output(self, inputs: Sequence[Array], index: int) -> bytes:
        """Run up to layer `index` and return its output bytes."""
        ...


def input_bytes(inputs: Sequence[Array], info: TargetInfo) -> list[bytes]:
    """Return the raw bytes of the inputs, checked against what the target expects.

    Raises:
        UsageError: a wrong number of inputs, or an input of a wrong size.
    """
    import numpy as np

    from tinyml.errors import UsageError

    if len(inputs) != len(info.input_bytes):
        raise UsageError(
            f"model {info.model} has {len(info.input_bytes)} inputs, not {len(inputs)}",
            hint="give one array per model input, in the model's order",
        )
    raw = [np.ascontiguousarray(array).tobytes() for array in inputs]
    for i, (data, expected) in enumerate(zip(raw, info.input_bytes, strict=True)):
        if len(data) != expected:
            raise UsageError(
                f"input {i} of {info.model} has a wrong size",
                expected=f"expected {expected} bytes, received {len(data)}"
                f" ({inputs[i].dtype}{list(inputs[i].shape)})",
                hint="check shape and element type with `tinyml inspect`",
            )
    return raw
