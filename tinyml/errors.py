"""Errors a user can act on.

    TinymlError               exit 2
    ├── UsageError            exit 2   a command-line option or an input file
    ├── ModelError            exit 2   a malformed or unreadable model
    │   └── UnsupportedOp     exit 2   every unsupported operator of the model, at once
    ├── BoardError            exit 2   an unknown board, or a board file that breaks its schema
    ├── DoesNotFit            exit 2   the planned model is larger than the board
    ├── ToolchainError        exit 3   a missing or failing compiler, PlatformIO, emulator
    ├── TargetError           exit 3   a board or emulator that does not answer as it should
    └── MismatchError         exit 1   the target computed other bytes than the reference

Every error has four parts: what went wrong, where, what was expected and received, and what to
do next. `cli/app.py` is the only place that catches them.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TinymlError(Exception):
    """Base of all errors that are not bugs of this package.

    Args:
        what: one line naming the problem, with real names and numbers.
        where: the file, operator, tensor, port or option concerned.
        expected: what was expected, and what was received instead.
        hint: what the user can do next; only a step known to work.
    """

    exit_status: ClassVar[int] = 2

    def __init__(self, what: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        return "\n  ".join(part for part in (self.what, self.where, self.expected, self.hint) if part)

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain values, for `--json`."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "hint": self.hint,
            "exit_status": self.exit_status,
        }


class UsageError(TinymlError):
    """A command-line option or an input file is wrong."""


class ModelError(TinymlError):
    """The model file is malformed, or uses something no reader understands."""


class UnsupportedOp(ModelError):
    """The model holds operators that no kernel runs; the message lists all of them."""


class BoardError(TinymlError):
    """The board is unknown, or its file breaks the schema."""


class DoesNotFit(TinymlError):
    """The planned model needs more SRAM or flash than the board has."""


class ToolchainError(TinymlError):
    """A compiler, PlatformIO or an emulator is missing or failed."""

    exit_status: ClassVar[int] = 3


class TargetError(TinymlError):
    """A board or an emulator did not answer as it should."""

    exit_status: ClassVar[int] = 3


class MismatchError(TinymlError):
    """The target's output differs from the reference."""

    exit_status: ClassVar[int] = 1
