"""TRANSPOSE_CONV and BATCH_MATMUL with DSP instructions, on the host and on an emulated board."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.harness import SANITIZED, SEMIHOSTING_SOURCES, Program, board_compiler, board_runner
from tests.kernels.kernel_cases import graphs_for
from tests.kernels.matrix_cases import DSP_GENERATORS
from tests.kernels.simd_work import Work, work_for
from tinyml.kernels import matmul, transpose_conv

KERNELS = (*matmul.DSP_KERNELS, *transpose_conv.DSP_KERNELS)
RANDOM = 120  # graphs per kernel


@pytest.fixture(scope="module")
def everything() -> Work:
    return work_for(
        [
            (kernel, graph)
            for kernel in KERNELS
            for graph in graphs_for(
                kernel, DSP_GENERATORS[kernel.symbol], RANDOM, zlib.crc32(kernel.symbol.encode())
            )
        ]
    )


def test_the_cases_reach_all_forms_and_zero_points(everything: Work) -> None:
    literals = [dict(case.lowered.literals) for case in everything.apart]
    assert {values["form"] for values in literals} == {0, 3, 4}
    assert {values["packed"] for values in literals if "packed" in values} == {0, 1}
    assert {values["times"] for values in literals if "times" in values} == {1, 2}
    assert {values["parts"] for values in literals if "parts" in values} >= {0, 4}
    values, counts = np.unique(np.concatenate([e.ravel() for e in everything.expected]), return_counts=True)
    assert len(values) == 256
    assert counts[1:-1].sum() > 0.4 * counts.sum()


def test_emulated_instructions_on_the_host(everything: Work, tmp_path: Path) -> None:
    program = Program(tmp_path, everything.apart, compiler=SANITIZED)
    everything.check(program.run(everything.apart))


def test_sharing_memory_at_the_tightest_distance_on_the_host(everything: Work, tmp_path: Path) -> None:
    program = Program(tmp_path, everything.in_place, compiler=("gcc", "-std=c11", "-O1", "-w"))
    everything.check(program.run(everything.in_place))


def test_real_instructions_on_a_board(everything: Work, tmp_path: Path) -> None:
    compiler = board_compiler("cortex-m4", "-O2")
    program = Program(tmp_path, everything.apart, compiler=compiler, sources=SEMIHOSTING_SOURCES)
    everything.check_both(program.run(everything.both, board_runner("cortex-m4")))
    program.check_stack(everything.both)


def test_every_kernel_has_cases() -> None:
    assert set(DSP_GENERATORS) == {kernel.symbol for kernel in KERNELS}
