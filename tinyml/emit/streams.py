"""Streamed stages → plain values: one C function per operator, which asks its producers for rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinyml.access import AccessMap, RowMap
from tinyml.graph import DType, Graph
from tinyml.kernels.registry import OpContext, RowLoop
from tinyml.planner.plan import Plan
from tinyml.planner.stream import (
    FEED,
    WIDTH_LITERALS,
    Columns,
    RowOp,
    band_rows,
    ring_host,
    ring_slots,
    stage_calls,
    strip_starts,
    whole_width,
)
from tinyml.select import Selection

_CTYPES = {
    DType.INT8: "int8_t",
    DType.FLOAT32: "float",
    DType.INT16: "int16_t",
    DType.INT32: "int32_t",
    DType.INT64: "int64_t",
    DType.BOOL: "uint8_t",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of a tensor lie. `{row}` in `place` stands for the C expression of a row.

    Args:
        start: C expression of the first byte, for the strip at hand.
        place: C expression of what to add to it for a row; empty where that is nothing.
    """

    start: str
    place: str

    def at(self, base: str, row: str) -> str:
        """Return the C expression of a row, where `base` is the variable that holds `start`."""
        return base + self.place.replace("{row}", row)


@dataclass(frozen=True, slots=True)
class StreamInput:
    """An input of a streamed operator."""

    name: str
    ctype: str
    rows: Rows
    row: str  # C expression of the row that a kernel without row pointers reads
    producer: str | None  # function, of this stage, that computes its rows
    need: str  # C expression: rows of the producer that must exist


