"""Networks for the planner's tests, and their access maps derived from the operators alone.

The maps here do not come from the kernel registry: the planner is tested for any map a kernel could
have (buffered or not, any granule, with and without scratch), not for those that exist today.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field, replace
from unittest import mock

import numpy as np

from tinyml.access import AccessMap, RowMap
from tinyml.aliases import Aliases
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Attrs,
    BinaryAttrs,
    BinaryFunction,
    ConcatAttrs,
    DType,
    Graph,
    LookupAttrs,
    MatmulAttrs,
    NoAttrs,
    Op,
    OpKind,
    PadAttrs,
    Pads,
    Quant,
    ReduceAttrs,
    ResizeAttrs,
    SelectAttrs,
    SliceAttrs,
    SoftmaxAttrs,
    Tensor,
    TransposeAttrs,
    UnaryAttrs,
    UnaryFunction,
    WindowAttrs,
)
from tinyml.kernels.registry import Lowered, RowLoop
from tinyml.planner import Plan, Stage, _plan_order, stages
from tinyml.planner.lifetimes import Flow
from tinyml.planner.stream import stage_calls
from tinyml.select import Selection

_VIEWS = (OpKind.CONCATENATION, OpKind.SLICE)
_SAME_SCALE = {  # operators that move bytes: TFLite wants one scale and zero point
    OpKind.CONCATENATION,
    OpKind.SLICE,
    OpKind.RESHAPE,
    OpKind.AVERAGE_POOL_2D,
    OpKind.MAX_POOL_2D,
    OpKind.PAD,
    OpKind.TRANSPOSE,
    OpKind.RESIZE_NEAREST_NEIGHBOR,
    OpKind.REDUCE_MAX,
}

_FUNCTIONS = (BinaryFunction.SUB, BinaryFunction.MAXIMUM, BinaryFunction.SQUARED_DIFFERENCE)


@dataclass
class Network:
    """Builds a Graph operator by operator; every method returns the output's tensor index."""

    seed: int = 0
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def graph(self, *outputs: int) -> Graph:
        return Graph("net", tuple(self.tensors), tuple(self.ops), tuple(self.inputs), outputs)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self.tensors[tensor].shape

    def tensor(self, *shape: int) -> int:
        quant = Quant((float(self.rng.uniform(0.02, 0.1)),), (int(self.rng.integers(-20, 20)),))
        self.tensors.append(Tensor(f"t{len(self.tensors)}", shape, DType.INT8, quant))
        return len(self.tensors) - 1

    def input(self, *shape: int) -> int:
        self.inputs.append(self.tensor(*shape))
        return self.inputs[-1]

    def constant(self, values: np.ndarray, quant: Quant | None = None) -> int:
        dtype = DType(values.dtype.name)
        self.tensors.append(Tensor(f"c{len(self.tensors)}", values.shape, dtype, quant, values))
        return len(self.tensors) - 1

    def op(self, kind: OpKind, inputs: tuple[int, ...], shape: tuple[int, ...], attrs: Attrs) -> int:
        out = self.tensor(*shape)
        if kind in _SAME_SCALE:
            self.tensors[out] = replace(self.tensors[out], quant=self.tensors[inputs[0]].quant)
        if kind is OpKind.SOFTMAX:
            self.tensors[out] = replace(self.tensors[out], quant=Quant((1 / 256,), (-128,)))
        self.ops.append(Op(kind, inputs, (out,), attrs, f"{kind.value.lower()}{len(self.ops)}"))
        return out

    def _weights(self, shape: tuple[int, ...], channels: int, axis: int, x: int) -> tuple[int, int]:
        scales = tuple(float(s) for s in self.rng.uniform(0.005, 0.02, channels))
        w = self.constant(
            self.rng.integers(-127, 128, shape, dtype=np.int8), Quant(scales, (0,) * channels, axis)
        )
        bias_scales = tuple(s * self.tensors[x].scale for s in scales)
        b = self.constant(
            self.rng.integers(-500, 500, channels, dtype=np.int32), Quant(bias_scales, (0,) * channels)
        )
        return w, b

    def _window(self, x: int, attrs: WindowAttrs) -> tuple[int, int]:
        _, h, w, _ = self.shape(x)
        p = attrs.pads
        out_h = (h + p.top + p.bottom - (attrs.kernel_h - 1) * attrs.dilation_h - 1) // attrs.stride_h + 1
        out_w = (w + p.left + p.right - (attrs.kernel_w - 1) * attrs.dilation_w - 1) // attrs.stride_w + 1
        assert out_h > 0, "the window is larger than the padded image"
        assert out_w > 0, "the window is larger than the padded image"
        return out_h, out_w

    def conv(self, x: int, channels: int, attrs: WindowAttrs) -> int:
        out_h, out_w = self._window(x, attrs)
        shape = (channels, attrs.kernel_h, attrs.kernel_w, self.shape(x)[3])
        w, b = self._weights(shape, channels, 0, x)
        return self.op(OpKind.CONV_2D, (x, w, b), (self.shape(x)[0], out_h, out_w, channels), attrs)

    def depthwise(self, x: int, attrs: WindowAttrs) -> int:
        out_h, out_w = self._window(x, attrs)
        channels = self.shape(x)[3]
        w, b = self._weights((1, attrs.kernel_h, attrs.kernel_w, channels), channels, 3, x)
        return self.op(OpKind.DEPTHWISE_CONV_2D, (x, w, b), (self.shape(x)[0], out_h, out_w, channels), attrs)

    def pool(self, x: int, attrs: WindowAttrs, kind: OpKind = OpKind.AVERAGE_POOL_2D) -> int:
        out_h, out_w = self._window(x, attrs)
        return self.op(kind, (x,), (self.shape(x)[0], out_h, out_w, self.shape(x)[3]), attrs)

    def transpose_conv(self, x: int, channels: int, attrs: WindowAttrs, height: int, width: int) -> int:
        shape = (channels, attrs.kernel_h, attrs.kernel_w, self.shape(x)[3])
        w, b = self._weights(shape, channels, 0, x)
        return self.op(OpKind.TRANSPOSE_CONV, (x, w, b), (1, height, width, channels), attrs)

    def matmul(self, x: int, y: int, shape: tuple[int, ...], *, adj_y: bool = False) -> int:
        return self.op(OpKind.BATCH_MATMUL, (x, y), shape, MatmulAttrs(adj_y=adj_y))

    def rows(self, x: int, units: int) -> int:
        """A dense layer over each row."""
        rows, depth = self.shape(x)
        w, b = self._weights((units, depth), units, 0, x)
        return self.op(OpKind.FULLY_CONNECTED, (x, w, b), (rows, units), ActivationAttrs())

    def reduce(self, x: int, kind: OpKind, axes: tuple[int, ...]) -> int:
        shape = tuple(1 if d in axes else n for d, n in enumerate(self.shape(x)))
        return self.op(kind, (x,), shape, ReduceAttrs(axes, keep_dims=True))

    def dense(self, x: int, units: int) -> int:
        w, b = self._weights((units, self.tensors[x].elements), 1, 0, x)
        bias = self.tensors[b]
        self.tensors[b] = replace(
            bias, shape=(units,), data=self.rng.integers(-500, 500, units, dtype=np.int32)
        )
        return self.op(OpKind.FULLY_CONNECTED, (x, w, b), (1, units), ActivationAttrs())

    def add(self, x: int, y: int, kind: OpKind = OpKind.ADD) -> int:
        return self.op(kind, (x, y), self.shape(x), ActivationAttrs())

    def combine(self, x: int, y: int, kind: OpKind) -> int:
        """ADD or MUL as asked for, or now and then another function of two elements, or a choice."""
        choice = int(self.rng.integers(8))
        if choice < len(_FUNCTIONS):
            return self.op(OpKind.BINARY, (x, y), self.shape(x), BinaryAttrs(_FUNCTIONS[choice]))
        if choice == len(_FUNCTIONS):
            condition = self.op(OpKind.BINARY, (x, y), self.shape(x), BinaryAttrs(BinaryFunction.LESS))
            self.tensors[condition] = replace(self.tensors[condition], dtype=DType.BOOL, quant=None)
            if self.rng.random() < 0.5:
                condition = self.op(OpKind.LOGICAL_NOT, (condition,), self.shape(x), NoAttrs())
                self.tensors[condition] = replace(self.tensors[condition], dtype=DType.BOOL, quant=None)
            return self.op(OpKind.SELECT, (condition, x, y), self.shape(x), SelectAttrs())
        return self.add(x, y, kind)

    def reshape(self, x: int, *shape: int) -> int:
        return self.op(OpKind.RESHAPE, (x,), shape, NoAttrs())

    def pad(self, x: int, paddings: tuple[tuple[int, int], ...]) -> int:
        shape = tuple(n + sum(pads) for n, pads in zip(self.shape(x), paddings, strict=True))
        return self.op(OpKind.PAD, (x,), shape, PadAttrs(paddings))

    def concat(self, parts: list[int], axis: int) -> int:
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.op(OpKind.CONCATENATION, tuple(parts), tuple(shape), ConcatAttrs(axis))

    def slice(self, x: int, axis: int, begin: int, size: int) -> int:
        rank = len(self.shape(x))
        shape = tuple(size if d == axis else n for d, n in enumerate(self.shape(x)))
        first = tuple(begin if d == axis else 0 for d in range(rank))
        return self.op(OpKind.SLICE, (x,), shape, SliceAttrs(first, (1,) * rank, tuple(range(rank))))

    def part(self, rng: random.Random, x: int) -> int:
        """Any part of a tensor along any dimension."""
        axis = rng.randrange(len(self.shape(x)))
        first, last = sorted(rng.randrange(self.shape(x)[axis]) for _ in range(2))
        return self.slice(x, axis, first, last - first + 1)

    def transpose(self, x: int, perm: tuple[int, ...]) -> int:
        return self.op(OpKind.TRANSPOSE, (x,), tuple(self.shape(x)[d] for d in perm), TransposeAttrs(perm))

    def resize(self, x: int, height: int, width: int) -> int:
        n, _, _, c = self.shape(x)
        return self.op(OpKind.RESIZE_NEAREST_NEIGHBOR, (x,), (n, height, width, c), ResizeAttrs())

    def requantize(self, x: int) -> int:
        """A change of scale, or any other function of one element."""
        if self.rng.random() < 0.5:
            return self.op(OpKind.QUANTIZE, (x,), self.shape(x), NoAttrs())
        table = tuple(int(value) for value in self.rng.integers(-128, 128, 256))
        return self.op(OpKind.LOOKUP, (x,), self.shape(x), LookupAttrs("LOGISTIC", table))

    def mean(self, x: int) -> int:
        return self.op(OpKind.MEAN, (x,), (1, self.shape(x)[3]), ReduceAttrs((1, 2), keep_dims=False))

    def softmax(self, x: int) -> int:
        return self.op(OpKind.SOFTMAX, (x,), self.shape(x), SoftmaxAttrs())


