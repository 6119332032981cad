"""Fit the instruction model of tinyml/report/latency.py to counted instructions.

    python tools/fit_latency.py model.tflite [model.tflite ...]

Every model is built for the emulated mps2-an386 twice, with the DSP kernels and with the portable ones
only, and for mps3-an547 with the Helium kernels, where it fits; each is run once under the instruction
counter. Prints, per operator and instruction set, the instructions per unit of work (latency.work: a
multiply-accumulate, or an element read) and per output element that fit best (non-negative least squares
on relative errors), and how far off the totals are.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from tinyml import boards
from tinyml.build import compile_model, emulated_firmware, open_target
from tinyml.errors import DoesNotFit
from tinyml.kernels.registry import Isa
from tinyml.report.latency import work
from tinyml.run.profile import profile
from tinyml.verify import sample_inputs

BOARD, HELIUM = "mps2-an386", "mps3-an547"


def layers(path: Path, isas: list[Isa]) -> list[tuple[str, str, int, int, int]]:
    """Return (operator, instruction set, work, output elements, instructions) of every layer."""
    board = boards.load(HELIUM if Isa.MVE in isas else BOARD)
    compiled = compile_model(path, board, isa=isas)
    inputs = sample_inputs(path, compiled.graph, data=None, seed=0, index=0)
    with tempfile.TemporaryDirectory() as folder:
        open_target(compiled, Path(folder), toolchain="gcc")
        counted = profile(emulated_firmware(Path(folder), board), board, compiled.graph.name, inputs)
    order = [i for stage in compiled.plan.stages for i in stage.ops]
    found = []
    for index, layer in zip(order, counted.layers, strict=True):
        op, selection = compiled.graph.ops[index], compiled.selections[index]
        assert selection.kernel is not None
        outputs = compiled.graph.tensors[op.outputs[0]].elements
        found.append(
            (
                op.kind.value,
                selection.kernel.isa.value,
                work(compiled.graph, selection),
                outputs,
                layer.instructions,
            )
        )
    return found


def fit(rows: list[tuple[int, int, int]]) -> tuple[float, float]:
    """Fit instructions = a·work + b·outputs with a, b >= 0, minimising relative errors."""
    works, outputs, counted = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    both = np.stack([works, outputs], 1) / counted[:, None]
    best = (np.inf, 0.0, 0.0)
    for columns in ([0, 1], [0], [1]):  # with two unknowns all active sets can be tried
        if not both[:, columns].any():
            continue
        solution = np.linalg.lstsq(both[:, columns], np.ones(len(rows)), rcond=None)[0]
        if (solution < 0).any():
            continue
        error = float(np.square(both[:, columns] @ solution - 1).sum())
        a, b = (float(solution[columns.index(c)]) if c in columns else 0.0 for c in (0, 1))
        best = min(best, (error, a, b))
    return best[1], best[2]


def main() -> None:
    """Fit and print."""
    groups: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for name in sys.argv[1:]:
        for isas in ([Isa.MVE, Isa.DSP, Isa.C], [Isa.DSP, Isa.C], [Isa.C]):
            try:
                counted_layers = layers(Path(name), isas)
            except DoesNotFit as error:
                print(f"{name}: {error}", file=sys.stderr)
                continue
            for op, isa, amount, outputs, counted in counted_layers:
                if (amount, outputs, counted) not in groups[op, isa]:
                    groups[op, isa].append((amount, outputs, counted))
    print(f"{'operator':28}{'isa':6}{'layers':>7}{'per work':>10}{'per output':>12}{'total':>8}")
    for (op, isa), rows in sorted(groups.items()):
        a, b = fit(rows)
        estimated = sum(a * amount + b * outputs for amount, outputs, _ in rows)
        off = estimated / sum(counted for _, _, counted in rows) - 1
        print(f"{op:28}{isa:6}{len(rows):7}{a:10.2f}{b:12.1f}{off:+8.1%}")


if __name__ == "__main__":
    main()
