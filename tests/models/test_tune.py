"""Tuning keeps the fastest kernel that accepts a layer, measured, whatever the registry's order."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tinyml import boards, tune
from tinyml.build import Planning, compile_model, open_target
from tinyml.cli.app import cli
from tinyml.errors import DoesNotFit, TargetError
from tinyml.kernels import KERNELS
from tinyml.tune import Measurement
from tinyml.verify import verify

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)
BOARD = "mps2-an386"


def test_the_fastest_kernel_is_found_behind_slower_ones(
    digits_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = boards.load(BOARD)
    usual = compile_model(digits_model, board)
    monkeypatch.setattr("tinyml.select.KERNELS", tuple(reversed(KERNELS)))
    slow = compile_model(digits_model, board)
    assert [s.kernel for s in slow.selections] != [s.kernel for s in usual.selections]
    compiled, tuned = tune.tune(digits_model, board)
    assert any(choice.saved > 0 for choice in tuned)
    for choice in tuned:
        costs = {m.kernel: m.cost for m in choice.measured}
        assert len(costs) > 1
        assert costs[choice.kept] == min(costs.values())
        selection = compiled.selections[choice.op]
        assert selection.kernel is not None
        assert selection.kernel.symbol == choice.kept
        assert f"{choice.kept} {costs[choice.kept]:,}" in selection.reason
        usually = usual.selections[choice.op].kernel
        assert usually is not None
        assert costs[choice.kept] <= costs[usually.symbol]
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        assert verify(digits_model, target, samples=4).mismatched_samples == 0


def test_memory_decides_where_the_fastest_does_not_fit(
    digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = Measurement("fast", 10, 10, 512)
    small = Measurement("small", 20, 20, 0)
    assert tune._keep("CONV_2D", "y", 0, [small, fast], frugal=False).kept == "fast"
    assert tune._keep("CONV_2D", "y", 0, [small, fast], frugal=True).kept == "small"
    equal = dataclasses.replace(fast, kernel="other", scratch_bytes=0)
    assert tune._keep("CONV_2D", "y", 0, [fast, equal], frugal=False).kept == "fast"
    # priced by cycles where there are any, by instructions where not
    wide = Measurement("wide", 5, 30, 0)
    assert tune._keep("CONV_2D", "y", 0, [small, wide], frugal=False).kept == "small"
    # A budget that only the kernels without scratch keep: they come first here, and nothing may need more.
    portable = compile_model(digits_model, boards.load(BOARD), isa=[KERNELS[-1].isa.C])
    assert all(s.lowered is None or s.lowered.scratch_bytes == 0 for s in portable.selections)
    budget = Planning(schedule="layer", max_sram=portable.plan.arena_bytes)
    with pytest.raises(DoesNotFit):
        tune.check_fit(compile_model(digits_model, boards.load(BOARD), budget))
    monkeypatch.setattr("tinyml.tune.instruction_sets", lambda _: [KERNELS[-1].isa.C, KERNELS[-1].isa.DSP])
    compiled, _ = tune.tune(digits_model, boards.load(BOARD), budget)
    assert compiled.plan.arena_bytes <= portable.plan.arena_bytes


def test_a_real_board_is_measured_on_its_twins_machine(digits_model: Path) -> None:
    compiled, tuned = tune.tune(digits_model, boards.load("stm32f746"))
    assert compiled.board.id == "stm32f746"
    assert all(m.cycles for choice in tuned for m in choice.measured)
    with pytest.raises(TargetError, match="no emulator"):
        tune.tune(digits_model, dataclasses.replace(boards.load("stm32f746"), twin=None, emulator=None))


def test_the_build_reports_what_was_measured(digits_model: Path, tmp_path: Path) -> None:
    arguments = ["build", "--board", BOARD, "--toolchain", "gcc", str(digits_model)]
    done = CliRunner().invoke(cli, [*arguments, "--tune", "--json", "-o", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    tuning = json.loads(done.stdout)["tuning"]
    assert {"op", "kernel", "first_choice", "measured", "saved"} <= set(tuning[0])
    assert all(m["instructions"] > 0 for choice in tuning for m in choice["measured"])
    assert json.loads((tmp_path / "a" / "report.json").read_text())["tuning"] == tuning
    done = CliRunner().invoke(cli, [*arguments, "--tune", "-o", str(tmp_path / "b")])
    assert "tuned: " in done.stdout
    done = CliRunner().invoke(cli, [*arguments, "--json", "-o", str(tmp_path / "c")])
    assert json.loads(done.stdout)["tuning"] is None
