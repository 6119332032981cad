"""SOFTMAX over the last dimension in portable C, integers only."""

from __future__ import annotations

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind
from tinyml.kernels.predicates import int8_activations, one_activation
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def probability_output(context: OpContext) -> bool:
    """The output must have scale 1/256 and zero point -128, as TFLite's SOFTMAX demands."""
    quant = context.output.quant
    return quant is not None and quant.scale == (1 / 256,) and quant.zero_point == (-128,)


def at_most_4095_classes(context: OpContext) -> bool:
    """A row must have at most 4,095 classes: beyond, the sum of the TFLite reference overflows."""
    shape = context.input(0).shape
    return len(shape) > 0 and shape[-1] < 1 << 12


def _lower(context: OpContext) -> Lowered:
    classes = context.input(0).shape[-1]
    batches = context.input(0).elements // classes
    params = numerics.softmax_params(context.graph, context.op)
    literals = {
        "batches": batches,
        "classes": classes,
        "multiplier": params.multiplier,
        "left_shift": params.left_shift,
        "diff_min": params.diff_min,
    }
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=classes, inputs=(RowMap(batches, classes),)),
        literals=tuple(literals.items()),
    )


_WORTH_A_TABLE = 1024


def many_elements(context: OpContext) -> bool:
    """There must be at least 1,024 elements: for fewer a table of 1 KiB in flash is too much."""
    return context.input(0).elements >= _WORTH_A_TABLE


def _lower_table(context: OpContext) -> Lowered:
    classes = context.input(0).shape[-1]
    batches = context.input(0).elements // classes
    table = numerics.softmax_params(context.graph, context.op).exp_table
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=classes, inputs=(RowMap(batches, classes),)),
        constants=(Constant("exp", "int32_t", table, "of 0, -1, ... steps of the input"),),
        literals=(("batches", batches), ("classes", classes)),
    )


_ACCEPTS = (one_activation, int8_activations, probability_output, at_most_4095_classes)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_softmax_table_s8_c", OpKind.SOFTMAX, Isa.C, _lower_table, (*_ACCEPTS, many_elements)),
    Kernel(
        "tm_softmax_s8_c",
        OpKind.SOFTMAX,
        Isa.C,
        _lower,
        _ACCEPTS,
    ),
)
