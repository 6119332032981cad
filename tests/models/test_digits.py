"""The example network on everything that can run here: this computer, emulated boards and twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.painted_stack import assert_within_bound
from tinyml import boards
from tinyml.build import Planning, build, compile_model, open_target
from tinyml.verify import verify

RUNNABLE = [board.id for board in boards.all_boards() if board.is_host or board.emulated() is not None]


@pytest.mark.parametrize("board", RUNNABLE)
def test_digits_equal_litert(board: str, digits_model: Path, digits_data: Path, tmp_path: Path) -> None:
    compiled = compile_model(digits_model, boards.load(board))
    with open_target(compiled, tmp_path / "project", toolchain="gcc") as target:
        assert target.info.model_sha256 == compiled.graph.sha256
        report = verify(digits_model, target, data=digits_data, samples=360 if board == "host" else 12)
    assert report.mismatched_samples == 0, report.first_mismatch
    assert report.accuracy == report.reference_accuracy
    assert report.accuracy is not None
    assert report.accuracy > 0.9


@pytest.mark.parametrize("board", ["host", "mps2-an386", "stm32f746", "microbit"])
def test_streamed_digits_equal_litert(
    board: str, digits_model: Path, digits_data: Path, tmp_path: Path
) -> None:
    compiled = compile_model(digits_model, boards.load(board), Planning(schedule="stream"))
    assert max(len(stage.ops) for stage in compiled.plan.stages) > 2
    layered = compile_model(digits_model, boards.load(board), Planning(schedule="layer"))
    assert compiled.plan.arena_bytes < layered.plan.arena_bytes
    with open_target(compiled, tmp_path / "project", toolchain="gcc") as target:
        report = verify(digits_model, target, data=digits_data, samples=360 if board == "host" else 12)
    assert report.mismatched_samples == 0, report.first_mismatch


@pytest.mark.parametrize("board", ["mps2-an386", "stm32f746", "microbit"])
def test_the_stack_of_nested_calls_is_bounded(board: str, digits_model: Path, tmp_path: Path) -> None:
    """Streamed operators call each other, directly, without recursion: the bound holds what was painted."""
    compiled = compile_model(digits_model, boards.load(board), Planning(schedule="stream"))
    report = build(compiled, tmp_path / "built", toolchain="gcc")
    assert report.ram.stack_bytes is not None

    with open_target(compiled, tmp_path / "run", toolchain="gcc") as target:
        inputs = [np.zeros(compiled.graph.tensors[i].shape, np.int8) for i in compiled.graph.inputs]
        bound = assert_within_bound(compiled, tmp_path / "run", target.infer(inputs).stack_free)
    assert f"{compiled.graph.name}_invoke" in bound.path


def test_every_board_that_ships_can_be_tried_without_hardware() -> None:
    assert sorted(RUNNABLE) == boards.board_ids()
