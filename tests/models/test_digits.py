"""The example network on everything that can run here: this computer, emulated boards and twins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyml import boards
from tinyml.build import compile_model, open_target
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


def test_every_board_that_ships_can_be_tried_without_hardware() -> None:
    assert sorted(RUNNABLE) == boards.board_ids()
