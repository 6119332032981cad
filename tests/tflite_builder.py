"""Writes small quantised .tflite files without TensorFlow.

    b = ModelBuilder(seed=1)
    x = b.input((1, 9, 7, 5))
    y = b.conv2d(x, out_c=8, kernel=(3, 3), stride=2, activation="relu6")
    b.output(b.add(y, y))
    b.save(path)

Every operator method returns the index of its output tensor. Weights, biases and, unless given,
scales and zero points are drawn from the builder's own generator, so a seed fixes the file.
`b.tensors` and `b.operators` are plain records: tests of malformed files change them before
`build()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite

from tinyml.graph import Array

_RESOURCE = 13  # TensorType of a variable's handle
_ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
_TYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9, "int4": 17}
_PADDINGS = {"SAME": 0, "VALID": 1}


@dataclass
class TensorRecord:
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int = 0
    data: bytes | None = None
    signature: tuple[int, ...] = ()
    is_variable: bool = False
    type_code: int | None = None  # overrides the code of `dtype`


@dataclass
class OperatorRecord:
    """An operator to be written: its options are fields of the named table."""

    name: str
    inputs: list[int]
    outputs: list[int]
    table: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    intermediates: list[int] = field(default_factory=list)


class ModelBuilder:
    """Collects tensors and operators and writes them as one subgraph."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[TensorRecord] = []
        self.operators: list[OperatorRecord] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.version = 3
        self.subgraphs = 1
        self.others: list[ModelBuilder] = []  # further subgraphs; no other may share their tensors
        self.int16 = False  # activations of what follows; their zero points are 0
        self.int4_weights = False  # weights of the layers that follow are packed two to a byte
        self.external = False  # constants behind the flatbuffer, as in files beyond 2 GiB

    # Tensors

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        scale: float | Sequence[float] = (),
        zero_point: int | Sequence[int] = (),
        axis: int = 0,
        data: Array | None = None,
        name: str = "",
        type_code: int | None = None,
    ) -> int:
        """Add a tensor and return its index."""
        scales = (scale,) if isinstance(scale, int | float) else tuple(float(s) for s in scale)
        points = (zero_point,) if isinstance(zero_point, int) else tuple(int(z) for z in zero_point)
        points = points or (0,) * len(scales)
        self.tensors.append(
            TensorRecord(
                name or f"t{len(self.tensors)}",
                tuple(int(d) for d in shape),
                dtype,
                scales,
                points,
                axis,
                None if data is None else np.ascontiguousarray(data).tobytes(),
                type_code=type_code,
            )
        )
        return len(self.tensors) - 1

    def shape(self, index: int) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.tensors[index].shape

    def input(
        self,
        shape: Sequence[int],
        scale: float | None = None,
        zero_point: int | None = None,
        dtype: str = "int8",
        name: str = "",
    ) -> int:
        """Add a model input; int8 with the given or a random quantisation, others with one or without."""
        if dtype in ("int16", "uint8"):
            scale = 0.05 if scale is None else scale
            index = self.tensor(shape, dtype, float(np.float32(scale)), zero_point or 0, name=name)
        elif dtype != "int8":
            index = self.tensor(shape, dtype, name=name)
        else:
            index = self._activation(shape, 0.05 if scale is None else scale, zero_point, name)
        self.inputs.append(index)
        return index

    def constant(
        self,
        values: Array,
        scale: float | Sequence[float] = (),
        zero_point: int | Sequence[int] = (),
        axis: int = 0,
    ) -> int:
        """Add a constant of the array's shape and dtype."""
        return self.tensor(values.shape, str(values.dtype), scale, zero_point, axis, values)

    def output(self, *indices: int) -> None:
        """Declare model outputs."""
        self.outputs.extend(indices)

    def random_scale(self, typical: float) -> float:
        """Draw a float32 scale within a factor of two of the typical one."""
        return float(np.float32(typical * 2.0 ** self.rng.uniform(-1, 1)))

    def _activation(
        self, shape: Sequence[int], scale: float | None, zero_point: int | None, name: str = ""
    ) -> int:
        """Add an int8 activation; a random zero point (extremes are likely) where none is given."""
        if self.int16:
            return self.tensor(shape, "int16", float(np.float32(scale)), zero_point or 0, name=name)
        if zero_point is None:
            zero_point = int(self.rng.choice([-128, 127, 0, *self.rng.integers(-128, 128, 5)]))
        return self.tensor(shape, "int8", float(np.float32(scale)), int(zero_point), name=name)

    def _op(self, name: str, inputs: list[int], output: int, table: str = "", **options: Any) -> int:
        self.operators.append(OperatorRecord(name, inputs, [output], table, options))
        return output

    def raw_op(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], table: str = "", **options: Any
    ) -> None:
        """Add any operator, checked by no one."""
        self.operators.append(OperatorRecord(name, list(inputs), list(outputs), table, options))

    # Recurrent layers

    def lstm(
        self,
        x: int,
        units: int,
        cell_exponent: int = -11,
        cell_clip: float = 0.0,
        *,
        coupled: bool = False,
        peephole: bool = False,
        projection: int = 0,
        projection_bias: bool = False,
        projection_clip: float = 0.0,
        layer_norm: bool = False,
    ) -> int:
        """Add an LSTM over [1, steps, features]; its gates spread over the range of both activations.

        `coupled` has no input gate; `projection` is the size of its output where it is not `units`.
        """
        features, outputs = self.shape(x)[-1], projection or units
        state_scale = self.random_scale(0.008)
        hidden = self.tensor((1, outputs), "int8", state_scale, int(self.rng.integers(-128, 128)))
        cell = self.tensor((1, units), "int16", 2.0**cell_exponent, 0)
        for state in (hidden, cell):
            self.tensors[state].is_variable = True
        gates = range(1 if coupled else 0, 4)

        def each(constants: Callable[[], int], count: int = 4) -> list[int]:
            return [constants() if g in gates else -1 for g in range(4)][:count]

        def weights(rows: int, depth: int, source_scale: float) -> int:
            scale = 2 / (source_scale * 74 * 73 * math.sqrt(depth))
            values = self.rng.integers(-127, 128, (rows, depth)).astype(np.int8)
            return self.constant(values, self.random_scale(scale))

        def halves(typical: float) -> int:
            values = self.rng.integers(-32767, 32768, units).astype(np.int16)
            return self.constant(values, self.random_scale(typical))

        def bias(size: int) -> int:
            return self.constant(self.rng.normal(0, 2000, size).astype(np.int32), 1e-4)

        inputs = [x, *each(lambda: weights(units, features, self.tensors[x].scale[0]))]
        inputs += each(lambda: weights(units, outputs, state_scale))
        looks = [g for g in (0, 1, 3) if g in gates and peephole]
        inputs += [halves(2.0**-14) if g in looks else -1 for g in (0, 1, 3)]
        inputs += each(lambda: bias(units))
        own_scale = self.random_scale(0.008)
        inputs.append(weights(outputs, units, own_scale * 74) if projection else -1)
        inputs.append(bias(outputs) if projection and projection_bias else -1)
        inputs += [hidden, cell]
        inputs += each(lambda: halves(2.0**-15)) if layer_norm else [-1] * 4
        zero_point = self.tensors[hidden].zero_point
        output = self.tensor((*self.shape(x)[:-1], outputs), "int8", state_scale, zero_point)
        self._op(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            inputs,
            output,
            "UnidirectionalSequenceLSTMOptions",
            FusedActivationFunction=4,
            CellClip=cell_clip,
            ProjClip=projection_clip,
        )
        if layer_norm:
            sums = [self.tensor((1,), "int16", self.random_scale(2.0**-12), 0) for _ in range(4)]
        else:
            sums = [self.tensor((1,), "float32") for _ in range(4)]
        own_zero_point = int(self.rng.integers(-128, 128)) if projection else zero_point
        own = self.tensor((1,), "int8", own_scale if projection else state_scale, own_zero_point)
        self.operators[-1].intermediates = [*sums, own]
        return output

    def svdf(self, x: int, units: int, rank: int = 1, memory: int = 4, bias: bool = True) -> int:
        """Add an SVDF over [1, features]."""
        depth, filters = self.shape(x)[-1], units * rank
        scale, time_scale, state_scale = 0.01, self.random_scale(0.001), 2.0**-11
        state = self.tensor((1, memory * filters), "int16", state_scale, 0)
        self.tensors[state].is_variable = True
        features = self.constant(self.rng.integers(-127, 128, (filters, depth)).astype(np.int8), scale)
        time = self.constant(self.rng.integers(-3000, 3000, (filters, memory)).astype(np.int16), time_scale)
        spread = self.tensors[x].scale[0] * 74 * scale * 73 * math.sqrt(depth) * 2000 * time_scale
        output = self._activation((1, units), self.random_scale(spread * math.sqrt(rank) / 60), None)
        values = self.rng.normal(0, 1e5, units).astype(np.int32)
        constant = self.constant(values, state_scale * time_scale) if bias else -1
        inputs = [x, features, time, constant, state]
        return self._op("SVDF", inputs, output, "SVDFOptions", Rank=rank, FusedActivationFunction=1)

    # Variables

    def variable(self, initial: Array, scale: float | None = None, zero_point: int = 0) -> int:
        """Add a variable that CALL_ONCE sets to `initial`; returns its handle, to read and to assign."""
        name = f"v{len(self.others)}"
        setting = ModelBuilder()
        handle = setting.tensor((), "int32", type_code=_RESOURCE)
        table = {"table": "VarHandleOptions", "Container": "", "SharedName": name}
        setting.raw_op("VAR_HANDLE", [], [handle], **table)
        quant = () if scale is None else scale
        first = setting.constant(initial, quant, zero_point if scale is not None else ())
        setting.raw_op("ASSIGN_VARIABLE", [handle, first], [])
        self.others.append(setting)
        self.raw_op("CALL_ONCE", [], [], "CallOnceOptions", InitSubgraphIndex=len(self.others))
        handle = self.tensor((), "int32", type_code=_RESOURCE)
        self.raw_op("VAR_HANDLE", [], [handle], **table)
        return handle

    def read_variable(
        self, handle: int, shape: Sequence[int], scale: float | None = None, zero_point: int = 0
    ) -> int:
        """Read a variable: int8 where it has a scale, else float32."""
        value = (
            self.tensor(shape, "float32")
            if scale is None
            else self.tensor(shape, "int8", float(np.float32(scale)), zero_point)
        )
        return self._op("READ_VARIABLE", [handle], value)

    def assign_variable(self, handle: int, value: int) -> None:
        """Let a variable become a value."""
        self.raw_op("ASSIGN_VARIABLE", [handle, value], [])

    # Loops

    def while_loop(self, values: Sequence[int], condition: ModelBuilder, body: ModelBuilder) -> list[int]:
        """Add a WHILE over values, each a tensor of its own in both subgraphs; returns what they become."""
        self.others += [condition, body]
        outputs = [self._like(value, self.shape(value)) for value in values]
        count = len(self.others)
        options = {"CondSubgraphIndex": count - 1, "BodySubgraphIndex": count}
        self.raw_op("WHILE", values, outputs, "WhileOptions", **options)
        return outputs

    # Layers with weights

    def _weights(
        self, shape: tuple[int, ...], axis: int, per_channel: bool, x: int, weights: Array | None
    ) -> tuple[int, tuple[float, ...]]:
        channels = shape[axis]
        count = channels if per_channel else 1
        scale = tuple(self.random_scale(0.01) for _ in range(count))
        if weights is None:
            low, high = (-7, 8) if self.int4_weights else (-127, 128)
            weights = self.rng.integers(low, high, shape).astype(np.int8)
        assert weights.shape == shape
        if self.int4_weights:
            nibbles = np.append(weights.reshape(-1), np.zeros(weights.size % 2, np.int8)) & 15
            packed = (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8)
            return self.tensor(shape, "int4", scale, (0,) * count, axis, packed), scale
        return self.constant(weights, scale, (0,) * count, axis), scale

    def _bias(self, x: int, channels: int, scale: tuple[float, ...], bias: bool, spread: float) -> int:
        if not bias:
            return -1
        if self.int16:
            values = self.rng.normal(0, 256 * spread, channels).astype(np.int64)
            return self.constant(values, [float(np.float32(self.tensors[x].scale[0] * s)) for s in scale])
        values = (self.rng.normal(0, spread, channels)).astype(np.int32)
        return self.constant(values, [float(np.float32(self.tensors[x].scale[0] * s)) for s in scale])

    def _layer_output(
        self,
        shape: tuple[int, ...],
        x: int,
        scale: tuple[float, ...],
        depth: int,
        out_scale: float | None,
        zero_point: int | None,
    ) -> int:
        if out_scale is None:  # spreads the accumulators over the int8 range
            spread = math.sqrt(depth) * 74 * 73 / 50
            out_scale = self.random_scale(self.tensors[x].scale[0] * float(np.mean(scale)) * spread)
        return self._activation(shape, out_scale, zero_point)

    def conv2d(
        self,
        x: int,
        out_c: int,
        kernel: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: str = "SAME",
        dilation: int | tuple[int, int] = 1,
        activation: str = "none",
        groups: int = 1,
        bias: bool = True,
        per_channel: bool = True,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
        weights: Array | None = None,
    ) -> int:
        """Add a CONV_2D; weights [out_c, kh, kw, in_c/groups]."""
        kh, kw = _pair(kernel)
        in_c = self.shape(x)[3] // groups
        w, scale = self._weights((out_c, kh, kw, in_c), 0, per_channel, x, weights)
        depth = kh * kw * in_c
        b = self._bias(x, out_c, scale, bias, math.sqrt(depth) * 2000)
        shape = self._window_shape(x, (kh, kw), stride, dilation, padding, out_c)
        y = self._layer_output(shape, x, scale, depth, out_scale, out_zero_point)
        inputs = [x, w, b] if bias else [x, w]
        return self._op(
            "CONV_2D",
            inputs,
            y,
            "Conv2DOptions",
            Padding=_PADDINGS[padding],
            StrideH=_pair(stride)[0],
            StrideW=_pair(stride)[1],
            DilationHFactor=_pair(dilation)[0],
            DilationWFactor=_pair(dilation)[1],
            FusedActivationFunction=_ACTIVATIONS[activation],
        )

    def depthwise(
        self,
        x: int,
        multiplier: int = 1,
        kernel: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: str = "SAME",
        dilation: int | tuple[int, int] = 1,
        activation: str = "none",
        bias: bool = True,
        per_channel: bool = True,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
        weights: Array | None = None,
    ) -> int:
        """Add a DEPTHWISE_CONV_2D; weights [1, kh, kw, in_c·multiplier]."""
        kh, kw = _pair(kernel)
        out_c = self.shape(x)[3] * multiplier
        w, scale = self._weights((1, kh, kw, out_c), 3, per_channel, x, weights)
        b = self._bias(x, out_c, scale, bias, math.sqrt(kh * kw) * 2000)
        shape = self._window_shape(x, (kh, kw), stride, dilation, padding, out_c)
        y = self._layer_output(shape, x, scale, kh * kw, out_scale, out_zero_point)
        inputs = [x, w, b] if bias else [x, w]
        return self._op(
            "DEPTHWISE_CONV_2D",
            inputs,
            y,
            "DepthwiseConv2DOptions",
            Padding=_PADDINGS[padding],
            StrideH=_pair(stride)[0],
            StrideW=_pair(stride)[1],
            DepthMultiplier=multiplier,
            DilationHFactor=_pair(dilation)[0],
            DilationWFactor=_pair(dilation)[1],
            FusedActivationFunction=_ACTIVATIONS[activation],
        )

    def fully_connected(
        self,
        x: int,
        units: int,
        activation: str = "none",
        bias: bool = True,
        per_channel: bool = False,
        keep_num_dims: bool = False,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
        weights: Array | None = None,
    ) -> int:
        """Add a FULLY_CONNECTED over the last dimension; weights [units, depth]."""
        depth = self.shape(x)[-1]
        w, scale = self._weights((units, depth), 0, per_channel, x, weights)
        b = self._bias(x, units, scale, bias, math.sqrt(depth) * 2000)
        rows = math.prod(self.shape(x)[:-1])
        shape = (*self.shape(x)[:-1], units) if keep_num_dims else (rows, units)
        y = self._layer_output(shape, x, scale, depth, out_scale, out_zero_point)
        return self._op(
            "FULLY_CONNECTED",
            [x, w, b],
            y,
            "FullyConnectedOptions",
            FusedActivationFunction=_ACTIVATIONS[activation],
            KeepNumDims=keep_num_dims,
        )

    def transpose_conv(
        self,
        x: int,
        out_c: int,
        kernel: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 2,
        padding: str = "SAME",
        size: tuple[int, int] | None = None,
        activation: str = "none",
        bias: bool = True,
        per_channel: bool = True,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
    ) -> int:
        """Add a TRANSPOSE_CONV; weights [out_c, kh, kw, in_c]; `size` is the output's."""
        kh, kw = _pair(kernel)
        batch, height, width, in_c = self.shape(x)
        w, scale = self._weights((out_c, kh, kw, in_c), 0, per_channel, x, None)
        depth = max(kh * kw * in_c // math.prod(_pair(stride)), 1)
        b = self._bias(x, out_c, scale, bias, math.sqrt(depth) * 2000)
        if size is None:
            size = (height * _pair(stride)[0], width * _pair(stride)[1])
        shape = (batch, *size, out_c)
        y = self._layer_output(shape, x, scale, depth, out_scale, out_zero_point)
        inputs = [self.constant(np.array(shape, np.int32)), w, x, b]
        return self._op(
            "TRANSPOSE_CONV",
            inputs if bias else inputs[:3],
            y,
            "TransposeConvOptions",
            Padding=_PADDINGS[padding],
            StrideH=_pair(stride)[0],
            StrideW=_pair(stride)[1],
            FusedActivationFunction=_ACTIVATIONS[activation],
        )

    def batch_matmul(
        self,
        a: int,
        b: int,
        adj_x: bool = False,
        adj_y: bool = False,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
    ) -> int:
        """Add a BATCH_MATMUL; batches broadcast."""
        (*before_a, m, k), (*before_b, _, n) = self.shape(a), self.shape(b)
        m, k = (k, m) if adj_x else (m, k)
        n = self.shape(b)[-2] if adj_y else n
        shape = (*np.broadcast_shapes(tuple(before_a), tuple(before_b)), m, n)
        if out_scale is None:
            typical = self.tensors[a].scale[0] * self.tensors[b].scale[0]
            out_scale = self.random_scale(typical * math.sqrt(k) * 100)
        y = self._activation(shape, out_scale, out_zero_point)
        return self._op("BATCH_MATMUL", [a, b], y, "BatchMatMulOptions", AdjX=adj_x, AdjY=adj_y)

    # Elementwise

    def add(
        self,
        a: int,
        b: int,
        activation: str = "none",
        out_scale: float | None = None,
        out_zero_point: int | None = None,
    ) -> int:
        """Add an ADD; shapes broadcast."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        typical = self.tensors[a].scale[0] + self.tensors[b].scale[0]
        y = self._activation(shape, out_scale or self.random_scale(typical), out_zero_point)
        function = _ACTIVATIONS[activation]
        return self._op(
            "ADD", [a, b], y, "AddOptions", FusedActivationFunction=function, PotScaleInt16=not self.int16
        )

    def mul(
        self,
        a: int,
        b: int,
        activation: str = "none",
        out_scale: float | None = None,
        out_zero_point: int | None = None,
    ) -> int:
        """Add a MUL; shapes broadcast."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        typical = self.tensors[a].scale[0] * self.tensors[b].scale[0] * (15000 if self.int16 else 60)
        y = self._activation(shape, out_scale or self.random_scale(typical), out_zero_point)
        return self._op("MUL", [a, b], y, "MulOptions", FusedActivationFunction=_ACTIVATIONS[activation])

    def unary(
        self,
        name: str,
        x: int,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
        table: str = "",
        **options: Any,
    ) -> int:
        """Add an operator on one int8 tensor; the input's scale unless given."""
        y = self._activation(self.shape(x), out_scale or self.tensors[x].scale[0], out_zero_point)
        return self._op(name, [x], y, table, **options)

    def binary(
        self,
        name: str,
        a: int,
        b: int,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
        table: str = "",
        **options: Any,
    ) -> int:
        """Add an operator on two tensors that broadcast, to int8; the first one's scale unless given."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        y = self._activation(shape, out_scale or self.tensors[a].scale[0], out_zero_point)
        return self._op(name, [a, b], y, table, **options)

    def relation(self, name: str, *operands: int) -> int:
        """Add an operator that gives a bool: a comparison, LOGICAL_AND, LOGICAL_OR or LOGICAL_NOT."""
        shape = np.broadcast_shapes(*(self.shape(i) for i in operands))
        return self._op(name, list(operands), self.tensor(shape, "bool"))

    def integer(self, name: str, *operands: int, table: str = "") -> int:
        """Add a function of int32 or int64 that gives the same type."""
        shape = np.broadcast_shapes(*(self.shape(i) for i in operands))
        options = {"FusedActivationFunction": 0} if table else {}
        y = self.tensor(shape, self.tensors[operands[0]].dtype)
        return self._op(name, list(operands), y, table, **options)

    def select(self, condition: int, a: int, b: int, name: str = "SELECT_V2") -> int:
        """Add a SELECT_V2, or a SELECT whose output has the shape of its data."""
        shapes = [self.shape(i) for i in (condition, a, b)]
        shape = np.broadcast_shapes(*shapes) if name == "SELECT_V2" else shapes[1]
        first = self.tensors[a]
        y = self.tensor(shape, first.dtype, first.scale, first.zero_point)
        return self._op(name, [condition, a, b], y)

    def cast(self, x: int, dtype: str) -> int:
        """Add a CAST; int8 and int16 get some scale, which it does not look at."""
        quant = (0.05, 0) if dtype in ("int8", "int16") else ()
        return self._op("CAST", [x], self.tensor(self.shape(x), dtype, *quant), "CastOptions")

    def quantize(
        self, x: int, scale: float | None = None, zero_point: int | None = None, dtype: str = "int8"
    ) -> int:
        """Add a QUANTIZE from float32, int8, int16 or uint8 to one of the last three."""
        typical = self.tensors[x].scale[0] if self.tensors[x].scale else 0.05
        scale = scale or self.random_scale(typical)
        if dtype == "int8":
            return self._op("QUANTIZE", [x], self._activation(self.shape(x), scale, zero_point))
        y = self.tensor(self.shape(x), dtype, float(np.float32(scale)), zero_point or 0)
        return self._op("QUANTIZE", [x], y)

    def dequantize(self, x: int) -> int:
        """Add a DEQUANTIZE from int8 or int16 to float32."""
        return self._op("DEQUANTIZE", [x], self.tensor(self.shape(x), "float32"))

    def softmax(self, x: int, beta: float = 1.0) -> int:
        """Add a SOFTMAX over the last dimension."""
        y = self._activation(self.shape(x), *((1 / 2**15, 0) if self.int16 else (1 / 256, -128)))
        return self._op("SOFTMAX", [x], y, "SoftmaxOptions", Beta=beta)

    # Pooling, reduction, layout

    def average_pool(self, x: int, kernel: int | tuple[int, int] = 2, **window: Any) -> int:
        """Add an AVERAGE_POOL_2D; keywords as `max_pool`."""
        return self._pool("AVERAGE_POOL_2D", x, kernel, **window)

    def max_pool(self, x: int, kernel: int | tuple[int, int] = 2, **window: Any) -> int:
        """Add a MAX_POOL_2D; keywords `stride`, `padding`, `activation`."""
        return self._pool("MAX_POOL_2D", x, kernel, **window)

    def _pool(
        self,
        name: str,
        x: int,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] = 2,
        padding: str = "VALID",
        activation: str = "none",
    ) -> int:
        kh, kw = _pair(kernel)
        shape = self._window_shape(x, (kh, kw), stride, 1, padding, self.shape(x)[3])
        return self._op(
            name,
            [x],
            self._like(x, shape),
            "Pool2DOptions",
            Padding=_PADDINGS[padding],
            StrideH=_pair(stride)[0],
            StrideW=_pair(stride)[1],
            FilterHeight=kh,
            FilterWidth=kw,
            FusedActivationFunction=_ACTIVATIONS[activation],
        )

    def mean(
        self,
        x: int,
        axes: Sequence[int],
        keep_dims: bool = False,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
    ) -> int:
        """Add a MEAN; same quantisation as its input unless given."""
        return self.reduce("MEAN", x, axes, keep_dims, out_scale, out_zero_point)

    def reduce(
        self,
        name: str,
        x: int,
        axes: Sequence[int],
        keep_dims: bool = False,
        out_scale: float | None = None,
        out_zero_point: int | None = None,
    ) -> int:
        """Add MEAN, SUM, REDUCE_MAX, ...; same quantisation as its input unless given."""
        rank = len(self.shape(x))
        gone = {a % rank for a in axes}
        shape = tuple(
            1 if d in gone else n for d, n in enumerate(self.shape(x)) if keep_dims or d not in gone
        )
        y = self._like(x, shape, out_scale, out_zero_point)
        axis = self.constant(np.array(axes, np.int32))
        return self._op(name, [x, axis], y, "ReducerOptions", KeepDims=keep_dims)

    def arg(self, name: str, x: int, axis: int, dtype: str = "int32") -> int:
        """Add ARG_MAX or ARG_MIN, with indices of int32 or int64."""
        rank = len(self.shape(x))
        shape = tuple(n for d, n in enumerate(self.shape(x)) if d != axis % rank)
        table = "ArgMaxOptions" if name == "ARG_MAX" else "ArgMinOptions"
        inputs = [x, self.constant(np.array([axis], np.int32))]
        return self._op(name, inputs, self.tensor(shape, dtype), table, OutputType=_TYPES[dtype])

    def l2_normalization(self, x: int) -> int:
        """Add an L2_NORMALIZATION over the last dimension."""
        return self._op("L2_NORMALIZATION", [x], self._activation(self.shape(x), 1 / 128, 0), "L2NormOptions")

    def log_softmax(self, x: int) -> int:
        """Add a LOG_SOFTMAX over the last dimension."""
        return self._op("LOG_SOFTMAX", [x], self._activation(self.shape(x), 1 / 16, 127), "LogSoftmaxOptions")

    def pad(self, x: int, paddings: Sequence[tuple[int, int]]) -> int:
        """Add a PAD with (before, after) per dimension."""
        shape = tuple(n + sum(p) for n, p in zip(self.shape(x), paddings, strict=True))
        return self._op(
            "PAD", [x, self.constant(np.array(paddings, np.int32))], self._like(x, shape), "PadOptions"
        )

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        """Add a RESHAPE."""
        return self._op("RESHAPE", [x, self.constant(np.array(shape, np.int32))], self._like(x, shape))

    def transpose(self, x: int, perm: Sequence[int]) -> int:
        """Add a TRANSPOSE."""
        shape = tuple(self.shape(x)[p] for p in perm)
        return self._op("TRANSPOSE", [x, self.constant(np.array(perm, np.int32))], self._like(x, shape))

    def resize_nearest(
        self, x: int, size: tuple[int, int], align_corners: bool = False, half_pixel_centers: bool = False
    ) -> int:
        """Add a RESIZE_NEAREST_NEIGHBOR."""
        n, _, _, c = self.shape(x)
        return self._op(
            "RESIZE_NEAREST_NEIGHBOR",
            [x, self.constant(np.array(size, np.int32))],
            self._like(x, (n, *size, c)),
            "ResizeNearestNeighborOptions",
            AlignCorners=align_corners,
            HalfPixelCenters=half_pixel_centers,
        )

    def resize_bilinear(
        self, x: int, size: tuple[int, int], align_corners: bool = False, half_pixel_centers: bool = False
    ) -> int:
        """Add a RESIZE_BILINEAR."""
        n, _, _, c = self.shape(x)
        return self._op(
            "RESIZE_BILINEAR",
            [x, self.constant(np.array(size, np.int32))],
            self._like(x, (n, *size, c)),
            "ResizeBilinearOptions",
            AlignCorners=align_corners,
            HalfPixelCenters=half_pixel_centers,
        )

    def pad_value(self, x: int, paddings: Sequence[tuple[int, int]], value: float) -> int:
        """Add a PADV2."""
        shape = tuple(n + sum(p) for n, p in zip(self.shape(x), paddings, strict=True))
        source = self.tensors[x]
        fill = self.constant(np.array(value, source.dtype), source.scale, source.zero_point)
        inputs = [x, self.constant(np.array(paddings, np.int32)), fill]
        return self._op("PADV2", inputs, self._like(x, shape), "PadV2Options")

    def mirror_pad(self, x: int, paddings: Sequence[tuple[int, int]], reflect: bool = True) -> int:
        """Add a MIRROR_PAD."""
        shape = tuple(n + sum(p) for n, p in zip(self.shape(x), paddings, strict=True))
        inputs = [x, self.constant(np.array(paddings, np.int32))]
        return self._op("MIRROR_PAD", inputs, self._like(x, shape), "MirrorPadOptions", Mode=int(not reflect))

    def tile(self, x: int, multiples: Sequence[int]) -> int:
        """Add a TILE."""
        shape = tuple(n * m for n, m in zip(self.shape(x), multiples, strict=True))
        return self._op("TILE", [x, self.constant(np.array(multiples, np.int32))], self._like(x, shape))

    def broadcast_to(self, x: int, shape: Sequence[int]) -> int:
        """Add a BROADCAST_TO."""
        return self._op("BROADCAST_TO", [x, self.constant(np.array(shape, np.int32))], self._like(x, shape))

    # Slicing and joining

    def slice(self, x: int, begin: Sequence[int], size: Sequence[int]) -> int:
        """Add a SLICE."""
        shape = [n - b if s == -1 else s for n, b, s in zip(self.shape(x), begin, size, strict=True)]
        inputs = [x, self.constant(np.array(begin, np.int32)), self.constant(np.array(size, np.int32))]
        return self._op("SLICE", inputs, self._like(x, shape))

    def strided_slice(
        self,
        x: int,
        begin: Sequence[int],
        end: Sequence[int],
        strides: Sequence[int],
        shape: Sequence[int],
        **masks: int,
    ) -> int:
        """Add a STRIDED_SLICE; keywords `begin_mask`, `end_mask`, `ellipsis_mask` and so on."""
        options = {"".join(w.capitalize() for w in name.split("_")): mask for name, mask in masks.items()}
        values = [self.constant(np.array(v, np.int32)) for v in (begin, end, strides)]
        return self._op("STRIDED_SLICE", [x, *values], self._like(x, shape), "StridedSliceOptions", **options)

    def split(self, x: int, count: int, axis: int) -> list[int]:
        """Add a SPLIT; returns its outputs."""
        shape = list(self.shape(x))
        shape[axis] //= count
        outputs = [self._like(x, shape) for _ in range(count)]
        axes = self.constant(np.array(axis, np.int32))
        self.raw_op("SPLIT", [axes, x], outputs, "SplitOptions", NumSplits=count)
        return outputs

    def split_v(self, x: int, sizes: Sequence[int], axis: int, written: Sequence[int] = ()) -> list[int]:
        """Add a SPLIT_V; `written` are the sizes in the file, where a −1 stands for the rest."""
        shapes = [list(self.shape(x)) for _ in sizes]
        for shape, size in zip(shapes, sizes, strict=True):
            shape[axis] = size
        outputs = [self._like(x, shape) for shape in shapes]
        inputs = [x, *(self.constant(np.array(v, np.int32)) for v in (written or sizes, axis))]
        self.raw_op("SPLIT_V", inputs, outputs, "SplitVOptions", NumSplits=len(sizes))
        return outputs

    def unpack(self, x: int, axis: int) -> list[int]:
        """Add an UNPACK; returns its outputs."""
        shape = list(self.shape(x))
        count = shape.pop(axis)
        outputs = [self._like(x, shape) for _ in range(count)]
        self.raw_op("UNPACK", [x], outputs, "UnpackOptions", Num=count, Axis=axis)
        return outputs

    def reverse(self, x: int, axes: Sequence[int]) -> int:
        """Add a REVERSE_V2."""
        inputs = [x, self.constant(np.array(axes, np.int32))]
        return self._op("REVERSE_V2", inputs, self._like(x, self.shape(x)), "ReverseV2Options")

    def concatenation(self, parts: Sequence[int], axis: int) -> int:
        """Add a CONCATENATION."""
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(p)[axis] for p in parts)
        y = self._like(parts[0], shape)
        return self._op("CONCATENATION", list(parts), y, "ConcatenationOptions", Axis=axis)

    def pack(self, parts: Sequence[int], axis: int) -> int:
        """Add a PACK."""
        shape = list(self.shape(parts[0]))
        shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, len(parts))
        y = self._like(parts[0], shape)
        return self._op("PACK", list(parts), y, "PackOptions", Axis=axis, ValuesCount=len(parts))

    def gather(self, x: int, indices: int, axis: int = 0, batch_dims: int = 0) -> int:
        """Add a GATHER."""
        data, where = self.shape(x), self.shape(indices)
        at = axis % len(data)
        shape = (*data[:at], *where[batch_dims:], *data[at + 1 :])
        y = self._like(x, shape)
        return self._op("GATHER", [x, indices], y, "GatherOptions", Axis=axis, BatchDims=batch_dims)

    def gather_nd(self, x: int, indices: int) -> int:
        """Add a GATHER_ND."""
        where = self.shape(indices)
        shape = (*where[:-1], *self.shape(x)[where[-1] :])
        return self._op("GATHER_ND", [x, indices], self._like(x, shape), "GatherNdOptions")

    def embedding_lookup(self, ids: int, values: int) -> int:
        """Add an EMBEDDING_LOOKUP."""
        shape = (*self.shape(ids), *self.shape(values)[1:])
        return self._op("EMBEDDING_LOOKUP", [ids, values], self._like(values, shape))

    # Blocks

    def space_to_depth(self, x: int, block: int) -> int:
        """Add a SPACE_TO_DEPTH."""
        n, h, w, c = self.shape(x)
        y = self._like(x, (n, h // block, w // block, c * block * block))
        return self._op("SPACE_TO_DEPTH", [x], y, "SpaceToDepthOptions", BlockSize=block)

    def depth_to_space(self, x: int, block: int) -> int:
        """Add a DEPTH_TO_SPACE."""
        n, h, w, c = self.shape(x)
        y = self._like(x, (n, h * block, w * block, c // (block * block)))
        return self._op("DEPTH_TO_SPACE", [x], y, "DepthToSpaceOptions", BlockSize=block)

    def space_to_batch(self, x: int, block: Sequence[int], paddings: Sequence[tuple[int, int]]) -> int:
        """Add a SPACE_TO_BATCH_ND of images, or of sequences with one block."""
        n, *sizes, c = self.shape(x)
        sizes = [(s + sum(p)) // b for s, b, p in zip(sizes, block, paddings, strict=True)]
        y = self._like(x, (n * math.prod(block), *sizes, c))
        values = [self.constant(np.array(v, np.int32)) for v in (block, paddings)]
        return self._op("SPACE_TO_BATCH_ND", [x, *values], y, "SpaceToBatchNDOptions")

    def batch_to_space(self, x: int, block: Sequence[int], crops: Sequence[tuple[int, int]]) -> int:
        """Add a BATCH_TO_SPACE_ND."""
        n, *sizes, c = self.shape(x)
        sizes = [s * b - sum(p) for s, b, p in zip(sizes, block, crops, strict=True)]
        y = self._like(x, (n // math.prod(block), *sizes, c))
        values = [self.constant(np.array(v, np.int32)) for v in (block, crops)]
        return self._op("BATCH_TO_SPACE_ND", [x, *values], y, "BatchToSpaceNDOptions")

    def _like(
        self,
        x: int,
        shape: Sequence[int],
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> int:
        source = self.tensors[x]
        if source.dtype == "int16" and scale is not None:
            return self.tensor(shape, source.dtype, float(np.float32(scale)), 0)
        if source.dtype != "int8":
            return self.tensor(shape, source.dtype, source.scale, source.zero_point)
        return self._activation(
            shape, scale or source.scale[0], source.zero_point[0] if zero_point is None else zero_point
        )

    def _window_shape(
        self,
        x: int,
        kernel: tuple[int, int],
        stride: int | tuple[int, int],
        dilation: int | tuple[int, int],
        padding: str,
        channels: int,
    ) -> tuple[int, ...]:
        size = []
        for n, k, s, d in zip(self.shape(x)[1:3], kernel, _pair(stride), _pair(dilation), strict=True):
            size.append(-(-n // s) if padding == "SAME" else (n - (k - 1) * d - 1) // s + 1)
        return (self.shape(x)[0], size[0], size[1], channels)

    # Writing

    def save(self, path: Path) -> Path:
        """Write the file and return its path."""
        path.write_bytes(self.build())
        return path

    def build(self) -> bytes:
        """Return the file's bytes."""
        tensors = [record for graph in (self, *self.others) for record in graph.tensors]
        data = [record.data for record in tensors if record.data is not None]
        if not self.external:
            return self._build(data, [None] * len(data))
        # The flatbuffer's length does not depend on the offsets' values, so it can be asked for first.
        start = len(self._build(data, [2] * len(data)))
        offsets, tail = [], b""
        for chunk in data:
            tail += bytes(-(start + len(tail)) % 16)
            offsets.append(start + len(tail))
            tail += chunk
        return self._build(data, offsets) + tail

    def _build(self, data: list[bytes], offsets: Sequence[int | None]) -> bytes:
        """Return the flatbuffer; constants lie inside, or at the given offsets of the file."""
        fb = flatbuffers.Builder(1024)
        places = zip(data, offsets, strict=True)
        buffers = [self._buffer(fb, None, None)]
        graphs = (self, *self.others)
        names = list(dict.fromkeys(op.name for graph in graphs for op in graph.operators))
        subgraphs = []
        for graph in graphs:
            tensors = []
            for record in graph.tensors:
                index = 0
                if record.data is not None:
                    index = len(buffers)
                    buffers.append(self._buffer(fb, *next(places)))
                tensors.append(self._tensor(fb, record, index))
            operators = [self._operator(fb, op, names.index(op.name)) for op in graph.operators]
            parts = [
                _offsets(fb, tflite.SubGraphStartTensorsVector, tensors),
                _integers(fb, graph.inputs),
                _integers(fb, graph.outputs),
                _offsets(fb, tflite.SubGraphStartOperatorsVector, operators),
            ]
            for _ in range(graph.subgraphs):
                tflite.SubGraphStart(fb)
                tflite.SubGraphAddTensors(fb, parts[0])
                tflite.SubGraphAddInputs(fb, parts[1])
                tflite.SubGraphAddOutputs(fb, parts[2])
                tflite.SubGraphAddOperators(fb, parts[3])
                subgraphs.append(tflite.SubGraphEnd(fb))
        codes = [self._operator_code(fb, name) for name in names]
        code_vector = _offsets(fb, tflite.ModelStartOperatorCodesVector, codes)
        subgraph_vector = _offsets(fb, tflite.ModelStartSubgraphsVector, subgraphs)
        buffer_vector = _offsets(fb, tflite.ModelStartBuffersVector, buffers)
        tflite.ModelStart(fb)
        tflite.ModelAddVersion(fb, self.version)
        tflite.ModelAddOperatorCodes(fb, code_vector)
        tflite.ModelAddSubgraphs(fb, subgraph_vector)
        tflite.ModelAddBuffers(fb, buffer_vector)
        fb.Finish(tflite.ModelEnd(fb), b"TFL3")
        return bytes(fb.Output())

    @staticmethod
    def _buffer(fb: Any, data: bytes | None, offset: int | None) -> int:
        vector = None
        if data is not None and offset is None:
            # TFLite maps constants in place and wants them 16-byte aligned.
            fb.StartVector(1, len(data), 16)
            fb.head -= len(data)
            fb.Bytes[fb.head : fb.head + len(data)] = data
            vector = fb.EndVector()
        tflite.BufferStart(fb)
        if vector is not None:
            tflite.BufferAddData(fb, vector)
        if data is not None and offset is not None:
            tflite.BufferAddOffset(fb, offset)
            tflite.BufferAddSize(fb, len(data))
        return int(tflite.BufferEnd(fb))

    @staticmethod
    def _tensor(fb: Any, record: TensorRecord, buffer: int) -> int:
        name = fb.CreateString(record.name)
        shape = _integers(fb, record.shape)
        signature = _integers(fb, record.signature) if record.signature else None
        quantisation = None
        if record.scale:
            scale = fb.CreateNumpyVector(np.array(record.scale, np.float32))
            points = fb.CreateNumpyVector(np.array(record.zero_point, np.int64))
            tflite.QuantizationParametersStart(fb)
            tflite.QuantizationParametersAddScale(fb, scale)
            tflite.QuantizationParametersAddZeroPoint(fb, points)
            tflite.QuantizationParametersAddQuantizedDimension(fb, record.axis)
            quantisation = tflite.QuantizationParametersEnd(fb)
        tflite.TensorStart(fb)
        tflite.TensorAddShape(fb, shape)
        code = _TYPES[record.dtype] if record.type_code is None else record.type_code
        tflite.TensorAddType(fb, code)
        tflite.TensorAddBuffer(fb, buffer)
        tflite.TensorAddName(fb, name)
        if quantisation is not None:
            tflite.TensorAddQuantization(fb, quantisation)
        tflite.TensorAddIsVariable(fb, record.is_variable)
        if signature is not None:
            tflite.TensorAddShapeSignature(fb, signature)
        return int(tflite.TensorEnd(fb))

    @staticmethod
    def _operator(fb: Any, op: OperatorRecord, code: int) -> int:
        inputs, outputs = _integers(fb, op.inputs), _integers(fb, op.outputs)
        intermediates = _integers(fb, op.intermediates) if op.intermediates else None
        options = None
        if op.table:
            values = {
                name: fb.CreateString(value) if isinstance(value, str) else value
                for name, value in op.options.items()
            }
            getattr(tflite, f"{op.table}Start")(fb)
            for name, value in values.items():
                getattr(tflite, f"{op.table}Add{name}")(fb, value)
            options = getattr(tflite, f"{op.table}End")(fb)
        tflite.OperatorStart(fb)
        tflite.OperatorAddOpcodeIndex(fb, code)
        tflite.OperatorAddInputs(fb, inputs)
        tflite.OperatorAddOutputs(fb, outputs)
        if intermediates is not None:
            tflite.OperatorAddIntermediates(fb, intermediates)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(fb, getattr(tflite.BuiltinOptions, op.table))
            tflite.OperatorAddBuiltinOptions(fb, options)
        return int(tflite.OperatorEnd(fb))

    @staticmethod
    def _operator_code(fb: Any, name: str) -> int:
        custom = None if hasattr(tflite.BuiltinOperator, name) else fb.CreateString(name)
        code = tflite.BuiltinOperator.CUSTOM if custom else getattr(tflite.BuiltinOperator, name)
        tflite.OperatorCodeStart(fb)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(fb, min(code, 127))
        tflite.OperatorCodeAddBuiltinCode(fb, code)
        tflite.OperatorCodeAddVersion(fb, _VERSIONS.get(name, 1))
        if custom is not None:
            tflite.OperatorCodeAddCustomCode(fb, custom)
        return int(tflite.OperatorCodeEnd(fb))


# Versions in which the operators learned int8; LiteRT refuses to run older ones on it.
_VERSIONS = {
    "HARD_SWISH": 1,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "TANH": 2,
    "EXP": 2,
    "LOG": 2,
    "RELU": 2,
    "RELU6": 2,
    "RSQRT": 2,
    "SUB": 2,
    "MINIMUM": 2,
    "MAXIMUM": 2,
    "SQUARED_DIFFERENCE": 2,
    "EQUAL": 2,
    "NOT_EQUAL": 2,
    "LESS": 2,
    "LESS_EQUAL": 2,
    "GREATER": 2,
    "GREATER_EQUAL": 2,
    "ABS": 2,
    "GELU": 2,
    "SQRT": 2,
    "DIV": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "MUL": 2,
    "AVERAGE_POOL_2D": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "PAD": 2,
    "TRANSPOSE": 2,
    "SOFTMAX": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 2,
    "SVDF": 3,
    "DEQUANTIZE": 3,
    "QUANTIZE": 3,
    "CAST": 4,
    "ARG_MAX": 2,
    "ARG_MIN": 2,
    "BATCH_MATMUL": 2,
    "L2_NORMALIZATION": 2,
    "LOG_SOFTMAX": 2,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "REDUCE_PROD": 2,
    "SUM": 2,
    "TRANSPOSE_CONV": 4,
    "RESIZE_BILINEAR": 2,
    "CONCATENATION": 2,
    "SLICE": 2,
    "STRIDED_SLICE": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "GATHER": 2,
    "PACK": 2,
    "UNPACK": 2,
    "PADV2": 2,
    "TILE": 2,
    "BROADCAST_TO": 2,
    "SPACE_TO_DEPTH": 2,
    "SPACE_TO_BATCH_ND": 2,
    "BATCH_TO_SPACE_ND": 2,
}


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _integers(fb: Any, values: Sequence[int]) -> int:
    return int(fb.CreateNumpyVector(np.array(values, np.int32)))


def _offsets(fb: Any, start: Any, offsets: Sequence[int]) -> int:
    start(fb, len(offsets))
    for offset in reversed(offsets):
        fb.PrependUOffsetTRelative(offset)
    return int(fb.EndVector())
