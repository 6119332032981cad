"""plan() on random and on chosen networks: proved by check, executed by simulate."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.planner.networks import Network, access_of, loop_of, lower, random_graph, window
from tinyml import reference
from tinyml.access import AccessMap, RowMap
from tinyml.graph import Graph, OpKind, Pads
from tinyml.kernels.registry import Isa, Lowered
from tinyml.planner import BufferKind, Plan, PlanError, check, outside, plan, timeline
from tinyml.planner import order as orders
from tinyml.planner.lifetimes import Flow
from tinyml.planner.simulate import simulate
from tinyml.select import Selection, select

bounded = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture(autouse=True, scope="module")
def rows_of_zero_points_of_any_length() -> Iterator[None]:
    """In the arena wherever there is room, which half of the random networks have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outside, "SHORT", 0)
        yield


def _inputs(graph: Graph, seed: int = 0) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {t: rng.integers(-128, 128, graph.tensors[t].shape, dtype=np.int8) for t in graph.inputs}


def _same(graph: Graph, selections: list[Selection], planned: Plan, seed: int = 0) -> bool:
    inputs = _inputs(graph, seed)
    expected = reference.run(graph, inputs)
    actual = simulate(graph, selections, planned, inputs, seed)
    return all(np.array_equal(actual[t], expected[t]) for t in graph.outputs)


@given(st.integers(0, 2**32), st.integers(1, 12))
@bounded
def test_random_networks_are_planned_proved_and_executed(seed: int, steps: int) -> None:
    graph = random_graph(random.Random(seed), steps)
    selections = lower(graph, seed)
    planned = plan(graph, selections)
    check(graph, selections, planned)
    assert planned.arena_bytes >= planned.lower_bound_bytes
    assert _same(graph, selections, planned, seed)


@pytest.mark.parametrize("isas", [(Isa.C,), (Isa.DSP, Isa.C), (Isa.MVE, Isa.DSP, Isa.C)])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 12))
@bounded
def test_the_access_maps_of_the_registry_are_executed(isas: tuple[Isa, ...], seed: int, steps: int) -> None:
    """What the kernels claim about rows, granules and buffering is what their operators need."""
    graph = random_graph(random.Random(seed), steps)
    selections = select(graph, isas)
    planned = plan(graph, selections)
    assert _same(graph, selections, planned, seed)


@given(st.integers(0, 2**32), st.integers(1, 30))
@settings(bounded, max_examples=40)
def test_search_is_never_worse_than_file_order(seed: int, steps: int) -> None:
    graph = random_graph(random.Random(seed), steps)
    selections = lower(graph, seed)
    in_file_order = plan(graph, selections, order="file")
    ops = [op for stage in in_file_order.stages for op in stage.ops]
    assert ops == sorted(ops)
    assert plan(graph, selections).arena_bytes <= in_file_order.arena_bytes


def test_plans_are_deterministic() -> None:
    graph = random_graph(random.Random(7), 25)
    selections = lower(graph, 7)
    assert plan(graph, selections).to_json() == plan(graph, selections).to_json()


# -- lifetimes and placement, by example --------------------------------------------------------


def _chain(*, buffered: bool = True) -> tuple[Graph, list[Selection]]:
    """8x8x4 -> 3x3 -> 8x8x4 -> 1x1 -> 8x8x8 -> 3x3 depthwise stride 2 -> 4x4x8."""
    net = Network()
    x = net.input(1, 8, 8, 4)
    x = net.conv(x, 4, window(3))
    x = net.conv(x, 8, window(1))
    x = net.depthwise(x, window(3, 2))
    graph = net.graph(x)
    return graph, [
        Selection(i, None, Lowered(access_of(graph, op, buffered=buffered)), "test")
        for i, op in enumerate(graph.ops)
    ]


def test_a_row_overlapped_chain_reaches_its_bound() -> None:
    graph, selections = _chain()
    planned = plan(graph, selections)
    # The 1x1 turns rows of 32 B into rows of 64 B and holds one row back: its input of 256 B may lie
    # anywhere from byte 7 · 64 − 7 · 32 = 224 of the output of 512 B. The model's input, one row
    # above that, ends at byte 512 too.
    assert planned.lower_bound_bytes == planned.arena_bytes == 512
    assert _same(graph, selections, planned)


