"""UNIDIRECTIONAL_SEQUENCE_LSTM and SVDF, fully quantised: int8 activations, int16 states."""

from __future__ import annotations

from tinyml.graph import DType, LstmAttrs, OpKind, SvdfAttrs
from tinyml.numerics import recurrent
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import QUANTISE, ModelTensors, dims

_TANH = 4  # ActivationFunctionType
_PEEPHOLES, _PROJECTION, _PROJECTION_BIAS, _HIDDEN, _CELL, _NORMS = (
    (9, 10, 11),
    16,
    17,
    18,
    19,
    (20, 21, 22, 23),
)
"""Positions of inputs in the file, of which there are INPUTS."""


def _lstm(model: ModelTensors, op: RawOperator) -> Read:
    """It may have peepholes, a projection, layer normalisation, and coupled input and forget gates.

    Only int8 activations: with int16 ones LiteRT takes it for a float layer and refuses it.

    Its message: `unidirectional_sequence_lstm.cc: input_gate_bias->type != kTfLiteFloat32 (INT32 !=
    FLOAT32)`. TensorFlow 2.21's converter crashes while it calibrates. keras.layers.LSTM(unroll=True), and
    GRU likewise, make layers that run with int16 activations.
    """
    indices = op.inputs + (-1,) * (recurrent.INPUTS - len(op.inputs))
    coupled = indices[1] < 0
    gates = (1, 2, 3) if coupled else (0, 1, 2, 3)
    needed = (0, *(first + g for first in (1, 5, 12) for g in gates), _HIDDEN, _CELL)
    if len(op.inputs) > recurrent.INPUTS or any(indices[p] < 0 for p in needed):
        raise model.error(
            f"it has inputs {list(op.inputs)}",
            "expected input, weights and biases of four gates, and both states",
        )
    if op.options["FusedActivationFunction"] != _TANH:
        raise model.error("its activation is not tanh", "expected tanh", "use the layer's default activation")
    x = model.activation(indices[0])
    output = model.activation(op.outputs[0])
    hidden, cell = model.state(indices[_HIDDEN]), model.state(indices[_CELL], DType.INT16)
    if len(x.shape) not in (2, 3):
        raise model.error(f"its input is {dims(x.shape)}", "expected 1 x steps x features")
    steps = x.shape[:-1]
    batch = steps[1 if op.options["TimeMajor"] and len(steps) == 2 else 0]
    if batch != 1:
        raise model.error(
            f"its input is {dims(x.shape)}, a batch of {batch}",
            "expected a batch of 1",
            "convert the model with an input batch of 1",
        )
    units, outputs = cell.elements, hidden.elements
    exponent = recurrent.power_of_two(cell.scale)
    if exponent is None or not -15 <= exponent <= -9 or cell.zero_point != 0:
        raise model.error(
            f"its cell state has scale {cell.scale:g} and zero point {cell.zero_point}",
            "expected a power of two from 2^-15 to 2^-9, and 0",
            QUANTISE,
        )
    if (hidden.scale, hidden.zero_point) != (output.scale, output.zero_point):
        raise model.error("its hidden state and its output have different scales", "expected the same")
    scale, zero_point = _hidden_quant(model, op)
    normalised = indices[_NORMS[1]] >= 0
    gate_scales = _gate_scales(model, op) if normalised else ()
    for g in gates:
        gate_scale = gate_scales[g] if normalised else 2.0**-12
        for p, shape, source in ((1 + g, (units, x.shape[-1]), x), (5 + g, (units, outputs), hidden)):
            _check_weights(model, indices[p], shape, source.scale / gate_scale)
        _check_bias(model, indices[12 + g], units)
    model.check_rescale(2.0**-30 / scale)
    looks = (*((0, _PEEPHOLES[0]),) * (not coupled), (1, _PEEPHOLES[1]), (3, _PEEPHOLES[2]))
    peephole = indices[_PEEPHOLES[2]] >= 0
    if peephole and outputs > units:
        raise model.error(
            f"it has peepholes, and projects {units} units to {outputs}",
            "expected no more outputs than units: TensorFlow Lite reads beyond the weights of the peepholes",
        )
    for g, p in looks:
        gate_scale = gate_scales[g] if normalised else 2.0**-12
        _check_coefficients(model, indices[p], units, cell.scale / gate_scale, peephole, "peephole weights")
    for g in gates:
        _check_coefficients(model, indices[_NORMS[g]], units, 2.0**12, normalised, "layer normalisation")
    if indices[_PROJECTION] >= 0:
        _check_weights(model, indices[_PROJECTION], (outputs, units), scale / hidden.scale)
        if indices[_PROJECTION_BIAS] >= 0:
            _check_bias(model, indices[_PROJECTION_BIAS], outputs)
    elif outputs != units:
        raise model.error(f"its hidden state is {dims(hidden.shape)}", f"expected {units} numbers")
    cell_clip, projection_clip = (max(float(op.options[name]), 0.0) for name in ("CellClip", "ProjClip"))
    attrs = LstmAttrs(scale, zero_point, cell_clip, projection_clip, gate_scales)
    inputs = (indices[0], indices[_HIDDEN], indices[_CELL], *indices[1:9], *indices[12:16])
    optional = (*indices[9:12], indices[_PROJECTION], indices[_PROJECTION_BIAS], *indices[20:24])
    varied = coupled or any(i >= 0 for i in optional)
    return Read((*inputs, *optional) if varied else inputs, attrs, (*steps, outputs))


