"""Counts the instructions that the Helium kernels execute on the emulated M55, per unit of work.

Run as a program it prints the table; test_mve_counts.py asserts the upper bounds. As count_dsp.py otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.kernels.count_dsp import build_plugin, count, depthwise, first_case
from tests.kernels.dsp_cases import SAME3, conv_graph, dense_graph
from tests.kernels.harness import Case
from tests.kernels.kernel_cases import activation_tensor, one_op
from tinyml.graph import ActivationAttrs, DType, Graph, OpKind, Pads, Tensor, WindowAttrs
from tinyml.kernels.mve import KERNELS


@dataclass(frozen=True, slots=True)
class Shape:
    """One measured shape, and the most instructions it may take per unit of work."""

    name: str
    graph: Graph
    bound: float

    def case(self) -> Case:
        """Return the case that the first Helium kernel to accept the operator runs."""
        return first_case(self.graph, KERNELS)


def work(case: Case) -> int:
    """Return the multiply-accumulates of a case, or its outputs where it has none."""
    return case.lowered.macs or case.output_bytes


def shapes() -> list[Shape]:
    """Return shapes such as real networks have, and what they may cost."""

    def pointwise(height: int, width: int, in_c: int, out_c: int) -> Graph:
        return conv_graph(in_shape=(height, width, in_c), out_c=out_c)

    def conv3x3(side: int, in_c: int, out_c: int) -> Graph:
        return conv_graph(in_shape=(side, side, in_c), out_c=out_c, kernel=(3, 3), pads=SAME3)

    stem = conv_graph(in_shape=(32, 32, 3), out_c=16, kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1))
    spectrogram = conv_graph(
        in_shape=(49, 10, 1), out_c=64, kernel=(10, 4), stride=(2, 2), pads=Pads(4, 1, 5, 1)
    )
    return [
        Shape("1x1 25x5x64 -> 64", pointwise(25, 5, 64, 64), 0.165),
        Shape("1x1 24x24x16 -> 32", pointwise(24, 24, 16, 32), 0.23),
        Shape("1x1 48x48x8 -> 16", pointwise(48, 48, 8, 16), 0.477),
        Shape("1x1 10x10x24 -> 144", pointwise(10, 10, 24, 144), 0.271),
        Shape("1x1 10x10x144 -> 24", pointwise(10, 10, 144, 24), 0.141),
        Shape("1x1 6x6x128 -> 128", pointwise(6, 6, 128, 128), 0.136),
        Shape("3x3 32x32x16 -> 16", conv3x3(32, 16, 16), 0.171),
        Shape("3x3 8x8x64 -> 64", conv3x3(8, 64, 64), 0.128),
        Shape("3x3 s2 32x32x3 -> 16", stem, 0.337),
        Shape("10x4 s2 49x10x1 -> 64", spectrogram, 0.261),
        Shape("dw 3x3 25x5x64", depthwise(25, 5, 64, 3), 1.13),
        Shape("dw 3x3 20x20x48", depthwise(20, 20, 48, 3), 0.588),
        Shape("dw 3x3 6x6x128", depthwise(6, 6, 128, 3), 0.938),
        Shape("dw 3x3 s2 48x48x16", depthwise(48, 48, 16, 3, 2), 0.799),
        Shape("dw 5x5 10x10x120", depthwise(10, 10, 120, 5), 0.785),
        Shape("dw 7x7 20x20x48 s2", depthwise(20, 20, 48, 7, 2), 0.438),
        Shape("dw 9x9 20x20x16", depthwise(20, 20, 16, 9), 2.0),
        Shape("fc 640 -> 128", dense_graph(in_c=640, out_c=128), 0.18),
        Shape("fc 128 -> 128", dense_graph(in_c=128, out_c=128), 0.255),
        Shape("add 32x32x16", _binary(OpKind.ADD), 4.45),
        Shape("mul 32x32x16", _binary(OpKind.MUL), 2.64),
        Shape("average pool 2x2 24x24x32", _pooling(OpKind.AVERAGE_POOL_2D), 7.31),
        Shape("max pool 2x2 24x24x32", _pooling(OpKind.MAX_POOL_2D), 2.51),
    ]


def _binary(kind: OpKind) -> Graph:
    rng = np.random.default_rng(0)
    shape = (1, 32, 32, 16)
    operands = (activation_tensor(rng, "a", shape, 0.05), activation_tensor(rng, "b", shape, 0.03))
    return one_op(kind, ActivationAttrs(), operands, activation_tensor(rng, "y", shape, 0.08))


def _pooling(kind: OpKind) -> Graph:
    x = activation_tensor(np.random.default_rng(0), "x", (1, 24, 24, 32), 0.05)
    y = Tensor("y", (1, 12, 12, 32), DType.INT8, x.quant)
    return one_op(kind, WindowAttrs(2, 2, 2, 2), (x,), y)


def measure(shape: Shape, plugin: Path, folder: Path) -> tuple[int, int]:
    """Return the instructions of one run on the emulated Cortex-M55, and the bytes of its code."""
    return count(shape.case(), plugin, folder, core="cortex-m55")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = build_plugin(folder)
        print("| shape | MACs or outputs | instructions | of each | code B | scratch B |")
        print("|---|---|---|---|---|---|")
        for shape in shapes():
            case = shape.case()
            instructions, code = measure(shape, plugin, folder)
            print(
                f"| {shape.name} | {work(case)} | {instructions} | {instructions / work(case):.3f} | {code} "
                f"| {case.lowered.scratch_bytes} |",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
