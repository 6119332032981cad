"""GATHER, GATHER_ND and EMBEDDING_LOOKUP, with constant indices or indices computed at run time.

TensorFlow Lite fails on an index outside the data. Constant ones are refused here; of those that come at run
time, generated code takes the nearest that exists.
"""

from __future__ import annotations

import math

from tinyml.graph import DType, GatherAttrs, NoAttrs, OpKind, Tensor
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import MOVED, MOVED_TYPES, OperatorReader, Read
from tinyml.readers.operators.slicing import dimension
from tinyml.readers.tensors import ModelTensors, dims

_INDICES = (DType.INT32, DType.INT64)
_INDEX_TYPES = tuple(dtype.value for dtype in _INDICES)


def _data(model: ModelTensors, op: RawOperator, index: int) -> Tensor:
    data = model.activation(index, MOVED)
    model.activation(op.outputs[0], (data.dtype,))
    if not data.shape:
        raise model.error(f"its data '{data.name}' is a scalar", "expected at least one dimension")
    return data


def _indices(model: ModelTensors, index: int) -> Tensor:
    return model.activation(index, _INDICES)


def _check(model: ModelTensors, indices: Tensor, limits: tuple[int, ...]) -> None:
    """Refuse constant indices outside [0, limit) of their column."""
    if indices.data is None:
        return
    columns = indices.data.reshape(-1, len(limits))
    for column, limit in enumerate(limits):
        low, high = int(columns[:, column].min()), int(columns[:, column].max())
        if low < 0 or high >= limit:
            raise model.error(f"its indices reach from {low} to {high}", f"expected 0 to {limit - 1}")


def _gather(model: ModelTensors, op: RawOperator) -> Read:
    """Of an index that comes at run time and lies outside, on which LiteRT fails, the nearest is taken."""
    inputs = model.inputs(op, 2, 2)
    data, indices = _data(model, op, inputs[0]), _indices(model, inputs[1])
    axis = dimension(model, op.options["Axis"], data.shape)
    batch = op.options["BatchDims"]
    if batch < 0:
        batch += len(indices.shape)
    if not 0 <= batch <= min(axis, len(indices.shape)) or data.shape[:batch] != indices.shape[:batch]:
        raise model.error(
            f"it gathers from {dims(data.shape)} by {dims(indices.shape)} with {batch} batch dimensions",
            f"expected equal batch dimensions, up to axis {axis}",
        )
    _check(model, indices, (data.shape[axis],))
    shape = (*data.shape[:axis], *indices.shape[batch:], *data.shape[axis + 1 :])
    return Read(inputs, GatherAttrs(axis, batch), shape)


def _gather_nd(model: ModelTensors, op: RawOperator) -> Read:
    """Of an index that comes at run time and lies outside, on which LiteRT fails, the nearest is taken."""
    inputs = model.inputs(op, 2, 2)
    data, indices = _data(model, op, inputs[0]), _indices(model, inputs[1])
    depth = indices.shape[-1] if indices.shape else 0
    if not 1 <= depth <= len(data.shape):
        raise model.error(
            f"its indices are {dims(indices.shape)}", f"expected 1 to {len(data.shape)} numbers per index"
        )
    if math.prod(data.shape[:depth]) > 2**31 - 1:
        raise model.error(f"its data is {dims(data.shape)}", "expected fewer than 2^31 elements")
    _check(model, indices, data.shape[:depth])
    return Read(inputs, NoAttrs(), (*indices.shape[:-1], *data.shape[depth:]))


def _embedding_lookup(model: ModelTensors, op: RawOperator) -> Read:
    """Of an id that comes at run time and lies outside, on which LiteRT fails, the nearest is taken."""
    ids, table = model.inputs(op, 2, 2)
    indices = model.activation(ids, (DType.INT32,))
    data = _data(model, op, table)
    if len(indices.shape) != 1 or len(data.shape) < 2:
        raise model.error(
            f"it looks up {dims(indices.shape)} in {dims(data.shape)}",
            "expected one dimension of ids, and two or more of values",
        )
    output = model.activation(op.outputs[0], (data.dtype,))
    if data.dtype is DType.INT8 and (data.scale, data.zero_point) != (output.scale, output.zero_point):
        raise model.error(
            "its values and its output have different scales, and LiteRT copies the bytes",
            "expected one quantisation",
            "the converter made it of one_hot and a matrix product: use an Embedding layer (tf.gather)",
        )
    _check(model, indices, data.shape[:1])
    return Read((table, ids), GatherAttrs(0), (*indices.shape, *data.shape[1:]))


READERS = {
    "EMBEDDING_LOOKUP": OperatorReader(
        OpKind.GATHER, _embedding_lookup, 1, input_types=("int32",), output_types=MOVED_TYPES
    ),
    "GATHER": OperatorReader(
        OpKind.GATHER,
        _gather,
        1,
        ("GatherOptions", "Axis", "BatchDims"),
        input_types=MOVED_TYPES,
        output_types=MOVED_TYPES,
    ),
    "GATHER_ND": OperatorReader(
        OpKind.GATHER_ND, _gather_nd, 1, input_types=MOVED_TYPES, output_types=MOVED_TYPES
    ),
}
