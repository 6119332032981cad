"""FULLY_CONNECTED in portable C, with one weight scale or one per output."""

from __future__ import annotations

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind
from tinyml.kernels.convolution import requant_constants
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    int8_activations,
    one_activation,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def one_weight_scale(context: OpContext) -> bool:
    """The weights must have one scale."""
    quant = context.input(1).quant
    return quant is not None and not quant.per_channel


def whole_rows(context: OpContext) -> bool:
    """The input must be a whole number of rows as long as the weights' rows."""
    weights = context.optional_input(1)
    return (
        weights is not None and len(weights.shape) == 2 and context.input(0).elements % weights.shape[1] == 0
    )


def _lower(context: OpContext, per_channel: bool) -> Lowered:
    weights = context.input(1)
    out_c, in_c = weights.shape
    batches = context.input(0).elements // in_c
    assert weights.data is not None
    bias, multiplier, shift = requant_constants(context)
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {"batches": batches, "in_c": in_c, "out_c": out_c}
    constants = [Constant("weights", "int8_t", weights.data), bias]
    if per_channel:
        constants += [multiplier, shift]
    else:
        literals |= {"multiplier": int(multiplier.values[0]), "shift": int(shift.values[0])}
    literals |= {"zp_out": context.output.zero_point, "lo": lo, "hi": hi}
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=out_c, inputs=(RowMap(batches, in_c),)),
        constants=tuple(constants),
        literals=tuple(literals.items()),
        macs=batches * out_c * in_c,
    )


def _lower_one_scale(context: OpContext) -> Lowered:
    return _lower(context, per_channel=False)


def _lower_per_channel(context: OpContext) -> Lowered:
    return _lower(context, per_channel=True)


_ACCEPTS = (one_activation, int8_activations, constant_symmetric_weights, constant_int32_bias, whole_rows)

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_fully_connected_s8_c",
        OpKind.FULLY_CONNECTED,
        Isa.C,
        _lower_one_scale,
        (*_ACCEPTS, one_weight_scale),
    ),
    Kernel("tm_fully_connected_perchannel_s8_c", OpKind.FULLY_CONNECTED, Isa.C, _lower_per_channel, _ACCEPTS),
)