def window(
    kernel: int | tuple[int, int],
    stride: int = 1,
    pads: Pads | None = None,
    dilation: int = 1,
    activation: Activation = Activation.NONE,
) -> WindowAttrs:
    """Window attributes; without `pads`, padding that keeps stride-1 images their size."""
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    if pads is None:
        v, h = (kh - 1) * dilation, (kw - 1) * dilation
        pads = Pads(v // 2, h // 2, v - v // 2, h - h // 2)
    return WindowAttrs(kh, kw, stride, stride, dilation, dilation, pads, activation)


def access_of(graph: Graph, op: Op, *, granule: int = 1, buffered: bool = False) -> AccessMap:
    """The access map of an operator computed row by row."""
    out = graph.tensors[op.outputs[0]]
    activations = [graph.tensors[t] for t in op.inputs if t >= 0 and graph.tensors[t].data is None]
    if isinstance(op.attrs, WindowAttrs):
        a = op.attrs
        (x,) = activations
        row_map = RowMap(
            rows=x.shape[1],
            row_bytes=x.size_bytes // x.shape[1],
            mul=a.stride_h,
            lo=-a.pads.top,
            hi=(a.kernel_h - 1) * a.dilation_h - a.pads.top,
        )
        return AccessMap(out.shape[1], out.size_bytes // out.shape[1], (row_map,), granule, buffered)
    if op.kind in {OpKind.ADD, OpKind.MUL, OpKind.BINARY, OpKind.LOOKUP}:
        size = out.elements
        return AccessMap(size, 1, tuple(RowMap(size, 1) for _ in activations), granule, buffered)
    return AccessMap(1, out.size_bytes, (None,) * len(activations), 1, buffered)


def loop_of(access: AccessMap) -> RowLoop | None:
    """A loop over single rows, as generated code writes it: such operators may also run bottom up."""
    row_map = access.inputs[0] if len(access.inputs) == 1 else None
    if row_map is None or access.granule != 1:
        return None
    return RowLoop(
        1, row_map.mul, 1, -row_map.lo, row_map.rows, row_map.row_bytes, access.rows, access.row_bytes, 0
    )


def lower(graph: Graph, seed: int = 0, *, scratch: bool = True) -> list[Selection]:
    """Selections for a graph, with views, granules, buffering and scratch drawn from the seed."""
    rng = random.Random(seed)
    selections = []
    aliases = Aliases(graph)
    for index, op in enumerate(graph.ops):
        views = op.kind is OpKind.RESHAPE or (op.kind in _VIEWS and rng.random() < 0.8)
        if views and aliases.alias(op):
            selections.append(Selection(index, None, None, "a view"))
            continue
        aliases.store(op.outputs[0])
        access = access_of(
            graph, op, granule=rng.choice((1, 1, 1, 2, 3, 4, 1000)), buffered=rng.random() < 0.6
        )
        lowered = Lowered(
            access=access,
            loop=loop_of(access) if rng.random() < 0.7 else None,
            scratch_bytes=rng.choice((0, 4, 13, 64, 300)) if scratch else 0,
        )
        selections.append(Selection(index, None, lowered, "test"))
    return selections


def random_graph(rng: random.Random, steps: int) -> Graph:
    """A random network: chains, residuals, branches, views; several inputs and outputs, unread tensors."""
    net = Network(rng.randrange(1 << 30))
    shapes = [(1, rng.randint(1, 9), rng.randint(1, 6), rng.randint(1, 5)) for _ in range(rng.randint(1, 2))]
    pool = [net.input(*rng.choice(shapes)) for _ in range(rng.randint(1, 3))]
    for _ in range(steps):
        # Mostly go on with the newest tensors, so that chains grow; sometimes branch off an old one.
        x = rng.choice(pool[-2:]) if rng.random() < 0.7 else rng.choice(pool)
        shape = net.shape(x)
        image = len(shape) == 4
        twins = [t for t in pool if net.shape(t) == shape]
        choice = rng.random()
        if choice < 0.25:
            kind = rng.choice((OpKind.ADD, OpKind.MUL))
            pool.append(net.combine(x, rng.choice(twins), kind))
        elif choice < 0.35:
            elements = net.tensors[x].elements
            divisors = [d for d in range(1, elements + 1) if elements % d == 0]
            d = rng.choice(divisors)
            pool.append(
                net.reshape(x, *rng.choice([(1, elements), (1, d, elements // d, 1), (1, 1, 1, elements)]))
            )
        elif choice < 0.42:
            pool.append(net.mean(x) if image else net.dense(x, rng.randint(1, 12)))
        elif choice < 0.46 and not image:
            pool.append(net.softmax(x))
        elif choice < 0.6 and choice >= 0.56:
            pool.append(net.part(rng, x))
        elif choice < 0.66 and choice >= 0.6:
            parts = [x, *(rng.choice(twins) for _ in range(rng.randint(0, 2)))]
            rng.shuffle(parts)
            pool.append(net.concat(parts, rng.randrange(1, len(shape))))
        elif choice < 0.56 and image:
            pool.append(_random_layout(net, rng, x))
        elif image:
            pool.append(_random_window(net, rng, x))
        else:
            pool.append(net.dense(x, rng.randint(1, 12)))
    read = {t for op in net.ops for t in op.inputs}
    ends = [t for t in pool if t not in read and t not in net.inputs]
    outputs = [t for t in ends if rng.random() < 0.8] or [pool[-1]]
    outputs += [t for t in pool if t not in outputs and rng.random() < 0.1]
    rng.shuffle(outputs)
    return net.graph(*outputs)


def _random_layout(net: Network, rng: random.Random, x: int) -> int:
    """An operator that moves, repeats or rescales what it reads."""
    choice = rng.randrange(4)
    if choice == 0:
        a, b, c, d = (rng.randint(0, 2) for _ in range(4))
        return net.pad(x, ((0, 0), (a, b), (c, d), (0, 0)))
    if choice == 1:
        return net.transpose(x, (0, *rng.sample((1, 2, 3), 3)))
    if choice == 2:
        return net.resize(x, rng.randint(1, 12), rng.randint(1, 12))
    return net.requantize(x)


def _random_window(net: Network, rng: random.Random, x: int) -> int:
    """A convolution, depthwise convolution or pool of any window that fits the image."""
    _, h, w, _ = net.shape(x)
    pooling = rng.random() < 0.2
    dilation = rng.choice((1, 1, 2)) if not pooling else 1
    kh, kw = rng.randint(1, 7), rng.randint(1, 7)
    reach_h, reach_w = (kh - 1) * dilation, (kw - 1) * dilation
    if rng.random() < 0.4 and reach_h < h and reach_w < w:
        pads = Pads()
    elif pooling:  # as TFLite pads: a window never lies outside the image
        pads = Pads(reach_h // 2, reach_w // 2, reach_h - reach_h // 2, reach_w - reach_w // 2)
    else:
        top, left = rng.randint(0, reach_h), rng.randint(0, reach_w)
        pads = Pads(top, left, reach_h - top, reach_w - left)
    attrs = WindowAttrs(kh, kw, rng.randint(1, 3), rng.randint(1, 3), dilation, dilation, pads)
    if pooling:
        return net.pool(x, attrs, rng.choice((OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D)))
    if rng.random() < 0.5:
        return net.depthwise(x, attrs)
    return net.conv(x, rng.randint(1, 6), attrs)


def _any_window(rng: random.Random, height: int, width: int, *, strides: bool = True) -> WindowAttrs:
    """Any window that fits the image: asymmetric padding, dilation, strides that do not divide it."""
    while True:
        kh, kw = rng.randint(1, 7), rng.randint(1, 7)
        dilation_h, dilation_w = rng.choice((1, 1, 1, 2, 3)), rng.choice((1, 1, 2))
        reach_h, reach_w = (kh - 1) * dilation_h, (kw - 1) * dilation_w
        pads = Pads(*(rng.randint(0, reach) for reach in (reach_h, reach_w, reach_h, reach_w)))
        if not strides:
            pads = Pads(pads.top, pads.left, reach_h - pads.top, reach_w - pads.left)
        if height + pads.top + pads.bottom > reach_h and width + pads.left + pads.right > reach_w:
            break
    stride_h, stride_w = (rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2, 3))) if strides else (1, 1)
    activation = rng.choice((Activation.NONE, Activation.RELU, Activation.RELU6))
    return WindowAttrs(kh, kw, stride_h, stride_w, dilation_h, dilation_w, pads, activation)


def _pool_window(rng: random.Random, height: int, width: int) -> WindowAttrs:
    """A pool as TFLite pads it: SAME or VALID, so that no window lies outside the image."""
    stride_h, stride_w = rng.randint(1, 3), rng.randint(1, 3)
    if rng.random() < 0.5:
        kh, kw = rng.randint(1, height), rng.randint(1, width)
        return WindowAttrs(kh, kw, stride_h, stride_w, 1, 1, Pads(), Activation.NONE)
    kh, kw = rng.randint(1, 5), rng.randint(1, 5)
    v = max((-(-height // stride_h) - 1) * stride_h + kh - height, 0)
    h = max((-(-width // stride_w) - 1) * stride_w + kw - width, 0)
    pads = Pads(v // 2, h // 2, v - v // 2, h - h // 2)
    return WindowAttrs(kh, kw, stride_h, stride_w, 1, 1, pads, Activation.NONE)


def _branch(net: Network, rng: random.Random, x: int, channels: int) -> int:
    """Operators that keep height and width, to be joined with another branch."""
    for _ in range(rng.randint(0, 3)):
        _, h, w, _ = net.shape(x)
        choice = rng.randrange(3)
        if choice == 0:
            x = net.depthwise(x, _any_window(rng, h, w, strides=False))
        elif choice == 1:
            x = net.conv(x, rng.randint(1, 6), _any_window(rng, h, w, strides=False))
        else:
            x = net.requantize(x)
    return net.conv(x, channels, window(1)) if net.shape(x)[3] != channels else x


def _join(net: Network, rng: random.Random, a: int, b: int) -> int:
    """Two branches become one: element by element, or side by side along some dimension, or part of that."""
    if rng.random() < 0.6:
        return net.add(a, b, rng.choice((OpKind.ADD, OpKind.MUL)))
    x = net.concat([a, b], rng.choice((1, 2, 3, 3, 3)))
    axis = rng.choice((1, 2, 3, 3, 3))
    size = rng.randint(1, net.shape(x)[axis])
    if size == net.shape(x)[axis] or rng.random() < 0.5:
        return x
    return net.slice(x, axis, rng.randint(0, net.shape(x)[axis] - size), size)


def _gate(net: Network, rng: random.Random, x: int) -> int:
    """Something that a MUL or ADD repeats over the rows of x: an input, a pooled image, a constant."""
    _, h, w, c = net.shape(x)
    choice = rng.randrange(4)
    if choice == 0:
        return net.input(1, 1, 1, c)
    if choice == 1:
        return net.conv(net.pool(x, WindowAttrs(h, w, 1, 1, 1, 1, Pads(), Activation.NONE)), c, window(1))
    quant = Quant((float(net.rng.uniform(0.02, 0.1)),), (int(net.rng.integers(-20, 20)),))
    shape = rng.choice(((c,), (1, 1, 1, c), (1, 1, w, c), (h, 1, c), (1, h, 1, 1), (w, c)))
    return net.constant(net.rng.integers(-128, 128, shape, dtype=np.int8), quant)


def image_network(rng: random.Random, blocks: int, *, joins: bool = False) -> Graph:
    """A random network of image blocks as the streaming planner meets them.

    Inverted residual blocks, plain convolutions, pools, branches of different depth joined again and
    gates that are repeated over the image; heights 1 to 24, widths 1 to 24; sometimes several inputs and
    outputs. With `joins` branches may also be put side by side, and cut.
    """
    net = Network(rng.randrange(1 << 30))
    x = net.input(
        1,
        rng.choice((1, 2, *range(3, 25))),
        rng.choice((rng.randint(1, 8), rng.randint(9, 24))),
        rng.randint(1, 5),
    )
    others = []
    for _ in range(blocks):
        _, h, w, c = net.shape(x)
        choice = rng.random()
        if choice < 0.4:  # an inverted residual
            block = rng.random()
            y = net.conv(x, c * rng.randint(1, 4), window(1))
            y = net.depthwise(y, _any_window(rng, h, w, strides=block < 0.6))
            y = net.conv(y, c, window(1))
            x = net.add(x, y) if net.shape(x) == net.shape(y) else y
        elif choice < 0.6:
            x = net.conv(x, rng.randint(1, 8), _any_window(rng, h, w))
        elif choice < 0.7:
            x = net.pool(x, _pool_window(rng, h, w), rng.choice((OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D)))
        elif choice < 0.85:
            a, b = _branch(net, rng, x, c), _branch(net, rng, x, c)
            combined = (OpKind.ADD, OpKind.MUL)
            x = _join(net, rng, a, b) if joins else net.combine(a, b, rng.choice(combined))
        elif choice < 0.9 and max(h, w) <= 16:
            x = _upsampled(net, rng, x)
        elif choice < 0.96:
            pair = [x, _gate(net, rng, x)]
            if rng.random() < 0.3:
                pair.reverse()
            x = net.op(
                rng.choice((OpKind.ADD, OpKind.MUL)), (pair[0], pair[1]), (1, h, w, c), ActivationAttrs()
            )
        else:  # a second image, or a tensor that something far away reads
            x = net.add(x, net.input(1, h, w, c))
        if rng.random() < 0.1:
            others.append(x)
    if rng.random() < 0.3:
        x = net.mean(x)
    others = [t for t in others if t != x]
    return net.graph(x, *others)


def _upsampled(net: Network, rng: random.Random, x: int) -> int:
    """A transposed convolution of any kernel, stride and padding."""
    _, h, w, _ = net.shape(x)
    kernel = [rng.randint(1, 5), rng.randint(1, 5)]
    stride = [rng.choice((1, 2, 2, 3)), rng.choice((1, 2, 2, 3))]
    before = [rng.randint(0, k - 1) for k in kernel]
    reach = [(n - 1) * s + k for n, s, k in zip((h, w), stride, kernel, strict=True)]
    height, width = (max(r - b - rng.randint(-1, 1), 1) for r, b in zip(reach, before, strict=True))
    attrs = WindowAttrs(*kernel, *stride, pads=Pads(top=before[0], left=before[1]))
    return net.transpose_conv(x, rng.randint(1, 6), attrs, height, width)


def attention_network(rng: random.Random) -> Graph:
    """Self-attention over tokens, layers over their rows, means of rows, and a batch of images."""
    net = Network(rng.randrange(1 << 30))
    tokens, heads, depth = rng.randint(1, 12), rng.randint(1, 3), rng.randint(1, 9)
    x = net.input(tokens, heads * depth)
    parts = [net.reshape(net.rows(x, heads * depth), 1, tokens, heads, depth) for _ in range(3)]
    query, key, value = (net.transpose(part, (0, 2, 1, 3)) for part in parts)
    weights = net.softmax(net.matmul(query, key, (1, heads, tokens, tokens), adj_y=True))
    mixed = net.transpose(net.matmul(weights, value, (1, heads, tokens, depth)), (0, 2, 1, 3))
    y = net.add(net.rows(net.reshape(mixed, tokens, heads * depth), heads * depth), x)
    y = net.op(
        OpKind.MUL,
        (y, net.reduce(y, rng.choice((OpKind.MEAN, OpKind.REDUCE_MAX)), (1,))),
        net.shape(y),
        ActivationAttrs(),
    )
    images = net.input(rng.randint(2, 3), rng.randint(3, 7), rng.randint(3, 7), rng.randint(1, 5))
    z = net.conv(images, rng.randint(1, 5), window(rng.choice((1, 3))))
    z = net.depthwise(z, window(3))
    z = net.pool(z, WindowAttrs(2, 2, 2, 2), OpKind.MAX_POOL_2D)
    return net.graph(y, net.reduce(y, OpKind.SUM, (0,)), z)


def chain_network() -> Graph:
    """Inverted bottlenecks without residuals: row after row of them may lie in the ring of the expansion."""
    net = Network()
    x = net.input(1, 12, 9, 3)
    for stride in (1, 2, 1):
        y = net.depthwise(net.conv(x, 16, window(1)), window(3, stride))
        x = net.conv(net.requantize(y), 6, window(1))
    return net.graph(x)


class NotStreamable(Exception):
    """The first readers of the input need all of it."""


def forced_stages(
    graph: Graph, selections: list[Selection], rng: random.Random, *, longest: bool, pushed: int | None = None
) -> Plan:
    """A plan whose stages are any legal runs, strips and bands, not those that pay.

    Args:
        graph: the network.
        selections: one per operator.
        rng: chooses the runs.
        longest: the longest run at every end instead.
        pushed: a model input to be pushed.

    Raises:
        NotStreamable: its first readers need all of it.
    """
    flow = Flow.of(graph, selections)
    order = range(len(flow.nodes))
    with mock.patch.object(stages, "_cheapest", list):
        search = stages.StageSearch(graph, selections, flow, order, pushed=pushed)
    reachable = [True]
    for candidates in search.ending[1:]:
        reachable.append(any(reachable[c.first] for c in candidates))
    if not reachable[-1]:
        raise NotStreamable
    chosen: list[Stage] = []
    end = len(order)
    while end:
        runs = [c for c in search.ending[end] if reachable[c.first]]
        if longest:
            first = min(c.first for c in runs)
            runs = [c for c in runs if c.first == first]
        candidate = rng.choice(runs)
        stage = replace(candidate.stage, bands=rng.choice((1, 1, 2, 3)))
        usable = stage.streamed and not stage.pushed and stage_calls(graph, selections, stage) is not None
        chosen.append(stage if usable else candidate.stage)
        end = candidate.first
    cut, extra_macs = search.flow_of(chosen[::-1])
    planned = _plan_order(graph, selections, cut, range(len(cut.nodes)))
    return replace(planned, extra_macs=extra_macs)


def wide_network(rng: random.Random, blocks: int) -> Graph:
    """A random network of image blocks on int16 activations."""
    while True:
        graph = widened(image_network(rng, blocks))
        if graph is not None:
            return graph


def widened(graph: Graph) -> Graph | None:
    """Return a network with int16 activations in place of int8 ones; None where an operator knows only int8.

    Scales stay, so that outputs spread as far; functions of one value become LEAKY_RELU, LOGISTIC or TANH.
    """
    tensors = list(graph.tensors)
    ops = []
    for i, t in enumerate(tensors):
        if t.dtype is DType.INT8 and not any(
            i in op.inputs[1:2] and op.kind in _WEIGHTED for op in graph.ops
        ):
            data = None if t.data is None else t.data.astype(np.int16) * 255
            quant = Quant(t.quant.scale, (0,)) if t.quant is not None else None
            tensors[i] = dataclasses.replace(t, dtype=DType.INT16, quant=quant, data=data)
    for n, op in enumerate(graph.ops):
        attrs, kind = op.attrs, op.kind
        if isinstance(attrs, LookupAttrs):
            kind, attrs = OpKind.UNARY, UnaryAttrs((*UnaryFunction,)[n % 4], 0.25)
            if attrs.function in (UnaryFunction.LOGISTIC, UnaryFunction.TANH):
                y = tensors[op.outputs[0]]
                tensors[op.outputs[0]] = dataclasses.replace(y, quant=Quant((2.0**-15,), (0,)))
        elif kind not in _WIDE or (
            isinstance(attrs, BinaryAttrs) and attrs.function is not BinaryFunction.SUB
        ):
            return None
        if kind in _WEIGHTED and op.inputs[2] >= 0:
            bias = tensors[op.inputs[2]]
            assert bias.data is not None
            tensors[op.inputs[2]] = dataclasses.replace(
                bias, dtype=DType.INT64, data=bias.data.astype(np.int64) * (1 << n % 24)
            )
        ops.append(dataclasses.replace(op, kind=kind, attrs=attrs))
    return graph.replace(tensors=tuple(tensors), ops=tuple(ops))


_WEIGHTED = (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.TRANSPOSE_CONV, OpKind.FULLY_CONNECTED)
_WIDE = {
    *_WEIGHTED,
    OpKind.ADD,
    OpKind.BINARY,
    OpKind.MUL,
    OpKind.QUANTIZE,
    OpKind.AVERAGE_POOL_2D,
    OpKind.MAX_POOL_2D,
    OpKind.MEAN,
    OpKind.PAD,
    OpKind.RESHAPE,
    OpKind.TRANSPOSE,
    OpKind.SLICE,
    OpKind.CONCATENATION,
}
