"""Generated C of random networks: clean under every compiler and sanitizer, and exact."""

from __future__ import annotations

import doctest
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.dsp_cases import conv_graph
from tests.kernels.harness import WARNINGS
from tests.planner.networks import (
    NotStreamable,
    attention_network,
    chain_network,
    forced_stages,
    image_network,
    random_graph,
    wide_network,
)
from tests.tflite_builder import ModelBuilder
from tinyml import boards, planner, reference
from tinyml.build import Planning, compile_model, generate, open_target
from tinyml.emit import filters
from tinyml.emit.context import model_context
from tinyml.emit.project import write_library
from tinyml.graph import Array, Graph, OpKind, Pads, Tensor
from tinyml.kernels.registry import Isa
from tinyml.planner import outside
from tinyml.select import select
from tinyml.verify import verify

ROOT = Path(__file__).resolve().parents[2]
LAYERED, NETWORKS, ATTENTION, WIDE = 8, 26, 4, 6
OTHERS = NETWORKS + ATTENTION + WIDE
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.parametrize(("compiler", "compact"), [("gcc", False), ("clang", False), ("gcc", True)])
@pytest.mark.parametrize(
    "isa", [(Isa.C,), (Isa.DSP, Isa.C), (Isa.MVE, Isa.DSP, Isa.C)], ids=["c", "dsp", "mve"]
)
def test_random_networks_are_exact_under_sanitizers(
    compiler: str, isa: Sequence[Isa], compact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    monkeypatch.setattr(outside, "SHORT", 0)  # rows of zero points in the arena wherever there is room
    main = ["#include <stdio.h>\n#include <string.h>\nstatic int bad;\n"]
    calls = []
    sources: list[str] = []
    for seed, graph in enumerate(_networks(1000)):
        if compact and seed % 2:  # half as many will do
            continue
        sources += _write(graph, isa, tmp_path, seed, compact)
        main.append(_check(graph, isa, seed, compact))
        calls.append(f"    check_net{seed}();\n")
    main.append("int main(void)\n{\n" + "".join(calls) + "    return bad;\n}\n")
    generated = "".join(Path(path).read_text() for path in sources)
    assert "memset(a + " in generated
    assert compact or "memset(pad_row" in generated
    (tmp_path / "main.c").write_text("".join(main))
    includes = [f"-I{folder}" for folder in sorted((tmp_path / "lib").glob("*/src"))]
    program = tmp_path / "program"
    _run(
        [
            compiler,
            "-std=c11",
            *WARNINGS,
            *SANITIZERS,
            *includes,
            str(tmp_path / "main.c"),
            *sources,
            "-o",
            str(program),
        ]
    )
    _run([str(program)])


def _networks(seed: int) -> Iterator[Graph]:
    """Networks of everything, of image blocks (streamed), of products, of a layer that fills its arena."""
    for n in range(NETWORKS):
        rng = random.Random(seed + n)
        graph = (
            image_network(rng, rng.randint(1, 6), joins=n % 4 == 1)
            if n >= LAYERED
            else random_graph(rng, rng.randint(1, 12))
        )
        yield graph.replace(name=f"net{n}")
    for n in range(NETWORKS, NETWORKS + ATTENTION):
        yield attention_network(random.Random(seed + n)).replace(name=f"net{n}")
    for n in range(NETWORKS + ATTENTION, OTHERS):
        yield wide_network(random.Random(seed + n), 1 + n % 6).replace(name=f"net{n}")
    for n in (OTHERS, OTHERS + 1):  # rows outside the image are all below it
        lower = {"pads": Pads(0, 1, 2, 1)} if n == OTHERS else {"pads": Pads(0, 1, 1, 1), "stride": (2, 2)}
        graph = conv_graph(in_shape=(13 - n % 2, 12, 16), out_c=48 if n % 2 else 8, kernel=(3, 3), **lower)  # type: ignore[arg-type]
        yield graph.replace(name=f"net{n}")
    yield chain_network().replace(name=f"net{OTHERS + 2}")


def _write(graph: Graph, isa: Sequence[Isa], folder: Path, seed: int, compact: bool = False) -> list[str]:
    """Write the model's library; the last networks as long runs, whether or not that saves memory."""
    selections = select(graph, isa, compact=compact)
    plan = _plan(graph, isa, seed, compact)
    files = write_library(model_context(graph, selections, plan, "random", compact=compact), folder)
    return [str(path) for path in files if path.suffix == ".c"]


def _plan(graph: Graph, isa: Sequence[Isa], seed: int, compact: bool = False) -> planner.Plan:
    selections = select(graph, isa, compact=compact)
    streamed = LAYERED <= seed < NETWORKS or NETWORKS + ATTENTION <= seed < OTHERS or seed == OTHERS + 2
    if not streamed or (compact and seed % 3):  # operators that share functions run one at a time
        plan = planner.plan(graph, selections)
    else:
        pushed = graph.inputs[0] if seed % 3 == 0 else None
        try:
            plan = forced_stages(graph, selections, random.Random(seed), longest=seed % 2 == 0, pushed=pushed)
        except NotStreamable:  # its first operator needs the whole image
            plan = forced_stages(graph, selections, random.Random(seed), longest=seed % 2 == 0)
        planner.check(graph, selections, plan)
    return plan


def _check(graph: Graph, isa: Sequence[Isa], seed: int, compact: bool) -> str:
    """C that runs the model in an arena with red zones and compares every output byte."""
    rng = np.random.default_rng(seed)
    inputs = {i: random_values(rng, graph.tensors[i]) for i in graph.inputs}
    values = reference.run(graph, inputs)
    name = graph.name
    text = [f'#include "{name}.h"\nstatic uint8_t {name}_arena[{name.upper()}_ARENA_BYTES] TM_ALIGNED(8);\n']
    body = [f"    memset({name}_arena, 0xAA, sizeof {name}_arena);\n"]
    plan = _plan(graph, isa, seed, compact)
    for k, index in enumerate(graph.inputs):
        text.append(_array(f"{name}_in{k}", inputs[index]))
        if not plan.is_pushed(index):
            body.append(
                f"    memcpy({name}_arena + {name}_model.inputs[{k}].offset,"
                f" {name}_in{k}, sizeof {name}_in{k});\n"
            )
    if plan.is_pushed(graph.inputs[0]):
        rows = graph.tensors[graph.inputs[0]].shape[1]
        body.append(
            f"    if ({name}_invoke({name}_arena) == TM_OK) {{ bad = 1; }}\n"
            f"    for (int32_t i = 0; i < {name.upper()}_INPUT_ROWS; ++i) {{\n"
            f"        const {_c(inputs[graph.inputs[0]])} *row ="
            f" {name}_in0 + i % {rows} * {name.upper()}_INPUT_ROW_BYTES / (int32_t)sizeof {name}_in0[0];\n"
            f"        if ({name}_push_row({name}_arena, i, row)"
            f' != TM_OK) {{ printf("{name} refuses a row\\n"); bad = 1; }}\n    }}\n'
        )
    body.append(
        f'    if ({name}_invoke({name}_arena) != TM_OK) {{ printf("{name} refuses\\n"); bad = 1; }}\n'
    )
    for k, index in enumerate(graph.outputs):
        text.append(_array(f"{name}_out{k}", values[index]))
        body.append(
            f"    if (memcmp({name}_arena + {name}_model.outputs[{k}].offset,"
            f" {name}_out{k}, sizeof {name}_out{k}) != 0)"
            f' {{ printf("{name} output {k} differs\\n"); bad = 1; }}\n'
        )
    return "".join([*text, f"static void check_{name}(void)\n{{\n", *body, "}\n"])


def _array(name: str, values: Array) -> str:
    numbers = ",".join(map(str, values.ravel().tolist()))
    return f"static const {_c(values)} {name}[{values.size}] = {{{numbers}}};\n"


def random_values(rng: np.random.Generator, tensor: Tensor) -> Array:
    info = np.iinfo(tensor.dtype.value)
    return rng.integers(info.min, info.max, tensor.shape, tensor.dtype.value, endpoint=True)


def _c(values: Array) -> str:
    return f"{values.dtype.name}_t"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_clang_format_leaves_generated_code_alone(tmp_path: Path) -> None:
    formatter = shutil.which("clang-format", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if formatter is None:
        pytest.skip("clang-format is not installed")
    for seed, graph in enumerate(_networks(2000)):
        for compact in (False, True):
            _write(graph, (Isa.DSP, Isa.C), tmp_path / str(compact), seed, compact)
    shutil.copy(ROOT / ".clang-format", tmp_path)
    _run([formatter, "--dry-run", "-Werror", *(str(f) for f in sorted(tmp_path.rglob("net*.[ch]")))])


@pytest.mark.parametrize("objective", ["latency", "flash"])
def test_tables_of_flags_and_of_numbers_are_two_functions(
    objective: planner.Objective, tmp_path: Path
) -> None:
    b = ModelBuilder(3)
    x = b.input((1, 4, 5), 0.05, 0)
    y = b.unary("HARD_SWISH", x, 0.05)
    b.output(b.select(b.relation("GREATER", y, b.constant(np.array([9], np.int8), 0.05, 0)), x, y))
    model = b.save(tmp_path / "m.tflite")
    compiled = compile_model(model, boards.load("host"), Planning(objective=objective))
    assert [op.kind for op in compiled.graph.ops].count(OpKind.LOOKUP) == 2
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        assert verify(model, target, samples=4).mismatched_samples == 0


def test_shared_functions_have_no_parameter_that_they_do_not_read(tmp_path: Path) -> None:
    """Windows that never leave the image want no number of rows, single rows no dilation."""
    b = ModelBuilder(3)
    x = b.input((1, 23, 21, 4))
    for n in (1, 2):
        x = b.average_pool(b.depthwise(x, 1, (1, 3), padding="VALID", dilation=(n, 1)), padding="VALID")
    b.output(x)
    compiled = compile_model(b.save(tmp_path / "m.tflite"), boards.load("host"), Planning(objective="flash"))
    generate(compiled, tmp_path / "out")
    (source,) = (tmp_path / "out").rglob("m.c")
    assert "AVERAGE_POOL_2D: 2 operators" in source.read_text()
    _run(["gcc", "-std=c11", *WARNINGS, "-fsyntax-only", f"-I{source.parent}", str(source)])


def test_functions_are_shared_by_outputs_of_one_type(tmp_path: Path) -> None:
    """Arithmetic and comparisons of token ids have one kernel, tables of numbers and of bools another."""
    b = ModelBuilder(3)
    ids = b.input((7,), dtype="int32")
    more = [b.integer(name, ids, b.constant(np.array(2, np.int32))) for name in ("MINIMUM", "FLOOR_MOD")]
    mask = b.relation("LESS", more[0], b.constant(np.array(5, np.int32)))
    x = b.input((7,), 0.1, 3)
    positive = b.relation("LESS", x, b.constant(np.array(0, np.int8), 0.1, 3))
    b.output(*more, mask, positive, b.unary("TANH", x, 1 / 128, 0))
    compiled = compile_model(b.save(tmp_path / "m.tflite"), boards.load("host"), Planning(objective="flash"))
    generate(compiled, tmp_path / "out")
    (source,) = (tmp_path / "out").rglob("m.c")
    assert "INTEGER: 2 operators" in source.read_text()
    _run(["gcc", "-std=c11", *WARNINGS, "-fsyntax-only", f"-I{source.parent}", str(source)])


def test_equal_constants_stand_once(tmp_path: Path) -> None:
    b = ModelBuilder(4)
    gates = [b.unary("LOGISTIC", b.input((n,), 0.1, 3), 1 / 256, -128) for n in (5, 6)]
    b.output(*gates, b.unary("LOGISTIC", b.input((7,), 0.2, 3), 1 / 256, -128))
    context = compile_model(b.save(tmp_path / "m.tflite"), boards.load("host")).context()
    tables = [array.symbol for array in context.arrays if array.values.size == 256]
    assert len(tables) == 2
    assert [call.constants[0] for call in context.calls] == [tables[0], *tables]


def test_doctests() -> None:
    assert doctest.testmod(filters, extraglobs={"np": np}).failed == 0
