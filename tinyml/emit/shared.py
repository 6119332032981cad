"""Functions that operators share: what differs between the operators becomes a parameter.

As a rule a function holds operators with the same numbers, all of them literals, and the compiler specialises
it. For the least code (objective "flash") it holds all operators of one kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinyml.graph import OpKind
from tinyml.kernels.registry import Lowered, RowLoop

Number = int | str
"""A literal, or the name of the C parameter that holds the number."""

# Literals that a kernel has different loops for: operators that differ in one do not share a function.
_VARIANTS = {"form", "packed", "blocks", "per_output", "vector"}
_DEPTHWISE_VARIANTS = {"kernel", "stride", "stride_h", "stride_w"}
_LOOP = (
    "kernel_h",
    "stride_h",
    "dilation_h",
    "pad_top",
    "in_rows",
    "in_row_bytes",
    "out_rows",
    "out_row_bytes",
)


@dataclass(frozen=True, slots=True)
class LoopContext:
    """The loop of a row kernel, as RowLoop, in numbers that may be parameters."""

    kernel_h: Number
    stride_h: Number
    dilation_h: Number
    pad_top: Number
    in_rows: Number
    in_row_bytes: Number
    out_rows: Number
    out_row_bytes: Number
    step: int
    pointers: int  # room for them
    used: Number  # pointers of a call
    upscale: int | None  # with it, pad_top is no parameter


def variant(op: OpKind, lowered: Lowered) -> tuple[object, ...]:
    """Return what operators of one kernel must agree in to share a function."""
    names = _VARIANTS | (_DEPTHWISE_VARIANTS if op is OpKind.DEPTHWISE_CONV_2D else set())
    loop = lowered.loop
    return (
        tuple((name, value) for name, value in lowered.literals if name in names),
        loop is not None
        and (
            *(loop.step, loop.pad_value is None, loop.kernel_h if loop.step > 1 else 0),
            *(loop.upscale, loop.pad_top if loop.upscale is not None else 0),
        ),
    )


def parameters(alike: Sequence[Lowered]) -> tuple[str, ...]:
    """Return the names of the numbers in which calls of one kernel differ and that are read."""
    first = numbers(alike[0])
    return tuple(
        name
        for name in first
        if name not in _unread(alike) and any(numbers(one)[name] != first[name] for one in alike)
    )


def _unread(alike: Sequence[Lowered]) -> set[str]:
    """Return the numbers of loops that neither the C of the loop (model.c.j2) nor the kernel reads."""
    loops = [one.loop for one in alike if one.loop is not None]
    names = set()
    if not any(loop.reads_outside for loop in loops):  # every row is there
        names.add("in_rows")
    if all(loop.pointers == 1 for loop in loops):
        names.add("dilation_h")
    return {_parameter(loop, name) for loop in loops for name in names} - dict(alike[0].literals).keys()


def numbers(lowered: Lowered) -> dict[str, int]:
    """Return all numbers of a call, by the name of the parameter that each would be."""
    found = dict(lowered.literals)
    if lowered.loop is not None:
        for name in _LOOP:
            value, parameter = getattr(lowered.loop, name), _parameter(lowered.loop, name)
            assert found.get(parameter, value) == value, name  # kernel_h and stride_h are literals of many
            found[parameter] = value
    return found


def _parameter(loop: RowLoop, name: str) -> str:
    """Return what a number of the loop is called: that of a transposed convolution has another kernel_h."""
    return name if loop.upscale is None else f"loop_{name}"


def literals(lowered: Lowered, names: Sequence[str]) -> tuple[tuple[str, Number], ...]:
    """Return the kernel's arguments; those named are parameters."""
    return tuple((name, name if name in names else value) for name, value in lowered.literals)


def loop_context(alike: Sequence[Lowered], names: Sequence[str]) -> LoopContext | None:
    """Return the loop over rows of calls that share a function; what is named is a parameter."""
    loops = [one.loop for one in alike if one.loop is not None]
    if not loops:
        return None
    first = loops[0]
    found: dict[str, Number] = {
        name: parameter if (parameter := _parameter(first, name)) in names else getattr(first, name)
        for name in _LOOP
    }
    pointers = max(loop.pointers for loop in loops)
    return LoopContext(
        **found,
        step=first.step,
        pointers=pointers,
        used=found["kernel_h"] if first.step == 1 else pointers,
        upscale=first.upscale,
    )
