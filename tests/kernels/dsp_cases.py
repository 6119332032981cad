"""Operators that aim at the corners of the DSP kernels: tails, odd channels, forms of requantisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Array,
    DType,
    Graph,
    Op,
    OpKind,
    Pads,
    Quant,
    Tensor,
    WindowAttrs,
)

SAME3 = Pads(1, 1, 1, 1)
_IN_SCALE = 0.02


def conv_graph(
    *,
    in_shape: tuple[int, int, int],
    out_c: int,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pads: Pads | None = None,
    activation: Activation = Activation.NONE,
    shifts: tuple[int, int] | None = None,
    zero_points: tuple[int, int] = (-3, 5),
    out_scale: float = 0.05,
    seed: int = 0,
    depthwise: bool = False,
    packable: bool = True,
) -> Graph:
    """Return a CONV_2D or DEPTHWISE_CONV_2D with random weights and right shifts within `shifts`.

    By default the shifts spread the outputs over int8. Weights are not symmetric, but legal int8; those
    of a CONV_2D can be packed in pairs, unless told otherwise.
    """
    rng = np.random.default_rng(seed)
    pads = pads or Pads()
    in_h, in_w, in_c = in_shape
    out_h = (in_h + pads.top + pads.bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    out_w = (in_w + pads.left + pads.right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    assert min(out_h, out_w) > 0
    shape = (1, *kernel, out_c) if depthwise else (out_c, *kernel, in_c)
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    if depthwise or not packable:
        weights.flat[:: max(1, weights.size // 7)] = -128
    scales, bias = _scales_and_bias(rng, weights.size // out_c, out_c, out_c, shifts, out_scale)
    return _graph(
        Op(
            OpKind.DEPTHWISE_CONV_2D if depthwise else OpKind.CONV_2D,
            (0, 1, 2),
            (3,),
            WindowAttrs(*kernel, *stride, *dilation, pads, activation),
        ),
        (1, *in_shape),
        weights,
        Quant(tuple(scales), (0,) * out_c, 3 if depthwise else 0),
        bias,
        (1, out_h, out_w, out_c),
        zero_points,
        out_scale,
    )


def dense_graph(
    *,
    batches: int = 1,
    in_c: int,
    out_c: int,
    activation: Activation = Activation.NONE,
    shifts: tuple[int, int] | None = None,
    per_output: bool = False,
    zero_points: tuple[int, int] = (-3, 5),
    out_scale: float = 0.05,
    seed: int = 0,
    lowest: int = -127,
) -> Graph:
    """Return a FULLY_CONNECTED with random weights and right shifts within `shifts`, as `conv_graph`.

    Weights from -127 on may be packed in pairs; -128 is legal too.
    """
    rng = np.random.default_rng(seed)
    weights = rng.integers(lowest, 128, (out_c, in_c)).astype(np.int8)
    count = out_c if per_output else 1
    scales, bias = _scales_and_bias(rng, in_c, out_c, count, shifts, out_scale)
    return _graph(
        Op(OpKind.FULLY_CONNECTED, (0, 1, 2), (3,), ActivationAttrs(activation)),
        (batches, in_c),
        weights,
        Quant(tuple(scales), (0,) * count, 0),
        bias,
        (batches, out_c),
        zero_points,
        out_scale,
    )


def extreme_dense_graph(in_c: int, sign: int) -> Graph:
    """Return a FULLY_CONNECTED whose every weight is 127·sign: sums at the bound of packed pairs."""
    graph = dense_graph(in_c=in_c, out_c=8)
    x, w, b, y = graph.tensors
    weights = Tensor(w.name, w.shape, w.dtype, w.quant, np.full(w.shape, 127 * sign, np.int8))
    return graph.replace(tensors=(x, weights, b, y))


def extreme_pointwise_graph(in_c: int, sign: int) -> Graph:
    """Return a pointwise convolution whose every weight is 127·sign."""
    graph = conv_graph(in_shape=(1, 5, in_c), out_c=4)
    x, w, b, y = graph.tensors
    weights = Tensor(w.name, w.shape, w.dtype, w.quant, np.full(w.shape, 127 * sign, np.int8))
    return graph.replace(tensors=(x, weights, b, y))


def _scales_and_bias(
    rng: np.random.Generator,
    terms: int,
    out_c: int,
    scale_count: int,
    shifts: tuple[int, int] | None,
    out_scale: float,
) -> tuple[Array, Array]:
    """Return weight scales that make TFLite's right shifts lie within `shifts`, and a bias."""
    spread = 74 * 74 * math.sqrt(terms)  # standard deviation of a sum of products of random int8
    if shifts is None:
        shift = max(2, round(math.log2(spread / 60)))
        shifts = (shift - 1, shift + 1)
    # a real multiplier in [2^(-s-1), 2^-s) has the right shift s
    real = 2.0 ** -rng.integers(shifts[0], shifts[1] + 1, scale_count) * rng.uniform(0.5, 1, scale_count)
    bias = rng.normal(0, spread / 2, out_c).astype(np.int32)
    return real * out_scale / _IN_SCALE, bias


