"""Row streaming: a run of operators executed together, row by row, with rings for what lies between.

The last operator asks for its output rows one after another; each operator asks its producers for the
input rows it lacks (demand-driven, depth first), so a row is computed just before it is needed and
computed once: no halo is recomputed and no multiply-accumulate is added. An inner tensor then needs
only its last few rows, a ring.

Rings as wide as the image are the larger part of that. A stage may therefore compute its output in
vertical *strips*, each with rings as wide as the columns it needs; the columns at the seams are computed
twice. Horizontal *bands* do the same to rows; they save nothing that rings do not, and are here because
strips times bands are the patches of MCUNetV2.

Sources: StreamNet (Zheng et al., NeurIPS 2023), msf-CNN (Huang and Baccelli, 2025), MCUNetV2 (Lin et al.,
NeurIPS 2021); the same schedule as the line buffers of image pipelines (Hegarty et al., Darkroom,
SIGGRAPH 2014).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinyml.access import AccessMap, RowMap
from tinyml.graph import ConcatAttrs, Graph, Op, OpKind, ReduceAttrs, SliceAttrs, Tensor, WindowAttrs
from tinyml.kernels.registry import Lowered, OpContext
from tinyml.kernels.row_sums import RowSums, row_sums
from tinyml.planner.plan import Stage

if TYPE_CHECKING:
    from tinyml.select import Selection

FEED = -1
"""RowOp.op of what only copies rows: from the arena, or from the application."""

_ROW_BY_ROW = frozenset(
    {
        OpKind.CONV_2D,
        OpKind.ADD,
        OpKind.MUL,
        OpKind.QUANTIZE,
        OpKind.LOOKUP,
        OpKind.BINARY,
        OpKind.LOGICAL_NOT,
        OpKind.SELECT,
        OpKind.UNARY,
    }
)
"""Operators whose kernels compute whole tensors, but whose rows depend on the same rows only.

So does a MEAN over the columns of an image, and what joins or cuts columns or channels (_moves_in_rows).
"""

_WINDOWS = frozenset({OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D})

_POOLS = frozenset({OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D})


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns [mul·x + lo, mul·x + lo + width) of a tensor, for a strip whose output starts at column x.

    They may lie outside the image; there the strip holds zero points.
    """

    mul: int
    lo: int
    width: int

    def first(self, x: int) -> int:
        """First column of the strip whose output starts at column x."""
        return self.mul * x + self.lo

    def union(self, other: Columns) -> Columns:
        """Columns that hold both; their `mul` must be equal."""
        lo = min(self.lo, other.lo)
        return Columns(self.mul, lo, max(self.lo + self.width, other.lo + other.width) - lo)