def test_a_chain_in_place_does_not_drift() -> None:
    """3x3 after 3x3: each lies a little below its input, or above it and then runs bottom up."""
    net = Network()
    x = net.input(1, 16, 4, 8)
    for _ in range(6):
        x = net.depthwise(x, window(3))
    graph = net.graph(x)
    maps = [access_of(graph, op) for op in graph.ops]
    selections = [Selection(i, None, Lowered(a, loop=loop_of(a)), "test") for i, a in enumerate(maps)]
    planned = plan(graph, selections)
    # 14 rows of 16: without padding the first output row needs no row above it, so D is one row less.
    assert planned.arena_bytes == planned.lower_bound_bytes
    assert {stage.bottom_up for stage in planned.stages} == {False, True}
    assert _same(graph, selections, planned)
    turned = tuple(dataclasses.replace(s, bottom_up=not s.bottom_up) for s in planned.stages)
    with pytest.raises(PlanError, match="overwrites bytes of input 0"):
        check(graph, selections, dataclasses.replace(planned, stages=turned))
    assert not _same(graph, selections, dataclasses.replace(planned, stages=turned))
    downwards = [Selection(i, None, Lowered(a), "test") for i, a in enumerate(maps)]
    assert plan(graph, downwards).arena_bytes > planned.arena_bytes
    with pytest.raises(PlanError, match="has no loop over rows"):
        check(graph, downwards, planned)


def test_a_stem_chain_reaches_its_bound() -> None:
    """Tensors must alternate between both ends of the arena, with scratch in the gaps between them."""
    net = Network()
    x = net.input(1, 24, 24, 3)
    x = net.conv(x, 8, window(3, 2, pads=Pads(0, 0, 1, 1)))
    x = net.depthwise(x, window(3))
    x = net.conv(x, 16, window(1))
    x = net.depthwise(x, window(3, 2, pads=Pads(0, 0, 1, 1)))
    graph = net.graph(net.conv(x, 32, window(1)))
    scratch = (336, 300, 64, 300, 128)
    selections = [
        Selection(i, None, Lowered(access_of(graph, op), scratch_bytes=bytes_), "test")
        for i, (op, bytes_) in enumerate(zip(graph.ops, scratch, strict=True))
    ]
    planned = plan(graph, selections)
    assert planned.arena_bytes == planned.lower_bound_bytes
    assert planned.arena_bytes < 12 * 12 * 16 + 12 * 12 * 8
    assert _same(graph, selections, planned)


def test_model_inputs_and_outputs_live_from_start_to_end() -> None:
    net = Network()
    x, late = net.input(1, 4, 4, 2), net.input(1, 4, 4, 2)
    early = net.conv(x, 2, window(3))
    y = net.conv(early, 2, window(3))
    y = net.add(y, late)
    graph = net.graph(y, early)
    selections = lower(graph)
    planned = plan(graph, selections)
    assert planned.buffer_of(late).first == 0
    assert planned.buffer_of(early).last == len(planned.stages) - 1
    assert _same(graph, selections, planned)


def test_a_model_output_that_is_read_again_is_not_overwritten() -> None:
    net = Network()
    x = net.input(1, 4, 4, 2)
    y = net.add(x, x)
    z = net.add(y, y)
    graph = net.graph(z, y, x)  # an input, an inner tensor and the end
    selections = lower(graph, scratch=False)
    planned = plan(graph, selections)
    assert planned.arena_bytes == 3 * 32
    assert _same(graph, selections, planned)


def test_views_share_their_inputs_bytes() -> None:
    net = Network()
    x = net.input(1, 4, 4, 2)
    flat = net.reshape(net.reshape(x, 1, 16, 2, 1), 1, 32)
    y = net.dense(flat, 10)
    graph = net.graph(net.reshape(y, 1, 5, 2, 1))
    selections = [
        Selection(i, None, None if op.kind is OpKind.RESHAPE else Lowered(access_of(graph, op)), "test")
        for i, op in enumerate(graph.ops)
    ]
    planned = plan(graph, selections)
    assert planned.buffer_of(x) is planned.buffer_of(flat)
    assert planned.buffer_of(y) is planned.buffer_of(graph.outputs[0])
    assert [stage.ops for stage in planned.stages] == [(2,)]
    assert planned.arena_bytes == 32 + 12
    assert _same(graph, selections, planned)


def test_a_view_keeps_its_source_alive_for_every_reader() -> None:
    """In-place over a reshaped tensor would destroy what the other branch still reads."""
    net = Network()
    x = net.input(1, 4, 4, 2)
    a = net.conv(x, 2, window(1))
    view = net.reshape(a, 1, 32)
    squared = net.add(view, view, OpKind.MUL)
    again = net.conv(a, 2, window(1))
    y = net.add(net.reshape(again, 1, 32), squared)
    graph = net.graph(y)
    for seed in range(6):
        selections = lower(graph, seed)
        for order in ("search", "file"):
            assert _same(graph, selections, plan(graph, selections, order=order), seed)


