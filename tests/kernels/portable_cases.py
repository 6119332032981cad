"""Every portable kernel and the generators of the graphs it is tested with, from all families."""

from __future__ import annotations

from collections.abc import Callable

from tests.kernels import (
    binary_cases,
    integer_cases,
    kernel_cases,
    lookup_cases,
    matrix_cases,
    movement_cases,
    recurrent_cases,
    reduction_cases,
    wide_cases,
)
from tests.kernels.kernel_cases import Rng
from tinyml.graph import Graph

GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    **kernel_cases.GENERATORS,
    **recurrent_cases.GENERATORS,
    **binary_cases.GENERATORS,
    **integer_cases.GENERATORS,
    **lookup_cases.GENERATORS,
    **matrix_cases.GENERATORS,
    **reduction_cases.GENERATORS,
    **movement_cases.GENERATORS,
    **wide_cases.GENERATORS,
}
