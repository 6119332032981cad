"""UNIDIRECTIONAL_SEQUENCE_LSTM and SVDF in portable C."""

from __future__ import annotations

import numpy as np

from tinyml.access import AccessMap
from tinyml.graph import Array, DType, OpKind, SvdfAttrs, Tensor
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.numerics import recurrent


def plain_lstm(context: OpContext) -> bool:
    """It must be int8 with an int16 cell state, one scale per tensor, constant weights, and one sequence."""
    if len(context.op.inputs) != recurrent.PEEPHOLES:
        return False
    tensors = [context.graph.tensors[i] for i in context.op.inputs]
    x, hidden, cell = tensors[: recurrent.INPUT_WEIGHTS]
    weights, biases = tensors[recurrent.INPUT_WEIGHTS : recurrent.BIASES], tensors[recurrent.BIASES :]
    units, features = cell.elements, x.shape[-1] if x.shape else 0
    shapes = [(units, features)] * 4 + [(units, units)] * 4
    return (
        _quantised(DType.INT8, x, hidden, context.output, *weights)
        and _quantised(DType.INT16, cell)
        and [w.shape for w in weights] == shapes
        and all(w.data is not None for w in weights)
        and all(b.data is not None and b.dtype is DType.INT32 and b.shape == (units,) for b in biases)
        and hidden.elements == units
        and x.elements * units == context.output.elements * features
        and recurrent.power_of_two(cell.scale) is not None
    )


def _quantised(dtype: DType, *tensors: Tensor) -> bool:
    return all(t.dtype is dtype and t.quant is not None and not t.quant.per_channel for t in tensors)


def sums_fit_31_bits(context: OpContext) -> bool:
    """The sums of products and bias must fit in 31 bits."""
    if not plain_lstm(context):
        return True  # another predicate refuses
    p = recurrent.lstm_params(context.graph, context.op)
    for weights, bias in ((p.input_weights, p.input_bias), (p.recurrent_weights, p.recurrent_bias)):
        largest = 128 * np.abs(weights.astype(np.int64)).sum(axis=2) + np.abs(bias.astype(np.int64))
        if int(largest.max()) >= 2**31:
            return False
    return True


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


def lstm_with_options(context: OpContext) -> bool:
    """It must be int8 with an int16 cell state, one scale per tensor, constant weights, and one sequence."""
    if len(context.op.inputs) != recurrent.INPUTS:
        return False
    tensors = [context.graph.tensors[i] if i >= 0 else None for i in context.op.inputs]
    x, hidden, cell = (context.input(i) for i in range(recurrent.INPUT_WEIGHTS))
    units, outputs, features = cell.elements, hidden.elements, x.shape[-1] if x.shape else 0
    coupled = tensors[recurrent.INPUT_WEIGHTS] is None
    rows: tuple[tuple[int, int, DType, tuple[int, ...]], ...] = (
        (recurrent.INPUT_WEIGHTS, 4, DType.INT8, (units, features)),
        (recurrent.RECURRENT_WEIGHTS, 4, DType.INT8, (units, outputs)),
        (recurrent.BIASES, 4, DType.INT32, (units,)),
        (recurrent.PEEPHOLES, 3, DType.INT16, (units,)),
        (recurrent.PROJECTION, 1, DType.INT8, (outputs, units)),
        (recurrent.PROJECTION_BIAS, 1, DType.INT32, (outputs,)),
        (recurrent.NORMS, 4, DType.INT16, (units,)),
    )
    for first, count, dtype, shape in rows:
        row = tensors[first : first + count]
        present = [t for t in row if t is not None]
        absent = row[1:] if count > 1 and coupled else row
        if len(present) not in (0, len(absent)) or (first < recurrent.PEEPHOLES and not present):
            return False
        if any(t.data is None or t.dtype is not dtype or t.shape != shape for t in present):
            return False
        if dtype is not DType.INT32 and not _quantised(dtype, *present):
            return False
    return (
        _quantised(DType.INT8, x, hidden, context.output)
        and _quantised(DType.INT16, cell)
        and (outputs == units or tensors[recurrent.PROJECTION] is not None)
        and x.elements * outputs == context.output.elements * features
        and recurrent.power_of_two(cell.scale) is not None
    )


def sums_with_options_fit_31_bits(context: OpContext) -> bool:
    """The sums of products and bias must fit in 31 bits."""
    if not lstm_with_options(context):
        return True  # another predicate refuses
    p = recurrent.lstm_params(context.graph, context.op)
    assert p.variant is not None
    sums = (
        (p.input_weights, p.input_bias),
        (p.recurrent_weights, p.recurrent_bias),
        (p.variant.projection, p.variant.projection_bias),
    )
    largest = (
        128 * np.abs(weights.astype(np.int64)).sum(axis=-1) + np.abs(bias.astype(np.int64))
        for weights, bias in sums
    )
    return all(int(total.max(initial=0)) < 2**31 for total in largest)


