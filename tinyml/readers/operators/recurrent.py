"""UNIDIRECTIONAL_SEQUENCE_LSTM and SVDF, fully quantised: int8 activations, int16 states."""

from __future__ import annotations

from tinyml.graph import DType, LstmAttrs, OpKind, SvdfAttrs
from tinyml.numerics import recurrent
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import QUANTISE, ModelTensors, dims

_INPUTS = 24
_TANH = 4  # ActivationFunctionType
# Positions of the optional inputs that no kernel computes with, and what they make of the layer.
_VARIANTS = {
    "peephole connections": (9, 10, 11),
    "a projection": (16, 17),
    "layer normalisation": (20, 21, 22, 23),
}


def _lstm(model: ModelTensors, op: RawOperator) -> Read:
    """Only int8 activations: with int16 ones LiteRT takes it for a float layer and refuses it.

    Its message: `unidirectional_sequence_lstm.cc: input_gate_bias->type != kTfLiteFloat32 (INT32 !=
    FLOAT32)`. TensorFlow 2.21's converter crashes while it calibrates. keras.layers.LSTM(unroll=True), and
    GRU likewise, make layers that run with int16 activations.
    """
    indices = op.inputs + (-1,) * (_INPUTS - len(op.inputs))
    for what, positions in _VARIANTS.items():
        if any(indices[p] >= 0 for p in positions):
            raise model.error(
                f"it has {what}",
                "expected a plain LSTM: four gates from the input and the hidden state",
                "train keras.layers.LSTM without options",
            )
    needed = (0, *range(1, 9), *range(12, 16), 18, 19)
    if len(op.inputs) > _INPUTS or any(indices[p] < 0 for p in needed):
        raise model.error(
            f"it has inputs {list(op.inputs)}",
            "expected input, weights and biases of four gates, and both states",
        )
    if op.options["FusedActivationFunction"] != _TANH:
        raise model.error("its activation is not tanh", "expected tanh", "use the layer's default activation")
    x = model.activation(indices[0])
    output = model.activation(op.outputs[0])
    hidden, cell = model.state(indices[18]), model.state(indices[19], DType.INT16)
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
    weights = [model.weights(indices[p], 2, axis=0) for p in range(1, 9)]
    units = cell.elements
    shapes = [(units, x.shape[-1])] * 4 + [(units, units)] * 4
    for tensor, shape in zip(weights, shapes, strict=True):
        if tensor.shape != shape or (tensor.quant is not None and tensor.quant.per_channel):
            raise model.error(
                f"its weights '{tensor.name}' are {dims(tensor.shape)}",
                f"expected {dims(shape)} with one scale",
            )
    for p in range(12, 16):
        model.bias(indices[p], units)
        if indices[p] >= 0 and model.tensor(indices[p]).shape != (units,):
            raise model.error("its bias is not one number per unit", f"expected {units} numbers")
    if hidden.elements != units:
        raise model.error(f"its hidden state is {dims(hidden.shape)}", f"expected {units} numbers")
    exponent = recurrent.power_of_two(cell.scale)
    if exponent is None or not -15 <= exponent <= -9 or cell.zero_point != 0:
        raise model.error(
            f"its cell state has scale {cell.scale:g} and zero point {cell.zero_point}",
            "expected a power of two from 2^-15 to 2^-9, and 0",
            QUANTISE,
        )
    scale, zero_point = _hidden_quant(model, op)
    if (hidden.scale, hidden.zero_point) != (output.scale, output.zero_point):
        raise model.error("its hidden state and its output have different scales", "expected the same")
    for tensor, source in zip(weights, [x] * 4 + [hidden] * 4, strict=True):
        model.check_rescale(tensor.scale * source.scale * 2.0**12)
    model.check_rescale(2.0**-30 / scale)
    attrs = LstmAttrs(scale, zero_point, max(float(op.options["CellClip"]), 0.0))
    inputs = (indices[0], indices[18], indices[19], *indices[1:9], *indices[12:16])
    return Read(inputs, attrs, (*steps, units))


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
        ("UnidirectionalSequenceLSTMOptions", "FusedActivationFunction", "CellClip", "TimeMajor"),
        other_types="LiteRT runs int8 alone: with int16 activations use keras.layers.LSTM(unroll=True)",
    ),
    "SVDF": OperatorReader(OpKind.SVDF, _svdf, 2, ("SVDFOptions", "Rank", "FusedActivationFunction")),
}
