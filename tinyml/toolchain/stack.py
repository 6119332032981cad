"""Worst-case stack of a function: frames from GCC's -fstack-usage, calls from the disassembly.

The bound is the heaviest path through the call graph. It holds for what the graph shows: a recursion, an
indirect call that the caller cannot resolve, or a frame of unknown size makes it None, with the reason.
Interrupts come on top: `INTERRUPT_FRAME_BYTES` plus the bound of the handler.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tinyml.errors import ToolchainError
from tinyml.toolchain.programs import ARM_GCC_INSTALL, require

# Registers the core stacks at an exception: 8 words, 18 more where the FPU is in use (Armv7-M ARM, B1.5.7),
# and one of padding to 8-byte alignment.
INTERRUPT_FRAME_BYTES = (8 + 18 + 1) * 4

_HEADER = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(\S+)\s*(.*)$")
_TARGET = re.compile(r"<([^>+]+)(?:\+0x[0-9a-f]+)?>")
_CLONE = re.compile(r"(\.(isra|constprop|part|cold)(\.\d+)?)+$")
_BRANCHES = ("b", "bl", "blx", "bx", "cbz", "cbnz")
_CONDITIONS = (
    "eq",
    "ne",
    "cs",
    "hs",
    "cc",
    "lo",
    "mi",
    "pl",
    "vs",
    "vc",
    "hi",
    "ls",
    "ge",
    "lt",
    "gt",
    "le",
    "al",
)


@dataclass(frozen=True, slots=True)
class StackBound:
    """The bound in bytes, the calls that reach it, and why there is none (bytes is None)."""

    bytes: int | None
    path: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Function:
    calls: set[str] = field(default_factory=set)
    indirect: bool = False
    scanned_frame: int = 0  # what its own instructions push and subtract


def stack_bound(
    elf: Path,
    stack_usage: Iterable[Path],
    entry: str,
    *,
    indirect: Mapping[str, Sequence[str]] | None = None,
    without: Collection[str] = (),
) -> StackBound:
    """Bound the stack that a call of `entry` uses, its own frame included.

    Args:
        elf: the linked firmware.
        stack_usage: GCC's .su files. A function without one (the C library's) is scanned for its pushes.
        entry: the function's symbol.
        indirect: function → what its indirect calls can reach, such as {"tm_link_poll": ("kws_invoke",)}.
        without: functions that are not followed, such as the trace hooks of a validation firmware.

    Raises:
        ToolchainError: no such function, or no disassembler.
    """
    functions = _functions(elf)
    if entry not in functions:
        raise ToolchainError(f"the firmware has no function '{entry}'", where=str(elf))
    frames, unbounded = _frames(stack_usage)
    problems: list[str] = []
    memo: dict[str, tuple[int, tuple[str, ...]]] = {}
    known = indirect or {}

    def frame(name: str) -> int:
        base = _CLONE.sub("", name)
        if name in unbounded or base in unbounded:
            problems.append(f"{name} has a frame whose size is not known before it runs")
        for key in (name, base):
            if frames.get(key):  # 0 for a naked function, whose assembly pushes by itself
                return frames[key]
        return functions[name].scanned_frame

    def deepest(name: str, above: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        if name in memo:
            return memo[name]
        if name in above:
            problems.append("recursion: " + " -> ".join([*above[above.index(name) :], name]))
            return 0, ()
        function = functions.get(name)
        if function is None:
            problems.append(f"{name} is called but not in the disassembly")
            return 0, ()
        targets = function.calls - set(without)
        if function.indirect:
            if name in known:
                targets |= set(known[name])
            else:
                problems.append(f"{name} calls through a pointer")
        best: tuple[int, tuple[str, ...]] = (0, ())
        for target in sorted(targets):
            best = max(best, deepest(target, (*above, name)), key=lambda found: found[0])
        memo[name] = (frame(name) + best[0], (name, *best[1]))
        return memo[name]

    size, path = deepest(entry, ())
    unique = tuple(dict.fromkeys(problems))
    return StackBound(None if unique else size, path, unique)


def _frames(files: Iterable[Path]) -> tuple[dict[str, int], set[str]]:
    """Return function → bytes, the largest where two files have a static function of that name."""
    frames: dict[str, int] = {}
    unbounded: set[str] = set()
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            where, size, kind = line.split("\t")
            name = where.rsplit(":", 1)[1]
            frames[name] = max(frames.get(name, 0), int(size))
            if kind == "dynamic":  # "dynamic,bounded" states its largest size
                unbounded.add(name)
    return frames, unbounded


def _functions(elf: Path) -> dict[str, _Function]:
    objdump = require("arm-none-eabi-objdump", ARM_GCC_INSTALL)
    done = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(elf)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise ToolchainError(
            "the firmware cannot be disassembled", where=str(elf), expected=done.stderr.strip()
        )
    functions: dict[str, _Function] = {}
    name = ""
    for line in done.stdout.splitlines():
        if header := _HEADER.match(line):
            name = header[2]
            functions[name] = _Function()
        elif name and (instruction := _INSTRUCTION.match(line)):
            _scan(functions[name], name, instruction[1], instruction[2])
    return functions


def _scan(function: _Function, name: str, mnemonic: str, operands: str) -> None:
    """Note one instruction's call and what it takes off the stack pointer."""
    base = mnemonic.removesuffix(".w").removesuffix(".n")
    if base[-2:] in _CONDITIONS and base[:-2] in _BRANCHES:
        base = base[:-2]
    operands = operands.split(";")[0].split("@")[0].strip()
    if base in _BRANCHES and (target := _TARGET.search(operands)):
        if target[1] != name or base in ("bl", "blx"):  # a plain branch to itself is a loop
            function.calls.add(target[1])
    elif base in _BRANCHES and operands != "lr":
        # A branch to a register. A load or move into pc is no call: a return, or a jump to a label of the
        # same function (switch tables, assembly).
        function.indirect = True
    else:
        function.scanned_frame += _pushed(base, operands)


def _pushed(base: str, operands: str) -> int:
    """Return the bytes an instruction takes off the stack pointer."""
    if base == "push" or (base == "stmdb" and operands.startswith("sp!")):
        return 4 * _registers(operands)
    if base == "vpush":
        return (8 if "{d" in operands else 4) * _registers(operands)
    if base in ("sub", "subs", "subw"):
        size = re.fullmatch(r"sp, (?:sp, )?#(\d+)", operands)
    elif base in ("str", "strd"):
        size = re.search(r"\[sp, #-(\d+)\]!", operands)
    else:
        size = None
    return int(size[1]) if size else 0


def _registers(operands: str) -> int:
    """Count the registers of a list such as {r4, r5, d8-d15}."""
    count = 0
    for item in operands[operands.index("{") + 1 :].rstrip("}").split(","):
        low, _, high = item.strip().partition("-")
        count += int(high[1:]) - int(low[1:]) + 1 if high else 1
    return count
