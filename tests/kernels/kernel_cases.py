"""Random single-operator graphs for the kernel tests, and how each is put to its `_ref`.

Every generator takes a numpy Generator and returns a Graph of one operator. Scales are drawn so
that outputs spread over int8 and multipliers have left shifts now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.kernels.harness import Array, Case
from tinyml import numerics
from tinyml.access import AccessMap
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Attrs,
    DType,
    Graph,
    NoAttrs,
    Op,
    OpKind,
    PadAttrs,
    Pads,
    Quant,
    ReduceAttrs,
    ResizeAttrs,
    SoftmaxAttrs,
    Tensor,
    TransposeAttrs,
    WindowAttrs,
)
from tinyml.kernels.registry import Constant, Kernel, Lowered, OpContext

Rng = np.random.Generator


def pick(rng: Rng, *options: int) -> int:
    """One of the options; repeat one to make it likelier."""
    return int(rng.choice(options))


def activation(rng: Rng) -> Activation:
    return list(Activation)[int(rng.integers(len(Activation)))]


def zero_point(rng: Rng) -> int:
    return pick(rng, -128, 127, 0, int(rng.integers(-128, 128)), int(rng.integers(-128, 128)))


def per_tensor(scale: float, zero: int) -> Quant:
    """Scales are float32 in the file."""
    return Quant((float(np.float32(scale)),), (zero,))


def random_int8(rng: Rng, shape: Sequence[int]) -> Array:
    """Int8 values; now and then only the ends of the range."""
    if rng.random() < 0.15:
        return rng.choice(np.array([-128, 127], np.int8), size=shape)
    return rng.integers(-128, 128, size=shape, dtype=np.int8)


def activation_tensor(rng: Rng, name: str, shape: Sequence[int], scale: float | None = None) -> Tensor:
    scale = float(rng.uniform(0.002, 0.2)) if scale is None else scale
    return Tensor(name, tuple(shape), DType.INT8, per_tensor(scale, zero_point(rng)))


def one_op(kind: OpKind, attrs: Attrs, inputs: Sequence[Tensor | None], output: Tensor) -> Graph:
    """A graph of one operator; constant inputs are not graph inputs."""
    tensors = [t for t in inputs if t is not None]
    indices, at = [], 0
    for tensor in inputs:
        indices.append(-1 if tensor is None else at)
        at += tensor is not None
    free = tuple(i for i in indices if i >= 0 and tensors[i].data is None)
    op = Op(kind, tuple(indices), (len(tensors),), attrs)
    return Graph("one", (*tensors, output), (op,), free, (len(tensors),))


# Convolutions and dense layers


def _window(
    rng: Rng, dilated: bool, square: Sequence[int] = ()
) -> tuple[WindowAttrs, tuple[int, int], tuple[int, int]]:
    """Attributes of a window, the input's (h, w) and the output's.

    With `square`, the window is one of these high and wide, and moves alike in both directions.
    """
    while True:
        kernel = [pick(rng, 1, 2, 3, 3, 4, 5, 7) for _ in range(2)]
        stride = [pick(rng, 1, 1, 2, 3) for _ in range(2)]
        if square:
            kernel, stride = [pick(rng, *square)] * 2, [pick(rng, 1, 2)] * 2
        dilation = [pick(rng, 1, 1, 2, 3) if dilated else 1 for _ in range(2)]
        size = [pick(rng, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11) for _ in range(2)]
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        # At most extent − 1, so that every window meets the image; asymmetric on purpose.
        pads = [[int(rng.integers(0, e)) if rng.random() < 0.6 else 0 for _ in range(2)] for e in extent]
        room = [n + sum(p) - e for n, p, e in zip(size, pads, extent, strict=True)]
        if min(room) < 0:
            continue
        out = [r // s + 1 for r, s in zip(room, stride, strict=True)]
        starts = [(o - 1) * s - p[0] for o, s, p in zip(out, stride, pads, strict=True)]
        if any(start >= n for start, n in zip(starts, size, strict=True)):
            continue
        attrs = WindowAttrs(
            *kernel,
            *stride,
            *dilation,
            Pads(pads[0][0], pads[1][0], pads[0][1], pads[1][1]),
            activation(rng),
        )
        return attrs, (size[0], size[1]), (out[0], out[1])


def weighted(
    rng: Rng, kind: OpKind, attrs: Attrs, x: Tensor, weights: Array, axis: int, output_shape: Sequence[int]
) -> Graph:
    """Put random scales and a bias around weights, so that outputs spread over int8."""
    channels = weights.shape[axis]
    taps = weights.size // channels
    spread = math.sqrt(taps) * 70 * 70  # about one standard deviation of the accumulator
    count = channels if rng.random() < 0.7 else 1
    scales = rng.uniform(0.001, 0.02, count) * rng.choice([1.0, 1.0, 1e-3, 30.0], count)
    quant = Quant(tuple(float(np.float32(s)) for s in scales), (0,) * count, axis if count > 1 else 0)
    target = rng.choice([0.02, 1.0, 1.0, 8.0])  # 8: multipliers near or above one
    out_scale = float(x.scale * np.median(scales) * spread / (60 * target))
    if rng.random() < 0.1:
        out_scale = float(x.scale * np.median(scales) / rng.uniform(1.0, 6.0))  # a left shift
    bias = rng.integers(-int(spread), int(spread) + 1, channels).astype(np.int32)
    bias_quant = Quant(tuple(float(np.float32(x.scale * s)) for s in quant.scale), (0,) * count, 0)
    tensors = (
        x,
        Tensor("weights", weights.shape, DType.INT8, quant, weights),
        Tensor("bias", bias.shape, DType.INT32, bias_quant, bias) if rng.random() < 0.85 else None,
    )
    return one_op(kind, attrs, tensors, activation_tensor(rng, "y", output_shape, out_scale))


def _weights(rng: Rng, shape: Sequence[int]) -> Array:
    weights = rng.integers(-127, 128, size=shape, dtype=np.int8)
    if rng.random() < 0.1:
        weights[...] = 127
    return weights


def convolution(rng: Rng, pointwise: bool = False) -> Graph:
    attrs, size, out = _window(rng, dilated=True)
    if pointwise:
        attrs, out = WindowAttrs(1, 1, activation=activation(rng)), size
    group_in = pick(rng, 1, 2, 3, 4, 5, 8, 17)
    groups = 1 if pointwise or rng.random() < 0.75 else pick(rng, 2, 3)
    out_c = groups * pick(rng, 1, 2, 3, 4, 5, 7, 8)
    x = activation_tensor(rng, "x", (1, *size, group_in * groups))
    weights = _weights(rng, (out_c, attrs.kernel_h, attrs.kernel_w, group_in))
    return weighted(rng, OpKind.CONV_2D, attrs, x, weights, 0, (1, *out, out_c))


def pointwise(rng: Rng) -> Graph:
    return convolution(rng, pointwise=True)


def depthwise(rng: Rng) -> Graph:
    attrs, size, out = _window(rng, dilated=True)
    in_c = pick(rng, 1, 2, 3, 4, 5, 7, 8, 9)
    out_c = in_c * pick(rng, 1, 1, 1, 2, 3, 8)
    x = activation_tensor(rng, "x", (1, *size, in_c))
    weights = _weights(rng, (1, attrs.kernel_h, attrs.kernel_w, out_c))
    return weighted(rng, OpKind.DEPTHWISE_CONV_2D, attrs, x, weights, 3, (1, *out, out_c))


def small_depthwise(rng: Rng) -> Graph:
    return _square_depthwise(rng, (3,))


def large_depthwise(rng: Rng) -> Graph:
    return _square_depthwise(rng, (5, 7))


def _square_depthwise(rng: Rng, sizes: Sequence[int]) -> Graph:
    attrs, size, out = _window(rng, dilated=False, square=sizes)
    channels = pick(rng, 1, 2, 3, 4, 5, 7, 8, 9)
    x = activation_tensor(rng, "x", (1, *size, channels))
    weights = _weights(rng, (1, attrs.kernel_h, attrs.kernel_w, channels))
    return weighted(rng, OpKind.DEPTHWISE_CONV_2D, attrs, x, weights, 3, (1, *out, channels))


def fully_connected(rng: Rng) -> Graph:
    batches, in_c, out_c = (
        pick(rng, 1, 1, 2, 5),
        pick(rng, 1, 2, 3, 7, 16, 33, 130),
        pick(rng, 1, 2, 3, 8, 11),
    )
    x = activation_tensor(rng, "x", (batches, in_c))
    attrs = ActivationAttrs(activation(rng))
    return weighted(rng, OpKind.FULLY_CONNECTED, attrs, x, _weights(rng, (out_c, in_c)), 0, (batches, out_c))


# Elementwise


def random_shape(rng: Rng, ranks: Sequence[int], largest: int = 6) -> tuple[int, ...]:
    return tuple(pick(rng, 1, *range(1, largest)) for _ in range(pick(rng, *ranks)))


def _binary(rng: Rng, shapes: tuple[tuple[int, ...], tuple[int, ...]], constant: int | None) -> Graph:
    kind = OpKind.ADD if rng.random() < 0.5 else OpKind.MUL
    output_shape = np.broadcast_shapes(*shapes)
    operands = [activation_tensor(rng, f"x{i}", shape) for i, shape in enumerate(shapes)]
    if constant is not None:
        t = operands[constant]
        operands[constant] = Tensor(t.name, t.shape, t.dtype, t.quant, random_int8(rng, t.shape))
    a, b = (t.scale for t in operands)
    real = a + b if kind is OpKind.ADD else a * b * 80
    output = activation_tensor(rng, "y", output_shape, real * float(rng.choice([0.05, 0.5, 1.0, 3.0])))
    return one_op(kind, ActivationAttrs(activation(rng)), operands, output)


def repeating(rng: Rng, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to this one."""
    kept = tuple(1 if rng.random() < 0.5 else dim for dim in shape)
    return kept[int(rng.integers(0, len(kept) + 1)) :]