def _graph(
    op: Op,
    in_shape: tuple[int, ...],
    weights: Array,
    weight_quant: Quant,
    bias: Array,
    out_shape: tuple[int, ...],
    zero_points: tuple[int, int],
    out_scale: float,
) -> Graph:
    tensors = (
        Tensor("x", in_shape, DType.INT8, Quant((_IN_SCALE,), (zero_points[0],))),
        Tensor("w", weights.shape, DType.INT8, weight_quant, weights),
        Tensor("b", bias.shape, DType.INT32, None, bias),
        Tensor("y", out_shape, DType.INT8, Quant((out_scale,), (zero_points[1],))),
    )
    return Graph("case", tensors, (op,), (0,), (3,))


def aimed_graphs() -> list[Graph]:
    """Return the graphs; each kernel is tried on all that it accepts."""
    return [*_pointwise(), *_windows(), *_depthwise(), *_dense(), *constant_channel_graphs()]


def constant_channel_graphs() -> list[Graph]:
    """Channels whose weights are all zero, and ones whose scale TFLite rounds to nothing."""
    graphs = [
        conv_graph(in_shape=(3, 3, 8), out_c=7),
        conv_graph(in_shape=(4, 5, 4), out_c=6, kernel=(3, 3), pads=SAME3, activation=Activation.RELU6),
        *[
            conv_graph(in_shape=(4, 5, 6), out_c=6, kernel=kernel, pads=SAME3, depthwise=True)
            for kernel in [(3, 3), (5, 5)]
        ],
    ]
    constant = []
    for graph in graphs:
        x, w, b, y = graph.tensors
        assert w.data is not None
        assert w.quant is not None
        data = w.data.copy()
        channels = data if w.quant.axis == 0 else data.transpose(3, 0, 1, 2)
        channels[[0, 2, 5]] = 0
        # shifts far beyond the rest, a positive one, and a multiplier of zero on live weights
        factors = np.array([2.0**-20, 1, 2.0**14, 1, 2.0**-60, 2.0**-31, *[1] * len(channels)])
        scale = tuple((np.array(w.quant.scale) * factors[: len(channels)]).tolist())
        weights = Tensor(w.name, w.shape, w.dtype, Quant(scale, w.quant.zero_point, w.quant.axis), data)
        constant.append(graph.replace(tensors=(x, weights, b, y)))
    return constant


def _pointwise() -> list[Graph]:
    # pixels by all remainders of 4; channels around every multiple of 4 and 8, odd and single
    shapes = [
        *[((1, 1, 1), 1), ((1, 2, 3), 2), ((1, 3, 4), 5), ((2, 2, 5), 3), ((1, 5, 8), 8), ((3, 2, 12), 7)],
        *[((1, 7, 16), 1), ((2, 4, 17), 18), ((3, 3, 20), 6), ((5, 2, 24), 9), ((1, 11, 28), 4)],
        *[((2, 6, 31), 11), ((5, 5, 64), 16)],
    ]
    graphs = [conv_graph(in_shape=shape, out_c=out_c, seed=i) for i, (shape, out_c) in enumerate(shapes)]
    for shifts in [(2, 12), (1, 1), (13, 31), (1, 20), (0, 0), (-6, 0), (-2, 15)]:
        graphs.append(conv_graph(in_shape=(2, 3, 9), out_c=5, shifts=shifts))
    for activation in [Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1]:
        for shifts in [(4, 8), (1, 14), (-1, 8)]:
            graphs.append(conv_graph(in_shape=(3, 3, 6), out_c=6, activation=activation, shifts=shifts))
    for shifts in [None, (1, 14), (-1, 8)]:
        for shape, out_c in [((3, 3, 7), 5), ((1, 9, 24), 6)]:
            graphs.append(conv_graph(in_shape=shape, out_c=out_c, shifts=shifts, packable=False))
    graphs += [extreme_pointwise_graph(in_c, sign) for in_c in (512, 516, 520) for sign in (-1, 1)]
    for zero_points in [(-128, 127), (127, -128)]:
        graphs.append(conv_graph(in_shape=(2, 3, 8), out_c=4, zero_points=zero_points))
    return graphs


