"""The graph every later step reads: tensors, their quantisation, and operators.

It knows no file format. Readers make it, passes rewrite it, nothing changes it in place.
Layout is NHWC throughout; shapes include the batch dimension.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class DType(StrEnum):
    """Element types a tensor can have."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"
    BOOL = "bool"

    @property
    def size_bytes(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.value).itemsize


class OpKind(StrEnum):
    """Operators, by their TFLite names."""

    CONV_2D = "CONV_2D"
    DEPTHWISE_CONV_2D = "DEPTHWISE_CONV_2D"
    FULLY_CONNECTED = "FULLY_CONNECTED"
    ADD = "ADD"
    MUL = "MUL"
    BATCH_TO_SPACE_ND = "BATCH_TO_SPACE_ND"
    CONCATENATION = "CONCATENATION"
    DEPTH_TO_SPACE = "DEPTH_TO_SPACE"
    GATHER = "GATHER"
    GATHER_ND = "GATHER_ND"
    MIRROR_PAD = "MIRROR_PAD"
    RESIZE_BILINEAR = "RESIZE_BILINEAR"
    SLICE = "SLICE"
    SPACE_TO_BATCH_ND = "SPACE_TO_BATCH_ND"
    SPACE_TO_DEPTH = "SPACE_TO_DEPTH"
    TILE = "TILE"
    AVERAGE_POOL_2D = "AVERAGE_POOL_2D"
    MAX_POOL_2D = "MAX_POOL_2D"
    MEAN = "MEAN"
    PAD = "PAD"
    RESHAPE = "RESHAPE"
    TRANSPOSE = "TRANSPOSE"
    SOFTMAX = "SOFTMAX"
    RESIZE_NEAREST_NEIGHBOR = "RESIZE_NEAREST_NEIGHBOR"
    UNIDIRECTIONAL_SEQUENCE_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    SVDF = "SVDF"
    QUANTIZE = "QUANTIZE"
    DEQUANTIZE = "DEQUANTIZE"
    CAST = "CAST"
    FLOAT_FUNCTION = "FLOAT_FUNCTION"  # of one float, between DEQUANTIZE and QUANTIZE (FloatFunctionAttrs)
    LOOKUP = "LOOKUP"  # any function of one int8 value: LOGISTIC, HARD_SWISH, ... (LookupAttrs)
    BINARY = "BINARY"  # any other function of two elements: SUB, MAXIMUM, LESS, ... (BinaryAttrs)
    UNARY = "UNARY"  # a function of one int16 value: LOGISTIC, TANH, ... (UnaryAttrs)
    INTEGER = "INTEGER"  # a function of one or two int32 or int64, as token ids are (IntegerAttrs)
    LOGICAL_NOT = "LOGICAL_NOT"
    SELECT = "SELECT"  # SELECT_V2 too
    ARG_MAX = "ARG_MAX"
    ARG_MIN = "ARG_MIN"
    BATCH_MATMUL = "BATCH_MATMUL"
    L2_NORMALIZATION = "L2_NORMALIZATION"
    LOG_SOFTMAX = "LOG_SOFTMAX"
    REDUCE_MAX = "REDUCE_MAX"
    REDUCE_MIN = "REDUCE_MIN"
    REDUCE_PROD = "REDUCE_PROD"
    SUM = "SUM"
    TRANSPOSE_CONV = "TRANSPOSE_CONV"
    WHILE = "WHILE"  # a loop of a fixed number of steps (LoopAttrs)


