"""Leave out channels that have one value for every input, and channels that nobody needs.

`ranges.py` proves which channels are constant. A constant channel goes into the bias of the layers that
read it, its producer no longer computes it, and every per-channel operator in between gets narrower. A
channel also goes where its readers give it weights of zero only, or feed constant channels only.

What is needed is found by marking backwards from the model's outputs: a layer needs the input
channels that meet a weight other than zero of a needed output channel, unless they fold into its bias;
per-channel operators (depthwise convolution, ADD, pooling, ...) have a channel on all sides or on
none; whatever mixes channels needs them all. So one live branch of a residual keeps its
partner's channel.

A constant channel folds into the bias where its sum is the same for every output of the map. With
padding that is so where it holds the zero point, as the padding does, or where the taps that may fall
outside cancel. Depthwise outputs whose input has another value differ between the border and the
middle, but a clamp often makes them equal again: `ranges.py` looks at every distinct border.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tinyml import numerics
from tinyml.graph import Array, DType, Graph, Op, OpKind, PadAttrs, Quant, ReduceAttrs, Tensor, TransposeAttrs
from tinyml.passes import edit
from tinyml.passes.ranges import (
    WEIGHTED,
    Range,
    channel_ranges,
    channels_of,
    has_constant_weights,
    window_patterns,
)
from tinyml.passes.remove_unused import remove_unused

_Mask = npt.NDArray[np.bool_]

# How many of the channels that could go stay, by instructions executed on an emulated M4. Pointwise
# 32 -> C at 6x6 for C = 20 to 24 takes 24.3, 27.5, 26.5, 29.8, 28.8 k, as the DSP kernels compute pairs of
# outputs; with the 3x3 depthwise and a C -> 32 behind it 65.1, 74.8, 74.2, 78.3, 76.5 k. So an even number
# is better than one less, and a multiple of 4 no better than two less. A dense layer reads and computes
# fours: C -> 16 takes 484, 913, 913, 918, 548.
_EVEN, _FOURS = 2, 4

_PAIRS = (OpKind.ADD, OpKind.MUL, OpKind.BINARY)  # one of their operands may be constant


def fold_channels(graph: Graph) -> Graph:
    """Fold constant channels into biases and remove those without a reader; counts what went.

    Model inputs and outputs keep all channels, every other tensor at least one. The survivors hold the bytes
    they held before, which `Tensor.channels` says.
    """
    ranges = channel_ranges(graph)
    for i, op in enumerate(graph.ops):
        data = _constant_vector(graph, op, ranges)
        if data is not None:
            tensors = list(graph.tensors)
            tensors[op.outputs[0]] = dataclasses.replace(tensors[op.outputs[0]], data=data)
            # what computed it may have no reader left
            folded = remove_unused(edit.replace_op(graph.replace(tensors=tuple(tensors)), i, ()))
            return _count(graph, folded)
    needed = _Needed(graph, ranges)
    if all(mask.all() for mask in needed.channels.values()):
        return graph
    return _count(graph, _rewrite(graph, ranges, needed))


def layer_macs(graph: Graph, op: Op) -> int:
    """Return the multiply-accumulates of a layer with weights, padded taps included; 0 for any other."""
    if op.kind not in WEIGHTED:
        return 0
    weights = graph.tensors[op.inputs[1]].shape
    per_output = np.prod(weights[:3] if op.kind is OpKind.DEPTHWISE_CONV_2D else weights[1:], dtype=np.int64)
    return graph.tensors[op.outputs[0]].elements * int(per_output)


def _count(before: Graph, after: Graph) -> Graph:
    """Add to a graph's totals the output channels and the work that its layers no longer have."""

    def total(graph: Graph) -> tuple[int, int]:
        layers = [op for op in graph.ops if op.kind in WEIGHTED]
        channels = sum(channels_of(graph, op.outputs[0]) for op in layers)
        return channels, sum(layer_macs(graph, op) for op in layers)

    (channels, macs), (channels_left, macs_left) = total(before), total(after)
    return after.replace(
        folded_channels=before.folded_channels + channels - channels_left,
        folded_macs=before.folded_macs + macs - macs_left,
    )


