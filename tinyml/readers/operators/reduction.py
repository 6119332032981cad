"""MEAN and SOFTMAX."""

from __future__ import annotations

import math

from tinyml.graph import OpKind, ReduceAttrs, SoftmaxAttrs
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import ModelTensors, dims

_MAX_SOFTMAX = 4095  # TFLite sums exponentials with 12 integer bits


def _mean(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = model.activation(inputs[0])
    model.check_rescale(x.scale / model.activation(op.outputs[0]).scale)
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
    x = model.activation(inputs[0])
    output = model.activation(op.outputs[0])
    beta = float(op.options["Beta"])
    if not (math.isfinite(beta) and beta > 0):
        raise model.error(f"its beta is {beta}", "expected a finite positive number")
    if not 1 <= len(x.shape) <= 4:
        raise model.error(f"its input is {dims(x.shape)}", "expected 1 to 4 dimensions")
    if x.shape[-1] > _MAX_SOFTMAX:
        raise model.error(
            f"it spans {x.shape[-1]} elements",
            f"at most {_MAX_SOFTMAX} fit its 32-bit sum",
            "leave the softmax out of the model and take the largest score",
        )
    if output.zero_point != -128 or abs(output.scale - 1 / 256) > 0.001 / 256:
        raise model.error(
            f"its output has scale {output.scale:g} and zero point {output.zero_point}",
            "expected 1/256 and -128",
        )
    return Read(inputs, SoftmaxAttrs(beta), x.shape)


READERS = {
    "MEAN": OperatorReader(OpKind.MEAN, _mean, 1, ("ReducerOptions", "KeepDims")),
    "SOFTMAX": OperatorReader(OpKind.SOFTMAX, _softmax, 1, ("SoftmaxOptions", "Beta")),
}