class Activation(StrEnum):
    """Fused activations."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"


class UnaryFunction(StrEnum):
    """Functions of one int16 value, by their TFLite names."""

    LEAKY_RELU = "LEAKY_RELU"
    LOGISTIC = "LOGISTIC"
    RELU = "RELU"
    TANH = "TANH"


class BinaryFunction(StrEnum):
    """Functions of BINARY, by their TFLite names."""

    SUB = "SUB"
    MINIMUM = "MINIMUM"
    MAXIMUM = "MAXIMUM"
    SQUARED_DIFFERENCE = "SQUARED_DIFFERENCE"
    PRELU = "PRELU"
    DIV = "DIV"
    EQUAL = "EQUAL"
    NOT_EQUAL = "NOT_EQUAL"
    LESS = "LESS"
    LESS_EQUAL = "LESS_EQUAL"
    GREATER = "GREATER"
    GREATER_EQUAL = "GREATER_EQUAL"
    LOGICAL_AND = "LOGICAL_AND"
    LOGICAL_OR = "LOGICAL_OR"


class IntegerFunction(StrEnum):
    """Functions of INTEGER, by their TFLite names: of two integers, and from ABS on of one."""

    ADD = "ADD"
    SUB = "SUB"
    MUL = "MUL"
    SQUARED_DIFFERENCE = "SQUARED_DIFFERENCE"
    MINIMUM = "MINIMUM"
    MAXIMUM = "MAXIMUM"
    FLOOR_DIV = "FLOOR_DIV"
    FLOOR_MOD = "FLOOR_MOD"
    EQUAL = "EQUAL"
    NOT_EQUAL = "NOT_EQUAL"
    LESS = "LESS"
    LESS_EQUAL = "LESS_EQUAL"
    GREATER = "GREATER"
    GREATER_EQUAL = "GREATER_EQUAL"
    ABS = "ABS"
    NEG = "NEG"


COMPARISONS = (
    IntegerFunction.EQUAL,
    IntegerFunction.NOT_EQUAL,
    IntegerFunction.LESS,
    IntegerFunction.LESS_EQUAL,
    IntegerFunction.GREATER,
    IntegerFunction.GREATER_EQUAL,
)
"""Functions of two integers that give a bool."""


@dataclass(frozen=True, slots=True)
class Quant:
    """Affine quantisation: real = scale · (q − zero_point).

    One scale and zero point for the whole tensor, or one per index of `axis`.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        """True where each index of `axis` has its own scale."""
        return len(self.scale) > 1


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor: an activation, or a constant where `data` is given (shape == data.shape).

    `channels` are those of the file's tensor (indices of the last dimension) that passes left of an
    activation, in order; None is all. `unsigned` says that the file has uint8 where this is int8, 128 less
    (and so has the zero point): the same real numbers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    quant: Quant | None = None
    data: Array | None = None
    channels: tuple[int, ...] | None = None
    unsigned: bool = False

    @property
    def elements(self) -> int:
        """Number of elements (1 for a scalar)."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor, densely packed."""
        return self.elements * self.dtype.size_bytes

    @property
    def scale(self) -> float:
        """The per-tensor scale."""
        assert self.quant is not None
        assert not self.quant.per_channel
        return self.quant.scale[0]

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point."""
        assert self.quant is not None
        assert not self.quant.per_channel
        return self.quant.zero_point[0]

    def of_file(self, values: Array) -> Array:
        """Return what of the file's tensor is left in this one."""
        values = signed(values) if self.unsigned and values.dtype == np.uint8 else values
        return values if self.channels is None else values.take(self.channels, axis=-1)


def signed(values: Array) -> Array:
    """Return uint8 values as the int8 ones that stand for them, 128 less."""
    return (values ^ 0x80).view(np.int8)


def unsigned(values: Array) -> Array:
    """Return int8 values as the uint8 ones that they stand for, 128 more."""
    return values.view(np.uint8) ^ 0x80


