"""Pooling, ReduceMean and Softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinyml.graph import NoAttrs, OpKind, PadAttrs, Pads, Quant, ReduceAttrs, SoftmaxAttrs, WindowAttrs
from tinyml.readers.onnx.network import Network, Operand, Output, Pending, Stored
from tinyml.readers.onnx.operators.layers import window
from tinyml.readers.onnx.operators.reading import OnnxOperator
from tinyml.readers.onnx.order import channels_last
from tinyml.readers.tensors import dims

_SOFTMAX = Quant((1 / 256,), (-128,))  # what the integer kernel gives
_LOG_SOFTMAX = Quant((16 / 256,), (127,))
_MAX_SOFTMAX = 4095  # its sum has 12 integer bits


def commuting(net: Network, shape: tuple[int, ...], change: Callable[[Stored], Stored]) -> Operand:
    """Return the result of an operator that gives the same before and after quantisation.

    Args:
        net: at the operator, whose first input is changed.
        shape: of the result.
        change: what the operator does to a quantised value, without another scale.
    """
    value = net.operand(0)
    if not isinstance(value, Pending):
        return change(net.real(0))

    def build(output: Output) -> Stored:
        return change(value.build(output))

    return replace(net.pending(shape, build, fuses=value.fuses), low=value.low, high=value.high)


def _pool_shape(net: Network, shape: tuple[int, ...]) -> tuple[tuple[int, ...], WindowAttrs, tuple[int, ...]]:
    """Return (input as an image, attributes, output shape) of a pool."""
    image = net.image_shape(shape)
    kernel = net.numbers("kernel_shape", len(shape) - 2)
    attrs, (height, width) = window(net, image, kernel, ceil=bool(net.integer("ceil_mode", 0)))
    around = attrs.pads
    if max(around.top, around.bottom) >= attrs.kernel_h * attrs.dilation_h or (
        max(around.left, around.right) >= attrs.kernel_w * attrs.dilation_w
    ):
        raise net.error(
            "its pads are as large as its window", "expected a pixel of the image in every window"
        )
    out = (1, shape[1], height, width) if len(shape) == 4 else (1, shape[1], width)
    return image, attrs, out


def _max_pool(net: Network) -> Operand:
    shape = net.operand(0).shape
    _, attrs, out = _pool_shape(net, shape)
    if (attrs.dilation_h, attrs.dilation_w) != (1, 1):
        raise net.unsupported("its window is dilated", "expected dilations of 1", "use a plain window")
    return commuting(net, out, lambda value: _pooled(net, OpKind.MAX_POOL_2D, value, attrs, out))


def _pooled(net: Network, kind: OpKind, value: Stored, attrs: WindowAttrs, out: tuple[int, ...]) -> Stored:
    """Pool without another scale."""
    source = net.image(value)
    image = net.image_shape(out)
    perm = channels_last(4)
    index = net.emit(
        kind, (source,), attrs, tuple(image[p] for p in perm), net.quant(source), net.node.outputs[0]
    )
    return replace(net.stored(index, image, perm), shape=out)


def _average_pool(net: Network) -> Operand:
    x = net.real(0)
    image, attrs, out = _pool_shape(net, x.shape)
    if (attrs.dilation_h, attrs.dilation_w) != (1, 1):
        raise net.unsupported("its window is dilated", "expected dilations of 1", "use a plain window")
    if attrs.pads == Pads() and (attrs.kernel_h, attrs.kernel_w) == image[2:]:
        return _mean_of(net, x, (2, 3) if len(out) == 4 else (2,), keep_dims=True)
    padded = bool(net.integer("count_include_pad", 0)) and attrs.pads != Pads()
    if padded and net.integer("ceil_mode", 0):
        raise net.unsupported(
            "it counts padding, with ceil_mode", "expected one of them", "pool with count_include_pad=False"
        )

    def build(output: Output) -> Stored:
        value, inner = x, attrs
        if padded:
            p = attrs.pads
            value = _padded_image(net, x, ((0, 0), (p.top, p.bottom), (p.left, p.right), (0, 0)))
            inner = replace(attrs, pads=Pads())
        return net.requantised(_pooled(net, OpKind.AVERAGE_POOL_2D, value, inner, out), output)

    return net.pending(out, build)


def _padded_image(net: Network, value: Stored, paddings: tuple[tuple[int, int], ...]) -> Stored:
    source = net.image(value)
    shape = tuple(d + sum(p) for d, p in zip(net.tensors[source].shape, paddings, strict=True))
    name = f"{net.node.outputs[0]}/padded"
    index = net.emit(OpKind.PAD, (source,), PadAttrs(paddings), shape, net.quant(source), name)
    return net.stored(index, (1, shape[3], shape[1], shape[2]), channels_last(4))


def _global_average_pool(net: Network) -> Operand:
    x = net.real(0)
    if len(x.shape) < 3:
        raise net.error(f"its input is {dims(x.shape)}", "expected spatial dimensions")
    return _mean_of(net, x, tuple(range(2, len(x.shape))), keep_dims=True)


def _global_max_pool(net: Network) -> Operand:
    shape = net.operand(0).shape
    image = net.image_shape(shape)
    attrs = WindowAttrs(kernel_h=image[2], kernel_w=image[3])
    out = (*shape[:2], *(1 for _ in shape[2:]))
    return commuting(net, out, lambda value: _pooled(net, OpKind.MAX_POOL_2D, value, attrs, out))


def _reduced_axes(net: Network, rank: int) -> tuple[int, ...] | None:
    """Return the axes of a reduction, sorted; None where it reduces nothing."""
    if net.has_input(1):
        axes = net.integers(1, "axes")
    elif net.attribute("axes") is not None:
        axes = net.numbers("axes")
    else:
        axes = ()
    if not axes and net.integer("noop_with_empty_axes", 0):
        return None
    return tuple(sorted({net.axis(a, rank) for a in axes})) or tuple(range(rank))


def _reduce_sum(net: Network) -> Operand:
    """Read ReduceMean and ReduceSum, which rescale."""
    x = net.real(0)
    axes = _reduced_axes(net, len(x.shape))
    if axes is None:
        return x
    kind = OpKind.MEAN if net.node.op == "ReduceMean" else OpKind.SUM
    return _mean_of(net, x, axes, keep_dims=bool(net.integer("keepdims", 1)), kind=kind)


def _reduce_extreme(net: Network) -> Operand:
    """Read ReduceMax and ReduceMin, which only pick values."""
    whole = net.operand(0).shape
    axes = _reduced_axes(net, len(whole))
    if axes is None:
        return net.operand(0)
    keep_dims = bool(net.integer("keepdims", 1))
    kind = OpKind.REDUCE_MAX if net.node.op == "ReduceMax" else OpKind.REDUCE_MIN
    kept = [d for d in range(len(whole)) if keep_dims or d not in axes]
    shape = tuple(1 if d in axes else whole[d] for d in kept)

    def picked(stored: Stored) -> Stored:
        output = Output(net.quant(stored.tensor), net.node.outputs[0])
        return _reduced(net, kind, stored, axes, keep_dims, output)

    return commuting(net, shape, picked)


def _mean_of(
    net: Network, x: Stored, axes: tuple[int, ...], *, keep_dims: bool, kind: OpKind = OpKind.MEAN
) -> Pending:
    kept = [d for d in range(len(x.shape)) if keep_dims or d not in axes]
    shape = tuple(1 if d in axes else x.shape[d] for d in kept)

    def build(output: Output) -> Stored:
        net.check_rescale(net.quant(x.tensor).scale[0] / output.quant.scale[0])
        return _reduced(net, kind, x, axes, keep_dims, output)

    return net.pending(shape, build)


def _reduced(
    net: Network, kind: OpKind, x: Stored, axes: tuple[int, ...], keep_dims: bool, output: Output
) -> Stored:
    kept = [d for d in range(len(x.shape)) if keep_dims or d not in axes]
    perm = net.order_of(x)
    source = net.in_order(x, x.shape, perm)
    memory = [p for p in perm if p in kept]
    index = net.emit(
        kind,
        (source,),
        ReduceAttrs(tuple(sorted(perm.index(a) for a in axes)), keep_dims),
        tuple(1 if p in axes else x.shape[p] for p in memory),
        output.quant,
        output.name,
    )
    shape = tuple(1 if d in axes else x.shape[d] for d in kept)
    return net.stored(index, shape, tuple(kept.index(p) for p in memory))


def _softmax(net: Network) -> Operand:
    x = net.real(0)
    rank = len(x.shape)
    axis = net.axis(net.integer("axis", -1), rank)
    if not 1 <= rank <= 4 or x.shape[axis] > _MAX_SOFTMAX:
        raise net.unsupported(
            f"it spans {x.shape[axis]} elements of {dims(x.shape)}",
            f"expected at most {_MAX_SOFTMAX}, and 4 dimensions",
            "leave the softmax out of the model and take the largest score",
        )

    def build(output: Output) -> Stored:
        perm = net.order_of(x)
        if perm[-1] != axis:
            perm = (*(d for d in range(rank) if d != axis), axis)
        source = net.in_order(x, x.shape, perm)
        shape = tuple(x.shape[p] for p in perm)
        name = net.node.outputs[0]
        if net.node.op == "LogSoftmax":
            index = net.emit(OpKind.LOG_SOFTMAX, (source,), NoAttrs(), shape, _LOG_SOFTMAX, name)
        else:
            index = net.emit(OpKind.SOFTMAX, (source,), SoftmaxAttrs(), shape, _SOFTMAX, name)
        return net.requantised(net.stored(index, x.shape, perm), output)

    return net.pending(x.shape, build)


OPERATORS = {
    "MaxPool": OnnxOperator(_max_pool, "channels"),
    "GlobalMaxPool": OnnxOperator(_global_max_pool, "channels"),
    "AveragePool": OnnxOperator(_average_pool, "channels"),
    "GlobalAveragePool": OnnxOperator(_global_average_pool, "channels"),
    "ReduceMean": OnnxOperator(_reduce_sum),
    "ReduceSum": OnnxOperator(_reduce_sum),
    "ReduceMax": OnnxOperator(_reduce_extreme),
    "ReduceMin": OnnxOperator(_reduce_extreme),
    "Softmax": OnnxOperator(_softmax),
    "LogSoftmax": OnnxOperator(_softmax),
}
