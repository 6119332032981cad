"""The C interface as a firmware engineer meets it: from C and C++, two models at once, wrong arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.harness import WARNINGS
from tests.tflite_builder import ModelBuilder
from tinyml import boards, reference
from tinyml.build import Compiled, compile_model, generate, open_target
from tinyml.build import build as build_firmware
from tinyml.verify import verify


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Compiled, Compiled]:
    """Two generated models in one folder: an image classifier and a dense layer."""
    folder = tmp_path_factory.mktemp("interface")
    image = ModelBuilder(seed=1)
    x = image.input((1, 6, 6, 3), 0.05, -7)
    image.output(image.softmax(image.fully_connected(image.conv2d(x, out_c=4, kernel=(3, 3)), units=5)))
    image.save(folder / "image.tflite")
    dense = ModelBuilder(seed=2)
    dense.output(dense.fully_connected(dense.input((1, 9), 0.1, 3), units=4))
    dense.save(folder / "dense.tflite")
    host = boards.load("host")
    compiled = tuple(compile_model(folder / f"{name}.tflite", host) for name in ("image", "dense"))
    for one in compiled:
        generate(one, folder / "project")
    return folder / "project", compiled[0], compiled[1]


def _build(project: Path, source: Path, program: Path, *, cpp: bool) -> None:
    includes = [f"-I{folder}" for folder in sorted(project.glob("lib/*/src"))]
    objects = []
    for file in sorted(project.glob("lib/*/src/*.c")):
        objects.append(str(program.parent / f"{file.stem}.o"))
        subprocess.run(
            ["gcc", "-std=c11", *WARNINGS, *includes, "-c", str(file), "-o", objects[-1]], check=True
        )
    compiler = ["g++", "-std=c++11"] if cpp else ["gcc", "-std=c11"]
    subprocess.run([*compiler, *WARNINGS, *includes, str(source), *objects, "-o", str(program)], check=True)


_PROGRAM = """
#include <stdio.h>
#include "dense.h"
#include "image.h"

static uint8_t image_arena[IMAGE_ARENA_BYTES + 8] TM_ALIGNED(8);
static uint8_t dense_arena[DENSE_ARENA_BYTES] TM_ALIGNED(8);

static void show(const int8_t *values, int n)
{
    for (int i = 0; i < n; ++i) {
        printf("%d ", values[i]);
    }
    printf("\\n");
}

int main(void)
{
    if (image_invoke(0) != TM_ERROR_NULL || image_invoke(image_arena + 1) != TM_ERROR_ALIGN) {
        return 1;
    }
    for (int i = 0; i < IMAGE_INPUT_ELEMENTS; ++i) {
        image_input(image_arena)[i] = (int8_t)(i * 37 % 256 - 128);
    }
    for (int i = 0; i < DENSE_INPUT_BYTES; ++i) {
        dense_input(dense_arena)[i] = dense_quantize_input((float)i * 0.3f - 1.0f);
    }
    if (image_invoke(image_arena) != TM_OK || dense_invoke(dense_arena) != TM_OK) {
        return 2;
    }
    show(image_output(image_arena), IMAGE_OUTPUT_ELEMENTS);
    show(dense_output(dense_arena), DENSE_OUTPUT_ELEMENTS);
    printf("%.9g\\n", (double)dense_dequantize_output(17));
    printf("%d %d %d\\n", IMAGE_INPUT_DIM_0, IMAGE_INPUT_DIM_1, IMAGE_INPUT_DIM_3);
    return 0;
}
"""


@pytest.mark.parametrize("cpp", [False, True], ids=["c", "c++"])
def test_two_models_in_one_program(
    models: tuple[Path, Compiled, Compiled], cpp: bool, tmp_path: Path
) -> None:
    project, image, dense = models
    source = tmp_path / ("main.cpp" if cpp else "main.c")
    source.write_text(_PROGRAM)
    _build(project, source, tmp_path / "program", cpp=cpp)
    lines = subprocess.run(
        [tmp_path / "program"], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    x = np.array([i * 37 % 256 - 128 for i in range(108)], np.int8).reshape(1, 6, 6, 3)
    expected = reference.run(image.graph, {image.graph.inputs[0]: x})[image.graph.outputs[0]]
    assert [int(v) for v in lines[0].split()] == expected.ravel().tolist()

    tensor = dense.graph.tensors[dense.graph.inputs[0]]
    real = np.arange(9, dtype=np.float32) * np.float32(0.3) - np.float32(1)
    scaled = real / np.float32(tensor.scale)
    rounded = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))
    q = np.clip(rounded + tensor.zero_point, -128, 127).astype(np.int8).reshape(1, 9)
    expected = reference.run(dense.graph, {dense.graph.inputs[0]: q})[dense.graph.outputs[0]]
    assert [int(v) for v in lines[1].split()] == expected.ravel().tolist()

    output = dense.graph.tensors[dense.graph.outputs[0]]
    assert float(lines[2]) == pytest.approx(output.scale * (17 - output.zero_point), rel=1e-6)
    assert lines[3] == "1 6 3"


def test_generated_c_has_no_float_and_no_allocation(
    models: tuple[Path, Compiled, Compiled], tmp_path: Path
) -> None:
    project, *_ = models
    folder = project / "lib" / "image" / "src"
    assembly = tmp_path / "image.s"
    arm = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-O2", "-S"]
    subprocess.run([*arm, f"-I{folder}", str(folder / "image.c"), "-o", str(assembly)], check=True)
    text = assembly.read_text()
    called = {
        line.split()[1] for line in text.splitlines() if line.strip().startswith(("bl\t", "b\t.", "blx\t"))
    }
    outside = {name for name in called if not name.startswith(".")} - _defined(text)
    assert outside <= {"memcpy", "memset", "memmove"}, outside


def _defined(assembly: str) -> set[str]:
    return {
        line.split(":")[0]
        for line in assembly.splitlines()
        if line and line[0].isalpha() and line.endswith(":")
    }


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed")
def test_a_model_may_be_named_like_a_part_of_the_firmware(tmp_path: Path) -> None:
    """No header, include guard or macro of the firmware may hide one of the model, nor the reverse."""
    b = ModelBuilder(1)
    b.output(b.fully_connected(b.input((1, 4)), 3))
    content = b.save(tmp_path / "m.tflite").read_bytes()
    for name in ("app", "link", "stm32_gpio", "tm"):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        folder = tmp_path / f"{name} project"
        build_firmware(compile_model(path, boards.load("stm32f407")), folder, toolchain="gcc")
        assert (folder / "firmware.elf").is_file(), name


def test_a_single_number_and_a_long_dimension(tmp_path: Path) -> None:
    """An output without dimensions, and a recording of more samples than 16 bits count."""
    b = ModelBuilder(2)
    x = b.max_pool(b.input((1, 1, 70_000, 1)), (1, 7), stride=(1, 7))
    b.output(x, b.mean(x, [0, 1, 2, 3]))
    model = b.save(tmp_path / "m.tflite")
    compiled = compile_model(model, boards.load("host"))
    assert [compiled.graph.tensors[t].shape for t in compiled.graph.outputs] == [(1, 1, 10_000, 1), ()]
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        assert verify(model, target, samples=2).mismatched_samples == 0