@dataclass(frozen=True, slots=True)
class Pads:
    """Zero-point rows and columns around an image; may be asymmetric."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class WindowAttrs:
    """CONV_2D, DEPTHWISE_CONV_2D and pooling. Pads are explicit: SAME and VALID are resolved by the reader.

    Pooling leaves `dilation_*` at 1 and sets `kernel_*`; convolutions read the kernel size off
    their weights (CONV_2D [O,KH,KW,I/groups], DEPTHWISE [1,KH,KW,O]) and repeat it here. So does
    TRANSPOSE_CONV ([O,KH,KW,I]), whose strides and pads are those of the convolution that it transposes:
    input pixel (y, x) adds to output pixels (stride_h·y − top + ky, stride_w·x − left + kx).
    """

    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pads: Pads = field(default_factory=Pads)
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True)
class ActivationAttrs:
    """FULLY_CONNECTED, ADD, MUL."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True)
class ReduceAttrs:
    """MEAN, SUM, REDUCE_*: axes are non-negative, sorted, unique."""

    axes: tuple[int, ...]
    keep_dims: bool


@dataclass(frozen=True, slots=True)
class ArgAttrs:
    """ARG_MAX, ARG_MIN: the axis is not negative."""

    axis: int


@dataclass(frozen=True, slots=True)
class MatmulAttrs:
    """BATCH_MATMUL: whether the last two dimensions of an operand are swapped before it is multiplied."""

    adj_x: bool = False
    adj_y: bool = False


@dataclass(frozen=True, slots=True)
class PadAttrs:
    """PAD: (before, after) per dimension, filled with `value`; None is the zero point, or 0 without one."""

    paddings: tuple[tuple[int, int], ...]
    value: int | float | None = None


@dataclass(frozen=True, slots=True)
class MirrorPadAttrs:
    """MIRROR_PAD: (before, after) per dimension; `reflect` leaves the edge out, else it is repeated."""

    paddings: tuple[tuple[int, int], ...]
    reflect: bool


@dataclass(frozen=True, slots=True)
class SliceAttrs:
    """SLICE, and what is one: STRIDED_SLICE, SPLIT, SPLIT_V, UNPACK, REVERSE_V2.

    Index i of input dimension d is taken from begin[d] + i · steps[d]. Dimension d of the input is dimension
    axes[d] of the output, −1 where it takes a single index and is gone; further dimensions of the output
    are new, of size 1.
    """

    begin: tuple[int, ...]
    steps: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConcatAttrs:
    """CONCATENATION, PACK: the inputs one after another for each index of the first `axis` dimensions."""

    axis: int


@dataclass(frozen=True, slots=True)
class GatherAttrs:
    """GATHER: output[b, o, i, k] = data[b, o, indices[b, i], k]; b over `batch_dims`, o up to `axis`."""

    axis: int
    batch_dims: int = 0


@dataclass(frozen=True, slots=True)
class BlockAttrs:
    """SPACE_TO_DEPTH and its kin: blocks of (height, width).

    `edges` are rows and columns (before, after): padded by SPACE_TO_BATCH_ND, cut off by BATCH_TO_SPACE_ND.
    An input of three dimensions is one column wide.
    """

    block: tuple[int, int]
    edges: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))


@dataclass(frozen=True, slots=True)
class TransposeAttrs:
    """TRANSPOSE: output dimension d is input dimension perm[d]."""

    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SoftmaxAttrs:
    """SOFTMAX over the last dimension."""

    beta: float = 1.0


