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
    """Add the MODEL argument, a .tflite file."""
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
        match = re.fullmatch(r"(\d+)\s*(?:([KM])(?:i?B)?|B)?", str(value).strip(), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size; write bytes, or 32K, or 1M", param, ctx)
        return int(match[1]) * {"": 1, "K": 1024, "M": 1024 * 1024}[(match[2] or "").upper()]


def planning_options(command: Command) -> Command:
    """Add --edges, --schedule, --max-sram --stream-input; they come as `planning`, a build.Planning."""

    @click.option(
        "--edges",
        type=click.Choice(["int8", "float"]),
        default="int8",
        show_default=True,
        help="Element type of the network's inputs and outputs where the model has float ones.",
    )
    @click.option(
        "--schedule",
        type=click.Choice(["auto", "layer", "stream"]),
        default="auto",
        show_default=True,
        help="layer: one operator at a time. stream: runs of operators row by row, for the smallest arena, "
        "with no multiply-accumulate added. auto: layer, and as few streamed operators as make it fit.",
    )
    @click.option(
        "--max-sram",
        type=SizeType(),
        metavar="SIZE",
        help="The most bytes the arena may take (32K), where that is less than the board has.",
    )
    @click.option(
        "--stream-input",
        is_flag=True,
        help="The application pushes the image row by row; it is never in memory as a whole.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, edges: Any, schedule: Any, max_sram: int | None, stream_input: bool, **kwargs: Any
    ) -> Any:
        from tinyml.build import Planning

        return command(*args, planning=Planning(edges, schedule, max_sram, stream_input), **kwargs)

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


def port_option(command: Command) -> Command:
    """Add --port."""
    return click.option(
        "--port", metavar="PORT", help="Serial port of a real board; without it the board's emulator is used."
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
