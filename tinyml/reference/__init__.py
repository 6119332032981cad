"""Runs a graph in numpy, byte for byte as TensorFlow Lite's reference kernels do.

`run` gives every tensor of a network, `run_op` folds constants, and `run_rows` lets the arena
simulator execute operators a few output rows at a time while it poisons everything else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyml.errors import UsageError
from tinyml.graph import Array, Graph
from tinyml.reference.elementwise import add_values
from tinyml.reference.indices import index_ranges
from tinyml.reference.operators import run_op
from tinyml.reference.rows import finish_sums, run_rows

__all__ = ["add_values", "finish_sums", "index_ranges", "run", "run_op", "run_rows"]


def run(
    graph: Graph, inputs: Mapping[int, Array], states: dict[int, Array] | None = None
) -> dict[int, Array]:
    """Run the whole graph.

    Args:
        graph: any graph, before or after passes.
        inputs: one array per tensor of `graph.inputs`, of its shape and dtype.
        states: by tensor, what the network remembers (`Graph.initial_states` at first); afterwards what
            it remembers then. Without, the states before the first inference.

    Returns:
        Every tensor that is not a constant, by index.

    Raises:
        UsageError: an input is missing, or has another shape or dtype.
    """
    values = {tensor: value.copy() for tensor, value in (states or graph.initial_states()).items()}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        if index not in inputs:
            raise UsageError(f"no value for input '{tensor.name}'", expected=f"shape {tensor.shape}")
        value = np.asarray(inputs[index])
        if value.shape != tensor.shape or value.dtype != np.dtype(tensor.dtype.value):
            raise UsageError(
                f"wrong value for input '{tensor.name}'",
                expected=f"expected {tensor.dtype.value} {tensor.shape}, "
                f"received {value.dtype} {value.shape}",
            )
        values[index] = value
    for op in graph.ops:
        values[op.outputs[0]] = run_op(graph, op, values)
    if states is not None:
        states.update({state.tensor: values[state.result] for state in graph.states})
    return values