def _check_weights(model: ModelTensors, index: int, shape: tuple[int, int], factor: float) -> None:
    """Refuse weights of another shape, or whose products leave the range of the sums."""
    tensor = model.weights(index, 2, axis=0)
    if tensor.shape != shape or (tensor.quant is not None and tensor.quant.per_channel):
        raise model.error(
            f"its weights '{tensor.name}' are {dims(tensor.shape)}", f"expected {dims(shape)} with one scale"
        )
    model.check_rescale(tensor.scale * factor)


def _check_bias(model: ModelTensors, index: int, units: int) -> None:
    model.bias(index, units)
    if model.tensor(index).shape != (units,):
        raise model.error("its bias is not one number per unit", f"expected {units} numbers")


def _check_coefficients(
    model: ModelTensors, index: int, units: int, factor: float, wanted: bool, what: str
) -> None:
    """Refuse an option that only some gates have, and coefficients that are not one int16 per unit."""
    if (index >= 0) is not wanted:
        raise model.error(f"only some of its gates have {what}", "expected all of them, or none")
    if index < 0:
        return
    tensor = model.tensor(index)
    one_scale = tensor.quant is not None and not tensor.quant.per_channel and not any(tensor.quant.zero_point)
    if tensor.dtype is not DType.INT16 or tensor.data is None or tensor.shape != (units,) or not one_scale:
        raise model.error(
            f"its {what} '{tensor.name}' are {dims(tensor.shape)} {tensor.dtype}",
            f"expected {units} constants of int16 with one scale and zero point 0",
        )
    model.check_rescale(tensor.scale * factor)


def _gate_scales(model: ModelTensors, op: RawOperator) -> tuple[float, ...]:
    """Return the scales of the first four intermediates: the gates' sums, which are normalised."""
    scales: list[float] = []
    for index in op.intermediates[:4]:
        raw = model.raw.tensors[index].scale if 0 <= index < len(model.raw.tensors) else ()
        scales += raw if len(raw) == 1 and 2.0**-100 <= raw[0] <= 2.0**100 else ()
    if len(scales) != 4:
        raise model.error(
            "it does not say how its gates are quantised", "expected five intermediates", QUANTISE
        )
    return tuple(scales)


def _hidden_quant(model: ModelTensors, op: RawOperator) -> tuple[float, int]:
    """Return scale and zero point of the fifth intermediate: the hidden state before any projection."""
    if len(op.intermediates) == 5 and 0 <= op.intermediates[4] < len(model.raw.tensors):
        raw = model.raw.tensors[op.intermediates[4]]
        if len(raw.scale) == 1 and len(raw.zero_point) <= 1 and 2.0**-100 <= raw.scale[0] <= 2.0**100:
            zero_point = raw.zero_point[0] if raw.zero_point else 0
            if -128 <= zero_point <= 127:
                return raw.scale[0], zero_point
    raise model.error(
        "it does not say how its hidden state is quantised", "expected five intermediates", QUANTISE
    )


def _svdf(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 3, 5)
    if len(op.inputs) != 5:
        raise model.error(f"it has inputs {list(op.inputs)}", "expected five, the last one its state")
    x = model.activation(inputs[0])
    output = model.activation(op.outputs[0])
    features = model.weights(inputs[1], 2, axis=0)
    model.constant(inputs[2], DType.INT16, "weights of time")
    time = model.tensor(inputs[2])
    state = model.state(inputs[4], DType.INT16)
    filters, depth = features.shape
    rank = op.options["Rank"]
    if len(x.shape) != 2 or x.shape != (1, depth):
        raise model.error(
            f"its input is {dims(x.shape)}",
            f"expected 1x{depth}",
            "convert the model with an input batch of 1",
        )
    if rank < 1 or filters % rank:
        raise model.error(f"it has {filters} filters of rank {rank}", "expected a multiple of the rank")
    if len(time.shape) != 2 or time.shape[0] != filters or state.elements != time.elements:
        raise model.error(
            f"its weights of time are {dims(time.shape)}, its state is {dims(state.shape)}",
            f"expected {filters} x steps, and as many numbers in the state",
        )
    for tensor in (features, time, state):
        if tensor.quant is None or len(tensor.quant.scale) != 1 or tensor.quant.zero_point != (0,):
            raise model.error(
                f"tensor '{tensor.name}' is not quantised symmetrically",
                "expected one scale and zero point 0",
            )
    model.bias(inputs[3], filters // rank)
    model.check_rescale(x.scale * features.scale / state.scale)
    model.check_rescale(state.scale * time.scale / output.scale)
    if op.options["FusedActivationFunction"] not in (0, 1):
        raise model.error("its activation is neither none nor RELU", "expected none or RELU")
    return Read(
        (inputs[0], inputs[4], inputs[1], inputs[2], inputs[3]), SvdfAttrs(rank), (1, filters // rank)
    )


READERS = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": OperatorReader(
        OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM,
        _lstm,
        1,
        ("UnidirectionalSequenceLSTMOptions", "FusedActivationFunction", "CellClip", "ProjClip", "TimeMajor"),
        other_types="LiteRT runs int8 alone: with int16 activations use keras.layers.LSTM(unroll=True)",
    ),
    "SVDF": OperatorReader(OpKind.SVDF, _svdf, 2, ("SVDFOptions", "Rank", "FusedActivationFunction")),
}
