"""Counts the instructions that the DSP kernels execute on the emulated M4, per multiply-accumulate.

Run as a program it prints the table; test_dsp_counts.py asserts the upper bounds. The counts are
those of the TCG plugin in runtime_c/qemu_plugin: the whole kernel, specialised as in generated code,
with all that it calls.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.kernels.dsp_cases import SAME3, conv_graph, dense_graph
from tests.kernels.harness import ROOT, SEMIHOSTING_SOURCES, Case, Program, board_compiler, board_runner
from tests.kernels.kernel_cases import case_for, inputs_for
from tests.kernels.wide_cases import widened
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Attrs,
    DType,
    Graph,
    MatmulAttrs,
    Op,
    OpKind,
    Pads,
    Quant,
    ReduceAttrs,
    Tensor,
    WindowAttrs,
)
from tinyml.kernels import dsp_wide, matmul, transpose_conv
from tinyml.kernels.dsp import KERNELS
from tinyml.kernels.registry import Kernel, OpContext

ALL_KERNELS = (*KERNELS, *dsp_wide.KERNELS, *matmul.DSP_KERNELS, *transpose_conv.DSP_KERNELS)


@dataclass(frozen=True, slots=True)
class Shape:
    """One measured shape and the most instructions per multiply-accumulate it may take."""

    name: str
    graph: Graph
    bound: float
    bound_without_asm: float

    def case(self) -> Case:
        """Return the case that the first DSP kernel to accept the operator runs."""
        return first_case(self.graph, ALL_KERNELS)


def first_case(graph: Graph, kernels: Sequence[Kernel]) -> Case:
    """Return the case that the first kernel to accept the operator runs."""
    context = OpContext(graph, graph.ops[0])
    kernel = next(k for k in kernels if k.op is context.op.kind and not k.refusals(context))
    return case_for(kernel, graph, inputs_for(graph, np.random.default_rng(0)))


def depthwise(
    height: int,
    width: int,
    channels: int,
    k: int,
    stride: int = 1,
    dilation: int = 1,
    multiplier: int = 1,
    **more: Any,
) -> Graph:
    """Return a k x k depthwise convolution with padding all around."""
    return conv_graph(
        in_shape=(height, width, channels),
        out_c=channels * multiplier,
        kernel=(k, k),
        stride=(stride, stride),
        dilation=(dilation, dilation),
        pads=Pads(*[k // 2 * dilation] * 4),
        depthwise=True,
        **more,
    )


def shapes() -> list[Shape]:
    """Return shapes such as real networks have, and what they may cost with and without assembly."""

    def pointwise(height: int, width: int, in_c: int, out_c: int, **more: Any) -> Graph:
        return conv_graph(in_shape=(height, width, in_c), out_c=out_c, **more)

    def conv3x3(side: int, in_c: int, out_c: int) -> Graph:
        return conv_graph(in_shape=(side, side, in_c), out_c=out_c, kernel=(3, 3), pads=SAME3)

    def product(rows: int, depth: int, columns: int, adj_y: bool) -> Graph:
        quant = Quant((0.02,), (-3,))
        right = (4, columns, depth) if adj_y else (4, depth, columns)
        return Graph(
            "one",
            (
                Tensor("a", (4, rows, depth), DType.INT8, quant),
                Tensor("b", right, DType.INT8, quant),
                Tensor("y", (4, rows, columns), DType.INT8, Quant((0.3,), (5,))),
            ),
            (Op(OpKind.BATCH_MATMUL, (0, 1), (2,), MatmulAttrs(adj_y=adj_y)),),
            (0, 1),
            (2,),
        )

    def upsampled(side: int, in_c: int, out_c: int, kernel: int) -> Graph:
        graph = conv_graph(in_shape=(side, side, in_c), out_c=out_c, kernel=(kernel, kernel), pads=SAME3)
        attrs = WindowAttrs(kernel, kernel, 2, 2, pads=Pads((kernel - 2) // 2, (kernel - 2) // 2))
        (op,) = graph.ops
        *tensors, y = graph.tensors
        y = replace(y, shape=(1, 2 * side, 2 * side, out_c))
        op = replace(op, kind=OpKind.TRANSPOSE_CONV, attrs=attrs)
        return graph.replace(tensors=(*tensors, y), ops=(op,))

    # one rounding is enough
    relu = {"activation": Activation.RELU, "zero_points": (-3, -128)}
    one_row = conv_graph(in_shape=(3, 20, 48), out_c=48, kernel=(3, 3), pads=Pads(0, 1, 0, 1), depthwise=True)
    stem = conv_graph(in_shape=(32, 32, 3), out_c=16, kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1))
    spectrogram = conv_graph(
        in_shape=(49, 10, 1), out_c=64, kernel=(10, 4), stride=(2, 2), pads=Pads(4, 1, 5, 1)
    )
    return [
        Shape("1x1 25x5x64 -> 64", pointwise(25, 5, 64, 64), 0.87, 1.3),
        Shape("1x1 25x5x64 -> 64 relu", pointwise(25, 5, 64, 64, **relu), 0.84, 1.25),
        Shape("1x1 10x10x16 -> 48 relu", pointwise(10, 10, 16, 48, **relu), 1.14, 1.63),
        Shape("dw 3x3 25x5x64 relu", depthwise(25, 5, 64, 3, **relu), 2.1, 4.2),
        Shape("dw 3x3 20x20x48 relu", depthwise(20, 20, 48, 3, **relu), 1.77, 3.9),
        Shape("dw 3x3 s2 48x48x8 relu", depthwise(48, 48, 8, 3, 2, **relu), 2.62, 4.8),
        Shape("dw 5x5 20x20x8 relu", depthwise(20, 20, 8, 5, **relu), 1.38, 2.7),
        Shape("dw 3x3 one row 20x48", one_row, 2.34, 4.9),
        Shape("1x1 10x10x16 -> 48", pointwise(10, 10, 16, 48), 1.24, 1.7),
        Shape("1x1 10x10x24 -> 144", pointwise(10, 10, 24, 144), 1.07, 1.82),
        Shape("1x1 10x10x144 -> 24", pointwise(10, 10, 144, 24), 0.84, 1.25),
        Shape("1x1 3x3x128 -> 128", pointwise(3, 3, 128, 128), 0.8, 1.17),
        Shape("3x3 16x16x16 -> 16", conv3x3(16, 16, 16), 0.91, 1.39),
        Shape("3x3 8x8x64 -> 64", conv3x3(8, 64, 64), 0.8, 1.17),
        Shape("3x3 s2 32x32x3 -> 16", stem, 1.25, 2.1),
        Shape("10x4 s2 49x10x1 -> 64", spectrogram, 1.13, 1.58),
        Shape("dw 3x3 25x5x64", depthwise(25, 5, 64, 3), 2.24, 4.4),
        Shape("dw 3x3 20x20x48", depthwise(20, 20, 48, 3), 1.91, 4.1),
        Shape("dw 3x3 48x48x8", depthwise(48, 48, 8, 3), 1.86, 4.05),
        Shape("dw 3x3 s2 48x48x8", depthwise(48, 48, 8, 3, 2), 2.76, 5.0),
        Shape("dw 5x5 20x20x8", depthwise(20, 20, 8, 5), 1.43, 2.7),
        Shape("dw 7x7 20x20x8", depthwise(20, 20, 8, 7), 1.11, 2.0),
        Shape("dw 5x5 s2 20x20x8", depthwise(20, 20, 8, 5, 2), 1.87, 3.0),
        Shape("dw 7x7 s2 20x20x8", depthwise(20, 20, 8, 7, 2), 1.46, 2.2),
        Shape("dw 5x5 7x7x96", depthwise(7, 7, 96, 5), 1.88, 3.3),
        Shape("dw 3x3 s3 21x21x16", depthwise(21, 21, 16, 3, 3), 7.6, 8.1),
        Shape("dw 3x3 d2 20x20x16", depthwise(20, 20, 16, 3, 1, 2), 4.8, 5.0),
        Shape("dw 3x3 x2 20x20x16", depthwise(20, 20, 16, 3, multiplier=2), 3.9, 4.05),
        Shape("fc 640 -> 128", dense_graph(in_c=640, out_c=128), 1.04, 1.42),
        Shape("fc 128 -> 128", dense_graph(in_c=128, out_c=128), 1.09, 1.53),
        Shape("fc 64 rows 128 -> 128", dense_graph(batches=64, in_c=128, out_c=128), 0.8, 1.2),
        Shape("matmul 4x 64x32 by 32x64, adj_y", product(64, 32, 64, True), 1.23, 2.0),
        Shape("matmul 4x 64x64 by 64x32", product(64, 64, 32, False), 1.11, 1.6),
        Shape("tconv 2x2 s2 16x16x32 -> 32", upsampled(16, 32, 32, 2), 1.04, 1.75),
        Shape("tconv 4x4 s2 16x16x32 -> 16", upsampled(16, 32, 16, 4), 0.9, 1.45),
    ]


def wide_shapes() -> list[Shape]:
    """Return the same of int16 activations."""

    def wide(name: str, graph: Graph, bound: float, bound_without_asm: float) -> Shape:
        graph = widened(lambda _: graph, far_biases=0.0)(np.random.default_rng(1))
        return Shape(name, graph, bound, bound_without_asm)

    relu = {"activation": Activation.RELU}
    conv3x3 = {"kernel": (3, 3), "pads": SAME3}
    stem = conv_graph(in_shape=(32, 32, 3), out_c=16, kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1))
    graphs = {shape.name: shape.graph for shape in shapes()}
    tconv2x2, tconv4x4 = "tconv 2x2 s2 16x16x32 -> 32", "tconv 4x4 s2 16x16x32 -> 16"
    long = conv_graph(in_shape=(8, 8, 256), out_c=16, seed=3, **conv3x3)
    return [
        wide("1x1 25x5x64 -> 64", conv_graph(in_shape=(25, 5, 64), out_c=64), 0.91, 1.3),
        wide("1x1 10x10x16 -> 48 relu", conv_graph(in_shape=(10, 10, 16), out_c=48, **relu), 1.14, 1.52),
        wide("1x1 10x10x144 -> 24", conv_graph(in_shape=(10, 10, 144), out_c=24), 0.9, 1.28),
        wide("3x3 16x16x16 -> 16", conv_graph(in_shape=(16, 16, 16), out_c=16, **conv3x3), 1.04, 1.46),
        wide("3x3 s2 32x32x3 -> 16", stem, 1.37, 2.12),
        wide("3x3 8x8x256 -> 16, sums of 64 bits", long, 1.23, 1.75),
        wide("dw 3x3 20x20x48", depthwise(20, 20, 48, 3), 2.43, 3.4),
        wide("dw 3x3 48x48x8", depthwise(48, 48, 8, 3), 2.29, 3.23),
        wide("dw 3x3 s2 48x48x8", depthwise(48, 48, 8, 3, 2), 2.9, 4.5),
        wide("dw 3x3 25x5x64", depthwise(25, 5, 64, 3), 3.42, 4.42),
        wide("dw 5x5 20x20x8", depthwise(20, 20, 8, 5), 2.5, 2.5),
        wide("dw 3x3 d2 20x20x16", depthwise(20, 20, 16, 3, 1, 2), 3.48, 3.48),
        wide(tconv2x2, graphs[tconv2x2], 1.06, 1.5),
        wide(tconv4x4, graphs[tconv4x4], 0.99, 1.5),
        wide("fc 640 -> 128", dense_graph(in_c=640, out_c=128), 0.99, 1.42),
        wide("fc 128 -> 128", dense_graph(in_c=128, out_c=128), 1.07, 1.54),
    ]


def elementwise_cases() -> dict[str, Case]:
    """Return cases of ADD, MUL and MEAN on 20x20x48, by the kernel that runs them."""
    shape = (1, 20, 20, 48)

    def tensor(name: str, dims: tuple[int, ...], scale: float) -> Tensor:
        return Tensor(name, dims, DType.INT8, Quant((scale,), (-3,)))

    def wide(name: str, scale: float) -> Tensor:
        return Tensor(name, shape, DType.INT16, Quant((scale,), (0,)))

    def graph(kind: OpKind, attrs: Attrs, *tensors: Tensor) -> Graph:
        inputs = tuple(range(len(tensors) - 1))
        output = (len(inputs),)
        return Graph("case", tensors, (Op(kind, inputs, output, attrs),), inputs, output)

    x, none = tensor("x", shape, 0.02137), ActivationAttrs()
    graphs = (
        graph(OpKind.ADD, none, x, tensor("z", shape, 0.03391), tensor("y", shape, 0.05173)),
        graph(OpKind.MUL, none, x, tensor("z", (1, 1, 1, 48), 0.004), tensor("y", shape, 0.02)),
        graph(OpKind.MEAN, ReduceAttrs((1, 2), True), x, tensor("y", (1, 1, 1, 48), 0.02)),
        graph(OpKind.ADD, none, wide("x", 2.137e-4), wide("z", 3.391e-4), wide("y", 5.173e-4)),
        graph(OpKind.MUL, none, wide("x", 2.137e-4), wide("z", 3.391e-4), wide("y", 3e-4)),
    )
    cases = [first_case(each, ALL_KERNELS) for each in graphs]
    return {case.symbol: case for case in cases}


def build_plugin(folder: Path) -> Path:
    """Compile the counting plugin and return it."""
    plugin = folder / "tm_profile.so"
    source = ROOT / "runtime_c/qemu_plugin/tm_profile.c"
    command = ["gcc", "-std=c11", "-O2", "-shared", "-fPIC", str(source), "-o", str(plugin)]
    subprocess.run(command, check=True)
    return plugin


def count(case: Case, plugin: Path, folder: Path, *flags: str, core: str = "cortex-m4") -> tuple[int, int]:
    """Return the instructions that one run of the case executes, and the bytes of its code."""
    compiler = board_compiler(core, "-O2", *flags)
    program = Program(folder, [case], compiler=compiler, sources=SEMIHOSTING_SOURCES, specialise=True)
    symbols = subprocess.run(
        ["arm-none-eabi-nm", "-S", str(program.program)], capture_output=True, text=True, check=True
    ).stdout
    # the kernel's own functions and its wrapper; a symbol's lowest bit is the Thumb state
    functions = [
        (int(at, 16) & ~1, int(size, 16), name)
        for at, size, name in re.findall(r"^(\w+) (\w+) [tT] (\S+)$", symbols, re.MULTILINE)
        if re.match(r"call_0(\.|$)|tm_", name)
    ]
    ranges, out = folder / "ranges", folder / "counts"
    ranges.write_text("".join(f"{at:x} {at + size:x} other {name}\n" for at, size, name in functions))
    out.unlink(missing_ok=True)
    program.run([case], board_runner(core, "-plugin", f"{plugin},out={out},ranges={ranges}"))
    executed = {
        name: int(n) for n, name in re.findall(r"^function (\d+) (\S+)$", out.read_text(), re.MULTILINE)
    }
    assert any(name.startswith("call_0") for name in executed), "the kernel was inlined into its caller"
    return sum(n for name, n in executed.items() if name != "-"), sum(size for _, size, _ in functions)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = build_plugin(folder)
        print("| shape | MACs | instructions | per MAC | in C, per MAC | code B | scratch B |")
        print("|---|---|---|---|---|---|---|")
        for shape in (*shapes(), *wide_shapes()):
            case = shape.case()
            macs = case.lowered.macs
            instructions, code = count(case, plugin, folder)
            in_c, _ = count(case, plugin, folder, "-DTM_NO_ASM")
            print(
                f"| {shape.name} | {macs} | {instructions} | {instructions / macs:.3f} | {in_c / macs:.3f} "
                f"| {code} | {case.lowered.scratch_bytes} |"
            )


if __name__ == "__main__":
    sys.exit(main())
