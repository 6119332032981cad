"""Counts what the portable kernels execute on small cores beside the best that GCC makes of plain loops.

Run as a program (`python -m tests.kernels.count_portable`) it prints the table; test_portable_counts.py
asserts that no kernel takes more than twice the best. The cores are an emulated Cortex-M0 and RV32IMC, the
plain loops those of plain.h, compiled with each of PLAIN. Both sides have every shape as a literal, and all
that they call is counted.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.kernels.count_dsp import build_plugin, depthwise
from tests.kernels.counted_calls import count_calls
from tests.kernels.dsp_cases import SAME3, conv_graph, dense_graph
from tests.kernels.harness import Case
from tests.kernels.kernel_cases import (
    activation_tensor,
    case_for,
    inputs_for,
    one_op,
    per_tensor,
    random_int8,
)
from tinyml.graph import (
    ActivationAttrs,
    Attrs,
    DType,
    Graph,
    NoAttrs,
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
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, OpContext

CORES = ("cortex-m0", "rv32imc")
SHIPPED = "-O2"  # what generated projects are compiled with
PLAIN = ("-O3", "-O2", "-Os")


@dataclass(frozen=True, slots=True)
class Pair:
    """A kernel's call, and the same operator as plain loops."""

    name: str
    kernel: Case
    plain: Case


@dataclass(frozen=True, slots=True)
class Count:
    """Executed instructions of a kernel and of the plain loops, by the option these were compiled with."""

    name: str
    symbol: str
    kernel: int
    plain: dict[str, int]

    @property
    def ratio(self) -> float:
        """Of the kernel to the best of the plain loops."""
        return self.kernel / min(self.plain.values())


