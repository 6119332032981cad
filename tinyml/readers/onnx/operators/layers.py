"""Conv, Gemm and MatMul: layers with weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyml.graph import ActivationAttrs, Array, MatmulAttrs, OpKind, Pads, Quant, WindowAttrs
from tinyml.readers.onnx.network import (
    MAX_EXTENT,
    QUANTISE,
    Constant,
    Network,
    Output,
    Pending,
    Stored,
)
from tinyml.readers.onnx.operators.reading import OnnxOperator
from tinyml.readers.onnx.order import channels_last, plain, transposed
from tinyml.readers.tensors import dims


def window(
    net: Network, image: Sequence[int], kernel: Sequence[int], *, ceil: bool = False
) -> tuple[WindowAttrs, tuple[int, int]]:
    """Resolve strides, dilations and padding of a window.

    Args:
        net: at a node with the attributes strides, dilations, pads, auto_pad and kernel_shape.
        image: [1, C, H, W].
        kernel: one or two sizes; a sequence has one.
        ceil: count a last window that reaches beyond the padded image.

    Returns:
        The attributes without an activation, and the output's (height, width).

    Source: https://onnx.ai/onnx/operators/onnx__Conv.html, onnx__MaxPool.html.
    """
    rank = len(kernel)
    if net.attribute("kernel_shape") is not None and net.numbers("kernel_shape", rank) != tuple(kernel):
        raise net.error(
            f"its kernel_shape is {list(net.numbers('kernel_shape', rank))}",
            f"its weights are {list(kernel)}",
        )
    strides = net.numbers("strides", rank, 1)
    dilations = net.numbers("dilations", rank, 1)
    pads = net.numbers("pads", 2 * rank, 0)
    auto = net.text("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise net.error(f"its auto_pad is {auto}", "expected NOTSET, VALID, SAME_UPPER or SAME_LOWER")
    sizes, around = [], []
    for i in range(rank):
        size, stride, dilation = image[4 - rank + i], strides[i], dilations[i]
        if min(kernel[i], stride, dilation) <= 0:
            raise net.error(
                f"it has stride {stride}, dilation {dilation}, kernel {kernel[i]}",
                "expected positive numbers",
            )
        reach = (kernel[i] - 1) * dilation + 1
        before, after = (pads[i], pads[rank + i]) if auto == "NOTSET" else (0, 0)
        if min(before, after) < 0:
            raise net.unsupported(
                f"its pads are {list(pads)}", "expected no negative numbers", "crop before the model"
            )
        if max(reach, stride, before, after, size) > MAX_EXTENT:
            raise net.error(
                f"its window reaches over {reach} pixels with stride {stride} and pads {list(pads)}",
                f"at most {MAX_EXTENT} are supported",
            )
        if auto.startswith("SAME"):
            out = -(-size // stride)
            total = max((out - 1) * stride + reach - size, 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        else:
            room = size + before + after - reach
            out = (-(-room // stride) if ceil else room // stride) + 1
            if ceil and (out - 1) * stride >= size + before:  # it would start behind the image
                out -= 1
            if room < 0 or out <= 0:
                raise net.error(
                    f"its window of {reach} does not fit an input of {dims(image)} with pads {list(pads)}",
                    "expected a window within the padded input",
                )
        sizes.append(out)
        # What lies behind the last window is never read.
        around.append((before, max((out - 1) * stride + reach - size - before, 0)))
    if rank == 1:
        kernel, strides, dilations = (1, *kernel), (1, *strides), (1, *dilations)
        sizes, around = [1, *sizes], [(0, 0), *around]
    attrs = WindowAttrs(
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=strides[0],
        stride_w=strides[1],
        dilation_h=dilations[0],
        dilation_w=dilations[1],
        pads=Pads(top=around[0][0], left=around[1][0], bottom=around[0][1], right=around[1][1]),
    )
    return attrs, (sizes[0], sizes[1])


def _weights(net: Network, position: int, rank: int | None, axis: int) -> tuple[Array, tuple[float, ...]]:
    """Return int8 weights and their scales, one or one per index of `axis`."""
    operand = net.operand(position)
    name = net.node.inputs[position]
    if not isinstance(operand, Constant):
        raise net.unsupported(
            f"its weights '{name}' are computed by the model",
            "expected constants",
            "multiply tensors of the model with Mul, or fold what computes them",
        )
    if operand.quant is None:
        raise net.not_quantised(position)
    data, quant = operand.data, operand.quant
    if data.dtype != np.int8 or any(quant.zero_point):
        raise net.unsupported(
            f"its weights '{name}' are {data.dtype} with a zero point other than 0",
            "expected symmetric int8 weights",
            "quantise with weight_type=QuantType.QInt8, or extra_options={'WeightSymmetric': True}",
        )
    if rank is not None and data.ndim != rank:
        raise net.error(f"its weights are {dims(data.shape)}", f"expected {rank} dimensions")
    if min(data.shape, default=0) < 1:
        raise net.error(f"its weights are {dims(data.shape)}", "expected positive sizes")
    if quant.per_channel and quant.axis != axis:
        raise net.unsupported(
            f"its weights are quantised along axis {quant.axis}", f"expected axis {axis}", QUANTISE
        )
    return data, quant.scale


def _bias(
    net: Network, position: int, channels: int, scales: tuple[float, ...], factor: float = 1.0
) -> Array | None:
    """Return int32 bias for accumulators whose unit is `scales`, or None.

    What the file has in another unit, or in float, is rounded to this one.
    """
    if not net.has_input(position):
        return None
    operand = net.operand(position)
    if not isinstance(operand, Constant):
        raise net.unsupported("its bias is computed by the model", "expected a constant", "fold it")
    data = operand.data
    if data.size not in (1, channels) or data.dtype.kind not in "if":
        raise net.error(f"its bias is {data.dtype}{list(data.shape)}", f"expected {channels} numbers")
    values = data.reshape(-1).astype(np.float64)
    units = np.array(scales, np.float64)
    if operand.quant is not None:
        if data.dtype == np.int32 and _close(operand.quant.scale, scales) and factor == 1.0:
            units = np.ones(1)
            values -= np.array(operand.quant.zero_point, np.float64)
        else:
            values = (values - np.array(operand.quant.zero_point)) * np.array(operand.quant.scale)
    elif data.dtype.kind != "f":
        raise net.error("its bias is quantised, but not dequantised", "expected DequantizeLinear before it")
    with np.errstate(all="ignore"):
        bias = np.rint(factor * values / units)
    if not (np.isfinite(bias).all() and np.abs(bias).max() < 2**31):
        raise net.error(
            "its bias does not fit 32 bits", "expected a bias in proportion to the weights' scale"
        )
    return np.broadcast_to(bias, (channels,)).astype(np.int32)


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return whether scales are equal but for a float32's rounding."""
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        return False
    return bool(np.allclose(a, b, rtol=1e-6, atol=0))