def _windows() -> list[Graph]:
    geometries: list[dict[str, Any]] = [
        dict(in_shape=(5, 5, 1), out_c=3, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(6, 9, 3), out_c=8, kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1)),
        dict(in_shape=(7, 8, 4), out_c=5, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(7, 13, 8), out_c=4, kernel=(3, 3), stride=(2, 2), pads=Pads(1, 1, 0, 0)),
        dict(in_shape=(9, 6, 1), out_c=6, kernel=(5, 4), stride=(2, 2), pads=Pads(2, 1, 2, 1)),
        dict(in_shape=(8, 8, 8), out_c=6, kernel=(1, 1), stride=(2, 2)),
        dict(in_shape=(4, 12, 2), out_c=3, kernel=(2, 5), stride=(1, 3), pads=Pads(0, 3, 1, 1)),
        dict(in_shape=(9, 11, 4), out_c=2, kernel=(3, 3), dilation=(2, 3), pads=Pads(2, 3, 2, 3)),
        dict(in_shape=(9, 15, 4), out_c=2, kernel=(2, 2), dilation=(1, 2), stride=(2, 1)),
        dict(in_shape=(9, 11, 3), out_c=2, kernel=(3, 2), dilation=(2, 4), pads=Pads(1, 4, 3, 0)),
        dict(in_shape=(1, 1, 5), out_c=4, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(2, 3, 4), out_c=4, kernel=(5, 7), pads=Pads(2, 6, 2, 6)),
        dict(in_shape=(3, 17, 12), out_c=7, kernel=(1, 3), pads=Pads(0, 1, 0, 1)),
        dict(in_shape=(6, 4, 6), out_c=3, kernel=(3, 1), pads=Pads(1, 0, 1, 0)),
        dict(in_shape=(8, 8, 16), out_c=16, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(3, 2, 7), out_c=1, kernel=(2, 2)),
    ]
    small: dict[str, Any] = dict(in_shape=(4, 6, 4), out_c=3, kernel=(3, 3), pads=SAME3)
    geometries += [{**small, "shifts": shifts} for shifts in [(1, 16), (-3, 5)]]
    geometries += [{**small, "activation": activation} for activation in [Activation.RELU, Activation.RELU6]]
    return [conv_graph(seed=i, **geometry) for i, geometry in enumerate(geometries)]


