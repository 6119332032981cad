"""The table of arenas: from builds that ran, with the others' figures and their sources."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tinyml import boards
from tinyml.build import Planning, compile_model

NETWORK = "mobilenetv2_035_144"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, repo_root: Path) -> ModuleType:
    """The script, imported as it is when it is run."""
    monkeypatch.syspath_prepend(repo_root / "tools")
    for name in ("bench_memory", "figures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("bench_memory")


def run(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bench_memory.py", *arguments])
    return int(bench.main())


def test_rows_are_builds_that_ran(
    bench: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(bench, monkeypatch, "--host-only", "--json", NETWORK) == 0
    found = json.loads(capsys.readouterr().out)
    by_plan = {row["plan"]: row for row in found["rows"]}
    assert list(by_plan) == [c.name for c in bench.CONFIGURATIONS if not c.models or NETWORK in c.models]
    for name, schedule in (("layer by layer", "layer"), ("streamed", "stream")):
        plan = compile_model(bench.MODELS[NETWORK], boards.load("host"), Planning(schedule=schedule)).plan
        assert by_plan[name]["portable_arena_bytes"] == plan.arena_bytes
        assert by_plan[name]["portable_lower_bound_bytes"] == plan.lower_bound_bytes
        assert by_plan[name]["peak_ops"] == list(plan.stages[plan.peak_stage].ops)
        assert by_plan[name]["arena_bytes"] is None  # not emulated, and it does not guess
        assert by_plan[name]["equal"] == by_plan[name]["samples"] == bench.SAMPLES
    assert {"peer": "msf-cnn", "ram_bytes": 8560, "extra_macs": 0.68} in found["peers"][NETWORK]


def test_the_emulated_build_is_counted(bench: ModuleType, digits_model: Path) -> None:
    layered, streamed = bench.measure("digits", digits_model, emulate=True, count=True)[:2]
    plan = compile_model(digits_model, boards.load(bench.BOARD), Planning(schedule="stream")).plan
    assert streamed.arena_bytes == plan.arena_bytes
    assert layered.instructions_ratio == 1
    assert streamed.instructions_ratio == pytest.approx(streamed.instructions / layered.instructions)
    assert layered.samples == bench.SAMPLES + bench.EMULATED_SAMPLES


def test_a_difference_is_a_failure(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = bench.run_build
    monkeypatch.setattr(
        bench, "run_build", lambda *a, **k: dataclasses.replace(honest(*a, **k), equal=bench.SAMPLES - 1)
    )
    assert run(bench, monkeypatch, "--host-only", NETWORK) == 1
    assert f"{bench.SAMPLES - 1} of {bench.SAMPLES}" in capsys.readouterr().out


def test_absent_networks_are_left_out_and_named(
    bench: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(bench.MODELS, "kws", tmp_path / "kws.tflite")
    assert run(bench, monkeypatch, "--host-only", "kws") == 0
    assert f"kws is left out: {tmp_path / 'kws.tflite'} is not there" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(bench, monkeypatch, "kwz")
    assert "unknown networks: kwz" in capsys.readouterr().err


def test_every_figure_of_others_has_a_source(bench: ModuleType) -> None:
    memory = bench.PEERS["memory"]
    for name in bench.MODELS:
        for peer in bench.peers(name):
            assert memory["sources"][peer["peer"]]
            assert peer["ram_bytes"] > 0
    assert memory["models"].keys() <= bench.MODELS.keys()


def test_the_table_is_written_between_its_marks(bench: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- arenas:begin -->\nold\n<!-- arenas:end -->\nafter\n")
    row = bench.Row("kws", "streamed", 9184, 9184, 9000, 9000, 6500, 0.0, 2_900_000, 1.01, (3, 4), 6, 6)
    text = bench.markdown([row])
    sys.modules["figures"].write_between_marks(page, "arenas", text)
    written = page.read_text()
    assert written == f"before\n<!-- arenas:begin -->\n{text}<!-- arenas:end -->\nafter\n"
    assert "old" not in written
    line = next(line for line in written.splitlines() if line.startswith("| kws"))
    assert "tflm 22,820" in line
    assert "9,184 | 9,184 | 3–4 | 9,000 | 6,500 | 0.0% | 2,900,000 (+1.0%) | 6 of 6" in line
    with pytest.raises(ValueError, match="marked measured"):
        sys.modules["figures"].write_between_marks(page, "measured", text)
