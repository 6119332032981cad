"""Rows of zero points in the arena: the planner finds room, check and simulation object to any other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.kernels.dsp_cases import conv_graph
from tests.planner.networks import Network
from tinyml import reference
from tinyml.graph import Graph, OpKind, Pads, WindowAttrs
from tinyml.kernels.registry import Isa
from tinyml.planner import Fill, Plan, PlanError, check, outside, plan
from tinyml.planner.simulate import simulate
from tinyml.select import Selection, select

DSP = (Isa.DSP, Isa.C)


@pytest.fixture(autouse=True)
def rows_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "SHORT", 0)


def _below() -> tuple[Graph, list[Selection], Plan]:
    """A convolution that fills the arena and reads one row below its image; rows of the input are 192 B."""
    graph = conv_graph(in_shape=(13, 12, 16), out_c=8, kernel=(3, 3), pads=Pads(0, 1, 2, 1))
    selections = select(graph, DSP)
    return graph, selections, plan(graph, selections)


def _correct(graph: Graph, selections: list[Selection], planned: Plan) -> bool:
    rng = np.random.default_rng(1)
    inputs = {t: rng.integers(-128, 128, graph.tensors[t].shape, dtype=np.int8) for t in graph.inputs}
    expected = reference.run(graph, inputs)
    actual = simulate(graph, selections, planned, inputs)
    return all(np.array_equal(actual[t], expected[t]) for t in graph.outputs)


def _with(planned: Plan, **changes: int | None) -> Plan:
    (fill,) = planned.fills
    return dataclasses.replace(planned, fills=(dataclasses.replace(fill, **changes),))  # type: ignore[arg-type]


def test_a_row_of_the_input_that_has_been_read() -> None:
    graph, selections, planned = _below()
    (fill,) = planned.fills
    assert fill.fill_at is not None
    source = planned.buffer_of(graph.inputs[0])
    assert source.offset <= fill.offset
    assert fill.offset + fill.size_bytes <= source.offset + source.size_bytes
    check(graph, selections, planned)
    assert _correct(graph, selections, planned)


def test_bytes_that_nobody_has() -> None:
    """The first convolution needs an arena that leaves room beside the second."""
    net = Network()
    x = net.input(1, 12, 12, 4)
    y = net.conv(x, 24, WindowAttrs(1, 1))
    y = net.conv(y, 4, WindowAttrs(1, 1))
    graph = net.graph(net.conv(y, 4, WindowAttrs(3, 3, pads=Pads(1, 1, 1, 1))))
    selections = select(graph, DSP)
    planned = plan(graph, selections)
    (fill,) = planned.fills
    assert (fill.stage, fill.fill_at) == (2, None)
    assert _correct(graph, selections, planned)
    for buffer in planned.buffers:  # on each that is live then
        if buffer.first <= fill.stage <= buffer.last:
            broken = _with(planned, offset=buffer.offset)
            with pytest.raises(PlanError, match=r"zero points .* meet buffer"):
                check(graph, selections, broken)


def test_check_and_simulation_agree_wherever_and_whenever_the_row_is_filled() -> None:
    graph, selections, planned = _below()
    (fill,) = planned.fills
    lowered = selections[0].lowered
    assert lowered is not None
    accepted = set()
    last = planned.arena_bytes - fill.size_bytes
    for fill_at in range(0, lowered.access.rows, lowered.access.granule):
        for offset in sorted({*range(0, last, 160), fill.offset, last}):
            moved = _with(planned, offset=offset, fill_at=fill_at)
            try:
                check(graph, selections, moved)
                accepted.add((offset, fill_at))
            except PlanError:
                assert not _correct(graph, selections, moved), (offset, fill_at)
            else:
                assert _correct(graph, selections, moved), (offset, fill_at)
    assert (fill.offset, fill.fill_at) in accepted
    assert 1 < len(accepted) < 100
    assert lowered.loop is not None
    calls = range(0, lowered.access.rows, lowered.access.granule)
    assert max(at for _, at in accepted) == next(r for r in calls if lowered.loop.reaches_outside(r))
    assert min(at for _, at in accepted) > 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"fill_at": None}, "meet buffer"),
        ({"fill_at": 1000}, "no call begins"),
        ({"value": 7}, "of value 7 are not a row"),
        ({"size_bytes": 188}, "are not a row of 192 B"),
        ({"offset": -192}, "leave the arena"),
        ({"offset": 1 << 20}, "leave the arena"),
        ({"stage": 1}, r"filled in stages \[1\], of 1"),
    ],
)
def test_every_condition_is_checked(changes: dict[str, int | None], complaint: str) -> None:
    graph, selections, planned = _below()
    with pytest.raises(PlanError, match=complaint):
        check(graph, selections, _with(planned, **changes))


def test_one_row_per_stage_and_only_where_it_is_wanted() -> None:
    graph, selections, planned = _below()
    twice = dataclasses.replace(planned, fills=planned.fills * 2)
    with pytest.raises(PlanError, match="one in each at most"):
        check(graph, selections, twice)
    net = Network()
    graph = net.graph(net.conv(net.input(1, 8, 8, 4), 8, WindowAttrs(1, 1)))
    selections = select(graph, DSP)
    planned = plan(graph, selections)
    assert graph.ops[0].kind is OpKind.CONV_2D
    assert planned.fills == ()
    with pytest.raises(PlanError, match=r"are not a row|wants none"):
        check(graph, selections, dataclasses.replace(planned, fills=(Fill(0, 0, 0, 4),)))


def test_an_input_that_is_needed_afterwards_is_not_filled() -> None:
    """The row would have been read for the last time by this operator, but not by all."""
    net = Network()
    x = net.input(1, 13, 12, 16)
    y = net.conv(x, 48, WindowAttrs(3, 3, pads=Pads(0, 1, 2, 1)))
    z = net.conv(x, 8, WindowAttrs(1, 1))
    graph = net.graph(y, z)
    selections = select(graph, DSP)
    planned = plan(graph, selections, order="file")
    source = planned.buffer_of(x)
    assert all(fill.offset >= source.offset + source.size_bytes or fill.stage > 0 for fill in planned.fills)
    lowered = selections[0].lowered
    assert lowered is not None
    assert lowered.loop is not None
    fill = Fill(0, source.offset, lowered.loop.pad_value or 0, lowered.loop.in_row_bytes, 11)
    broken = dataclasses.replace(planned, fills=(fill,))
    with pytest.raises(PlanError, match="needed afterwards"):
        check(graph, selections, broken)
    assert not _correct(graph, selections, broken)
