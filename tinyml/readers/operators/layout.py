"""PAD and its kin, RESHAPE and its kin, TRANSPOSE, TILE and its kin, and resizing."""

from __future__ import annotations

from tinyml import numerics
from tinyml.graph import (
    DType,
    MirrorPadAttrs,
    NoAttrs,
    OpKind,
    PadAttrs,
    ResizeAttrs,
    Tensor,
    TransposeAttrs,
)
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import MOVED_TYPES, OperatorReader, Read
from tinyml.readers.operators.slicing import moved
from tinyml.readers.tensors import ModelTensors, dims

_PADDED = ("int8", "int16", "int32", "float32")  # types that a kernel can fill with a value
_MOST_PADDED = 5  # dimensions, in reference/pad.h
_REFLECT = 0  # MirrorPadMode


def _paddings(model: ModelTensors, index: int, x: Tensor) -> tuple[tuple[int, int], ...]:
    dtype = DType.INT64 if model.tensor(index).dtype is DType.INT64 else DType.INT32
    data = model.constant(index, dtype, "paddings")
    if data.shape != (len(x.shape), 2):
        raise model.error(f"its paddings have shape {dims(data.shape)}", f"expected {len(x.shape)}x2")
    paddings = tuple((int(before), int(after)) for before, after in data)
    if any(before < 0 or after < 0 for before, after in paddings):
        raise model.error(f"its paddings are {paddings}", "expected no negative numbers")
    return paddings


def _padded(x: Tensor, paddings: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    return tuple(size + sum(pad) for size, pad in zip(x.shape, paddings, strict=True))


def _pad(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = moved(model, op, inputs[0])
    if len(x.shape) > _MOST_PADDED:
        raise model.error(f"its input is {dims(x.shape)}", f"expected at most {_MOST_PADDED} dimensions")
    paddings = _paddings(model, inputs[1], x)
    return Read(inputs[:1], PadAttrs(paddings), _padded(x, paddings))


def _pad_value(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 3, 3)
    x = moved(model, op, inputs[0])
    if len(x.shape) > _MOST_PADDED:
        raise model.error(f"its input is {dims(x.shape)}", f"expected at most {_MOST_PADDED} dimensions")
    paddings = _paddings(model, inputs[1], x)
    values = model.constant(inputs[2], x.dtype, "value")
    constant, output = model.activation(inputs[2], (x.dtype,)), model.tensor(op.outputs[0])
    if values.size != 1:
        raise model.error(f"its value has shape {dims(values.shape)}", "expected one number")
    if x.dtype is DType.INT8 and (constant.scale, constant.zero_point) != (output.scale, output.zero_point):
        raise model.error(
            "its value has another scale or zero point than its output",
            "expected one quantisation, as TensorFlow Lite does",
        )
    value = values.reshape(-1)[0].item()
    return Read(inputs[:1], PadAttrs(paddings, value), _padded(x, paddings))


def _mirror_pad(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = moved(model, op, inputs[0])
    paddings = _paddings(model, inputs[1], x)
    reflect = op.options["Mode"] == _REFLECT
    for size, pad in zip(x.shape, paddings, strict=True):
        if max(pad) > size - reflect:
            raise model.error(
                f"it pads {dims(x.shape)} by {paddings}", "expected no more than there is to mirror"
            )
    return Read(inputs[:1], MirrorPadAttrs(paddings, reflect), _padded(x, paddings))


def _tile(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = moved(model, op, inputs[0])
    multiples = model.integers(inputs[1], "multiples", len(x.shape))
    if any(m < 1 for m in multiples):
        raise model.error(f"its multiples are {multiples}", "expected positive numbers")
    return Read(inputs[:1], NoAttrs(), tuple(n * m for n, m in zip(x.shape, multiples, strict=True)))


def _broadcast_to(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = moved(model, op, inputs[0])
    shape = tuple(model.integers(inputs[1], "shape"))
    aligned = (1,) * (len(shape) - len(x.shape)) + x.shape
    if len(aligned) != len(shape) or any(n not in (1, m) for n, m in zip(aligned, shape, strict=True)):
        raise model.error(
            f"it broadcasts {dims(x.shape)} to {dims(shape)}", "expected dimensions of 1 to repeat"
        )
    return Read(inputs[:1], NoAttrs(), shape)


def _reshape(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 2)
    x = moved(model, op, inputs[0])
    output = model.tensor(op.outputs[0])
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
    x = moved(model, op, inputs[0])
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
    shape = (image.shape[0], height, width, image.shape[3])
    if op.name == "RESIZE_BILINEAR" and model.tensor(op.outputs[0]).shape == shape:
        for size, out in ((image.shape[1], height), (image.shape[2], width)):
            first, _, _ = numerics.bilinear_taps(size, out, attrs)
            if int(first.max()) >= size:
                raise model.error(
                    f"it enlarges {size} to {out}",
                    "expected a factor for which TensorFlow Lite's 10-bit steps stay inside the image",
                    "resize in two steps",
                )
    return Read(inputs[:1], attrs, shape)


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
    "BROADCAST_TO": OperatorReader(OpKind.TILE, _broadcast_to, 1, (), MOVED_TYPES, MOVED_TYPES),
    "EXPAND_DIMS": OperatorReader(OpKind.RESHAPE, _reshape, 1, (), MOVED_TYPES, MOVED_TYPES),
    "MIRROR_PAD": OperatorReader(
        OpKind.MIRROR_PAD, _mirror_pad, 1, ("MirrorPadOptions", "Mode"), MOVED_TYPES, MOVED_TYPES
    ),
    "PAD": OperatorReader(OpKind.PAD, _pad, 1, (), _PADDED, _PADDED),
    "PADV2": OperatorReader(OpKind.PAD, _pad_value, 1, (), _PADDED, _PADDED),
    "RESHAPE": OperatorReader(OpKind.RESHAPE, _reshape, 1, (), MOVED_TYPES, MOVED_TYPES),
    "RESIZE_BILINEAR": OperatorReader(
        OpKind.RESIZE_BILINEAR, _resize, 1, ("ResizeBilinearOptions", "AlignCorners", "HalfPixelCenters")
    ),
    "SQUEEZE": OperatorReader(OpKind.RESHAPE, _reshape, 1, (), MOVED_TYPES, MOVED_TYPES),
    "TILE": OperatorReader(OpKind.TILE, _tile, 1, (), MOVED_TYPES, MOVED_TYPES),
    "TRANSPOSE": OperatorReader(OpKind.TRANSPOSE, _transpose, 1, (), MOVED_TYPES, MOVED_TYPES),
    "RESIZE_NEAREST_NEIGHBOR": OperatorReader(
        OpKind.RESIZE_NEAREST_NEIGHBOR,
        _resize,
        1,
        ("ResizeNearestNeighborOptions", "AlignCorners", "HalfPixelCenters"),
    ),
}
