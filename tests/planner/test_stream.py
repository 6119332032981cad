"""Row-streamed stages: right for any run, the smallest choice of runs, no row or byte too many."""

from __future__ import annotations

import dataclasses
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.planner.networks import Network, NotStreamable, forced_stages, image_network, window
from tinyml import planner, reference
from tinyml.errors import UsageError
from tinyml.graph import ActivationAttrs, Graph, OpKind, Pads
from tinyml.kernels.registry import Isa
from tinyml.planner import Buffer, BufferKind, Cost, Plan, PlanError, Stage, check, plan, stages
from tinyml.planner.lifetimes import Flow
from tinyml.planner.simulate import simulate
from tinyml.planner.stream import (
    RowOp,
    events,
    row_op,
    stage_calls,
    stream_stage,
    written_bytes,
)
from tinyml.select import Selection, select

bounded = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
seeds = st.integers(0, 2**32)


def _network(seed: int, blocks: int = 6) -> tuple[Graph, list[Selection], random.Random]:
    rng = random.Random(seed)
    graph = image_network(rng, rng.randint(1, blocks))
    return graph, select(graph, rng.choice(((Isa.C,), (Isa.DSP, Isa.C)))), rng


def _correct(graph: Graph, selections: list[Selection], planned: Plan) -> bool:
    rng = np.random.default_rng(1)
    inputs = {t: rng.integers(-128, 128, graph.tensors[t].shape).astype(np.int8) for t in graph.inputs}
    expected = reference.run(graph, inputs)
    actual = simulate(graph, selections, planned, inputs)
    return all(np.array_equal(actual[t], expected[t]) for t in graph.outputs)


def _streamed(planned: Plan) -> list[int]:
    """The stages that run row by row."""
    return [i for i, stage in enumerate(planned.stages) if stage.streamed]


def _calls(graph: Graph, selections: list[Selection], stage: Stage) -> list[RowOp]:
    calls = stage_calls(graph, selections, stage)
    assert calls is not None
    return calls


def _moved(planned: Plan, offsets: dict[str, int]) -> Plan:
    return _changed(planned, {name: {"offset": offset} for name, offset in offsets.items()})


def _changed(planned: Plan, changes: dict[str, dict[str, object]]) -> Plan:
    """The plan with other buffers, and the arena they take."""
    buffers = tuple(
        dataclasses.replace(b, **changes.get(b.name, {}))  # type: ignore[arg-type]
        for b in planned.buffers
    )
    arena = max(b.offset + b.size_bytes for b in buffers)
    return dataclasses.replace(planned, buffers=buffers, arena_bytes=arena, lower_bound_bytes=0)


# -- any run is executed right ------------------------------------------------------------------


@given(
    seeds,
    st.sampled_from(["saves memory", "saves memory in strips", "longest runs", "any runs"]),
    st.booleans(),
)
@settings(bounded, max_examples=250)
def test_streamed_plans_compute_the_network(seed: int, how: str, push: bool) -> None:
    graph, selections, rng = _network(seed)
    pushed = graph.inputs[0] if push else None
    try:
        if how.startswith("saves memory"):
            extra = None if how.endswith("strips") else 0
            planned = plan(graph, selections, stream_above=0, max_extra_macs=extra, pushed=pushed)
        else:
            planned = forced_stages(graph, selections, rng, longest=how == "longest runs", pushed=pushed)
            check(graph, selections, planned)
    except (UsageError, NotStreamable):
        event("the input cannot be pushed")
        return
    longest = max((len(stage.ops) for stage in planned.stages), default=0)
    event(f"{how}: {'1 operator' if longest == 1 else '2 or 3' if longest < 4 else '4 or more'}")
    for stage in planned.stages:
        for what in ("strips", "bands"):
            event(f"{what}: {min(getattr(stage, what), 3)}")
        event(f"in place: {bool(stage.in_place)}, pushed: {stage.pushed}")
    assert _correct(graph, selections, planned)


