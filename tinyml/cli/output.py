"""What a command says: results on stdout, progress and problems on stderr, JSON where it was asked for."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from tinyml.errors import TinymlError

REPORT_URL = "the project's issue tracker"


class Output:
    """The one place that prints.

    Args:
        json: print the result as one JSON object on stdout, and nothing else there.
        quiet: print no progress, and no result but JSON.
        verbose: say more: every stage with its time, every file, the largest symbols.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        # Names in models and boards are untrusted: no markup. Pipes get lines as long as they are.
        self.stdout = Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())
        self.stderr = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
        if not self.stdout.is_terminal:
            self.stdout.width = 200

    def result(self, data: Mapping[str, Any], *human: RenderableType) -> None:
        """Print a command's result: `data` with --json, else `human`."""
        if self.json:
            click.echo(json.dumps(data, indent=2))
        elif not self.quiet:
            for part in human:
                self.stdout.print(part)

    def note(self, text: str) -> None:
        """Print a line on stderr, unless told to be quiet."""
        if not self.quiet:
            self.stderr.print(Text(text))

    def error(self, error: TinymlError, *, exit_status: int | None = None) -> None:
        """Print an error: as JSON on stdout with --json, else in full on stderr."""
        if self.json:
            status = error.exit_status if exit_status is None else exit_status
            click.echo(json.dumps(error.to_json() | {"exit_status": status}, indent=2))
            return
        # File names and what a file says may hold what a terminal obeys.
        text = "".join(c if c.isprintable() or c == "\n" else "?" for c in str(error))
        lines = text.split("\n")
        self.stderr.print(Text.assemble(("error: ", "bold red"), lines[0]))
        for line in lines[1:]:
            self.stderr.print(Text(line if line.startswith("  ") else f"  {line}"))

    @contextmanager
    def progress(self) -> Iterator[Stages]:
        """Show the stages of a command while they run; nothing off a terminal, unless verbose."""
        stages = Stages(self)
        try:
            yield stages
            stages.finish()
        finally:
            stages.stop()


class Stages:
    """Progress of one command. Call it with a stage's name when the stage starts, or gets on."""

    def __init__(self, output: Output) -> None:
        self._lines = output.stderr if output.verbose and not output.quiet else None
        self._live: Progress | None = None
        if output.stderr.is_terminal and not output.quiet and not output.verbose:
            self._live = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.description}", markup=False),
                TextColumn("{task.fields[count]}", markup=False),
                TimeElapsedColumn(),
                console=output.stderr,
                transient=output.json,
            )
            self._live.start()
        self._name = ""
        self._task: TaskID | None = None
        self._started = time.monotonic()

    def __call__(self, name: str, done: int = 0, total: int = 1, *, detail: str = "") -> None:
        """Report that stage `name` has done `done` of `total` steps; a new name ends the stage before."""
        if name != self._name:
            self.finish()
            self._name, self._started = name, time.monotonic()
            if self._live:
                self._task = self._live.add_task(name, total=total, count="")
        if self._live and self._task is not None:
            text = f"{name}  {detail}" if detail else name
            count = f"{done}/{total}" if total > 1 else ""
            self._live.update(self._task, completed=done, total=total, description=text, count=count)

    def finish(self) -> None:
        """Mark the current stage as done."""
        if not self._name:
            return
        if self._live and self._task is not None:
            total = self._live.tasks[self._task].total or 1
            self._live.update(self._task, completed=total, description=self._name)
        if self._lines:
            self._lines.print(Text(f"✓ {self._name}  {time.monotonic() - self._started:.1f} s"))
        self._name = ""

    def stop(self) -> None:
        """Leave the terminal as it was, also after an error."""
        if self._live:
            self._live.stop()
