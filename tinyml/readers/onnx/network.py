"""The graph under construction, and what stands for a value of the file while it is read.

A QDQ file computes in float between DequantizeLinear and QuantizeLinear. So a value of the file is

* `Stored`: it was quantised, and a tensor of the graph holds it (DequantizeLinear only sets `real`);
* `Pending`: an operator's float result, which the next QuantizeLinear gives a scale and makes a tensor;
* `Constant`: known now, quantised or not.

uint8 activations become int8 by taking 128 off values and zero points, which changes nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinyml import numerics
from tinyml.errors import ModelError, UnsupportedOp
from tinyml.graph import Activation, Array, Attrs, DType, NoAttrs, Op, OpKind, Quant, Tensor, TransposeAttrs
from tinyml.readers.onnx.order import Order, channels_last, move, permutation, plain, transposed
from tinyml.readers.onnx.proto import Attribute, Node, check_shape
from tinyml.readers.tensors import dims

MAX_EXTENT = 2**15  # reach of a window and size of an image in pixels; C kernels index with int32
_MIN_SCALE = 2.0**-100  # real scales are above 1e-8; these keep every float32 product finite
_MAX_RESCALE = 2.0**30  # accumulators are shifted left by at most 30 bits

QUANTISE = (
    "quantise it statically: onnxruntime.quantization.quantize_static(float_model, int8_model, "
    "calibration_reader, quant_format=QuantFormat.QDQ, per_channel=True)"
)


def quantise_too(op: str) -> str:
    """Return what to do about an operator that the quantiser left in float."""
    return f"{QUANTISE}; it quantises other operators where op_types_to_quantize names them: {op}"


@dataclass(frozen=True, slots=True)
class FileValue:
    """What the file calls a tensor of the graph: its name, type and shape, and the order in the graph."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    order: Order

    def from_file(self, values: Array) -> Array:
        """Return a value of the file as the graph holds it, flat: in the graph's order, uint8 as int8."""
        order = self.order
        moved = np.ascontiguousarray(values.reshape(order.dims).transpose(order.order)).reshape(-1)
        return (moved.astype(np.int16) - 128).astype(np.int8) if moved.dtype == np.uint8 else moved

    def to_file(self, values: Array) -> Array:
        """Return what the graph holds as the file has it."""
        order = self.order
        memory = values.reshape([order.dims[d] for d in order.order])
        inverse = [order.order.index(d) for d in range(len(order.dims))]
        moved = np.ascontiguousarray(memory.transpose(inverse)).reshape(self.shape)
        return (moved.astype(np.int16) + 128).astype(np.uint8) if self.dtype == "uint8" else moved


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A value that a tensor of the graph holds in the order `order`.

    `real` says that it stands for real numbers (behind DequantizeLinear) and not for its int8 codes.
    """

    tensor: int
    shape: tuple[int, ...]
    order: Order
    real: bool


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant: numbers as they are, or int8 codes of real ones where `quant` is given."""

    data: Array
    quant: Quant | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.data.shape


@dataclass(frozen=True, slots=True)
class Output:
    """What a QuantizeLinear wants of the operator before it."""

    quant: Quant
    name: str
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A float result. `build` makes it an int8 tensor; [low, high] is what Relu and Clip leave of it.

    `fuses` tells whether `build` can apply an activation; `name` is the value's and `op` the operator that
    computes it ("input" for an input of the model), for messages. A value that is a `function` of a single
    quantised one, `source`, element by element, says so.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    build: Callable[[Output], Stored]
    fuses: bool
    low: float = -math.inf
    high: float = math.inf
    source: Stored | None = None
    function: Callable[[Array], Array] | None = None


Operand = Stored | Constant | Pending