def _weighted(
    net: Network, x: Stored, scales: tuple[float, ...], bias: Array | None
) -> tuple[tuple[float, ...], int]:
    """Append the bias as a constant; returns the accumulators' scales and its index, −1 for none."""
    units = tuple(net.quant(x.tensor).scale[0] * scale for scale in scales)
    if bias is None:
        return units, -1
    return units, net.add_constant("bias", bias, Quant(units, (0,) * len(units)))


def _conv(net: Network) -> Pending:
    x = net.real(0)
    image = net.image_shape(x.shape)
    data, scales = _weights(net, 1, len(x.shape), 0)
    spatial = data.shape[2:]
    groups = net.integer("group", 1)
    out_c, group_c = data.shape[:2]
    if groups <= 0 or image[1] != groups * group_c or out_c % groups:
        raise net.error(
            f"its weights {dims(data.shape)} in {groups} groups do not fit an input of {dims(x.shape)}",
            "expected as many input channels, and outputs that the groups divide",
        )
    units = tuple(net.quant(x.tensor).scale[0] * scale for scale in scales)
    bias = _bias(net, 2, out_c, units)
    attrs, (height, width) = window(net, image, spatial)
    weights = data.reshape(out_c, group_c, attrs.kernel_h, attrs.kernel_w)
    depthwise = group_c == 1 and groups > 1
    kind = OpKind.DEPTHWISE_CONV_2D if depthwise else OpKind.CONV_2D
    weights = weights.transpose(1, 2, 3, 0) if depthwise else weights.transpose(0, 2, 3, 1)
    axis = 3 if depthwise else 0
    shape = (1, out_c, height, width)

    def build(output: Output) -> Stored:
        net.check_rescale(max(units) / output.quant.scale[0])
        source = net.image(x)
        w = net.add_constant(
            "weights",
            np.ascontiguousarray(weights),
            Quant(scales, (0,) * len(scales), axis if len(scales) > 1 else 0),
        )
        _, b = _weighted(net, x, scales, bias)
        index = net.emit(
            kind,
            (source, w, b),
            replace(attrs, activation=output.activation),
            (1, height, width, out_c),
            output.quant,
            output.name,
        )
        stored = net.stored(index, shape, channels_last(4))
        return stored if len(x.shape) == 4 else replace(stored, shape=(1, out_c, width))

    return net.pending(shape if len(x.shape) == 4 else (1, out_c, width), build, fuses=True)