@dataclass(frozen=True, slots=True)
class Strip:
    """Columns of a tensor that a strip holds, and what stands outside the image."""

    first: str  # C expression of the first column
    columns: int
    image_w: int
    pixel_bytes: int
    row_bytes: int
    blank: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A strip of which only the columns inside the image are computed."""

    first: str  # C expression of the first column
    columns: int
    image_w: int


@dataclass(frozen=True, slots=True)
class StreamOpContext:
    """One operator of a streamed stage, or what feeds it."""

    name: str
    index: int
    kernel: str
    summary: str
    kept: str
    inputs: tuple[StreamInput, ...]
    ctype: str
    output: Rows
    rows: int
    step: int  # rows per call
    loop: RowLoop | None
    pad_row: str | None
    constants: tuple[str, ...]
    scratch: int | None
    sums: int | None
    literals: tuple[tuple[str, int | str], ...]
    clip: Clip | None
    input_array: bool  # the kernel takes an array of pointers to its inputs
    unclipped: str  # C expression that takes a clipped output back to the strip's first column
    strip: Strip | None  # of a feed, or of an output to be blanked outside the image
    source: str  # of a feed: C expression of the tensor, empty where the application pushes rows


@dataclass(frozen=True, slots=True)
class StreamContext:
    """A streamed stage; the last operator drives it."""

    name: str
    ops: tuple[StreamOpContext, ...]
    strips: int
    strip_w: int
    bands: tuple[tuple[tuple[int, ...], int], ...]  # (first row of every operator, one past the last row)
    pushed: bool
    state: int | None  # arena offset of what is remembered between pushed rows

    @property
    def feed(self) -> StreamOpContext:
        """What the application pushes."""
        return self.ops[0]


def stream_context(
    graph: Graph,
    selections: Sequence[Selection],
    plan: Plan,
    stage: int,
    constants: Callable[[RowOp], tuple[str, ...]],
    pad_row: Callable[[RowLoop], str | None],
    summary: Callable[[OpContext], str],
) -> StreamContext:
    """Turn a streamed stage into template values.

    Args:
        graph: the planned graph.
        selections: one per operator.
        plan: the memory plan.
        stage: index of a streamed stage.
        constants: gives the C symbols of an operator's constants.
        pad_row: gives the C expression that stands for rows outside an image, None where none is needed.
        summary: describes an operator.
    """
    run = plan.stages[stage]
    calls = stage_calls(graph, selections, run)
    assert calls is not None
    image_w = whole_width(graph.tensors[calls[-1].output]).width
    state = plan.state_of(stage)
    sums = calls[-1].sums.sums if calls[-1].sums is not None else 0
    starts = strip_starts(image_w, run.strips)
    emitter = _Emitter(graph, plan, stage, calls, starts)
    scratch = plan.scratch_of(stage)
    kernels = {op: selections[op].kernel for op in run.ops}
    contexts = []
    for i, call in enumerate(calls):
        kernel = kernels.get(call.op)
        loop = call.lowered.loop if call.lowered is not None else None
        literals = call.lowered.literals if call.lowered is not None else ()
        inner = i < len(calls) - 1
        tensor = graph.tensors[call.output]
        contexts.append(
            StreamOpContext(
                name=emitter.name(call),
                index=call.op if call.op != FEED else call.output,
                kernel=kernel.symbol if kernel is not None and call.sums is None else "",
                summary=summary(call.context) if call.context is not None else f"rows of {tensor.name}",
                kept=emitter.kept(call) if inner else "",
                inputs=emitter.inputs(call),
                ctype=ctype(tensor.dtype),
                output=emitter.output(call, inner=inner),
                rows=call.access.rows,
                step=call.access.granule,
                loop=loop,
                pad_row=pad_row(loop) if loop is not None else None,
                constants=constants(call) if call.lowered is not None else (),
                scratch=scratch.offset if scratch and call.scratch_bytes else None,
                sums=state.offset if state and call.sums is not None else None,
                literals=emitter.literals(call, literals),
                clip=emitter.clip(call),
                input_array=kernel is not None and kernel.input_array,
                unclipped=emitter.unclipped(call),
                strip=emitter.strip(call) if call.blanks or call.op == FEED else None,
                source=emitter.source(call) if call.op == FEED and not (run.pushed and i == 0) else "",
            )
        )
        if call.sums is not None:
            contexts[-1] = dataclasses.replace(
                contexts[-1], kernel=call.sums.symbol, literals=call.sums.literals
            )
    return StreamContext(
        name=f"stream_{calls[-1].op}",
        ops=tuple(contexts),
        strips=run.strips,
        strip_w=calls[-1].columns.width,
        bands=tuple(band_rows(calls, run.bands)),
        pushed=run.pushed,
        state=state.offset + 4 * sums if state and run.pushed else None,
    )


class _Emitter:
    """Places of the rows of one stage as C expressions."""

    def __init__(
        self, graph: Graph, plan: Plan, stage: int, calls: Sequence[RowOp], starts: Sequence[int]
    ) -> None:
        self.graph = graph
        self.plan = plan
        self.stage = stage
        self.calls = calls
        self.producers = {call.output: call for call in calls[:-1]}
        self.strips = plan.stages[stage].strips
        self.starts = starts

    def clip(self, call: RowOp) -> Clip | None:
        """Return the clip of an operator that leaves out columns of some strip."""
        if call.clip is None or all(call.span(x) == (0, call.columns.width) for x in self.starts):
            return None
        return Clip(_first_column(call.columns), call.columns.width, call.clip)

    def unclipped(self, call: RowOp) -> str:
        return f" - {_times('left', self._pixel(call.output))}" if self.clip(call) is not None else ""

    def literals(self, call: RowOp, literals: Sequence[tuple[str, int]]) -> tuple[tuple[str, int | str], ...]:
        """Return the literals, where a strip is clipped with `columns` for its width."""
        if self.clip(call) is None:
            return tuple(literals)
        return tuple(
            (name, _times("columns", value // call.columns.width) if name in WIDTH_LITERALS else value)
            for name, value in literals
        )

    def name(self, call: RowOp) -> str:
        return f"feed_{call.output}" if call.op == FEED else f"op_{call.op}"

    def kept(self, call: RowOp) -> str:
        """Say where the rows of an inner tensor are."""
        rows = self.graph.tensors[call.output].shape[1]
        if call.onto is not None:
            host = self.producers[call.onto]
            return f"over rows of {host.op if host.op != FEED else 'the input'} that it has read"
        slots = self._slots(call)
        return f"the last {slots} of {rows} rows are kept" if slots < rows else "all rows are kept"

    def inputs(self, call: RowOp) -> tuple[StreamInput, ...]:
        names = ["x"] if len(call.inputs) == 1 else [f"x{i}" for i in range(len(call.inputs))]
        found = []
        for name, (tensor, row_map), need in zip(names, call.reads(), call.needs, strict=True):
            producer = self.producers.get(tensor)
            rows = self.ring(producer, need) if producer else self.outside(tensor, row_map, need)
            if self.clip(call) is not None and need.mul:
                step = need.mul // call.columns.mul
                rows = Rows(f"{rows.start} + {_times('left', step * self._pixel(tensor))}", rows.place)
            found.append(
                StreamInput(
                    name=name,
                    ctype=ctype(self.graph.tensors[tensor].dtype),
                    rows=rows,
                    row="r" if row_map.mul else "0",
                    producer=self.name(producer) if producer else None,
                    need=_need(row_map, call.access),
                )
            )
        return tuple(found)

    def ring(self, producer: RowOp, columns: Columns) -> Rows:
        """Rows of an inner tensor, from a column on."""
        host = ring_host(self.calls, producer.output)
        buffer = self.plan.ring_of(host.output, self.stage)
        assert buffer is not None
        start = f"a + {buffer.offset + (columns.lo - producer.columns.lo) * self._pixel(producer.output)}"
        slots, row_bytes = self._slots(host), host.access.row_bytes
        if slots == 1:
            return Rows(start, "")
        if producer.onto is None:
            shift = f" + {host.rotation}" if host.rotation else ""
            row = f"({{row}}{shift})" if shift else "{row}"
            return Rows(start, f" + {row} % {slots} * {row_bytes}")
        (mul,) = {row_map.mul for tensor, row_map in producer.reads() if tensor == producer.onto}
        step = producer.access.granule
        first = "{row}" if step == 1 else f"({{row}} - {{row}} % {step})"
        within = "" if step == 1 else f" + {{row}} % {step} * {producer.access.row_bytes}"
        return Rows(start, f" + {first}{f' * {mul}' if mul > 1 else ''} % {slots} * {row_bytes}{within}")

    def outside(self, tensor: int, row_map: RowMap, columns: Columns) -> Rows:
        """Rows of a tensor that is in the arena as a whole, from a column on."""
        description = self.graph.tensors[tensor]
        pixel = self._pixel(tensor)
        pitch = description.size_bytes // description.shape[1]
        offset = self.plan.buffer_of(tensor).offset + columns.lo * pixel
        start = f"a + {offset}"
        if self.strips > 1 and columns.mul:
            start += f" + s->x * {columns.mul * pixel}"
        return Rows(start, f" + {{row}} * {pitch}" if row_map.mul else "")

    def whole(self, call: RowOp) -> Rows:
        """Rows of the stage's output."""
        offset = self.plan.buffer_of(call.output).offset
        if call.sums is not None:
            return Rows(f"a + {offset}", "")
        tensor = self.graph.tensors[call.output]
        start = f"a + {offset}"
        if self.strips > 1:
            start += f" + s->x * {self._pixel(call.output)}"
        return Rows(start, f" + {{row}} * {tensor.size_bytes // tensor.shape[1]}")

    def output(self, call: RowOp, *, inner: bool) -> Rows:
        """Rows that an operator writes, from the first column that it computes on."""
        rows = self.ring(call, call.columns) if inner else self.whole(call)
        if self.clip(call) is None:
            return rows
        return Rows(f"{rows.start} + {_times('left', self._pixel(call.output))}", rows.place)

    def strip(self, call: RowOp) -> Strip:
        tensor = self.graph.tensors[call.output]
        columns = call.columns
        first = _first_column(columns) if self.strips > 1 else "0"
        blank = tensor.zero_point if tensor.dtype is DType.INT8 and tensor.quant is not None else 0
        pixel = self._pixel(call.output)
        return Strip(first, columns.width, tensor.shape[2], pixel, call.access.row_bytes, blank)

    def source(self, call: RowOp) -> str:
        tensor = self.graph.tensors[call.output]
        offset = self.plan.buffer_of(call.output).offset
        return f"a + {offset} + r * {tensor.size_bytes // tensor.shape[1]}"

    def _slots(self, host: RowOp) -> int:
        buffer = self.plan.ring_of(host.output, self.stage)
        assert buffer is not None
        return ring_slots(buffer.size_bytes, host)

    def _pixel(self, tensor: int) -> int:
        description = self.graph.tensors[tensor]
        return description.shape[3] * description.dtype.size_bytes


