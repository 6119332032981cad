"""SHAPE, FILL and RANGE: shapes are fixed, so their results are constants and no operators of the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyml.graph import Array, DType
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.tensors import ModelTensors, dims

_MOST_BYTES = 1 << 20  # a larger constant would rather be a mistake, or a file made to take memory
_HINT = "convert with fixed shapes, so that the converter can fold it"


def _shape(model: ModelTensors, op: RawOperator) -> Array:
    (index,) = model.inputs(op, 1, 1)
    return np.array(model.tensor(index).shape, np.int64)


def _fill(model: ModelTensors, op: RawOperator) -> Array:
    shape, value = model.inputs(op, 2, 2)
    sizes = tuple(model.integers(shape, "dimensions"))
    if sizes != model.tensor(op.outputs[0]).shape:
        raise model.error(
            f"its dimensions are {sizes}",
            f"its output is declared as {dims(model.tensor(op.outputs[0]).shape)}",
        )
    number = _scalar(model, value)
    return np.broadcast_to(number, sizes)


def _range(model: ModelTensors, op: RawOperator) -> Array:
    start, limit, delta = (_scalar(model, i).item() for i in model.inputs(op, 3, 3))
    shape = model.tensor(op.outputs[0]).shape
    finite = np.isfinite([start, limit, delta]).all() and delta != 0
    if not finite or shape != (count := -((start - limit) // delta),):
        raise model.error(
            f"it counts from {start} to {limit} by {delta}", f"its output is declared as {dims(shape)}"
        )
    return np.asarray(start + np.arange(count) * delta, _scalar(model, op.inputs[0]).dtype)


def _scalar(model: ModelTensors, index: int) -> Array:
    """Return a constant of one number, as an array of no dimensions."""
    tensor = model.tensor(index)
    if tensor.data is None or tensor.elements != 1:
        raise model.error(f"its operand '{tensor.name}' is no constant number", "expected one", _HINT)
    data: Array = tensor.data.reshape(())
    return data


COMPUTED: dict[str, Callable[[ModelTensors, RawOperator], Array]] = {
    "FILL": _fill,
    "RANGE": _range,
    "SHAPE": _shape,
}


def compute(model: ModelTensors, op: RawOperator) -> Array:
    """Return the result of one of these operators, of its output's shape and type."""
    output = model.tensor(op.outputs[0])
    if output.size_bytes > _MOST_BYTES:
        raise model.error(f"its result is {dims(output.shape)}", f"expected at most {_MOST_BYTES} bytes")
    values = COMPUTED[op.name](model, op)
    if values.shape != output.shape or output.dtype is DType.UINT8:
        raise model.error(
            f"its output is declared as {dims(output.shape)} {output.dtype.value}",
            f"its inputs give {dims(values.shape)}",
        )
    return values.astype(output.dtype.value)