def _constant_vector(graph: Graph, op: Op, ranges: Mapping[int, Range]) -> Array | None:
    """Return the value of an output that is constant and as small as its channels: a gate, say."""
    index = op.outputs[0]
    output = graph.tensors[index]
    if (
        index in graph.results
        or index not in ranges
        or output.elements != channels_of(graph, index)
        or not ranges[index].constant.all()
    ):
        return None
    # An operator needs an activation: one on constants alone is left to `fold_constants`.
    for reader in (graph.ops[i] for i in graph.consumers(index)):
        if reader.outputs[0] in graph.results and graph.activations(reader) == (index,):
            return None
    return ranges[index].low.astype(np.int8).reshape(output.shape)


class _Needed:
    """Which channels of each activation have to be computed: the marking described above.

    Args:
        graph: the graph.
        ranges: from `channel_ranges`.
    """

    def __init__(self, graph: Graph, ranges: Mapping[int, Range]) -> None:
        self.graph = graph
        self.ranges = ranges
        activations = {t for op in graph.ops for t in (*graph.activations(op), *op.outputs)}
        edges = {*graph.sources, *graph.results}
        self.channels: dict[int, _Mask] = {
            t: np.full(channels_of(graph, t), t in edges) for t in sorted(activations | edges)
        }
        self._unfoldable: set[int] = set()  # layers whose bias would leave int32
        self._mark()
        while self._check_biases() or self._keep_some():
            self._mark()

    def folded(self, op: Op) -> _Mask:
        """Return which inputs of a CONV_2D or FULLY_CONNECTED fold into its bias: [depth of the weights]."""
        weights, wanted = self._weights(op)
        x = self.graph.tensors[op.inputs[0]]
        ranges = self.ranges[op.inputs[0]].regrouped(weights.shape[3])
        foldable: _Mask = ranges.constant.copy()
        if id(op) in self._unfoldable:
            foldable &= ranges.low == x.zero_point
            return foldable
        if op.kind is OpKind.CONV_2D:
            patterns = window_patterns(self.graph, op)
            for c in np.flatnonzero(foldable & (ranges.low != x.zero_point)):
                sums = np.einsum("okl,pkl->po", weights[wanted, :, :, c], patterns.astype(np.int64))
                foldable[c] = bool((sums == sums[:1]).all())
        return foldable

    def _weights(self, op: Op) -> tuple[Array, _Mask]:
        """Return a layer's weights as int64 [out_c, kernel_h, kernel_w, depth], and its needed outputs."""
        data = self.graph.tensors[op.inputs[1]].data
        assert data is not None
        kernel = data.shape[1:3] if data.ndim == 4 else (1, 1)
        weights = data.astype(np.int64).reshape(len(data), *kernel, -1)
        return weights, self.channels[op.outputs[0]]

    def _mark(self) -> None:
        """Propagate needs until nothing changes; mostly once backwards."""
        while any([self._mark_op(op) for op in reversed(self.graph.ops)]):
            pass

    def _mark_op(self, op: Op) -> bool:
        linked = _linked(self.graph, op)
        if linked is None:
            return any([self._need(t, True) for t in (*self.graph.activations(op), *op.outputs)])
        output = self.channels[op.outputs[0]]
        if op.kind in (OpKind.CONV_2D, OpKind.FULLY_CONNECTED):
            weights, wanted = self._weights(op)
            used: _Mask = weights[wanted].any(axis=(0, 1, 2)) & ~self.folded(op)
            rows = used.reshape(-1, len(self.channels[op.inputs[0]]))
            return self._need(op.inputs[0], np.logical_or.reduce(rows, axis=0))
        changed = False
        for t in linked:
            mine = self.channels[t]
            if op.kind is OpKind.DEPTHWISE_CONV_2D:
                mine = mine | np.logical_or.reduce(output.reshape(len(mine), -1), axis=1)
                repeated = np.repeat(mine, len(output) // len(mine))
            else:
                mine = mine | np.logical_or.reduce(output.reshape(-1, len(mine)), axis=0)
                repeated = np.tile(mine, len(output) // len(mine))
            changed |= self._need(t, mine) | self._need(op.outputs[0], repeated)
        return changed

    def _need(self, tensor: int, channels: _Mask | bool) -> bool:
        before = self.channels[tensor]
        self.channels[tensor] = before | channels
        return bool((self.channels[tensor] != before).any())

    def _check_biases(self) -> bool:
        """Give up folding into layers whose bias or sums could then leave int32; True where one does."""
        bad = [
            op
            for op in self.graph.ops
            if op.kind in (OpKind.CONV_2D, OpKind.FULLY_CONNECTED)
            and _linked(self.graph, op) is not None
            and id(op) not in self._unfoldable
            and not self._bias_fits(op)
        ]
        self._unfoldable.update(id(op) for op in bad)
        return bool(bad)

    def _bias_fits(self, op: Op) -> bool:
        weights, wanted = self._weights(op)
        moved = self.moved(op)
        if not moved.any():
            return True
        bias = numerics.raw_bias(self.graph, op) + moved
        # |x| and |zero point| are at most 128 each
        largest = np.abs(bias) + 256 * np.abs(weights).sum(axis=(1, 2, 3))
        return bool((largest[wanted] < 1 << 31).all())

    def moved(self, op: Op) -> npt.NDArray[np.int64]:
        """Return what removed input channels add to the bias of a CONV_2D or FULLY_CONNECTED: [out_c]."""
        weights, _ = self._weights(op)
        x = self.graph.tensors[op.inputs[0]]
        depth = weights.shape[3]
        gone = ~np.tile(self.channels[op.inputs[0]], depth // channels_of(self.graph, op.inputs[0]))
        value = self.ranges[op.inputs[0]].regrouped(depth).low - x.zero_point
        value = np.where(gone & self.folded(op), value, 0)
        if op.kind is OpKind.CONV_2D:  # the sum is the same for every set of taps
            weights = weights * window_patterns(self.graph, op)[0][None, :, :, None]
        return np.asarray(weights.sum(axis=(1, 2)) @ value, np.int64)

    def _keep_some(self) -> bool:
        """Mark channels that could go, for tensors that would be empty or of an awkward width.

        Constant channels first: mostly they have no weights, so that computing them needs nothing else.
        """
        for t, needed in self.channels.items():
            surplus = -int(needed.sum()) % self._multiple(t) or (self._multiple(t) if not needed.any() else 0)
            if surplus and not needed.all():
                constant = self.ranges[t].constant if t in self.ranges else np.zeros(len(needed), np.bool_)
                order = np.argsort(needed * 2 + ~constant, kind="stable")
                chosen = order[: min(surplus, int((~needed).sum()))]
                self._need(t, np.isin(np.arange(len(needed)), chosen))
                return True
        return False

    def _multiple(self, tensor: int) -> int:
        producer = self.graph.producer(tensor)
        ops = [self.graph.ops[i] for i in self.graph.consumers(tensor)]
        ops += [] if producer is None else [self.graph.ops[producer]]
        return _FOURS if any(op.kind is OpKind.FULLY_CONNECTED for op in ops) else _EVEN


def _linked(graph: Graph, op: Op) -> tuple[int, ...] | None:
    """Return the inputs whose channels are the output's own, () where weights mix them; None where all stay.

    The output's channels are the input's, in order, or the input's repeated: all of them again and again
    in a flattened map, each one by itself in a depthwise convolution.
    """
    output = op.outputs[0]
    tensors = [graph.tensors[t] for t in (*graph.activations(op), output)]
    if any(t.dtype is not DType.INT8 or not t.shape for t in tensors):
        return None
    x, channels = op.inputs[0], channels_of(graph, output)
    if graph.tensors[x].data is not None and op.kind not in _PAIRS:
        return None
    match op.kind:
        case OpKind.CONV_2D | OpKind.DEPTHWISE_CONV_2D | OpKind.FULLY_CONNECTED:
            if not has_constant_weights(graph, op):
                return None
            depth, have = graph.tensors[op.inputs[1]].shape[-1], channels_of(graph, x)
            if op.kind is OpKind.DEPTHWISE_CONV_2D:
                return (x,) if channels % have == 0 else None
            same = depth == have if op.kind is OpKind.CONV_2D else depth % have == 0
            return () if same else None
        case OpKind.ADD | OpKind.MUL | OpKind.BINARY:
            same_channels = all(channels_of(graph, t) == channels for t in graph.activations(op))
            return graph.activations(op) if same_channels else None
        case OpKind.AVERAGE_POOL_2D | OpKind.MAX_POOL_2D | OpKind.RESIZE_NEAREST_NEIGHBOR:
            return (x,)
        case OpKind.QUANTIZE | OpKind.LOOKUP:
            return (x,)
        case OpKind.RESHAPE:
            return (x,) if channels % channels_of(graph, x) == 0 else None
        case OpKind.PAD:
            assert isinstance(op.attrs, PadAttrs)
            return (x,) if op.attrs.paddings[-1] == (0, 0) else None
        case OpKind.MEAN:
            assert isinstance(op.attrs, ReduceAttrs)
            return None if len(graph.tensors[x].shape) - 1 in op.attrs.axes else (x,)
        case OpKind.TRANSPOSE:
            assert isinstance(op.attrs, TransposeAttrs)
            return (x,) if op.attrs.perm[-1] == len(op.attrs.perm) - 1 else None
        case _:
            return None


def _rewrite(graph: Graph, ranges: Mapping[int, Range], needed: _Needed) -> Graph:
    """Cut activations, weights, biases and constant operands to the needed channels."""
    kept = {t: np.flatnonzero(mask) for t, mask in needed.channels.items()}
    rewritten = graph
    ops: list[Op] = []
    for op in graph.ops:
        inputs = list(op.inputs)
        replaced: list[tuple[int, Tensor]] = []
        outputs = kept[op.outputs[0]]
        if op.kind in WEIGHTED and _linked(graph, op) is not None:
            replaced = _cut_layer(graph, op, needed, kept[op.inputs[0]], outputs)
        elif op.kind in _PAIRS and len(outputs) < channels_of(graph, op.outputs[0]):
            replaced = [
                (i, _cut(graph.tensors[t], -1, outputs))
                for i, t in enumerate(op.inputs)
                if t not in kept and channels_of(graph, t) == channels_of(graph, op.outputs[0])
            ]
        for i, tensor in replaced:
            rewritten, inputs[i] = edit.add_tensor(rewritten, tensor)
        ops.append(dataclasses.replace(op, inputs=tuple(inputs)))
    tensors = list(rewritten.tensors)
    for t, channels in kept.items():
        if len(channels) < channels_of(graph, t):
            of_file = tensors[t].channels or tuple(range(channels_of(graph, t)))
            tensors[t] = dataclasses.replace(
                tensors[t],
                shape=(*tensors[t].shape[:-1], len(channels)),
                channels=tuple(of_file[c] for c in channels),
            )
    return rewritten.replace(tensors=tuple(tensors), ops=tuple(ops))


def _cut_layer(
    graph: Graph, op: Op, needed: _Needed, inputs: Array, outputs: Array
) -> list[tuple[int, Tensor]]:
    """Return a layer's new weights and bias by their place among its inputs; none where nothing changes."""
    weights = graph.tensors[op.inputs[1]]
    have = channels_of(graph, op.inputs[0])
    if len(inputs) == have and len(outputs) == channels_of(graph, op.outputs[0]):
        return []
    bias: npt.NDArray[np.int64] = numerics.raw_bias(graph, op).astype(np.int64)
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        cut = _cut(weights, 3, outputs)
    else:
        bias = bias + needed.moved(op)
        rows = np.arange(weights.shape[-1]).reshape(-1, have)[:, inputs].reshape(-1)
        cut = _cut(_cut(weights, 0, outputs), -1, rows)
    replaced = [(1, cut)]
    if op.inputs[2] >= 0 or bias.any():
        old = graph.tensors[op.inputs[2]] if op.inputs[2] >= 0 else None
        tensor = old or Tensor(f"{weights.name}/bias", bias.shape, DType.INT32)
        tensor = _cut(dataclasses.replace(tensor, data=bias), 0, outputs)
        assert tensor.data is not None
        replaced.append((2, dataclasses.replace(tensor, data=tensor.data.astype(np.int32))))
    return replaced


def _cut(tensor: Tensor, axis: int, channels: Array) -> Tensor:
    """Return a constant with some indices of an axis, and their scales where each has its own."""
    assert tensor.data is not None
    data = np.ascontiguousarray(tensor.data.take(channels, axis))
    quant = tensor.quant
    if quant is not None and quant.per_channel and quant.axis == axis:
        scales, points = ([values[c] for c in channels] for values in (quant.scale, quant.zero_point))
        quant = Quant(tuple(scales), tuple(points), quant.axis)
    return dataclasses.replace(tensor, shape=data.shape, data=data, quant=quant)
