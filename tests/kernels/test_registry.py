"""The registry, the kernel files and the tests name the same kernels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernels.portable_cases import GENERATORS
from tinyml.emit.context import STREAM_HEADERS
from tinyml.graph import OpKind
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel

FOLDER = Path(__file__).resolve().parents[2] / "runtime_c" / "kernels"


def test_every_row_has_its_file_and_every_file_is_used() -> None:
    pending = [f"{name}.h" for name in (*(kernel.symbol for kernel in KERNELS), *STREAM_HEADERS)]
    used: set[str] = set()
    while pending:
        name = pending.pop()
        text = (FOLDER / name).read_text()
        used.add(name)
        included = re.findall(r'^#include "(tm_\w+\.h)"', text, re.MULTILINE)
        pending += [other for other in included if (FOLDER / other).exists() and other not in used]
    assert {path.name for path in FOLDER.glob("*.h")} == used


def test_rows_are_unique() -> None:
    rows = [(kernel.symbol, kernel.op) for kernel in KERNELS]
    assert len(rows) == len(set(rows))


def test_every_portable_kernel_is_tested() -> None:
    assert set(GENERATORS) == {kernel.symbol for kernel in KERNELS if kernel.isa is Isa.C}


def test_every_operator_but_views_has_a_portable_kernel() -> None:
    never_run = {
        OpKind.RESHAPE,
        OpKind.FLOAT_FUNCTION,  # becomes a LOOKUP, or is refused
        OpKind.WHILE,  # its body's operators run
    }
    assert {kernel.op for kernel in KERNELS if kernel.isa is Isa.C} == set(OpKind) - never_run


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.symbol)
def test_symbol_names_the_function_and_its_instruction_set(kernel: Kernel) -> None:
    text = (FOLDER / f"{kernel.symbol}.h").read_text()
    assert kernel.symbol.endswith(f"_{kernel.isa.value}")
    assert re.search(rf"^TM_INLINE void {kernel.symbol}\(", text, re.MULTILINE)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.symbol)
def test_predicates_are_sentences(kernel: Kernel) -> None:
    for predicate in kernel.accepts:
        sentence = (predicate.__doc__ or "").strip()
        assert sentence.endswith("."), predicate
        assert "\n" not in sentence, predicate
