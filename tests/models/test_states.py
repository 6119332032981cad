"""Networks that remember: several inferences in a row, on the host, in an emulator, and in the simulator."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.shared_models import shared_models
from tests.tflite_builder import ModelBuilder
from tinyml import boards, planner, reference
from tinyml.build import compile_model, generate, open_target
from tinyml.errors import ModelError
from tinyml.oracle import Oracle
from tinyml.planner.simulate import simulate
from tinyml.readers import read_model
from tinyml.run.target import Target
from tinyml.verify import verify

STEPS = 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two LSTM layers and a dense one."""
    b = ModelBuilder(5)
    x = b.input((1, 6, 9), 0.03)
    b.output(b.fully_connected(b.lstm(b.lstm(x, 12), 7, cell_exponent=-10), 5, keep_num_dims=True))
    return b.save(tmp_path / "memory.tflite")


@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_a_sequence_equals_litert(model: Path, board: str, tmp_path: Path) -> None:
    compiled = compile_model(model, boards.load(board))
    assert sum(compiled.graph.tensors[s.tensor].size_bytes for s in compiled.graph.states) == 3 * (12 + 7)
    with open_target(compiled, tmp_path / "out") as target:
        assert target.info.stateful
        report = verify(model, target, samples=STEPS)
        assert report.mismatched_samples == 0
        _remembers_until_reset(target)


def _remembers_until_reset(target: Target) -> None:
    sample = [np.full((1, 6, 9), 50, np.int8)]
    target.reset_states()
    first, second = (target.infer(sample).outputs[0].tobytes() for _ in range(2))
    target.reset_states()
    assert target.infer(sample).outputs[0].tobytes() == first != second


@pytest.mark.parametrize("path", shared_models("lstm_mnist"))
@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_a_real_lstm_equals_litert(path: Path, board: str, tmp_path: Path) -> None:
    compiled = compile_model(path, boards.load(board))
    with open_target(compiled, tmp_path) as target:
        assert verify(path, target, samples=STEPS).mismatched_samples == 0


def test_the_first_layer_that_differs_is_found_in_a_sequence(model: Path, tmp_path: Path) -> None:
    compiled = compile_model(model, boards.load("host"))
    with open_target(compiled, tmp_path / "out") as target:
        report = verify(model, _Wrong(target), samples=STEPS)
    mismatch = report.first_mismatch
    assert report.mismatched_samples == 1  # the sample behind it begins with the right states again
    assert mismatch is not None
    assert mismatch.sample == 2
    assert mismatch.layer is None  # the library itself is right when the samples are repeated
    assert "no layer differed" in mismatch.note


