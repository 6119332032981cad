"""Let a layer clamp its own output, where the file has the activation behind it."""

from __future__ import annotations

import dataclasses

import numpy as np

from tinyml import numerics
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    BinaryAttrs,
    BinaryFunction,
    Graph,
    LookupAttrs,
    Op,
    WindowAttrs,
)
from tinyml.passes import edit


def fuse_activations(graph: Graph) -> Graph:
    """Fuse tables that only clamp, at the same scale, into the layers that they alone read.

    A change of scale would round differently, so such a table stays.
    """
    return edit.repeat(graph, _fuse_one)


def _fuse_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        producer = graph.producer(op.inputs[0]) if isinstance(op.attrs, LookupAttrs) else None
        if producer is None or graph.consumers(op.inputs[0]) != (i,) or op.inputs[0] in graph.outputs:
            continue
        layer = graph.ops[producer]
        activation = _clamp(graph, layer, op)
        if activation is not None:
            assert isinstance(layer.attrs, WindowAttrs | ActivationAttrs | BinaryAttrs)
            attrs = dataclasses.replace(layer.attrs, activation=activation)
            fused = dataclasses.replace(layer, attrs=attrs, outputs=op.outputs, name=op.name)
            return edit.replace_op(edit.replace_op(graph, i, ()), producer, (fused,))
    return None


def _clamp(graph: Graph, layer: Op, lookup: Op) -> Activation | None:
    """Return the activation that does what the layer's own and the table do together, if there is one."""
    attrs, x, y = layer.attrs, graph.tensors[layer.outputs[0]], graph.tensors[lookup.outputs[0]]
    if not isinstance(attrs, WindowAttrs | ActivationAttrs | BinaryAttrs):
        return None
    if isinstance(attrs, BinaryAttrs) and attrs.function is not BinaryFunction.SUB:
        return None
    if x.quant != y.quant or x.dtype is not y.dtype:
        return None
    assert isinstance(lookup.attrs, LookupAttrs)
    values = np.arange(-128, 128)
    low, high = numerics.output_range(graph, layer)
    clamped = np.array(lookup.attrs.table)[np.clip(values, low, high) + 128]
    for activation in Activation:
        low, high = numerics.activation_range(activation, y.scale, y.zero_point)
        if np.array_equal(clamped, np.minimum(np.maximum(values, low), high)):
            return activation
    return None
