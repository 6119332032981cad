"""Architectures that people bring, made by TensorFlow: built, run, and compared with LiteRT byte for byte."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.kernels.harness import WARNINGS
from tests.painted_stack import assert_within_bound
from tinyml import boards
from tinyml.build import Planning, compile_model, generate, open_target
from tinyml.errors import UnsupportedOp
from tinyml.planner import check
from tinyml.run.target import Target
from tinyml.verify import verify

# Where the suite itself installs everything, a missing TensorFlow is a failure.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None and not os.environ.get("CI"),
    reason="TensorFlow is not installed: pip install -e '.[quantize]'",
)

IMAGES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_lite0",
    "ghostnet",
    "shufflenet",
    "shufflenet_grouped",
    "resnet",
    "densenet",
    "unet",
    "ssd",
    "yolo",
    "yolo_decoded",
    "segmentation",
    "superresolution",
    "ds_cnn",
    "multi_input",
    "multi_output",
)
SEQUENCES = (
    "cnn_1d",
    "crnn_lstm",
    "crnn_gru",
    "crnn_bidirectional",
    "autoencoder",
    "tcn",
    "transformer",
    "vision_transformer",
    "mlp_mixer",
    "siamese",
    "streaming",
    "streaming_int8",
    "text_convolution",
    "text_average",
    "text_transformer",
    "gru_loop",
    "lstm_loop",
)
REFUSED = {"volume": r"CONV_3D '.*' 1x3x4x4x4 float32: LiteRT has it only in float"}
EMULATED = {
    "mps2-an386": (
        "mobilenet_v2",
        "unet",
        "crnn_gru",
        "transformer",
        "streaming",
        "text_average",
        "gru_loop",
    ),
    "mps3-an547": (
        "mobilenet_v3_small",
        "shufflenet",
        "tcn",
        "mlp_mixer",
        "streaming_int8",
        "text_convolution",
        "lstm_loop",
    ),
}
_ARM_CLANG = (
    *("clang", "--target=arm-none-eabi", "-ffreestanding"),
    *("-isystem", "/usr/lib/arm-none-eabi/include"),
)
_M4, _M55 = ("-mthumb", "-mcpu=cortex-m4"), ("-mthumb", "-mcpu=cortex-m55", "-mfloat-abi=hard")
COMPILERS = {
    "host": (("gcc",), ("clang",)),
    "mps2-an386": (("arm-none-eabi-gcc", *_M4), (*_ARM_CLANG, *_M4)),
    "mps3-an547": (("arm-none-eabi-gcc", *_M55), (*_ARM_CLANG, *_M55)),
}
SANITIZED = (
    "ghostnet",
    "yolo",
    "segmentation",
    "crnn_lstm",
    "vision_transformer",
    "streaming",
    "text_average",
    "lstm_loop",
)
Schedule = Literal["layer", "stream"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that networks.py fills."""
    session = tmp_path_factory.getbasetemp()
    # The workers of a parallel session share one folder: the first makes the files, the others wait.
    folder = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "architectures"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            script = Path(__file__).with_name("networks.py")
            command = [sys.executable, str(script), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            (folder / "done").touch()
    return folder


def test_every_file_is_tried(made: Path) -> None:
    assert {file.stem for file in made.glob("*.tflite")} == {*IMAGES, *SEQUENCES, *REFUSED}


@pytest.mark.parametrize(
    ("name", "schedule"),
    [*((n, "layer") for n in (*IMAGES, *SEQUENCES)), *((n, "stream") for n in IMAGES)],
)
def test_outputs_equal_litert(made: Path, name: str, schedule: Schedule, tmp_path: Path) -> None:
    model = made / f"{name}.tflite"
    compiled = compile_model(model, boards.load("host"), Planning(schedule=schedule))
    check(compiled.graph, compiled.selections, compiled.plan)
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        _verify(model, target)


@pytest.mark.parametrize(("board", "name"), [(b, n) for b, names in EMULATED.items() for n in names])
def test_emulated_outputs_equal_litert_within_the_stack_bound(
    made: Path, board: str, name: str, tmp_path: Path
) -> None:
    model = made / f"{name}.tflite"
    compiled = compile_model(model, boards.load(board), Planning(schedule="stream"))
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        _verify(model, target)
        inputs = [compiled.graph.tensors[i] for i in compiled.graph.inputs]
        zeros = [np.zeros(x.shape, x.dtype.value) for x in inputs]
        assert_within_bound(compiled, tmp_path, target.infer(zeros).stack_free)


def _verify(model: Path, target: Target) -> None:
    report = verify(model, target, samples=3)
    assert (report.samples, report.mismatched_samples) == (3, 0), report.first_mismatch


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_why(made: Path, name: str) -> None:
    with pytest.raises(UnsupportedOp) as refused:
        compile_model(made / f"{name}.tflite", boards.load("host"))
    assert refused.match(REFUSED[name])


@pytest.mark.parametrize("board", COMPILERS)
def test_generated_code_compiles_without_a_warning(made: Path, board: str, tmp_path: Path) -> None:
    """For a host, with DSP instructions and with Helium, by GCC and by Clang."""
    commands = []
    for name in (*IMAGES, *SEQUENCES):
        planning = Planning(schedule="stream" if name in IMAGES else "layer")
        generate(compile_model(made / f"{name}.tflite", boards.load(board), planning), tmp_path / name)
        sources = tmp_path / name / "lib" / name / "src"
        flags = [f"-I{sources}", "-fsyntax-only", "-std=c11", *WARNINGS]
        for command in COMPILERS[board]:
            commands.append([*command, *flags, *map(str, sorted(sources.rglob("*.c")))])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr[-2000:])


@pytest.mark.parametrize("name", SANITIZED)
def test_no_undefined_behaviour(made: Path, name: str, tmp_path: Path) -> None:
    """AddressSanitizer and UBSan in a program of its own, with an arena of exactly its size."""
    graph = compile_model(made / f"{name}.tflite", boards.load("host"), Planning(schedule="stream"))
    generate(graph, tmp_path / "project")
    sources = tmp_path / "project" / "lib" / name / "src"
    main = tmp_path / "main.c"
    main.write_text(_MAIN.replace("NAME", name.upper()).replace("name", name))
    command = ["gcc", "-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command += [f"-I{sources}", str(main), *map(str, sorted(sources.rglob("*.c"))), "-o"]
    program = tmp_path / "program"
    subprocess.run([*command, str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


_MAIN = """
#include "name.h"
#include <stdlib.h>
int main(void)
{
    uint8_t *arena = malloc(NAME_ARENA_BYTES);
    for (uint32_t run = 0; run < 4; ++run) {
        for (uint32_t i = 0; i < name_model.input_count; ++i) {
            for (uint32_t k = 0; k < name_model.inputs[i].bytes; ++k) {
                arena[name_model.inputs[i].offset + k] = (uint8_t)(run < 2 ? 127 + run : rand());
            }
        }
        if (name_invoke(arena) != TM_OK) {
            return 1;
        }
    }
    free(arena);
    return 0;
}
"""
