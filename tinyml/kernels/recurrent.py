"""UNIDIRECTIONAL_SEQUENCE_LSTM in portable C."""

from __future__ import annotations

import numpy as np

from tinyml.access import AccessMap
from tinyml.graph import OpKind
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.numerics import recurrent


def sums_fit_31_bits(context: OpContext) -> bool:
    """The sums of products and bias must fit in 31 bits."""
    p = recurrent.lstm_params(context.graph, context.op)
    sides = ((p.input_weights, p.input_bias), (p.recurrent_weights, p.recurrent_bias))
    return all(
        int((128 * np.abs(weights.astype(np.int64)).sum(axis=2) + np.abs(bias.astype(np.int64))).max())
        < 2**31
        for weights, bias in sides
    )


def _lower(context: OpContext) -> Lowered:
    p = recurrent.lstm_params(context.graph, context.op)
    units, inputs = p.input_weights.shape[1:]
    steps = context.input(recurrent.X).elements // inputs
    rescale = [(*a, *b) for a, b in zip(p.input_rescale, p.recurrent_rescale, strict=True)]
    literals = {
        "steps": steps,
        "inputs": inputs,
        "units": units,
        "multiplier": p.hidden_multiplier,
        "shift": p.hidden_shift,
        "zp_out": p.hidden_zero_point,
        "tanh_bits": p.tanh_bits,
        "cell_clip": p.cell_clip,
    }
    return Lowered(
        access=AccessMap(rows=1, row_bytes=context.output.size_bytes, inputs=(None, None, None)),
        constants=(
            Constant(
                "input_weights", "int8_t", p.input_weights, "[4][units][inputs]: input, forget, cell, output"
            ),
            Constant("recurrent_weights", "int8_t", p.recurrent_weights, "[4][units][units]"),
            Constant("input_bias", "int32_t", p.input_bias, "[4][units], the zero point folded in"),
            Constant("recurrent_bias", "int32_t", p.recurrent_bias, "[4][units]"),
            Constant(
                "rescale", "int32_t", np.array(rescale, np.int32), "[4][multiplier, shift of both sums]"
            ),
        ),
        literals=tuple(literals.items()),
        scratch_bytes=4 * units * 2,
        macs=steps * 4 * units * (inputs + units),
        updates=(1, 2),
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_lstm_s8_c",
        OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM,
        Isa.C,
        _lower,
        (sums_fit_31_bits,),
    ),
)
