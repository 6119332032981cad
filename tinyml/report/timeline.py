"""The arena over time, as both drawings show it: where a stage stands, and what passes bytes to what.

Time is counted in operators in the order of execution: a streamed stage is as wide as the operators that it
runs together, so that the plans of one network can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from tinyml.report.model import BufferUse, BuildReport


@dataclass(frozen=True, slots=True)
class Handover:
    """Arena bytes [low, high) that `output` takes over from the dying `source` during a stage.

    `rising`: the output begins at the lower end, so the bytes pass over from low to high; else its rows
    are computed from the last to the first.
    """

    stage: int
    source: BufferUse
    output: BufferUse
    low: int
    high: int
    rising: bool


def stage_edges(report: BuildReport) -> tuple[int, ...]:
    """Return the operators that ran before each stage, and before the end."""
    return tuple(accumulate((len(stage) for stage in report.stages), initial=0))


def is_streamed(report: BuildReport, stage: int) -> bool:
    """Whether a stage runs row by row."""
    rings = (b.kind == "ring" and b.first <= stage <= b.last for b in report.buffers)
    return len(report.stages[stage]) > 1 or any(rings)


def division(report: BuildReport, stage: int) -> str:
    """Return "4 strips" or "3×3 patches" where a stage computes its output piece by piece, else nothing."""
    strips, bands = report.divisions[stage]
    if bands > 1:
        return f"{bands}×{strips} patches"
    return f"{strips} strips" if strips > 1 else ""


def by_birth(report: BuildReport) -> tuple[BufferUse, ...]:
    """Return the buffers in the order of birth, the dying first: neighbours in time get different colours."""
    return tuple(sorted(report.buffers, key=lambda b: (b.first, b.last, b.offset)))


def handovers(report: BuildReport) -> Iterator[Handover]:
    """Yield where an output overwrites a tensor that is read for the last time."""
    tensors = [buffer for buffer in by_birth(report) if buffer.kind == "tensor"]
    for later, output in enumerate(tensors):
        for source in tensors[:later]:
            low = max(source.offset, output.offset)
            high = min(source.offset + source.bytes, output.offset + output.bytes)
            if source.last == output.first and low < high:
                rising = output.offset <= source.offset
                yield Handover(output.first, source, output, low, high, rising)
