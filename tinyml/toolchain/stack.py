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
_TARGET = re.compile(r"<([^>+]+)(\+0x[0-9a-f]+)?>")
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


class CallGraph:
    """A firmware's functions, what they call and the stack that each takes.

    Args:
        elf: the linked firmware.
        stack_usage: GCC's .su files. A function without one (the C library's), or with a frame of its own
            making (assembly), is scanned for its pushes.

    Raises:
        ToolchainError: no disassembler, or no firmware.
    """

    def __init__(self, elf: Path, stack_usage: Iterable[Path]) -> None:
        self._elf = elf
        self._functions = _functions(elf)
        self._frames, self._unbounded = _frames(stack_usage)

    def bound(
        self,
        entry: str,
        *,
        indirect: Mapping[str, Sequence[str]] | None = None,
        without: Collection[str] = (),
    ) -> StackBound:
        """Bound the stack that a call of `entry` uses, its own frame included.

        Args:
            entry: the function's symbol.
            indirect: function → what its indirect calls can reach, such as {"tm_link_poll": ("kws_invoke",)}.
            without: functions that are not followed, such as the trace hooks of a validation firmware.

        Raises:
            ToolchainError: no such function.
        """
        if entry not in self._functions:
            raise ToolchainError(f"the firmware has no function '{entry}'", where=str(self._elf))
        problems: list[str] = []
        memo: dict[str, tuple[int, tuple[str, ...]]] = {}
        known = indirect or {}

        def deepest(name: str, above: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
            if name in memo:
                return memo[name]
            if name in above:
                problems.append("recursion: " + " -> ".join([*above[above.index(name) :], name]))
                return 0, ()
            function = self._functions.get(name)
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
            if name in self._unbounded or _CLONE.sub("", name) in self._unbounded:
                problems.append(f"{name} has a frame whose size is not known before it runs")
            memo[name] = (self.frame(name) + best[0], (name, *best[1]))
            return memo[name]

        size, path = deepest(entry, ())
        unique = tuple(dict.fromkeys(problems))
        return StackBound(None if unique else size, path, unique)

    def frame(self, name: str) -> int:
        """Return the bytes that a function takes by itself: GCC's figure, or more where its assembly pushes.

        GCC knows nothing of a push in assembly, and gives a naked function 0.
        """
        stated = max(self._frames.get(key, 0) for key in (name, _CLONE.sub("", name)))
        return max(stated, self._functions[name].scanned_frame)


def stack_bound(
    elf: Path,
    stack_usage: Iterable[Path],
    entry: str,
    *,
    indirect: Mapping[str, Sequence[str]] | None = None,
    without: Collection[str] = (),
) -> StackBound:
    """Bound the stack of one function: see `CallGraph`."""
    return CallGraph(elf, stack_usage).bound(entry, indirect=indirect, without=without)


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
    functions: dict[str, list[_Function]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if header := _HEADER.match(line):
            name = header[2]
            functions.setdefault(name, []).append(_Function())
        elif name and (instruction := _INSTRUCTION.match(line)):
            _scan(functions[name][-1], name, instruction[1], instruction[2])
    # Static functions of several files share a name: what any of them calls, and the most that one takes.
    return {
        name: _Function(
            set().union(*(f.calls for f in same)),
            any(f.indirect for f in same),
            max(f.scanned_frame for f in same),
        )
        for name, same in functions.items()
    }


def _scan(function: _Function, name: str, mnemonic: str, operands: str) -> None:
    """Note one instruction's call and what it takes off the stack pointer."""
    base = mnemonic.removesuffix(".w").removesuffix(".n")
    if base[-2:] in _CONDITIONS and base[:-2] in _BRANCHES:
        base = base[:-2]
    operands = operands.split(";")[0].split("@")[0].strip()
    if base in _BRANCHES and (target := _TARGET.search(operands)):
        # A plain branch to itself is a loop, a call into its middle a subroutine of assembly (libgcc's
        # floats), whose pushes are counted with the function's.
        if target[1] != name or (base in ("bl", "blx") and target[2] is None):
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
