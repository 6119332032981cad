"""Networks whose image is never in memory as a whole: exact wherever they run, and counted in full."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.kernels.harness import WARNINGS
from tests.painted_stack import HOOKS, assert_within_bound
from tests.shared_models import shared_models
from tests.tflite_builder import ModelBuilder
from tinyml import boards, planner
from tinyml.build import Compiled, Planning, build, compile_model, emulated_firmware, generate, open_target
from tinyml.errors import UsageError
from tinyml.kernels.registry import Isa
from tinyml.reference import run as reference
from tinyml.run.host import HostTarget, LinkedHostTarget, build_host_library, build_host_program
from tinyml.run.profile import profile
from tinyml.toolchain.stack import CallGraph
from tinyml.verify import sample_inputs, verify

DIGITS = ROOT / "examples" / "digits" / "digits.tflite"
NETWORKS = [pytest.param(DIGITS, id="digits"), *shared_models("kws", "vww96")]
STRIPS = {"digits": (2, 1), "kws": (1, 1), "vww96": (3, 4)}  # of the smallest arena, portable and DSP
SCHEDULES = ["auto", "stream", "strips"]


def compiled_for(path: Path, board: str, schedule: str, **options: list[Isa]) -> Compiled:
    """Plan with a pushed input; "strips" for the smallest arena, whatever is computed twice."""
    planning = Planning(schedule="auto" if schedule == "auto" else "stream", stream_input=True)
    compiled = compile_model(path, boards.load(board), planning, **options)
    if schedule == "strips":
        graph, selections = compiled.graph, compiled.selections
        plan = planner.plan(graph, selections, stream_above=0, max_extra_macs=None, pushed=graph.inputs[0])
        compiled = dataclasses.replace(compiled, plan=plan)
        assert plan.stages[0].strips in STRIPS[path.stem]
    assert compiled.plan.is_pushed(compiled.graph.inputs[0])
    assert all(compiled.graph.inputs[0] not in b.tensors for b in compiled.plan.buffers if b.kind == "tensor")
    return compiled


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("path", NETWORKS)
def test_the_host_computes_the_same_bytes(path: Path, schedule: str, tmp_path: Path) -> None:
    compiled = compiled_for(path, "host", schedule)
    generate(compiled, tmp_path)
    library = build_host_library(tmp_path, compiled.graph.name, tmp_path / "model.so", sanitize=True)
    with HostTarget(library, compiled.graph.name) as target:
        report = verify(path, target, samples=4)
    assert report.mismatched_samples == 0, report.first_mismatch


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("path", NETWORKS)
def test_the_link_computes_the_same_bytes_under_sanitizers(path: Path, schedule: str, tmp_path: Path) -> None:
    """The firmware's own main.c and tm_link.c with the model, as a process."""
    compiled = compiled_for(path, "mps2-an386", schedule, isa=[Isa.C])
    generate(compiled, tmp_path)
    source = tmp_path / "lib" / compiled.graph.name / "src"
    program = build_host_program(
        sorted(source.glob("*.c")), [source, tmp_path / "src"], tmp_path / "program", sanitize=True
    )
    with LinkedHostTarget(program) as target:
        report = verify(path, target, samples=2)
    assert report.mismatched_samples == 0, report.first_mismatch


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("path", NETWORKS)
def test_an_emulated_board_computes_the_same_bytes_and_is_profiled(
    path: Path, schedule: str, tmp_path: Path
) -> None:
    compiled = compiled_for(path, "mps2-an386", schedule)
    graph = compiled.graph
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        info, layers = target.info, target.layers()
        rows = graph.tensors[graph.inputs[0]].shape[1]
        assert info.pushed_rows == rows * compiled.plan.stages[0].strips
        report = verify(path, target, samples=2)
    assert report.mismatched_samples == 0, report.first_mismatch
    inputs = sample_inputs(path, graph, data=None, seed=0, index=0)
    board = boards.load("mps2-an386")
    pushed = profile(emulated_firmware(tmp_path, board), board, graph.name, inputs)
    assert pushed.instructions == pushed.outside.instructions + sum(
        layer.instructions for layer in pushed.layers
    )
    assert [layer.name for layer in pushed.layers] == [layer.name for layer in layers]
    # The link itself has no part in it, though it runs between the rows.
    assert not any(name.startswith(("tm_link", "tm_port")) for name in pushed.functions)
    assert not {"handle", "receive", "write_rows", "crc32_update"} & pushed.functions.keys()
    if schedule == "auto":  # only the first operator runs row by row: the rest is as it was
        resident = compile_model(path, board)
        open_target(resident, tmp_path / "resident", toolchain="gcc")
        whole = profile(emulated_firmware(tmp_path / "resident", board), board, graph.name, inputs)
        # Another register, or a row of zero points that one of them keeps in the arena and fills.
        filled = max(s.lowered.loop.in_row_bytes for s in resident.selections if s.lowered and s.lowered.loop)
        for one, other in zip(pushed.layers[1:], whole.layers[1:], strict=True):
            assert abs(one.instructions - other.instructions) <= 4 + filled
        assert whole.layers[0].instructions < pushed.layers[0].instructions
        assert pushed.layers[0].instructions < 1.1 * whole.layers[0].instructions


