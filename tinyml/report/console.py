"""The report on a terminal: what fits, the layers, the fullest moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinyml.report.drawing import MemoryDrawing, marks
from tinyml.report.model import BuildReport, Fit
from tinyml.report.profile import layer_costs
from tinyml.report.tuning import render_tuning
from tinyml.report.units import short_name, size

_BAR_CELLS = 32
_SYMBOLS_SHOWN = 10
_VALUES_SHOWN = 10
_CHOICES_SHOWN = 10


def render(report: BuildReport, *, drawing: bool = False, verbose: bool = False) -> RenderableType:
    """Return the report as one renderable.

    Args:
        report: what to show.
        drawing: with the arena over time.
        verbose: with the largest symbols in flash.
    """
    parts: list[RenderableType] = [_title(report)]
    if report.folded.channels:
        parts.append(folded_line(report.folded.channels, report.folded.macs))
    parts += [Text(), _memories(report), Text()]
    parts += [_layers(report), Text()]
    if drawing:
        parts += [MemoryDrawing(report), Text()]
    parts += _peak(report, keyed=drawing)
    if len(report.front) > 1:
        parts += [Text(), *_front(report)]
    if report.tuning is not None:
        parts += [Text(), render_tuning(report.tuning)]
    if verbose and report.flash.symbols:
        parts += [Text(), _symbols(report)]
    return Group(*parts)


def folded_line(channels: int, macs: int) -> Text:
    """Return the line that says what of the file is not executed."""
    return Text(f"folded: {channels:,} constant or unread channels, {macs:,} MACs")


def _title(report: BuildReport) -> Text:
    text = Text.assemble((report.model, "bold"), " on ", (report.board, "bold"))
    text.append(f"   {report.macs:,} MACs")
    if report.extra_macs:
        text.append(f" (+{report.extra_macs:.1%} recomputed)")
    estimate = report.latency_estimate
    if estimate:
        low, high = (1e3 * c / estimate.clock_hz for c in (estimate.cycles_low, estimate.cycles_high))
        text.append(
            f"   about {estimate.ms:,.2f} ms at {estimate.clock_hz / 1e6:g} MHz, {low:,.2f} to {high:,.2f}"
            " (estimate, not measured)"
        )
    return text


def _memories(report: BuildReport) -> Table:
    table = Table.grid(padding=(0, 2))
    ram = f"arena {size(report.arena_bytes)} (bound {size(report.lower_bound_bytes)})"
    if report.ram.static_bytes is not None:
        ram += f", stack {size(report.ram.stack_bytes)}, static {size(report.ram.static_bytes)}"
    flash = f"constants {size(report.flash.weights_bytes)}"
    if report.flash.code_bytes is not None:
        flash += f", code {size(report.flash.code_bytes)}"
    table.add_row("SRAM", *_bar(report.sram_fit), ram)
    table.add_row("flash", *_bar(report.flash_fit), flash)
    return table


def _bar(fit: Fit) -> tuple[Text, Text]:
    if fit.available_bytes is None:
        return Text("░" * _BAR_CELLS, style="dim"), Text(f"{size(fit.used_bytes)}, no limit")
    share = fit.used_bytes / max(fit.available_bytes, 1)
    filled = min(_BAR_CELLS, max(round(share * _BAR_CELLS), 1 if fit.used_bytes else 0))
    style = "green" if share <= 0.8 else "yellow" if share <= 1 else "red"
    bar = Text("█" * filled, style=style) + Text("░" * (_BAR_CELLS - filled), style="dim")
    return bar, Text(f"{size(fit.used_bytes)} of {size(fit.available_bytes)} ({share:.0%})", style=style)


def _layers(report: BuildReport) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("#", "operator", "kernel", "output"):
        table.add_column(heading, justify="right" if heading == "#" else "left", no_wrap=True)
    for heading in ("MACs", "constants", "scratch"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in report.layers:
        table.add_row(
            str(layer.index),
            layer.op,
            layer.kernel or "(view)",
            "x".join(map(str, layer.output_shape)),
            f"{layer.macs:,}" if layer.macs else "",
            size(layer.weights_bytes) if layer.weights_bytes else "",
            size(layer.scratch_bytes) if layer.scratch_bytes else "",
        )
    return table


def _peak(report: BuildReport, *, keyed: bool) -> list[RenderableType]:
    """Return what is live at the fullest moment, with the drawing's letters where there is one."""
    peak = report.peak
    if peak is None:
        return []
    keys = marks(report) if keyed else {}
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    if keyed:
        table.add_column("")
    table.add_column("live at the peak")
    table.add_column("bytes", justify="right")
    table.add_column("arena", justify="right")
    for buffer in sorted(peak.live, key=lambda b: b.offset):
        key = [Text(f" {keys[buffer].letter} ", keys[buffer].style)] if keyed else []
        table.add_row(
            *key,
            Text(short_name(buffer.name)),
            f"{buffer.bytes:,}",
            f"{buffer.offset}..{buffer.offset + buffer.bytes}",
        )
    operators = ", ".join(str(op) for op in report.stages[peak.stage])
    heading = Text.assemble(
        ("peak ", "bold"), f"at operator {operators}, {peak.op}: {size(report.arena_bytes)}"
    )
    return [heading, table]


