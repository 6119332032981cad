"""Rewrites between reader and planner: one per file, in this order, none changing an output byte.

0.  `rewrite_loops`      a loop's body goes through the passes; floats at its edges become int8
1.  `strip_edges`        float inputs and outputs become int8 (only for int8 edges)
2.  `fold_constants`     operators on constants become constants
3.  `fold_batches`       convolutions between SPACE_TO_BATCH_ND and its inverse become dilated ones
4.  `quantise_islands`   floats that are only moved between DEQUANTIZE and QUANTIZE become int8
5.  `fuse_lookups`       functions of one int8 value become one table
6.  `fuse_activations`   tables that only clamp become the clamp of the layer before
7.  `cancel_transposes`  inverse pairs vanish, others sink below MEAN or become views
8.  `remove_noops`       RESHAPE, QUANTIZE and PAD that change nothing
9.  `fold_padding`       PAD joins the pads of the convolutions that read it
10. `remove_unused`      what no output needs, and gaps in the tensor table
11. `fold_channels`      constant channels go into biases, channels without a reader go

Activations that the file has fused and input offsets need no pass: the reader leaves them in the operators
and `numerics.folded_bias` folds offsets when an operator is lowered. Two MEANs in a row stay two,
because each one rounds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

from tinyml.errors import ModelError
from tinyml.graph import Graph
from tinyml.passes.cancel_transposes import cancel_transposes
from tinyml.passes.fold_batches import fold_batches
from tinyml.passes.fold_channels import fold_channels
from tinyml.passes.fold_constants import fold_constants
from tinyml.passes.fold_padding import fold_padding
from tinyml.passes.fuse_activations import fuse_activations
from tinyml.passes.fuse_lookups import fuse_lookups
from tinyml.passes.loops import rewrite_loops
from tinyml.passes.quantise_islands import quantise_islands
from tinyml.passes.remove_noops import remove_noops
from tinyml.passes.remove_unused import remove_unused
from tinyml.passes.strip_edges import strip_edges

__all__ = ["PASSES", "Edges", "run"]

Edges = Literal["int8", "float"]

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    fold_constants,
    fold_batches,
    quantise_islands,
    fuse_lookups,
    fuse_activations,
    cancel_transposes,
    remove_noops,
    fold_padding,
    remove_unused,
    fold_channels,
)


def run(graph: Graph, *, edges: Edges = "int8") -> Graph:
    """Run all passes until none changes anything.

    Args:
        graph: as read.
        edges: "int8" removes QUANTIZE and DEQUANTIZE at the model's edges, "float" keeps them.

    Returns:
        A graph with the same outputs. Surviving tensors keep their source index.

    Raises:
        ModelError: int8 cannot stand for a float input, or nothing is left to compute.
    """
    graph = rewrite_loops(graph, functools.partial(run, edges="float"))
    if edges == "int8":
        graph = strip_edges(graph)
    while True:
        before = graph
        for rewrite in PASSES:
            graph = rewrite(graph)
        if graph is before:
            break
    written = {t for op in graph.ops for t in op.outputs}
    for index in graph.outputs:
        if index not in written:
            raise ModelError(
                f"output '{graph.tensors[index].name}' of {graph.name} does not depend on any operator",
                expected="expected outputs that the model computes",
                hint="remove it from the model's outputs",
            )
    return graph