@dataclass(frozen=True, slots=True)
class ResizeAttrs:
    """RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR; the output size is the output tensor's shape."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True, slots=True)
class LstmAttrs:
    """UNIDIRECTIONAL_SEQUENCE_LSTM: how the hidden state is quantised, before any projection.

    A `cell_clip` or `projection_clip` of 0 is none. `gate_scales` are those of the gates' sums (input,
    forget, cell, output) where these are normalised, else they are 2^-12.
    """

    hidden_scale: float
    hidden_zero_point: int
    cell_clip: float = 0.0
    projection_clip: float = 0.0
    gate_scales: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SvdfAttrs:
    """SVDF: filters of this rank add up to one unit."""

    rank: int


@dataclass(frozen=True, slots=True)
class LookupAttrs:
    """LOOKUP: the output for each of the 256 inputs.

    Args:
        function: what the file calls it; several joined by '+' where a pass made one table of them.
        table: the outputs of the inputs -128 to 127, in this order.
    """

    function: str
    table: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnaryAttrs:
    """UNARY; `alpha` is LEAKY_RELU's slope below zero, as the file's float32."""

    function: UnaryFunction
    alpha: float = 0.0


@dataclass(frozen=True, slots=True)
class FloatFunctionAttrs:
    """FLOAT_FUNCTION of float32: NEG, ELU, SIN, ..., which `passes/quantise_islands.py` makes a LOOKUP.

    Args:
        function: what the file calls it.
        operand: its constant second operand, where it has two.
    """

    function: str
    operand: float = 0.0


@dataclass(frozen=True, slots=True)
class BinaryAttrs:
    """BINARY; the activation is SUB's or DIV's."""

    function: BinaryFunction
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True)
class IntegerAttrs:
    """INTEGER: int32 or int64 without scales, that wrap; comparisons give bool."""

    function: IntegerFunction


@dataclass(frozen=True, slots=True)
class SelectAttrs:
    """SELECT: all inputs broadcast, unless the condition has one value per index of the first dimension."""

    leading_condition: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """The rows of a sequence in the order in which a loop takes them: first + step · n in step n."""

    first: int = 0
    step: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class LoopAttrs:
    """WHILE: a network with states that runs `steps` times, as recurrent layers do.

    The operator's inputs are in this order: the sequences of which each step reads one row (index of the
    first dimension), the tensors that all steps read, and what the body's states are at first (−1 where
    State.initial says it). The body's inputs are a row of each sequence and the tensors, and its one output
    is the operator's, or a row of it.

    Args:
        body: one step.
        steps: how many.
        walks: of the sequences.
        collects: where the body's output goes, row by row; None where the last step's is the operator's.
    """

    body: Graph
    steps: int
    walks: tuple[Walk, ...]
    collects: Walk | None = None

    @property
    def initial(self) -> int:
        """The position of the first state's initial value among the operator's inputs."""
        return len(self.body.inputs)


@dataclass(frozen=True, slots=True)
class NoAttrs:
    """RESHAPE, QUANTIZE, DEQUANTIZE, CAST, LOGICAL_NOT: all is in the tensors."""

    """Operators that are all in their tensors: RESHAPE, QUANTIZE, CAST, TILE, L2_NORMALIZATION, ..."""

    """RESHAPE, QUANTIZE, DEQUANTIZE, L2_NORMALIZATION, LOG_SOFTMAX: all is in the tensors."""
    """RESHAPE, QUANTIZE, DEQUANTIZE, TILE, GATHER_ND: all is in the tensors."""


Attrs = (
    WindowAttrs
    | ActivationAttrs
    | ReduceAttrs
    | ArgAttrs
    | MatmulAttrs
    | PadAttrs
    | MirrorPadAttrs
    | SliceAttrs
    | ConcatAttrs
    | GatherAttrs
    | BlockAttrs
    | TransposeAttrs
    | SoftmaxAttrs
    | ResizeAttrs
    | LstmAttrs
    | SvdfAttrs
    | LookupAttrs
    | UnaryAttrs
    | FloatFunctionAttrs
    | BinaryAttrs
    | IntegerAttrs
    | SelectAttrs
    | LoopAttrs
    | NoAttrs
)


@dataclass(frozen=True, slots=True)
class Op:
    """One operator. `inputs` and `outputs` index Graph.tensors; −1 is an absent optional input.

    Inputs that only carry attributes in the file (axes, paddings, permutations, shapes, sizes)
    are not inputs here. CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED have three:
    activation, weights, bias (−1 where the file has none). States that an operator updates are among its
    inputs (`numerics/recurrent.py` has their order).
    """

    kind: OpKind
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attrs: Attrs
    name: str = ""

    @property
    def title(self) -> str:
        """What reports call the operator: its kind, or the function where the kind stands for many."""
        if isinstance(self.attrs, LookupAttrs | UnaryAttrs | BinaryAttrs | IntegerAttrs):
            return str(self.attrs.function)
        return self.kind.value


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What a network remembers from one inference to the next, as recurrent and streaming ones do.

    Args:
        tensor: where operators read it; its bytes stay in the arena between inferences.
        next: the tensor whose value replaces it at the end of an inference; None where the operator that
            reads it also updates it.
        initial: its value before the first inference.
    """

    tensor: int
    next: int | None
    initial: Array

    @property
    def result(self) -> int:
        """The tensor that holds the state when an inference has ended."""
        return self.tensor if self.next is None else self.next


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network: operators in an executable order over a table of tensors.

    `source_index[i]` is tensor i's index in the model file (−1 for tensors made by passes), so
    that inner tensors can be compared with the reference interpreter. `folded_channels` output channels
    of layers, and `folded_macs` multiply-accumulates, are in the file and no longer here.
    """

    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    states: tuple[State, ...] = ()
    source_index: tuple[int, ...] = ()
    sha256: str = ""
    folded_channels: int = 0
    folded_macs: int = 0

    @property
    def sources(self) -> tuple[int, ...]:
        """Tensors that exist before the first operator runs: inputs and states."""
        return (*self.inputs, *(state.tensor for state in self.states))

    @property
    def results(self) -> tuple[int, ...]:
        """Tensors that are needed after the last operator: outputs, states, and what states become."""
        following = [state.next for state in self.states if state.next is not None]
        return (*self.outputs, *(state.tensor for state in self.states), *following)

    def initial_states(self) -> dict[int, Array]:
        """Return the states before the first inference, by tensor."""
        return {state.tensor: state.initial.copy() for state in self.states}

    def producer(self, tensor: int) -> int | None:
        """Index of the operator that writes the tensor, or None for inputs and constants."""
        return next((i for i, op in enumerate(self.ops) if tensor in op.outputs), None)

    def consumers(self, tensor: int) -> tuple[int, ...]:
        """Indices of the operators that read the tensor."""
        return tuple(i for i, op in enumerate(self.ops) if tensor in op.inputs)

    def activations(self, op: Op) -> tuple[int, ...]:
        """Return the inputs of an operator that are not constants, in operator order."""
        return tuple(t for t in op.inputs if t >= 0 and self.tensors[t].data is None)

    def replace(self, **changes: Any) -> Graph:
        """Return a copy with fields replaced."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the graph as plain values; constants as their shape only."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "states": [{"tensor": state.tensor, "next": state.next} for state in self.states],
            "tensors": [
                {
                    "index": i,
                    "name": t.name,
                    "shape": list(t.shape),
                    "dtype": t.dtype.value,
                    "bytes": t.size_bytes,
                    "constant": t.data is not None,
                    "scale": list(t.quant.scale) if t.quant else None,
                    "zero_point": list(t.quant.zero_point) if t.quant else None,
                }
                for i, t in enumerate(self.tensors)
            ],
            "ops": [
                {
                    "index": i,
                    "op": op.kind.value,
                    "name": op.name,
                    "inputs": list(op.inputs),
                    "outputs": list(op.outputs),
                    "attrs": _plain(op.attrs),
                }
                for i, op in enumerate(self.ops)
            ],
        }


def _plain(attrs: Attrs) -> dict[str, Any]:
    """Return attributes as plain values; a loop's body as a graph of its own."""
    if not isinstance(attrs, LoopAttrs):
        return dataclasses.asdict(attrs)
    return {
        "steps": attrs.steps,
        "walks": [dataclasses.asdict(walk) for walk in attrs.walks],
        "collects": dataclasses.asdict(attrs.collects) if attrs.collects else None,
        "body": attrs.body.to_json(),
    }