def _conv_transpose(net: Network) -> Pending:
    x = net.real(0)
    image = net.image_shape(x.shape)
    data, scales = _weights(net, 1, len(x.shape), 1)
    in_c, out_c, *sizes = data.shape
    rank = len(sizes)
    groups = net.integer("group", 1)
    if groups != 1 or in_c != image[1]:
        raise net.unsupported(
            f"its weights {dims(data.shape)} are in {groups} groups, its input is {dims(x.shape)}",
            "expected one group, and as many input channels",
            "enlarge with Resize and a convolution",
        )
    strides, extra = net.numbers("strides", rank, 1), net.numbers("output_padding", rank, 0)
    pads = net.numbers("pads", 2 * rank, 0)
    open_pads = not (net.text("auto_pad", "NOTSET") == "NOTSET" and net.attribute("output_shape") is None)
    if (
        set(net.numbers("dilations", rank, 1)) != {1}
        or open_pads
        or min(*strides, 1) < 1
        or min(*pads, *extra) < 0
    ):
        raise net.unsupported(
            "it is dilated, or leaves its padding open",
            "expected explicit pads, dilations of 1",
            "export it again",
        )
    height = [(image[4 - rank + i] - 1) * strides[i] + sizes[i] for i in range(rank)]
    out = [size + extra[i] - pads[i] - pads[rank + i] for i, size in enumerate(height)]
    if min(out) < 1 or max(*out, *height, *pads) > MAX_EXTENT:
        raise net.error(f"its pads are {list(pads)}", f"its output is {out} pixels large")
    # What the convolution that it transposes reads beyond the output.
    after = [max(height[i] - out[i] - pads[i], 0) for i in range(rank)]
    kernel = (*sizes,) if rank == 2 else (1, *sizes)
    stride = (*strides,) if rank == 2 else (1, *strides)
    top, left = pads[:2] if rank == 2 else (0, pads[0])
    bottom, right = after if rank == 2 else (0, after[0])
    attrs = WindowAttrs(
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        pads=Pads(top=top, left=left, bottom=bottom, right=right),
    )
    units = tuple(net.quant(x.tensor).scale[0] * scale for scale in scales)
    bias = _bias(net, 2, out_c, units)
    weights = data.reshape(in_c, out_c, *kernel).transpose(1, 2, 3, 0)
    shape = (1, out_c, *(out if rank == 2 else (1, *out)))

    def build(output: Output) -> Stored:
        net.check_rescale(max(units) / output.quant.scale[0])
        source = net.image(x)
        w = net.add_constant("weights", np.ascontiguousarray(weights), Quant(scales, (0,) * len(scales), 0))
        _, b = _weighted(net, x, scales, bias)
        index = net.emit(
            OpKind.TRANSPOSE_CONV,
            (source, w, b),
            replace(attrs, activation=output.activation),
            (1, shape[2], shape[3], out_c),
            output.quant,
            output.name,
        )
        return replace(net.stored(index, shape, channels_last(4)), shape=(1, out_c, *out))

    return net.pending((1, out_c, *out), build, fuses=True)