def test_the_networks_of_these_tests_stream() -> None:
    """Without this, every other test here could pass on plans of single operators."""
    paying, long_runs = 0, 0
    ways: Counter[str] = Counter()
    for seed in range(60):
        graph, selections, rng = _network(seed)
        paying += bool(_streamed(plan(graph, selections, stream_above=0)))
        forced = forced_stages(graph, selections, rng, longest=True)
        long_runs += max(len(stage.ops) for stage in forced.stages) >= 4
        for _ in range(3):
            forced = forced_stages(graph, selections, rng, longest=False)
            for stage in forced.stages:
                ways["strips"] += stage.strips > 1
                ways["bands"] += stage.bands > 1
                ways["fed"] += bool(stage.fed)
                ways["in place"] += bool(stage.in_place)
            ways["state"] += any(b.kind is BufferKind.STATE for b in forced.buffers)
    assert paying >= 20
    assert long_runs >= 40
    assert min(ways[way] for way in ("strips", "bands", "fed", "in place", "state")) >= 5, ways


@given(seeds)
@bounded
def test_every_row_is_computed_once_in_order_and_after_what_it_reads(seed: int) -> None:
    graph, selections, rng = _network(seed)
    planned = forced_stages(graph, selections, rng, longest=True)
    for index in _streamed(planned):
        if planned.stages[index].bands > 1:
            continue  # rows where two bands meet are computed for each
        calls = _calls(graph, selections, planned.stages[index])
        producers = {call.output: i for i, call in enumerate(calls)}
        done = [0] * len(calls)
        for step in events(calls):
            assert step.row == done[step.index]
            for tensor, row_map in calls[step.index].reads():
                if tensor in producers:
                    assert row_map.last(step.end - 1) < done[producers[tensor]]
            done[step.index] = step.end
        assert done[-1] == calls[-1].access.rows
        for i, call in enumerate(calls[:-1]):
            wanted = [
                row_map.last(computed - 1) + 1
                for computed, reader in zip(done, calls, strict=True)
                for tensor, row_map in reader.reads()
                if tensor == call.output
            ]
            # A kernel that computes several rows per call may be some ahead.
            assert max(wanted) <= done[i] < max(wanted) + call.access.granule


# -- rings and distances are tight ---------------------------------------------------------------


@given(seeds)
@bounded
def test_rings_have_no_row_too_many(seed: int) -> None:
    graph, selections, rng = _network(seed)
    planned = forced_stages(graph, selections, rng, longest=True)
    check(graph, selections, planned)
    for index in _streamed(planned):
        stage = stream_stage(_calls(graph, selections, planned.stages[index]), planned.stages[index].bands)
        for call in stage.ops[:-1]:
            ring = planned.ring_of(call.output, index)
            if ring is None:
                assert call.onto is not None
                continue
            needed = dict(stage.rings)[call.output]
            assert needed <= ring.size_bytes < needed + 4
            if [b.name for b in planned.buffers].count(ring.name) > 1:
                continue  # fed to several stages
            smaller = _changed(planned, {ring.name: {"size_bytes": needed - call.access.row_bytes}})
            message = "is too small" if needed == call.access.row_bytes else "its ring has lost"
            if call.access.row_bytes < needed == call.access.granule * call.access.row_bytes:
                message = "beyond its ring"  # not one call's rows fit
            with pytest.raises(PlanError, match=message):
                check(graph, selections, smaller)


def test_a_lost_row_shows_in_the_simulation() -> None:
    graph, selections, planned = _block()
    ring = planned.buffer_of(graph.ops[0].outputs[0])
    rows = graph.tensors[graph.ops[0].outputs[0]]
    row_bytes = rows.size_bytes // rows.shape[1]
    assert ring.size_bytes == 3 * row_bytes
    assert _correct(graph, selections, planned)
    smaller = _changed(planned, {ring.name: {"size_bytes": 2 * row_bytes}})
    assert not _correct(graph, selections, smaller)


