"""Selection: the kernel that runs each operator on a board's instruction set, with the reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from tinyml.access import AccessMap, RowMap
from tinyml.aliases import Aliases
from tinyml.errors import UnsupportedOp
from tinyml.graph import FloatFunctionAttrs, Graph, LoopAttrs, Op, OpKind
from tinyml.kernels import KERNELS
from tinyml.kernels.dsp_streams import RequantForm
from tinyml.kernels.registry import Isa, Kernel, Lowered, OpContext


@dataclass(frozen=True, slots=True)
class Choice:
    """A kernel that somebody else chose for an operator, and why, in a sentence."""

    kernel: Kernel
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The kernel of one operator.

    Args:
        op: index into Graph.ops.
        kernel: the registry row, or None for a loop and for a view: an operator that only renames bytes
            (aliases.py), runs no code and shares its inputs' buffer.
        lowered: the operator lowered to that kernel (None for a view).
        reason: why this kernel, in a sentence.
        parameters: as OpContext.parameters, for lowering it again to another size.
        body: of a loop, the kernels of its body's operators; it has no kernel of its own.
    """

    op: int
    kernel: Kernel | None
    lowered: Lowered | None
    reason: str
    parameters: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    body: tuple[Selection, ...] = ()


def select(
    graph: Graph,
    isas: Sequence[Isa],
    *,
    choices: Mapping[int, Choice] | None = None,
    copied: Set[OpKind] = frozenset(),
    compact: bool = False,
) -> list[Selection]:
    """Choose a kernel for every operator: the first that accepts it, fastest instruction set first.

    Args:
        graph: a graph after passes.
        isas: instruction sets of the core, preferred first, e.g. (Isa.DSP, Isa.C).
        choices: by operator, kernels to take instead (`tinyml build --tune`); each must accept it.
        copied: operators that get a kernel even where they could be views.
        compact: choose variants that layers share, for the least code.

    Returns:
        One selection per operator, in the order of `graph.ops`.

    Raises:
        UnsupportedOp: no kernel accepts some operators; the message lists every one of them.
    """
    selections = []
    refused: list[str] = []
    aliases = Aliases(graph)
    for index, op in enumerate(graph.ops):
        view = _VIEWS.get(op.kind) if op.kind not in copied else None
        if view is not None and aliases.alias(op):
            selections.append(Selection(index, None, None, view))
            continue
        aliases.store(op.outputs[0])
        if isinstance(op.attrs, LoopAttrs):
            selections.append(_select_loop(graph, index, op.attrs, isas, compact))
            continue
        context = OpContext(graph, op)
        if choices and index in choices:
            kernel, reason = choices[index].kernel, choices[index].reason
            lowered = _lower(kernel, context)
            selections.append(Selection(index, kernel, lowered, reason, context.parameters))
            continue
        notes: list[str] = []
        for kernel in _candidates(op.kind, isas):
            refusals = _refusals(kernel, context)
            if not refusals:
                reason = "; ".join([*notes, f"{kernel.symbol} accepts it"]) if notes else "first choice"
                lowered = _lower(kernel, context)
                selections.append(Selection(index, kernel, lowered, reason, context.parameters))
                break
            notes.append(f"{kernel.symbol} refuses: {' '.join(refusals)}")
        else:
            refused.append(
                f"op {index} {op.kind}: {_describe(graph, op)}: {' | '.join(notes) or _why_not(op)}"
            )
    if refused:
        raise UnsupportedOp(
            f"{graph.name}: {len(refused)} operator(s) that no kernel runs",
            where="\n  ".join(refused),
            hint="see `tinyml inspect` for the whole graph",
        )
    return [_compact(graph, selections, s) for s in selections] if compact else selections