class _Wrong:
    """A target whose third inference is wrong, and right when it is repeated."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._inferences = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def infer(self, inputs: list[np.ndarray]) -> object:
        inference = self._target.infer(inputs)
        self._inferences += 1
        if self._inferences != 3:
            return inference
        return dataclasses.replace(inference, outputs=tuple(o ^ 1 for o in inference.outputs))


def test_the_plan_keeps_the_states(model: Path) -> None:
    compiled = compile_model(model, boards.load("host"))
    graph, plan = compiled.graph, compiled.plan
    planner.check(graph, compiled.selections, plan)
    oracle = Oracle(model)
    expected, simulated = graph.initial_states(), graph.initial_states()
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        x = {graph.inputs[0]: rng.integers(-128, 128, (1, 6, 9)).astype(np.int8)}
        (wanted,) = oracle.run([x[graph.inputs[0]]])
        values = reference.run(graph, x, expected)
        outputs = simulate(graph, compiled.selections, plan, x, states=simulated)
        np.testing.assert_array_equal(values[graph.outputs[0]], wanted)
        np.testing.assert_array_equal(outputs[graph.outputs[0]], wanted)
        assert all(np.array_equal(expected[t], simulated[t]) for t in expected)


def test_a_state_may_not_be_overwritten(model: Path) -> None:
    compiled = compile_model(model, boards.load("host"))
    graph, plan = compiled.graph, compiled.plan
    state = plan.buffer_of(graph.states[1].tensor)
    buffers = tuple(dataclasses.replace(b, first=0, last=0) if b is state else b for b in plan.buffers)
    with pytest.raises(planner.PlanError, match="state, is used in stage"):
        planner.check(graph, compiled.selections, dataclasses.replace(plan, buffers=buffers))


def test_the_header_says_what_is_remembered(model: Path, tmp_path: Path) -> None:
    generate(compile_model(model, boards.load("stm32f746")), tmp_path)
    header = (tmp_path / "lib/memory/src/memory.h").read_text()
    assert "#define MEMORY_STATE_BYTES 57" in header
    assert "void memory_reset(void *arena);" in header


def _streaming(tmp_path: Path) -> Path:
    """A leaky sum, and a delay line of two steps, over what comes in."""
    b = ModelBuilder(3)
    x = b.input((1, 4, 5), 0.1, 3)
    total = b.variable(np.full((1, 4, 5), -7, np.int8), 0.1, 3)
    older = b.variable(np.arange(20, dtype=np.int8).reshape(1, 4, 5), 0.1, 3)
    newer = b.variable(np.full((1, 4, 5), 3, np.int8), 0.1, 3)
    before = [b.read_variable(v, (1, 4, 5), 0.1, 3) for v in (total, older, newer)]
    half = b.constant(np.array([64], np.int8), 1 / 128)
    y = b.add(b.mul(before[0], half), x, out_scale=0.1, out_zero_point=3)
    b.assign_variable(total, y)
    b.assign_variable(older, before[2])
    b.assign_variable(newer, x)
    again = b.read_variable(total, (1, 4, 5), 0.1, 3)  # what has just been assigned
    b.output(b.add(again, before[1]))
    return b.save(tmp_path / "streaming.tflite")


@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_variables_equal_litert(board: str, tmp_path: Path) -> None:
    model = _streaming(tmp_path)
    compiled = compile_model(model, boards.load(board))
    assert len(compiled.graph.states) == 3
    with open_target(compiled, tmp_path / "out") as target:
        assert verify(model, target, samples=6).mismatched_samples == 0


def test_svdf_remembers_its_features(tmp_path: Path) -> None:
    b = ModelBuilder(4)
    x = b.input((1, 20), 0.05)
    b.output(b.svdf(b.svdf(x, 12, rank=2, memory=5), 6, memory=3))
    model = b.save(tmp_path / "svdf.tflite")
    with open_target(compile_model(model, boards.load("host")), tmp_path / "out") as target:
        assert verify(model, target, samples=8).mismatched_samples == 0


def test_variables_are_checked(tmp_path: Path) -> None:
    for number, (spoil, message) in enumerate(_SPOILT):
        b = ModelBuilder(3)
        x = b.input((1, 4), 0.1, 3)
        handle = b.variable(np.zeros((1, 4), np.int8), 0.1, 3)
        value = b.read_variable(handle, (1, 4), 0.1, 3)
        y = b.add(x, value, out_scale=0.1, out_zero_point=3)
        b.assign_variable(handle, y)
        b.output(y)
        spoil(b)
        with pytest.raises(ModelError, match=message):
            read_model(b.save(tmp_path / f"spoilt{number}.tflite"))


def _no_call(b: ModelBuilder) -> None:
    b.operators = [op for op in b.operators if op.name != "CALL_ONCE"]
    b.others.clear()


_SPOILT = (
    (_no_call, "no first value"),
    (lambda b: b.others[0].operators.pop(), "no first value"),
    (lambda b: b.others.append(ModelBuilder(1)), "3 subgraphs"),
    (lambda b: b.operators[0].options.update(InitSubgraphIndex=7), "calls subgraph 7"),
    (lambda b: b.operators[1].outputs.clear(), "0 inputs and 0 outputs"),
    (lambda b: setattr(b.others[0].tensors[1], "data", b"123"), "first value has|bytes of data"),
    (lambda b: setattr(b.operators[-1], "inputs", [0, 0]), "has no variable"),
)