def test_an_addition_lies_on_either_dying_input() -> None:
    """Both operands die: their sum takes the place of one of them."""
    net = Network()
    x, y = net.input(1, 4, 4, 2), net.input(1, 4, 4, 2)
    graph = net.graph(net.add(x, y))
    access = AccessMap(32, 1, (RowMap(32, 1), RowMap(32, 1)), granule=4, buffered=True)
    planned = plan(graph, [Selection(0, None, Lowered(access), "test")])
    assert planned.arena_bytes == planned.lower_bound_bytes == 64


def test_a_large_output_lies_on_several_dying_inputs() -> None:
    """One output of 64 B may take the bytes of both 32 B inputs, read before anything is written."""
    net = Network()
    x, y = net.input(1, 32), net.input(1, 32)
    graph = net.graph(net.op(OpKind.ADD, (x, y), (1, 64), net.ops[0].attrs if net.ops else window(1)))
    access = AccessMap(1, 64, (RowMap(1, 32), RowMap(1, 32)), buffered=True)
    planned = plan(graph, [Selection(0, None, Lowered(access), "test")])
    assert planned.arena_bytes == planned.lower_bound_bytes == 64


def test_a_tensor_read_twice_obeys_both_maps() -> None:
    net = Network()
    x = net.input(1, 8, 4, 1)
    graph = net.graph(net.add(x, x))
    ahead, behind = RowMap(8, 4, 1, 0, 0), RowMap(8, 4, 1, -3, -3)
    for maps in ((ahead, behind), (behind, ahead)):
        access = AccessMap(8, 4, maps, buffered=True)
        planned = plan(graph, [Selection(0, None, Lowered(access), "test")])
        assert planned.arena_bytes == planned.lower_bound_bytes == 32 + 3 * 4 - 0


def test_sizes_are_rounded_up_and_scratch_is_aligned() -> None:
    net = Network()
    x = net.input(1, 5)
    graph = net.graph(net.dense(net.dense(x, 3), 7))
    selections = [
        Selection(i, None, Lowered(access_of(graph, op), scratch_bytes=bytes_), "test")
        for i, (op, bytes_) in enumerate(zip(graph.ops, (6, 1), strict=True))
    ]
    planned = plan(graph, selections)
    assert {b.size_bytes for b in planned.buffers if b.kind is BufferKind.SCRATCH} == {8, 4}
    assert all(b.offset % (8 if b.kind is BufferKind.SCRATCH else 4) == 0 for b in planned.buffers)
    assert planned.lower_bound_bytes == 8 + 4 + 8
    assert planned.arena_bytes == 20


def test_graphs_without_code() -> None:
    net = Network()
    x = net.input(1, 6)
    view = net.reshape(x, 1, 3, 2, 1)
    for graph in (net.graph(view), Network().graph()):
        planned = plan(graph, lower(graph))
        assert planned.stages == ()
        assert (
            planned.arena_bytes
            == planned.lower_bound_bytes
            == sum(graph.tensors[t].elements + 2 for t in graph.inputs)
        )
    assert _same(net.graph(view), lower(net.graph(view)), plan(net.graph(view), lower(net.graph(view))))


def test_timeline_lists_the_live_buffers_of_every_stage() -> None:
    graph, selections = _chain()
    planned = plan(graph, selections)
    stages = timeline(planned)
    assert len(stages) == 3
    for stage, buffers in enumerate(stages):
        names = {graph.tensors[t].name for t in (graph.ops[stage].inputs[0], graph.ops[stage].outputs[0])}
        assert {b.name for b in buffers} == names
        assert [b.offset for b in buffers] == sorted(b.offset for b in buffers)


# -- order --------------------------------------------------------------------------------------


def test_search_runs_the_branch_that_frees_memory_first() -> None:
    """In file order both wide tensors are live at once; depth first, one of them is."""
    net = Network()
    x = net.input(1, 4, 4, 1)
    wide = [net.conv(x, 64, window(1)) for _ in range(4)]
    narrow = [net.conv(w, 1, window(1)) for w in wide]
    y = net.add(net.add(narrow[0], narrow[1]), net.add(narrow[2], narrow[3]))
    graph = net.graph(y)
    selections = lower(graph, 1, scratch=False)
    searched, in_file_order = plan(graph, selections), plan(graph, selections, order="file")
    assert in_file_order.arena_bytes >= 4 * 1024
    assert searched.arena_bytes <= 1024 + 4 * 16 + 16
    assert _same(graph, selections, searched)


