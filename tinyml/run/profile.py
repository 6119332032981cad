"""Executed instructions on emulated boards: exactly, per layer and per function.

A TCG plugin of ours (`runtime_c/qemu_plugin/tm_profile.c`) counts while QEMU runs the very firmware
that would be flashed. The trace hooks between layers mark the layers and are not counted; neither
are interrupt handlers. What remains of the hooks is the two instructions of each call (the layer's
number into r0, and the branch), which are subtracted, so that the sum is what a build without hooks
executes. Counts depend on the input only as far as the kernels branch on data.

The plugin also says which straight runs of instructions each layer executed, how often, and where they
went next. Priced with the core's published timings (`tinyml/run/cycles.py`) these are the estimated
cycles, and sorted by class the breakdown. A board that names its flash accelerator (`flash_cache`) gets
the cycles its core waits for flash on top.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from tinyml import resources
from tinyml.boards import Board
from tinyml.errors import TargetError, ToolchainError
from tinyml.graph import Array
from tinyml.run.cycles import CORES, Core
from tinyml.run.disassembly import Instruction, Kind, decode, disassemble
from tinyml.run.firmware import symbol_ranges
from tinyml.run.link import Expected, Timing
from tinyml.run.qemu import QemuTarget
from tinyml.run.target import LayerInfo
from tinyml.toolchain.gcc import build_host
from tinyml.toolchain.programs import QEMU_INSTALL, require

Result = TypeVar("Result")

_HOOK_CALL = (decode(0, 2, "movs", "r0, #0"), decode(2, 4, "bl", "0"))
_OUTSIDE = -1  # the place of what is outside any layer
_RUN = "tm_link_run_model"  # the function that calls invoke(), tm_link.c
_FEED = "tm_link_push_row"  # the function that calls push_row(), tm_link.c
_SKIP = re.compile(r"tm_(irq|systick|port|uart|link|fault)_?\w*")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a part of an inference executed.

    Args:
        instructions: executed, exactly.
        kinds: the same by class; every class is there.
        cycles: estimated, for zero wait states; None for a core without a model.
        wait_cycles: estimated cycles of waiting for flash; None where nothing is known of the board's.
    """

    instructions: int
    kinds: Mapping[Kind, int]
    cycles: int | None
    wait_cycles: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "instructions": self.instructions,
            "classes": {kind.value: self.kinds[kind] for kind in Kind},
            "estimated_cycles": self.cycles,
            "estimated_wait_cycles": self.wait_cycles,
        }


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """What one layer executed."""

    index: int
    name: str
    op: str
    macs: int
    cost: Cost

    @property
    def instructions(self) -> int:
        """Executed instructions."""
        return self.cost.instructions