def same_shape(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4, 4, 5))
    return _binary(rng, (shape, shape), None)


def broadcast(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4, 4, 5, 6), 5)
    first = shape if rng.random() < 0.6 else repeating(rng, shape)
    shapes = (first, repeating(rng, shape))
    return _binary(rng, shapes if rng.random() < 0.5 else shapes[::-1], None)


def constant_operand(rng: Rng) -> Graph:
    graph = broadcast(rng)
    shapes = tuple(graph.tensors[i].shape for i in graph.ops[0].inputs)
    return _binary(rng, (shapes[0], shapes[1]), pick(rng, 0, 1))


# Pooling, reduction, layout


def pooling(rng: Rng) -> Graph:
    attrs, size, out = _window(rng, dilated=False)
    channels = pick(rng, 1, 2, 3, 5, 8)
    x = activation_tensor(rng, "x", (1, *size, channels))
    y = Tensor("y", (1, *out, channels), DType.INT8, x.quant)
    kind = OpKind.AVERAGE_POOL_2D if rng.random() < 0.5 else OpKind.MAX_POOL_2D
    return one_op(kind, attrs, (x,), y)


def mean(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4, 4, 5, 6), 5)
    axes = tuple(axis for axis in range(len(shape)) if rng.random() < 0.5)
    keep = bool(rng.random() < 0.5)
    kept = [(1 if axis in axes else dim) for axis, dim in enumerate(shape) if keep or axis not in axes]
    x = activation_tensor(rng, "x", shape)
    y = activation_tensor(rng, "y", tuple(kept), x.scale * float(rng.uniform(0.1, 1.5)))
    return one_op(OpKind.MEAN, ReduceAttrs(axes, keep), (x,), y)