def _front(report: BuildReport) -> list[RenderableType]:
    """The choices of stages, thinned to a page: every so many by peak, and the chosen one."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("SRAM", "recomputed", "instructions", "code", ""):
        table.add_column(column, justify="right")
    step = -(-len(report.front) // _CHOICES_SHOWN)
    plan = (report.lower_bound_bytes, report.extra_macs)
    chosen = min(report.front, key=lambda c: (abs(c.peak_bytes - plan[0]), abs(c.extra_macs - plan[1])))
    for i, choice in enumerate(report.front):
        if i % step == 0 or choice is chosen:
            table.add_row(
                f"{choice.peak_bytes:,}",
                f"+{choice.extra_macs:.1%}",
                f"+{choice.extra_instructions:,}",
                f"+{choice.extra_code:,} B",
                "this plan" if choice is chosen else "",
            )
    heading = Text.assemble(
        ("choices ", "bold"),
        "none is better in everything; instructions and code are estimates. ",
        "Take another with --max-sram and --max-overhead",
    )
    return [heading, table]


def _symbols(report: BuildReport) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("flash symbol")
    table.add_column("kind")
    table.add_column("bytes", justify="right")
    for symbol in report.flash.symbols[:_SYMBOLS_SHOWN]:
        table.add_row(Text(symbol.name), symbol.kind, f"{symbol.bytes:,}")
    rest = report.flash.symbols[_SYMBOLS_SHOWN:]
    if rest:
        table.add_row(f"and {len(rest)} more", "", f"{sum(symbol.bytes for symbol in rest):,}")
    return table


def render_inference(
    outputs: Sequence[tuple[str, Sequence[float]]],
    costs: Mapping[str, int | None],
    layers: Sequence[Mapping[str, Any]],
) -> RenderableType:
    """Return one inference's outputs and costs.

    Args:
        outputs: name and real values, flat, of each model output.
        costs: "instructions", "cycles", "stack_free" and the like; None where not counted.
        layers: the JSON of infer.LayerCost of each layer; empty unless profiled.
    """
    parts: list[RenderableType] = []
    if layers:
        parts += [*layer_costs(layers), Text()]
    counted = [f"{value:,} {name.replace('_', ' ')}" for name, value in costs.items() if value is not None]
    if counted:
        parts.append(Text(", ".join(counted)))
    for name, values in outputs:
        best = max(range(len(values)), key=lambda i: values[i])
        shown = "  ".join(f"{value:.4g}" for value in values[:_VALUES_SHOWN])
        rest = "  …" if len(values) > _VALUES_SHOWN else ""
        parts.append(Text(f"{short_name(name)}  largest at {best}: {shown}{rest}"))
    return Group(*parts)


def render_verification(result: Mapping[str, Any], description: str) -> RenderableType:
    """Return a verification's verdict.

    Args:
        result: the JSON of verify.VerifyReport, with `model` and `target`.
        description: of the first mismatch, empty where there is none.
    """
    samples, wrong = result["samples"], result["mismatched_samples"]
    where = f"{result['model']} on {result['target']}"
    runtime = result["runtime"]
    reference = "TensorFlow Lite" if runtime is None else "the reference"
    parts: list[RenderableType]
    if wrong:
        parts = [Text(f"✗ {where}: {wrong} of {samples} samples differ from {reference}", style="red")]
        parts += [Text(f"  {line}") for line in description.splitlines()]
    else:
        parts = [
            Text(f"✓ {where}: every output byte of {samples} samples equals {reference}'s", style="green")
        ]
    if result["accuracy"] is not None:
        right = round(result["accuracy"] * samples)
        theirs = round(result["reference_accuracy"] * samples)
        parts.append(Text(f"  {right} of {samples} right ({right / samples:.1%}); the reference {theirs}"))
    if runtime is not None:
        parts += _runtime_comparison(runtime)
    return Group(*parts)


def _runtime_comparison(runtime: Mapping[str, Any]) -> list[RenderableType]:
    """Return how far the reference is from another runtime: its outputs, and each layer on equal inputs."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("operator", "tensor", "bytes", "differ", "at most"):
        table.add_column(heading, justify="left" if heading in ("operator", "tensor") else "right")
    for layer in runtime["layers"]:
        share = layer["different"] / max(layer["elements"], 1)
        table.add_row(
            layer["op"],
            Text(layer["name"]),
            f"{layer['elements']:,}",
            f"{layer['different']:,} ({share:.2%})",
            str(layer["largest"]),
        )
    outputs = runtime["outputs"]
    line = (
        f"  {runtime['runtime']} rounds otherwise: {outputs['different']:,} of {outputs['elements']:,} output"
        f" bytes differ from the reference, by at most {outputs['largest']}"
    )
    return [Text(line), Text("  each layer by itself, on inputs of onnxruntime:"), table]