@given(seeds)
@bounded
def test_four_bytes_closer_is_too_close(seed: int) -> None:
    """An output at its distance below each dying input is right; one step closer, check objects."""
    graph, selections, rng = _network(seed)
    planned = forced_stages(graph, selections, rng, longest=rng.random() < 0.5)
    for index in _streamed(planned):
        run = planned.stages[index]
        if run.strips > 1 or run.bands > 1 or run.fed:
            continue
        stage = stream_stage(_calls(graph, selections, run))
        output = planned.buffer_of(stage.ops[-1].output)
        rings = [b for b in planned.buffers if not b.tensors or b.kind is BufferKind.RING]
        for source in planned.buffers:
            read = {t for call in stage.ops for t in call.inputs} & set(source.tensors) - stage.inner
            if not read or source.last != index or set(source.tensors) & set(graph.outputs):
                continue
            if index == len(planned.stages) - 1 and source.first == source.last:
                continue
            distance = max(stage.distance(t) for t in read)
            distance = -(-distance // 4) * 4
            # Far from everything else, the input at its distance above the output and four bytes closer.
            far = planned.arena_bytes + source.size_bytes + 8
            others = {b.name: b.offset for b in rings}
            tight = others | {output.name: far, source.name: far + distance}
            closer = others | {output.name: far, source.name: far + distance - 4}
            if distance <= -source.size_bytes or distance > output.size_bytes:
                event("never read, or read to the end")
                continue
            event("tight")
            check(graph, selections, _moved(planned, tight))
            if not _same_bytes_lost(stage.ops, read, distance - 4):
                continue
            with pytest.raises(PlanError, match="overwrites bytes before op"):
                check(graph, selections, _moved(planned, closer))


def _same_bytes_lost(calls: tuple[RowOp, ...], tensors: set[int], distance: int) -> bool:
    """Byte by byte: whether an output this far below its input writes what is still to be read."""
    written: set[int] = set()
    for step in events(calls):
        call = calls[step.index]
        if step.index == len(calls) - 1:
            written |= set(range(written_bytes(call, step.end)))
        for tensor, row_map in call.reads():
            if tensor in tensors:
                rows = step.rows_read(row_map)
                first, end = (distance + row * row_map.row_bytes for row in (rows.start, rows.stop))
                if not written.isdisjoint(range(first, end)):
                    return True
    return False


# -- the choice of stages -----------------------------------------------------------------------


def _partitions(candidates: list[list[stages.Candidate]], end: int) -> Iterator[list[stages.Candidate]]:
    if end == 0:
        yield []
        return
    for last in candidates[end]:
        for rest in _partitions(candidates, last.first):
            yield [*rest, last]


def _no_worse(a: Cost, b: Cost) -> bool:
    return all(x <= y for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True))


@given(seeds)
@bounded
def test_the_front_holds_every_choice_of_stages_that_nothing_beats(seed: int) -> None:
    """The dynamic program against every partition."""
    graph, selections, _ = _network(seed, blocks=2)
    flow = Flow.of(graph, selections)
    search = stages.StageSearch(graph, selections, flow, range(len(flow.nodes)), most_strips=2)
    choices = list(itertools.islice(_partitions(search.ending, len(flow.nodes)), 3000))
    if len(choices) == 3000:
        return
    event("several choices" if len(choices) > 1 else "one choice")
    costs = []
    for choice in choices:
        parts = [dataclasses.astuple(c.cost) for c in choice]
        peaks, *sums = zip(*parts, strict=True) if parts else ((0,), (0,), (0,), (0,))
        costs.append(Cost(max(peaks), *(sum(column) for column in sums)))
    front = search.front()
    if len(front) >= stages.MOST_LABELS:
        return
    assert {cut.cost for cut in front} <= set(costs)
    for cost in costs:
        assert any(_no_worse(cut.cost, cost) for cut in front)
    for a, b in itertools.permutations(front, 2):
        assert not _no_worse(a.cost, b.cost)


@given(seeds)
@bounded
def test_what_the_search_reckons_is_what_the_plan_needs(seed: int) -> None:
    """The live bytes it minimises are the lower bound of the plan that comes out.

    Strips, and rows in place, are reckoned as in the longest run that ends where they do: never too few.
    """
    graph, selections, _ = _network(seed)
    flow = Flow.of(graph, selections)
    search = stages.StageSearch(graph, selections, flow, range(len(flow.nodes)))
    for cut in search.front():
        stage_flow, extra_macs = search.flow_of(cut.stages())
        planned = planner._plan_order(graph, selections, stage_flow, range(len(stage_flow.nodes)))
        assert planned.lower_bound_bytes <= cut.cost.peak_bytes
        assert extra_macs <= cut.cost.extra_macs
        if all(stage.strips == 1 and not stage.in_place for stage in planned.stages):
            event("whole rows")
            assert planned.lower_bound_bytes == cut.cost.peak_bytes
            assert extra_macs == cut.cost.extra_macs == 0