def _first_column(columns: Columns) -> str:
    """Return the first column of a strip as C."""
    if not columns.mul:
        return str(columns.lo)
    first = _times("s->x", columns.mul)
    return first + (f" + {columns.lo}" if columns.lo > 0 else f" - {-columns.lo}" if columns.lo else "")


def _times(name: str, factor: int) -> str:
    return name if factor == 1 else f"{name} * {factor}"


def ctype(dtype: DType) -> str:
    """Return the C type of an element."""
    return _CTYPES[dtype]


def _need(row_map: RowMap, access: AccessMap) -> str:
    """Return min(last row that a call reads + 1, rows of the input) as C; it computes row r, or r to last."""
    if row_map.mul == 0:
        return str(row_map.last(0) + 1)
    row = "r" if access.granule == 1 else "last"
    text = row if row_map.mul == 1 else f"{row} * {row_map.mul}"
    if row_map.div > 1:  # hi is not negative: C rounds down too
        text = f"({text} + {row_map.hi}) / {row_map.div} + 1"
        if (row_map.mul * (access.rows - 1) + row_map.hi) // row_map.div < row_map.rows:
            return text
        return f"tm_min({text}, {row_map.rows})"
    more = row_map.hi + 1
    if more:
        text += f" + {more}" if more > 0 else f" - {-more}"
    if row_map.mul * (access.rows - 1) + more <= row_map.rows:
        return text
    return f"tm_min({text}, {row_map.rows})"
