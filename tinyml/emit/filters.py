"""Jinja filters: numbers and arrays as C text."""

from __future__ import annotations

import re
import textwrap

from tinyml.emit.shared import LoopContext
from tinyml.graph import Array
from tinyml.kernels.registry import RowLoop

_COLUMNS = 110  # ColumnLimit of .clang-format


def c_int(value: int) -> str:
    """Return an int literal, in parentheses where it is negative.

    >>> c_int(-128)
    '(-128)'
    """
    return f"({value})" if value < 0 else str(value)


def c_values(values: Array) -> str:
    """Return array elements as C text, a fixed number per line.

    >>> print(c_values(np.array([1, -2], np.int8)))
        1, -2,
    """
    per_line = {1: 24, 2: 16, 4: 10, 8: 6}[values.dtype.itemsize]
    if values.dtype.kind == "f":
        texts = [f"{float(str(v))!r}f" for v in values.ravel()]
    else:
        texts = [_integer(v) for v in values.ravel().tolist()]
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return "    " + ",\n    ".join(lines) + ","


def _integer(value: int) -> str:
    # −2147483648 is a negated literal that no 32-bit int can hold.
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def row_index(rows: RowLoop | LoopContext) -> str:
    """Return the C expression of the input row that kernel row k of output row r reads."""
    terms = ["r" if rows.stride_h == 1 else f"r * {rows.stride_h}"]
    if rows.pointers > 1:
        terms.append("k" if rows.dilation_h == 1 else f"k * {rows.dilation_h}")
    if rows.upscale is not None and rows.upscale > 1:
        numerator, above = _upscaled(rows)
        terms[0] = f"{numerator} / {rows.upscale}"
        return " + ".join(terms) + (f" - {above}" if above else "")
    text = " + ".join(terms)
    if rows.pad_top:
        text += (
            f" - {rows.pad_top}" if not str(rows.pad_top).startswith("-") else f" + {str(rows.pad_top)[1:]}"
        )
    return text


def row_phase(rows: RowLoop | LoopContext) -> str:
    """Return the C expression of what a call is told of output row r behind the output, "" for nothing."""
    if rows.upscale is None:
        return ""
    return f", {_upscaled(rows)[0]} % {rows.upscale}" if rows.upscale > 1 else ", 0"


def _upscaled(rows: RowLoop | LoopContext) -> tuple[str, int]:
    """Return (C expression, rows) so that ⌊(r − pad_top)/upscale⌋ is the one divided, less the other."""
    assert rows.upscale is not None
    assert isinstance(rows.pad_top, int)
    above = max(-(-rows.pad_top // rows.upscale), 0)
    more = above * rows.upscale - rows.pad_top  # not negative: C rounds towards zero
    return (f"(r + {more})" if more else "r"), above


def less_one(value: int | str) -> int | str:
    """Return value - 1 of a number, or of the C parameter that holds it."""
    return value - 1 if isinstance(value, int) else f"{value} - 1"


def wrap(code: str, indent: int) -> str:
    """Break a long C call after commas, under its first argument: where clang-format would.

    Args:
        code: one line with a parameter or argument list.
        indent: columns in front of its first line, which the template writes.

    >>> print(wrap("f(x, /* a */ 1);", 4))
    f(x, /* a */ 1);
    """
    glued = re.sub(r"(?<!,) ", "\u00a0", code)
    lines = textwrap.wrap(
        glued,
        width=_COLUMNS - indent,
        subsequent_indent=" " * (code.index("(") + 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return ("\n" + " " * indent).join(lines).replace("\u00a0", " ")