def pad(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4, 4, 4, 5), 5)
    if rng.random() < 0.5 and len(shape) == 4:
        shape = (1, *shape[1:])
    some = [
        (int(rng.integers(0, 3)), int(rng.integers(0, 3))) if rng.random() < 0.6 else (0, 0) for _ in shape
    ]
    if shape[0] == 1 and len(shape) == 4:
        some[0] = (0, 0)
    x = activation_tensor(rng, "x", shape)
    out = tuple(dim + sum(p) for dim, p in zip(shape, some, strict=True))
    return one_op(OpKind.PAD, PadAttrs(tuple(some)), (x,), Tensor("y", out, DType.INT8, x.quant))


def transpose(rng: Rng) -> Graph:
    shape = random_shape(rng, (1, 2, 3, 4, 5, 6), 5)
    perm = tuple(int(i) for i in rng.permutation(len(shape)))
    x = activation_tensor(rng, "x", shape)
    y = Tensor("y", tuple(shape[i] for i in perm), DType.INT8, x.quant)
    return one_op(OpKind.TRANSPOSE, TransposeAttrs(perm), (x,), y)


def resize(rng: Rng) -> Graph:
    sizes = [pick(rng, *range(1, 14)) for _ in range(4)]
    channels = pick(rng, 1, 2, 3, 8)
    x = activation_tensor(rng, "x", (1, *sizes[:2], channels))
    y = Tensor("y", (1, *sizes[2:], channels), DType.INT8, x.quant)
    align = bool(rng.random() < 0.4)
    # TFLite refuses both together.
    attrs = ResizeAttrs(align, not align and bool(rng.random() < 0.5))
    return one_op(OpKind.RESIZE_NEAREST_NEIGHBOR, attrs, (x,), y)