def _select_loop(graph: Graph, index: int, attrs: LoopAttrs, isas: Sequence[Isa], compact: bool) -> Selection:
    """Select the kernels of a loop's body; the planner finds out how much scratch it takes."""
    op = graph.ops[index]
    body = tuple(select(attrs.body, isas, compact=compact))
    parts = [selection.lowered for selection in body if selection.lowered is not None]
    access = AccessMap(
        rows=1, row_bytes=graph.tensors[op.outputs[0]].size_bytes, inputs=(None,) * len(graph.activations(op))
    )
    constants = {id(c.values): c for part in parts for c in part.constants}
    lowered = Lowered(
        access, constants=tuple(constants.values()), macs=attrs.steps * sum(part.macs for part in parts)
    )
    return Selection(index, None, lowered, f"a loop of {attrs.steps} steps", body=body)


def _compact(graph: Graph, selections: Sequence[Selection], selection: Selection) -> Selection:
    """Return the selection with the variant that all layers of its operator can take.

    That is the shortest requantisation that is exact for all of them (those that need the general one
    aside), weights packed in all or in none, and convolutions in the smallest blocks of pixels: a variant
    of a kernel has its own loops.
    """
    kernel, lowered = selection.kernel, selection.lowered
    if kernel is None or lowered is None or lowered.batches > 1:
        return selection
    alike = [
        dict(s.lowered.literals)
        for s in selections
        if s.kernel is not None
        and s.lowered is not None
        and (s.kernel.op, s.kernel.isa) == (kernel.op, kernel.isa)
    ]
    decided: dict[str, Any] = {}
    if dict(lowered.literals).get("form"):
        forms = {literals.get("form", 0) for literals in alike}
        decided["form"] = max(min(form, RequantForm.FOUR) for form in forms)  # one rounding is a layer's own
    if "packed" in dict(lowered.literals):
        decided["packed"] = all(literals.get("packed", True) for literals in alike)
    context = OpContext(graph, graph.ops[selection.op], decided)
    lowered = kernel.lower(context)
    if kernel.op is OpKind.CONV_2D and kernel.less_scratch is not None:
        lowered = kernel.less_scratch(lowered)
    return dataclasses.replace(selection, lowered=lowered, parameters=context.parameters)


def _why_not(op: Op) -> str:
    """Say why an operator has no kernels at all."""
    if isinstance(op.attrs, FloatFunctionAttrs):
        return f"{op.attrs.function} is a table only between quantised layers, from int8 to int8"
    return "no kernel"


def copies(selections: Sequence[Selection], graph: Graph) -> frozenset[OpKind]:
    """Return the operators that are views here and could be copies: memory may be the better for either."""
    return frozenset(graph.ops[s.op].kind for s in selections if s.lowered is None) - {OpKind.RESHAPE}


_VIEWS = {
    OpKind.CONCATENATION: "a view: its inputs lie side by side",
    OpKind.RESHAPE: "a view: only the shape changes",
    OpKind.SLICE: "a view: a part of its input",
}


def accepting(graph: Graph, op: Op, isas: Sequence[Isa]) -> list[Kernel]:
    """Return every kernel that accepts an operator, in the order in which select() asks them."""
    context = OpContext(graph, op)
    return [kernel for kernel in _candidates(op.kind, isas) if not _refusals(kernel, context)]


def _refusals(kernel: Kernel, context: OpContext) -> list[str]:
    return kernel.refusals(context.one_image() if context.images > 1 else context)


def _lower(kernel: Kernel, context: OpContext) -> Lowered:
    """Lower an operator; a batch of images to one call for each image."""
    images = context.images
    if images == 1:
        return kernel.lower(context)
    one = kernel.lower(context.one_image())
    inputs = tuple(
        RowMap(images, context.graph.tensors[t].size_bytes // images) for t in context.activation_inputs
    )
    access = AccessMap(images, context.output.size_bytes // images, inputs)
    return dataclasses.replace(one, access=access, macs=one.macs * images, batches=images)


def _candidates(kind: OpKind, isas: Sequence[Isa]) -> list[Kernel]:
    return [kernel for isa in isas for kernel in KERNELS if kernel.op is kind and kernel.isa is isa]


def _describe(graph: Graph, op: Op) -> str:
    shapes = [
        "x".join(map(str, graph.tensors[t].shape)) + f" {graph.tensors[t].dtype}" for t in op.inputs if t >= 0
    ]
    return ", ".join(shapes)