def _lower_variant(context: OpContext) -> Lowered:
    p = recurrent.lstm_params(context.graph, context.op)
    v = p.variant
    assert v is not None
    units, inputs = p.input_weights.shape[1:]
    outputs = p.recurrent_weights.shape[2]
    projected = len(v.projection) > 0
    gates = range(int(v.coupled), 4)
    steps = context.input(recurrent.X).elements // inputs
    rescale = [
        (
            *p.input_rescale[g],
            *p.recurrent_rescale[g],
            *v.peephole_rescale[g],
            *(v.norm_rescale[g][0], v.norm_rescale[g][1] + 12, v.variance_guard[g]),
        )
        for g in gates
    ]

    def rows(name: str, ctype: str, values: Array, comment: str, present: bool = True) -> Constant:
        """Return the rows of the gates; C has no empty arrays for those of what is absent."""
        return Constant(name, ctype, values[gates.start :] if present else np.zeros(1, values.dtype), comment)

    literals = {
        "steps": steps,
        "inputs": inputs,
        "units": units,
        "outputs": outputs,
        "multiplier": p.hidden_multiplier,
        "shift": p.hidden_shift,
        "zp_hidden": p.hidden_zero_point,
        "tanh_bits": p.tanh_bits,
        "cell_clip": p.cell_clip,
        "coupled": int(v.coupled),
        "peephole": int(v.peephole),
        "normalised": int(v.normalised),
        "projected": int(projected),
        "projection_multiplier": v.projection_rescale[0],
        "projection_shift": v.projection_rescale[1],
        "zp_out": v.zero_point_out,
        "projection_clip": v.projection_clip,
    }
    projection = v.projection if projected else np.zeros(1, np.int8)
    projection_bias = v.projection_bias if projected else np.zeros(1, np.int32)
    return Lowered(
        access=AccessMap(rows=1, row_bytes=context.output.size_bytes, inputs=(None, None, None)),
        constants=(
            rows("input_weights", "int8_t", p.input_weights, "[gates][units][inputs]"),
            rows("recurrent_weights", "int8_t", p.recurrent_weights, "[gates][units][outputs]"),
            rows("input_bias", "int32_t", p.input_bias, "[gates][units], the zero point folded in"),
            rows("recurrent_bias", "int32_t", p.recurrent_bias, "[gates][units]"),
            rows("peepholes", "int16_t", v.peepholes, "[gates][units]", v.peephole),
            rows("norms", "int16_t", v.norms, "[gates][units]", v.normalised),
            rows("norm_bias", "int32_t", v.norm_bias, "[gates][units]", v.normalised),
            Constant("rescale", "int32_t", np.array(rescale, np.int32), "[gates][9], see the kernel"),
            Constant("projection", "int8_t", projection, "[outputs][units]"),
            Constant("projection_bias", "int32_t", projection_bias, "[outputs]"),
        ),
        literals=tuple(literals.items()),
        scratch_bytes=4 * units * 2 + units * projected,
        macs=steps * (len(gates) * units * (inputs + outputs) + v.projection.size),
        updates=(1, 2),
    )


def plain_svdf(context: OpContext) -> bool:
    """It must be int8 with an int16 state, one scale per tensor, constant weights, one sample at a time."""
    x, state, features, time = (context.graph.tensors[i] for i in context.op.inputs[: recurrent.SVDF_BIAS])
    bias = context.optional_input(recurrent.SVDF_BIAS)
    units = context.output.elements
    return (
        _quantised(DType.INT8, x, features, context.output)
        and _quantised(DType.INT16, state, time)
        and features.data is not None
        and time.data is not None
        and len(features.shape) == len(time.shape) == 2
        and features.shape == (time.shape[0], x.elements)
        and state.elements == time.elements
        and units * svdf_rank(context) == time.shape[0]
        and (bias is None or (bias.data is not None and bias.dtype is DType.INT32 and bias.shape == (units,)))
    )


def svdf_rank(context: OpContext) -> int:
    """Return the filters of one unit."""
    assert isinstance(context.op.attrs, SvdfAttrs)
    return context.op.attrs.rank


def filters_fit_31_bits(context: OpContext) -> bool:
    """The sums of weights of time times a full state, and of features, must fit in 31 bits."""
    if not plain_svdf(context):
        return True  # another predicate refuses
    p = recurrent.svdf_params(context.graph, context.op)
    time = np.abs(p.time_weights.astype(np.int64)).sum(axis=1).reshape(-1, p.rank).sum(axis=1)
    features = 256 * np.abs(p.feature_weights.astype(np.int64)).sum(axis=1)
    largest = max(int((32768 * time + np.abs(p.bias.astype(np.int64))).max()), int(features.max()))
    return largest < 2**31


def _lower_svdf(context: OpContext) -> Lowered:
    p = recurrent.svdf_params(context.graph, context.op)
    (filters, inputs), memory = p.feature_weights.shape, p.time_weights.shape[1]
    literals = {
        "inputs": inputs,
        "units": filters // p.rank,
        "rank": p.rank,
        "memory": memory,
        "feature_multiplier": p.feature_multiplier,
        "feature_shift": p.feature_shift,
        "multiplier": p.multiplier,
        "shift": p.shift,
        "zp_out": p.zero_point_out,
    }
    return Lowered(
        access=AccessMap(rows=1, row_bytes=context.output.size_bytes, inputs=(None, None)),
        constants=(
            Constant("feature_weights", "int8_t", p.feature_weights, "[filters][inputs]"),
            Constant("feature_bias", "int32_t", p.feature_bias, "[filters], the zero point folded in"),
            Constant("time_weights", "int16_t", p.time_weights, "[filters][memory]"),
            Constant("bias", "int32_t", p.bias, "[units]"),
        ),
        literals=tuple(literals.items()),
        macs=filters * (inputs + memory),
        updates=(1,),
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_lstm_s8_c",
        OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM,
        Isa.C,
        _lower,
        (plain_lstm, sums_fit_31_bits),
    ),
    Kernel(
        "tm_lstm_variant_s8_c",
        OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM,
        Isa.C,
        _lower_variant,
        (lstm_with_options, sums_with_options_fit_31_bits),
    ),
    Kernel("tm_svdf_s8_c", OpKind.SVDF, Isa.C, _lower_svdf, (plain_svdf, filters_fit_31_bits)),
)
