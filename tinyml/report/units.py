"""Numbers as people read them."""

from __future__ import annotations


def size(count: int | None) -> str:
    """Format bytes the way data sheets do, in KiB from one KiB on; "?" where unknown."""
    if count is None:
        return "?"
    return f"{count} B" if count < 1024 else f"{count / 1024:,.1f} KiB"


def short_name(name: str, limit: int = 48) -> str:
    """Shorten a tensor's name: converters join the names of all fused operators with semicolons."""
    first = name.split(";")[0]
    return first if len(first) <= limit else f"…{first[-limit + 1 :]}"
