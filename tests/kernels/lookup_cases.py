"""Random graphs of LOOKUP."""

from __future__ import annotations

from collections.abc import Callable

from tests.kernels.kernel_cases import Rng, activation_tensor, one_op, random_int8, random_shape
from tinyml.graph import DType, Graph, LookupAttrs, OpKind, Tensor


def lookup(rng: Rng) -> Graph:
    x = activation_tensor(rng, "x", random_shape(rng, (0, 1, 2, 3, 4, 5, 6)))
    y = activation_tensor(rng, "y", x.shape)
    table = random_int8(rng, (256,))
    if rng.random() < 0.2:
        y, table = Tensor("y", x.shape, DType.BOOL), rng.integers(0, 2, 256)
    if rng.random() < 0.2:
        x = Tensor("x", x.shape, DType.BOOL)
    attrs = LookupAttrs("LOGISTIC", tuple(int(value) for value in table))
    return one_op(OpKind.LOOKUP, attrs, (x,), y)


GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {"tm_lookup_s8_c": (lookup,)}
