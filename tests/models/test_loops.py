"""Recurrent layers that are not unrolled: on the host and in an emulator, and what a step costs."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.kernels.harness import WARNINGS
from tests.recurrent_loops import Layer, recurrent
from tests.tflite_builder import ModelBuilder
from tinyml import boards, planner
from tinyml.build import Compiled, Planning, compile_model, generate, open_target
from tinyml.cli.app import cli
from tinyml.verify import verify


def _network(folder: Path, steps: int = 5) -> Path:
    """Two layers, the first of which gives all its rows; a state that is computed, and one from flash."""
    b = ModelBuilder(7)
    x = b.input((1, steps, 6), 0.03, 3)
    y = b.reshape(x, (steps, 1, 6))
    y = recurrent(b, y, Layer("lstm", 9, "sequence", floats=True))
    y = recurrent(b, y, Layer("gru", 7, backwards=True))
    first = b.fully_connected(b.reshape(x, (1, 6 * steps)), 7, out_scale=1 / 128, out_zero_point=0)
    loop = next(op for op in reversed(b.operators) if op.name == "WHILE")
    loop.inputs[2] = first
    b.operators.append(b.operators.pop(b.operators.index(loop)))
    b.output(b.fully_connected(y, 3))
    return b.save(folder / f"loops{steps}.tflite")


@pytest.mark.parametrize("objective", ["latency", "flash"])
@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_equals_litert(board: str, objective: planner.Objective, tmp_path: Path) -> None:
    model = _network(tmp_path)
    compiled = compile_model(model, boards.load(board), Planning(objective=objective))
    with open_target(compiled, tmp_path / "out", toolchain="gcc") as target:
        report = verify(model, target, samples=4)
    assert (report.samples, report.mismatched_samples) == (4, 0), report.first_mismatch
    if board != "host" and objective == "latency":
        estimate = compiled.report().latency_estimate
        assert estimate is not None
        assert estimate.instructions > 5 * 16 * 9 * 4  # at least an instruction per multiply-accumulate


def test_a_plan_of_a_body_is_proved_too(tmp_path: Path) -> None:
    compiled = compile_model(_network(tmp_path), boards.load("host"))
    graph, plan = compiled.graph, compiled.plan
    planner.check(graph, compiled.selections, plan)
    (op, body), other = plan.bodies
    state = body.buffer_of(graph.ops[op].attrs.body.states[0].tensor)
    forgotten = tuple(dataclasses.replace(b, last=0) if b is state else b for b in body.buffers)
    larger = dataclasses.replace(body, arena_bytes=body.arena_bytes + 64)
    for bodies, message in (
        ((other,), "plans of the bodies"),
        (((op, dataclasses.replace(body, buffers=forgotten)), other), "state, is used in stage"),
        (((op, larger), other), "arena"),
    ):
        with pytest.raises(planner.PlanError, match=message):
            planner.check(graph, compiled.selections, dataclasses.replace(plan, bodies=bodies))
    scratch = next(b for b in plan.buffers if b.kind is planner.BufferKind.SCRATCH)
    less = tuple(dataclasses.replace(b, size_bytes=8) if b is scratch else b for b in plan.buffers)
    end = max(b.offset + b.size_bytes for b in less)
    short = dataclasses.replace(plan, buffers=less, arena_bytes=end, lower_bound_bytes=0)
    with pytest.raises(planner.PlanError, match="8 B of scratch, its body wants"):
        planner.check(graph, compiled.selections, short)


def test_the_operators_of_a_step_are_listed(tmp_path: Path) -> None:
    model = str(_network(tmp_path))
    shown = CliRunner().invoke(cli, ["inspect", model]).output
    assert shown.count("WHILE, 5 steps") == 2
    assert "MUL" in shown
    graph = json.loads(CliRunner().invoke(cli, ["inspect", "--json", model]).stdout)
    loops = [op["attrs"] for op in graph["ops"] if op["op"] == "WHILE"]
    assert [loop["steps"] for loop in loops] == [5, 5]
    assert all(loop["body"]["ops"] for loop in loops)


def _code(compiled: Compiled, folder: Path) -> str:
    generate(compiled, folder)
    return (folder / "lib" / compiled.graph.name / "src" / f"{compiled.graph.name}.c").read_text()


def test_code_and_constants_do_not_grow_with_the_steps(tmp_path: Path) -> None:
    few, many = (compile_model(_network(tmp_path, steps), boards.load("mps2-an386")) for steps in (4, 400))
    short, long = (_code(compiled, tmp_path / compiled.graph.name) for compiled in (few, many))
    assert long.count("\n") == short.count("\n")
    loops = [compiled.plan.bodies for compiled in (few, many)]
    assert [body.arena_bytes for _, body in loops[0]] == [body.arena_bytes for _, body in loops[1]]
    grown = many.context().constant_bytes - few.context().constant_bytes
    assert grown == 396 * 6 * 7  # the dense layer that reads all rows


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compiles_without_a_warning_and_behaves(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    generate(compile_model(_network(tmp_path), boards.load("host")), tmp_path / "project")
    sources = tmp_path / "project" / "lib" / "loops5" / "src"
    main = tmp_path / "main.c"
    main.write_text(_MAIN)
    command = [compiler, "-std=c11", *WARNINGS, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command += [f"-I{sources}", str(main), *map(str, sorted(sources.rglob("*.c"))), "-o"]
    subprocess.run([*command, str(tmp_path / "program")], check=True)
    done = subprocess.run([str(tmp_path / "program")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


_MAIN = """
#include "loops5.h"
#include <stdlib.h>
int main(void)
{
    uint8_t *arena = malloc(LOOPS5_ARENA_BYTES);
    for (uint32_t k = 0; k < LOOPS5_ARENA_BYTES; ++k) {
        arena[k] = (uint8_t)(rand() & 255);
    }
    const int result = loops5_invoke(arena);
    free(arena);
    return result != TM_OK;
}
"""
