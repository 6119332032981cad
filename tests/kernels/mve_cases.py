"""Operators that aim at the corners of the Helium kernels: ends of vectors, rounds, requantisation."""

from __future__ import annotations

import numpy as np

from tests.kernels.dsp_cases import SAME3, aimed_graphs, conv_graph, dense_graph
from tests.kernels.kernel_cases import activation_tensor, one_op
from tinyml.graph import Activation, ActivationAttrs, DType, Graph, NoAttrs, OpKind, Pads, Tensor, WindowAttrs


def graphs() -> list[Graph]:
    """Return the graphs; each kernel is tried on all that it accepts."""
    return [
        *aimed_graphs(),
        *_pointwise(),
        *_windows(),
        *_depthwise(),
        *_dense(),
        *_pooling(),
        *_elementwise(),
    ]


def _pointwise() -> list[Graph]:
    # every number of steps of 16 channels up to three rounds of eight, whole steps and begun ones
    found = [
        conv_graph(in_shape=(1, 1 + steps % 9, 16 * steps - steps % 3), out_c=4 + 4 * (steps % 3), seed=steps)
        for steps in range(1, 26)
    ]
    # at most 16 channels stay in registers; several blocks of pixels in one call; singles behind fours
    for in_c, out_c, pixels in [(16, 8, 12), (15, 4, 9), (1, 12, 8), (8, 16, 16), (33, 6, 17), (48, 7, 8)]:
        found.append(conv_graph(in_shape=(1, pixels, in_c), out_c=out_c, seed=in_c))
    for shifts in [(1, 1), (11, 11), (1, 11), (12, 12), (1, 12), (31, 31), (0, 4)]:  # the bounds of the forms
        found += [conv_graph(in_shape=(1, 9, in_c), out_c=8, shifts=shifts, seed=in_c) for in_c in (16, 40)]
    return found


def _windows() -> list[Graph]:
    found = []
    for width in (1, 2, 3, 5, 6, 7, 9, 10, 18):  # several rows at a time where narrow; every remainder
        for in_c in (1, 3, 16):
            for stride in ((1, 1), (2, 2), (2, 1)):
                shape = (7, width, in_c)
                found.append(
                    conv_graph(in_shape=shape, out_c=4, kernel=(3, 3), stride=stride, pads=SAME3, seed=width)
                )
    found.append(conv_graph(in_shape=(6, 40, 3), out_c=8, kernel=(3, 3), stride=(2, 2), pads=SAME3))
    found.append(conv_graph(in_shape=(9, 21, 2), out_c=5, kernel=(5, 9), pads=Pads(2, 4, 2, 4)))
    found.append(
        conv_graph(in_shape=(9, 20, 32), out_c=8, kernel=(3, 3), dilation=(1, 2), pads=Pads(1, 2, 1, 2))
    )
    return found


def _depthwise() -> list[Graph]:
    found = []
    for i, channels in enumerate((15, 16, 17, 32, 33)):  # groups of 16
        for k, stride in [(3, 1), (3, 2), (5, 1), (7, 2)]:
            geometry = {
                "kernel": (k, k),
                "stride": (stride, stride),
                "pads": Pads(k // 2, k // 2, k // 2, k // 2),
            }
            for shifts in ((1, 11), (1, 31), (-2, 6)):
                found.append(
                    conv_graph(
                        in_shape=(4, 5 + i, channels),
                        out_c=channels,
                        depthwise=True,
                        shifts=shifts,
                        seed=channels,
                        **geometry,  # type: ignore[arg-type]
                    )
                )
    for kernel in [(3, 4), (4, 8), (8, 4), (8, 8), (1, 5), (5, 1), (9, 3), (3, 9)]:
        for stride in [(1, 1), (3, 2)]:
            found.append(
                conv_graph(
                    in_shape=(11, 14, 6),
                    out_c=6,
                    depthwise=True,
                    kernel=kernel,
                    stride=stride,
                    pads=Pads(2, 2, 2, 2),
                )
            )
    return found


def _dense() -> list[Graph]:
    found = [
        dense_graph(in_c=in_c, out_c=out_c) for in_c in (15, 16, 17, 130) for out_c in (1, 2, 3, 4, 5, 9)
    ]
    for shift in (-1, 0, 1, 2, 3, 31):  # the bound of the vector form
        found += [
            dense_graph(in_c=20, out_c=7, shifts=(shift, shift), per_output=each) for each in (False, True)
        ]
    return found


def _pooling() -> list[Graph]:
    found = []
    rng = np.random.default_rng(1)
    for channels in (7, 8, 9, 15, 16, 17, 33):
        for kind in (OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D):
            for size, stride in [((2, 2), 2), ((3, 3), 1), ((15, 17), 1), ((1, 1), 1)]:
                attrs = WindowAttrs(*size, stride, stride, pads=Pads(size[0] // 2, size[1] // 2, 0, 0))
                x = activation_tensor(rng, "x", (1, 15, 17, channels))
                rows = (15 + size[0] // 2 - size[0]) // stride + 1
                columns = (17 + size[1] // 2 - size[1]) // stride + 1
                y = Tensor("y", (1, rows, columns, channels), DType.INT8, x.quant)
                found.append(one_op(kind, attrs, (x,), y))
    return found


def _elementwise() -> list[Graph]:
    found = []
    rng = np.random.default_rng(2)
    for elements in (15, 16, 17, 31, 32, 100):
        for scale in (0.03, 0.05, 0.4):
            a = activation_tensor(rng, "a", (1, elements), 0.05)
            b = activation_tensor(rng, "b", (1, elements), scale)
            total = activation_tensor(rng, "y", (1, elements), 0.05 + scale)
            product = activation_tensor(rng, "y", (1, elements), 0.05 * scale * 80)
            for activation in (Activation.NONE, Activation.RELU6):
                found.append(one_op(OpKind.ADD, ActivationAttrs(activation), (a, b), total))
                found.append(one_op(OpKind.MUL, ActivationAttrs(activation), (a, b), product))
            found.append(one_op(OpKind.QUANTIZE, NoAttrs(), (a,), b))
    return found
