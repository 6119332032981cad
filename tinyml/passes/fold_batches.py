"""Fold SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND into one dilated convolution.

Converters write a dilated convolution so: each of block_h · block_w images of every block_h-th row and
block_w-th column is convolved, and the results are woven together again. Tap k of output row r·b + i reads
row (r + k)·b + i of the padded image in both forms, and what lies outside is the zero point in both, so
every accumulator is the same sum.
"""

from __future__ import annotations

import dataclasses

from tinyml.graph import BlockAttrs, Graph, NoAttrs, Op, OpKind, Pads, WindowAttrs
from tinyml.passes import edit

_CONVOLUTIONS = (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D)


def fold_batches(graph: Graph) -> Graph:
    """Fold every such triple whose inner tensors nobody else reads."""
    return edit.repeat(graph, _fold_one)


def _fold_one(graph: Graph) -> Graph | None:
    for i, op in enumerate(graph.ops):
        if op.kind is OpKind.SPACE_TO_BATCH_ND:
            folded = _fold(graph, i)
            if folded is not None:
                return folded
    return None


def _only_reader(graph: Graph, tensor: int) -> int | None:
    readers = graph.consumers(tensor)
    alone = len(readers) == 1 and tensor not in graph.outputs
    return readers[0] if alone and graph.ops[readers[0]].inputs.count(tensor) == 1 else None


def _fold(graph: Graph, first: int) -> Graph | None:
    """Fold the triple that starts with an operator, through RESHAPEs that add and take a dimension of 1."""
    split = graph.ops[first]
    chain = [first]
    tensor = split.outputs[0]
    layer: int | None = None
    while (reader := _only_reader(graph, tensor)) is not None:
        op = graph.ops[reader]
        chain.append(reader)
        tensor = op.outputs[0]
        if op.kind is OpKind.BATCH_TO_SPACE_ND:
            break
        if op.kind in _CONVOLUTIONS and layer is None and op.inputs[0] == graph.ops[chain[-2]].outputs[0]:
            layer = reader
        elif op.kind is not OpKind.RESHAPE:
            return None
    else:
        return None
    return None if layer is None else _replace(graph, chain, layer)


def _replace(graph: Graph, chain: list[int], layer: int) -> Graph | None:
    split, conv, join = graph.ops[chain[0]], graph.ops[layer], graph.ops[chain[-1]]
    assert isinstance(split.attrs, BlockAttrs)
    assert isinstance(join.attrs, BlockAttrs)
    assert isinstance(conv.attrs, WindowAttrs)
    x, y = graph.tensors[split.inputs[0]], graph.tensors[join.outputs[0]]
    inner_x, inner_y = graph.tensors[conv.inputs[0]], graph.tensors[conv.outputs[0]]
    attrs, block = conv.attrs, split.attrs.block
    before, after = _image(x.shape, inner_x.shape), _image(y.shape, inner_y.shape)
    if (
        block != join.attrs.block
        or x.quant != inner_x.quant
        or y.quant != inner_y.quant
        or (attrs.stride_h, attrs.stride_w) != (1, 1)
        or before is None
        or after is None
        or before[1] != after[1]
    ):
        return None
    along_width = before[1]  # the one dimension of sequences: the convolution's columns, else its rows
    pairs = [split.attrs.edges, join.attrs.edges]
    blocks = block
    if along_width:
        pairs = [(edges[1], edges[0]) for edges in pairs]
        blocks = block[1], block[0]
    (top, bottom), (left, right) = (
        (first + pad_first * b - cut_first, last + pad_last * b - cut_last)
        for (first, last), (cut_first, cut_last), b, (pad_first, pad_last) in zip(
            *pairs,
            blocks,
            ((attrs.pads.top, attrs.pads.bottom), (attrs.pads.left, attrs.pads.right)),
            strict=True,
        )
    )
    if min(top, bottom, left, right) < 0:
        return None
    dilated = dataclasses.replace(
        attrs,
        dilation_h=attrs.dilation_h * blocks[0],
        dilation_w=attrs.dilation_w * blocks[1],
        pads=Pads(top, left, bottom, right),
    )
    source, target = split.inputs[0], join.outputs[0]
    ops: list[Op] = []
    if len(x.shape) != 4:
        graph, source = edit.add_tensor(
            graph, dataclasses.replace(x, name=f"{x.name}/image", shape=before[0])
        )
        ops.append(Op(OpKind.RESHAPE, split.inputs, (source,), NoAttrs(), split.name))
    if len(y.shape) != 4:
        graph, target = edit.add_tensor(graph, dataclasses.replace(y, name=f"{y.name}/image", shape=after[0]))
    ops.append(Op(conv.kind, (source, *conv.inputs[1:]), (target,), dilated, conv.name))
    if len(y.shape) != 4:
        ops.append(Op(OpKind.RESHAPE, (target,), join.outputs, NoAttrs(), join.name))
    gone = set(chain)
    at = chain[-1]
    return graph.replace(
        ops=(
            *(op for i, op in enumerate(graph.ops[:at]) if i not in gone),
            *ops,
            *graph.ops[at + 1 :],
        )
    )


def _image(outer: tuple[int, ...], inner: tuple[int, ...]) -> tuple[tuple[int, ...], bool] | None:
    """Return the image that stands for an outer tensor, and whether its one dimension runs along the width.

    None where the inner image is no such image: [b, 1, t, c] or [b, t, 1, c] for [n, t·b, c].
    """
    if len(inner) != 4 or outer[0] != 1:
        return None
    if len(outer) == 4:
        return outer, False
    if inner[1] == 1:
        return (1, 1, outer[1], outer[2]), True
    return ((1, outer[1], 1, outer[2]), False) if inner[2] == 1 else None