def softmax(rng: Rng) -> Graph:
    shape = (*random_shape(rng, (0, 1, 1, 2), 4), pick(rng, 1, 2, 3, 10, 12, 100, 700))
    x = activation_tensor(rng, "x", shape, float(rng.choice([0.001, 0.02, 0.1, 0.3, 1.0])))
    y = Tensor("y", shape, DType.INT8, per_tensor(1 / 256, -128))
    return one_op(OpKind.SOFTMAX, SoftmaxAttrs(float(rng.choice([0.5, 1.0, 1.0, 2.0]))), (x,), y)


def requantize(rng: Rng) -> Graph:
    x = activation_tensor(rng, "x", random_shape(rng, (1, 2, 3, 4)))
    y = activation_tensor(rng, "y", x.shape, x.scale * float(rng.choice([0.01, 0.3, 0.999, 1.0, 5.0])))
    return one_op(OpKind.QUANTIZE, NoAttrs(), (x,), y)


def quantize(rng: Rng) -> Graph:
    x = Tensor("x", random_shape(rng, (1, 2, 3, 4)), DType.FLOAT32)
    return one_op(OpKind.QUANTIZE, NoAttrs(), (x,), activation_tensor(rng, "y", x.shape))


def dequantize(rng: Rng) -> Graph:
    x = activation_tensor(rng, "x", random_shape(rng, (1, 2, 3, 4)))
    return one_op(OpKind.DEQUANTIZE, NoAttrs(), (x,), Tensor("y", x.shape, DType.FLOAT32))


GENERATORS: dict[str, tuple[Callable[[Rng], Graph], ...]] = {
    "tm_conv2d_s8_c": (convolution, pointwise),
    "tm_conv2d_1x1_s8_c": (pointwise,),
    "tm_dwconv2d_s8_c": (depthwise,),
    "tm_fully_connected_s8_c": (fully_connected,),
    "tm_fully_connected_perchannel_s8_c": (fully_connected,),
    "tm_add_s8_c": (same_shape,),
    "tm_mul_s8_c": (same_shape,),
    "tm_add_broadcast_s8_c": (broadcast,),
    "tm_mul_broadcast_s8_c": (broadcast,),
    "tm_add_const_s8_c": (constant_operand,),
    "tm_mul_const_s8_c": (constant_operand,),
    "tm_avg_pool2d_s8_c": (pooling,),
    "tm_max_pool2d_s8_c": (pooling,),
    "tm_mean_s8_c": (mean,),
    "tm_pad_s8_c": (pad,),
    "tm_pad_nd_s8_c": (pad,),
    "tm_resize_nearest_s8_c": (resize,),
    "tm_softmax_s8_c": (softmax,),
    "tm_requantize_s8_c": (requantize,),
    "tm_quantize_f32_s8_c": (quantize,),
    "tm_dequantize_s8_f32_c": (dequantize,),
}
"""Portable kernel -> the generators whose graphs it may accept."""


