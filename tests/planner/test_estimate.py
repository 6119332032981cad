"""What streaming is reckoned to cost: every piece of work has a rate, and the fit finds known ones."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.planner.networks import Network, chain_network, window
from tinyml import boards, planner
from tinyml.build import Compiled
from tinyml.kernels.registry import Isa
from tinyml.planner import estimate, place_stages
from tinyml.planner.lifetimes import Flow
from tinyml.planner.plan import Cost
from tinyml.planner.stages import StageSearch
from tinyml.planner.stream import RowOp, row_op
from tinyml.select import select

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import fit_streaming  # noqa: E402


def _depthwise(*, single: bool) -> RowOp:
    graph = chain_network()
    call = row_op(graph, select(graph, (Isa.DSP, Isa.C))[1], single_rows=single)
    assert call is not None
    return call


def test_every_piece_of_work_has_a_rate() -> None:
    graph = chain_network()
    selections = select(graph, (Isa.DSP, Isa.C))
    pairs, single = _depthwise(single=False), _depthwise(single=True)
    work = estimate.streamed_work(pairs, single, 1, 10) + estimate.less_scratch_work(single, 1)
    for selection in selections:
        op = row_op(graph, selection)
        assert op is not None
        work += estimate.streamed_work(op, op, 2, 10) + estimate.less_scratch_work(op, 2)
        work += estimate.layer_work(graph, selection)
    assert set(work) <= set(estimate.RATES)
    assert min(estimate.RATES.values()) >= 0
    assert estimate.instructions(work) > 0
    assert set(estimate.TABLE) >= {"command", "board", "stages", "stage_error", "unseen"}


def test_single_rows_cost_more_than_pairs() -> None:
    """By multiply-accumulates, by calls and by channels that are set up once more."""
    pairs, single = _depthwise(single=False), _depthwise(single=True)
    assert pairs.access.granule == 2
    assert estimate.streamed_work(pairs, pairs, 1, 0) == {"calls": 6}
    assert estimate.streamed_work(pairs, single, 1, 0) == {
        "calls": 12,
        "single-row macs, stride 1": 12 * 9 * 16 * 9,
        "single-row channels": 12 * 16,
    }
    assert estimate.streamed_work(pairs, single, 3, 7)["depthwise macs again"] == 7
    assert set(estimate.less_scratch_work(pairs, 1)) == {"tiled macs"}
    assert set(estimate.less_scratch_work(single, 1)) == {"tiled single-row macs"}


def test_recomputed_work_may_cost_what_the_network_costs_and_no_more() -> None:
    """The limit holds per multiply-accumulate, so a plan with more of them may take more instructions."""
    net = Network()
    graph = net.graph(net.conv(net.input(1, 10, 10, 8), 16, window(3)))
    selections = select(graph, (Isa.C,))
    alone = estimate.instructions(estimate.layer_work(graph, selections[0]))
    assert selections[0].lowered is not None
    macs = selections[0].lowered.macs
    costs = [
        Cost(0, 0, int(0.09 * alone)),
        Cost(0, 0, int(0.11 * alone)),
        Cost(0, macs, int(1.19 * alone)),
        Cost(0, macs, int(1.21 * alone)),
    ]
    assert estimate.within(costs, graph, selections, 0.1) == [True, False, True, False]


def test_the_fit_finds_the_rates_of_what_was_made_with_them() -> None:
    rng = random.Random(0)
    rates = {"a": 2.5, "b": 0.0, "c": 40.0}
    points = []
    for i in range(30):
        work = Counter({name: rng.randint(1, 1000) for name in rates})
        made = sum(rates[name] * amount for name, amount in work.items())
        points.append(
            fit_streaming.Point(f"net{i % 3}", 1 + i % 5, work, round(made), rng.randint(1000, 9000))
        )
    found = fit_streaming.fit(points)
    assert found == pytest.approx(rates, rel=0.01, abs=0.01)
    assert abs(fit_streaming.errors(points, found)).max() < 0.01
    # Work that takes instructions away has no rate below zero.
    negative = [fit_streaming.Point("net", 1, Counter(a=1, b=n), 100 - n, 100) for n in range(5)]
    assert fit_streaming.fit(negative)["b"] == 0


def test_the_work_of_a_planned_stage_is_what_the_search_reckoned_with() -> None:
    """tools/fit_streaming.py counts from the plan what StageSearch adds up from its candidates."""
    graph = chain_network()
    selections = tuple(select(graph, (Isa.DSP, Isa.C)))
    board = boards.load(fit_streaming.BOARD)
    compiled = Compiled(Path("chain"), graph, selections, planner.plan(graph, selections), board)
    flow = Flow.of(compiled.graph, compiled.selections)
    search = StageSearch(compiled.graph, compiled.selections, flow, range(len(flow.nodes)))
    streamed = 0
    for cut in search.front():
        planned = place_stages(compiled.graph, compiled.selections, search, cut.stages())
        works = [fit_streaming.stage_work(compiled, s) for s in planned.stages if s.streamed]
        reckoned = sum(map(estimate.instructions, works))
        assert cut.cost.extra_instructions == pytest.approx(reckoned, rel=0.001, abs=len(works))
        streamed += len(works)
    assert streamed > 0
