"""Requirements that several kernel rows share. Each docstring is the sentence users read."""

from __future__ import annotations

from tinyml.graph import DType, WindowAttrs
from tinyml.kernels.geometry import RANK
from tinyml.kernels.registry import OpContext


def window_attrs(context: OpContext) -> WindowAttrs:
    """Return the attributes of a convolution or pooling operator."""
    attrs = context.op.attrs
    assert isinstance(attrs, WindowAttrs)
    return attrs


def int8_activations(context: OpContext) -> bool:
    """Activations must be int8 with one scale and zero point per tensor."""
    tensors = [context.graph.tensors[i] for i in (*context.activation_inputs, *context.op.outputs)]
    return all(
        tensor.dtype is DType.INT8 and tensor.quant is not None and not tensor.quant.per_channel
        for tensor in tensors
    )


def constant_symmetric_weights(context: OpContext) -> bool:
    """Weights must be constant int8 with zero point 0."""
    weights = context.optional_input(1)
    return (
        weights is not None
        and weights.data is not None
        and weights.dtype is DType.INT8
        and weights.quant is not None
        and not any(weights.quant.zero_point)
    )


def constant_int32_bias(context: OpContext) -> bool:
    """The bias must be constant int32, or absent."""
    bias = context.optional_input(2)
    return bias is None or (bias.data is not None and bias.dtype is DType.INT32)


def single_image(context: OpContext) -> bool:
    """Images must be [1, height, width, channels]: one at a time."""
    tensors = [context.graph.tensors[i] for i in (context.activation_inputs[0], *context.op.outputs)]
    return all(len(tensor.shape) == 4 and tensor.shape[0] == 1 for tensor in tensors)


def at_most_six_dimensions(context: OpContext) -> bool:
    """Tensors may have at most six dimensions."""
    return all(len(context.graph.tensors[i].shape) <= RANK for i in (*context.op.inputs, *context.op.outputs))


def has_rank(context: OpContext, *ranks: int) -> bool:
    """Return whether the first inputs have these ranks: a guard for predicates that index shapes.

    Every predicate is asked even where another refuses, so none may rely on another.
    """
    tensors = (context.optional_input(i) for i in range(len(ranks)))
    return all(t is not None and len(t.shape) == rank for t, rank in zip(tensors, ranks, strict=True))


def one_activation(context: OpContext) -> bool:
    """There must be exactly one input that is not constant, the first."""
    return context.activation_inputs == context.op.inputs[:1]