def _depthwise() -> list[Graph]:
    def graph(channels: int, *, in_shape: tuple[int, int], **geometry: Any) -> Graph:
        return conv_graph(
            in_shape=(*in_shape, channels), out_c=channels, depthwise=True, seed=channels, **geometry
        )

    graphs = []
    strides = [(1, 1), (2, 2), (1, 2)]
    # every tail of the loops over pairs of outputs, every number of channels beside a multiple of 4
    for width, channels in zip([1, 2, 3, 4, 5, 6, 9, 16], [1, 4, 6, 3, 8, 2, 7, 5], strict=True):
        for stride in strides:
            graphs.append(graph(channels, in_shape=(4, width), kernel=(3, 3), stride=stride, pads=SAME3))
    # padding beyond the kernel, on one side only, odd and even
    for pads in [Pads(), Pads(0, 0, 1, 1), Pads(2, 2, 0, 1), Pads(0, 5, 0, 7), Pads(1, 0, 1, 2)]:
        for stride in strides:
            graphs.append(graph(5, in_shape=(5, 7), kernel=(3, 3), stride=stride, pads=pads))
    for shifts in [(2, 12), (1, 31), (13, 22), (0, 4), (-5, -1)]:
        for stride in strides:
            geometry: dict[str, Any] = dict(kernel=(3, 3), stride=stride, pads=SAME3, dilation=(2, 1))
            graphs.append(graph(4, in_shape=(4, 6), shifts=shifts, activation=Activation.RELU6, **geometry))
    for i, kernel in enumerate(
        [(1, 1), (1, 2), (2, 1), (2, 2), (3, 4), (4, 3), (5, 5), (7, 7), (1, 6), (3, 9)]
    ):
        pads = Pads(kernel[0] // 2, kernel[1] // 2, kernel[0] - 1, kernel[1] - 1)
        for width in (3, 6, 9, 12):
            for stride in strides[:2]:
                channels = [3, 4, 9][(i + width) % 3]
                graphs.append(graph(channels, in_shape=(5, width), kernel=kernel, stride=stride, pads=pads))
    # groups of channels that all have a short form beside ones that have not
    for k in (3, 5):
        for stride in strides:
            geometry = dict(kernel=(k, k), stride=stride, pads=SAME3, shifts=(0, 4))
            graphs.append(graph(22, in_shape=(5, 6), **geometry))
    # pairs of rows: 3 to 5 words, one output and more in both directions, all forms
    for i, (kernel_h, stride_h) in enumerate(
        [(4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (3, 2), (4, 2), (5, 2), (7, 2), (8, 2)]
    ):
        for width, stride_w in [(1, 1), (2, 2), (5, 1), (7, 2), (8, 3)]:
            kernel, pads = (kernel_h, 2 + (i + width) % 6), Pads(kernel_h // 2, 3, kernel_h // 2, 3)
            shifts = [None, (2, 12), (1, 31), (0, 4)][(i + width) % 4]
            geometry = dict(kernel=kernel, stride=(stride_h, stride_w), pads=pads, shifts=shifts)
            graphs.append(graph([3, 4, 6][(i + width) % 3], in_shape=(4, width), **geometry))
    for kernel, stride, dilation in [
        ((3, 3), (1, 1), (2, 2)),
        ((3, 3), (3, 3), (1, 1)),
        ((2, 5), (1, 4), (1, 1)),
        ((3, 2), (2, 1), (1, 3)),
        ((1, 1), (5, 5), (1, 1)),
        ((5, 5), (2, 2), (2, 2)),
    ]:
        for channels in (1, 4, 6):
            geometry = dict(kernel=kernel, stride=stride, dilation=dilation, pads=Pads(2, 2, 1, 3))
            graphs.append(graph(channels, in_shape=(9, 10), **geometry))
    for channels, multiplier, kernel in [(1, 8, (3, 3)), (3, 2, (5, 2)), (5, 3, (1, 4)), (6, 2, (4, 3))]:
        graphs.append(
            conv_graph(
                in_shape=(5, 7, channels),
                out_c=channels * multiplier,
                kernel=kernel,
                pads=SAME3,
                depthwise=True,
            )
        )
    # 5x5 and 7x7, one column of outputs and more, odd and even, all forms
    for k in (5, 7):
        for stride, width in [(1, 1), (1, 2), (1, 5), (1, 8), (2, 1), (2, 4), (2, 6), (2, 9)]:
            shifts = [None, (2, 12), (1, 31), (0, 4)][width % 4]
            geometry = dict(kernel=(k, k), stride=(stride, stride), pads=Pads(*[k // 2] * 4), shifts=shifts)
            graphs.append(graph([3, 4, 9][width % 3], in_shape=(5, width), **geometry))
    return graphs


def _dense() -> list[Graph]:
    shapes = [(1, 1), (2, 3), (3, 4), (4, 5), (5, 8), (8, 9), (16, 7), (17, 12), (40, 4), (64, 10), (131, 6)]
    graphs = [dense_graph(in_c=in_c, out_c=out_c, seed=i) for i, (in_c, out_c) in enumerate(shapes)]
    for shift in [-4, -1, 0, 1, 2, 12, 22, 23, 24, 31]:  # the bounds of the two-instruction form
        for per_output in (False, True):
            graphs.append(dense_graph(in_c=14, out_c=6, shifts=(shift, shift), per_output=per_output))
    # packed fours: every place to enter the unrolled loop, outputs left over, the largest sums that fit
    for groups in range(1, 18):
        graphs.append(dense_graph(in_c=4 * groups, out_c=4 + groups % 7, seed=groups))
    graphs += [dense_graph(in_c=16, out_c=9, lowest=-128), dense_graph(batches=3, in_c=8, out_c=6)]
    graphs += [extreme_dense_graph(in_c, sign) for in_c in (512, 516, 520) for sign in (-1, 1)]
    graphs.append(dense_graph(batches=3, in_c=9, out_c=7, shifts=(4, 8), per_output=True))
    for activation in Activation:
        graphs.append(dense_graph(batches=2, in_c=12, out_c=9, activation=activation))
    graphs.append(dense_graph(in_c=12, out_c=9, zero_points=(127, -128), shifts=(2, 2)))
    for batches in range(3, 10):  # rows in blocks of every size, channels in pairs and one left over
        for per_output in (False, True):
            sizes = {"batches": batches, "in_c": 13 + batches, "out_c": 5 + batches}
            graphs.append(dense_graph(**sizes, per_output=per_output))
    graphs.append(dense_graph(batches=5, in_c=20, out_c=8, shifts=(2, 31), per_output=True))
    return graphs