class Network:
    """Tensors and operators so far, and the checks that operators share.

    Args:
        file: its name, for messages.

    Every method raises ModelError where the node at hand breaks ONNX's rules, and UnsupportedOp where it
    asks for what no kernel does.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.node = Node("", "", (), (), {})
        self.tensors: list[Tensor] = []
        self.file_values: list[FileValue | None] = []
        self.ops: list[Op] = []
        self.operands: dict[str, Operand] = {}
        self._moved: dict[tuple[int, Order, tuple[int, ...]], int] = {}

    # Messages

    def error(self, problem: str, expected: str, hint: str = "") -> ModelError:
        """Return an error at the node at hand: the file is wrong."""
        return ModelError(
            f"{self.file}: {problem}",
            where=f"at {self.node.op} '{self.node.name}'",
            expected=expected,
            hint=hint or "the file breaks ONNX's rules: export it again",
        )

    def unsupported(self, problem: str, expected: str, hint: str) -> UnsupportedOp:
        """Return an error at the node at hand: nothing runs it."""
        return UnsupportedOp(
            f"{self.file}: {problem}",
            where=f"at {self.node.op} '{self.node.name}'",
            expected=expected,
            hint=hint,
        )

    # The node's inputs and attributes

    def has_input(self, position: int) -> bool:
        """Return whether an optional input is there."""
        return position < len(self.node.inputs) and bool(self.node.inputs[position])

    def operand(self, position: int) -> Operand:
        """Return an input."""
        if not self.has_input(position):
            raise self.error(f"it has {len(self.node.inputs)} inputs", f"expected input {position}")
        name = self.node.inputs[position]
        if name not in self.operands:
            raise self.error(
                f"it reads '{name}' before anything has written it",
                "expected operators in an executable order, without cycles",
            )
        return self.operands[name]

    def real(self, position: int) -> Stored:
        """Return an input that an int8 operator computes with: quantised, one scale."""
        operand = self.operand(position)
        if isinstance(operand, Stored) and operand.real and self.tensors[operand.tensor].quant is not None:
            return operand
        raise self.not_quantised(position)

    def not_quantised(self, position: int) -> UnsupportedOp:
        """Return what to say of an input that is float and should not be."""
        operand = self.operand(position)
        writer = operand.op if isinstance(operand, Pending) and operand.op != "input" else self.node.op
        return self.unsupported(
            f"it computes in float: nothing quantises its input '{self.node.inputs[position]}'",
            "expected QuantizeLinear and DequantizeLinear before every operator",
            quantise_too(writer),
        )

    def constant(self, position: int, what: str) -> Array:
        """Return a constant input that is not quantised; `what` names it in messages."""
        operand = self.operand(position)
        if not isinstance(operand, Constant) or operand.quant is not None:
            raise self.unsupported(
                f"its {what} '{self.node.inputs[position]}' is computed by the model",
                "expected a constant",
                "export with fixed shapes, then onnxsim or onnxruntime's quant_pre_process folds it",
            )
        return operand.data

    def integers(self, position: int, what: str) -> tuple[int, ...]:
        """Return a constant vector of integers."""
        data = self.constant(position, what)
        if data.dtype.kind != "i" or data.ndim > 1 or data.size > 16:
            raise self.error(f"its {what} is {data.dtype}{list(data.shape)}", "expected a few integers")
        return tuple(int(v) for v in data.reshape(-1))

    def attribute(self, name: str, default: Attribute | None = None) -> Attribute | None:
        """Return an attribute as the file has it."""
        return self.node.attributes.get(name, default)

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attribute(name, default)
        if not isinstance(value, int):
            raise self.error(f"its attribute {name} is {value!r}", "expected an integer")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a finite float attribute."""
        value = self.attribute(name, default)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(f"its attribute {name} is {value!r}", "expected a finite number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        """Return a string attribute."""
        value = self.attribute(name, default)
        if not isinstance(value, str):
            raise self.error(f"its attribute {name} is {value!r}", "expected a string")
        return value

    def numbers(self, name: str, count: int | None = None, default: int | None = None) -> tuple[int, ...]:
        """Return an attribute of integers: `count` of them where that is given, all `default` if absent."""
        value = self.attribute(name)
        if value is None and default is not None and count is not None:
            return (default,) * count
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise self.error(f"its attribute {name} is {value!r}", "expected integers")
        if count is not None and len(value) != count:
            raise self.error(f"its attribute {name} is {list(value)}", f"expected {count} integers")
        return tuple(int(v) for v in value)

    def axis(self, value: int, rank: int) -> int:
        """Return an axis counted from the front."""
        if not -rank <= value < rank:
            raise self.error(f"it names axis {value}", f"expected an axis of {rank} dimensions")
        return value % rank

    # Tensors and operators

    def add_tensor(self, tensor: Tensor) -> int:
        """Append a tensor and return its index."""
        check_shape(tensor.shape, f"tensor '{tensor.name}'", self.file)
        self.tensors.append(tensor)
        self.file_values.append(None)
        return len(self.tensors) - 1

    def add_constant(self, suffix: str, data: Array, quant: Quant | None = None) -> int:
        """Append a constant of the node at hand, int8 or int32."""
        name = f"{self.node.name}/{suffix}"
        return self.add_tensor(Tensor(name, data.shape, DType(data.dtype.name), quant, data))

    def emit(
        self, kind: OpKind, inputs: Sequence[int], attrs: Attrs, shape: Sequence[int], quant: Quant, name: str
    ) -> int:
        """Append an operator with an int8 output; returns the output's index."""
        index = self.add_tensor(Tensor(name, tuple(shape), DType.INT8, quant))
        self.ops.append(Op(kind, tuple(inputs), (index,), attrs, name))
        return index

    def pending(
        self, shape: tuple[int, ...], build: Callable[[Output], Stored], *, fuses: bool = False
    ) -> Pending:
        """Return the float result of the node at hand, which is there again when it is built."""
        node = self.node

        def at_node(output: Output) -> Stored:
            later, self.node = self.node, node
            stored = build(output)
            self.node = later
            return stored

        return Pending(node.outputs[0], node.op, shape, at_node, fuses)

    def quant(self, tensor: int) -> Quant:
        """Return an activation's quantisation."""
        quant = self.tensors[tensor].quant
        assert quant is not None
        return quant

    def check_rescale(self, factor: float) -> None:
        """Refuse a factor between accumulators and outputs that no requantisation can express."""
        if not factor < _MAX_RESCALE:
            raise self.error(
                f"its inputs' scales are {factor:g} times its output's",
                "expected scales in proportion to each other",
                QUANTISE,
            )

    def requantised(self, value: Stored, output: Output) -> Stored:
        """Return a value with another scale and zero point (and name); the same one where they are equal."""
        quant = self.quant(value.tensor)
        if quant == output.quant:
            return value
        self.check_rescale(quant.scale[0] / output.quant.scale[0])
        shape = self.tensors[value.tensor].shape
        index = self.emit(OpKind.QUANTIZE, (value.tensor,), NoAttrs(), shape, output.quant, output.name)
        return replace(value, tensor=index)

    # Order in memory

    def in_order(self, value: Stored, shape: Sequence[int], perm: Sequence[int]) -> int:
        """Return a tensor that holds a value as [shape[p] for p in perm]; moves elements if it must.

        `shape` has as many elements as the value, in the same order.
        """
        wanted = tuple(shape[p] for p in perm)
        order = transposed(shape, perm)
        key = (value.tensor, order, wanted)
        if key not in self._moved:
            self._moved[key] = self._move(value, order, wanted)
        return self._moved[key]

    def _move(self, value: Stored, order: Order, wanted: tuple[int, ...]) -> int:
        if value.order == order:
            return self.reshaped(value.tensor, wanted)
        step = move(value.order, order)
        if step is None:  # by way of the file's order
            inner = plain(value.shape)
            step = move(value.order, inner)
            assert step is not None
            tensor = self._transposed(value.tensor, *step)
            return self._move(replace(value, tensor=tensor, order=inner), order, wanted)
        return self.reshaped(self._transposed(value.tensor, *step), wanted)

    def _transposed(self, tensor: int, shape: tuple[int, ...], perm: tuple[int, ...]) -> int:
        source = self.reshaped(tensor, shape)
        x = self.tensors[source]
        output = self.add_tensor(
            Tensor(f"{x.name}/transposed", tuple(shape[p] for p in perm), x.dtype, x.quant)
        )
        self.ops.append(Op(OpKind.TRANSPOSE, (source,), (output,), TransposeAttrs(perm), self.node.name))
        return output

    def reshaped(self, tensor: int, shape: tuple[int, ...]) -> int:
        """Return a tensor with the same bytes and another shape."""
        x = self.tensors[tensor]
        if x.shape == shape:
            return tensor
        output = self.add_tensor(Tensor(f"{x.name}/reshaped", shape, x.dtype, x.quant))
        self.ops.append(Op(OpKind.RESHAPE, (tensor,), (output,), NoAttrs(), self.node.name))
        return output

    def image(self, value: Stored) -> int:
        """Return an NHWC tensor of an image [1, C, H, W] or a sequence [1, C, W]."""
        return self.in_order(value, self.image_shape(value.shape), channels_last(4))

    def image_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape as [1, C, H, W]: a sequence [1, C, W] is one row high."""
        if len(shape) not in (3, 4):
            raise self.unsupported(
                f"its input is {dims(shape)}",
                "expected 1xCxHxW or 1xCxW: images or sequences",
                "replace layers of three spatial dimensions",
            )
        if shape[0] != 1:
            raise self.unsupported(
                f"its input is {dims(shape)}, a batch of {shape[0]}",
                "expected a batch of 1",
                "export the model with a batch of 1",
            )
        return shape if len(shape) == 4 else (shape[0], shape[1], 1, shape[2])

    def order_of(self, value: Stored) -> tuple[int, ...]:
        """Return the permutation of a value's axes that its memory is in; the identity where none is."""
        return permutation(value.order, value.shape) or tuple(range(len(value.shape)))

    def stored(self, tensor: int, shape: Sequence[int], perm: Sequence[int]) -> Stored:
        """Return what a tensor that is [shape[p] for p in perm] stands for."""
        return Stored(tensor, tuple(shape), transposed(shape, perm), True)

    # Quantisation

    def activation(self, low: float, high: float, quant: Quant) -> Activation | None:
        """Return the activation that leaves [low, high] of int8 values with a quantisation, or None."""
        scale, zero_point = quant.scale[0], quant.zero_point[0]

        def code(real: float) -> int:
            return int(np.clip(np.rint(real / scale) + zero_point, -128, 127))

        wanted = code(low), code(high)
        for activation in Activation:
            if numerics.activation_range(activation, scale, zero_point) == wanted:
                return activation
        return None

    def quantisation(self, dtype: str) -> tuple[Quant, str]:
        """Return the quantisation in inputs 1 (scale) and 2 (zero point), and its element type.

        Args:
            dtype: the type where the node has no zero point.

        Returns:
            For uint8 the quantisation of the int8 it becomes, and "uint8".
        """
        scales = self.constant(1, "scale")
        points = self.constant(2, "zero point") if self.has_input(2) else np.zeros(scales.shape, dtype)
        dtype = points.dtype.name
        # Of one scale and zero point, one may be a scalar and the other a vector.
        fit = max(scales.ndim, points.ndim) <= 1 and scales.size == points.size > 0
        if scales.dtype != np.float32 or not fit:
            raise self.error(
                f"its scale is {scales.dtype}{list(scales.shape)}, "
                f"its zero point {points.dtype}{list(points.shape)}",
                "expected one float32 scale, or one per index of an axis, and as many zero points",
            )
        if dtype not in ("int8", "uint8", "int32"):
            raise self.unsupported(
                f"it quantises to {dtype}",
                "expected int8 or uint8",
                "quantise with activation_type and weight_type QuantType.QInt8 or QUInt8",
            )
        for scale in scales.reshape(-1):
            if not _MIN_SCALE <= float(scale) <= 1 / _MIN_SCALE:  # NaN fails too
                raise self.error(
                    f"its scale is {float(scale):g}", "expected finite positive scales, 2^-100 to 2^100"
                )
        offset = 128 if dtype == "uint8" else 0
        return Quant(
            tuple(float(s) for s in scales.reshape(-1)), tuple(int(z) - offset for z in points.reshape(-1))
        ), dtype

    def with_axis(self, quant: Quant, shape: Sequence[int]) -> Quant:
        """Return a quantisation with the node's axis, checked where there are several scales."""
        if not quant.per_channel:
            return quant
        axis = self.axis(self.integer("axis", 1), len(shape))
        if shape[axis] != len(quant.scale):
            raise self.error(
                f"it has {len(quant.scale)} scales along axis {axis} of {dims(shape)}",
                "expected one scale, or one per index of that axis",
            )
        return replace(quant, axis=axis)
