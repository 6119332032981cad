"""Executed instructions on emulated boards: exactly, per layer and per function.

A TCG plugin of ours (`runtime_c/qemu_plugin/tm_profile.c`) counts while QEMU runs the very firmware
that would be flashed. The trace hooks between layers mark the layers and are not counted; neither
are interrupt handlers. What remains of the hooks is the two instructions of each call (the layer's
number into r0, and the branch), which are subtracted, so that the sum is what a build without hooks
executes. Counts depend on the input only as far as the kernels branch on data.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from tinyml import resources
from tinyml.boards import Board
from tinyml.errors import TargetError, ToolchainError
from tinyml.graph import Array
from tinyml.run.firmware import symbol_ranges
from tinyml.run.link import Expected, Timing
from tinyml.run.qemu import QemuTarget
from tinyml.run.target import LayerInfo
from tinyml.toolchain.gcc import build_host
from tinyml.toolchain.programs import QEMU_INSTALL, require

Result = TypeVar("Result")

_HOOK_CALL = 2  # instructions: movs r0, #layer; bl hook
_RUN = "tm_link_run_model"  # the function that calls invoke(), tm_link.c
_FEED = "tm_link_push_row"  # the function that calls push_row(), tm_link.c
_SKIP = re.compile(r"tm_(irq|systick|port|uart|link|fault)_?\w*")


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """Executed instructions of one layer."""

    index: int
    name: str
    op: str
    macs: int
    instructions: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Executed instructions of one inference: from entering invoke() to its return, and every push_row().

    `outside` are those of the two themselves, outside any layer. `functions` has the same instructions by
    function (the calls of hooks included); code without a function symbol is "-".
    """

    instructions: int
    outside: int
    layers: tuple[LayerProfile, ...]
    functions: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as plain values."""
        return {
            "instructions": self.instructions,
            "outside_layers": self.outside,
            "layers": [
                {
                    "index": layer.index,
                    "name": layer.name,
                    "op": layer.op,
                    "macs": layer.macs,
                    "instructions": layer.instructions,
                }
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
) -> Profile:
    """Count the instructions of one inference.

    Args:
        elf: a firmware linked for `board`. Without -DTM_TRACE=1 the profile has no layers.
        board: a board with an emulator.
        model_name: the model's C name.
        inputs: as for Target.infer().
        expected: model and firmware that should answer.

    Returns:
        Exact counts: two runs with equal inputs give equal ones.

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

    (layers, rows), counts = _counted(elf, board, roles, run, expected)
    # The hooks are called once per layer, but for every row in a first layer whose rows are pushed.
    calls = [rows if rows and layer.index == 0 else 1 for layer in layers]
    if counts.inferences != 1 or counts.rows != rows or len(counts.layers) != sum(calls):
        raise TargetError(
            f"the profile of {elf.name} is incomplete",
            expected=f"expected 1 inference of {rows} pushed rows and {sum(calls)} calls of layers,"
            f" counted {counts.inferences} of {counts.rows} and {len(counts.layers)}",
            hint="the board may have restarted in the middle: run the model without --profile first",
        )
    profiles = tuple(
        LayerProfile(
            layer.index,
            layer.name,
            layer.op,
            layer.macs,
            sum(counts.layers[end - count : end]) - _HOOK_CALL * count,
        )
        for layer, count, end in zip(layers, calls, accumulate(calls), strict=True)
    )
    outside = counts.outside - _HOOK_CALL * sum(calls)
    total = outside + sum(layer.instructions for layer in profiles)
    return Profile(total, outside, profiles, counts.inside)


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


@dataclass(frozen=True, slots=True)
class _Counts:
    inferences: int
    rows: int  # pushed in the inference
    outside: int
    layers: tuple[int, ...]
    inside: dict[str, int]  # in the inference, by function
    functions: dict[str, int]  # in the whole run


def _counted(
    elf: Path,
    board: Board,
    roles: dict[str, str],
    action: Callable[[QemuTarget], Result],
    expected: Expected | None,
) -> tuple[Result, _Counts]:
    plugin = _plugin(board.emulator.program if board.emulator else "")
    with tempfile.TemporaryDirectory(prefix="tinyml-profile-") as name:
        folder = Path(name)
        ranges, out = folder / "ranges", folder / "counts"
        ranges.write_text(_ranges_text(elf, roles), encoding="utf-8")
        arguments = ("-plugin", f"{plugin},out={out},ranges={ranges}")
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
    inferences = rows = outside = 0
    layers: list[int] = []
    by_function: dict[str, dict[str, int]] = {"inside": {}, "function": {}}
    for line in text.splitlines():
        match line.split():
            case ["inferences", number]:
                inferences = int(number)
            case ["rows", number]:
                rows = int(number)
            case ["outside", number]:
                outside = int(number)
            case ["layer", _, number]:
                layers.append(int(number))
            case [("inside" | "function") as scope, number, name]:
                # Static functions of different files may share a name.
                by_function[scope][name] = by_function[scope].get(name, 0) + int(number)
    return _Counts(inferences, rows, outside, tuple(layers), by_function["inside"], by_function["function"])


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
