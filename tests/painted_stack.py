"""The stack that an emulated firmware used, as its port painted it, against the bound from its call graph."""

from __future__ import annotations

from pathlib import Path

from tinyml.build import Compiled
from tinyml.toolchain.stack import StackBound, stack_bound

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
    bound = stack_bound(elf, folder.rglob("*.su"), "main", indirect=called, without=HOOKS)
    assert bound.bytes is not None, bound.problems
    assert free is not None
    assert compiled.board.stack_bytes - free <= bound.bytes + 8  # the call of main, aligned
    return bound
