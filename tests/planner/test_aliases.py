"""Parts and joins that need no memory of their own: where they lie, and that check and simulator notice."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.networks import (
    Network,
    NotStreamable,
    forced_stages,
    image_network,
    lower,
    random_graph,
    window,
)
from tests.planner.test_plan import _same, bounded
from tinyml.graph import Graph, OpKind, SliceAttrs
from tinyml.kernels.registry import Isa
from tinyml.planner import Plan, PlanError, check, plan
from tinyml.select import Selection, copies, select

C = (Isa.C,)


def _planned(graph: Graph, copied: frozenset[OpKind] = frozenset()) -> tuple[list[Selection], Plan]:
    selections = select(graph, C, copied=copied)
    planned = plan(graph, selections)
    assert _same(graph, selections, planned)
    return selections, planned


def test_parts_lie_in_their_input_and_joined_tensors_in_their_output() -> None:
    net = Network()
    x = net.conv(net.input(1, 8, 6, 4), 4, window(3))
    top, bottom = net.slice(x, 1, 0, 3), net.slice(x, 1, 3, 5)
    a, b = net.conv(bottom, 8, window(3)), net.conv(top, 8, window(1))
    y = net.concat([a, b], 1)
    graph = net.graph(net.conv(y, 2, window(1)))
    selections, planned = _planned(graph)
    kinds = [op.kind for op, s in zip(graph.ops, selections, strict=True) if s.lowered is None]
    assert kinds == [OpKind.SLICE, OpKind.SLICE, OpKind.CONCATENATION]
    assert planned.offset_of(top) == planned.offset_of(x)
    assert planned.offset_of(bottom) == planned.offset_of(x) + 3 * 6 * 4
    assert planned.offset_of(a) == planned.offset_of(y)
    assert planned.offset_of(b) == planned.offset_of(y) + 5 * 6 * 8
    _, copying = _planned(graph, copies(selections, graph))
    assert planned.arena_bytes < copying.arena_bytes
    assert len(planned.stages) == len(copying.stages) - 3


def test_a_split_whose_halves_are_joined_again() -> None:
    """One half goes around the operators: its bytes are then no part of the join, which copies it."""
    net = Network()
    x = net.conv(net.input(1, 4, 4, 4), 8, window(1))
    left, right = net.slice(x, 1, 0, 2), net.slice(x, 1, 2, 2)
    y = net.concat([right, net.conv(left, 8, window(3))], 1)
    selections, _ = _planned(net.graph(net.conv(y, 2, window(1))))
    assert [s.lowered is None for s in selections] == [False, True, True, False, False, False]


@pytest.mark.parametrize("axis", [2, 3])
def test_columns_and_channels_do_not_lie_in_one_run(axis: int) -> None:
    net = Network()
    x = net.requantize(net.input(1, 4, 4, 4))
    y = net.concat([net.slice(x, axis, 0, 2), net.requantize(net.slice(x, axis, 2, 2))], axis)
    selections, _ = _planned(net.graph(net.requantize(y)))
    assert all(s.lowered is not None for s in selections)


def test_parts_off_the_alignment_are_copied() -> None:
    net = Network()
    x = net.requantize(net.input(1, 4, 3, 1))
    selections, _ = _planned(net.graph(net.requantize(net.slice(x, 1, 1, 2))))
    assert selections[1].lowered is not None


def _joined() -> tuple[Graph, list[Selection], Plan]:
    net = Network()
    x = net.input(1, 4, 4, 4)
    parts = [net.conv(x, 4, window(3)), net.conv(x, 4, window(1))]
    graph = net.graph(net.conv(net.slice(net.concat(parts, 1), 1, 2, 4), 4, window(1)))
    selections, planned = _planned(graph)
    return graph, selections, planned


def test_misplaced_views_are_noticed() -> None:
    graph, selections, planned = _joined()
    index = next(i for i, b in enumerate(planned.buffers) if b.places)
    buffer = planned.buffers[index]

    def moved(tensor: int, by: int) -> Plan:
        places = tuple(p + by * (t == tensor) for t, p in zip(buffer.tensors, buffer.places, strict=True))
        changed = dataclasses.replace(buffer, places=places, size_bytes=buffer.size_bytes + abs(by))
        buffers = (*planned.buffers[:index], changed, *planned.buffers[index + 1 :])
        end = max(b.offset + b.size_bytes for b in buffers)
        return dataclasses.replace(planned, buffers=buffers, arena_bytes=max(end, planned.arena_bytes))

    second = graph.ops[1].outputs[0]
    part = graph.ops[3].outputs[0]
    with pytest.raises(PlanError, match="its bytes are not where"):
        check(graph, selections, moved(second, -4))
    with pytest.raises(PlanError, match="its bytes are not where"):
        check(graph, selections, moved(second, 4))
    with pytest.raises(PlanError, match="its bytes are not where"):
        check(graph, selections, moved(part, -4))
    with pytest.raises(PlanError, match="not aligned to 4"):
        check(graph, selections, moved(part, 1))
    assert not _same(graph, selections, moved(part, -4))
    assert not _same(graph, selections, moved(second, -4))


def test_a_part_of_other_elements_is_no_view() -> None:
    graph, selections, planned = _joined()
    op = graph.ops[3]
    assert isinstance(op.attrs, SliceAttrs)
    turned = dataclasses.replace(
        op, attrs=dataclasses.replace(op.attrs, steps=(1, 1, -1, 1), begin=(0, 2, 3, 0))
    )
    other = graph.replace(ops=(*graph.ops[:3], turned, graph.ops[4]))
    with pytest.raises(PlanError, match="its bytes are not where"):
        check(other, selections, planned)


@given(st.integers(0, 2**32), st.integers(2, 14))
@bounded
def test_random_networks_with_views(seed: int, steps: int) -> None:
    graph = random_graph(random.Random(seed), steps)
    selections = lower(graph, seed)
    planned = plan(graph, selections)
    check(graph, selections, planned)
    assert _same(graph, selections, planned, seed)


@given(st.integers(0, 2**32))
@bounded
def test_streamed_networks_with_joins(seed: int) -> None:
    rng = random.Random(seed)
    graph = image_network(rng, rng.randint(1, 5), joins=True)
    selections = select(graph, (Isa.DSP, Isa.C) if seed % 2 else C, copied=_some(rng))
    smallest = plan(graph, selections, stream_above=0)
    assert _same(graph, selections, smallest, seed)
    try:
        forced = forced_stages(graph, selections, rng, longest=seed % 2 == 0)
    except NotStreamable:
        return
    check(graph, selections, forced)
    assert _same(graph, selections, forced, seed)


def _some(rng: random.Random) -> frozenset[OpKind]:
    return frozenset(kind for kind in (OpKind.CONCATENATION, OpKind.SLICE) if rng.random() < 0.3)


def test_joined_channels_are_streamed() -> None:
    net = Network()
    x = net.input(1, 16, 16, 4)
    for _ in range(3):  # a dense block
        x = net.concat([x, net.conv(net.conv(x, 8, window(1)), 4, window(3))], 3)
    graph = net.graph(net.pool(net.slice(x, 3, 2, 8), window((2, 2), 2)))
    selections = select(graph, C)
    layered = plan(graph, selections)
    streamed = plan(graph, selections, stream_above=0)
    assert streamed.arena_bytes < layered.arena_bytes
    (longest,) = (s.ops for s in streamed.stages if len(s.ops) == max(len(t.ops) for t in streamed.stages))
    assert {graph.ops[op].kind for op in longest} >= {OpKind.CONCATENATION, OpKind.SLICE, OpKind.CONV_2D}
    assert _same(graph, selections, streamed)
    assert np.prod(graph.tensors[graph.inputs[0]].shape) < streamed.arena_bytes
