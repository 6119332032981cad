"""`tinyml inspect`: what is in a model file."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from tinyml.cli.options import model_argument, output_options
from tinyml.cli.output import Output


@click.command(
    "inspect",
    short_help="Show what is in a model file.",
    epilog="""\b
Example:
  tinyml inspect model.tflite
  tinyml inspect --json model.tflite | jq '.ops[].op'""",
)
@model_argument
@output_options
def command(model: Path, out: Output) -> None:
    """Show a model's operators, tensors and quantisation, as the file has them.

    Nothing is planned or compiled; every operator that tinyml cannot run is listed at once. Channels that
    are constant for every input, or that nobody reads, are counted: `plan` and `build` leave them out.
    """
    from tinyml import passes
    from tinyml.errors import ModelError
    from tinyml.graph import Graph, LoopAttrs
    from tinyml.readers import read_model
    from tinyml.report.console import folded_line
    from tinyml.report.units import size

    def tensor(graph: Graph, index: int) -> Text:
        t = graph.tensors[index]
        quant = ""
        if t.quant and not t.quant.per_channel:
            quant = f"  scale {t.scale:.6g}, zero point {t.zero_point}"
        unsigned = "; uint8 in the file, 128 more" if t.unsigned else ""
        return Text(f"{t.name}  {t.dtype} {'x'.join(map(str, t.shape))}{quant}{unsigned}")

    graph = read_model(model)
    try:
        rewritten = passes.run(graph, edges="float")
    except ModelError:  # an output that no operator computes: said by `plan`, shown here
        rewritten = graph
    channels, macs = rewritten.folded_channels, rewritten.folded_macs

    def constant_bytes(graph: Graph) -> int:
        bodies = [op.attrs.body for op in graph.ops if isinstance(op.attrs, LoopAttrs)]
        own = sum(t.size_bytes for t in graph.tensors if t.data is not None)
        return own + sum(constant_bytes(body) for body in bodies)

    constants = constant_bytes(graph)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("#", "operator", "inputs", "output", "constants"):
        table.add_column(heading, justify="right" if heading in ("#", "constants") else "left")

    def add_rows(graph: Graph, prefix: str = "") -> None:
        """List the operators; those of a loop's body below it."""
        for i, op in enumerate(graph.ops):
            inputs = [graph.tensors[t] for t in op.inputs if t >= 0]
            weights = sum(t.size_bytes for t in inputs if t.data is not None)
            loop = op.attrs if isinstance(op.attrs, LoopAttrs) else None
            table.add_row(
                f"{prefix}{i}",
                f"{op.title}, {loop.steps} steps" if loop else op.title,
                ", ".join("x".join(map(str, t.shape)) for t in inputs if t.data is None),
                ", ".join("x".join(map(str, graph.tensors[t].shape)) for t in op.outputs),
                size(weights) if weights else "",
            )
            if loop:
                add_rows(loop.body, f"{prefix}{i}.")

    add_rows(graph)
    out.result(
        graph.to_json() | {"constant_bytes": constants, "folded": {"channels": channels, "macs": macs}},
        Text.assemble((graph.name, "bold"), f"   {len(graph.ops)} operators, constants {size(constants)}"),
        *(Text.assemble("input   ", tensor(graph, t)) for t in graph.inputs),
        *(Text.assemble("output  ", tensor(graph, t)) for t in graph.outputs),
        *([folded_line(channels, macs)] if channels else []),
        Text(),
        table,
    )
