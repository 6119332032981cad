"""Plan → plain values for the templates. Every C name, type and number is decided here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyml import __version__
from tinyml.emit import shared
from tinyml.emit.shared import LoopContext, Number
from tinyml.emit.streams import StreamContext, ctype, stream_context
from tinyml.graph import Array, Graph, LoopAttrs, Tensor, Walk, WindowAttrs
from tinyml.kernels.registry import Lowered, OpContext, RowLoop
from tinyml.planner.plan import Fill, Plan
from tinyml.planner.stream import stage_calls
from tinyml.select import Selection

STRIP_COLUMNS, ROW_SUMS = "tm_columns_s8_c", "tm_row_sums_s8_c"
STREAM_HEADERS = (STRIP_COLUMNS, ROW_SUMS)
"""Headers in runtime_c/kernels that streamed stages include, although they are no operator's kernel."""


@dataclass(frozen=True, slots=True)
class ArrayContext:
    """A constant array: `symbol` in flash, `values` flat."""

    symbol: str
    ctype: str
    values: Array
    comment: str


@dataclass(frozen=True, slots=True)
class FunctionContext:
    """A C function that runs every operator lowered to the same kernel with the same literals.

    With `parameters` the operators differ in these numbers (emit/shared.py), with `pad_rows` in the row that
    stands for those outside the image.
    """

    name: str
    kernel: str
    summary: str
    input_types: tuple[str, ...]  # const but for states
    output_type: str
    constants: tuple[tuple[str, str], ...]  # (ctype, parameter name)
    literals: tuple[tuple[str, Number], ...]
    parameters: tuple[str, ...]
    scratch: bool
    loop: LoopContext | None
    pad_rows: bool
    fill: Fill | None  # where the function fills the row itself
    pad_row: str | None
    direction: str  # of the loop: "down", "up", or "both" where calls pass it
    input_array: bool  # the kernel takes an array of pointers to its inputs
    row_start: str = "x"  # what points at the input's bytes: itself, or a pointer of that type
    row_elements: Number = 0  # of the output


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call in <model>_invoke()."""

    index: int
    op: str
    function: str
    summary: str
    note: str
    inputs: tuple[tuple[str, int], ...]  # (ctype, arena offset)
    output: tuple[str, int]
    constants: tuple[str, ...]
    scratch: int | None
    bottom_up: bool | None  # None where the function knows its direction
    arguments: tuple[tuple[str, int], ...]  # of FunctionContext.parameters
    pad_row: str | None  # of FunctionContext.pad_rows
    fill: Fill | None  # a row to fill before the call
    macs: int
    tensor: str
    output_bytes: int
    batches: int = 1  # calls, one for each image
    image_bytes: tuple[int, ...] = ()  # of the inputs and the output
    streamed: bool = False  # a stage of several operators, which knows its places in the arena
    pushed: bool = False  # run by <model>_push_row() instead


@dataclass(frozen=True, slots=True)
class StateContext:
    """Bytes of the arena that stay from one inference to the next."""

    name: str
    shape: str
    offset: int
    bytes: int
    following: int | None  # offset of the tensor that replaces it at the end of an inference
    fill: int | None  # the byte that it consists of at first
    initial: str  # else the array that it begins as; nothing where something else says how it begins


@dataclass(frozen=True, slots=True)
class CopyContext:
    """Bytes that a loop copies before or after each step, between the arena `a` and its body's `b`.

    `source` and `target` are C expressions; `i` is the step.
    """

    target: str
    source: str
    bytes: int


@dataclass(frozen=True, slots=True)
class BodyContext:
    """A loop: a function that runs one step, on a part of the arena, and one that runs the loop."""

    name: str
    summary: str
    steps: int
    offset: int  # of the body's arena
    calls: tuple[CallContext, ...]
    states: tuple[StateContext, ...]
    first: tuple[CopyContext, ...]  # what the states are at first, where an operator has computed that
    before: tuple[CopyContext, ...]
    after: tuple[CopyContext, ...]
    last: tuple[CopyContext, ...]  # after the last step


@dataclass(frozen=True, slots=True)
class PortContext:
    """A model input or output as the header shows it."""

    suffix: str  # INPUT, or INPUT_0, INPUT_1, ... where there are several
    function: str
    name: str
    ctype: str
    shape: tuple[int, ...]
    elements: int
    bytes: int
    offset: int
    scale: str
    zero_point: int
    dtype: str
    quantised: bool  # real = scale · (q − zero_point)
    pushed: bool  # arrives row by row and has no place in the arena
    unsigned: bool  # as Tensor's


@dataclass(frozen=True, slots=True)
class ModelContext:
    """All a template can see."""

    name: str
    upper: str
    version: str
    source: str
    sha256: str
    sha256_bytes: tuple[int, ...]
    arena_bytes: int
    alignment: int
    lower_bound_bytes: int
    peak: str
    macs: int
    kernels: tuple[str, ...]
    inputs: tuple[PortContext, ...]
    outputs: tuple[PortContext, ...]
    states: tuple[StateContext, ...]
    constant_bytes: int
    arrays: tuple[ArrayContext, ...]
    functions: tuple[FunctionContext, ...]
    streams: tuple[StreamContext, ...]
    loops: tuple[BodyContext, ...]
    calls: tuple[CallContext, ...]
    pushed: StreamContext | None  # the stage that takes the rows the application pushes
    compact: bool  # compiled for size

    @property
    def pushed_rows(self) -> int:
        """Rows that the application pushes for one inference."""
        return self.pushed.feed.rows * self.pushed.strips if self.pushed is not None else 0


def model_context(
    graph: Graph, selections: Sequence[Selection], plan: Plan, source: str, *, compact: bool = False
) -> ModelContext:
    """Turn a plan into template values.

    Args:
        graph: the planned graph.
        selections: one per operator.
        plan: the memory plan.
        source: the model file's name, for comments.
        compact: operators of one kernel share a function, and the compiler optimises for size.
    """
    names = _Names(graph.name)
    arrays: list[ArrayContext] = []
    functions: dict[object, FunctionContext] = {}
    streams: list[StreamContext] = []
    loops: list[BodyContext] = []
    main = _Unit.of(graph, selections, plan, graph.name, compact=compact)
    bodies = {
        op: _Unit.of(attrs.body, selections[op].body, body, f"{graph.name}_loop{op}", compact=compact)
        for op, body in plan.bodies
        if isinstance(attrs := graph.ops[op].attrs, LoopAttrs)
    }
    units = (main, *bodies.values())
    pad_rows: dict[int, int] = {}
    for unit in units:
        for value, size in _pad_rows(unit).items():
            pad_rows[value] = max(pad_rows.get(value, 0), size)
    stored: dict[tuple[str, bytes], str] = {}  # the symbol of an array, by its type and its bytes
    pad_symbols = {}
    for value, size in sorted(pad_rows.items()):
        symbol = f"{graph.name}_pad_row_{'m' if value < 0 else 'p'}{abs(value)}"
        pad_symbols[value] = symbol
        row = np.full(size, value, np.int8)
        arrays.append(ArrayContext(symbol, "int8_t", row, "stands for rows outside an image"))

    def constants(unit: _Unit, op: int, lowered: Lowered) -> tuple[str, ...]:
        """Put an operator's constants into flash and return their symbols."""
        symbols = []
        for constant in lowered.constants:
            values = constant.values.ravel()
            same = (constant.ctype, values.tobytes())
            if same not in stored:  # gates of a recurrent layer have one table; what runs twice has all of it
                stored[same] = f"{unit.prefix}_op{op}_{constant.name}"
                comment = f"{unit.graph.ops[op].title} {constant.comment}".strip()
                arrays.append(ArrayContext(stored[same], constant.ctype, values, comment))
            symbols.append(stored[same])
        return tuple(symbols)

    def pad_row(unit: _Unit, op: int) -> str | None:
        """Return the C expression of what stands for rows outside the image, None where there is none."""
        place = unit.outside[op]
        if place is not None:
            return f"a + {place.offset}"
        return _pad_row(unit.lowered(op).loop, pad_symbols)

    alike: dict[object, list[tuple[_Unit, int]]] = {}
    for unit in units:
        for op in unit.outside:
            alike.setdefault(unit.key(op), []).append((unit, op))

    def operator_call(unit: _Unit, stage_index: int) -> CallContext:
        """Return the call of a stage that is one operator with a kernel."""
        stage = unit.plan.stages[stage_index]
        (op_index,) = stage.ops
        context, lowered, place = unit.context(op_index), unit.lowered(op_index), unit.outside[op_index]
        key = unit.key(op_index)
        symbols = constants(unit, op_index, lowered)
        if key not in functions:
            rows = {expression for one, op in alike[key] if (expression := pad_row(one, op)) is not None}
            calls_alike = [one.lowered(op) for one, op in alike[key]]
            selection = unit.selections[op_index]
            functions[key] = _function(context, selection, calls_alike, stage.bottom_up, rows, place, names)
        elif functions[key].direction != ("up" if stage.bottom_up else "down"):
            functions[key] = dataclasses.replace(functions[key], direction="both")
        function = functions[key]
        scratch = unit.plan.scratch_of(stage_index)
        tensors = unit.graph.tensors
        return CallContext(
            index=op_index,
            op=context.op.title,
            function=function.name,
            summary=_summary(context),
            note=_placement_note(context, unit.plan, stage.bottom_up),
            inputs=tuple((_ctype(tensors[t]), unit.plan.offset_of(t)) for t in context.activation_inputs),
            output=(_ctype(context.output), unit.plan.offset_of(context.op.outputs[0])),
            constants=symbols,
            scratch=scratch.offset if scratch and lowered.scratch_bytes else None,
            bottom_up=stage.bottom_up,
            arguments=tuple((name, shared.numbers(lowered)[name]) for name in function.parameters),
            pad_row=pad_row(unit, op_index) or "NULL" if function.pad_rows else None,
            fill=place if place is not None and place.fill_at is None else None,
            macs=lowered.macs,
            tensor=printable(context.output.name),
            output_bytes=context.output.size_bytes,
            batches=lowered.batches,
            image_bytes=tuple(
                tensors[t].size_bytes // lowered.batches
                for t in (*context.activation_inputs, *context.op.outputs)
            ),
        )

    def own_call(op: int, function: str, summary: str, macs: int, *, pushed: bool = False) -> CallContext:
        """Return the call of a function that knows its places in the arena."""
        context = main.context(op)
        return CallContext(
            index=op,
            op=context.op.title,
            function=function,
            summary=summary,
            note="",
            inputs=(),
            output=(_ctype(context.output), plan.offset_of(context.op.outputs[0])),
            constants=(),
            scratch=None,
            bottom_up=None,
            arguments=(),
            pad_row=None,
            fill=None,
            macs=macs,
            tensor=printable(context.output.name),
            output_bytes=context.output.size_bytes,
            streamed=True,
            pushed=pushed,
        )

    def stage_call(stage_index: int) -> CallContext:
        """Return the call of one of the network's stages."""
        stage = plan.stages[stage_index]
        last = stage.ops[-1]
        if stage.streamed:
            streams.append(
                stream_context(
                    graph,
                    selections,
                    plan,
                    stage_index,
                    lambda call: constants(main, call.op, call.lowered) if call.lowered is not None else (),
                    lambda loop: _pad_row(loop, pad_symbols),
                    _summary,
                )
            )
            summary = (
                f"operators {stage.ops[0]} to {last}, row by row"
                + (f", in {stage.strips} strips" if stage.strips > 1 else "")
                + (f", in {stage.bands} bands" if stage.bands > 1 else "")
            )
            macs = sum(s.lowered.macs for op in stage.ops if (s := selections[op]).lowered)
            return own_call(last, f"{streams[-1].name}_run", summary, macs, pushed=stage.pushed)
        if last not in bodies:
            return operator_call(main, stage_index)
        unit = bodies[last]
        calls = tuple(operator_call(unit, i) for i in range(len(unit.plan.stages)))
        scratch = plan.scratch_of(stage_index)
        assert scratch is not None
        loops.append(_body(main, last, unit, scratch.offset, calls, arrays))
        return own_call(last, loops[-1].name, loops[-1].summary, main.lowered(last).macs)

    calls = [stage_call(i) for i in range(len(plan.stages))]
    states = tuple(_state(main, i, arrays) for i in _replacement_order(graph))
    two_way = {function.name for function in functions.values() if function.direction == "both"}

    def directed(calls: Sequence[CallContext]) -> tuple[CallContext, ...]:
        """Leave the direction out of calls whose function knows it."""
        return tuple(
            call if call.function in two_way else dataclasses.replace(call, bottom_up=None) for call in calls
        )

    peak_op = plan.stages[plan.peak_stage].ops[0] if plan.stages else -1
    headers = set(_headers(selections, streams, calls))
    headers |= {s.kernel.symbol for unit in bodies.values() for s in unit.selections if s.kernel}
    return ModelContext(
        name=graph.name,
        upper=graph.name.upper(),
        version=__version__,
        source=printable(source),
        sha256=graph.sha256,
        sha256_bytes=tuple(bytes.fromhex(graph.sha256)) if graph.sha256 else (0,) * 32,
        arena_bytes=plan.arena_bytes,
        alignment=plan.alignment,
        lower_bound_bytes=plan.lower_bound_bytes,
        peak=f"operator {peak_op}, {graph.ops[peak_op].title}" if peak_op >= 0 else "no operator",
        macs=plan.macs,
        kernels=tuple(sorted(headers)),
        inputs=_ports(graph, plan, graph.inputs, "INPUT"),
        outputs=_ports(graph, plan, graph.outputs, "OUTPUT"),
        states=states,
        constant_bytes=sum(array.values.nbytes for array in arrays),
        arrays=tuple(arrays),
        functions=tuple(functions.values()),
        streams=tuple(streams),
        loops=tuple(dataclasses.replace(loop, calls=directed(loop.calls)) for loop in loops),
        calls=directed(calls),
        pushed=next((stream for stream in streams if stream.pushed), None),
        compact=compact,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """Operators that are planned together: the network's, or those of a loop's body.

    Args:
        graph: the operators.
        selections: one per operator.
        plan: where their bytes are.
        prefix: of the names of their constants.
        outside: by operator that runs alone, where in the arena the row outside its image is.
        compact: operators of one kernel share a function.
    """

    graph: Graph
    selections: Sequence[Selection]
    plan: Plan
    prefix: str
    outside: Mapping[int, Fill | None]
    compact: bool

    @classmethod
    def of(
        cls, graph: Graph, selections: Sequence[Selection], plan: Plan, prefix: str, *, compact: bool
    ) -> _Unit:
        outside = {
            stage.ops[0]: plan.fill_of(i)
            for i, stage in enumerate(plan.stages)
            if not stage.streamed and selections[stage.ops[0]].kernel is not None
        }
        if compact:  # a function that many operators share fills no row in the middle
            outside = {op: fill if fill and fill.fill_at is None else None for op, fill in outside.items()}
        return cls(graph, selections, plan, prefix, outside, compact)

    def context(self, op: int) -> OpContext:
        return OpContext(self.graph, self.graph.ops[op])

    def lowered(self, op: int) -> Lowered:
        lowered = self.selections[op].lowered
        assert lowered is not None
        return lowered

    def key(self, op: int) -> object:
        return _function_key(self.graph, self.selections[op], self.outside[op], self.compact)


def _body(
    main: _Unit,
    index: int,
    unit: _Unit,
    offset: int,
    calls: tuple[CallContext, ...],
    arrays: list[ArrayContext],
) -> BodyContext:
    """Describe a loop.

    Args:
        main: the network.
        index: the loop's operator.
        unit: its body.
        offset: of the body's arena in the network's.
        calls: one step.
        arrays: the constants, to which those that steps read and states begin as are added.
    """
    op, body = main.graph.ops[index], unit.graph
    attrs = op.attrs
    assert isinstance(attrs, LoopAttrs)

    def place(tensor: int) -> str:
        """Return the C expression of a tensor of the network."""
        if (data := main.graph.tensors[tensor].data) is None:
            return f"a + {main.plan.offset_of(tensor)}"
        symbol = f"{unit.prefix}_input{op.inputs.index(tensor)}"
        if symbol not in {array.symbol for array in arrays}:
            values = np.ascontiguousarray(data).reshape(-1).view(np.int8)
            arrays.append(ArrayContext(symbol, "int8_t", values, "what steps of a loop read"))
        return symbol

    before = []
    for position, tensor in enumerate(body.inputs):
        size = body.tensors[tensor].size_bytes
        walk = attrs.walks[position] if position < len(attrs.walks) else None
        source = place(op.inputs[position]) + _step(walk, size)
        before.append(CopyContext(f"b + {unit.plan.offset_of(tensor)}", source, size))
    first = [
        CopyContext(f"b + {unit.plan.offset_of(state.tensor)}", place(tensor), size)
        for state, tensor in zip(body.states, op.inputs[attrs.initial :], strict=True)
        if tensor >= 0 and (size := body.tensors[state.tensor].size_bytes)
    ]
    computed = body.tensors[body.outputs[0]].size_bytes
    target = f"a + {main.plan.offset_of(op.outputs[0])}" + _step(attrs.collects, computed)
    out = CopyContext(target, f"b + {unit.plan.offset_of(body.outputs[0])}", computed)
    computed_first = {i for i, t in enumerate(op.inputs[attrs.initial :]) if t >= 0}
    return BodyContext(
        name=f"loop_{index}",
        summary=f"{attrs.steps} steps of operators {calls[0].index} to {calls[-1].index}",
        steps=attrs.steps,
        offset=offset,
        calls=calls,
        states=tuple(
            _state(unit, i, arrays, begins=i not in computed_first) for i in _replacement_order(body)
        ),
        first=tuple(first),
        before=tuple(before),
        after=(out,) if attrs.collects is not None else (),
        last=(out,) if attrs.collects is None else (),
    )


def _step(walk: Walk | None, row_bytes: int) -> str:
    """Return what the C expression of the row of step `i` adds to that of the first row."""
    if walk is None:
        return ""
    first = f" + {walk.first * row_bytes}" if walk.first else ""
    if walk.step < 0:
        return f"{first} - i * {-walk.step * row_bytes}"
    return f"{first} + i * {walk.step * row_bytes}"


def _replacement_order(graph: Graph) -> list[int]:
    """Return the states in an order in which none is replaced while another is still to become it."""
    waiting = dict(enumerate(graph.states))
    order: list[int] = []
    while waiting:
        wanted = {state.next for state in waiting.values() if state.next != state.tensor}
        ready = next((i for i, state in waiting.items() if state.tensor not in wanted), None)
        assert ready is not None, "states exchange their values"  # the reader refuses that
        order.append(ready)
        del waiting[ready]
    return order


def _state(unit: _Unit, index: int, arrays: list[ArrayContext], *, begins: bool = True) -> StateContext:
    """Describe a state; what it is at first goes into flash where it is not one byte over and over.

    With `begins` False something else says what it is at first.
    """
    graph, plan = unit.graph, unit.plan
    state = graph.states[index]
    tensor = graph.tensors[state.tensor]
    raw = np.ascontiguousarray(state.initial).reshape(-1)
    values = np.unique(raw.view(np.uint8))
    symbol = f"{unit.prefix}_state{index}"
    if values.size != 1 and begins:
        arrays.append(ArrayContext(symbol, _ctype(tensor), raw, "what a state is at first"))
    return StateContext(
        name=printable(tensor.name),
        shape=_shape(tensor),
        offset=plan.offset_of(state.tensor),
        bytes=tensor.size_bytes,
        following=plan.offset_of(state.next) if state.next is not None else None,
        fill=int(values[0]) if values.size == 1 else None,
        initial=symbol if begins else "",
    )


def _headers(
    selections: Sequence[Selection], streams: Sequence[StreamContext], calls: Sequence[CallContext]
) -> tuple[str, ...]:
    """Return the kernels' headers that the model includes."""
    alone = {call.index for call in calls if not call.streamed}
    headers = {s.kernel.symbol for s in selections if s.kernel and s.op in alone}
    for op in (op for stream in streams for op in stream.ops):
        if op.strip is not None:
            headers.add(STRIP_COLUMNS)
        if op.kernel:
            headers.add(ROW_SUMS if op.sums is not None else op.kernel)
    return tuple(sorted(headers))


def printable(text: str, limit: int = 60) -> str:
    """Make an untrusted name harmless in a C comment, a C string and Markdown."""
    return re.sub(r"[^A-Za-z0-9_.:;/ \-]", "_", text).replace("*/", "*_").replace("/*", "_*")[:limit]


class _Names:
    """Hands out function names that are unique in one model."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._used: dict[str, int] = {}

    def unique(self, stem: str) -> str:
        count = self._used.get(stem, 0)
        self._used[stem] = count + 1
        return stem if count == 0 else f"{stem}_v{count + 1}"


def _function_key(graph: Graph, selection: Selection, place: Fill | None, compact: bool) -> object:
    """Return what operators that share a function have in common."""
    kernel, lowered = selection.kernel, selection.lowered
    assert kernel is not None
    assert lowered is not None
    context = OpContext(graph, graph.ops[selection.op])
    same = (
        kernel.symbol,
        tuple(_ctype(graph.tensors[t]) for t in context.activation_inputs),
        _ctype(context.output),  # a table may give flags
        tuple((c.ctype, c.name) for c in lowered.constants),
        lowered.scratch_bytes > 0,
        lowered.updates,
        lowered.batches,
    )
    if compact:
        return (*same, shared.variant(kernel.op, lowered))
    access = lowered.access if lowered.loop is None else None
    return (*same, lowered.literals, lowered.loop, access, place is not None and (True, place.fill_at))


def _function(
    context: OpContext,
    selection: Selection,
    alike: Sequence[Lowered],
    bottom_up: bool,
    pad_rows: set[str],
    place: Fill | None,
    names: _Names,
) -> FunctionContext:
    """Return the function for calls that have a key in common.

    Args:
        context: the first of the operators.
        selection: its selection.
        alike: all of them.
        bottom_up: whether the first runs from the last row to the first.
        pad_rows: C expressions of their rows outside the image.
        place: where the first one's lies in the arena, if there.
        names: of the functions.
    """
    kernel, lowered = selection.kernel, selection.lowered
    assert kernel is not None
    assert lowered is not None
    parameters = shared.parameters(alike)
    loop = shared.loop_context(alike, parameters)
    x = context.graph.tensors[context.activation_inputs[0]]
    passed = len(pad_rows) > 1 or any(expression.startswith("a + ") for expression in pad_rows)
    return FunctionContext(
        name=names.unique(kernel.symbol.removeprefix("tm_") if parameters else _stem(context)),
        kernel=kernel.symbol,
        summary=f"{context.op.kind}: {len(alike)} operators" if parameters else _summary(context),
        input_types=tuple(
            _ctype(context.graph.tensors[t])
            if i in lowered.updates
            else f"const {_ctype(context.graph.tensors[t])}"
            for i, t in enumerate(context.activation_inputs)
        ),
        output_type=_ctype(context.output),
        constants=tuple((c.ctype, c.name) for c in lowered.constants),
        literals=shared.literals(lowered, parameters),
        parameters=parameters,
        scratch=lowered.scratch_bytes > 0,
        loop=loop,
        pad_rows=passed,
        fill=place if place is not None and place.fill_at is not None else None,
        pad_row="pad_row" if passed else next(iter(pad_rows), None),
        direction="up" if bottom_up else "down",
        input_array=kernel.input_array,
        row_start="x" if _ctype(x) == "int8_t" else "bytes",
        row_elements=_row_elements(loop, context.output),
    )


def _row_elements(loop: LoopContext | None, output: Tensor) -> Number:
    """Return the elements of an output row, a number or a C expression; 0 without a loop."""
    if loop is None:
        return 0
    size = output.dtype.size_bytes
    if isinstance(loop.out_row_bytes, int):
        return loop.out_row_bytes // size
    return loop.out_row_bytes if size == 1 else f"{loop.out_row_bytes} / {size}"


def _stem(context: OpContext) -> str:
    """A readable function name: the operator, its window and its output shape."""
    short = {
        "CONV_2D": "conv",
        "DEPTHWISE_CONV_2D": "depthwise",
        "FULLY_CONNECTED": "dense",
        "AVERAGE_POOL_2D": "average_pool",
        "MAX_POOL_2D": "max_pool",
        "RESIZE_NEAREST_NEIGHBOR": "resize",
        "LOOKUP": "lookup",  # one function for tables of different names
    }.get(context.op.kind.value, context.op.title.lower())
    window = ""
    attrs = context.op.attrs
    if isinstance(attrs, WindowAttrs):
        window = f"_{attrs.kernel_h}x{attrs.kernel_w}"
        if (attrs.stride_h, attrs.stride_w) != (1, 1):
            window += f"s{attrs.stride_h}"
            window += f"x{attrs.stride_w}" if attrs.stride_w != attrs.stride_h else ""
    shape = "x".join(str(d) for d in context.output.shape[1:]) or "1"
    return f"{short}{window}_to_{shape}"


def _pad_row(loop: RowLoop | None, pad_symbols: Mapping[int, str]) -> str | None:
    """Return the C expression that stands for a row outside the image; None where there is none."""
    if loop is None or not loop.reads_outside:
        return None
    return "NULL" if loop.pad_value is None else pad_symbols[loop.pad_value]


def _pad_rows(unit: _Unit) -> dict[int, int]:
    """The longest row outside an image in flash for every zero point."""
    sizes: dict[int, int] = {}
    for stage in unit.plan.stages:
        if not stage.streamed and unit.outside.get(stage.ops[0]) is not None:
            continue
        calls = (stage_calls(unit.graph, unit.selections, stage) or []) if stage.streamed else []
        alone = None if stage.streamed else unit.selections[stage.ops[0]].lowered
        for loop in (one.loop for one in (*(call.lowered for call in calls), alone) if one is not None):
            if loop is not None and loop.pad_value is not None and loop.reads_outside:
                sizes[loop.pad_value] = max(sizes.get(loop.pad_value, 0), loop.in_row_bytes)
    return sizes


def _shape(tensor: Tensor) -> str:
    return "[" + "][".join(map(str, tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape)) + "]"


def _summary(context: OpContext) -> str:
    sources = ", ".join(_shape(context.graph.tensors[t]) for t in context.activation_inputs)
    attrs = context.op.attrs
    window = ""
    if isinstance(attrs, WindowAttrs):
        window = f" {attrs.kernel_h}x{attrs.kernel_w}"
        if (attrs.stride_h, attrs.stride_w) != (1, 1):
            window += f" stride {attrs.stride_h}x{attrs.stride_w}"
        if (attrs.dilation_h, attrs.dilation_w) != (1, 1):
            window += f" dilation {attrs.dilation_h}x{attrs.dilation_w}"
    return f"{context.op.title}{window}: {sources} -> {_shape(context.output)}"


def _placement_note(context: OpContext, plan: Plan, bottom_up: bool) -> str:
    """Say how much of an input the output overwrites, if any."""
    out = plan.offset_of(context.op.outputs[0])
    for tensor in context.activation_inputs:
        source = plan.offset_of(tensor)
        end = min(out + context.output.size_bytes, source + context.graph.tensors[tensor].size_bytes)
        shared = end - max(out, source)
        if shared > 0:
            if out == source:
                return "in place"
            return f"over {shared} B of rows it has read" + (", last row first" if bottom_up else "")
    return ""


def _ports(graph: Graph, plan: Plan, indices: Sequence[int], word: str) -> tuple[PortContext, ...]:
    ports = []
    for i, index in enumerate(indices):
        tensor = graph.tensors[index]
        suffix = word if len(indices) == 1 else f"{word}_{i}"
        quant = tensor.quant
        ports.append(
            PortContext(
                suffix=suffix,
                function=suffix.lower(),
                name=printable(tensor.name),
                ctype=_ctype(tensor),
                shape=tensor.shape,
                elements=tensor.elements,
                bytes=tensor.size_bytes,
                offset=0 if plan.is_pushed(index) else plan.offset_of(index),
                scale=float_literal(quant.scale[0] if quant else 1.0),
                zero_point=quant.zero_point[0] if quant else 0,
                dtype=f"TM_{tensor.dtype.name}",
                quantised=quant is not None,
                pushed=plan.is_pushed(index),
                unsigned=tensor.unsigned,
            )
        )
    return tuple(ports)


def _ctype(tensor: Tensor) -> str:
    return ctype(tensor.dtype)


def float_literal(value: float) -> str:
    """Return the shortest C literal that reads back as the same 32-bit float."""
    text = repr(float(str(np.float32(value))))
    return text + "f"
