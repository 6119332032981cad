"""The whole way: a model file and a board → a plan, a C project, a firmware, a running target.

Every function is one arrow of docs/architecture.md; this file only chains them and checks that the
result fits the board. Compilers, emulators and serial ports are imported where they are used, so that a
plan needs none of them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tinyml import passes, planner
from tinyml.boards import Board, all_boards
from tinyml.emit.context import ModelContext, model_context
from tinyml.emit.project import write_library, write_project
from tinyml.errors import DoesNotFit, TargetError, UsageError
from tinyml.graph import Graph
from tinyml.kernels.registry import Isa
from tinyml.passes import Edges
from tinyml.planner.plan import Plan
from tinyml.readers import read_model
from tinyml.report.html import render_html
from tinyml.report.model import BuildReport, SymbolSize, from_plan, with_firmware
from tinyml.select import Choice, Selection, copies, select

if TYPE_CHECKING:
    from tinyml.run.target import Target
    from tinyml.toolchain.result import BuildResult

Toolchain = Literal["platformio", "gcc"]

MAX_SLOWDOWN = 0.1
"""Instructions that `--schedule stream` adds at most, as an estimated share of the layers' own."""

_HOOKS = ("tm_trace_begin", "tm_trace_end")  # of the validation firmware; a product has none


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A model planned for a board.

    Args:
        source: the model file.
        graph: after passes.
        selections: one kernel per operator of `graph`.
        plan: where every byte lives.
        board: the board it is planned for.
        arena_limit: the most bytes its arena may take, None on the host.
        tuning: what `tinyml.tune` measured for the selections, as plain values; None where it did not.
        compact: layers share functions, and the compiler optimises for size (objective "flash").
    """

    source: Path
    graph: Graph
    selections: tuple[Selection, ...]
    plan: Plan
    board: Board
    arena_limit: int | None = None
    tuning: tuple[Mapping[str, Any], ...] | None = None
    compact: bool = False

    def context(self) -> ModelContext:
        """Return the values that the templates see."""
        return model_context(self.graph, self.selections, self.plan, self.source.name, compact=self.compact)

    def report(self) -> BuildReport:
        """Return what the plan costs; code and stack are unknown before compiling."""
        constant_bytes = self.context().constant_bytes
        report = from_plan(self.graph, self.selections, self.plan, self.board, constant_bytes)
        return dataclasses.replace(report, tuning=self.tuning)

    @property
    def lowered_bytes(self) -> int:
        """Bytes of the kernels' constants: all of the model's flash but code and rows of zero points."""
        return sum(c.values.nbytes for s in self.selections if s.lowered for c in s.lowered.constants)


@dataclass(frozen=True, slots=True)
class PatchSchedule:
    """The first `operators` in `patches` x `patches` patches, the others one by one (MCUNetV2)."""

    patches: int
    operators: int


@dataclass(frozen=True, slots=True)
class Planning:
    """What the user decides about a plan.

    Args:
        edges: element type of inputs and outputs where the model has float ones.
        schedule: "layer" runs one operator at a time; "stream" looks for the smallest arena that costs at
            most MAX_SLOWDOWN; "auto" streams what the objective asks for; a PatchSchedule is MCUNetV2's.
        objective: what to choose among the plans that fit; "flash" also makes layers share functions.
        max_sram: the most bytes the arena may take, where that is less than the board has.
        max_overhead: the most multiply-accumulates computed a second time, as a share of all. None allows
            none, but any number where the network would not fit otherwise.
        stream_input: the application pushes the rows of the image, which never is in the arena as a whole.
    """

    edges: Edges = "int8"
    schedule: Literal["auto", "layer", "stream"] | PatchSchedule = "auto"
    objective: planner.Objective = "latency"
    max_sram: int | None = None
    max_overhead: float | None = None
    stream_input: bool = False


def compile_model(
    path: Path,
    board: Board,
    planning: Planning | None = None,
    *,
    isa: Sequence[Isa] | None = None,
    front: bool = False,
    choices: Mapping[int, Choice] | None = None,
) -> Compiled:
    """Read a model and plan it for a board.

    Args:
        path: a .tflite file.
        board: decides the instruction sets.
        planning: what the user decides; the defaults where absent.
        isa: instruction sets instead of the board's own, preferred first (for comparisons).
        front: look for all choices of stages (Plan.front), which takes a second or two for deep networks.
        choices: by operator, kernels instead of the first that accepts it (`tinyml.tune`).

    Raises:
        ModelError: the file is malformed; UnsupportedOp where operators have no kernel.
        UsageError: the network cannot be planned in this way.
    """
    planning = planning or Planning()
    source = passes.run(read_model(path), edges=planning.edges)
    isas = isa or instruction_sets(board)
    compact = planning.objective == "flash"
    selections = select(source, isas, choices=choices, compact=compact)
    limit = _arena_limit(board, planning)
    best = _plan(source, selections, planning, limit, front)
    # A view keeps all of what it is a part of, which a copy lets go: where memory matters, both are tried.
    views = copies(selections, source)
    for copied in dict.fromkeys((views, *(frozenset({kind}) for kind in sorted(views)))) if views else ():
        if not _smallest(planning) and (limit is None or best[2].arena_bytes <= limit):
            break
        selections = select(source, isas, choices=choices, copied=copied, compact=compact)
        other = _plan(source, selections, planning, limit, front)
        best = min(best, other, key=lambda found: found[2].arena_bytes)
    graph, chosen, plan = best
    return Compiled(path, graph, tuple(chosen), plan, board, limit, compact=compact)


def _smallest(planning: Planning) -> bool:
    """Whether the arena is to be as small as it can be."""
    return planning.schedule == "stream" or planning.objective == "sram"


def _plan(
    graph: Graph, selections: Sequence[Selection], planning: Planning, limit: int | None, front: bool
) -> tuple[Graph, Sequence[Selection], Plan]:
    """Return the plan, and the network it is for: some operators may be there twice."""
    pushed = _pushed_input(graph) if planning.stream_input else None
    if isinstance(planning.schedule, PatchSchedule):
        patch = planning.schedule.patches, planning.schedule.operators
        return graph, selections, planner.plan(graph, selections, patch=patch, pushed=pushed)
    slowdown = MAX_SLOWDOWN if planning.schedule == "stream" and planning.objective != "sram" else None
    objective = "sram" if planning.schedule == "stream" else planning.objective
    stream_above = limit
    if planning.schedule == "layer":
        stream_above = None
    elif objective == "sram":
        stream_above = 0
    macs = sum(s.lowered.macs for s in selections if s.lowered)
    shares = [0.0, None] if planning.max_overhead is None else [planning.max_overhead]
    replan = functools.partial(
        planner.plan,
        stream_above=stream_above,
        objective=objective,
        max_slowdown=slowdown,
        pushed=pushed,
        front=front,
    )
    for share in shares:
        most = None if share is None else int(share * macs)
        best = graph, selections, replan(graph, selections, max_extra_macs=most)
        if stream_above is not None and most != 0:
            best = planner.plan_gates(*best, replan, enough_bytes=stream_above, max_extra_macs=most)
        if planning.schedule == "layer" or limit is None or best[2].arena_bytes <= limit:
            break
    return best


def _pushed_input(graph: Graph) -> int:
    """Return the model input whose rows are pushed: the largest image."""
    images = [t for t in graph.inputs if len(graph.tensors[t].shape) == 4]
    if not images:
        raise UsageError(
            f"{graph.name}: the input cannot arrive row by row",
            where=", ".join(f"{graph.tensors[t].name} {list(graph.tensors[t].shape)}" for t in graph.inputs),
            expected="expected an input of four dimensions: batch, rows, columns, channels",
            hint="leave out --stream-input",
        )
    return max(images, key=lambda t: graph.tensors[t].size_bytes)


def instruction_sets(board: Board) -> list[Isa]:
    """Return the instruction sets that kernels for a board may use, preferred first."""
    return [Isa(name) for name in reversed(board.isa)]


def _arena_limit(board: Board, planning: Planning) -> int | None:
    """Return the bytes an arena may take, None where nothing limits it (the host)."""
    limits = [size for size in (board.sram_bytes, planning.max_sram) if size is not None]
    return min(limits, default=None)


def check_fit(compiled: Compiled) -> None:
    """Refuse a model that the board cannot hold, before anything is compiled.

    Raises:
        DoesNotFit: the arena or the constants are larger than the board's memory; says by how much and
            at which operator.
    """
    board, plan, graph = compiled.board, compiled.plan, compiled.graph
    limit = compiled.arena_limit
    if limit is not None and plan.arena_bytes > limit:
        op = graph.ops[plan.stages[plan.peak_stage].ops[-1]]
        live = [b for b in plan.buffers if b.first <= plan.peak_stage <= b.last]
        what = "RAM less stack and static data" if limit == board.sram_bytes else "--max-sram"
        best = planner.plan(
            graph,
            compiled.selections,
            stream_above=0,
            objective="sram",
            max_extra_macs=None,
            pushed=next((t for t in graph.inputs if plan.is_pushed(t)), None),
        )
        smallest, extra = best.arena_bytes, best.extra_macs / max(best.macs, 1)
        how = f" --max-overhead {100 * extra:.0f}%" if extra else ""
        streamed = f"--objective sram{how} plans {smallest:,} B" if smallest < plan.arena_bytes else ""
        # A larger board does not help against a limit of the user's own.
        within = limit != board.sram_bytes and plan.arena_bytes <= (board.sram_bytes or plan.arena_bytes)
        larger = f"or allow --max-sram {plan.arena_bytes}" if within else _larger_boards(compiled)
        raise DoesNotFit(
            f"{graph.name} does not fit {board.id}: {plan.arena_bytes - limit:,} B of SRAM too many",
            where=f"the arena is fullest at operator {plan.stages[plan.peak_stage].ops[-1]}, {op.kind}"
            f" ({graph.tensors[op.outputs[0]].name}), with {len(live)} buffers live",
            expected=f"expected at most {limit:,} B ({what}), planned {plan.arena_bytes:,} B",
            hint="; ".join(part for part in (streamed, larger) if part),
        )
    constants = compiled.lowered_bytes
    if board.flash_bytes is not None and constants > board.flash_bytes:
        raise DoesNotFit(
            f"{graph.name} does not fit {board.id}: {constants - board.flash_bytes:,} B of flash too many",
            where="the model's constants alone",
            expected=f"expected at most {board.flash_bytes:,} B with code,"
            f" planned {constants:,} B of constants",
            hint=_larger_boards(compiled),
        )


def _larger_boards(compiled: Compiled) -> str:
    """Name the boards whose RAM and flash would hold the same plan."""
    names = [
        board.id
        for board in all_boards()
        if not board.is_host
        and (board.sram_bytes or 0) >= compiled.plan.arena_bytes
        and (board.flash_bytes or 0) > compiled.lowered_bytes
    ]
    return f"it would fit: {', '.join(names)}" if names else "no board that ships with tinyml is large enough"


def generate(compiled: Compiled, out_dir: Path) -> list[Path]:
    """Write the C project.

    Args:
        compiled: a planned model.
        out_dir: an empty or new folder. For the host only lib/<model> is written: it has no firmware.

    Returns:
        The files written.

    Raises:
        DoesNotFit: the model is larger than the board; nothing is written.
    """
    check_fit(compiled)
    out_dir.mkdir(parents=True, exist_ok=True)
    context = compiled.context()
    files = write_library(context, out_dir)
    if not compiled.board.is_host:
        files += write_project(context, compiled.board, out_dir)
    return files


def build(
    compiled: Compiled,
    out_dir: Path,
    *,
    toolchain: Toolchain = "platformio",
    progress: Callable[[str], None] | None = None,
) -> BuildReport:
    """Generate the C project, compile it, and report what it costs.

    Args:
        compiled: a planned model.
        out_dir: an empty or new folder. Gets the project, firmware.elf/.bin/.hex (a shared library for
            the host), plan.json, report.json and report.html.
        toolchain: "platformio", or "gcc" for the same flags without PlatformIO.
        progress: told one line per step.

    Raises:
        DoesNotFit: before compiling, or from the linker.
        ToolchainError: a compiler is missing or refuses the code.
    """
    files = generate(compiled, out_dir)
    report = compiled.report()
    if compiled.board.is_host:
        from tinyml.run.host import build_host_library

        library = out_dir / f"lib{compiled.graph.name}.so"
        files.append(build_host_library(out_dir, compiled.graph.name, library))
        report = dataclasses.replace(report, toolchain="gcc")
    else:
        result = _compile(out_dir, compiled.board, toolchain, progress)
        report = _measured(compiled, report, result, toolchain)
        for product in (result.elf, result.bin, result.hex):
            files.append(Path(shutil.copy(product, out_dir / product.name)))
        shutil.rmtree(out_dir / "build", ignore_errors=True)
    files += [out_dir / name for name in ("plan.json", "report.json", "report.html")]
    report = dataclasses.replace(report, files=tuple(str(f.relative_to(out_dir)) for f in files))
    (out_dir / "plan.json").write_text(json.dumps(compiled.plan.to_json(), indent=2) + "\n")
    (out_dir / "report.json").write_text(json.dumps(report.to_json(), indent=2) + "\n")
    (out_dir / "report.html").write_text(render_html(report), "utf-8")
    return report


def _measured(
    compiled: Compiled, report: BuildReport, result: BuildResult, toolchain: Toolchain
) -> BuildReport:
    """Add sizes per symbol and the stack bound of one inference to the plan's report."""
    from tinyml.toolchain.sizes import section_sizes
    from tinyml.toolchain.stack import stack_bound

    sizes = section_sizes(result.elf)
    entries = [f"{compiled.graph.name}_invoke"]
    if any(compiled.plan.is_pushed(t) for t in compiled.graph.inputs):
        entries.append(f"{compiled.graph.name}_push_row")
    bounds = [stack_bound(result.elf, result.stack_usage, entry, without=_HOOKS).bytes for entry in entries]
    return with_firmware(
        report,
        compiled.board,
        [SymbolSize(s.name, s.flash_bytes, s.kind) for s in sizes.symbols if s.flash_bytes],
        weights_bytes=sizes.weights_bytes,
        total_flash_bytes=sizes.flash_bytes,
        static_bytes=sizes.static_bytes - compiled.plan.arena_bytes,
        stack_bytes=None if None in bounds else max(b for b in bounds if b is not None),
        toolchain=toolchain,
    )


