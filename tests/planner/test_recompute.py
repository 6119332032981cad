"""Gated maps computed twice: the same network, a smaller arena, its work counted."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planner.networks import Network, window
from tests.planner.test_stream import bounded
from tinyml import planner, reference
from tinyml.emit.context import model_context
from tinyml.graph import ActivationAttrs, Graph, OpKind, Pads, ReduceAttrs, WindowAttrs
from tinyml.kernels.registry import Isa
from tinyml.planner.recompute import compute_twice, gated_maps
from tinyml.planner.simulate import simulate
from tinyml.select import select


def _gated_block(net: Network, x: int, expanded: int, how: str) -> int:
    """An inverted residual with squeeze and excite, as MobileNetV3 has it."""
    _, h, w, c = net.shape(x)
    wide = net.depthwise(net.conv(x, expanded, window(1)), window(3))
    if how == "pool":
        mean = net.pool(wide, WindowAttrs(h, w, 1, 1, 1, 1, Pads()))
    elif how == "mean of columns, then of rows":
        rows = net.op(OpKind.MEAN, (wide,), (1, h, 1, expanded), ReduceAttrs((2,), keep_dims=True))
        mean = net.op(OpKind.MEAN, (rows,), (1, 1, 1, expanded), ReduceAttrs((1,), keep_dims=True))
    else:
        mean = net.op(OpKind.MEAN, (wide,), (1, 1, 1, expanded), ReduceAttrs((1, 2), keep_dims=True))
    gate = net.conv(net.conv(mean, 4, window(1)), expanded, window(1))
    gated = net.op(OpKind.MUL, (wide, gate), (1, h, w, expanded), ActivationAttrs())
    return net.add(x, net.conv(gated, c, window(1)))


def _network(seed: int) -> Graph:
    rng = random.Random(seed)
    net = Network(seed)
    x = net.input(1, rng.randint(6, 16), rng.randint(4, 12), rng.randint(2, 6))
    hows = ("pool", "mean", "mean of columns, then of rows")
    for _ in range(rng.randint(1, 3)):
        x = _gated_block(net, x, rng.randint(4, 24), rng.choice(hows))
    return net.graph(x)


@given(st.integers(0, 2**32), st.sampled_from([(Isa.C,), (Isa.DSP, Isa.C)]))
@bounded
def test_a_network_with_repeated_maps_is_the_same_network(seed: int, isas: tuple[Isa, ...]) -> None:
    graph = _network(seed)
    selections = select(graph, isas)
    rng = np.random.default_rng(seed)
    inputs = {t: rng.integers(-128, 128, graph.tensors[t].shape).astype(np.int8) for t in graph.inputs}
    expected = reference.run(graph, inputs)
    for tensor in gated_maps(graph):
        twice = compute_twice(graph, selections, tensor)
        assert twice is not None
        repeated, chosen, extra = twice
        assert extra > 0
        assert tensor not in gated_maps(repeated)
        assert [s.op for s in chosen] == list(range(len(repeated.ops)))
        actual = reference.run(repeated, inputs)
        assert all(np.array_equal(actual[t], expected[t]) for t in graph.outputs)
        planned = planner.plan(repeated, chosen, stream_above=0, objective="sram")
        simulated = simulate(repeated, chosen, planned, inputs)
        assert all(np.array_equal(simulated[t], expected[t]) for t in graph.outputs)


@pytest.mark.parametrize("how", ["pool", "mean", "mean of columns, then of rows"])
def test_a_wide_map_is_computed_twice_where_that_is_allowed(how: str) -> None:
    net = Network()
    graph = net.graph(_gated_block(net, net.input(1, 24, 24, 4), 32, how))
    selections = select(graph, (Isa.C,))
    macs = sum(s.lowered.macs for s in selections if s.lowered)

    def replan(graph: Graph, selections: list[object], *, max_extra_macs: int | None) -> planner.Plan:
        return planner.plan(
            graph,
            selections,  # type: ignore[arg-type]
            stream_above=0,
            objective="sram",
            max_extra_macs=max_extra_macs,
        )

    kept = replan(graph, selections, max_extra_macs=0)  # type: ignore[arg-type]
    assert kept.arena_bytes > 24 * 24 * 32
    _, _, same = planner.plan_gates(graph, selections, kept, replan, enough_bytes=0, max_extra_macs=0)
    assert same is kept
    twice, chosen, plan = planner.plan_gates(
        graph, selections, kept, replan, enough_bytes=0, max_extra_macs=None
    )
    assert plan.arena_bytes < 24 * 24 * 32 / 2
    assert plan.macs == macs
    assert 0 < plan.extra_macs < macs
    context = model_context(twice, chosen, plan, "test")
    before = model_context(graph, selections, kept, "test")
    assert context.constant_bytes <= before.constant_bytes + 64  # a row of zero points, but no weights twice
