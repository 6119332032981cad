"""Runs calls of kernels on an emulated core under the profiler's plugin: what each call executes.

Many cases make one program, each with every shape as a literal, as generated code has them; a call is counted
with its loop over rows and all that it calls (tests/kernels/count_portable.py, tools/fit_latency.py).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.harness import (
    RISCV_COMPILER,
    RISCV_RUNNER,
    SEMIHOSTING_SOURCES,
    Array,
    Case,
    Program,
    board_compiler,
    board_runner,
)

RISCV = "rv32imc"
# Cores without an emulated board of their own, whose code another's core executes.
_STAND_INS = {"cortex-m0plus": "cortex-m0", "cortex-m3": "cortex-m4"}
_ROLES = {"run_cases": "invoke", "main": "run", "count_begin": "begin", "count_end": "end"}


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls that ran, in order.

    Args:
        program: the program, for its disassembly.
        report: what the plugin wrote.
        instructions: executed in each call.
        outputs: of each call.
    """

    program: Path
    report: str
    instructions: tuple[int, ...]
    outputs: tuple[Array, ...]


def count_calls(cases: Sequence[Case], core: str, plugin: Path, folder: Path, option: str = "-O2") -> Counted:
    """Return what every case executes.

    Args:
        cases: no more than a board's memory holds the code of: a few hundred.
        core: of harness.BOARDS or _STAND_INS, or RISCV.
        plugin: count_dsp.build_plugin().
        folder: where sources, program and data files go.
        option: GCC's, of optimisation.
    """
    if core == RISCV:
        compiler, sources = tuple(option if f == "-O2" else f for f in RISCV_COMPILER), ()
        nm, runner = "riscv64-unknown-elf-nm", RISCV_RUNNER
    else:
        compiler, sources = board_compiler(core, option), SEMIHOSTING_SOURCES
        nm, runner = "arm-none-eabi-nm", board_runner(_STAND_INS.get(core, core))
    program = Program(folder, cases, compiler=compiler, sources=sources, specialise=True)
    listed = subprocess.run([nm, "-S", str(program.program)], capture_output=True, text=True, check=True)
    ranges, out = folder / "ranges", folder / "counts"
    # a symbol's lowest bit is the Thumb state
    found = re.findall(r"^(\w+) (\w+) [tT] (\w+)$", listed.stdout, re.MULTILINE)
    lines = [
        f"{int(at, 16) & ~1:x} {(int(at, 16) & ~1) + int(size, 16):x} {_ROLES[name]} {name}\n"
        for at, size, name in found
        if name in _ROLES
    ]
    assert len(lines) == len(_ROLES), listed.stdout
    ranges.write_text("".join(lines))
    out.unlink(missing_ok=True)
    *command, last = runner
    outputs = program.run(cases, (*command, "-plugin", f"{plugin},out={out},ranges={ranges}", last))
    report = out.read_text()
    calls = re.findall(r"^layer (\d+) (\d+)$", report, re.MULTILINE)
    assert len(calls) == len(cases)
    return Counted(program.program, report, tuple(int(n) for _, n in calls), tuple(outputs))