def graphs_for(
    kernel: Kernel, generators: Sequence[Callable[[Rng], Graph]], count: int, seed: int
) -> list[Graph]:
    """Return `count` random graphs that the kernel accepts."""
    rng = np.random.default_rng(seed)
    graphs: list[Graph] = []
    for attempt in range(200 * count):
        graph = generators[attempt % len(generators)](rng)
        if graph.ops[0].kind is kernel.op and not kernel.refusals(OpContext(graph, graph.ops[0])):
            graphs.append(graph)
            if len(graphs) == count:
                return graphs
    raise AssertionError(f"{kernel.symbol} accepted only {len(graphs)} graphs of {200 * count}")


def inputs_for(graph: Graph, rng: Rng) -> tuple[Array, ...]:
    """Return random values of the operator's activation inputs; some indices lie outside."""
    values: list[Array] = []
    op = graph.ops[0]
    for index in OpContext(graph, op).activation_inputs:
        tensor = graph.tensors[index]
        if op.kind is OpKind.INTEGER:
            values.append(integers(rng, tensor))
        elif op.kind in (OpKind.GATHER, OpKind.GATHER_ND) and index == op.inputs[1]:
            far = [np.iinfo(tensor.dtype.value).min, -1, 9, np.iinfo(tensor.dtype.value).max]
            some = rng.integers(0, 8, tensor.shape)
            values.append(np.where(some == 7, rng.choice(far, tensor.shape), some).astype(tensor.dtype.value))
        elif op.kind in MOVING and tensor.dtype is DType.FLOAT32:
            values.append(rng.normal(0, 1, tensor.shape).astype(np.float32))
        elif tensor.dtype is DType.FLOAT32:
            values.append(_floats(rng, graph, tensor))
        elif tensor.dtype is DType.INT8:
            values.append(random_int8(rng, tensor.shape))
        elif tensor.dtype is DType.BOOL:
            values.append(rng.integers(0, 2, tensor.shape).astype(np.bool_))
        else:
            info = np.iinfo(tensor.dtype.value)
            values.append(rng.integers(info.min, info.max, tensor.shape, tensor.dtype.value, endpoint=True))
    return tuple(values)


def integers(rng: Rng, tensor: Tensor) -> Array:
    """Any values of a type, the ends of its range and neighbours of zero among them."""
    info = np.iinfo(tensor.dtype.value)
    values = rng.integers(info.min, info.max, tensor.shape, tensor.dtype.value, endpoint=True)
    special = np.array([info.min, info.min + 1, -3, -1, 0, 1, 2, 7, info.max], tensor.dtype.value)
    return np.where(rng.random(tensor.shape) < 0.5, rng.choice(special, tensor.shape), values)


def _floats(rng: Rng, graph: Graph, tensor: Tensor) -> Array:
    """Floats around the quantised range, exact halves of a step among them, and a few far outside."""
    scale = graph.tensors[graph.ops[0].outputs[0]].scale
    steps = rng.uniform(-400, 400, tensor.shape)
    halves = np.where(rng.random(tensor.shape) < 0.3, np.round(steps) + 0.5, steps)
    values = (halves * scale).astype(np.float32)
    special = np.array([np.inf, -np.inf, 1e30, -1e30, 1e-40, -0.0], np.float32)
    return np.where(rng.random(tensor.shape) < 0.05, rng.choice(special, tensor.shape), values).astype(
        np.float32
    )


def case_for(
    kernel: Kernel, graph: Graph, inputs: tuple[Array, ...], overlap: tuple[int, int] | None = None
) -> Case:
    """Return the case that runs the graph's operator with the kernel."""
    context = OpContext(graph, graph.ops[0])
    output = context.output
    shape = output.shape, output.dtype.value
    return Case(kernel.symbol, kernel.lower(context), inputs, shape, overlap, kernel.input_array)


# The references, called with the definition's own numbers


