"""CONCATENATION and PACK, which puts its inputs one after another along a new dimension."""

from __future__ import annotations

from tinyml.graph import ConcatAttrs, DType, OpKind, Tensor
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import MOVED, MOVED_TYPES, OperatorReader, Read
from tinyml.readers.operators.slicing import dimension
from tinyml.readers.tensors import ModelTensors, dims

_ALL = 1 << 16  # data inputs: every one of them
_MOST = 1024


def _parts(model: ModelTensors, op: RawOperator) -> tuple[tuple[int, ...], list[Tensor]]:
    """Return the inputs, which must have one type and the output's scale and zero point."""
    inputs = model.inputs(op, len(op.inputs), len(op.inputs))
    if not 1 <= len(inputs) <= _MOST:
        raise model.error(f"it has {len(inputs)} inputs", f"expected 1 to {_MOST}")
    parts = [model.activation(i, MOVED) for i in inputs]
    output = model.activation(op.outputs[0], (parts[0].dtype,))
    for part in parts:
        if part.dtype is not parts[0].dtype:
            raise model.error(
                f"its inputs are {parts[0].dtype.value} and {part.dtype.value}", "expected one type"
            )
        if part.dtype is DType.INT8 and (part.scale, part.zero_point) != (output.scale, output.zero_point):
            raise model.error(
                f"its input '{part.name}' has scale {part.scale:g} and zero point {part.zero_point}, "
                f"its output {output.scale:g} and {output.zero_point}",
                "expected one quantisation: TensorFlow Lite's int8 kernels do not rescale here",
                "quantise with TensorFlow's converter, which puts a QUANTIZE in between",
            )
    return inputs, parts


def _concatenation(model: ModelTensors, op: RawOperator) -> Read:
    inputs, parts = _parts(model, op)
    if op.options["FusedActivationFunction"]:
        raise model.error("it has a fused activation", "expected none, as TensorFlow Lite does")
    first = parts[0].shape
    axis = dimension(model, op.options["Axis"], first)
    for part in parts:
        if (*part.shape[:axis], *part.shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) or len(
            part.shape
        ) != len(first):
            raise model.error(
                f"its inputs are {dims(first)} and {dims(part.shape)}",
                f"expected shapes that differ in dimension {axis} only",
            )
    shape = (*first[:axis], sum(part.shape[axis] for part in parts), *first[axis + 1 :])
    return Read(inputs, ConcatAttrs(axis), shape)


def _pack(model: ModelTensors, op: RawOperator) -> Read:
    inputs, parts = _parts(model, op)
    first = parts[0].shape
    axis = dimension(model, op.options["Axis"], first, extra=1)
    for part in parts:
        if part.shape != first:
            raise model.error(f"its inputs are {dims(first)} and {dims(part.shape)}", "expected one shape")
    if op.options["ValuesCount"] != len(parts):
        raise model.error(f"it has {len(parts)} inputs", f"expected {op.options['ValuesCount']}")
    return Read(inputs, ConcatAttrs(axis), (*first[:axis], len(parts), *first[axis:]))


READERS = {
    "CONCATENATION": OperatorReader(
        OpKind.CONCATENATION,
        _concatenation,
        _ALL,
        ("ConcatenationOptions", "Axis", "FusedActivationFunction"),
        MOVED_TYPES,
        MOVED_TYPES,
    ),
    "PACK": OperatorReader(
        OpKind.CONCATENATION, _pack, _ALL, ("PackOptions", "Axis", "ValuesCount"), MOVED_TYPES, MOVED_TYPES
    ),
}
