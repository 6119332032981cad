"""check() must complain: about every kind of broken plan, and exactly where bytes are lost."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tests.planner.networks import Network, access_of, loop_of, lower, random_graph, window
from tinyml import reference
from tinyml.access import AccessMap, RowMap
from tinyml.graph import ActivationAttrs, Graph, Op, OpKind
from tinyml.kernels.registry import Lowered
from tinyml.planner import Buffer, BufferKind, Plan, PlanError, Stage, check, plan
from tinyml.planner.simulate import simulate
from tinyml.select import Selection

bounded = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


def _moved(planned: Plan, offsets: dict[str, int]) -> Plan:
    """The plan with some buffers elsewhere, and the arena that this takes."""
    buffers = tuple(dataclasses.replace(b, offset=offsets.get(b.name, b.offset)) for b in planned.buffers)
    arena = max(b.offset + b.size_bytes for b in buffers)
    return dataclasses.replace(planned, buffers=buffers, arena_bytes=arena, lower_bound_bytes=0)


def _correct(graph: Graph, selections: list[Selection], planned: Plan) -> bool:
    rng = np.random.default_rng(1)
    inputs = {t: rng.integers(-128, 128, graph.tensors[t].shape, dtype=np.int8) for t in graph.inputs}
    expected = reference.run(graph, inputs)
    actual = simulate(graph, selections, planned, inputs)
    return all(np.array_equal(actual[t], expected[t]) for t in graph.outputs)


# -- row overlap --------------------------------------------------------------------------------


def _loses_bytes(access: AccessMap, output_at: int, input_at: int, bottom_up: bool) -> bool:
    """Byte by byte: does a step write what it (unless buffered) or a later step still reads?"""
    row_map = access.inputs[0]
    assert row_map is not None
    for first, end in reversed(access.steps()) if bottom_up else access.steps():
        written = set(range(output_at + first * access.row_bytes, output_at + end * access.row_bytes))
        if bottom_up:
            pending = range(first if access.buffered else end)
        else:
            pending = range(end if access.buffered else first, access.rows)
        for row in pending:
            start = input_at + row_map.first(row) * row_map.row_bytes
            stop = input_at + (row_map.last(row) + 1) * row_map.row_bytes
            if written & set(range(start, stop)):
                return True
    return False


@given(data=st.data())
@settings(bounded, max_examples=300)
def test_overlap_is_allowed_exactly_where_no_byte_is_lost(data: st.DataObject) -> None:
    """Any map, any two offsets: the walk over steps agrees with sets of bytes."""
    bottom_up = data.draw(st.booleans(), "bottom up")
    lo = data.draw(st.integers(-3, 2), "lo")
    row_map = RowMap(
        rows=data.draw(st.integers(1, 9), "input rows"),
        row_bytes=data.draw(st.integers(1, 12), "input row bytes"),
        mul=data.draw(st.integers(0, 3), "mul"),
        lo=lo,
        hi=lo + data.draw(st.integers(0, 4), "reach"),
    )
    access = AccessMap(
        rows=data.draw(st.integers(1, 9), "output rows"),
        row_bytes=data.draw(st.integers(1, 12), "output row bytes"),
        inputs=(row_map,),
        granule=1 if bottom_up else data.draw(st.integers(1, 4), "granule"),
        buffered=data.draw(st.booleans(), "buffered"),
    )
    output_at, input_at = (4 * data.draw(st.integers(0, 30)) for _ in range(2))
    net = Network()
    x = net.input(1, row_map.rows * row_map.row_bytes)
    y = net.op(OpKind.DEQUANTIZE, (x,), (1, access.output_bytes), ActivationAttrs())
    graph = net.graph(y)
    sizes = [row_map.rows * row_map.row_bytes, access.output_bytes]
    buffers = tuple(
        Buffer(f"t{t}", BufferKind.TENSOR, (t,), at, size, 0, 0)
        for t, at, size in zip((x, y), (input_at, output_at), sizes, strict=True)
    )
    arena = max(b.offset + b.size_bytes for b in buffers)
    planned = Plan("net", (Stage((0,), bottom_up=bottom_up),), buffers, arena, 0, 0, 0)
    selections = [Selection(0, None, Lowered(access, loop=loop_of(access)), "test")]
    if _loses_bytes(access, output_at, input_at, bottom_up):
        event("bytes lost")
        with pytest.raises(PlanError, match="overwrites bytes of input 0"):
            check(graph, selections, planned)
    else:
        event("no byte lost")
        check(graph, selections, planned)


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (7, 3)])
def test_four_bytes_closer_is_too_close(kernel: int, stride: int, buffered: bool) -> None:
    """An output planned at its distance below its input: a step closer, check and simulation object."""
    net = Network()
    x = net.input(1, 12, 5, 4)
    y = net.conv(x, 4 * stride, window(kernel, stride))
    graph = net.graph(y)
    selections = [Selection(0, None, Lowered(access_of(graph, graph.ops[0], buffered=buffered)), "test")]
    planned = plan(graph, selections)
    check(graph, selections, planned)
    source, output = planned.buffer_of(x), planned.buffer_of(y)
    assert source.offset < output.offset + output.size_bytes, "they overlap"
    assert _correct(graph, selections, planned)
    access = access_of(graph, graph.ops[0], buffered=buffered)
    for shift in (4, 8):
        # Both moves start from the tight placement, whatever slack the planner left.
        base = {source.name: 400 + access.overlap_distance(0), output.name: 400}
        check(graph, selections, _moved(planned, base))
        up = _moved(planned, base | {output.name: 400 + shift})
        down = _moved(planned, base | {source.name: base[source.name] - shift})
        for closer in (up, down):
            with pytest.raises(PlanError, match="overwrites bytes of input 0"):
                check(graph, selections, closer)
            assert not _correct(graph, selections, closer)


@given(st.integers(0, 2**32), st.integers(1, 8), st.data())
@bounded
def test_a_moved_buffer_is_refused_or_harmless(seed: int, steps: int, data: st.DataObject) -> None:
    """Whatever a mutation of the offsets does: a plan that check accepts computes the right bytes."""
    graph = random_graph(random.Random(seed), steps)
    selections = lower(graph, seed)
    planned = plan(graph, selections)
    names = [b.name for b in planned.buffers]
    assume(len(names) >= 2)
    if data.draw(st.booleans(), "swap"):
        a, b = data.draw(st.permutations(planned.buffers), "buffers")[:2]
        mutated = _moved(planned, {a.name: b.offset, b.name: a.offset})
    else:
        moved = data.draw(st.sampled_from(planned.buffers), "buffer")
        to = data.draw(st.integers(0, planned.arena_bytes // 4), "word") * 4
        mutated = _moved(planned, {moved.name: to})
    try:
        check(graph, selections, mutated)
    except PlanError:
        event("refused")
        return
    event("accepted")
    assert _correct(graph, selections, mutated)


# -- every rule, broken once --------------------------------------------------------------------


def _residual() -> tuple[Graph, list[Selection], Plan]:
    """x -> a -> (3x3, with scratch) -> b; a + b -> view -> dense -> y."""
    net = Network()
    x = net.input(1, 6, 6, 4)
    a = net.conv(x, 4, window(1))
    b = net.conv(a, 4, window(3))
    view = net.reshape(net.add(a, b), 1, 144)
    graph = net.graph(net.dense(view, 10))
    selections = [
        Selection(i, None, None, "a view")
        if op.kind is OpKind.RESHAPE
        else Selection(
            i,
            None,
            Lowered(access_of(graph, op, buffered=True), scratch_bytes=24 if op.name == "conv_2d1" else 0),
            "test",
        )
        for i, op in enumerate(graph.ops)
    ]
    planned = plan(graph, selections)
    check(graph, selections, planned)
    return graph, selections, planned


def _buffer(planned: Plan, name: str, **changes: object) -> Plan:
    return dataclasses.replace(
        planned,
        buffers=tuple(
            dataclasses.replace(b, **changes) if b.name == name else b  # type: ignore[arg-type]
            for b in planned.buffers
        ),
    )


def _without(planned: Plan, name: str) -> Plan:
    buffers = tuple(b for b in planned.buffers if b.name != name)
    arena = max(b.offset + b.size_bytes for b in buffers)
    return dataclasses.replace(planned, buffers=buffers, arena_bytes=arena, lower_bound_bytes=0)


_A, _B, _SUM, _Y = "t3", "t6", "t7", "t11"
_SCRATCH = "scratch of conv_2d1"


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda p: dataclasses.replace(p, arena_bytes=p.arena_bytes - 4), "buffers end at"),
        (lambda p: dataclasses.replace(p, arena_bytes=p.arena_bytes + 4), "buffers end at"),
        (lambda p: dataclasses.replace(p, lower_bound_bytes=p.arena_bytes + 4), "lower bound"),
        (lambda p: dataclasses.replace(p, peak_stage=4), "peak stage"),
        (lambda p: dataclasses.replace(p, stages=p.stages[:-1]), "without a stage"),
        (lambda p: dataclasses.replace(p, stages=(*p.stages, p.stages[0])), "runs twice"),
        (lambda p: dataclasses.replace(p, stages=p.stages[::-1]), "not written yet"),
        (lambda p: dataclasses.replace(p, stages=(Stage((0, 1)), *p.stages[2:])), "can run row by row"),
        (lambda p: _without(p, _A), "without a buffer"),
        (lambda p: _without(p, _SCRATCH), "0 B of scratch, its kernel wants 24 B"),
        (lambda p: _buffer(p, _SCRATCH, size_bytes=20), "20 B of scratch, its kernel wants 24 B"),
        (lambda p: _buffer(p, _SCRATCH, kind=BufferKind.RING), "of kind ring holds tensors"),
        (lambda p: _buffer(p, _SCRATCH, first=0), "outlives its stage"),
        (lambda p: _moved(p, {_SCRATCH: 1004}), "not aligned to 8"),
        (lambda p: _moved(p, {_A: 1002}), "not aligned to 4"),
        (lambda p: _moved(p, {_A: -4}), "negative range"),
        (lambda p: _buffer(p, _A, size_bytes=140), "too small"),
        (lambda p: _buffer(p, _A, tensors=(3, 6)), "two buffers"),
        (lambda p: _buffer(_without(p, _B), _A, tensors=(3, 6), last=3), "not views of one"),
        (lambda p: _buffer(p, _SUM, tensors=(7,)), "without a buffer"),
        (lambda p: _buffer(p, _A, last=1), "input of op 2, is used in stage 2"),
        (lambda p: _buffer(p, _A, first=1), "output of op 0, is used in stage 0"),
        (lambda p: _buffer(p, "t0", first=1, last=1), "model input, is used in stage 0"),
        (lambda p: _buffer(p, _Y, last=2), "model output, is used in stage 3"),
        # the residual is read after the convolution: no overlap, not even in place
        (lambda p: _moved(p, {_B: p.buffer_of(3).offset}), "needed afterwards: op 2 reads it in stage 2"),
        (lambda p: _moved(p, {_SCRATCH: p.buffer_of(3).offset // 8 * 8}), "one is scratch"),
        (lambda p: _moved(p, {_A: p.buffer_of(6).offset}), "meet in stage 1"),
        # an output that covers rows its input still holds
        (lambda p: _moved(p, {_A: p.buffer_of(0).offset + 4, _B: 1000}), "overwrites bytes of input 0"),
        (lambda p: _moved(p, {_SUM: p.buffer_of(6).offset + 4}), "overwrites bytes of input|meet in stage 2"),
    ],
)
def test_every_broken_rule_is_named(breakage: Callable[[Plan], Plan], message: str) -> None:
    graph, selections, planned = _residual()
    with pytest.raises(PlanError, match=message):
        check(graph, selections, breakage(planned))


def test_a_view_in_another_buffer_is_refused() -> None:
    graph, selections, planned = _residual()
    split = _buffer(planned, _SUM, tensors=(7,))
    view = dataclasses.replace(planned.buffer_of(8), name="view", tensors=(8,), offset=2000)
    split = _moved(dataclasses.replace(split, buffers=(*split.buffers, view)), {})
    with pytest.raises(PlanError, match="is a view, but its tensors do not share one buffer"):
        check(graph, selections, split)


def test_a_model_output_is_not_overwritten_by_its_reader() -> None:
    net = Network()
    x = net.input(1, 32)
    y = net.add(x, x)
    graph = net.graph(net.add(y, y), y)
    selections = [
        Selection(i, None, Lowered(access_of(graph, op, buffered=True)), "test")
        for i, op in enumerate(graph.ops)
    ]
    planned = plan(graph, selections)
    with pytest.raises(PlanError, match="needed afterwards: a model output"):
        check(graph, selections, _moved(planned, {"t2": planned.buffer_of(y).offset}))


def test_simulation_notices_what_a_kernel_does_not_promise() -> None:
    """A map that calls a kernel buffered, or its window smaller, is a lie that poison uncovers."""
    net = Network()
    x = net.input(1, 8, 4, 4)
    graph = net.graph(net.conv(x, 4, window(3)))
    honest = access_of(graph, graph.ops[0], buffered=True)
    selections = [Selection(0, None, Lowered(honest), "test")]
    planned = plan(graph, selections)
    assert _correct(graph, selections, planned)
    unbuffered = dataclasses.replace(honest, buffered=False)
    assert not _correct(graph, [Selection(0, None, Lowered(unbuffered), "test")], planned)
    narrow = [
        Selection(0, None, Lowered(dataclasses.replace(honest, inputs=(RowMap(8, 16, 1, -1, 0),))), "test")
    ]
    with pytest.raises(ValueError, match="row"):
        _correct(graph, narrow, plan(graph, narrow))


def test_simulation_notices_a_tensor_that_dies_too_early() -> None:
    graph, selections, planned = _residual()
    assert _correct(graph, selections, planned)
    assert not _correct(graph, selections, _buffer(planned, _A, last=0))


def test_an_input_read_as_a_whole_is_free_only_before_the_last_write() -> None:
    """Global reductions and matrix products: no byte of the input is dead until all of it is."""
    net = Network()
    x = net.input(1, 4, 4, 8)
    y = net.mean(x)
    graph = net.graph(y)

    def planned_with(access: AccessMap, output_at: int) -> None:
        buffers = (
            Buffer("x", BufferKind.TENSOR, (x,), 8, 128, 0, 0),
            Buffer("y", BufferKind.TENSOR, (y,), output_at, 8, 0, 0),
        )
        arena = max(b.offset + b.size_bytes for b in buffers)
        selections = [Selection(0, None, Lowered(access), "test")]
        check(graph, selections, Plan("net", (Stage((0,)),), buffers, arena, 0, 0, 0))

    whole = AccessMap(1, 8, (None,), buffered=True)
    by_channel = AccessMap(8, 1, (None,), buffered=True)
    for output_at in (4, 8, 128, 132):
        planned_with(whole, output_at)  # everything is read before the first byte is written
        for access in (by_channel, dataclasses.replace(whole, buffered=False)):
            with pytest.raises(PlanError, match="overwrites bytes of input 0"):
                planned_with(access, output_at)
    for output_at in (0, 136):
        planned_with(by_channel, output_at)
    # The last of eight steps writes after everything was read: its byte may lie on the input.
    assert by_channel.overlap_distance(0) == 7


def test_simulation_notices_scratch_on_a_live_tensor() -> None:
    graph, selections, planned = _residual()
    live = planned.buffer_of(graph.ops[1].inputs[0])
    assert not _correct(graph, selections, _moved(planned, {_SCRATCH: live.offset // 8 * 8}))


@pytest.mark.parametrize("output_at", [0, 200])
def test_simulation_notices_a_kernel_that_reads_rows_given_up(
    output_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that looks above the rows of its map finds poison there, with no overlap at all."""
    net = Network()
    x = net.input(1, 8, 4, 4)
    y = net.conv(x, 4, window(3))
    graph = net.graph(y)

    def reads_everything(
        graph: Graph, op: Op, access: AccessMap, values: dict[int, np.ndarray], first: int, end: int
    ) -> np.ndarray:
        whole = reference.run_op(graph, op, values).reshape(access.rows, -1)
        return whole[first:end].reshape(-1)

    monkeypatch.setattr("tinyml.planner.simulate.run_rows", reads_everything)
    honest = access_of(graph, graph.ops[0])
    lie = dataclasses.replace(honest, inputs=(RowMap(8, 16, 1, 0, 1),))
    for access, correct in ((honest, True), (lie, False)):
        selections = [Selection(0, None, Lowered(access), "test")]
        planned = _moved(plan(graph, selections), {"t0": 200 - output_at, "t3": output_at})
        assert _correct(graph, selections, planned) is correct
