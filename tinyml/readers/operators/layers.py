"""CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and pooling."""

from __future__ import annotations

from tinyml.graph import ActivationAttrs, DType, OpKind
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import COMPUTED, COMPUTED_TYPES, QUANTISE, ModelTensors, dims

_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_MOST_DENSE = 2.0**31 - 1  # beyond, LiteRT's conversion from double to int32 is undefined
_POOL_SCALE_TOLERANCE = 1e-6  # lite/kernels/pooling.cc


def _convolution(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 3)
    image = model.image(inputs[0], COMPUTED)
    weights = model.weights(inputs[1], 4, axis=0)
    model.check_weighted(op, image, weights)
    out_c, kernel_h, kernel_w, group_c = weights.shape
    if image.shape[3] % group_c or out_c % (image.shape[3] // group_c):
        raise model.error(
            f"its weights {dims(weights.shape)} do not fit an input of {dims(image.shape)}",
            "expected as many input channels, or a divisor of them in groups that divide the outputs",
        )
    model.layer_bias(inputs[2], image, weights)
    dilation = (op.options["DilationHFactor"], op.options["DilationWFactor"])
    attrs, height, width = model.window(op, image, (kernel_h, kernel_w), dilation)
    return Read(inputs, attrs, (image.shape[0], height, width, out_c))


def _depthwise(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 3)
    image = model.image(inputs[0], COMPUTED)
    weights = model.weights(inputs[1], 4, axis=3)
    model.check_weighted(op, image, weights)
    one, kernel_h, kernel_w, out_c = weights.shape
    if one != 1 or out_c % image.shape[3]:
        raise model.error(
            f"its weights {dims(weights.shape)} do not fit an input of {dims(image.shape)}",
            "expected 1xHxWxC with C a multiple of the input channels",
        )
    model.layer_bias(inputs[2], image, weights, axis=3)
    dilation = (op.options["DilationHFactor"], op.options["DilationWFactor"])
    attrs, height, width = model.window(op, image, (kernel_h, kernel_w), dilation)
    return Read(inputs, attrs, (image.shape[0], height, width, out_c))


def _fully_connected(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 3)
    (x,) = model.computed(op, inputs[0])
    weights = model.weights(inputs[1], 2, axis=0)
    model.check_weighted(op, x, weights)
    if op.options["WeightsFormat"] != 0:
        raise model.error("its weights are shuffled", "expected the default format")
    units, depth = weights.shape
    if x.elements % depth or (op.options["KeepNumDims"] and x.shape[-1:] != (depth,)):
        raise model.error(
            f"its weights {dims(weights.shape)} do not fit an input of {dims(x.shape)}",
            f"expected a multiple of {depth} inputs",
        )
    model.layer_bias(inputs[2], x, weights)
    if x.dtype is DType.INT16 and weights.quant is not None:
        factor = x.scale * max(weights.quant.scale) / model.tensor(op.outputs[0]).scale
        if not model.largest_sum(inputs[2], weights) * factor < _MOST_DENSE:
            raise model.error(
                "its outputs may leave 32 bits before they are clamped",
                "expected scales in proportion to each other",
                QUANTISE,
            )
    attrs = ActivationAttrs(model.activation_function(op))
    if op.options["KeepNumDims"]:
        return Read(inputs, attrs, (*x.shape[:-1], units))
    return Read(inputs, attrs, (x.elements // depth, units))


def _pool(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    model.computed(op, inputs[0])
    image, output = model.image(inputs[0], COMPUTED), model.tensor(op.outputs[0])
    if abs(image.scale - output.scale) > _POOL_SCALE_TOLERANCE or image.zero_point != output.zero_point:
        raise model.error(
            f"its input has scale {image.scale:g} and zero point {image.zero_point}, "
            f"its output {output.scale:g} and {output.zero_point}",
            "expected the same quantisation: pooling does not rescale",
        )
    kernel = (op.options["FilterHeight"], op.options["FilterWidth"])
    attrs, height, width = model.window(op, image, kernel, (1, 1))
    return Read(inputs, attrs, (image.shape[0], height, width, image.shape[3]))


_WEIGHTED = (*COMPUTED_TYPES, "int4")  # int4 is for weights: two to a byte, widened when they are read

READERS = {
    "CONV_2D": OperatorReader(
        OpKind.CONV_2D,
        _convolution,
        2,
        ("Conv2DOptions", *_WINDOW, "DilationHFactor", "DilationWFactor"),
        _WEIGHTED,
        COMPUTED_TYPES,
    ),
    "DEPTHWISE_CONV_2D": OperatorReader(
        OpKind.DEPTHWISE_CONV_2D,
        _depthwise,
        2,
        ("DepthwiseConv2DOptions", *_WINDOW, "DilationHFactor", "DilationWFactor"),
        _WEIGHTED,
        COMPUTED_TYPES,
    ),
    "FULLY_CONNECTED": OperatorReader(
        OpKind.FULLY_CONNECTED,
        _fully_connected,
        2,
        ("FullyConnectedOptions", "FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
        _WEIGHTED,
        COMPUTED_TYPES,
    ),
    "AVERAGE_POOL_2D": OperatorReader(
        OpKind.AVERAGE_POOL_2D,
        _pool,
        1,
        ("Pool2DOptions", *_WINDOW, "FilterHeight", "FilterWidth"),
        COMPUTED_TYPES,
        COMPUTED_TYPES,
    ),
    "MAX_POOL_2D": OperatorReader(
        OpKind.MAX_POOL_2D,
        _pool,
        1,
        ("Pool2DOptions", *_WINDOW, "FilterHeight", "FilterWidth"),
        COMPUTED_TYPES,
        COMPUTED_TYPES,
    ),
}