def render_quantization(result: Mapping[str, Any]) -> RenderableType:
    """Return what a quantised model is and how it compares with the float one.

    Args:
        result: the JSON of quantize.QuantizeReport.
    """
    title = Text.assemble((result["output"], "bold"))
    title.append(f"   {size(result['int8_bytes'])}; as float .tflite {size(result['float_bytes'])}")
    edges = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    headings = ("", "name", "type", "scale", "zero point", "SQNR", "largest error", "of", "same choice")
    for heading in headings:
        edges.add_column(heading, justify="left" if heading in ("", "name", "type") else "right")
    for role in ("inputs", "outputs"):
        for edge in result[role]:
            cells = [
                role[:-1],
                short_name(edge["name"]),
                f"{edge['dtype']} {'x'.join(map(str, edge['shape']))}",
            ]
            quantised = edge["scale"] is not None
            cells += [f"{edge['scale']:.6g}", str(edge["zero_point"])] if quantised else ["", ""]
            if role == "outputs":
                low, high = edge["range"]
                ratio, same = edge["sqnr_db"], edge["same_choice"]
                cells += [
                    "" if ratio is None else f"{ratio:.1f} dB",
                    f"{edge['max_error']:.4g}",
                    f"{low:.4g} … {high:.4g}",
                    "" if same is None else f"{same:.1%}",
                ]
            edges.add_row(*cells)
    samples = result["test_samples"]
    parts: list[RenderableType] = [title, Text(), edges, Text()]
    if result["float_right"] is not None:
        shares = [
            f"{name} {result[f'{name}_right']} of {samples} right ({result[f'{name}_accuracy']:.1%})"
            for name in ("float", "int8")
        ]
        parts.append(Text("accuracy   " + ", ".join(shares)))
    calibrated = f"calibrated on {result['calibration_samples']} samples"
    parts.append(Text(f"{calibrated}, compared on {samples} of {result['tested_on']}"))
    return Group(*parts)