def _compile(
    project: Path, board: Board, toolchain: Toolchain, progress: Callable[[str], None] | None
) -> BuildResult:
    from tinyml.toolchain import gcc, platformio

    if toolchain == "gcc":
        return gcc.build(project, board, progress, defines=("TM_TRACE=1",))
    return platformio.build(project, board.id, progress)


def open_target(
    compiled: Compiled,
    folder: Path,
    *,
    port: str | None = None,
    toolchain: Toolchain = "platformio",
    progress: Callable[[str], None] | None = None,
    transfer: Callable[[int, int], None] | None = None,
) -> Target:
    """Build what runs the model and return it, not yet connected: this computer, an emulator or a board.

    Args:
        compiled: a planned model.
        folder: where to build; kept until the target is closed.
        port: the serial port of a real board that was flashed with this model; without it the board's
            emulator, or its emulated twin, runs the firmware.
        toolchain: as for `build`.
        progress: told one line per build step.
        transfer: told (bytes done, bytes in all) while inputs and outputs move.

    Raises:
        UsageError: a port was given for the host.
        TargetError: the board has neither an emulator nor a twin, and no port was given.
    """
    from tinyml.run.firmware import firmware_id
    from tinyml.run.host import HostTarget, build_host_library
    from tinyml.run.link import Expected

    board = compiled.board
    if port is not None and board.is_host:
        raise UsageError("the host has no serial port", where="--port", hint="leave it out, or name a board")
    if port is None and not board.is_host and board.emulated() is None:
        raise TargetError(
            f"{board.id} has no emulator and no emulated twin",
            expected="expected --port with the board's serial port",
            hint="flash it first: tinyml flash --board " + board.id,
        )
    generate(compiled, folder)
    if board.is_host:
        library = folder / f"lib{compiled.graph.name}.so"
        return HostTarget(build_host_library(folder, compiled.graph.name, library), compiled.graph.name)
    runner = board if port else board.emulated()
    assert runner is not None
    elf = _compile(folder, runner, toolchain, progress).elf
    expected = Expected(compiled.graph.sha256, firmware_id(elf))
    if port:
        from tinyml.run.serial import SerialTarget

        assert board.uart is not None
        return SerialTarget(port, board.uart.baud, expected=expected, progress=transfer)
    from tinyml.run.qemu import QemuTarget

    return QemuTarget(elf, runner, expected=expected, progress=transfer)


def emulated_firmware(folder: Path, runner: Board) -> Path:
    """Return the firmware that `open_target` built in `folder` for an emulated board or a twin."""
    return folder / "build" / runner.id / "firmware.elf"


def flash(
    compiled: Compiled,
    folder: Path,
    *,
    port: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Build the validation firmware and upload it with PlatformIO.

    Args:
        compiled: a planned model.
        folder: where to build; an empty or new folder.
        port: the upload port, where the board's uploader wants one.
        progress: told one line per step.

    Raises:
        UsageError: the host has no flash, and an emulated machine would be left running for nobody.
        ToolchainError: a tool is missing, or the board does not answer.
    """
    from tinyml.toolchain import platformio

    if compiled.board.is_host:
        raise UsageError("the host has nothing to flash", where="--board", hint="see `tinyml boards`")
    if compiled.board.manifest["upload"]["protocol"] == "qemu":
        raise UsageError(
            f"{compiled.board.id} is an emulated machine: it has nothing to flash",
            where="--board",
            hint="`tinyml run` and `tinyml verify` start it themselves",
        )
    generate(compiled, folder)
    platformio.upload(folder, compiled.board.id, port, progress)
