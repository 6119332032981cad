"""Random graphs of one operator: reductions, ARG_MAX and ARG_MIN, L2_NORMALIZATION, LOG_SOFTMAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.kernels.kernel_cases import Rng, activation_tensor, one_op, per_tensor, pick
from tinyml.graph import ArgAttrs, DType, Graph, NoAttrs, OpKind, ReduceAttrs, SoftmaxAttrs, Tensor


def _shape(rng: Rng, ranks: Sequence[int], largest: int) -> tuple[int, ...]:
    return tuple(pick(rng, 1, *range(1, largest)) for _ in range(pick(rng, *ranks)))


def _reduction(rng: Rng, kind: OpKind) -> Graph:
    shape = _shape(rng, (1, 2, 3, 4, 4, 5, 6), 5)
    axes = tuple(axis for axis in range(len(shape)) if rng.random() < 0.5)
    if rng.random() < 0.3:
        axes = tuple(range(int(rng.integers(0, len(shape) + 1)), len(shape)))
    keep = bool(rng.random() < 0.5)
    kept = tuple(1 if axis in axes else dim for axis, dim in enumerate(shape) if keep or axis not in axes)
    x = activation_tensor(rng, "x", shape)
    if kind in (OpKind.REDUCE_MAX, OpKind.REDUCE_MIN):
        y = Tensor("y", kept, DType.INT8, x.quant)
    elif kind is OpKind.REDUCE_PROD:
        x = activation_tensor(rng, "x", shape, float(rng.choice([0.01, 0.02, 0.05])))
        y = activation_tensor(rng, "y", kept, float(rng.choice([0.01, 0.1, 1.0])))
    else:
        y = activation_tensor(rng, "y", kept, x.scale * float(rng.choice([1.0, 3.0, 9.0])))
    return one_op(kind, ReduceAttrs(axes, keep), (x,), y)


def sums(rng: Rng) -> Graph:
    return _reduction(rng, OpKind.SUM)


def maxima(rng: Rng) -> Graph:
    return _reduction(rng, OpKind.REDUCE_MAX)


def minima(rng: Rng) -> Graph:
    return _reduction(rng, OpKind.REDUCE_MIN)


def products(rng: Rng) -> Graph:
    return _reduction(rng, OpKind.REDUCE_PROD)


def arg(rng: Rng) -> Graph:
    shape = _shape(rng, (1, 2, 3, 4), 6)
    axis = int(rng.integers(0, len(shape)))
    shape = (*shape[:axis], pick(rng, 1, 2, 7, 127, 255, 255), *shape[axis + 1 :])
    kind = OpKind.ARG_MAX if rng.random() < 0.5 else OpKind.ARG_MIN
    dtype = DType.INT32 if rng.random() < 0.5 else DType.INT64
    y = Tensor("y", (*shape[:axis], *shape[axis + 1 :]), dtype)
    return one_op(kind, ArgAttrs(axis), (activation_tensor(rng, "x", shape),), y)


def l2_normalization(rng: Rng) -> Graph:
    x = activation_tensor(rng, "x", (*_shape(rng, (0, 1, 1, 2), 4), pick(rng, 1, 2, 3, 10, 700)))
    y = Tensor("y", x.shape, DType.INT8, per_tensor(1 / 128, 0))
    return one_op(OpKind.L2_NORMALIZATION, NoAttrs(), (x,), y)


def log_softmax(rng: Rng) -> Graph:
    shape = (*_shape(rng, (0, 1, 1, 2), 4), pick(rng, 1, 2, 3, 10, 12, 100, 700))
    x = activation_tensor(rng, "x", shape, float(rng.choice([0.001, 0.02, 0.1, 0.3, 1.0])))
    y = Tensor("y", shape, DType.INT8, per_tensor(1 / 16, 127))
    return one_op(OpKind.LOG_SOFTMAX, NoAttrs(), (x,), y)


def attention(rng: Rng) -> Graph:
    """A softmax of many elements."""
    classes = pick(rng, 10, 64, 100, 700)
    shape = (1, -(-1024 // classes) + pick(rng, 0, 1, 5), classes)
    x = activation_tensor(rng, "x", shape, float(rng.choice([0.001, 0.02, 0.1, 0.3, 1.0])))
    y = Tensor("y", shape, DType.INT8, per_tensor(1 / 256, -128))
    return one_op(OpKind.SOFTMAX, SoftmaxAttrs(float(rng.choice([0.5, 1.0, 2.0]))), (x,), y)


GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_arg_max_s8_s32_c": (arg,),
    "tm_arg_max_s8_s64_c": (arg,),
    "tm_arg_min_s8_s32_c": (arg,),
    "tm_arg_min_s8_s64_c": (arg,),
    "tm_l2_normalization_s8_c": (l2_normalization,),
    "tm_log_softmax_s8_c": (log_softmax,),
    "tm_reduce_max_s8_c": (maxima,),
    "tm_reduce_min_s8_c": (minima,),
    "tm_reduce_prod_s8_c": (products,),
    "tm_softmax_table_s8_c": (attention,),
    "tm_sum_s8_c": (sums,),
}