def pairs() -> list[Pair]:
    """Return calls of every portable kernel, of shapes such as small networks have."""
    image = (1, 10, 10, 16)
    channels = (1, 1, 1, 16)

    def conv(height: int, width: int, in_c: int, out_c: int, **geometry: object) -> Graph:
        return conv_graph(in_shape=(height, width, in_c), out_c=out_c, **geometry)  # type: ignore[arg-type]

    def pool(kind: OpKind, size: int, stride: int, pads: Pads | None = None) -> Graph:
        side = (10 + (pads.top + pads.bottom if pads else 0) - size) // stride + 1
        x = _tensor("x", image)
        y = Tensor("y", (1, side, side, 16), DType.INT8, x.quant)
        return one_op(kind, WindowAttrs(size, size, stride, stride, pads=pads or Pads()), (x,), y)

    three = dict(kernel=(3, 3), pads=SAME3)
    stem = dict(kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1))
    found = [
        _pair("conv 3x3 10x10x16 -> 16", "tm_conv2d_s8_c", conv(10, 10, 16, 16, **three)),
        _pair("conv 3x3 s2 16x16x3 -> 8", "tm_conv2d_s8_c", conv(16, 16, 3, 8, **stem)),
        _pair(
            "conv 10x4 s2 25x10x1 -> 16",
            "tm_conv2d_s8_c",
            conv(25, 10, 1, 16, kernel=(10, 4), stride=(2, 2), pads=Pads(4, 1, 5, 1)),
        ),
        _pair(
            "conv 3x3 d2 10x10x8 -> 8",
            "tm_conv2d_s8_c",
            conv(10, 10, 8, 8, kernel=(3, 3), dilation=(2, 2), pads=Pads(2, 2, 2, 2)),
        ),
        _pair("conv 1x1 10x10x24 -> 16", "tm_conv2d_1x1_s8_c", conv(10, 10, 24, 16)),
        _pair("conv 1x1 10x10x8 -> 16", "tm_conv2d_1x1_s8_c", conv(10, 10, 8, 16)),
        _pair("dw 3x3 10x10x16", "tm_dwconv2d_s8_c", depthwise(10, 10, 16, 3)),
        _pair("dw 3x3 s2 10x10x16", "tm_dwconv2d_s8_c", depthwise(10, 10, 16, 3, 2)),
        _pair("dw 5x5 5x5x16", "tm_dwconv2d_s8_c", depthwise(5, 5, 16, 5)),
        _pair("dw 3x3 x2 10x10x8", "tm_dwconv2d_s8_c", depthwise(10, 10, 8, 3, multiplier=2)),
        _pair("fc 128 -> 32", "tm_fully_connected_s8_c", dense_graph(in_c=128, out_c=32)),
        _pair(
            "fc 128 -> 32, a scale per output",
            "tm_fully_connected_perchannel_s8_c",
            dense_graph(in_c=128, out_c=32, per_output=True),
        ),
        _pair("average pool 2x2", "tm_avg_pool2d_s8_c", pool(OpKind.AVERAGE_POOL_2D, 2, 2)),
        _pair("average pool 3x3, padded", "tm_avg_pool2d_s8_c", pool(OpKind.AVERAGE_POOL_2D, 3, 1, SAME3)),
        _pair("average pool 10x10", "tm_avg_pool2d_s8_c", pool(OpKind.AVERAGE_POOL_2D, 10, 10)),
        _pair("max pool 2x2", "tm_max_pool2d_s8_c", pool(OpKind.MAX_POOL_2D, 2, 2)),
        _pair("max pool 3x3, padded", "tm_max_pool2d_s8_c", pool(OpKind.MAX_POOL_2D, 3, 1, SAME3)),
        _pair(
            "mean of 10x10",
            "tm_mean_s8_c",
            one_op(OpKind.MEAN, ReduceAttrs((1, 2), True), (_tensor("x", image),), _tensor("y", channels)),
            count=100,
            inner=16,
        ),
        _pair(
            "mean of 10x1",
            "tm_mean_s8_c",
            one_op(
                OpKind.MEAN,
                ReduceAttrs((1,), True),
                (_tensor("x", (1, 10, 16, 4)),),
                _tensor("y", (1, 1, 16, 4)),
            ),
            count=10,
            inner=64,
        ),
        _pair("pad 1", "tm_pad_s8_c", _pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))),
        _pair("pad channels", "tm_pad_s8_c", _pad(image, ((0, 0), (0, 0), (0, 0), (4, 4)))),
        _pair(
            "pad 3 dimensions",
            "tm_pad_nd_s8_c",
            _pad((10, 10, 16), ((1, 1), (1, 1), (0, 0))),
            **dict(
                in_0=10, in_1=10, in_2=16, before_0=1, before_1=1, before_2=0, out_0=12, out_1=12, out_2=16
            ),
        ),
        _pair(
            "transpose 100x16",
            "tm_strided_copy_c",
            _view(OpKind.TRANSPOSE, TransposeAttrs((0, 2, 1)), (1, 100, 16), (1, 16, 100)),
            plain="plain_transpose",
            rows=100,
            columns=16,
        ),
        _pair(
            "resize 5x5x16 to 10x10",
            "tm_resize_nearest_s8_c",
            _view(OpKind.RESIZE_NEAREST_NEIGHBOR, ResizeAttrs(False, False), (1, 5, 5, 16), image),
        ),
        _pair(
            "softmax of 12",
            "tm_softmax_s8_c",
            one_op(
                OpKind.SOFTMAX,
                SoftmaxAttrs(1.0),
                (_tensor("x", (1, 12), 0.1),),
                Tensor("y", (1, 12), DType.INT8, per_tensor(1 / 256, -128)),
            ),
        ),
        _pair("requantise", "tm_requantize_s8_c", _unary(_tensor("x", image), _tensor("y", image, 0.07))),
        _pair(
            "quantise", "tm_quantize_f32_s8_c", _unary(Tensor("x", image, DType.FLOAT32), _tensor("y", image))
        ),
        _pair(
            "dequantise",
            "tm_dequantize_s8_f32_c",
            _unary(_tensor("x", image), Tensor("y", image, DType.FLOAT32), OpKind.DEQUANTIZE),
        ),
    ]
    sizes = {"outer": 1, "inner": 1600}
    repeated = {"outer": 100, "inner": 16}
    for kind, name in ((OpKind.ADD, "add"), (OpKind.MUL, "mul")):
        x, same = _tensor("x", image), _tensor("z", image, 0.03)
        factors = _tensor("z", channels, 0.03)
        constant = dataclasses.replace(factors, data=random_int8(np.random.default_rng(1), channels))
        y = _tensor("y", image, 0.08 if kind is OpKind.ADD else 0.05 * 0.03 * 80)
        for what, symbol, operand, shape in (
            ("", f"tm_{name}_s8_c", same, sizes),
            (", one per channel", f"tm_{name}_broadcast_s8_c", factors, repeated),
            (", a constant per channel", f"tm_{name}_const_s8_c", constant, repeated),
        ):
            graph = one_op(kind, ActivationAttrs(), (x, operand), y)
            plain = f"plain_{name}_const" if operand is constant else f"plain_{name}"
            found.append(_pair(name + what, symbol, graph, plain, **shape))
    return found


