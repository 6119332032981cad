"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

import functools
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


def edges_option(command: Command) -> Command:
    """Add --edges."""
    return click.option(
        "--edges",
        type=click.Choice(["int8", "float"]),
        default="int8",
        show_default=True,
        help="Element type of the network's inputs and outputs where the model has float ones.",
    )(command)


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
