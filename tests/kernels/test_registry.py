"""The registry, the kernel files and the tests name the same kernels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kernels.kernel_cases import GENERATORS
from tinyml.graph import OpKind
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel

FOLDER = Path(__file__).resolve().parents[2] / "runtime_c" / "kernels"


def test_every_kernel_file_is_registered_and_every_row_has_its_file() -> None:
    named = {f"{kernel.symbol}.h" for kernel in KERNELS}.union(*(kernel.depends for kernel in KERNELS))
    assert {path.name for path in FOLDER.glob("*.h")} == named


def test_symbols_are_unique() -> None:
    symbols = [kernel.symbol for kernel in KERNELS]
    assert len(symbols) == len(set(symbols))


def test_every_portable_kernel_is_tested() -> None:
    assert set(GENERATORS) == {kernel.symbol for kernel in KERNELS if kernel.isa is Isa.C}


def test_every_operator_but_views_has_a_portable_kernel() -> None:
    assert {kernel.op for kernel in KERNELS if kernel.isa is Isa.C} == set(OpKind) - {OpKind.RESHAPE}


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.symbol)
def test_symbol_names_the_function_and_its_instruction_set(kernel: Kernel) -> None:
    text = (FOLDER / f"{kernel.symbol}.h").read_text()
    assert kernel.symbol.endswith(f"_{kernel.isa.value}")
    assert re.search(rf"^TM_INLINE void {kernel.symbol}\(", text, re.MULTILINE)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.symbol)
def test_depends_lists_exactly_the_kernel_files_included(kernel: Kernel) -> None:
    """Only these are copied into a project, so a missing one would not compile there."""

    def included(name: str) -> set[str]:
        found = set(re.findall(r'^#include "(tm_\w+\.h)"', (FOLDER / name).read_text(), re.MULTILINE))
        direct = {other for other in found if (FOLDER / other).exists()}
        return direct.union(*(included(other) for other in direct))

    assert set(kernel.depends) == included(f"{kernel.symbol}.h")


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.symbol)
def test_predicates_are_sentences(kernel: Kernel) -> None:
    for predicate in kernel.accepts:
        sentence = (predicate.__doc__ or "").strip()
        assert sentence.endswith("."), predicate
        assert "\n" not in sentence, predicate