@dataclass(frozen=True)
class _RefCall:
    symbol: str
    constants: tuple[tuple[str, Array], ...]  # (C element type, values)
    literals: tuple[int, ...]


MOVING = frozenset(OpKind) - frozenset((OpKind.QUANTIZE, OpKind.DEQUANTIZE))
"""Operators whose floats, where they have any, need no care: they are only moved."""

REFERENCES = frozenset(
    (
        OpKind.CONV_2D,
        OpKind.DEPTHWISE_CONV_2D,
        OpKind.FULLY_CONNECTED,
        OpKind.ADD,
        OpKind.MUL,
        OpKind.AVERAGE_POOL_2D,
        OpKind.MAX_POOL_2D,
        OpKind.MEAN,
        OpKind.PAD,
        OpKind.TRANSPOSE,
        OpKind.RESIZE_NEAREST_NEIGHBOR,
        OpKind.SOFTMAX,
        OpKind.QUANTIZE,
        OpKind.DEQUANTIZE,
    )
)
"""Operators with an obvious-loops twin in runtime_c/ref."""


def has_reference(graph: Graph) -> bool:
    """Return whether a graph's operator has such a twin, which takes int8 but where the operator converts."""
    op = graph.ops[0]
    moves = op.kind in (OpKind.PAD, OpKind.TRANSPOSE)
    if moves:
        return graph.tensors[op.outputs[0]].dtype is DType.INT8
    return op.kind in REFERENCES and all(t.dtype is not DType.INT16 for t in graph.tensors)


def reference_case(graph: Graph, inputs: tuple[Array, ...]) -> Case:
    """Return the case that runs the graph's operator with its `_ref`."""
    context = OpContext(graph, graph.ops[0])
    call = _reference_call(context)
    output = context.output
    if context.op.kind in (OpKind.ADD, OpKind.MUL):  # the reference takes constants as inputs
        free = iter(inputs)
        operands = [context.graph.tensors[i] for i in context.op.inputs]
        inputs = tuple(t.data if t.data is not None else next(free) for t in operands)
    lowered = Lowered(
        access=AccessMap(rows=1, row_bytes=output.size_bytes, inputs=(None,)),
        constants=tuple(Constant(f"c{i}", ctype, values) for i, (ctype, values) in enumerate(call.constants)),
        literals=tuple((f"p{i}", value) for i, value in enumerate(call.literals)),
    )
    return Case(call.symbol, lowered, inputs, (output.shape, output.dtype.value))


def _six(shape: Sequence[int], fill: int = 1) -> tuple[str, Array]:
    return "int32_t", np.array([fill] * (6 - len(shape)) + list(shape), np.int32)


