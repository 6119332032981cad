"""The command line: one verb per step of the way from a model to a verified firmware.

Commands hold no logic; each lives in a file of its own and imports what it needs when it runs, so
that `inspect` and `plan` load no compiler, no PlatformIO and no reference interpreter.
"""

from __future__ import annotations

import errno
import io
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tinyml import __version__
from tinyml.cli import boards, build, doctor, flash, generate, inspect, plan, quantize, run, verify
from tinyml.cli.output import REPORT_URL, Output
from tinyml.errors import TinymlError, UsageError

_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_BUG = 70  # EX_SOFTWARE of sysexits.h
_SURROUNDINGS = {
    # What a disk, a user's rights and limits refuse, wherever it happens: no bug of ours.
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENAMETOOLONG, errno.ELOOP),
}


class App(click.Group):
    """The command group; the only place that catches errors and turns them into exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the flow rather than of the alphabet."""
        return list(self.commands)

    def main(  # type: ignore[override]  # narrower than click's overloads: this one always exits
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and exit: 0 good, 1 a check failed, 2 user, 3 toolchain or board, 70 our bug."""
        _prepare_streams()
        arguments = list(sys.argv[1:] if args is None else args)
        out = Output(json="--json" in arguments)
        extra["standalone_mode"] = False
        try:
            status = super().main(arguments, prog_name or "tinyml", **extra)
        except TinymlError as error:
            out.error(error)
            sys.exit(error.exit_status)
        except click.ClickException as error:
            _report_usage(error, out)
            sys.exit(UsageError.exit_status)
        except (click.Abort, KeyboardInterrupt):
            out.note("interrupted")
            sys.exit(_INTERRUPTED)
        except BrokenPipeError:
            # The reader of our stdout has gone (`tinyml boards | head`): no error of ours.
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:
            if error.errno == errno.ENOENT and error.filename is None:  # of os.getcwd
                lost = UsageError("the current folder no longer exists", hint="change to one that does")
                out.error(lost)
                sys.exit(lost.exit_status)
            if error.errno not in _SURROUNDINGS:
                _report_bug(out)
                sys.exit(_BUG)
            # Perhaps it is stdout that is full: on stderr, also with --json.
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            problem = UsageError(
                "no space left to write to" if is_full else f"this computer refuses: {error.strerror}",
                where=str(error.filename or "stdout, or a temporary folder"),
            )
            Output().error(problem)
            sys.exit(problem.exit_status)
        except MemoryError:
            problem = UsageError("not enough memory", where="on this computer, for this model")
            out.error(problem)
            sys.exit(problem.exit_status)
        except Exception:
            _report_bug(out)
            sys.exit(_BUG)
        sys.exit(status if isinstance(status, int) else 0)


@click.group(
    "tinyml",
    cls=App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Start here:
  tinyml quantize --data images/ model.keras       a float network becomes an int8 .tflite
  tinyml boards                                    what can be built for, and what was run
  tinyml plan --board stm32f746 model.tflite       does it fit, and where do the bytes go
  tinyml build --board stm32f746 model.tflite      a C project and its firmware
  tinyml verify --board stm32f746 model.tflite     the same bytes as TensorFlow Lite?

Every command takes --json, -q and -v. NO_COLOR switches colours off.""",
)
@click.version_option(__version__, prog_name="tinyml")
def cli() -> None:
    """From a trained int8 network (.tflite, .onnx) to a verified firmware for a microcontroller."""


for _command in (
    quantize.command,
    inspect.command,
    plan.command,
    generate.command,
    build.command,
    run.command,
    verify.command,
    flash.command,
    boards.command,
    doctor.command,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the `tinyml` command."""
    # As with Ctrl-C, temporary folders are removed and emulators ended: think of `timeout`.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminated)
    cli.main()


def _terminated(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _prepare_streams() -> None:
    """Let output that the terminal's encoding lacks become "?", and output to a closed stream nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _report_usage(error: click.ClickException, out: Output) -> None:
    """Show click's own complaint (unknown option, bad value) the way our errors are shown."""
    context = getattr(error, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context else "see `tinyml --help`"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    out.error(UsageError(error.format_message(), hint=hint))


def _report_bug(out: Output) -> None:
    trace = traceback.format_exc()
    error = TinymlError(
        "this is a bug in tinyml",
        where=trace.strip().splitlines()[-1],
        hint=f"please report it, with the traceback, at {REPORT_URL}",
    )
    click.echo(trace, err=True)
    out.error(error, exit_status=_BUG)