@dataclass(frozen=True, slots=True)
class Profile:
    """What one inference executed, from entering invoke() to its return, and in every push_row().

    `total` is all of it, `outside` what the two themselves execute outside any layer. `functions` has the
    same instructions by function (the calls of hooks included); code without a function symbol is "-".
    """

    core: str
    total: Cost
    outside: Cost
    layers: tuple[LayerProfile, ...]
    functions: dict[str, int]

    @property
    def instructions(self) -> int:
        """Executed instructions."""
        return self.total.instructions

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain values."""
        return {
            "core": self.core,
            **self.total.to_json(),
            "outside_layers": self.outside.to_json(),
            "layers": [
                {"index": layer.index, "name": layer.name, "op": layer.op, "macs": layer.macs}
                | layer.cost.to_json()
                for layer in self.layers
            ],
            "functions": self.functions,
        }


def profile(
    elf: Path,
    board: Board,
    model_name: str,
    inputs: Sequence[Array],
    *,
    expected: Expected | None = None,
    priced_as: Board | None = None,
) -> Profile:
    """Count the instructions of one inference and price them.

    Args:
        elf: a firmware linked for `board`. Without -DTM_TRACE=1 the profile has no layers.
        board: a board with an emulator.
        model_name: the model's C name.
        inputs: as for Target.infer().
        expected: model and firmware that should answer.
        priced_as: the board whose core and flash make the price, where `board` is its emulated twin.

    Returns:
        Exact counts and estimated cycles: two runs with equal inputs give equal ones.

    Raises:
        ToolchainError: the plugin does not compile, or QEMU does not load it.
        TargetError: the firmware does not answer as it should, or has lost its symbols.
    """
    invoke = f"{model_name}_invoke"
    roles = {invoke: "invoke", _RUN: "run", "tm_trace_begin": "begin", "tm_trace_end": "end"}
    roles |= {f"{model_name}_push_row": "push", _FEED: "feed"}
    missing = sorted({invoke, _RUN} - symbol_ranges(elf).keys())
    if missing:
        raise TargetError(
            f"{elf.name} cannot be profiled: it has no function {', '.join(missing)}",
            where=str(elf),
            hint="it must be a firmware of tinyml, with its symbols",
        )

    def run(target: QemuTarget) -> tuple[tuple[LayerInfo, ...], int]:
        target.infer(inputs)
        return target.layers() if target.info.trace else (), target.info.pushed_rows

    real = priced_as or board
    (layers, rows), counts = _counted(elf, board, roles, run, expected, _flash_argument(board, real))
    # The hooks are called once per layer, but for every row in a first layer whose rows are pushed.
    calls = [rows if rows and layer.index == 0 else 1 for layer in layers]
    if counts.inferences != 1 or counts.rows != rows or len(counts.layers) != sum(calls):
        raise TargetError(
            f"the profile of {elf.name} is incomplete",
            expected=f"expected 1 inference of {rows} pushed rows and {sum(calls)} calls of layers,"
            f" counted {counts.inferences} of {counts.rows} and {len(counts.layers)}",
            hint="the board may have restarted in the middle: run the model without --profile first",
        )
    pricing = _Pricing(disassemble(elf), CORES.get(real.core), _wait_states(real))
    profiles = tuple(
        LayerProfile(
            layer.index,
            layer.name,
            layer.op,
            layer.macs,
            pricing.cost(counts, range(end - count, end), hooks=count),
        )
        for layer, count, end in zip(layers, calls, accumulate(calls), strict=True)
    )
    outside = pricing.cost(counts, (_OUTSIDE,), hooks=sum(calls))
    return Profile(
        real.core, _sum([outside, *(layer.cost for layer in profiles)]), outside, profiles, counts.inside
    )


def count_functions(elf: Path, board: Board, action: Callable[[QemuTarget], object]) -> dict[str, int]:
    """Count executed instructions per function over a whole run: for kernels' benchmarks.

    Args:
        elf: a firmware linked for `board`; it must speak the serial protocol.
        board: a board with an emulator.
        action: what to do with the running target.

    Returns:
        {function: instructions}; "-" is code that belongs to no function symbol.
    """
    return _counted(elf, board, {}, action, None)[1].functions


def price_calls(elf: Path, report: str, core: str) -> list[Cost]:
    """Price what the plugin counted in a program that ran without a serial link: for kernels' benchmarks.

    Args:
        elf: the program.
        report: what the plugin wrote.
        core: whose timings make the price, for zero wait states.

    Returns:
        What each call between the begin and the end of a layer cost.
    """
    counts = _parse(report)
    pricing = _Pricing(disassemble(elf), CORES[core], 0)
    return [pricing.cost(counts, (place,), hooks=0) for place in range(len(counts.layers))]


@dataclass(frozen=True, slots=True)
class _Run:
    """A straight run of instructions that a layer executed: `jumped` of `count` times it did not go on."""

    address: int
    instructions: int
    count: int
    jumped: int


@dataclass(frozen=True, slots=True)
class _Counts:
    inferences: int
    rows: int  # pushed in the inference
    layers: tuple[int, ...]
    runs: dict[int, list[_Run]]  # by place of the layer, _OUTSIDE for what is outside any
    waits: dict[int, int]  # lines of flash that were waited for, likewise
    inside: dict[str, int]  # in the inference, by function
    functions: dict[str, int]  # in the whole run


def _counted(
    elf: Path,
    board: Board,
    roles: dict[str, str],
    action: Callable[[QemuTarget], Result],
    expected: Expected | None,
    flash: str = "",
) -> tuple[Result, _Counts]:
    plugin = _plugin(board.emulator.program if board.emulator else "")
    with tempfile.TemporaryDirectory(prefix="tinyml-profile-") as name:
        folder = Path(name)
        ranges, out = folder / "ranges", folder / "counts"
        ranges.write_text(_ranges_text(elf, roles), encoding="utf-8")
        arguments = ("-plugin", f"{plugin},out={out},ranges={ranges}{flash}")
        # A repeated request would only add interrupts, which do not count; still, be patient.
        with QemuTarget(
            elf, board, expected=expected, timing=Timing(retry=2.0, hello=30.0), extra_args=arguments
        ) as target:
            result = action(target)
            target.quit()
        if not out.is_file():
            raise ToolchainError(
                "QEMU has not run the profiling plugin",
                where=str(plugin),
                hint="its QEMU must be built with plugins (Debian's is)",
            )
        return result, _parse(out.read_text("utf-8"))


def _ranges_text(elf: Path, roles: dict[str, str]) -> str:
    """One line per function: first address, address behind it, role, name."""
    places: dict[int, tuple[int, str, str]] = {}
    for name, (start, end) in sorted(symbol_ranges(elf).items()):
        role = roles.get(name) or ("skip" if _SKIP.fullmatch(name) else "other")
        if start not in places or (places[start][1] == "other" and role != "other"):
            places[start] = (end, role, name[:150])
    return "".join(
        f"{start:x} {end:x} {role} {name}\n" for start, (end, role, name) in sorted(places.items())
    )


def _parse(text: str) -> _Counts:
    inferences = rows = 0
    layers: list[int] = []
    runs: dict[int, list[_Run]] = {}
    waits: dict[int, int] = {}
    by_function: dict[str, dict[str, int]] = {"inside": {}, "function": {}}
    for line in text.splitlines():
        match line.split():
            case ["inferences", number]:
                inferences = int(number)
            case ["rows", number]:
                rows = int(number)
            case ["layer", _, number]:
                layers.append(int(number))
            case ["block", place, address, instructions, count, jumped]:
                run = _Run(int(address, 16), int(instructions), int(count), int(jumped))
                runs.setdefault(int(place), []).append(run)
            case ["wait", place, fetches, reads]:
                waits[int(place)] = int(fetches) + int(reads)
            case [("inside" | "function") as scope, number, name]:
                # Static functions of different files may share a name.
                by_function[scope][name] = by_function[scope].get(name, 0) + int(number)
    return _Counts(
        inferences, rows, tuple(layers), runs, waits, by_function["inside"], by_function["function"]
    )


class _Pricing:
    """Prices of a firmware's runs of instructions, each looked up once."""

    def __init__(self, code: Mapping[int, Instruction], core: Core | None, wait_states: int | None) -> None:
        self._code = code
        self._core = core
        self._wait_states = wait_states

    def cost(self, counts: _Counts, places: Iterable[int], *, hooks: int) -> Cost:
        """Return what a layer cost in all its places, less the calls of `hooks` hooks in them."""
        kinds: Counter[Kind] = Counter()
        cycles = 0.0
        places = tuple(places)
        waits = sum(counts.waits.get(place, 0) for place in places)
        for run in (run for place in places for run in counts.runs.get(place, [])):
            instructions = self._instructions(run)
            for instruction in instructions:
                kinds[instruction.kind] += run.count
            if self._core:
                cycles += self._core.price(instructions).total(run.count, run.jumped)
        for instruction in _HOOK_CALL:
            kinds[instruction.kind] -= hooks
        if self._core:
            cycles -= hooks * self._core.price(_HOOK_CALL).cycles
        return Cost(
            sum(kinds.values()),
            {kind: kinds[kind] for kind in Kind},
            round(cycles) if self._core else None,
            None if self._wait_states is None else self._wait_states * waits,
        )

    def _instructions(self, run: _Run) -> list[Instruction]:
        address, instructions = run.address, []
        for _ in range(run.instructions):
            instruction = self._code.get(address)
            if instruction is None:
                raise ToolchainError(
                    f"the firmware executes code at {address:#x} that objdump does not show",
                    hint="please report this",
                )
            instructions.append(instruction)
            address += instruction.size
        return instructions