def _dense(net: Network, x: Stored, data: Array, scales: tuple[float, ...], bias: Array | None) -> Pending:
    """Multiply the last axis of x [.., K] by weights [N, K]."""
    units, depth = data.shape
    if x.shape[-1:] != (depth,):
        raise net.error(
            f"its weights {dims(data.shape)} do not fit an input of {dims(x.shape)}",
            f"expected a last dimension of {depth}",
        )
    rows = math.prod(x.shape[:-1])
    shape = (*x.shape[:-1], units)
    quant = net.quant(x.tensor)

    def build(output: Output) -> Stored:
        net.check_rescale(quant.scale[0] * max(scales) / output.quant.scale[0])
        weights = data
        if rows == 1:
            # A flattened image: its weights follow the order it is in, and nothing is moved.
            places = np.arange(depth).reshape(x.order.dims).transpose(x.order.order).reshape(-1)
            weights = data[:, places]
            source = net.reshaped(x.tensor, (1, depth))
        else:
            source = net.in_order(x, (rows, depth), (0, 1))
        w = net.add_constant("weights", np.ascontiguousarray(weights), Quant(scales, (0,) * len(scales), 0))
        _, b = _weighted(net, x, scales, bias)
        index = net.emit(
            OpKind.FULLY_CONNECTED,
            (source, w, b),
            ActivationAttrs(output.activation),
            (rows, units),
            output.quant,
            output.name,
        )
        return replace(net.stored(index, (rows, units), (0, 1)), shape=shape)

    return net.pending(shape, build, fuses=True)


def _gemm(net: Network) -> Pending:
    x = net.real(0)
    alpha, beta = net.number("alpha", 1.0), net.number("beta", 1.0)
    if net.integer("transA", 0) or len(x.shape) != 2 or alpha <= 0:
        raise net.unsupported(
            f"it has transA={net.integer('transA', 0)}, alpha={alpha:g}, an input of {dims(x.shape)}",
            "expected rows of inputs as they are, alpha > 0",
            "use a linear layer",
        )
    transposed_weights = bool(net.integer("transB", 0))
    data, scales = _weights(net, 1, 2, 0 if transposed_weights else 1)
    data = data if transposed_weights else data.T
    scales = tuple(alpha * scale for scale in scales)
    units = tuple(net.quant(x.tensor).scale[0] * scale for scale in scales)
    return _dense(net, x, data, scales, _bias(net, 2, data.shape[0], units, beta))


def _product(net: Network) -> Pending:
    """Multiply two activations."""
    first, second = net.real(0), net.real(1)
    a, b = first.shape, second.shape
    if not 2 <= len(a) == len(b) <= 4 or a[-1] != b[-2]:
        raise net.unsupported(
            f"its inputs are {dims(a)} and {dims(b)}",
            "expected 2 to 4 dimensions each, as many columns as rows",
            "reshape them",
        )
    try:
        batch = tuple(int(d) for d in np.broadcast_shapes(a[:-2], b[:-2]))
    except ValueError:
        raise net.error(
            f"its inputs are {dims(a)} and {dims(b)}", "expected batches that broadcast"
        ) from None
    shape = (*batch, a[-2], b[-1])
    rank = len(shape)
    rows = tuple(range(rank))
    turned = (*range(rank - 2), rank - 1, rank - 2)

    def operand(value: Stored) -> tuple[int, bool]:
        """Return a tensor, and whether it is transposed: the kernel reads either."""
        swapped = value.order != plain(value.shape) and value.order == transposed(value.shape, turned)
        return net.in_order(value, value.shape, turned if swapped else rows), swapped

    def build(output: Output) -> Stored:
        scales = net.quant(first.tensor).scale[0] * net.quant(second.tensor).scale[0]
        net.check_rescale(scales / output.quant.scale[0])
        (x, adj_x), (y, adj_y) = operand(first), operand(second)
        attrs = MatmulAttrs(adj_x, adj_y)
        index = net.emit(OpKind.BATCH_MATMUL, (x, y), attrs, shape, output.quant, output.name)
        return net.stored(index, shape, rows)

    return net.pending(shape, build)


def _matmul(net: Network) -> Pending:
    if isinstance(net.operand(1), Stored):
        return _product(net)
    x = net.real(0)
    data, scales = _weights(net, 1, 2, 1)
    if len(x.shape) < 2:
        raise net.unsupported(f"its input is {dims(x.shape)}", "expected rows", "keep the batch dimension")
    return _dense(net, x, data.T, scales, None)


OPERATORS = {
    "Conv": OnnxOperator(_conv, "channels"),
    "ConvTranspose": OnnxOperator(_conv_transpose, "channels"),
    "Gemm": OnnxOperator(_gemm),
    "MatMul": OnnxOperator(_matmul),
}
