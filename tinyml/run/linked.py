"""What all targets behind a Link have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypedDict, Unpack

from tinyml.graph import Array
from tinyml.run.link import BytePort, Expected, Link, Progress, Timing
from tinyml.run.target import Inference, LayerInfo, LayerTrace, TargetInfo


class LinkOptions(TypedDict, total=False):
    """What every linked target hands on to its Link, which documents it."""

    timing: Timing | None
    expected: Expected | None
    packet: int
    progress: Progress | None


class LinkedTarget(ABC):
    """A target at the other end of the serial protocol.

    Subclasses open the port in `_start` and clean up in `_stop`, which must also work after a
    `_start` that failed half-way.

    Args:
        options: timing, expected, packet, progress: see Link.
    """

    def __init__(self, **options: Unpack[LinkOptions]) -> None:
        self._options = options
        self._link: Link | None = None

    def _link_over(self, port: BytePort, name: str, wake: Callable[[], None] | None = None) -> Link:
        """Return a link over an open port; `name` and `wake` as for Link."""
        return Link(port, name, wake=wake, explain=self._explain, **self._options)

    @abstractmethod
    def _explain(self) -> str:
        """Say why the port may have vanished; "" where nothing is known."""

    @abstractmethod
    def _start(self) -> Link:
        """Start what is to be started and open the port."""

    @abstractmethod
    def _stop(self) -> None:
        """End what _start() started; the link is closed already."""

    @property
    def link(self) -> Link:
        """The link; only between __enter__ and __exit__."""
        if self._link is None:
            raise RuntimeError(f"{type(self).__name__} is used outside its with-block")
        return self._link

    def __enter__(self) -> Self:
        """Start and connect; whatever fails here is cleaned up."""
        try:
            self._link = self._start()
            self._link.connect()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the port and clean up."""
        self._end()

    def _end(self) -> None:
        try:
            if self._link is not None:
                self._link.close()
        finally:
            self._link = None
            self._stop()

    @property
    def info(self) -> TargetInfo:
        """Who answers."""
        return self.link.info

    def layers(self) -> tuple[LayerInfo, ...]:
        """The operators of the model on the target."""
        return self.link.layers()

    def reset_states(self) -> None:
        """Let a model that remembers earlier inferences forget them, as after a start."""
        self.link.reset_states()

    def infer(self, inputs: Sequence[Array]) -> Inference:
        """Run one inference."""
        return self.link.infer(inputs)

    def trace(self, inputs: Sequence[Array]) -> list[LayerTrace]:
        """Run one inference layer by layer."""
        return self.link.trace(inputs)

    def layer_output(self, inputs: Sequence[Array], index: int) -> bytes:
        """Run up to layer `index` and return its output bytes."""
        return self.link.layer_output(inputs, index)
