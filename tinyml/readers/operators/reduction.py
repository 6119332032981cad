"""Reductions, ARG_MAX and ARG_MIN, normalisations."""

from __future__ import annotations

import math

from tinyml.graph import ArgAttrs, DType, NoAttrs, OpKind, ReduceAttrs, SoftmaxAttrs
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import COMPUTED_TYPES, ModelTensors, dims

_MAX_SOFTMAX = 4095  # TFLite sums exponentials with 12 integer bits


_MAX_SQUARES = 2**15  # elements whose centred squares surely add up to less than 2^31
_UNIT_SCALE, _LOG_SCALE = 1 / 128, 16 / 256  # lite/kernels/l2norm.cc, activations.cc


def _mean(model: ModelTensors, op: RawOperator) -> Read:
    if op.name == "MEAN":
        (x,), output = model.computed(op, op.inputs[0]), model.tensor(op.outputs[0])
    else:
        x, output = model.activation(op.inputs[0]), model.activation(op.outputs[0])
    model.check_rescale(x.scale / output.scale)
    return _reduction(model, op)


def _extreme(model: ModelTensors, op: RawOperator) -> Read:
    x, output = model.activation(op.inputs[0]), model.activation(op.outputs[0])
    if x.quant != output.quant:
        raise model.error(
            f"its input has scale {x.scale:g} and zero point {x.zero_point}, "
            f"its output {output.scale:g} and {output.zero_point}",
            "expected the same quantisation: it only picks values",
        )
    return _reduction(model, op)


def _product(model: ModelTensors, op: RawOperator) -> Read:
    read = _reduction(model, op)
    x, output = model.activation(op.inputs[0]), model.activation(op.outputs[0])
    count = math.prod(x.shape[a] for a in read.attrs.axes) if isinstance(read.attrs, ReduceAttrs) else 1
    model.check_rescale(x.scale / output.scale ** (1 / count))
    return read


def _reduction(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = model.tensor(inputs[0])
    model.activation(op.outputs[0], (x.dtype,))
    rank = len(x.shape)
    axes = model.integers(inputs[1], "axes")
    if any(not -rank <= a < rank for a in axes):
        raise model.error(f"its axes are {axes}", f"expected dimensions of {dims(x.shape)}")
    unique = tuple(sorted({a % rank for a in axes}))
    keep = bool(op.options["KeepDims"])
    shape = tuple(1 if d in unique else size for d, size in enumerate(x.shape) if keep or d not in unique)
    return Read(inputs[:1], ReduceAttrs(unique, keep), shape)


def _softmax(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    (x,), output = model.computed(op, inputs[0]), model.tensor(op.outputs[0])
    beta = float(op.options["Beta"])
    if not (math.isfinite(beta) and beta > 0):
        raise model.error(f"its beta is {beta}", "expected a finite positive number")
    if not x.shape:
        raise model.error("its input is a scalar", "expected at least one dimension")
    if x.shape[-1] > _MAX_SOFTMAX:
        raise model.error(
            f"it spans {x.shape[-1]} elements",
            f"at most {_MAX_SOFTMAX} fit its 32-bit sum",
            "leave the softmax out of the model and take the largest score",
        )
    if x.dtype is DType.INT16:
        if output.scale != 1 / 2**15:
            raise model.error(f"its output has scale {output.scale:g}", "expected 1/32768 for int16")
        model.check_rescale(x.scale * beta * 6553.5)
        return Read(inputs, SoftmaxAttrs(beta), x.shape)
    if output.zero_point != -128 or abs(output.scale - 1 / 256) > 0.001 / 256:
        raise model.error(
            f"its output has scale {output.scale:g} and zero point {output.zero_point}",
            "expected 1/256 and -128",
        )
    return Read(inputs, SoftmaxAttrs(beta), x.shape)


def _arg(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = model.activation(inputs[0])
    model.activation(op.outputs[0], (DType.INT32, DType.INT64))
    rank = len(x.shape)
    (axis,) = model.integers(inputs[1], "axis", 1)
    if not -rank <= axis < rank:
        raise model.error(f"its axis is {axis}", f"expected a dimension of {dims(x.shape)}")
    axis %= rank
    return Read(inputs[:1], ArgAttrs(axis), (*x.shape[:axis], *x.shape[axis + 1 :]))


def _l2_normalization(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x, output = model.activation(inputs[0]), model.activation(op.outputs[0])
    if op.options["FusedActivationFunction"] != 0:
        raise model.error("it has a fused activation", "expected none")
    if not 1 <= len(x.shape) <= 4 or x.shape[-1] > _MAX_SQUARES:
        raise model.error(
            f"its input is {dims(x.shape)}", f"expected 1 to 4 dimensions, the last of at most {_MAX_SQUARES}"
        )
    if output.scale != _UNIT_SCALE or output.zero_point != 0:
        raise model.error(
            f"its output has scale {output.scale:g} and zero point {output.zero_point}",
            "expected 1/128 and 0",
        )
    return Read(inputs, NoAttrs(), x.shape)


def _log_softmax(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x, output = model.activation(inputs[0]), model.activation(op.outputs[0])
    if not x.shape or x.shape[-1] > _MAX_SOFTMAX:
        raise model.error(
            f"it spans {dims(x.shape[-1:])} elements",
            f"expected 1 to {_MAX_SOFTMAX}: more do not fit its sum",
        )
    if output.scale != _LOG_SCALE or output.zero_point != 127:
        raise model.error(
            f"its output has scale {output.scale:g} and zero point {output.zero_point}",
            "expected 1/16 and 127",
        )
    return Read(inputs, NoAttrs(), x.shape)


_REDUCER = ("ReducerOptions", "KeepDims")
_INDICES = ("int32", "int64")

READERS = {
    "ARG_MAX": OperatorReader(OpKind.ARG_MAX, _arg, 1, output_types=_INDICES),
    "ARG_MIN": OperatorReader(OpKind.ARG_MIN, _arg, 1, output_types=_INDICES),
    "L2_NORMALIZATION": OperatorReader(
        OpKind.L2_NORMALIZATION, _l2_normalization, 1, ("L2NormOptions", "FusedActivationFunction")
    ),
    "LOG_SOFTMAX": OperatorReader(OpKind.LOG_SOFTMAX, _log_softmax, 1),
    "MEAN": OperatorReader(OpKind.MEAN, _mean, 1, _REDUCER, COMPUTED_TYPES, COMPUTED_TYPES),
    "REDUCE_MAX": OperatorReader(OpKind.REDUCE_MAX, _extreme, 1, _REDUCER),
    "REDUCE_MIN": OperatorReader(OpKind.REDUCE_MIN, _extreme, 1, _REDUCER),
    "REDUCE_PROD": OperatorReader(OpKind.REDUCE_PROD, _product, 1, _REDUCER),
    "SOFTMAX": OperatorReader(
        OpKind.SOFTMAX, _softmax, 1, ("SoftmaxOptions", "Beta"), COMPUTED_TYPES, COMPUTED_TYPES
    ),
    "SUM": OperatorReader(OpKind.SUM, _mean, 1, _REDUCER),
}
