"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tinyml.cli.output import Output

Command = TypeVar("Command", bound=Callable[..., Any])


def output_options(command: Command) -> Command:
    """Add --json, -q and -v; the command gets them as `out`, an Output."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout; errors too.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, and no result but JSON.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more.")
    @functools.wraps(command)
    def wrapped(*args: Any, as_json: bool, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        return command(*args, out=Output(json=as_json, quiet=quiet, verbose=verbose), **kwargs)

    return wrapped  # type: ignore[return-value]  # click's decorators keep the callable's place, not its type


def model_argument(command: Command) -> Command:
    """Add the MODEL argument, a .tflite or .onnx file."""
    return click.argument("model", type=click.Path(path_type=Path))(command)


def board_option(command: Command) -> Command:
    """Add --board."""
    return click.option(
        "--board", "board_id", required=True, metavar="ID", help="The board; `tinyml boards` lists them."
    )(command)


class SizeType(click.ParamType[int]):
    """A number of bytes: 32768, 32K or 32KiB, 1M or 1MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes, or fail with what is accepted."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,15})\s*(?:([KM])(?:i?B)?|B)?", str(value).strip(), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size; write bytes, or 32K, or 1M", param, ctx)
        return int(match[1]) * {"": 1, "K": 1024, "M": 1024 * 1024}[(match[2] or "").upper()]


class ScheduleType(click.ParamType[Any]):
    """auto, layer, stream, or patch:PxP@N."""

    name = "schedule"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or a PatchSchedule."""
        from tinyml.build import PatchSchedule

        if value in ("auto", "layer", "stream") or isinstance(value, PatchSchedule):
            return value
        match = re.fullmatch(r"patch:([1-9][0-9]?)x([1-9][0-9]?)@([1-9][0-9]{0,8})", str(value))
        if match is None or match[1] != match[2]:
            self.fail(f"{value!r} is not auto, layer, stream or patch:PxP@N (patch:3x3@12)", param, ctx)
        return PatchSchedule(int(match[1]), int(match[3]))


class ShareType(click.ParamType[float]):
    """A percentage: 5% or 5."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share, 0.05 for 5%."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%?", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a percentage; write 5%", param, ctx)
        return float(match[1]) / 100


def planning_options(command: Command) -> Command:
    """Add the options that decide about a plan; the command gets them as `planning`, a build.Planning."""

    @click.option(
        "--edges",
        type=click.Choice(["int8", "float"]),
        default="int8",
        show_default=True,
        help="Element type of the network's inputs and outputs where the model has float ones.",
    )
    @click.option(
        "--schedule",
        type=ScheduleType(),
        default="auto",
        show_default=True,
        metavar="[auto|layer|stream|patch:PxP@N]",
        help="auto: one operator at a time, and runs of operators row by row where the objective asks. "
        "layer: one operator at a time. stream: the smallest arena at a tenth more instructions or fewer "
        "(--objective sram: at any number). patch:3x3@12: the first 12 operators in 3x3 patches, the others "
        "one at a time, as MCUNetV2 does.",
    )
    @click.option(
        "--objective",
        type=click.Choice(["latency", "sram", "flash"]),
        default="latency",
        show_default=True,
        help="What to choose among the plans that fit: the fewest instructions, the smallest arena, or the "
        "least code, where layers also share functions (instructions and code are estimates).",
    )
    @click.option(
        "--max-sram",
        type=SizeType(),
        metavar="SIZE",
        help="The most bytes the arena may take (32K), where that is less than the board has.",
    )
    @click.option(
        "--max-overhead",
        type=ShareType(),
        metavar="PERCENT",
        help="The most multiply-accumulates computed a second time, in strips of the image.  [default: none, "
        "or as many as it takes where the network does not fit otherwise]",
    )
    @click.option(
        "--stream-input",
        is_flag=True,
        help="The application pushes the image row by row (MODEL_push_row); the arena never holds all of it.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        edges: Any,
        schedule: Any,
        objective: Any,
        max_sram: int | None,
        max_overhead: float | None,
        stream_input: bool,
        **kwargs: Any,
    ) -> Any:
        from tinyml.build import Planning

        planning = Planning(edges, schedule, objective, max_sram, max_overhead, stream_input)
        return command(*args, planning=planning, **kwargs)

    return wrapped  # type: ignore[return-value]  # as above


def toolchain_option(command: Command) -> Command:
    """Add --toolchain."""
    return click.option(
        "--toolchain",
        type=click.Choice(["platformio", "gcc"]),
        default="platformio",
        show_default=True,
        help="What compiles the project; both call the same compiler.",
    )(command)


def _named(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse "", which a shell makes of a variable that is not set."""
    if value == "":
        raise click.BadParameter("it is empty", context, parameter)
    return value


def port_option(command: Command) -> Command:
    """Add --port."""
    return click.option(
        "--port",
        metavar="PORT",
        callback=_named,
        help="Serial port of a real board; without it the board's emulator is used.",
    )(command)


def seed_option(command: Command) -> Command:
    """Add --seed."""
    return click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of the random samples.",
    )(command)


def output_dir_options(command: Command) -> Command:
    """Add -o and --force."""
    command = click.option(
        "--force", is_flag=True, help="Write into DIR although something else made it; its other files stay."
    )(command)
    return click.option(
        "-o",
        "--output",
        "directory",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where the project goes.  [default: build/MODEL-BOARD]",
    )(command)