def test_chains_need_no_search_and_wide_networks_a_bounded_one() -> None:
    net = Network()
    x = net.input(1, 16, 16, 4)
    for _ in range(150):  # inverted residuals
        y = net.conv(x, 8, window(1))
        y = net.depthwise(y, window(3))
        x = net.add(net.conv(y, 4, window(1)), x)
    wide = [net.conv(x, 1 + i % 7, window(1)) for i in range(24)]  # too wide for an exact order
    tops = [net.mean(net.conv(w, 3, window(1))) for w in wide]
    total = tops[0]
    for top in tops[1:]:
        total = net.add(total, top)
    graph = net.graph(total)
    selections = lower(graph, 3)
    search = orders._Search(Flow.of(graph, selections))
    in_file_order = orders.peak_bytes(search.flow, range(len(search.flow.nodes)))
    orders._best_first(search, search.floor(), in_file_order)
    assert search.effort < 3 * orders.EFFORT  # moves weighed: the exact search gave way to the beam
    planned = plan(graph, selections)
    assert planned.arena_bytes >= planned.lower_bound_bytes


# -- defects of public engines (design §5) ------------------------------------------------------


def test_equal_lifetimes_are_not_disjoint() -> None:
    """Two tensors written together and read together, as in `[(0, 2, 100), (0, 2, 64)]`."""
    net = Network()
    x, y = net.input(1, 100), net.input(1, 64)
    graph = net.graph(net.add(net.dense(x, 8), net.dense(y, 8)), x, y)
    selections = lower(graph, scratch=False)
    a, b = (plan(graph, selections).buffer_of(t) for t in (x, y))
    assert (a.first, a.last) == (b.first, b.last)
    assert a.offset >= b.offset + 64 or b.offset >= a.offset + 100


def test_in_place_waits_for_the_last_reader() -> None:
    """A depthwise output may not overwrite an input that a residual still needs."""
    net = Network()
    x = net.conv(net.input(1, 6, 6, 4), 4, window(1))
    y = net.depthwise(x, window(3))
    graph = net.graph(net.add(x, y))
    selections = lower(graph, 2, scratch=False)
    planned = plan(graph, selections)
    a, b = planned.buffer_of(x), planned.buffer_of(y)
    assert a.offset + a.size_bytes <= b.offset or b.offset + b.size_bytes <= a.offset
    assert _same(graph, selections, planned)


def test_scratch_shares_memory_between_stages() -> None:
    """Scratch is part of the arena and lives for one stage; maxima are not added up."""
    net = Network()
    x = net.input(1, 1000)
    y = net.dense(x, 8)
    graph = net.graph(net.dense(y, 8))
    scratch = (8, 800)  # the large scratch belongs where the tensors are small
    selections = [
        Selection(i, None, Lowered(access_of(graph, op), scratch_bytes=s), "test")
        for i, (op, s) in enumerate(zip(graph.ops, scratch, strict=True))
    ]
    assert plan(graph, selections).arena_bytes == 1000 + 8 + 8


def test_the_image_counts() -> None:
    net = Network()
    x = net.input(1, 32, 32, 3)
    graph = net.graph(net.dense(net.mean(x), 2))
    assert plan(graph, lower(graph)).arena_bytes >= 32 * 32 * 3


# -- bugs of callers ----------------------------------------------------------------------------


def test_a_map_that_does_not_describe_its_tensors_is_refused() -> None:
    graph, selections = _chain()
    first = selections[0].lowered
    assert first is not None
    for access in (
        dataclasses.replace(first.access, rows=7),
        dataclasses.replace(first.access, inputs=()),
        dataclasses.replace(first.access, inputs=(RowMap(8, 31),)),
        dataclasses.replace(first.access, inputs=(RowMap(8, 32, -1, 7, 7),)),
    ):
        wrong = dataclasses.replace(selections[0], lowered=dataclasses.replace(first, access=access))
        with pytest.raises(PlanError, match="access map"):
            plan(graph, [wrong, *selections[1:]])


def test_graphs_in_no_executable_order_are_refused() -> None:
    graph, selections = _chain()
    backwards = graph.replace(ops=graph.ops[::-1])
    with pytest.raises(PlanError, match="before they are written"):
        plan(backwards, [dataclasses.replace(s, op=2 - s.op) for s in selections[::-1]])
    with pytest.raises(PlanError, match="one selection per operator"):
        plan(graph, selections[1:])


def test_asymmetric_padding_moves_the_distance() -> None:
    """Rows above the image cost overlap, rows below it do not."""
    arenas = {}
    for top in (0, 2):
        net = Network()
        x = net.input(1, 16, 4, 4)
        graph = net.graph(net.conv(x, 4, window(3, pads=Pads(top, 1, 2 - top, 1))))
        selections = [Selection(0, None, Lowered(access_of(graph, graph.ops[0], buffered=True)), "test")]
        planned = plan(graph, selections)
        assert _same(graph, selections, planned)
        arenas[top] = planned.arena_bytes
    assert arenas == {0: 256, 2: 256 + 2 * 16}
