"""Fold PAD into the convolutions that read it, which then need no padded copy."""

from __future__ import annotations

import dataclasses

from tinyml import numerics
from tinyml.graph import DType, Graph, Op, OpKind, PadAttrs, Pads, WindowAttrs
from tinyml.passes import edit

_CONVOLUTIONS = (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D)


def fold_padding(graph: Graph) -> Graph:
    """Add a PAD's rows and columns to the pads of every convolution that reads it.

    Both read the zero point outside the image. Pooling does not: an average leaves padding out
    of its count and a maximum ignores it, so a PAD before pooling stays.
    """
    return edit.repeat(graph, _fold_one)


def _fold_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        if op.kind is OpKind.PAD and _foldable(graph, op):
            return _fold(graph, i)
    return None


def _foldable(graph: Graph, pad: Op) -> bool:
    x, y = graph.tensors[pad.inputs[0]], graph.tensors[pad.outputs[0]]
    assert isinstance(pad.attrs, PadAttrs)
    paddings = pad.attrs.paddings
    if x.dtype not in (DType.INT8, DType.INT16) or numerics.pad_value(graph, pad) != x.zero_point:  # PADV2
        return False
    if len(paddings) != 4 or paddings[0] != (0, 0) or paddings[3] != (0, 0) or x.quant != y.quant:
        return False
    consumers = [graph.ops[i] for i in graph.consumers(pad.outputs[0])]
    return (
        pad.outputs[0] not in graph.results
        and bool(consumers)
        and all(c.kind in _CONVOLUTIONS and c.inputs.count(pad.outputs[0]) == 1 for c in consumers)
    )


def _fold(graph: Graph, index: int) -> Graph:
    pad = graph.ops[index]
    assert isinstance(pad.attrs, PadAttrs)
    (top, bottom), (left, right) = pad.attrs.paddings[1:3]
    ops = list(graph.ops)
    for i in graph.consumers(pad.outputs[0]):
        attrs = ops[i].attrs
        assert isinstance(attrs, WindowAttrs)
        pads = Pads(
            top=attrs.pads.top + top,
            left=attrs.pads.left + left,
            bottom=attrs.pads.bottom + bottom,
            right=attrs.pads.right + right,
        )
        ops[i] = dataclasses.replace(
            ops[i],
            inputs=(pad.inputs[0], *ops[i].inputs[1:]),
            attrs=dataclasses.replace(attrs, pads=pads),
        )
    return edit.replace_op(graph.replace(ops=tuple(ops)), index, ())