def _sum(costs: Sequence[Cost]) -> Cost:
    def add(values: list[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return Cost(
        sum(cost.instructions for cost in costs),
        {kind: sum(cost.kinds[kind] for cost in costs) for kind in Kind},
        add([cost.cycles for cost in costs]),
        add([cost.wait_cycles for cost in costs]),
    )


def _wait_states(board: Board) -> int | None:
    """Return the cycles that a line of flash is waited for, None where a chip's flash is not described."""
    if board.flash_cache:
        return board.flash_wait_states
    return 0 if board.emulator and not board.flash_wait_states else None


def _flash_argument(runner: Board, real: Board) -> str:
    """Return the plugin's argument that describes the flash of `real` at the addresses of `runner`."""
    described = real.flash_cache
    if described is None or runner.flash is None:
        return ""
    fields = (
        f"{runner.flash.origin:x}",
        f"{runner.flash.end:x}",
        described.line_bytes,
        described.code_lines,
        described.data_lines,
        int(described.prefetch),
    )
    return ",flash=" + ":".join(map(str, fields))


def _plugin(program: str) -> Path:
    """Return the compiled plugin, compiling it on first use into the user's cache folder."""
    source = resources.runtime_dir() / "qemu_plugin" / "tm_profile.c"
    api = _plugin_api(program)
    digest = hashlib.sha256(source.read_bytes() + bytes([api])).hexdigest()[:16]
    path = resources.cache_dir() / f"tm_profile-{digest}.so"
    if path.is_file():
        return path
    try:
        return build_host([source], [], path, defines=[f"TM_PLUGIN_API={api}"])
    except OSError as error:
        raise ToolchainError(
            f"the cache folder {path.parent} cannot be written: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be",
        ) from error


def _plugin_api(program: str) -> int:
    """Return the version of the plugin interface to declare: QEMU 9 no longer loads version 1."""
    path = require(program, QEMU_INSTALL)
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+)\.", text)
    return 2 if match and int(match[1]) >= 9 else 1