def _tensor(name: str, shape: tuple[int, ...], scale: float = 0.05) -> Tensor:
    return Tensor(name, shape, DType.INT8, Quant((float(np.float32(scale)),), (-3,)))


def _unary(x: Tensor, y: Tensor, kind: OpKind = OpKind.QUANTIZE) -> Graph:
    return one_op(kind, NoAttrs(), (x,), y)


def _view(kind: OpKind, attrs: Attrs, shape: tuple[int, ...], out: tuple[int, ...]) -> Graph:
    x = activation_tensor(np.random.default_rng(0), "x", shape, 0.05)
    return one_op(kind, attrs, (x,), Tensor("y", out, DType.INT8, x.quant))


def _pad(shape: tuple[int, ...], paddings: tuple[tuple[int, int], ...]) -> Graph:
    out = tuple(dim + sum(both) for dim, both in zip(shape, paddings, strict=True))
    return _view(OpKind.PAD, PadAttrs(paddings), shape, out)


# What plain loops have as literals of their own: constants, and literals.
_GEOMETRY = ("kept", "reduced", "geometry")
_SIZES = ("elements", "element_bytes", "start", "out_elements", "reduced_runs")


def _pair(name: str, symbol: str, graph: Graph, plain: str = "", **sizes: int) -> Pair:
    """Return the pair; `sizes` are the plain loops' literals in place of a geometry or number of elements."""
    kernel = next(k for k in KERNELS if (k.symbol, k.op) == (symbol, graph.ops[0].kind))
    context = OpContext(graph, graph.ops[0])
    assert kernel.isa is Isa.C
    assert not kernel.refusals(context), f"{symbol} refuses {name}"
    inputs = inputs_for(graph, np.random.default_rng(0))
    if graph.ops[0].kind is OpKind.QUANTIZE and inputs[0].dtype == np.float32:
        inputs = (np.clip(inputs[0], -9, 9),)
    case = case_for(kernel, graph, inputs)
    low = case.lowered
    literals = [(key, value) for key, value in low.literals if not (sizes and key in _SIZES)]
    lowered = dataclasses.replace(
        low,
        constants=tuple(c for c in low.constants if c.name not in _GEOMETRY),
        literals=(*sizes.items(), *literals),
    )
    plain = plain or symbol.removesuffix("_c").replace("_s8", "").replace("tm_", "plain_")
    return Pair(name, case, dataclasses.replace(case, symbol=plain, header="plain.h", lowered=lowered))


def count(core: str, plugin: Path, folder: Path) -> list[Count]:
    """Return what every pair executes on a core; raises AssertionError where the outputs differ."""
    every = pairs()
    kernels = count_calls([pair.kernel for pair in every], core, plugin, folder, SHIPPED)
    plain: dict[str, tuple[int, ...]] = {}
    for option in PLAIN:
        obvious = count_calls([pair.plain for pair in every], core, plugin, folder, option)
        plain[option] = obvious.instructions
        outputs = zip(every, kernels.outputs, obvious.outputs, strict=True)
        wrong = [pair.name for pair, a, b in outputs if not np.array_equal(a, b)]
        assert wrong == [], f"{option}: plain loops compute something else: {wrong}"
    return [
        Count(pair.name, pair.kernel.symbol, executed, {option: plain[option][i] for option in PLAIN})
        for i, (pair, executed) in enumerate(zip(every, kernels.instructions, strict=True))
    ]


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = build_plugin(folder)
        for core in CORES:
            print(f"{core}\n| operator | kernel | instructions | plain {' | '.join(PLAIN)} | of the best |")
            print("|---|---|---:|" + "---:|" * len(PLAIN) + "---:|")
            for one in count(core, plugin, folder):
                plain = " | ".join(f"{one.plain[option]:,}" for option in PLAIN)
                print(f"| {one.name} | {one.symbol} | {one.kernel:,} | {plain} | {one.ratio:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