@pytest.mark.parametrize("target", ["host", "mps2-an386"])
def test_a_mismatch_names_the_layer(target: str, tmp_path: Path) -> None:
    """One wrong bias in the pushed stage, or behind it."""
    for layer in (0, 1):
        compiled = compiled_for(DIGITS, target, "stream", isa=[Isa.C])
        constants = [
            constant
            for op in compiled.plan.stages[layer].ops
            if (lowered := compiled.selections[op].lowered) is not None
            for constant in lowered.constants
        ]
        next(c for c in constants if c.name == "bias").values[0] += 100_000
        with open_target(compiled, tmp_path / str(layer), toolchain="gcc") as running:
            mismatch = verify(DIGITS, running, samples=2).first_mismatch
        assert mismatch is not None
        assert mismatch.layer is not None
        assert mismatch.layer.index == layer
        assert mismatch.layer_difference is not None


def test_the_stack_of_a_pushed_row_is_bounded(tmp_path: Path) -> None:
    """push_row() may go deeper than invoke(): the report has the larger one, and it holds what was used."""
    compiled = compiled_for(DIGITS, "mps2-an386", "stream")
    report = build(compiled, tmp_path / "built", toolchain="gcc")
    assert report.ram.stack_bytes is not None
    with open_target(compiled, tmp_path / "run", toolchain="gcc") as target:
        inputs = sample_inputs(DIGITS, compiled.graph, data=None, seed=0, index=0)
        assert_within_bound(compiled, tmp_path / "run", target.infer(inputs).stack_free)
        elf = next((tmp_path / "run").rglob("firmware.elf"))
        graph = CallGraph(elf, (tmp_path / "run").rglob("*.su"))
    entries = [graph.bound(name, without=HOOKS) for name in ("digits_push_row", "digits_invoke")]
    assert report.ram.stack_bytes == max(entry.bytes or 0 for entry in entries)
    assert entries[0].bytes
    assert entries[1].bytes


def two_inputs(folder: Path) -> Path:
    b = ModelBuilder(seed=3)
    small = b.input((1, 6, 6, 4), 0.05, -7)
    image = b.input((1, 12, 12, 3), 0.05, 5)
    x = b.conv2d(image, out_c=4, kernel=(3, 3), stride=(2, 2))
    b.output(b.fully_connected(b.add(x, small), units=5))
    return b.save(folder / "two.tflite")


def test_the_larger_image_is_pushed_and_the_other_written(tmp_path: Path) -> None:
    path = two_inputs(tmp_path)
    for board in ("host", "mps2-an386"):
        compiled = compile_model(path, boards.load(board), Planning(schedule="stream", stream_input=True))
        graph = compiled.graph
        assert [compiled.plan.is_pushed(t) for t in graph.inputs] == [False, True]
        rng = np.random.default_rng(1)
        inputs = [rng.integers(-128, 128, graph.tensors[t].shape).astype(np.int8) for t in graph.inputs]
        expected = reference(graph, dict(zip(graph.inputs, inputs, strict=True)))[graph.outputs[0]]
        with open_target(compiled, tmp_path / board, toolchain="gcc") as target:
            assert target.info.transfers == ((0, 1), (1, 1))
            for _ in range(2):
                assert target.infer(inputs).outputs[0].tobytes() == expected.tobytes()


def test_an_input_that_is_no_image_cannot_be_pushed(tmp_path: Path) -> None:
    b = ModelBuilder(seed=2)
    b.output(b.fully_connected(b.input((1, 9), 0.1, 3), units=4))
    path = b.save(tmp_path / "dense.tflite")
    with pytest.raises(UsageError, match="cannot arrive row by row"):
        compile_model(path, boards.load("host"), Planning(stream_input=True))


@pytest.mark.parametrize("schedule", ["layer", "auto", "stream"])
@pytest.mark.parametrize("network", ["renamed", "renamed and read", "unread", "an output"])
def test_an_image_that_is_wanted_whole_cannot_be_pushed(
    network: str, schedule: Literal["layer", "auto", "stream"], tmp_path: Path
) -> None:
    b = ModelBuilder(seed=2)
    x, other = b.input((1, 4, 4, 2)), b.input((1, 5))
    b.output(b.softmax(other))
    if network.startswith("renamed"):
        b.output(b.reshape(x, (1, 32)))
    if network.endswith("read"):
        b.output(b.conv2d(x, 3))
    if network == "an output":
        b.output(x)
    path = b.save(tmp_path / "m.tflite")
    with pytest.raises(UsageError, match="cannot arrive row by row"):
        compile_model(path, boards.load("host"), Planning(schedule=schedule, stream_input=True))


@pytest.mark.parametrize("stream_input", [False, True])
@pytest.mark.parametrize("cpp", [False, True], ids=["c", "c++"])
def test_the_code_in_the_projects_readme_compiles(stream_input: bool, cpp: bool, tmp_path: Path) -> None:
    for path in (DIGITS, two_inputs(tmp_path)):
        project = tmp_path / path.stem
        planning = Planning(schedule="stream", stream_input=stream_input)
        generate(compile_model(path, boards.load("mps2-an386"), planning), project)
        (code,) = re.findall(r"^```c\n(.*?)^```$", (project / "README.md").read_text(), re.M | re.S)
        assert ("_push_row(" in code) == stream_input
        source = tmp_path / ("main.cpp" if cpp else "main.c")
        source.write_text(code)
        compiler = ["g++", "-std=c++11"] if cpp else ["gcc", "-std=c11"]
        include = f"-I{project / 'lib' / path.stem / 'src'}"
        subprocess.run([*compiler, *WARNINGS, include, "-c", source, "-o", tmp_path / "main.o"], check=True)