@dataclass(frozen=True, slots=True, eq=False)
class RowOp:
    """An operator as a stage runs it: one output row per kernel call.

    Args:
        op: index into Graph.ops, or FEED.
        context: the operator in the graph as its kernel sees it: as wide as the strip. None for FEED.
        lowered: the call for one row. With `loop` the kernel takes row pointers; without, the inputs'
            rows themselves. None for FEED, and with `sums`.
        sums: instead of `lowered`, the call that pools rows as they come; then every input row is a step,
            and the output is there after the last.
        access: the operator's access map with image rows as its rows; no input is read as a whole.
            Row bytes are those of the strip.
        inputs: its activation inputs, as the access map orders them.
        output: its output tensor.
        columns: of the output, that it computes.
        needs: columns of every input that it reads.
        blanks: the output's columns outside the image are to be overwritten with zero points, as an
            operator after it reads them.
        onto: the input whose ring holds the output rows (Stage.in_place), None where they have their own.
        seat: the call that computed `onto`, where that lies in another's ring itself: the rows share places.
        rotation: slots by which the rows of the output's ring are put further on (in_place_rows).
        clip: columns of the output's image, where a strip that reaches beyond it computes only those inside;
            None where it computes all its columns.
        overwritable: inputs whose rows, read by a call, the call's output rows may be written over.
        in_tiles: it is called with less scratch, and so reads a row while it writes: several output rows may
            be written over input rows only where each lies on one.
    """

    op: int
    context: OpContext | None
    lowered: Lowered | None
    access: AccessMap
    inputs: tuple[int, ...]
    output: int
    columns: Columns
    needs: tuple[Columns, ...] = ()
    sums: RowSums | None = None
    blanks: bool = False
    onto: int | None = None
    seat: RowOp | None = None
    rotation: int = 0
    clip: int | None = None
    overwritable: frozenset[int] = frozenset()
    in_tiles: bool = False

    def reads(self) -> Iterator[tuple[int, RowMap]]:
        """Yield every input with its row map."""
        for tensor, row_map in zip(self.inputs, self.access.inputs, strict=True):
            assert row_map is not None
            yield tensor, row_map

    def span(self, x: int) -> tuple[int, int]:
        """Return (columns left out on the left, columns computed) of the strip whose output starts at x."""
        if self.clip is None:
            return 0, self.columns.width
        first = self.columns.first(x)
        left = min(max(-first, 0), self.columns.width)
        return left, max(min(self.clip - first, self.columns.width) - left, 0)

    def need_span(self, i: int, x: int) -> tuple[int, int]:
        """Return the columns [first, end) of input i that the strip whose output starts at x reads."""
        need, (left, computed) = self.needs[i], self.span(x)
        if need.mul == 0 or computed == self.columns.width:
            return need.first(x), need.first(x) + need.width
        attrs = self.context.op.attrs if self.context is not None else None
        stride = attrs.stride_w if isinstance(attrs, WindowAttrs) else 1
        reach = need.width - (self.columns.width - 1) * stride
        first = need.first(x) + left * stride
        return first, first + (computed - 1) * stride + reach

    @property
    def reads_inside(self) -> bool:
        """Whether a strip that reaches beyond the image reads nothing that lies beyond it."""
        return self.clip is not None and all(
            need.mul == 0 or need.width == self.columns.width for need in self.needs
        )

    def macs_of(self, starts: Sequence[int]) -> int:
        """Multiply-accumulates of all rows of the strips that start at these columns."""
        return sum(self.macs * self.span(x)[1] // self.columns.width for x in starts)

    def may_lie_on(self, host: RowOp) -> bool:
        """Whether output rows may be written over the rows that `host` computed."""
        fits = 0 < self.access.row_bytes <= host.access.row_bytes
        one_on_one = self.access.granule == 1 or self.access.row_bytes == host.access.row_bytes
        return host.output in self.overwritable and fits and (one_on_one or not self.in_tiles)

    def place(self, row: int, slots: int, slot_bytes: int) -> int:
        """Return where in a ring, in bytes from its start, an output row lies.

        Args:
            row: the row.
            slots: of the ring.
            slot_bytes: of each; a row of the tensor that the ring is named after.
        """
        if self.seat is not None:
            return self.seat.place(row, slots, slot_bytes)
        for tensor, row_map in self.reads():
            if tensor == self.onto:  # the rows of a call one behind the other
                within = row % self.access.granule
                return row_map.mul * (row - within) % slots * slot_bytes + within * self.access.row_bytes
        return (row + self.rotation) % slots * slot_bytes

    @property
    def scratch_bytes(self) -> int:
        """Scratch of a call."""
        return self.lowered.scratch_bytes if self.lowered is not None else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all rows of one strip."""
        if self.lowered is None:
            return 0
        once_per_row = self.lowered.loop is None
        return self.lowered.macs * (self.access.rows if once_per_row else 1)


def strip_starts(image_w: int, strips: int) -> list[int]:
    """Return the first output column of every strip; the last one may reach beyond the image."""
    width = -(-image_w // strips)
    return [s * width for s in range(strips)]


def divides(image_w: int, strips: int) -> bool:
    """Whether there are columns for so many strips, all but the last as wide as the first."""
    return (strips - 1) * -(-image_w // strips) < image_w


def ring_host(calls: Sequence[RowOp], tensor: int) -> RowOp:
    """Return the call whose ring holds the rows of an inner tensor."""
    by_output = {call.output: call for call in calls}
    call = by_output[tensor]
    while call.onto is not None:
        call = by_output[call.onto]
    return call


def ring_slots(buffer_bytes: int, producer: RowOp) -> int:
    """Return the rows of a ring in a buffer: whole calls of its operator, so that none wraps."""
    step = producer.access.granule
    return buffer_bytes // producer.access.row_bytes // step * step


# -- columns ------------------------------------------------------------------------------------


def whole_width(tensor: Tensor) -> Columns:
    """All columns of an image, as a stage without strips computes them."""
    return Columns(0, 0, tensor.shape[2] if len(tensor.shape) == 4 else 1)


def columns_needed(graph: Graph, op: Op, out: Columns) -> tuple[Columns, ...] | None:
    """Return the columns of every activation input that columns of the output need.

    None where the operator cannot compute some columns without the others. An input that is one column
    wide and repeated is needed as a whole.
    """
    image_w = graph.tensors[op.outputs[0]].shape[2]
    attrs = op.attrs
    if op.kind in _WINDOWS:
        assert isinstance(attrs, WindowAttrs)
        if op.kind in _POOLS and (attrs.pads.left or attrs.pads.right):
            return None  # columns outside the image do not count, which a zero point would
        reach = (attrs.kernel_w - 1) * attrs.dilation_w
        stride = attrs.stride_w
        width = (out.width - 1) * stride + reach + 1
        return (Columns(out.mul * stride, out.lo * stride - attrs.pads.left, width),)
    if op.kind not in _ROW_BY_ROW and not _moves_in_rows(graph, op, first_axis=3):
        return None
    constants = [graph.tensors[t] for t in op.inputs if t >= 0 and graph.tensors[t].data is not None]
    if any(len(constant.shape) > 1 and constant.shape[-2] != 1 for constant in constants):
        return None  # a constant that differs from column to column
    widths = [graph.tensors[t].shape[2] for t in graph.activations(op)]
    if any(width not in (1, image_w) for width in widths):
        return None
    return tuple(out if width == image_w else Columns(0, 0, 1) for width in widths)


@dataclass(frozen=True, slots=True)
class StripColumns:
    """The columns of a run of operators that one strip of its output needs.

    Args:
        computed: per operator of the run, the columns of its output that it computes.
        needs: per operator of the run, the columns of each input that it reads.
        of: per tensor written or read in the run, the columns that hold all its readers need.
        windowed: tensors that a window wider than one column slides over.
        starts: first output columns of the strips.
    """

    computed: tuple[Columns, ...]
    needs: tuple[tuple[Columns, ...], ...]
    of: Mapping[int, Columns]
    windowed: frozenset[int]
    starts: tuple[int, ...]

    def outside(self, graph: Graph, tensor: int) -> bool:
        """Whether a strip holds columns of a tensor that lie outside the image."""
        columns, image_w = self.of[tensor], graph.tensors[tensor].shape[2]
        first, last = columns.first(self.starts[0]), columns.first(self.starts[-1])
        return first < 0 or last + columns.width > image_w


def strip_columns(graph: Graph, ops: Sequence[int], strips: int) -> StripColumns:
    """Work back from the columns of a strip of the last operator's output to all others.

    Args:
        graph: the network.
        ops: operators in execution order.
        strips: their number.

    Returns:
        The columns of the longest tail of the run whose operators can all be cut into columns.
    """
    output = graph.tensors[graph.ops[ops[-1]].outputs[0]]
    image_w = output.shape[2] if len(output.shape) == 4 else 1
    of = {graph.ops[ops[-1]].outputs[0]: Columns(1, 0, -(-image_w // strips))}
    computed: list[Columns] = []
    needs: list[tuple[Columns, ...]] = []
    windowed: set[int] = set()
    for index in reversed(ops):
        op = graph.ops[index]
        columns = of[op.outputs[0]]
        needed = columns_needed(graph, op, columns) if len(output.shape) == 4 else None
        reads = graph.activations(op)
        if needed is None or any(of.get(t, n).mul != n.mul for t, n in zip(reads, needed, strict=True)):
            break
        for tensor, more in zip(reads, needed, strict=True):
            of[tensor] = of.get(tensor, more).union(more)
            if op.kind in _WINDOWS and isinstance(op.attrs, WindowAttrs) and op.attrs.kernel_w > 1:
                windowed.add(tensor)
        computed.append(columns)
        needs.append(needed)
    starts = tuple(strip_starts(image_w, strips))
    return StripColumns(tuple(computed[::-1]), tuple(needs[::-1]), of, frozenset(windowed), starts)


# -- operators by rows --------------------------------------------------------------------------


def row_op(
    graph: Graph,
    selection: Selection,
    *,
    single_rows: bool = False,
    small_scratch: bool = False,
    strip: tuple[Columns, tuple[Columns, ...]] | None = None,
) -> RowOp | None:
    """Return how the selected kernel computes image rows, or None where it cannot.

    Args:
        graph: the network.
        selection: of the operator.
        single_rows: ask a kernel that can compute several rows per call for one: slower, with smaller rings.
        small_scratch: call it with less scratch, where its kernel can do with less.
        strip: columns of the output to compute, and of every input that they need; else the whole width.
    """
    op, kernel, lowered = graph.ops[selection.op], selection.kernel, selection.lowered
    if lowered is None or lowered.batches > 1:
        return None
    tensors = graph.activations(op)
    if any(len(graph.tensors[t].shape) != 4 for t in (*tensors, *op.outputs)):
        return None
    output = op.outputs[0]
    columns, needs = whole_width(graph.tensors[output]), tuple(whole_width(graph.tensors[t]) for t in tensors)
    context = OpContext(graph, op, selection.parameters)
    if strip is not None:
        columns, needs = strip
        context = _narrow(graph, op, columns, needs, selection)
        if kernel is None or kernel.refusals(context):
            return None
        lowered = kernel.lower(context)
    loop = lowered.loop
    less = kernel.less_scratch if small_scratch and kernel is not None else None
    if loop is not None and lowered.access.granule == loop.step and None not in lowered.access.inputs:
        lowered = less(lowered) if less else lowered
        access = dataclasses.replace(lowered.access, granule=1) if single_rows else lowered.access
        channels = {context.graph.tensors[t].shape[3] for t in (*tensors, output)}
        in_place = kernel is not None and kernel.row_in_place and len(channels) == 1
        over = frozenset(tensors) if in_place else frozenset()
        call = RowOp(
            selection.op,
            context,
            lowered,
            access,
            tensors,
            output,
            columns,
            needs,
            overwritable=over,
            in_tiles=less is not None,
        )
        return _clipped(call, graph) if strip is not None else call
    if kernel is None or not (op.kind in _ROW_BY_ROW or _mean_of_columns(op) or _moves_in_rows(graph, op)):
        return None
    shapes = [context.graph.tensors[t] for t in tensors]
    rows = context.output.shape[1]
    if any(tensor.shape[1] not in (1, rows) for tensor in shapes):
        return None
    operands = [graph.tensors[t] for t in op.inputs if t >= 0 and t not in (*tensors, *_parameters(op))]
    if any(len(operand.shape) > 2 and operand.shape[-3] != 1 for operand in operands):
        return None  # a constant that differs from row to row
    row_context = _one_row(context)
    if kernel.refusals(row_context):
        return None
    maps = tuple(
        RowMap(rows, tensor.size_bytes // rows)
        if tensor.shape[1] == rows
        else RowMap(1, tensor.size_bytes, mul=0)  # one row that every output row reads
        for tensor in shapes
    )
    access = AccessMap(rows, context.output.size_bytes // rows, maps)
    lowered = kernel.lower(row_context)
    lowered = less(lowered) if less else lowered
    over = frozenset(
        t for i, t in enumerate(tensors) if maps[i].mul == 1 and lowered.access.overlap_distance(i) <= 0
    )
    call = RowOp(selection.op, context, lowered, access, tensors, output, columns, needs, overwritable=over)
    return _clipped(call, graph) if strip is not None else call


def _clipped(call: RowOp, graph: Graph) -> RowOp:
    """Leave out columns beyond the image, where the kernel is told by a literal how many to compute."""
    lowered = call.lowered
    if lowered is None or lowered.per_column is None or call.access.granule > 1:
        return call  # rows of a call lie one behind the other, all as wide
    if dict(lowered.literals)[lowered.per_column] % call.columns.width:
        return call
    return dataclasses.replace(call, clip=graph.tensors[call.output].shape[2])


def summing_op(graph: Graph, selection: Selection) -> RowOp | None:
    """Return a pool over the whole image as it takes its input row by row, None for any other operator."""
    op = graph.ops[selection.op]
    context = OpContext(graph, op, selection.parameters)
    if selection.lowered is None or len(context.activation_inputs) != 1:
        return None
    sums = row_sums(context)
    if sums is None:
        return None
    (tensor,) = context.activation_inputs
    image = graph.tensors[tensor]
    rows = image.shape[1]
    access = AccessMap(rows, 0, (RowMap(rows, image.size_bytes // rows),), buffered=True)
    whole = whole_width(image)
    return RowOp(
        selection.op, context, None, access, (tensor,), op.outputs[0], Columns(0, 0, 1), (whole,), sums
    )


def feed_op(graph: Graph, tensor: int, columns: Columns) -> RowOp:
    """Return what copies columns of a tensor's rows into a ring."""
    _, rows, _, channels = graph.tensors[tensor].shape
    access = AccessMap(rows, columns.width * channels * graph.tensors[tensor].dtype.size_bytes, ())
    return RowOp(FEED, None, None, access, (), tensor, columns)


def stage_calls(graph: Graph, selections: Sequence[Selection], stage: Stage) -> list[RowOp] | None:
    """Return the operators of a streamed stage as it calls them, what feeds it first.

    None where an operator cannot run as the stage wants it to.
    """
    whole = stage.strips == stage.bands == 1
    strip = strip_columns(graph, stage.ops, stage.strips) if stage.strips > 1 else None
    if strip is not None and len(strip.computed) < len(stage.ops):
        return None
    calls: list[RowOp] = []
    for tensor in stage.fed:
        columns = strip.of[tensor] if strip is not None else whole_width(graph.tensors[tensor])
        guest = next((guest for guest, host in stage.in_place if host == tensor), None)
        calls.append(dataclasses.replace(feed_op(graph, tensor, columns), rotation=_rotation(graph, guest)))
    image_w = whole_width(graph.tensors[graph.ops[stage.ops[-1]].outputs[0]]).width
    if not divides(image_w, stage.strips):
        return None
    bound = _least_scratch(graph, selections, stage, strip) if stage.small_scratch else None
    for i, op in enumerate(stage.ops):
        last = i == len(stage.ops) - 1
        call = summing_op(graph, selections[op]) if whole and last else None
        if call is None:
            call = _stage_row(graph, selections, stage, strip, i, small=False)
            if call is not None and bound is not None and call.scratch_bytes > bound:
                call = _stage_row(graph, selections, stage, strip, i, small=True)
        if call is None:
            return None
        if last and stage.strips > 1 and not ends_inside(call, image_w, stage.strips):
            return None
        if not last:
            guest = next((guest for guest, tensor in stage.in_place if tensor == call.output), None)
            blanks = strip is not None and call.output in strip.windowed and strip.outside(graph, call.output)
            onto = dict(stage.in_place).get(op)
            seat = next((c for c in calls if c.output == onto and c.onto is not None), None)
            call = dataclasses.replace(
                call, onto=onto, seat=seat, rotation=_rotation(graph, guest), blanks=blanks
            )
        calls.append(call)
    return calls


def ends_inside(last: RowOp, image_w: int, strips: int) -> bool:
    """Whether the last operator of a stage in strips writes nothing beyond the image."""
    return last.clip is not None or image_w % strips == 0


def _stage_row(
    graph: Graph,
    selections: Sequence[Selection],
    stage: Stage,
    strip: StripColumns | None,
    i: int,
    *,
    small: bool,
) -> RowOp | None:
    """Return the i-th operator of a stage as it calls it."""
    return row_op(
        graph,
        selections[stage.ops[i]],
        single_rows=stage.single_rows or stage.bands > 1 or single_in_strips(graph, stage, i),
        small_scratch=small,
        strip=(strip.computed[i], strip.needs[i]) if strip is not None else None,
    )


def single_in_strips(graph: Graph, stage: Stage, i: int) -> bool:
    """Whether the i-th operator of a stage in strips computes single rows.

    The last one does as the rows of its output are as wide as the image, and all but depthwise convolutions
    to be told how many columns lie inside it.
    """
    last = i == len(stage.ops) - 1
    return stage.strips > 1 and (last or graph.ops[stage.ops[i]].kind is not OpKind.DEPTHWISE_CONV_2D)


def _least_scratch(
    graph: Graph, selections: Sequence[Selection], stage: Stage, strip: StripColumns | None
) -> int:
    """Return the scratch that some kernel of a stage needs at least."""
    calls = (_stage_row(graph, selections, stage, strip, i, small=True) for i in range(len(stage.ops)))
    return max((call.scratch_bytes for call in calls if call is not None), default=0)


def _mean_of_columns(op: Op) -> bool:
    return isinstance(op.attrs, ReduceAttrs) and op.kind is OpKind.MEAN and op.attrs.axes == (2,)


def _moves_in_rows(graph: Graph, op: Op, first_axis: int = 2) -> bool:
    """Whether an operator joins or cuts images along dimensions from `first_axis` on only."""
    output = graph.tensors[op.outputs[0]].shape
    if isinstance(op.attrs, ConcatAttrs):
        parts = [graph.tensors[t].shape for t in op.inputs]
        return op.attrs.axis >= first_axis and all(len(part) == len(output) == 4 for part in parts)
    if isinstance(op.attrs, SliceAttrs):
        x, a = graph.tensors[op.inputs[0]].shape, op.attrs
        same = x[:first_axis] == output[:first_axis] and all(step == 1 for step in a.steps[:first_axis])
        return same and len(x) == len(output) and a.axes == tuple(range(len(x)))
    return False


def _rotation(graph: Graph, guest: int | None) -> int:
    """Slots that a ring is rotated by, so that the rows a call reads first make room for its output."""
    attrs = graph.ops[guest].attrs if guest is not None else None
    return attrs.pads.top if isinstance(attrs, WindowAttrs) else 0


def _parameters(op: Op) -> tuple[int, ...]:
    """Weights and bias: constants that belong to every row."""
    return op.inputs[1:] if op.kind is OpKind.CONV_2D else ()


def _narrow(
    graph: Graph, op: Op, columns: Columns, needs: Sequence[Columns], selection: Selection
) -> OpContext:
    """The operator on a strip: activations as wide as the columns it reads and writes, no padding."""
    tensors = list(graph.tensors)
    for t, part in zip((*graph.activations(op), *op.outputs), (*needs, columns), strict=True):
        batch, height, _, channels = tensors[t].shape
        tensors[t] = dataclasses.replace(tensors[t], shape=(batch, height, part.width, channels))
    if isinstance(op.attrs, WindowAttrs):
        pads = dataclasses.replace(op.attrs.pads, left=0, right=0)
        op = dataclasses.replace(op, attrs=dataclasses.replace(op.attrs, pads=pads))
    return OpContext(graph.replace(tensors=tuple(tensors)), op, selection.parameters)


def _one_row(context: OpContext) -> OpContext:
    """The operator on activations one row high, as a kernel of whole tensors is to see them."""
    op = context.op
    tensors = list(context.graph.tensors)
    for t in (*op.inputs, *op.outputs):
        if t >= 0 and t not in _parameters(op) and len(tensors[t].shape) == 4 and tensors[t].data is None:
            batch, _, *rest = tensors[t].shape
            tensors[t] = dataclasses.replace(tensors[t], shape=(batch, 1, *rest))
    return OpContext(context.graph.replace(tensors=tuple(tensors)), op, context.parameters)


# -- the order of calls -------------------------------------------------------------------------

NOT_READ = -(2**62)
"""The distance from an input that is not read once the output is being written."""


@dataclass(frozen=True, slots=True)
class Event:
    """One kernel call of a stage: operator `index` of the stage computes output rows [row, end)."""

    index: int
    row: int
    end: int

    def rows_read(self, row_map: RowMap) -> range:
        """Return the input rows that the call reads."""
        return range(row_map.first(self.row), row_map.last(self.end - 1) + 1)


@dataclass(frozen=True, slots=True, eq=False)
class StreamStage:
    """The rows of operators run together.

    Args:
        ops: in execution order; the last one's output is the stage's only output.
        ring_rows: rows kept of every inner tensor, by tensor index.
        reads: (operator of the stage, tensor) → the distance of that operator's reads alone.
        events: its calls, of one strip.
    """

    ops: tuple[RowOp, ...]
    ring_rows: Mapping[int, int]
    reads: Mapping[tuple[int, int], int]
    events: tuple[Event, ...]

    @property
    def inner(self) -> frozenset[int]:
        """Tensors of which the stage keeps rows."""
        return frozenset(op.output for op in self.ops[:-1])

    @property
    def rings(self) -> tuple[tuple[int, int], ...]:
        """Every inner tensor that has a ring, with the bytes of it."""
        return tuple(
            (op.output, self.ring_rows[op.output] * op.access.row_bytes)
            for op in self.ops[:-1]
            if op.onto is None
        )

    @property
    def scratch_bytes(self) -> int:
        """The most scratch any of its kernels needs; they run one after another."""
        return max(op.scratch_bytes for op in self.ops)

    def distance(self, tensor: int, first: int = 0) -> int:
        """Bytes that the output must start below an input that dies in this stage, if both share memory.

        As AccessMap.overlap_distance, over the calls in the order in which they are made; every call
        may write before it has read. Reads of the operators from `first` on count: no operator asks those
        after it, so their calls come in the same order whether or not the stage has those before.
        """
        reads = (d for (i, source), d in self.reads.items() if source == tensor and i >= first)
        return max(reads, default=NOT_READ)


def state_bytes(last: RowOp, calls: int, *, pushed: bool) -> int:
    """Return what a stage remembers between calls: sums, and where rows are pushed how far it is.

    Generated code keeps, in int32: the strip, its first column and the rows of every call that are done.
    """
    sums = 4 * last.sums.sums if last.sums is not None else 0
    return sums + (4 * (calls + 2) if pushed else 0)


def band_rows(ops: Sequence[RowOp], bands: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield per band the row that each operator starts at, and one past the last output row."""
    rows = ops[-1].access.rows
    height = -(-rows // bands)
    for begin in range(0, rows, height):
        starts = [ops[i].access.rows for i in range(len(ops))]
        starts[-1] = begin
        producers = {op.output: i for i, op in enumerate(ops[:-1])}
        for i in range(len(ops) - 1, -1, -1):
            for tensor, row_map in ops[i].reads():
                if tensor in producers:
                    producer = producers[tensor]
                    starts[producer] = min(starts[producer], row_map.first(starts[i]))
        # Calls of several rows begin at multiples of them; only one band has such.
        yield (tuple(starts) if begin else (0,) * len(ops)), min(begin + height, rows)


def events(ops: Sequence[RowOp], bands: int = 1) -> Iterator[Event]:
    """Yield the kernel calls of a strip in order.

    Generated code makes exactly these calls: `advance(i, end)` there is a function per operator.
    """
    producers = {op.output: i for i, op in enumerate(ops)}
    steps = [op.access.granule for op in ops]
    heights = [op.access.rows for op in ops]
    # Per operator: (producer, map) of what it reads in the stage.
    asks = [[(producers[t], row_map) for t, row_map in op.reads() if t in producers] for op in ops]
    for starts, last in band_rows(ops, bands):
        done = list(starts)
        wanted = [(len(ops) - 1, last)]  # (operator, rows), each asked for by the one before
        while wanted:
            index, end = wanted[-1]
            row = done[index]
            if row >= end:
                wanted.pop()
                continue
            stop = min(row + steps[index], heights[index])
            for producer, row_map in asks[index]:
                need = row_map.last(stop - 1) + 1
                if done[producer] < need:
                    wanted.append((producer, need))
                    break
            else:
                yield Event(index, row, stop)
                done[index] = stop


def written_bytes(last: RowOp, end: int) -> int:
    """Bytes of the output that the last operator of a stage has written after its row end − 1."""
    if last.sums is not None:
        assert last.context is not None
        return last.context.output.size_bytes if end == last.access.rows else 0
    return end * last.access.row_bytes


def stream_stage(ops: Sequence[RowOp], bands: int = 1) -> StreamStage:
    """Size the rings of a stage.

    Row i of a ring of k rows is overwritten by row i + k, so k is the most, over all rows and all
    reads, of the rows that exist when row i is read, less i. It is a multiple of the rows of a call,
    which a kernel writes one behind the other.
    """
    producers = {op.output: i for i, op in enumerate(ops[:-1])}
    done = dict.fromkeys(producers, 0)
    rings = dict.fromkeys(producers, 1)
    reads: dict[tuple[int, int], int] = {}
    written = 0  # output bytes so far; those of a call count from its start
    calls = tuple(events(ops, bands))
    inputs = [tuple(op.reads()) for op in ops]
    for event in calls:
        op = ops[event.index]
        if event.index == len(ops) - 1:
            written = written_bytes(op, event.end)
        for source, row_map in inputs[event.index]:
            first = row_map.first(event.row)
            if row_map.last(event.end - 1) < first:
                continue
            key = event.index, source
            if written:
                reads[key] = max(reads.get(key, NOT_READ), written - first * row_map.row_bytes)
            if source in producers:
                rings[source] = max(rings[source], done[source] - first)
        if op.output in done:
            done[op.output] = event.end
    for source, i in producers.items():
        step = ops[i].access.granule
        rings[source] = -(-rings[source] // step) * step
    return StreamStage(tuple(ops), rings, reads, calls)


def in_place_rows(stage: StreamStage) -> dict[int, int]:
    """Return the operators of a stage whose output rows may lie in an input's ring, with that input.

    That takes: output rows of which no more than one call's are needed at a time; an input that nobody
    else reads; a kernel that may write over it; and slots whose rows no later call reads. They are those of
    the first rows that a call reads. The ring is rotated by the padding, so that the output rows of a call
    lie one behind the other; rows above the image are slots not filled yet.
    A row that is computed from one row alone lies on that row, wherever that lies: so a pointwise
    convolution follows the depthwise one into the ring of the expansion before both.

    Source: in-place depthwise convolution (MCUNet, Lin et al., NeurIPS 2020), here by rows in a ring.
    """
    refused: set[int] = set()
    while True:
        found = _rows_on_rows(stage, refused)
        overwriting = _overwriting(stage, found)
        if overwriting is None:
            return {op: tensor for op, (tensor, _) in found.items()}
        refused.add(overwriting)


def _rows_on_rows(stage: StreamStage, refused: Set[int]) -> dict[int, tuple[int, RowMap]]:
    """Return what in_place_rows does before it has looked at the calls."""
    ops = stage.ops
    producers = {op.output: op for op in ops[:-1]}
    readers = Counter(tensor for op in ops for tensor in op.inputs)
    found: dict[int, tuple[int, RowMap]] = {}
    for op in ops[:-1]:
        if op.op in refused or not op.overwritable or stage.ring_rows[op.output] != op.access.granule:
            continue
        for tensor, row_map in op.reads():
            host = producers.get(tensor)
            if host is None or readers[tensor] != 1 or row_map.div != 1 or not op.may_lie_on(host):
                continue
            one_from_one = (row_map.mul, row_map.lo, row_map.hi, op.access.granule) == (1, 0, 0, 1)
            behind = host.op not in found and host.access.granule == 1 and row_map.mul > 0 >= row_map.lo
            if one_from_one or behind:
                found[op.op] = tensor, row_map
                break
    return found


def _overwriting(stage: StreamStage, found: Mapping[int, tuple[int, RowMap]]) -> int | None:
    """Make the calls of a stage; return an operator of `found` that writes over rows still to be read.

    Those whose rows lie on a row that lies in place itself need no look: it is theirs alone.
    """
    ops = stage.ops
    producers = {op.output: op for op in ops[:-1]}
    looked_at = {op: on for op, on in found.items() if producers[on[0]].op not in found}
    if not looked_at:
        return None
    slots_of = {}
    for tensor, _ in looked_at.values():
        slot_bytes = producers[tensor].access.row_bytes
        slots_of[tensor] = ring_slots(-(-stage.ring_rows[tensor] * slot_bytes // 4) * 4, producers[tensor])
    done = dict.fromkeys(producers, 0)
    for event in stage.events:
        op = ops[event.index]
        if op.op in looked_at:
            tensor, row_map = looked_at[op.op]
            slots, slot_bytes = slots_of[tensor], producers[tensor].access.row_bytes
            first = row_map.mul * event.row % slots
            written = range(first, first - (event.row - event.end) * op.access.row_bytes // slot_bytes)
            newest = done[tensor] - 1
            held = [newest - (newest - row_map.lo - slot) % slots for slot in written]
            needed = row_map.first(event.end) if event.end < op.access.rows else row_map.rows
            if written.stop > slots or max(held) >= needed:
                return op.op
        if op.output in done:
            done[op.output] = event.end
    return None
