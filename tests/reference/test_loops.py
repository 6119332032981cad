"""Loops against LiteRT, byte for byte: recurrent layers as converters lower them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.recurrent_loops import Layer, recurrent
from tests.reference.cases import Case
from tinyml import passes, reference
from tinyml.graph import LoopAttrs
from tinyml.kernels.registry import Isa
from tinyml.oracle import Oracle
from tinyml.planner import plan
from tinyml.planner.simulate import simulate
from tinyml.readers import read_model
from tinyml.select import select

SEEDS = 6


@pytest.mark.parametrize(
    ("kind", "returns"),
    [("gru", "state"), ("gru", "sequence"), ("lstm", "state"), ("lstm", "sequence"), ("lstm", "cell")],
)
def test_equals_litert(kind: str, returns: str, tmp_path: Path) -> None:
    """As read, after all passes, and as planned, with every dead byte poisoned."""
    distinct: set[int] = set()
    for seed in range(SEEDS):
        c = Case(seed)
        floats = c.flip()
        layer = Layer(
            kind,
            c.below(8, 20),
            returns,
            writes=str(c.pick("join", "update")),
            reads=str(c.pick("gather", "slice")),
            floats=floats,
            converted=floats and c.flip(),
            backwards=c.flip(),
            counted_down=c.flip(),
        )
        steps = c.below(1, 6)
        x = c.input((1, steps, c.below(1, 12)), c.log_scale(-2, -1))
        c.output(recurrent(c, c.reshape(x, (steps, 1, c.shape(x)[2])), layer))
        path = c.save(tmp_path / "case.tflite")
        source = read_model(path)
        graph = passes.run(source)
        (loop,) = (op for op in graph.ops if isinstance(op.attrs, LoopAttrs))
        assert loop.attrs.steps == steps
        assert {t.dtype.value for t in loop.attrs.body.tensors} <= {"int8", "int32"}, layer
        selections = select(graph, (Isa.C,))
        planned = plan(graph, selections)
        rng = np.random.default_rng(seed)
        value = c.values(rng, source.tensors[source.inputs[0]])
        oracle = Oracle(path)
        (expected,) = oracle.run([value])
        outputs = [
            reference.run(source, {source.inputs[0]: value})[source.outputs[0]],
            reference.run(graph, {graph.inputs[0]: value})[graph.outputs[0]],
        ]
        if seed % 2:
            inputs = {graph.inputs[0]: value}
            outputs.append(simulate(graph, selections, planned, inputs, seed)[graph.outputs[0]])
        for output in outputs:
            np.testing.assert_array_equal(output, expected, err_msg=f"seed {seed}: {layer}", strict=True)
        distinct |= set(np.unique(expected).tolist())
    assert len(distinct) > 30  # the comparison is not between saturated outputs
