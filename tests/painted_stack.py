"""The stack that an emulated firmware used, as its port painted it, against the bound from its call graph."""

from __future__ import annotations

from pathlib import Path

from tinyml.build import Compiled
from tinyml.toolchain.stack import INTERRUPT_FRAME_BYTES, CallGraph, StackBound

HOOKS = ("tm_trace_begin", "tm_trace_end")


def assert_within_bound(compiled: Compiled, folder: Path, free: int | None) -> StackBound:
    """Assert that the firmware built in `folder` left at least what its bound promises, and return the bound.

    Args:
        compiled: the model.
        folder: where the target was built.
        free: bytes that were never used, as it told after an inference.
    """
    (elf,) = folder.rglob("firmware.elf")
    # The firmware calls the model through its descriptor.
    model, pushed = compiled.graph.name, any(compiled.plan.is_pushed(t) for t in compiled.graph.inputs)
    called = {
        "tm_link_run_model": (f"{model}_invoke",),
        "tm_link_push_row": (f"{model}_push",) if pushed else (),
        "handle": (f"{model}_reset",) if compiled.graph.states else (),
    }
    graph = CallGraph(elf, folder.rglob("*.su"))
    bound = graph.bound("main", indirect=called, without=HOOKS)
    assert bound.bytes is not None, bound.problems
    # A byte that arrives during an inference (the computer asks again where it has waited for long).
    interrupt = graph.bound("tm_irq_entry", without=("tm_fault_handle",)).bytes
    assert interrupt is not None
    assert free is not None
    most = bound.bytes + 8  # the call of main, aligned
    assert compiled.board.stack_bytes - free <= most + INTERRUPT_FRAME_BYTES + interrupt
    return bound
