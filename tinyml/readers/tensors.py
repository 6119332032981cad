"""Tensors and operands of a model file, checked: what every operator's reader builds on.

Source: TensorFlow Lite, `lite/kernels/padding.h` and the `Prepare` of its kernels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tinyml.errors import ModelError
from tinyml.graph import Activation, Array, DType, Graph, Pads, Quant, Tensor, WindowAttrs
from tinyml.numerics import wide
from tinyml.readers.flatbuffer import RawModel, RawOperator, RawTensor
from tinyml.readers.variables import Variable

SAME, VALID = 0, 1
COMPUTED = (DType.INT8, DType.INT16)
COMPUTED_TYPES = tuple(dtype.value for dtype in COMPUTED)
"""Element types of the activations of operators that compute with both: see `ModelTensors.computed`."""
MAX_RANK = 6
MAX_ELEMENTS = 2**31 - 1
MAX_EXTENT = 2**15  # reach of a window in pixels; C kernels index with int32
_MIN_SCALE = 2.0**-100  # real scales are above 1e-8; these keep every float32 product finite
_MAX_DIMENSION = 2**24  # of passes and readers that keep something per row or channel
_MAX_RESCALE = 2.0**30  # accumulators are shifted left by at most 30 bits
_ACTIVATIONS = {
    0: Activation.NONE,
    1: Activation.RELU,
    2: Activation.RELU_N1_TO_1,
    3: Activation.RELU6,
}

QUANTISE = (
    "`tinyml quantize --data SAMPLES MODEL` makes an int8 model of the float one (Keras, SavedModel or float "
    ".tflite); or quantise it when converting: converter.optimizations = [tf.lite.Optimize.DEFAULT], a "
    "representative_dataset, and target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)


def dims(shape: Sequence[int]) -> str:
    """Return a shape as users read it: 1x9x7x5."""
    return "x".join(str(d) for d in shape) or "scalar"


def window_extent(size: int, kernel: int, stride: int, dilation: int, padding: int) -> tuple[int, int, int]:
    """Resolve SAME or VALID along one axis.

    Returns:
        (output size, padding before, padding after); an output size of 0 or less where a VALID
        window does not fit.

    Source: lite/kernels/padding.h, ComputeOutSize and ComputePaddingWithOffset.
    """
    reach = (kernel - 1) * dilation + 1
    if padding == VALID:
        return (size + stride - reach) // stride, 0, 0
    out = (size + stride - 1) // stride
    total = max((out - 1) * stride + reach - size, 0)
    return out, total // 2, total - total // 2


class ModelTensors:
    """The tensors of a model file, and the checks of the operands that operators share.

    Args:
        raw: the decoded file.
        file: its name, for messages.

    `where` is the operator at hand, for messages. Every method raises ModelError on what breaks
    TensorFlow Lite's rules.
    """

    def __init__(self, raw: RawModel, file: str) -> None:
        self.raw = raw
        self.file = file
        self.where = ""
        self.shape_ops: frozenset[int] = frozenset()  # operators that only compute shapes of RESHAPEs
        self.states: dict[int, Array] = {}  # variables that an operator updates, with their first values
        self.unsigned: frozenset[int] = frozenset()  # uint8 activations that become int8
        self._tensors: dict[int, Tensor] = {}

    def error(self, problem: str, expected: str, hint: str = "") -> ModelError:
        """Return an error at the operator at hand; without a hint it says to convert again."""
        return ModelError(
            f"{self.file}: {problem}",
            where=f"at {self.where}",
            expected=expected,
            hint=hint or "the file breaks TensorFlow Lite's rules: convert it again",
        )

    def tensor(self, index: int) -> Tensor:
        """Return a checked tensor of the file."""
        if index not in self._tensors:
            self._tensors[index] = self._convert(self.raw.tensors[index], index)
        return self._tensors[index]

    def fix(self, index: int, data: Array) -> None:
        """Make a tensor a constant: what computes it depends on constants only."""
        self._tensors[index] = dataclasses.replace(self.tensor(index), data=data)

    def body(self, raw: RawModel, variables: Sequence[Variable]) -> Graph:
        """Return a step of the loop at hand as a graph; variables are what it leaves to the next."""
        raise NotImplementedError  # by what reads whole graphs

    def _convert(self, raw: RawTensor, index: int) -> Tensor:
        name = raw.name or f"tensor_{index}"
        if raw.is_sparse:
            raise self.error(
                f"tensor '{name}' is sparse", "expected dense data", "convert without sparsity compression"
            )
        if raw.is_variable and index not in self.states:
            raise self.error(
                f"tensor '{name}' is a variable",
                "expected variables only as states of recurrent operators",
                "export without state",
            )
        shape = self._shape(raw, name)
        if raw.type == "int4":
            return Tensor(
                name,
                shape,
                DType.INT8,
                self._quant(raw, name, shape, DType.INT8),
                self._int4(raw, name, shape),
            )
        if raw.type == "uint8" and index in self.unsigned:
            zero_point = tuple(value - 128 for value in raw.zero_point or (0,))
            raw = dataclasses.replace(raw, type="int8", zero_point=zero_point)
            quant = self._quant(raw, name, shape, DType.INT8)
            return Tensor(name, shape, DType.INT8, quant, unsigned=True)
        try:
            dtype = DType(raw.type)
        except ValueError:
            raise self.error(
                f"tensor '{name}' has element type {raw.type}", "expected int8, int32 or float32", QUANTISE
            ) from None
        data: Array | None = None
        if raw.data is not None:
            expected = math.prod(shape) * dtype.size_bytes
            if raw.data.size != expected:
                raise self.error(
                    f"constant '{name}' has {raw.data.size} bytes of data",
                    f"its shape {dims(shape)} of {dtype.value} needs {expected}",
                )
            data = raw.data.view(np.dtype(dtype.value).newbyteorder("<")).reshape(shape)
        return Tensor(name, shape, dtype, self._quant(raw, name, shape, dtype), data)

    def _int4(self, raw: RawTensor, name: str, shape: tuple[int, ...]) -> Array:
        """Return the values of a constant of two to a byte, the first one in the low half, as int8."""
        count = math.prod(shape)
        if raw.data is None or raw.data.size != (count + 1) // 2:
            have = "no data" if raw.data is None else f"{raw.data.size} bytes of data"
            raise self.error(
                f"int4 tensor '{name}' has {have}",
                f"expected a constant of {(count + 1) // 2} bytes, for its shape {dims(shape)}",
            )
        packed = raw.data.view(np.int8)
        halves = np.stack([(packed << 4).astype(np.int8) >> 4, packed >> 4], axis=1)
        values: Array = halves.reshape(-1)[:count].reshape(shape)
        return values

    def _shape(self, raw: RawTensor, name: str) -> tuple[int, ...]:
        shape = raw.shape
        if shape and shape[0] == -1:  # a dynamic batch runs one sample at a time
            shape = (1, *shape[1:])
        dynamic = any(d < 0 for d in (*shape[1:], *raw.signature[1:]))
        if dynamic:
            raise self.error(
                f"tensor '{name}' has a dynamic shape, {dims(raw.signature or raw.shape)}",
                "expected fixed sizes in all dimensions but the batch",
                "convert with fixed input shapes",
            )
        if any(d <= 0 for d in shape):
            raise self.error(f"tensor '{name}' has shape {dims(shape)}", "expected positive dimensions")
        if len(shape) > MAX_RANK:
            raise self.error(
                f"tensor '{name}' has {len(shape)} dimensions", f"at most {MAX_RANK} are supported"
            )
        if math.prod(shape) > MAX_ELEMENTS:
            raise self.error(f"tensor '{name}' has shape {dims(shape)}", "expected fewer than 2^31 elements")
        if shape and max(shape) > _MAX_DIMENSION:
            raise self.error(f"tensor '{name}' has shape {dims(shape)}", "expected dimensions up to 2^24")
        return shape

    def _quant(self, raw: RawTensor, name: str, shape: tuple[int, ...], dtype: DType) -> Quant | None:
        if not raw.scale or dtype is DType.FLOAT32:
            return None
        count = len(raw.scale)
        zero_point = raw.zero_point or (0,) * count
        if len(zero_point) == 1:
            zero_point *= count
        if len(zero_point) != count:
            raise self.error(
                f"tensor '{name}' has {count} scales and {len(zero_point)} zero points", "expected as many"
            )
        if count > 1 and (not 0 <= raw.axis < len(shape) or shape[raw.axis] != count):
            raise self.error(
                f"tensor '{name}' of shape {dims(shape)} has {count} scales along dimension {raw.axis}",
                "expected one scale, or one per index of that dimension",
            )
        for scale in raw.scale:
            if not _MIN_SCALE <= scale <= 1 / _MIN_SCALE:  # NaN fails too
                raise self.error(
                    f"tensor '{name}' has a scale of {scale:g}",
                    "expected finite positive scales, between 2^-100 and 2^100",
                    "masks of -1e38 or infinity have such scales: use -100, say, and quantise again",
                )
        low, high = (0, 1) if dtype is DType.BOOL else (np.iinfo(dtype.value).min, np.iinfo(dtype.value).max)
        for value in zero_point:
            if not low <= value <= high:
                raise self.error(
                    f"tensor '{name}' has a zero point of {value}",
                    f"expected {low} to {high} for {dtype.value}",
                )
        return Quant(raw.scale, zero_point, raw.axis if count > 1 else 0)

    def inputs(self, op: RawOperator, low: int, high: int) -> tuple[int, ...]:
        """Return the inputs, checked to be low to high in number; those beyond `low` may be absent."""
        if not low <= len(op.inputs) <= high or any(i < 0 for i in op.inputs[:low]):
            wanted = str(low) if low == high else f"{low} to {high}"
            raise self.error(f"it has inputs {list(op.inputs)}", f"expected {wanted} tensors")
        return op.inputs + (-1,) * (high - len(op.inputs))

    def activation(self, index: int, dtypes: tuple[DType, ...] = (DType.INT8,)) -> Tensor:
        """Return a tensor that operators compute with, of one of the types: int8 and int16 have one scale."""
        tensor = self.tensor(index)
        if tensor.dtype not in dtypes:
            raise self.error(
                f"tensor '{tensor.name}' has type {tensor.dtype.value}",
                f"expected {' or '.join(d.value for d in dtypes)}",
                QUANTISE,
            )
        if tensor.dtype in (DType.INT8, DType.INT16):
            if tensor.quant is None:
                raise self.error(f"tensor '{tensor.name}' has no scale", "expected a scale and zero point")
            if tensor.quant.per_channel:
                raise self.error(
                    f"tensor '{tensor.name}' has {len(tensor.quant.scale)} scales",
                    "expected one scale: only weights are quantised per channel",
                )
        return tensor

    def state(self, index: int, dtype: DType = DType.INT8) -> Tensor:
        """Return a variable that the operator at hand updates; it begins as the real value zero."""
        raw = self.raw.tensors[index]
        if not raw.is_variable or raw.data is not None or index in self.states:
            raise self.error(
                f"its state '{raw.name}' is not a variable of its own",
                "expected one that nobody else updates",
            )
        self.states[index] = np.zeros(0, dtype.value)  # from here on a tensor like others
        tensor = self.activation(index, (dtype,))
        # One number in memory: the size has yet to be compared with the weights'.
        self.states[index] = np.broadcast_to(np.array(tensor.zero_point, dtype.value), tensor.shape)
        return tensor

    def check_rescale(self, factor: float) -> None:
        """Refuse a factor between accumulators and outputs that no requantisation can express."""
        if not factor < _MAX_RESCALE:
            raise self.error(
                f"its inputs' scales are {factor:g} times its output's",
                "expected scales in proportion to each other",
                QUANTISE,
            )

    def broadcast(self, *tensors: Tensor) -> tuple[int, ...]:
        """Return the shape that tensors broadcast to."""
        try:
            return tuple(int(d) for d in np.broadcast_shapes(*(tensor.shape for tensor in tensors)))
        except ValueError:
            raise self.error(
                f"its inputs are {' and '.join(dims(tensor.shape) for tensor in tensors)}",
                "expected equal or broadcastable shapes",
            ) from None

    def check_int16(self, *tensors: Tensor) -> None:
        """Refuse int16 tensors with a zero point other than 0."""
        for tensor in tensors:
            if tensor.dtype is DType.INT16 and tensor.zero_point:
                raise self.error(
                    f"tensor '{tensor.name}' has zero point {tensor.zero_point}", "expected 0 for int16"
                )

    def computed(self, op: RawOperator, *indices: int) -> tuple[Tensor, ...]:
        """Return inputs of an operator that computes with int8, or with int16 without zero points.

        Its output has the same type.
        """
        tensors = tuple(self.activation(i, COMPUTED) for i in (*indices, *op.outputs))
        for tensor in tensors:
            if tensor.dtype is not tensors[0].dtype:
                raise self.error(
                    f"tensor '{tensors[0].name}' has type {tensors[0].dtype.value}, "
                    f"'{tensor.name}' {tensor.dtype.value}",
                    "expected one type of activations",
                    QUANTISE,
                )
            if tensor.dtype is DType.INT16 and tensor.zero_point:
                raise self.error(
                    f"tensor '{tensor.name}' has zero point {tensor.zero_point}", "expected 0 for int16"
                )
        return tensors[: len(indices)]

    def image(self, index: int, dtypes: tuple[DType, ...] = (DType.INT8,)) -> Tensor:
        """Return an NHWC activation."""
        tensor = self.activation(index, dtypes)
        if len(tensor.shape) != 4:
            raise self.error(f"tensor '{tensor.name}' is {dims(tensor.shape)}", "expected 4 dimensions, NHWC")
        return tensor

    def constant(self, index: int, dtype: DType, what: str) -> Array:
        """Return the values of a constant of the given type; `what` names it in messages."""
        tensor = self.tensor(index)
        if tensor.data is None:
            raise self.error(
                f"its {what} '{tensor.name}' is computed by the model",
                "expected a constant",
                "convert with fixed shapes, so that the converter can fold it",
            )
        if tensor.dtype is not dtype:
            raise self.error(
                f"its {what} '{tensor.name}' has type {tensor.dtype.value}", f"expected {dtype.value}"
            )
        return tensor.data

    def integers(self, index: int, what: str, count: int | None = None) -> list[int]:
        """Return a constant int32 (or int64) vector."""
        dtype = DType.INT64 if self.tensor(index).dtype is DType.INT64 else DType.INT32
        data = self.constant(index, dtype, what)
        if data.ndim > 1 or data.size > MAX_RANK or (count is not None and data.size != count):
            wanted = f"{count} numbers" if count is not None else f"at most {MAX_RANK} numbers"
            raise self.error(f"its {what} has shape {dims(data.shape)}", f"expected {wanted}")
        return [int(v) for v in data.reshape(-1)]

    def activation_function(self, op: RawOperator) -> Activation:
        """Return the operator's fused activation."""
        code = op.options["FusedActivationFunction"]
        if code not in _ACTIVATIONS:
            raise self.error(
                f"it has fused activation {code}",
                "expected none, RELU, RELU_N1_TO_1 or RELU6",
                "use one of these activations",
            )
        return _ACTIVATIONS[code]

    def bias(self, index: int, channels: int, dtype: DType = DType.INT32) -> None:
        """Check an optional bias: one number per channel."""
        if index < 0:
            return
        bias = self.constant(index, dtype, "bias")
        if bias.size != channels or bias.ndim > 1:
            raise self.error(f"its bias has shape {dims(bias.shape)}", f"expected {channels} numbers")

    def layer_bias(self, index: int, x: Tensor, weights: Tensor, axis: int = 0) -> None:
        """Check the optional bias of a layer: int32, or int64 where the activations are int16.

        Args:
            index: the bias, −1 where there is none.
            x: the input.
            weights: the weights.
            axis: the dimension of the weights that is the output channel.
        """
        if x.dtype is not DType.INT16 or index < 0:
            return self.bias(index, weights.shape[axis])
        if self.tensor(index).dtype is DType.INT32:
            raise self.error(
                "its activations are int16 and its bias is int32",
                "expected int64: TensorFlow Lite's reference kernels take the bytes for it",
                "convert without _experimental_full_integer_quantization_bias_type",
            )
        self.bias(index, weights.shape[axis], DType.INT64)
        if self.largest_sum(index, weights, axis) >= wide.MOST_ACCUMULATED:
            raise self.error("its sums may leave 48 bits", "expected a smaller bias", QUANTISE)

    def largest_sum(self, index: int, weights: Tensor, axis: int = 0) -> int:
        """Return what products of int16 inputs and weights add up to at most, bias included (−1: none)."""
        assert weights.data is not None
        most = [int(m) for m in wide.largest_sum(weights.data, axis)]
        bias = self.tensor(index).data if index >= 0 else None
        offsets = [0] * len(most) if bias is None else [abs(int(v)) for v in bias.flat]
        return max(map(sum, zip(most, offsets, strict=True)))

    def weights(self, index: int, rank: int, axis: int) -> Tensor:
        """Return int8 weights: symmetric, one scale or one per output channel."""
        self.constant(index, DType.INT8, "weights")
        weights = self.tensor(index)
        if len(weights.shape) != rank:
            raise self.error(f"its weights are {dims(weights.shape)}", f"expected {rank} dimensions")
        if weights.quant is None:
            raise self.error("its weights have no scale", "expected one scale, or one per output channel")
        if weights.quant.per_channel and weights.quant.axis != axis:
            raise self.error(
                f"its weights are quantised along dimension {weights.quant.axis}",
                f"expected dimension {axis}",
            )
        if any(weights.quant.zero_point):
            raise self.error(
                "its weights have a zero point other than 0", "expected symmetric int8 weights", QUANTISE
            )
        return weights

    def check_weighted(self, op: RawOperator, x: Tensor, weights: Tensor) -> None:
        """Refuse weights whose scale no requantisation can express."""
        assert weights.quant is not None
        (output,) = self.computed(op, op.outputs[0])
        factor = x.scale * max(weights.quant.scale) / output.scale
        self.check_rescale(factor)
        if x.dtype is DType.INT16 and self.raw.tensors[op.inputs[1]].type == "int4":
            raise self.error("its activations are int16 and its weights int4", "expected int8 weights")
        if x.dtype is DType.INT16 and not factor < 2.0**wide.MOST_WIDE_SHIFT * (1 - 2.0**-32):
            raise self.error(
                f"its inputs' scales are {factor:g} times its output's",
                f"expected less than {2**wide.MOST_WIDE_SHIFT} times for int16",
                QUANTISE,
            )

    def window(
        self, op: RawOperator, image: Tensor, kernel: tuple[int, int], dilation: tuple[int, int]
    ) -> tuple[WindowAttrs, int, int]:
        """Resolve strides, dilations and padding; returns the attributes and the output size."""
        stride = (op.options["StrideH"], op.options["StrideW"])
        padding = op.options["Padding"]
        if padding not in (SAME, VALID):
            raise self.error(f"it has padding {padding}", "expected SAME or VALID")
        out: list[int] = []
        pads: list[int] = []
        for axis in (0, 1):
            if stride[axis] <= 0 or dilation[axis] <= 0 or kernel[axis] <= 0:
                raise self.error(
                    f"it has stride {stride[axis]}, dilation {dilation[axis]}, kernel {kernel[axis]}",
                    "expected positive numbers",
                )
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            if max(reach, stride[axis]) > MAX_EXTENT:
                raise self.error(
                    f"its window reaches over {reach} pixels with stride {stride[axis]}",
                    f"at most {MAX_EXTENT} are supported",
                    "use a smaller kernel, dilation or stride",
                )
            size, before, after = window_extent(
                image.shape[1 + axis], kernel[axis], stride[axis], dilation[axis], padding
            )
            if size <= 0:
                raise self.error(
                    f"its window of {reach} does not fit an input of {dims(image.shape)} without padding",
                    "expected a window within the input",
                )
            out.append(size)
            pads += [before, after]
        attrs = WindowAttrs(
            kernel_h=kernel[0],
            kernel_w=kernel[1],
            stride_h=stride[0],
            stride_w=stride[1],
            dilation_h=dilation[0],
            dilation_w=dilation[1],
            pads=Pads(top=pads[0], left=pads[2], bottom=pads[1], right=pads[3]),
            activation=self.activation_function(op),
        )
        return attrs, out[0], out[1]
