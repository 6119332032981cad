"""Operators that move elements: PAD, RESHAPE and its kin, TRANSPOSE, RESIZE_NEAREST_NEIGHBOR."""

from __future__ import annotations

from tinyml.graph import DType, NoAttrs, OpKind, PadAttrs, ResizeAttrs, TransposeAttrs
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import ModelTensors, dims


def _pad(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = model.activation(inputs[0])
    model.activation(op.outputs[0])
    dtype = DType.INT64 if model.tensor(inputs[1]).dtype is DType.INT64 else DType.INT32
    data = model.constant(inputs[1], dtype, "paddings")
    if data.shape != (len(x.shape), 2):
        raise model.error(f"its paddings have shape {dims(data.shape)}", f"expected {len(x.shape)}x2")
    paddings = tuple((int(before), int(after)) for before, after in data)
    if any(before < 0 or after < 0 for before, after in paddings):
        raise model.error(f"its paddings are {paddings}", "expected no negative numbers")
    shape = tuple(size + sum(pad) for size, pad in zip(x.shape, paddings, strict=True))
    return Read(inputs[:1], PadAttrs(paddings), shape)


def _reshape(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 2)
    x = model.activation(inputs[0])
    output = model.activation(op.outputs[0])
    # A shape computed from shapes is what its output is declared as: batch sizes are fixed by now.
    computed = {t for i in model.shape_ops for t in model.raw.operators[i].outputs}
    if inputs[1] >= 0 and inputs[1] not in computed:
        wanted = model.integers(inputs[1], "new shape")
        if op.name == "RESHAPE" and not _shape_matches(wanted, output.shape):
            raise model.error(f"its new shape is {wanted}", f"its output is declared as {dims(output.shape)}")
    if x.elements != output.elements:
        raise model.error(
            f"its input {dims(x.shape)} and output {dims(output.shape)} have different sizes",
            "expected as many elements",
        )
    if op.name != "RESHAPE" and _without_ones(x.shape) != _without_ones(output.shape):
        raise model.error(
            f"it turns {dims(x.shape)} into {dims(output.shape)}",
            "expected only dimensions of 1 to change",
        )
    return Read(inputs[:1], NoAttrs(), output.shape)


def _transpose(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = model.activation(inputs[0])
    model.activation(op.outputs[0])
    rank = len(x.shape)
    perm = model.integers(inputs[1], "permutation", rank)
    if any(not -rank <= p < rank for p in perm) or len({p % rank for p in perm}) != rank:
        raise model.error(f"its permutation is {perm}", f"expected each of 0 to {rank - 1} once")
    order = tuple(p % rank for p in perm)
    return Read(inputs[:1], TransposeAttrs(order), tuple(x.shape[p] for p in order))


def _resize(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    image = model.image(inputs[0])
    model.activation(op.outputs[0])
    height, width = model.integers(inputs[1], "size", 2)
    if height <= 0 or width <= 0:
        raise model.error(f"its size is {height}x{width}", "expected positive numbers")
    attrs = ResizeAttrs(bool(op.options["AlignCorners"]), bool(op.options["HalfPixelCenters"]))
    if attrs.align_corners and attrs.half_pixel_centers:
        raise model.error("it has align_corners and half_pixel_centers", "expected at most one of them")
    return Read(inputs[:1], attrs, (image.shape[0], height, width, image.shape[3]))


def _shape_matches(wanted: list[int], shape: tuple[int, ...]) -> bool:
    """Return whether a RESHAPE's argument, with at most one −1, gives the shape."""
    return (
        len(wanted) == len(shape)
        and wanted.count(-1) <= 1
        and all(w in (-1, d) for w, d in zip(wanted, shape, strict=True))
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d for d in shape if d != 1)


READERS = {
    "PAD": OperatorReader(OpKind.PAD, _pad, 1),
    "RESHAPE": OperatorReader(OpKind.RESHAPE, _reshape, 1),
    "SQUEEZE": OperatorReader(OpKind.RESHAPE, _reshape, 1),
    "EXPAND_DIMS": OperatorReader(OpKind.RESHAPE, _reshape, 1),
    "TRANSPOSE": OperatorReader(OpKind.TRANSPOSE, _transpose, 1),
    "RESIZE_NEAREST_NEIGHBOR": OperatorReader(
        OpKind.RESIZE_NEAREST_NEIGHBOR,
        _resize,
        1,
        ("ResizeNearestNeighborOptions", "AlignCorners", "HalfPixelCenters"),
    ),
}