def _reference_call(context: OpContext) -> _RefCall:
    graph, op = context.graph, context.op
    x, y = context.input(0), context.output
    match op.kind:
        case OpKind.CONV_2D | OpKind.DEPTHWISE_CONV_2D | OpKind.FULLY_CONNECTED:
            return _weighted_call(context)
        case OpKind.ADD:
            p = numerics.add_params(graph, op)
            literals = (-p.offset_1, p.multiplier_1, p.shift_1, -p.offset_2, p.multiplier_2, p.shift_2)
            literals = (*literals, p.multiplier_out, p.shift_out, p.offset_out, p.low, p.high)
            shapes = (_six(x.shape), _six(context.input(1).shape), _six(y.shape))
            return _RefCall("tm_add_s8_ref", shapes, literals)
        case OpKind.MUL:
            m = numerics.mul_params(graph, op)
            literals = (-m.offset_1, -m.offset_2, m.multiplier, m.shift, m.offset_out, m.low, m.high)
            shapes = (_six(x.shape), _six(context.input(1).shape), _six(y.shape))
            return _RefCall("tm_mul_s8_ref", shapes, literals)
        case OpKind.AVERAGE_POOL_2D | OpKind.MAX_POOL_2D:
            a = op.attrs
            assert isinstance(a, WindowAttrs)
            symbol = "tm_avg_pool2d_s8_ref" if op.kind is OpKind.AVERAGE_POOL_2D else "tm_max_pool2d_s8_ref"
            literals = (*x.shape[1:], *y.shape[1:3], a.kernel_h, a.kernel_w, a.stride_h, a.stride_w)
            literals = (*literals, a.pads.top, a.pads.left, *numerics.output_range(graph, op))
            return _RefCall(symbol, (), literals)
        case OpKind.MEAN:
            assert isinstance(op.attrs, ReduceAttrs)
            q = numerics.mean_params(graph, op)
            kept = [1 if axis in op.attrs.axes else dim for axis, dim in enumerate(x.shape)]
            literals = (x.zero_point, q.multiplier, q.shift, q.offset_out)
            return _RefCall("tm_mean_s8_ref", (_six(x.shape), _six(kept)), literals)
        case OpKind.PAD:
            assert isinstance(op.attrs, PadAttrs)
            before = [p[0] for p in op.attrs.paddings]
            return _RefCall("tm_pad_s8_ref", (_six(x.shape), _six(before, 0), _six(y.shape)), (y.zero_point,))
        case OpKind.TRANSPOSE:
            assert isinstance(op.attrs, TransposeAttrs)
            front = 6 - len(x.shape)
            perm = [*range(front), *(front + axis for axis in op.attrs.perm)]
            return _RefCall("tm_transpose_s8_ref", (_six(x.shape), _six(perm)), ())
        case OpKind.RESIZE_NEAREST_NEIGHBOR:
            assert isinstance(op.attrs, ResizeAttrs)
            literals = (*x.shape[1:3], *y.shape[1:4])
            flags = (int(op.attrs.align_corners), int(op.attrs.half_pixel_centers))
            return _RefCall("tm_resize_nearest_s8_ref", (), (*literals, *flags))
        case OpKind.SOFTMAX:
            table = numerics.softmax_params(graph, op).exp_table
            literals = (x.elements // x.shape[-1], x.shape[-1])
            return _RefCall("tm_softmax_s8_ref", (("int32_t", table),), literals)
        case OpKind.QUANTIZE if x.dtype is DType.FLOAT32:
            scale = ("float", np.array([y.scale], np.float32))
            return _RefCall("tm_quantize_f32_s8_ref", (scale,), (y.elements, y.zero_point))
        case OpKind.QUANTIZE:
            r = numerics.requant_params(graph, op)
            literals = (y.elements, x.zero_point, r.multiplier, r.shift, y.zero_point)
            return _RefCall("tm_requantize_s8_ref", (), literals)
        case OpKind.DEQUANTIZE:
            scale = ("float", np.array([x.scale], np.float32))
            return _RefCall("tm_dequantize_s8_f32_ref", (scale,), (y.elements, x.zero_point))
    raise NotImplementedError(op.kind)


def _weighted_call(context: OpContext) -> _RefCall:
    graph, op = context.graph, context.op
    x, y, weights = context.input(0), context.output, context.input(1)
    multiplier, shift = numerics.conv_requant(graph, op)
    assert weights.data is not None
    constants = (
        ("int8_t", weights.data),
        ("int32_t", numerics.raw_bias(graph, op)),
        ("int32_t", multiplier),
        ("int32_t", shift),
    )
    tail = (x.zero_point, y.zero_point, *numerics.output_range(graph, op))
    if op.kind is OpKind.FULLY_CONNECTED:
        out_c, in_c = weights.shape
        return _RefCall("tm_fully_connected_s8_ref", constants, (x.elements // in_c, in_c, out_c, *tail))
    a = op.attrs
    assert isinstance(a, WindowAttrs)
    literals = (*x.shape[1:], *y.shape[1:])
    if op.kind is OpKind.CONV_2D:
        literals = (*literals, x.shape[3] // weights.shape[3])
    window = (
        a.kernel_h,
        a.kernel_w,
        a.stride_h,
        a.stride_w,
        a.dilation_h,
        a.dilation_w,
        a.pads.top,
        a.pads.left,
    )
    name = "conv2d" if op.kind is OpKind.CONV_2D else "dwconv2d"
    return _RefCall(f"tm_{name}_s8_ref", constants, (*literals, *window, *tail))
