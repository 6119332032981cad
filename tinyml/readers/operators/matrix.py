"""TRANSPOSE_CONV and BATCH_MATMUL.

Source: TensorFlow Lite, `Prepare` of lite/kernels/transpose_conv.cc and batch_matmul.cc.
"""

from __future__ import annotations

import numpy as np

from tinyml.graph import MatmulAttrs, OpKind, Pads, Tensor, WindowAttrs
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import OperatorReader, Read
from tinyml.readers.tensors import (
    COMPUTED,
    COMPUTED_TYPES,
    MAX_EXTENT,
    SAME,
    VALID,
    ModelTensors,
    dims,
    window_extent,
)

_MATMUL_RANKS = (2, 5)  # lite/kernels/batch_matmul.cc


def _transpose_convolution(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 3, 4)
    model.computed(op, inputs[2])
    image = model.image(inputs[2], COMPUTED)
    weights = model.weights(inputs[1], 4, axis=0)
    model.check_weighted(op, image, weights)
    out_c, *kernel, in_c = weights.shape
    if in_c != image.shape[3]:
        raise model.error(
            f"its weights {dims(weights.shape)} do not fit an input of {dims(image.shape)}",
            "expected as many input channels",
        )
    model.layer_bias(inputs[3], image, weights)
    shape = _transposed_shape(model, op, image, out_c)
    stride = (op.options["StrideH"], op.options["StrideW"])
    padding = op.options["Padding"]
    if padding not in (SAME, VALID):
        raise model.error(f"it has padding {padding}", "expected SAME or VALID")
    pads: list[int] = []
    for axis in (0, 1):
        if stride[axis] <= 0 or max(stride[axis], kernel[axis]) > MAX_EXTENT:
            raise model.error(
                f"it has stride {stride[axis]} and kernel {kernel[axis]}",
                f"expected numbers from 1 to {MAX_EXTENT}",
            )
        # The input is the output of a convolution over the output.
        size, before, after = window_extent(shape[1 + axis], kernel[axis], stride[axis], 1, padding)
        if size != image.shape[1 + axis]:
            raise model.error(
                f"its input is {dims(image.shape)}, its output {dims(shape)}",
                f"expected an input of {size} along dimension {1 + axis}",
            )
        pads += [before, after]
    attrs = WindowAttrs(
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        pads=Pads(top=pads[0], left=pads[2], bottom=pads[1], right=pads[3]),
        activation=model.activation_function(op),
    )
    return Read((inputs[2], inputs[1], inputs[3]), attrs, shape)


def _transposed_shape(model: ModelTensors, op: RawOperator, image: Tensor, out_c: int) -> tuple[int, ...]:
    """Return the output's shape: an input, or as declared where the model computes it from shapes."""
    declared = model.tensor(op.outputs[0]).shape
    computed = {t for i in model.shape_ops for t in model.raw.operators[i].outputs}
    wanted = list(declared) if op.inputs[0] in computed else model.integers(op.inputs[0], "output shape", 4)
    if len(wanted) != 4 or wanted[0] != image.shape[0] or wanted[3] != out_c or min(wanted) <= 0:
        raise model.error(f"its output shape is {dims(wanted)}", f"expected {image.shape[0]}xHxWx{out_c}")
    return tuple(wanted)


def _matmul(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x, y = (model.activation(i) for i in inputs)
    for tensor in (x, y):
        if not _MATMUL_RANKS[0] <= len(tensor.shape) <= _MATMUL_RANKS[1]:
            raise model.error(f"tensor '{tensor.name}' is {dims(tensor.shape)}", "expected 2 to 5 dimensions")
    if x.data is not None and y.data is not None:
        raise model.error("both its operands are constants", "expected an operand that the model computes")
    attrs = MatmulAttrs(bool(op.options["AdjX"]), bool(op.options["AdjY"]))
    rows, depth = x.shape[-2:][::-1] if attrs.adj_x else x.shape[-2:]
    depth_y, columns = y.shape[-2:][::-1] if attrs.adj_y else y.shape[-2:]
    try:
        batches = tuple(int(d) for d in np.broadcast_shapes(x.shape[:-2], y.shape[:-2]))
    except ValueError:
        batches = None
    if depth != depth_y or batches is None:
        raise model.error(
            f"its operands are {dims(x.shape)} and {dims(y.shape)}",
            "expected matrices as deep as each other, in batches that broadcast",
        )
    model.check_rescale(x.scale * y.scale / model.activation(op.outputs[0]).scale)
    return Read(inputs, attrs, (*batches, rows, columns))


READERS = {
    "TRANSPOSE_CONV": OperatorReader(
        OpKind.TRANSPOSE_CONV,
        _transpose_convolution,
        1,
        ("TransposeConvOptions", "Padding", "StrideH", "StrideW", "FusedActivationFunction"),
        COMPUTED_TYPES,
        COMPUTED_TYPES,
        first_data=2,  # behind the output's shape and the weights
    ),
    "BATCH_MATMUL": OperatorReader(OpKind.BATCH_MATMUL, _matmul, 2, ("BatchMatMulOptions", "AdjX", "AdjY")),
}
