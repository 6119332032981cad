"""Random graphs for the kernels of recurrent layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tests.kernels.kernel_cases import Rng, activation_tensor, one_op, per_tensor, pick
from tinyml.graph import DType, Graph, LstmAttrs, OpKind, State, SvdfAttrs, Tensor


def lstm(rng: Rng) -> Graph:
    """An LSTM whose gates saturate now and then."""
    steps, inputs, units = pick(rng, 1, 2, 5, 9), int(rng.integers(1, 20)), int(rng.integers(1, 14))
    x = activation_tensor(rng, "x", (1, steps, inputs))
    hidden = activation_tensor(rng, "hidden", (1, units), float(rng.uniform(0.004, 0.02)))
    cell = Tensor("cell", (1, units), DType.INT16, per_tensor(2.0 ** -int(rng.integers(9, 16)), 0))
    weights = []
    for source, depth in ((x, inputs), (hidden, units)):
        for _ in range(4):
            scale = float(rng.uniform(0.2, 4.0)) / (source.scale * 74 * np.sqrt(depth) * 128)
            values = rng.integers(-127, 128, (units, depth)).astype(np.int8)
            weights.append(Tensor("w", values.shape, DType.INT8, per_tensor(scale, 0), values))
    biases = [
        Tensor("b", (units,), DType.INT32, None, rng.integers(-2000, 2000, units).astype(np.int32))
        for _ in range(4)
    ]
    clip = float(rng.uniform(0.1, 2.0)) if rng.random() < 0.3 else 0.0
    attrs = LstmAttrs(hidden.scale, hidden.zero_point, clip)
    y = Tensor("y", (1, steps, units), DType.INT8, hidden.quant)
    graph = one_op(OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM, attrs, (x, hidden, cell, *weights, *biases), y)
    states = tuple(
        State(i, None, np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype.value)) for i in (1, 2)
    )
    return dataclasses.replace(graph, inputs=(0,), states=states)


def lstm_variant(rng: Rng) -> Graph:
    """An LSTM with coupled gates, peepholes, a projection or layer normalisation."""
    steps, inputs, units = pick(rng, 1, 2, 5), int(rng.integers(1, 14)), int(rng.integers(1, 12))
    coupled, peephole, projected, normalised = (bool(rng.integers(0, 2)) for _ in range(4))
    outputs = int(rng.integers(1, units + 1)) if projected else units
    x = activation_tensor(rng, "x", (1, steps, inputs))
    hidden = activation_tensor(rng, "hidden", (1, outputs), float(rng.uniform(0.004, 0.02)))
    cell = Tensor("cell", (1, units), DType.INT16, per_tensor(2.0 ** -int(rng.integers(9, 16)), 0))

    def weights(rows: int, depth: int, source_scale: float) -> Tensor:
        scale = float(rng.uniform(0.2, 4.0)) / (source_scale * 74 * np.sqrt(depth) * 128)
        values = rng.integers(-127, 128, (rows, depth)).astype(np.int8)
        return Tensor("w", values.shape, DType.INT8, per_tensor(scale, 0), values)

    def halves(typical: float) -> Tensor:
        values = rng.integers(-32767, 32768, units).astype(np.int16)
        scale = typical * float(rng.uniform(0.5, 2.0))
        return Tensor("p", values.shape, DType.INT16, per_tensor(scale, 0), values)

    def bias(size: int) -> Tensor:
        return Tensor("b", (size,), DType.INT32, None, rng.integers(-2000, 2000, size).astype(np.int32))

    def each(make: Callable[[], Tensor], wanted: bool = True, count: int = 4) -> list[Tensor | None]:
        return [make() if wanted and not (coupled and g == 0) else None for g in range(count)]

    scale = float(rng.uniform(0.004, 0.02))
    operands = [x, hidden, cell, *each(lambda: weights(units, inputs, x.scale))]
    operands += each(lambda: weights(units, outputs, hidden.scale))
    operands += [*each(lambda: bias(units)), *each(lambda: halves(2.0**-14), peephole, 3)]
    operands.append(weights(outputs, units, scale * 74) if projected else None)
    operands.append(bias(outputs) if projected and rng.random() < 0.5 else None)
    operands += each(lambda: halves(2.0**-15), normalised)
    own = (scale, int(rng.integers(-128, 128))) if projected else (hidden.scale, hidden.zero_point)
    clips = [float(rng.uniform(0.1, 2.0)) if rng.random() < 0.3 else 0.0 for _ in range(2)]
    sums = tuple(float(np.float32(rng.uniform(1e-4, 5e-4))) for _ in range(4)) if normalised else ()
    y = Tensor("y", (1, steps, outputs), DType.INT8, hidden.quant)
    attrs = LstmAttrs(*own, *clips, sums)
    graph = one_op(OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM, attrs, operands, y)
    states = tuple(
        State(i, None, np.zeros(graph.tensors[i].shape, graph.tensors[i].dtype.value)) for i in (1, 2)
    )
    return dataclasses.replace(graph, inputs=(0,), states=states)


def svdf(rng: Rng) -> Graph:
    """An SVDF whose state holds features of steps before."""
    inputs, units, rank, memory = (int(rng.integers(1, n)) for n in (20, 9, 4, 9))
    filters = units * rank
    x = activation_tensor(rng, "x", (1, inputs))
    state = Tensor("state", (1, filters * memory), DType.INT16, per_tensor(float(rng.uniform(1e-4, 1e-3)), 0))
    values = rng.integers(-127, 128, (filters, inputs)).astype(np.int8)
    features = Tensor("f", values.shape, DType.INT8, per_tensor(float(rng.uniform(1e-3, 1e-2)), 0), values)
    weights = rng.integers(-3000, 3000, (filters, memory)).astype(np.int16)
    time = Tensor("t", weights.shape, DType.INT16, per_tensor(float(rng.uniform(1e-4, 1e-3)), 0), weights)
    bias = Tensor("b", (units,), DType.INT32, None, rng.integers(-(10**6), 10**6, units).astype(np.int32))
    spread = state.scale * 19000 * time.scale * 1700 * np.sqrt(memory * rank)
    y = activation_tensor(rng, "y", (1, units), float(spread / rng.uniform(40, 120)))
    operands = (x, state, features, time, None if rng.random() < 0.3 else bias)
    graph = one_op(OpKind.SVDF, SvdfAttrs(rank), operands, y)
    zeros = np.zeros(state.shape, np.int16)
    return dataclasses.replace(graph, inputs=(0,), states=(State(1, None, zeros),))


GENERATORS = {"tm_lstm_s8_c": (lstm,), "tm_lstm_variant_s8_c": (lstm_variant,), "tm_svdf_s8_c": (svdf,)}
