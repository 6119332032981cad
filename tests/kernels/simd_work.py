"""Many graphs put to their SIMD kernels at once: inputs, numpy's outputs, cases apart and in place."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from tests.kernels.harness import Array, Case, overlaps
from tests.kernels.kernel_cases import case_for, has_reference, inputs_for, reference_case
from tinyml import reference
from tinyml.graph import Graph
from tinyml.kernels.registry import Kernel, OpContext


@dataclasses.dataclass(frozen=True)
class Work:
    """Graphs with inputs, what numpy makes of them, and the cases that run them: apart, in place, `_ref`."""

    names: tuple[str, ...]
    expected: tuple[Array, ...]
    apart: tuple[Case, ...]
    in_place: tuple[Case, ...]
    by_ref: tuple[Case, ...]

    @property
    def both(self) -> tuple[Case, ...]:
        """The cases apart, then those in place: one start of an emulator for all."""
        return (*self.apart, *self.in_place)

    def check_both(self, outputs: Sequence[Array]) -> None:
        for half in (outputs[: len(self.apart)], outputs[len(self.apart) :]):
            self.check(half)

    def parts(self, n: int) -> list[Work]:
        """Return the work of n programs: every shape specialised without optimisation overfills a board."""
        return [
            Work(*(getattr(self, field.name)[i::n] for field in dataclasses.fields(self))) for i in range(n)
        ]

    def check(self, outputs: Sequence[Array]) -> None:
        wrong = [
            name
            for name, expected, output in zip(self.names, self.expected, outputs, strict=True)
            if not np.array_equal(expected, output)
        ]
        assert wrong == []


def work_for(pairs: Sequence[tuple[Kernel, Graph]]) -> Work:
    """Draw inputs for each graph, and put it to its kernel."""
    names, expected, apart, in_place, by_ref = [], [], [], [], []
    for kernel, graph in pairs:
        op = graph.ops[0]
        rng = np.random.default_rng(zlib.crc32(repr(op).encode()))
        inputs = inputs_for(graph, rng)
        case = case_for(kernel, graph, inputs)
        shapes = [graph.tensors[i].shape for i in (*op.inputs[:2], *op.outputs)]
        names.append(f"{kernel.symbol} {shapes} {op.attrs}")
        activations = OpContext(graph, op).activation_inputs
        expected.append(reference.run_op(graph, op, dict(zip(activations, inputs, strict=True))))
        apart.append(case)
        shared = overlaps(case.lowered.access, 4)
        in_place.append(dataclasses.replace(case, overlap=shared[len(names) % len(shared)]))
        by_ref.append(reference_case(graph, inputs) if has_reference(graph) else case)
    return Work(tuple(names), tuple(expected), tuple(apart), tuple(in_place), tuple(by_ref))


def accepted(kernel: Kernel, graphs: Sequence[Graph]) -> list[tuple[Kernel, Graph]]:
    """Return the graphs that the kernel accepts, each beside it."""
    return [
        (kernel, graph)
        for graph in graphs
        if graph.ops[0].kind is kernel.op and not kernel.refusals(OpContext(graph, graph.ops[0]))
    ]