@given(seeds)
@bounded
def test_objectives_choose_what_they_say(seed: int) -> None:
    graph, selections, _ = _network(seed)
    limit = plan(graph, selections).arena_bytes * 3 // 4
    chosen = {
        objective: plan(
            graph, selections, stream_above=limit, objective=objective, max_extra_macs=None, front=True
        )
        for objective in get_args(planner.Objective)
    }
    smallest = chosen["sram"].arena_bytes
    assert all(smallest <= planned.arena_bytes for planned in chosen.values())
    for planned in chosen.values():
        assert smallest > limit or planned.arena_bytes <= limit
        assert len(planned.front) > 0
        assert [point.peak_bytes for point in planned.front] == sorted(p.peak_bytes for p in planned.front)
        assert _correct(graph, selections, planned)


@given(seeds)
@bounded
def test_recomputed_work_keeps_to_its_limit(seed: int) -> None:
    graph, selections, _ = _network(seed)
    free = plan(graph, selections, stream_above=0, objective="sram", max_extra_macs=None)
    for share in (0, free.extra_macs // 2, free.extra_macs):
        planned = plan(graph, selections, stream_above=0, objective="sram", max_extra_macs=share)
        assert planned.extra_macs <= share
        assert planned.arena_bytes >= free.arena_bytes


@given(seeds)
@bounded
def test_streaming_never_costs_memory_and_keeps_to_a_limit(seed: int) -> None:
    graph, selections, _ = _network(seed)
    layered = plan(graph, selections)
    smallest = plan(graph, selections, stream_above=0)
    assert smallest.arena_bytes <= layered.arena_bytes
    assert not _streamed(layered)
    assert _streamed(plan(graph, selections, stream_above=layered.arena_bytes)) == []
    for limit in {smallest.arena_bytes, (smallest.arena_bytes + layered.arena_bytes) // 2}:
        event("limit between" if limit > smallest.arena_bytes else "limit at the smallest")
        assert plan(graph, selections, stream_above=limit).arena_bytes <= limit


def test_few_operators_are_streamed_where_that_is_enough() -> None:
    net = Network()
    x = net.input(1, 24, 8, 4)
    for expanded in (8, 32, 8):  # the middle block alone is too large
        y = net.depthwise(net.conv(x, expanded, window(1)), window(3))
        x = net.conv(y, 4, window(1))
    graph = net.graph(x)
    selections = select(graph, (Isa.C,))
    layered = plan(graph, selections)
    planned = plan(graph, selections, stream_above=layered.arena_bytes * 3 // 4)
    assert planned.arena_bytes <= layered.arena_bytes * 3 // 4
    (streamed,) = _streamed(planned)
    assert set(planned.stages[streamed].ops) <= {3, 4, 5}


def test_deep_networks_are_planned_quickly() -> None:
    net = Network()
    x = net.input(1, 16, 4, 4)
    for _ in range(40):  # inverted residuals
        y = net.depthwise(net.conv(x, 8, window(1)), window(3))
        x = net.add(net.conv(y, 4, window(1)), x)
    graph = net.graph(x)
    selections = select(graph, (Isa.C,))
    started = time.process_time()
    planned = plan(graph, selections, stream_above=0)
    assert time.process_time() - started < 10  # seconds; a loaded machine needs well under 2
    assert planned.arena_bytes < plan(graph, selections).arena_bytes


def test_a_stage_may_be_longer_than_pythons_stack_is_deep() -> None:
    net = Network()
    x = net.input(1, 2, 1, 1)
    for _ in range(1200):
        x = net.requantize(x)
    graph = net.graph(x)
    calls = [row_op(graph, selection) for selection in select(graph, (Isa.C,))]
    order = list(events([call for call in calls if call is not None]))
    assert [(step.index, step.row) for step in order] == [(i, row) for row in (0, 1) for i in range(1200)]


# -- every rule, broken once --------------------------------------------------------------------


def _block() -> tuple[Graph, list[Selection], Plan]:
    """x -> 1x1 -> 3x3 depthwise -> 1x1 -> y, one stage; then y -> pool -> z."""
    net = Network()
    x = net.input(1, 16, 4, 4)
    y = net.conv(net.depthwise(net.conv(x, 16, window(1)), window(3)), 4, window(1))
    graph = net.graph(net.pool(y, window(2, 2, Pads())))
    selections = select(graph, (Isa.C,))
    planned = plan(graph, selections, stream_above=0)
    assert planned.stages[0].ops == (0, 1, 2)
    return graph, selections, planned


_X, _EXPANDED, _DEEP, _Y = "t0", "rows of t3", "rows of t6", "t9"


def _buffer(planned: Plan, name: str) -> Buffer:
    return next(b for b in planned.buffers if b.name == name)


def _stage(planned: Plan, **changes: object) -> Plan:
    first = dataclasses.replace(planned.stages[0], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(planned, stages=(first, *planned.stages[1:]))


def _alone(stage: Stage) -> Stage:
    return dataclasses.replace(stage, strips=2)


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (lambda p: _changed(p, {_EXPANDED: {"size_bytes": 2 * 64}}), "its ring has lost"),
        (lambda p: _changed(p, {_EXPANDED: {"kind": BufferKind.TENSOR}}), "too small"),
        (lambda p: _changed(p, {_EXPANDED: {"kind": BufferKind.TENSOR, "size_bytes": 1024}}), "not a ring"),
        (lambda p: _changed(p, {_EXPANDED: {"last": 1}}), "ring 'rows of t3' holds|not a ring"),
        (lambda p: _changed(p, {_X: {"kind": BufferKind.RING, "size_bytes": 4}}), "inner tensors are"),
        (lambda p: _changed(p, {_Y: {"kind": BufferKind.RING, "size_bytes": 4}}), "inner tensors are"),
        (lambda p: _moved(p, {_EXPANDED: _buffer(p, _DEEP).offset}), "not an output and an input"),
        (lambda p: _moved(p, {_EXPANDED: _buffer(p, _X).offset}), "not an output and an input"),
        (lambda p: _moved(p, {_DEEP: _buffer(p, _Y).offset}), "not an output and an input"),
        (lambda p: _moved(p, {_Y: _buffer(p, _X).offset + 64}), "overwrites bytes before op 0 reads them"),
        (lambda p: _stage(p, ops=(1, 0, 2)), "not written yet"),
        (lambda p: _stage(p, ops=(0, 1)), "operators without a stage"),
        (lambda p: _stage(p, strips=2), "reads columns|has lost|reads its inputs again"),
        (lambda p: _stage(p, bands=2), "has lost|reads its inputs again"),
        (lambda p: _stage(p, in_place=((1, 3),)), "not a ring of this stage"),
        (lambda p: _stage(p, fed=(0,)), "not a ring of this stage"),
        (lambda p: _stage(p, fed=(0,), pushed=True), "has a buffer of its own"),
        (lambda p: _stage(p, fed=(), pushed=True), "pushed, but is not the first, or reads no input"),
        (lambda p: _stage(p, bottom_up=True), "runs bottom up"),
        (lambda p: dataclasses.replace(p, stages=(p.stages[0], _alone(p.stages[1]))), "without rings"),
    ],
)
def test_every_broken_rule_is_named(breakage: Callable[[Plan], Plan], message: str) -> None:
    graph, selections, planned = _block()
    with pytest.raises(PlanError, match=message):
        check(graph, selections, breakage(planned))


def test_a_ring_that_is_a_model_output_is_refused() -> None:
    """Even in the last stage, where its buffer lives to the end."""
    net = Network()
    inner = net.conv(net.input(1, 16, 4, 4), 16, window(1))
    y = net.conv(inner, 2, window(1))
    selections = select(net.graph(y), (Isa.C,))
    planned = plan(net.graph(y), selections, stream_above=0)
    assert _streamed(planned) == [0]
    with pytest.raises(PlanError, match="model output, but only a ring"):
        check(net.graph(y, inner), selections, planned)
    assert _streamed(plan(net.graph(y, inner), selections, stream_above=0)) == []


@given(seeds, st.data())
@settings(bounded, max_examples=150)
def test_a_mutated_plan_is_refused_or_harmless(seed: int, data: st.DataObject) -> None:
    """Whatever is moved or made smaller: a plan that check accepts computes the right bytes."""
    graph, selections, rng = _network(seed)
    planned = forced_stages(graph, selections, rng, longest=rng.random() < 0.5)
    streamed = set(_streamed(planned))
    # Buffers that a streamed stage meets, the rings first of all.
    mutable = [b for b in planned.buffers if streamed & set(range(b.first, b.last + 1))]
    mutable = [b for b in mutable if b.kind is BufferKind.RING] * 2 + mutable
    if not mutable:
        return
    moved = data.draw(st.sampled_from(mutable), "buffer")
    mutation = data.draw(st.sampled_from(["moved", "swapped", "nudged", "smaller"]))
    if mutation == "smaller":
        mutated = _changed(planned, {moved.name: {"size_bytes": max(moved.size_bytes - 4, 4)}})
    elif mutation == "swapped":
        other = data.draw(st.sampled_from(mutable), "other buffer")
        mutated = _moved(planned, {moved.name: other.offset, other.name: moved.offset})
    elif mutation == "nudged":
        mutated = _moved(planned, {moved.name: max(moved.offset + rng.choice((-8, -4, 4, 8)), 0)})
    else:
        mutated = _moved(planned, {moved.name: 4 * rng.randint(0, planned.arena_bytes // 4)})
    try:
        check(graph, selections, mutated)
    except PlanError:
        event(f"{mutation}: refused")
        return
    event(f"{mutation}: accepted")
    assert _correct(graph, selections, mutated)


def test_too_little_scratch_is_refused() -> None:
    net = Network()
    x = net.input(1, 16, 4, 8)
    y = net.conv(net.conv(x, 16, window(1)), 2, window(3))
    graph = net.graph(y)
    selections = select(graph, (Isa.DSP, Isa.C))
    planned = plan(graph, selections, stream_above=0)
    assert _streamed(planned) == [0]
    scratch = planned.scratch_of(0)
    assert scratch is not None
    check(graph, selections, planned)
    with pytest.raises(PlanError, match=r"B of scratch, its kernel wants \d+ B"):
        check(graph, selections, _changed(planned, {scratch.name: {"size_bytes": scratch.size_bytes - 4}}))


def test_kernels_that_need_the_whole_input_are_not_streamed() -> None:
    net = Network()
    x = net.input(1, 16, 4, 8)
    y = net.softmax(net.conv(x, 16, window(1)))
    graph = net.graph(y)
    selections = select(graph, (Isa.C,))
    planned = plan(graph, selections)
    joined = dataclasses.replace(planned, stages=(Stage((0, 1)),))
    with pytest.raises(PlanError, match=r"streams ops \(0, 1\), not all of which can run row by row"):
        check(graph, selections, joined)


# -- which operators run row by row --------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "streams"),
    [
        ((4,), True),
        ((3, 4), True),
        ((1, 3, 4), True),
        ((1, 1, 1, 4), True),
        ((1, 1, 3, 1), True),
        ((5, 1, 4), False),
        ((1, 5, 3, 4), False),
        ((5, 1, 1), False),
    ],
)
def test_constants_must_not_differ_from_row_to_row(shape: tuple[int, ...], streams: bool) -> None:
    net = Network()
    x = net.input(1, 5, 3, 4)
    operand = net.constant(np.ones(shape, np.int8), net.tensors[x].quant)
    y = net.op(OpKind.ADD, (x, operand), (1, 5, 3, 4), ActivationAttrs())
    graph = net.graph(y)
    selections = select(graph, (Isa.C,))
    assert (row_op(graph, selections[-1]) is not None) == streams
