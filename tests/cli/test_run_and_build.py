"""The verbs that compile and run: on the host and on the emulated Cortex-M7 and M4."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.tflite_builder import ModelBuilder
from tinyml.cli.app import cli

needs_arm = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in arguments])


def as_json(result: Result, status: int = 0) -> dict[str, Any]:
    assert result.exit_code == status, result.output
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


# build -------------------------------------------------------------------------------------------


@needs_arm
@pytest.mark.parametrize("toolchain", ["platformio", "gcc"])
def test_build(toolchain: str, tmp_path: Path, digits_model: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--board", "stm32f746", "--toolchain", toolchain, "-o", out, digits_model]
    report = as_json(invoke("build", "--json", *arguments))
    assert report["toolchain"] == toolchain
    flash, ram = report["flash"], report["ram"]
    assert flash["weights_bytes"] + flash["code_bytes"] == flash["total_bytes"]
    assert 5_000 < flash["code_bytes"] < 30_000
    # Symbols add up to the image but for padding and merged strings.
    by_kind = {"weights": 0, "model": 0, "runtime": 0, "library": 0}
    for symbol in flash["symbols"]:
        by_kind[symbol["kind"]] += symbol["bytes"]
    assert by_kind["weights"] == flash["weights_bytes"]
    assert by_kind["model"] > 1000
    assert 0.8 * flash["total_bytes"] < sum(by_kind.values()) <= flash["total_bytes"]
    assert 50 < report["stack_bytes"] < 4096
    assert ram["total_bytes"] == ram["arena_bytes"] + ram["stack_bytes"] + ram["static_bytes"]
    assert report["fits"]["flash"] == {"used": flash["total_bytes"], "available": 1 << 20, "fits": True}
    # What a plan promised is what was built.
    plan = as_json(invoke("plan", "--json", "--board", "stm32f746", digits_model))
    for key in ("arena_bytes", "input_bytes", "macs", "extra_macs"):
        assert report[key] == plan[key]
    assert flash["weights_bytes"] == plan["flash"]["weights_bytes"]
    # The list of files is complete, and the report in the folder is the one on stdout.
    on_disk = {str(path) for path in out.rglob("*") if path.is_file() and path.name != ".tinyml.json"}
    assert on_disk == set(report["files"])
    for name in ("firmware.elf", "firmware.bin", "firmware.hex", "platformio.ini", "README.md", "plan.json"):
        assert (out / name).is_file(), name
    saved = json.loads((out / "report.json").read_text())
    assert saved == {key: value for key, value in report.items() if key != "directory"} | {
        "files": saved["files"]
    }
    assert "<svg" in (out / "report.html").read_text(encoding="utf-8")


def test_build_for_the_host(tmp_path: Path, digits_model: Path) -> None:
    out = tmp_path / "out"
    report = as_json(invoke("build", "--json", "--board", "host", "-o", out, digits_model))
    assert (out / "libdigits.so").is_file()
    assert report["fits"]["sram"]["available"] is None
    assert report["latency_estimate"] is None
    assert "no limit" in invoke("plan", "--board", "host", digits_model).stdout


def test_a_missing_compiler_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("build", "--json", "--board", "stm32f746", "-o", tmp_path / "out", digits_model)
    error = as_json(result, 3)
    assert error["error"] == "ToolchainError"
    assert "arm-none-eabi-gcc" in error["what"]
    assert "apt-get install" in error["hint"]
    assert list(tmp_path.iterdir()) == []


# run ---------------------------------------------------------------------------------------------


@needs_arm
@pytest.mark.parametrize("verb", ["build", "run"])
def test_a_home_that_cannot_be_written(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_model: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("PLATFORMIO_CORE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    special = ["-o", tmp_path / "new"] if verb == "build" else ["--profile", "--toolchain", "gcc"]
    error = as_json(invoke(verb, "--json", "--board", "mps2-an386", *special, digits_model), 3)
    assert "cannot be written: Not a directory" in error["what"]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_run_on_the_host_gives_the_reference_answer(
    tmp_path: Path, digits_model: Path, digits_data: Path
) -> None:
    data = np.load(digits_data)
    result = invoke("run", "--json", "--board", "host", "--input", digits_data, "--sample", 7, digits_model)
    report = as_json(result)
    (output,) = report["outputs"]
    assert output["shape"] == [1, 10]
    assert int(np.argmax(output["values"])) == data["y"][7]
    assert output["real"] == pytest.approx([(q + 128) / 256 for q in output["values"]])
    assert report["instructions"] is None
    # The same sample as int8 and as real values, alone and without a first axis.
    np.save(tmp_path / "one.npy", data["x"][7])
    np.save(tmp_path / "real.npy", (data["x"][7:8].astype(np.float32) + 128) / 255)
    for name in ("one.npy", "real.npy"):
        again = as_json(invoke("run", "--json", "--board", "host", "--input", tmp_path / name, digits_model))
        assert again["outputs"] == report["outputs"]


def test_run_is_reproducible_by_its_seed(digits_model: Path) -> None:
    def outputs(seed: int) -> Any:
        return as_json(invoke("run", "--json", "--board", "host", "--seed", seed, digits_model))["outputs"]

    assert outputs(1) == outputs(1)
    assert outputs(1) != outputs(2)


@needs_arm
def test_profile_counts_instructions_per_layer_exactly(digits_model: Path) -> None:
    arguments = ["--board", "mps2-an386", "--toolchain", "gcc", "--profile", digits_model]
    report = as_json(invoke("run", "--json", *arguments))
    layers = report["layers"]
    assert [layer["op"] for layer in layers][:2] == ["CONV_2D", "CONV_2D"]
    assert sum(layer["macs"] for layer in layers) == 104_000
    for layer in layers:
        assert layer["name"]
        assert layer["instructions"] > 0
        assert layer["cycles"] is None  # an emulator knows none
        assert sum(layer["classes"].values()) == layer["instructions"]
        assert layer["estimated_cycles"] > layer["instructions"]  # Cortex-M4: one a cycle at best
        assert len(layer["kernels"]) == 1
        if layer["macs"]:
            assert layer["instructions_per_mac"] == pytest.approx(
                layer["instructions"] / layer["macs"], abs=1e-4
            )
            assert layer["classes"]["mac_simd"] > 0
    assert layers[0]["kernels"][0].startswith("tm_conv2d")
    assert report["core"] == "cortex-m4"
    assert report["estimated_cycles"] >= sum(layer["estimated_cycles"] for layer in layers)
    inside = sum(layer["instructions"] for layer in layers)
    assert inside <= report["instructions"] < inside + 500
    assert as_json(invoke("run", "--json", *arguments)) == report
    text = invoke("run", *arguments).stdout
    assert f"{report['instructions']:,} instructions" in text
    assert f"{report['estimated_cycles']:,} estimated cycles" in text
    assert "not measured" in text
    streamed = as_json(invoke("run", "--json", *arguments, "--schedule", "stream"))
    assert any(len(layer["kernels"]) > 1 for layer in streamed["layers"])


def test_nothing_is_profiled_on_the_host(digits_model: Path) -> None:
    error = as_json(invoke("run", "--json", "--board", "host", "--profile", digits_model), 2)
    assert "--profile" in error["where"]


@pytest.mark.parametrize(
    ("shape", "dtype", "complaint"),
    [((1, 9, 8, 1), np.int8, "shape"), ((1, 8, 8, 1), np.int32, "int32")],
    ids=["shape", "dtype"],
)
def test_an_input_that_does_not_fit(
    shape: tuple[int, ...], dtype: type, complaint: str, tmp_path: Path, digits_model: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype))
    result = invoke("run", "--json", "--board", "host", "--input", tmp_path / "x.npy", digits_model)
    error = as_json(result, 2)
    assert error["error"] == "UsageError"
    assert complaint in error["expected"]


def test_a_sample_that_is_not_there(digits_model: Path, digits_data: Path) -> None:
    arguments = ["--board", "host", "--input", digits_data, "--sample", 360, digits_model]
    error = as_json(invoke("run", "--json", *arguments), 2)
    assert "360" in error["expected"]


# verify ------------------------------------------------------------------------------------------


def test_verify_on_the_host(digits_model: Path, digits_data: Path) -> None:
    report = as_json(invoke("verify", "--json", "--board", "host", "--data", digits_data, digits_model))
    assert report["samples"] == 360
    assert report["mismatched_samples"] == 0
    assert report["first_mismatch"] is None
    assert report["accuracy"] == pytest.approx(355 / 360)
    text = invoke("verify", "--board", "host", "--data", digits_data, digits_model).stdout
    assert "355 of 360 right" in text


@needs_arm
def test_verify_on_the_emulated_m7(digits_model: Path) -> None:
    report = as_json(invoke("verify", "--json", "--board", "stm32f746", "--samples", 4, digits_model))
    assert (report["samples"], report["mismatched_samples"]) == (4, 0)
    assert report["accuracy"] is None  # random samples have no labels


@needs_arm
def test_a_streamed_input_is_exact_and_counted(digits_model: Path) -> None:
    """The application pushes the image: less memory, the same bytes, its rows part of the inference."""
    options = ["--json", "--schedule", "stream", "--stream-input"]
    for board in ("host", "mps2-an386"):
        report = as_json(invoke("verify", *options, "--board", board, "--samples", 4, digits_model))
        assert (report["samples"], report["mismatched_samples"]) == (4, 0)
    plan = as_json(invoke("plan", *options, "--board", "mps2-an386", digits_model))
    assert (
        plan["arena_bytes"]
        < as_json(invoke("plan", "--json", "--board", "host", digits_model))["arena_bytes"]
    )
    run = as_json(invoke("run", "--profile", *options, "--board", "mps2-an386", digits_model))
    plain = as_json(invoke("run", "--profile", "--json", "--board", "mps2-an386", digits_model))
    assert [output["values"] for output in run["outputs"]] == [o["values"] for o in plain["outputs"]]
    assert plain["instructions"] < run["instructions"] < 1.5 * plain["instructions"]
    assert sum(layer["instructions"] for layer in run["layers"]) > 0.99 * run["instructions"]


def test_an_input_that_cannot_be_streamed_is_one_clear_error(tmp_path: Path) -> None:
    network = ModelBuilder(seed=1)
    network.output(network.fully_connected(network.input((1, 9)), units=4))
    model = network.save(tmp_path / "dense.tflite")
    error = as_json(invoke("plan", "--json", "--board", "host", "--stream-input", model), 2)
    assert error["error"] == "UsageError"
    assert "cannot arrive row by row" in error["what"]
    assert "--stream-input" in error["hint"]


def test_a_mismatch_is_status_1_and_names_the_layer(
    digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firmware with one wrong bias: built from a model whose constants were changed after planning."""
    import tinyml.build

    compile_model = tinyml.build.compile_model

    def spoilt(*arguments: Any, **options: Any) -> Any:
        compiled = compile_model(*arguments, **options)
        lowered = compiled.selections[3].lowered
        bias = next(c for c in lowered.constants if c.name == "bias")
        bias.values[0] += 100_000
        return compiled

    monkeypatch.setattr(tinyml.build, "compile_model", spoilt)
    result = invoke("verify", "--json", "--board", "host", "--samples", 2, digits_model)
    report = as_json(result, 1)
    assert 1 <= report["mismatched_samples"] <= 2
    assert report["first_mismatch"]["layer"]["index"] == 3
    assert report["first_mismatch"]["layer"]["op"] == "CONV_2D"
    text = invoke("verify", "--board", "host", "--samples", 2, digits_model)
    assert text.exit_code == 1
    assert "first differing layer 3, CONV_2D" in text.stdout


def test_a_port_that_is_not_there(digits_model: Path, tmp_path: Path) -> None:
    port = tmp_path / "ttyACM9"
    result = invoke("verify", "--json", "--board", "stm32f746", "--port", port, digits_model)
    error = as_json(result, 3)
    assert error["error"] == "TargetError"
    assert "ttyACM9" in error["what"]


# flash -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", ["host", "mps2-an386", "netduinoplus2"])
def test_what_is_no_real_board_has_nothing_to_flash(board: str, digits_model: Path) -> None:
    error = as_json(invoke("flash", "--json", "--board", board, digits_model), 2)
    assert error["error"] == "UsageError"
    assert "nothing to flash" in error["what"]


def test_the_host_has_no_port(digits_model: Path) -> None:
    error = as_json(invoke("verify", "--json", "--board", "host", "--port", "/dev/ttyS0", digits_model), 2)
    assert error["where"] == "--port"
