"""The command line: JSON shapes, exit statuses and messages that people and scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.tflite_builder import ModelBuilder
from tinyml.cli.app import cli

ROOT = Path(__file__).resolve().parents[2]
VERBS = ["quantize", "inspect", "plan", "generate", "build", "run", "verify", "flash", "boards", "doctor"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in arguments])


def as_json(result: Result) -> dict[str, Any]:
    """Standard output holds one JSON object and nothing else."""
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def fails(result: Result, status: int, kind: str) -> dict[str, Any]:
    error = as_json(result)
    assert result.exit_code == status
    assert error["error"] == kind
    assert error["exit_status"] == status
    assert error["what"]
    return error


# Help --------------------------------------------------------------------------------------------


def test_help_lists_the_verbs_in_the_order_of_the_flow() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.output.splitlines() if line.split()[:1] and line[:2] == "  "]
    assert [verb for verb in listed if verb in VERBS] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches_with_an_example_and_takes_json(verb: str) -> None:
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert f"  tinyml {verb}" in result.output
    for option in ("--json", "--quiet", "--verbose"):
        assert option in result.output


def test_no_arguments_show_the_help_with_status_2() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Usage: tinyml" in result.output


def test_version() -> None:
    from tinyml import __version__

    result = invoke("--version")
    assert result.exit_code == 0
    assert __version__ in result.output


# Results -----------------------------------------------------------------------------------------


def test_inspect(digits_model: Path) -> None:
    result = invoke("inspect", "--json", digits_model)
    assert result.exit_code == 0
    graph = as_json(result)
    assert [op["op"] for op in graph["ops"]][:3] == ["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D"]
    assert graph["tensors"][graph["inputs"][0]]["shape"] == [1, 8, 8, 1]
    assert graph["constant_bytes"] > 2000
    text = invoke("inspect", digits_model).stdout
    assert "DEPTHWISE_CONV_2D" in text
    assert "zero point -128" in text


def test_plan(digits_model: Path) -> None:
    result = invoke("plan", "--board", "stm32f746", "--json", digits_model)
    assert result.exit_code == 0
    report = as_json(result)
    assert report["input_bytes"] == 64
    assert report["output_bytes"] == 10
    assert report["macs"] == 104_000
    assert report["extra_macs"] == 0
    assert report["lower_bound_bytes"] <= report["arena_bytes"] <= 4608
    # Above the weights themselves: biases and requantisation come on top.
    assert 2_800 < report["flash"]["weights_bytes"] < 6_000
    assert report["flash"]["code_bytes"] is None  # not compiled, and it does not guess
    assert report["stack_bytes"] is None
    assert report["fits"]["sram"]["fits"]
    assert report["latency_estimate"]["basis"].startswith("estimate")
    assert sum(layer["macs"] for layer in report["layers"]) == report["macs"]
    assert report["plan"]["arena_bytes"] == report["arena_bytes"]
    for buffer in report["buffers"]:
        assert 0 <= buffer["offset"] <= report["arena_bytes"] - buffer["bytes"]


def test_folded_channels_are_counted(tmp_path: Path, digits_model: Path) -> None:
    b = ModelBuilder(1)
    weights = b.rng.integers(1, 127, (8, 1, 1, 3)).astype("int8")
    weights[[1, 2, 4, 7]] = 0
    b.output(b.conv2d(b.conv2d(b.input((1, 4, 5, 3)), 8, 1, weights=weights), 5, 1))
    path = b.save(tmp_path / "dead.tflite")
    folded = {"channels": 4, "macs": 20 * (4 * 3 + 4 * 5)}
    line = "folded: 4 constant or unread channels, 640 MACs"
    for verb in (["inspect"], ["plan", "--board", "stm32f746"]):
        assert as_json(invoke(*verb, "--json", path))["folded"] == folded
        assert line in invoke(*verb, path).stdout
        assert as_json(invoke(*verb, "--json", digits_model))["folded"] == {"channels": 0, "macs": 0}
        assert "folded:" not in invoke(*verb, digits_model).stdout
    out = invoke("build", "--board", "host", "--json", "-o", tmp_path / "out", path)
    assert as_json(out)["folded"] == folded


def test_plan_for_people(digits_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    result = invoke("plan", "--board", "stm32f746", "--html", page, digits_model)
    assert result.exit_code == 0
    assert "live at the peak" in result.stdout
    assert "estimate, not measured" in result.stdout
    assert "<svg" in page.read_text(encoding="utf-8")
    assert str(page) in result.stderr


def test_plan_draws_the_memory_unless_told_not_to(digits_model: Path) -> None:
    assert "▼" in invoke("plan", "--board", "stm32f746", digits_model).stdout
    assert "▼" in invoke("plan", "--board", "stm32f746", "--draw", digits_model).stdout
    assert "▼" not in invoke("plan", "--board", "stm32f746", "--no-draw", digits_model).stdout
    as_json(invoke("plan", "--board", "stm32f746", "--draw", "--json", digits_model))  # nothing but JSON


def test_a_model_that_does_not_fit_says_by_how_much_and_where(tmp_path: Path, digits_model: Path) -> None:
    board = json.loads((ROOT / "boards" / "microbit.json").read_text())
    ram = board["tinyml"]["memory"][board["tinyml"]["ram"][0]]
    reserve = board["tinyml"]["reserve"]
    ram["size"] = reserve["stack"] + reserve["static"] + 1024
    small = tmp_path / "small.json"
    small.write_text(json.dumps(board))
    result = invoke("plan", "--board", small, "--json", digits_model)
    error = fails(result, 2, "DoesNotFit")
    assert f"{error['arena_bytes'] - 1024:,} B" in error["what"]
    assert "operator" in error["where"]
    assert "stm32f746" in error["hint"]
    assert error["fits"]["sram"] == {"used": error["arena_bytes"], "available": 1024, "fits": False}
    text = invoke("plan", "--board", small, digits_model)
    assert text.exit_code == 2
    assert "live at the peak" in text.stdout  # the plan is shown all the same
    assert "does not fit" in text.stderr
    # generate writes nothing
    result = invoke("generate", "--board", small, "--json", "-o", tmp_path / "out", digits_model)
    fails(result, 2, "DoesNotFit")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.json"]


def test_boards() -> None:
    result = invoke("boards", "--json")
    assert result.exit_code == 0
    boards = {board["id"]: board for board in as_json(result)["boards"]}
    assert {"host", "stm32f746", "mps2-an386", "rp2040"} <= boards.keys()
    assert boards["host"]["sram_bytes"] is None
    assert boards["stm32f746"]["evidence"]["inference"]["level"] == "emulated"
    text = invoke("boards").stdout
    assert all(name in text for name in boards)


def test_boards_by_memory() -> None:
    large = {board["id"] for board in as_json(invoke("boards", "--json", "--min-ram", "300K"))["boards"]}
    assert "stm32f746" in large
    assert "microbit" not in large
    assert invoke("boards", "--min-ram", "lots").exit_code == 2


def test_doctor() -> None:
    result = invoke("doctor", "--json")
    report = as_json(result)
    assert result.exit_code == (0 if report["ok"] else 3)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["numpy"]["ok"]
    for check in checks.values():
        assert check["ok"] or check["fix"], f"{check['name']} is missing and doctor does not say what to do"


def test_doctor_finds_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("doctor", "--json")
    assert result.exit_code == 3
    checks = {check["name"]: check for check in as_json(result)["checks"]}
    for name in ("gcc", "arm-none-eabi-gcc", "newlib-nano", "qemu-system-arm"):
        assert not checks[name]["ok"]
        assert "apt-get install" in checks[name]["fix"]


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["inspect", "plan", "generate", "build", "run", "verify"])
def test_a_missing_file(verb: str, tmp_path: Path) -> None:
    board = [] if verb == "inspect" else ["--board", "stm32f746"]
    result = invoke(verb, "--json", *board, tmp_path / "none.tflite")
    error = as_json(result)
    assert result.exit_code == error["exit_status"] == 2
    assert "none.tflite" in json.dumps(error)


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    text = tmp_path / "model.tflite"
    text.write_text("not a flatbuffer at all, but long enough to be read as one")
    fails(invoke("inspect", "--json", text), 2, "ModelError")


@pytest.mark.parametrize("verb", ["plan", "generate", "build", "run", "verify"])
def test_an_unknown_board_names_the_nearest(verb: str, digits_model: Path) -> None:
    error = fails(invoke(verb, "--json", "--board", "stm32f764", digits_model), 2, "BoardError")
    assert "stm32f746" in error["expected"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["plan", "--bord", "host", "x"], "--bord"),
        (["plan", "x"], "--board"),
        (["plan", "--board", "host"], "MODEL"),
        (["plan", "--board", "host", "--edges", "int4", "x"], "int4"),
        (["paln", "x"], "paln"),
        (["verify", "--board", "host", "--seed", "-1", "x"], "--seed"),
        (["run", "--board", "host", "--sample", "-1", "x"], "--sample"),
    ],
    ids=["option", "missing option", "missing argument", "choice", "verb", "seed", "sample"],
)
def test_wrong_use(arguments: list[str], complaint: str) -> None:
    error = fails(invoke(*arguments, "--json"), 2, "UsageError")
    assert complaint in error["what"]
    assert "--help" in error["hint"]
    text = invoke(*arguments)
    assert text.exit_code == 2
    assert text.stdout == ""
    assert complaint in text.stderr


def test_a_bug_shows_its_traceback_and_where_to_report(
    monkeypatch: pytest.MonkeyPatch, digits_model: Path
) -> None:
    import tinyml.readers.tflite

    def broken(path: Path) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(tinyml.readers.tflite, "read_model", broken)
    result = invoke("inspect", digits_model)
    assert result.exit_code == 70
    assert "Traceback" in result.stderr
    assert "report" in result.stderr
    result = invoke("inspect", "--json", digits_model)
    assert result.exit_code == 70
    assert as_json(result)["exit_status"] == 70


def test_a_name_with_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    result = invoke("inspect", tmp_path / "[bold]x[/bold].tflite")
    assert "[bold]x[/bold].tflite" in result.stderr


# As a process ------------------------------------------------------------------------------------


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from tinyml.cli.app import main; main()", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_streams_of_a_process(digits_model: Path) -> None:
    done = process("plan", "--board", "stm32f746", "--json", digits_model)
    assert done.returncode == 0
    assert done.stderr == ""  # no progress off a terminal
    json.loads(done.stdout)
    done = process("plan", "--board", "nowhere", digits_model)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no board 'nowhere'\n  ")


def test_no_colours_in_a_pipe(digits_model: Path) -> None:
    done = process("plan", "--board", "stm32f746", digits_model)
    assert "\x1b" not in done.stdout + done.stderr


def test_no_color_is_respected_where_colours_are_forced(digits_model: Path) -> None:
    forced = process("plan", "--board", "stm32f746", digits_model, FORCE_COLOR="1")
    assert "\x1b[3" in forced.stdout
    plain = process("plan", "--board", "stm32f746", digits_model, FORCE_COLOR="1", NO_COLOR="1")
    assert "\x1b[3" not in plain.stdout


def test_a_closed_pipe_is_no_error() -> None:
    code = "from tinyml.cli.app import main; main()"
    script = f"{sys.executable} -c '{code}' boards --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{0\n"
    assert done.stderr == ""


def test_a_terminal_without_unicode_gets_what_it_can_show(digits_model: Path, tmp_path: Path) -> None:
    done = process("build", "--board", "host", "-o", tmp_path, digits_model, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("option", ["--json", "-v"])
def test_a_full_disk_is_no_bug(digits_model: Path, option: str) -> None:
    code = "from tinyml.cli.app import main; main()"
    arguments = ["plan", "--board", "host", option, str(digits_model)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "error: no space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_termination_leaves_nothing_behind(digits_model: Path, tmp_path: Path) -> None:
    """What `timeout` does to a build: the temporary folder beside the destination goes too."""
    code = (
        "import os, signal, tinyml.build as b, tinyml.cli.app as app\n"
        "b.build = lambda *a, **k: os.kill(os.getpid(), signal.SIGTERM)\n"
        "app.main()"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "build",
            "--board",
            "host",
            "-o",
            str(tmp_path / "new"),
            str(digits_model),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 128 + 15
    assert list(tmp_path.iterdir()) == []
