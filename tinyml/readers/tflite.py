"""Reads a .tflite file into a Graph, or says exactly why it cannot.

`flatbuffer.py` decodes the bytes; this file judges what they mean. Each operator's method checks
its inputs, turns attribute-carrying inputs (axes, paddings, permutations, sizes) into attributes,
resolves SAME and VALID into explicit pads, and returns the output shape it must have, which is
compared with the declared one.

Source: TensorFlow Lite operator preparation, `lite/kernels/*.cc` (`Prepare`) and `padding.h`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tinyml.errors import ModelError, UnsupportedOp
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Array,
    Attrs,
    DType,
    Graph,
    NoAttrs,
    Op,
    OpKind,
    PadAttrs,
    Pads,
    Quant,
    ReduceAttrs,
    ResizeAttrs,
    SoftmaxAttrs,
    Tensor,
    TransposeAttrs,
    WindowAttrs,
)
from tinyml.readers.flatbuffer import RawModel, RawOperator, RawTensor, decode

_MAX_ELEMENTS = 2**31 - 1
_MAX_RANK = 6
_MAX_EXTENT = 2**15  # reach of a window in pixels; C kernels index with int32
_MIN_SCALE = 2.0**-100  # real scales are above 1e-8; these keep every float32 product finite
_MAX_RESCALE = 2.0**30  # accumulators are shifted left by at most 30 bits
_MAX_SOFTMAX = 4095  # TFLite sums exponentials with 12 integer bits
_MAX_FILE_BYTES = 2**31 - 1
_POOL_SCALE_TOLERANCE = 1e-6  # lite/kernels/pooling.cc

# Operators that only change the shape are RESHAPE from here on.
_KINDS = {kind.value: kind for kind in OpKind} | {"SQUEEZE": OpKind.RESHAPE, "EXPAND_DIMS": OpKind.RESHAPE}
# With these and SHAPE, converters compute the new shape of a RESHAPE where the batch size was left open.
_SHAPE_ARITHMETIC = frozenset(
    ("CAST", "CONCATENATION", "GATHER", "MUL", "PACK", "REDUCE_PROD", "SLICE", "STRIDED_SLICE")
)
_ACTIVATIONS = {
    0: Activation.NONE,
    1: Activation.RELU,
    2: Activation.RELU_N1_TO_1,
    3: Activation.RELU6,
}
_SAME, _VALID = 0, 1

_QUANTISE = (
    "`tinyml quantize --data SAMPLES MODEL` makes an int8 model of the float one (Keras, SavedModel or float "
    ".tflite); or quantise it when converting: converter.optimizations = [tf.lite.Optimize.DEFAULT], a "
    "representative_dataset, and target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)
_INT8_EDGES = (
    "convert again with converter.inference_input_type = converter.inference_output_type = tf.int8, "
    "or leave both float32; or run `tinyml quantize --data SAMPLES MODEL` on the float model"
)
_ADVICE = {
    "RELU": "place the activation right after a convolution, dense, ADD or MUL layer, which fuses it",
    "RELU6": "place the activation right after a convolution, dense, ADD or MUL layer, which fuses it",
    "RELU_N1_TO_1": "place the activation right after a convolution, dense, ADD or MUL layer, which fuses it",
    "HARD_SWISH": "use ReLU or ReLU6 in its place",
    "LEAKY_RELU": "use ReLU in its place",
    "PADV2": "pad with zeros (tf.pad, ZeroPadding2D) rather than with a constant",
    "RESIZE_BILINEAR": "use nearest-neighbour resizing",
    "IF": "export a model without control flow",
    "WHILE": "export a model without control flow; unroll recurrent layers",
    "TILE": "for UpSampling2D use tf.image.resize(x, size, method='nearest')",
    "SHAPE": "convert with fixed input shapes, so that shapes are constants",
}

# C11 and C++ keywords: a model of that name would not compile.
_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
char32_t class compl concept const consteval constexpr constinit const_cast continue co_await
co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
extern false final float for friend goto if inline int long mutable namespace new noexcept not
not_eq nullptr operator or or_eq override private protected public register reinterpret_cast
requires restrict return short signed sizeof static static_assert static_cast struct switch
template this thread_local throw true try typedef typeid typename typeof union unsigned using
virtual void volatile wchar_t while xor xor_eq
"""
# The generated header is <name>.h: it must not hide a standard header or one of the harness.
_HEADERS = """
assert complex ctype errno fenv inttypes iso646 limits locale math setjmp signal stdalign
stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time
uchar wchar wctype main model port arduino stm32_gpio
"""
# Prefixes of the harness (APP_ARENA_BYTES in app_model.h) and of the runtime (type tm_model).
_NAMESPACES = "app app_model tm"
_RESERVED = frozenset(f"{_KEYWORDS} {_HEADERS} {_NAMESPACES}".split())


def read_model(path: Path) -> Graph:
    """Read a .tflite file.

    Args:
        path: the file; its stem names the graph.

    Returns:
        The graph, operators in file order, SAME and VALID resolved, every tensor checked. Float
        edges are kept: `tinyml.passes.run` removes them.

    Raises:
        ModelError: the file cannot be read, is damaged, or breaks TFLite's own rules.
        UnsupportedOp: it uses operators or element types that no kernel runs; lists them all.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise ModelError(f"{path.name} has {size} bytes", expected="a flatbuffer below 2 GiB")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read {path.name}",
            where=str(path),
            expected=error.strerror or str(error),
            hint="check the path and its permissions",
        ) from error
    return _GraphReader(decode(data, path.name), path.name).graph(
        identifier(path.stem), hashlib.sha256(data).hexdigest()
    )


def identifier(stem: str) -> str:
    """Return a lowercase C identifier for a file stem.

    Never empty, a keyword, a standard header's name (the generated header is `<name>.h`) or in
    the runtime's namespace `tm_`; at most 48 characters.
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:48].rstrip("_")
    if not name:
        return "model_0"
    if name[0].isdigit() or name in _RESERVED or name.startswith(("tm_", "tinyml")):
        return f"model_{name}"
    return name


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
    if padding == _VALID:
        return (size + stride - reach) // stride, 0, 0
    out = (size + stride - 1) // stride
    total = max((out - 1) * stride + reach - size, 0)
    return out, total // 2, total - total // 2


class _GraphReader:
    """Turns raw records into a Graph."""

    def __init__(self, raw: RawModel, file: str) -> None:
        self._raw = raw
        self._file = file
        self._tensors: dict[int, Tensor] = {}
        self._where = ""  # the operator at hand, for messages
        self._shape_ops: frozenset[int] = frozenset()  # operators left out, see _shape_arithmetic
        self._readers: dict[
            OpKind, Callable[[RawOperator], tuple[tuple[int, ...], Attrs, tuple[int, ...]]]
        ] = {
            OpKind.CONV_2D: self._convolution,
            OpKind.DEPTHWISE_CONV_2D: self._depthwise,
            OpKind.FULLY_CONNECTED: self._fully_connected,
            OpKind.ADD: self._elementwise,
            OpKind.MUL: self._elementwise,
            OpKind.AVERAGE_POOL_2D: self._pool,
            OpKind.MAX_POOL_2D: self._pool,
            OpKind.MEAN: self._mean,
            OpKind.PAD: self._pad,
            OpKind.RESHAPE: self._reshape,
            OpKind.TRANSPOSE: self._transpose,
            OpKind.SOFTMAX: self._softmax,
            OpKind.RESIZE_NEAREST_NEIGHBOR: self._resize,
            OpKind.QUANTIZE: self._quantize,
            OpKind.DEQUANTIZE: self._dequantize,
        }

    # The whole graph

    def graph(self, name: str, sha256: str) -> Graph:
        """Check and convert everything."""
        self._check_indices()
        self._shape_ops = self._shape_arithmetic()
        self._refuse_unsupported()
        available = set(self._raw.inputs)
        written: dict[int, str] = dict.fromkeys(self._raw.inputs, "the model's inputs")
        ops: list[Op] = []
        for i, raw in enumerate(self._raw.operators):
            self._where = f"op {i} {raw.name} '{self._raw.tensors[raw.outputs[0]].name}'"
            self._check_order(raw, available, written)
            if i in self._shape_ops:
                continue
            inputs, attrs, shape = self._readers[_KINDS[raw.name]](raw)
            output = self._tensor(raw.outputs[0])
            if output.shape != shape:
                raise self._error(
                    f"its output is declared as {dims(output.shape)}",
                    f"its inputs and attributes give {dims(shape)}",
                )
            ops.append(Op(_KINDS[raw.name], inputs, (raw.outputs[0],), attrs, output.name))
        for index in self._raw.outputs:
            if index not in available or index in self._raw.inputs:
                raise ModelError(
                    f"{self._file}: model output '{self._raw.tensors[index].name}' is not computed",
                    expected="expected an operator that writes it",
                    hint="remove it from the model's outputs",
                )
        return self._compact(name, sha256, ops)

    def _compact(self, name: str, sha256: str, ops: list[Op]) -> Graph:
        """Number the tensors that are used from 0, in file order."""
        for index in self._raw.inputs:
            self._where = "the model's inputs"
            self._activation(index, (DType.INT8, DType.FLOAT32))
        used = sorted(
            {t for op in ops for t in (*op.inputs, *op.outputs) if t >= 0}
            | set(self._raw.inputs)
            | set(self._raw.outputs)
        )
        new = {old: i for i, old in enumerate(used)} | {-1: -1}
        return Graph(
            name=name,
            tensors=tuple(self._tensor(t) for t in used),
            ops=tuple(
                Op(
                    op.kind,
                    tuple(new[t] for t in op.inputs),
                    tuple(new[t] for t in op.outputs),
                    op.attrs,
                    op.name,
                )
                for op in ops
            ),
            inputs=tuple(new[t] for t in self._raw.inputs),
            outputs=tuple(new[t] for t in self._raw.outputs),
            source_index=tuple(used),
            sha256=sha256,
        )

    def _check_indices(self) -> None:
        count = len(self._raw.tensors)
        if not self._raw.operators:
            raise ModelError(f"{self._file} has no operators", expected="expected at least one")
        if not self._raw.inputs or not self._raw.outputs:
            raise ModelError(
                f"{self._file} has no inputs or no outputs", expected="expected at least one each"
            )
        for what, indices in (("inputs", self._raw.inputs), ("outputs", self._raw.outputs)):
            if len(set(indices)) != len(indices):
                raise ModelError(
                    f"{self._file} lists a tensor twice in the model's {what}",
                    expected=f"expected different tensors, found indices {list(indices)}",
                    hint="export the model with each tensor once",
                )
            for index in indices:
                if not 0 <= index < count:
                    raise self._bad_index(f"the model's {what}", index)
        for i, op in enumerate(self._raw.operators):
            if not op.outputs:
                raise ModelError(
                    f"{self._file}: op {i} {op.name} has no output", expected="expected one or more"
                )
            for index in op.inputs:
                if not -1 <= index < count:
                    raise self._bad_index(f"the inputs of op {i} {op.name}", index)
            for index in op.outputs:
                if not 0 <= index < count:
                    raise self._bad_index(f"the outputs of op {i} {op.name}", index)

    def _bad_index(self, where: str, index: int) -> ModelError:
        return ModelError(
            f"{self._file} is damaged: it refers to tensor {index}",
            where=where,
            expected=f"the model has tensors 0 to {len(self._raw.tensors) - 1}",
            hint="convert or copy the file again",
        )

    def _shape_arithmetic(self) -> frozenset[int]:
        """Return the operators that compute nothing but new shapes of RESHAPEs, from tensors' shapes."""
        operators = self._raw.operators
        found: set[int] = set()
        known = {t for t, tensor in enumerate(self._raw.tensors) if tensor.data is not None}
        for i, op in enumerate(operators):
            if op.name == "SHAPE" or (op.name in _SHAPE_ARITHMETIC and known.issuperset(op.inputs)):
                found.add(i)
                known.update(op.outputs)
        while True:
            elsewhere = set(self._raw.outputs).union(
                t
                for i, op in enumerate(operators)
                for position, t in enumerate(op.inputs)
                if i not in found and not (op.name == "RESHAPE" and position == 1)
            )
            values = {i for i in found if elsewhere.intersection(operators[i].outputs)}
            if not values:
                return frozenset(found)
            found -= values

    def _refuse_unsupported(self) -> None:
        """Raise one UnsupportedOp that lists every operator no kernel can run."""
        lines: list[str] = []
        kinds: set[str] = set()
        wrong_types = edges = 0
        for i, op in enumerate(self._raw.operators):
            if i in self._shape_ops:
                continue
            output = self._raw.tensors[op.outputs[0]]
            if op.name not in _KINDS:
                advice = _ADVICE.get(op.name, "replace this layer, or run it outside the model")
                kinds.add(op.name)
            else:
                wrong = self._unsupported_type(op)
                if wrong is None:
                    continue
                advice = f"{wrong} must be int8"
                wrong_types += 1
                edges += self._unsupported_edge(op)
            lines.append(f"op {i} {op.name} '{output.name}' {dims(output.shape)} {output.type}: {advice}")
        if not lines:
            return
        count = f"{len(lines)} operator{'s' * (len(lines) > 1)}"
        if kinds:
            what = f"{self._file} has {count} that cannot run ({', '.join(sorted(kinds))})"
        elif edges == len(lines):
            what = f"{self._file} is quantised, but has inputs or outputs that are neither int8 nor float32"
        elif any(t.type == "int8" and t.data is None for t in self._raw.tensors):
            what = f"{self._file} is only partly quantised: {count} cannot run in int8"
        elif any(t.type == "int8" and t.scale for t in self._raw.tensors):
            what = f"{self._file} is a hybrid model (float activations, int8 weights): {count} cannot run"
        else:
            what = f"{self._file} is not quantised to int8: {count} cannot run"
        hint = _QUANTISE if wrong_types else "replace these operators, or run them outside the model"
        raise UnsupportedOp(
            what,
            where="\n  ".join(lines),
            expected=f"supported, in int8: {', '.join(sorted(_KINDS))}",
            hint=_INT8_EDGES if edges and edges == len(lines) else hint,
        )

    def _unsupported_edge(self, op: RawOperator) -> bool:
        """Return whether an operator that cannot run only converts a model input or output, of uint8 say."""
        return op.name == "QUANTIZE" and (
            op.inputs[0] in self._raw.inputs or op.outputs[0] in self._raw.outputs
        )

    def _unsupported_type(self, op: RawOperator) -> str | None:
        """Return the tensor and type for which no kernel runs an operator, or None."""
        kind = _KINDS[op.name]
        weighted = kind in (OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.FULLY_CONNECTED)
        data_inputs = 2 if weighted or kind in (OpKind.ADD, OpKind.MUL) else 1
        checked = [(i, "input") for i in op.inputs[:data_inputs]] + [(i, "output") for i in op.outputs[:1]]
        for index, role in checked:
            if index < 0:
                continue
            allowed = ["int8"]
            if (kind is OpKind.QUANTIZE and role == "input") or (
                kind is OpKind.DEQUANTIZE and role == "output"
            ):
                allowed.append("float32")
            tensor = self._raw.tensors[index]
            if tensor.type not in allowed:
                return f"its {role} '{tensor.name}' of type {tensor.type}"
        return None

    def _check_order(self, op: RawOperator, available: set[int], written: dict[int, str]) -> None:
        for index in op.inputs:
            if index >= 0 and index not in available and self._raw.tensors[index].data is None:
                raise self._error(
                    f"it reads tensor '{self._raw.tensors[index].name}' before anything has written it",
                    "expected operators in an executable order, without cycles",
                )
        if len(op.outputs) != 1:
            raise self._error(f"it has {len(op.outputs)} outputs", "expected one")
        index = op.outputs[0]
        if index in written:
            raise self._error(
                f"it writes tensor '{self._raw.tensors[index].name}'",
                f"that tensor is already written by {written[index]}",
            )
        if self._raw.tensors[index].data is not None:
            raise self._error(f"it writes the constant '{self._raw.tensors[index].name}'", "")
        written[index] = self._where
        available.add(index)

    # Tensors

    def _error(self, problem: str, expected: str, hint: str = "") -> ModelError:
        return ModelError(
            f"{self._file}: {problem}",
            where=f"at {self._where}",
            expected=expected,
            hint=hint or "the file breaks TensorFlow Lite's rules: convert it again",
        )

    def _tensor(self, index: int) -> Tensor:
        """Return a checked tensor of the file."""
        if index not in self._tensors:
            self._tensors[index] = self._convert(self._raw.tensors[index], index)
        return self._tensors[index]

    def _convert(self, raw: RawTensor, index: int) -> Tensor:
        name = raw.name or f"tensor_{index}"
        if raw.is_sparse:
            raise self._error(
                f"tensor '{name}' is sparse", "expected dense data", "convert without sparsity compression"
            )
        if raw.is_variable:
            raise self._error(
                f"tensor '{name}' is a variable", "expected a stateless model", "export without state"
            )
        shape = self._shape(raw, name)
        try:
            dtype = DType(raw.type)
        except ValueError:
            raise self._error(
                f"tensor '{name}' has element type {raw.type}", "expected int8, int32 or float32", _QUANTISE
            ) from None
        data: Array | None = None
        if raw.data is not None:
            expected = math.prod(shape) * dtype.size_bytes
            if raw.data.size != expected:
                raise self._error(
                    f"constant '{name}' has {raw.data.size} bytes of data",
                    f"its shape {dims(shape)} of {dtype.value} needs {expected}",
                )
            data = raw.data.view(np.dtype(dtype.value).newbyteorder("<")).reshape(shape)
        return Tensor(name, shape, dtype, self._quant(raw, name, shape, dtype), data)

    def _shape(self, raw: RawTensor, name: str) -> tuple[int, ...]:
        shape = raw.shape
        if shape and shape[0] == -1:  # a dynamic batch runs one sample at a time
            shape = (1, *shape[1:])
        dynamic = any(d < 0 for d in (*shape[1:], *raw.signature[1:]))
        if dynamic:
            raise self._error(
                f"tensor '{name}' has a dynamic shape, {dims(raw.signature or raw.shape)}",
                "expected fixed sizes in all dimensions but the batch",
                "convert with fixed input shapes",
            )
        if any(d <= 0 for d in shape):
            raise self._error(f"tensor '{name}' has shape {dims(shape)}", "expected positive dimensions")
        if len(shape) > _MAX_RANK:
            raise self._error(
                f"tensor '{name}' has {len(shape)} dimensions", f"at most {_MAX_RANK} are supported"
            )
        if math.prod(shape) > _MAX_ELEMENTS:
            raise self._error(f"tensor '{name}' has shape {dims(shape)}", "expected fewer than 2^31 elements")
        return shape

    def _quant(self, raw: RawTensor, name: str, shape: tuple[int, ...], dtype: DType) -> Quant | None:
        if not raw.scale or dtype is DType.FLOAT32:
            return None
        count = len(raw.scale)
        zero_point = raw.zero_point or (0,) * count
        if len(zero_point) == 1:
            zero_point *= count
        if len(zero_point) != count:
            raise self._error(
                f"tensor '{name}' has {count} scales and {len(zero_point)} zero points", "expected as many"
            )
        if count > 1 and (not 0 <= raw.axis < len(shape) or shape[raw.axis] != count):
            raise self._error(
                f"tensor '{name}' of shape {dims(shape)} has {count} scales along dimension {raw.axis}",
                "expected one scale, or one per index of that dimension",
            )
        for scale in raw.scale:
            if not _MIN_SCALE <= scale <= 1 / _MIN_SCALE:  # NaN fails too
                raise self._error(
                    f"tensor '{name}' has a scale of {scale:g}",
                    "expected finite positive scales, between 2^-100 and 2^100",
                )
        low, high = (0, 1) if dtype is DType.BOOL else (np.iinfo(dtype.value).min, np.iinfo(dtype.value).max)
        for value in zero_point:
            if not low <= value <= high:
                raise self._error(
                    f"tensor '{name}' has a zero point of {value}",
                    f"expected {low} to {high} for {dtype.value}",
                )
        return Quant(raw.scale, zero_point, raw.axis if count > 1 else 0)

    def _inputs(self, op: RawOperator, low: int, high: int) -> tuple[int, ...]:
        """Return the inputs, checked to be low to high in number; those beyond `low` may be absent."""
        if not low <= len(op.inputs) <= high or any(i < 0 for i in op.inputs[:low]):
            wanted = str(low) if low == high else f"{low} to {high}"
            raise self._error(f"it has inputs {list(op.inputs)}", f"expected {wanted} tensors")
        return op.inputs + (-1,) * (high - len(op.inputs))

    def _activation(self, index: int, dtypes: tuple[DType, ...] = (DType.INT8,)) -> Tensor:
        """Return a tensor that operators compute with: int8 with one scale."""
        tensor = self._tensor(index)
        if tensor.dtype not in dtypes:
            raise self._error(
                f"tensor '{tensor.name}' has type {tensor.dtype.value}",
                f"expected {' or '.join(d.value for d in dtypes)}",
                _QUANTISE,
            )
        if tensor.dtype is DType.INT8:
            if tensor.quant is None:
                raise self._error(f"tensor '{tensor.name}' has no scale", "expected a scale and zero point")
            if tensor.quant.per_channel:
                raise self._error(
                    f"tensor '{tensor.name}' has {len(tensor.quant.scale)} scales",
                    "expected one scale: only weights are quantised per channel",
                )
        return tensor

    def _check_rescale(self, factor: float) -> None:
        """Refuse a factor between accumulators and outputs that no requantisation can express."""
        if not factor < _MAX_RESCALE:
            raise self._error(
                f"its inputs' scales are {factor:g} times its output's",
                "expected scales in proportion to each other",
                _QUANTISE,
            )

    def _image(self, index: int) -> Tensor:
        tensor = self._activation(index)
        if len(tensor.shape) != 4:
            raise self._error(
                f"tensor '{tensor.name}' is {dims(tensor.shape)}", "expected 4 dimensions, NHWC"
            )
        if tensor.shape[0] != 1:
            raise self._error(
                f"tensor '{tensor.name}' is {dims(tensor.shape)}, a batch of {tensor.shape[0]}",
                "expected a batch of 1",
                "convert the model with an input batch of 1",
            )
        return tensor

    def _constant(self, index: int, dtype: DType, what: str) -> Array:
        tensor = self._tensor(index)
        if tensor.data is None:
            raise self._error(
                f"its {what} '{tensor.name}' is computed by the model",
                "expected a constant",
                "convert with fixed shapes, so that the converter can fold it",
            )
        if tensor.dtype is not dtype:
            raise self._error(
                f"its {what} '{tensor.name}' has type {tensor.dtype.value}", f"expected {dtype.value}"
            )
        return tensor.data

    def _integers(self, index: int, what: str, count: int | None = None) -> list[int]:
        """Return a constant int32 (or int64) vector."""
        dtype = DType.INT64 if self._tensor(index).dtype is DType.INT64 else DType.INT32
        data = self._constant(index, dtype, what)
        if data.ndim > 1 or data.size > _MAX_RANK or (count is not None and data.size != count):
            wanted = f"{count} numbers" if count is not None else f"at most {_MAX_RANK} numbers"
            raise self._error(f"its {what} has shape {dims(data.shape)}", f"expected {wanted}")
        return [int(v) for v in data.reshape(-1)]

    def _activation_function(self, op: RawOperator) -> Activation:
        code = op.options["FusedActivationFunction"]
        if code not in _ACTIVATIONS:
            raise self._error(
                f"it has fused activation {code}",
                "expected none, RELU, RELU_N1_TO_1 or RELU6",
                "use one of these activations",
            )
        return _ACTIVATIONS[code]

    def _bias(self, index: int, channels: int) -> None:
        if index < 0:
            return
        bias = self._constant(index, DType.INT32, "bias")
        if bias.size != channels or bias.ndim > 1:
            raise self._error(f"its bias has shape {dims(bias.shape)}", f"expected {channels} numbers")

    def _weights(self, index: int, rank: int, axis: int) -> Tensor:
        """Return int8 weights: symmetric, one scale or one per output channel."""
        self._constant(index, DType.INT8, "weights")
        weights = self._tensor(index)
        if len(weights.shape) != rank:
            raise self._error(f"its weights are {dims(weights.shape)}", f"expected {rank} dimensions")
        if weights.quant is None:
            raise self._error("its weights have no scale", "expected one scale, or one per output channel")
        if weights.quant.per_channel and weights.quant.axis != axis:
            raise self._error(
                f"its weights are quantised along dimension {weights.quant.axis}",
                f"expected dimension {axis}",
            )
        if any(weights.quant.zero_point):
            raise self._error(
                "its weights have a zero point other than 0", "expected symmetric int8 weights", _QUANTISE
            )
        return weights

    def _check_weighted(self, op: RawOperator, x: Tensor, weights: Tensor) -> None:
        assert weights.quant is not None
        self._check_rescale(x.scale * max(weights.quant.scale) / self._activation(op.outputs[0]).scale)

    def _window(
        self, op: RawOperator, image: Tensor, kernel: tuple[int, int], dilation: tuple[int, int]
    ) -> tuple[WindowAttrs, int, int]:
        """Resolve strides, dilations and padding; returns the attributes and the output size."""
        stride = (op.options["StrideH"], op.options["StrideW"])
        padding = op.options["Padding"]
        if padding not in (_SAME, _VALID):
            raise self._error(f"it has padding {padding}", "expected SAME or VALID")
        out: list[int] = []
        pads: list[int] = []
        for axis in (0, 1):
            if stride[axis] <= 0 or dilation[axis] <= 0 or kernel[axis] <= 0:
                raise self._error(
                    f"it has stride {stride[axis]}, dilation {dilation[axis]}, kernel {kernel[axis]}",
                    "expected positive numbers",
                )
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            if max(reach, stride[axis]) > _MAX_EXTENT:
                raise self._error(
                    f"its window reaches over {reach} pixels with stride {stride[axis]}",
                    f"at most {_MAX_EXTENT} are supported",
                    "use a smaller kernel, dilation or stride",
                )
            size, before, after = window_extent(
                image.shape[1 + axis], kernel[axis], stride[axis], dilation[axis], padding
            )
            if size <= 0:
                raise self._error(
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
            activation=self._activation_function(op),
        )
        return attrs, out[0], out[1]

    # Operators: each returns (graph inputs, attributes, output shape)

    def _convolution(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 3)
        image = self._image(inputs[0])
        weights = self._weights(inputs[1], 4, axis=0)
        self._check_weighted(op, image, weights)
        out_c, kernel_h, kernel_w, group_c = weights.shape
        if image.shape[3] % group_c or out_c % (image.shape[3] // group_c):
            raise self._error(
                f"its weights {dims(weights.shape)} do not fit an input of {dims(image.shape)}",
                "expected as many input channels, or a divisor of them in groups that divide the outputs",
            )
        self._bias(inputs[2], out_c)
        dilation = (op.options["DilationHFactor"], op.options["DilationWFactor"])
        attrs, height, width = self._window(op, image, (kernel_h, kernel_w), dilation)
        return inputs, attrs, (1, height, width, out_c)

    def _depthwise(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 3)
        image = self._image(inputs[0])
        weights = self._weights(inputs[1], 4, axis=3)
        self._check_weighted(op, image, weights)
        one, kernel_h, kernel_w, out_c = weights.shape
        if one != 1 or out_c % image.shape[3]:
            raise self._error(
                f"its weights {dims(weights.shape)} do not fit an input of {dims(image.shape)}",
                "expected 1xHxWxC with C a multiple of the input channels",
            )
        self._bias(inputs[2], out_c)
        dilation = (op.options["DilationHFactor"], op.options["DilationWFactor"])
        attrs, height, width = self._window(op, image, (kernel_h, kernel_w), dilation)
        return inputs, attrs, (1, height, width, out_c)

    def _fully_connected(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 3)
        x = self._activation(inputs[0])
        weights = self._weights(inputs[1], 2, axis=0)
        self._check_weighted(op, x, weights)
        if op.options["WeightsFormat"] != 0:
            raise self._error("its weights are shuffled", "expected the default format")
        units, depth = weights.shape
        if x.elements % depth or (op.options["KeepNumDims"] and x.shape[-1:] != (depth,)):
            raise self._error(
                f"its weights {dims(weights.shape)} do not fit an input of {dims(x.shape)}",
                f"expected a multiple of {depth} inputs",
            )
        self._bias(inputs[2], units)
        attrs = ActivationAttrs(self._activation_function(op))
        if op.options["KeepNumDims"]:
            return inputs, attrs, (*x.shape[:-1], units)
        return inputs, attrs, (x.elements // depth, units)

    def _elementwise(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 2)
        a, b = (self._activation(i) for i in inputs)
        scale = self._activation(op.outputs[0]).scale
        self._check_rescale(
            a.scale * b.scale / scale if op.name == "MUL" else 2 * max(a.scale, b.scale) / scale
        )
        try:
            shape = tuple(int(d) for d in np.broadcast_shapes(a.shape, b.shape))
        except ValueError:
            raise self._error(
                f"its inputs are {dims(a.shape)} and {dims(b.shape)}",
                "expected equal or broadcastable shapes",
            ) from None
        return inputs, ActivationAttrs(self._activation_function(op)), shape

    def _pool(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 1, 1)
        image = self._image(inputs[0])
        output = self._activation(op.outputs[0])
        if abs(image.scale - output.scale) > _POOL_SCALE_TOLERANCE or image.zero_point != output.zero_point:
            raise self._error(
                f"its input has scale {image.scale:g} and zero point {image.zero_point}, "
                f"its output {output.scale:g} and {output.zero_point}",
                "expected the same quantisation: pooling does not rescale",
            )
        kernel = (op.options["FilterHeight"], op.options["FilterWidth"])
        attrs, height, width = self._window(op, image, kernel, (1, 1))
        return inputs, attrs, (1, height, width, image.shape[3])

    def _mean(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 2)
        x = self._activation(inputs[0])
        self._check_rescale(x.scale / self._activation(op.outputs[0]).scale)
        rank = len(x.shape)
        axes = self._integers(inputs[1], "axes")
        if any(not -rank <= a < rank for a in axes):
            raise self._error(f"its axes are {axes}", f"expected dimensions of {dims(x.shape)}")
        unique = tuple(sorted({a % rank for a in axes}))
        keep = bool(op.options["KeepDims"])
        shape = tuple(1 if d in unique else size for d, size in enumerate(x.shape) if keep or d not in unique)
        return inputs[:1], ReduceAttrs(unique, keep), shape

    def _pad(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 2)
        x = self._activation(inputs[0])
        self._activation(op.outputs[0])
        dtype = DType.INT64 if self._tensor(inputs[1]).dtype is DType.INT64 else DType.INT32
        data = self._constant(inputs[1], dtype, "paddings")
        if data.shape != (len(x.shape), 2):
            raise self._error(f"its paddings have shape {dims(data.shape)}", f"expected {len(x.shape)}x2")
        paddings = tuple((int(before), int(after)) for before, after in data)
        if any(before < 0 or after < 0 for before, after in paddings):
            raise self._error(f"its paddings are {paddings}", "expected no negative numbers")
        shape = tuple(size + sum(pad) for size, pad in zip(x.shape, paddings, strict=True))
        return inputs[:1], PadAttrs(paddings), shape

    def _reshape(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 1, 2)
        x = self._activation(inputs[0])
        output = self._activation(op.outputs[0])
        # A shape computed from shapes is what its output is declared as: batch sizes are fixed by now.
        computed = {t for i in self._shape_ops for t in self._raw.operators[i].outputs}
        if inputs[1] >= 0 and inputs[1] not in computed:
            wanted = self._integers(inputs[1], "new shape")
            if op.name == "RESHAPE" and not _shape_matches(wanted, output.shape):
                raise self._error(
                    f"its new shape is {wanted}", f"its output is declared as {dims(output.shape)}"
                )
        if x.elements != output.elements:
            raise self._error(
                f"its input {dims(x.shape)} and output {dims(output.shape)} have different sizes",
                "expected as many elements",
            )
        if op.name != "RESHAPE" and _without_ones(x.shape) != _without_ones(output.shape):
            raise self._error(
                f"it turns {dims(x.shape)} into {dims(output.shape)}",
                "expected only dimensions of 1 to change",
            )
        return inputs[:1], NoAttrs(), output.shape

    def _transpose(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 2)
        x = self._activation(inputs[0])
        self._activation(op.outputs[0])
        rank = len(x.shape)
        perm = self._integers(inputs[1], "permutation", rank)
        if any(not -rank <= p < rank for p in perm) or len({p % rank for p in perm}) != rank:
            raise self._error(f"its permutation is {perm}", f"expected each of 0 to {rank - 1} once")
        order = tuple(p % rank for p in perm)
        return inputs[:1], TransposeAttrs(order), tuple(x.shape[p] for p in order)

    def _softmax(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 1, 1)
        x = self._activation(inputs[0])
        output = self._activation(op.outputs[0])
        beta = float(op.options["Beta"])
        if not (math.isfinite(beta) and beta > 0):
            raise self._error(f"its beta is {beta}", "expected a finite positive number")
        if not 1 <= len(x.shape) <= 4:
            raise self._error(f"its input is {dims(x.shape)}", "expected 1 to 4 dimensions")
        if x.shape[-1] > _MAX_SOFTMAX:
            raise self._error(
                f"it spans {x.shape[-1]} elements",
                f"at most {_MAX_SOFTMAX} fit its 32-bit sum",
                "leave the softmax out of the model and take the largest score",
            )
        if output.zero_point != -128 or abs(output.scale - 1 / 256) > 0.001 / 256:
            raise self._error(
                f"its output has scale {output.scale:g} and zero point {output.zero_point}",
                "expected 1/256 and -128",
            )
        return inputs, SoftmaxAttrs(beta), x.shape

    def _resize(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 2, 2)
        image = self._image(inputs[0])
        self._activation(op.outputs[0])
        height, width = self._integers(inputs[1], "size", 2)
        if height <= 0 or width <= 0:
            raise self._error(f"its size is {height}x{width}", "expected positive numbers")
        attrs = ResizeAttrs(bool(op.options["AlignCorners"]), bool(op.options["HalfPixelCenters"]))
        if attrs.align_corners and attrs.half_pixel_centers:
            raise self._error("it has align_corners and half_pixel_centers", "expected at most one of them")
        return inputs[:1], attrs, (1, height, width, image.shape[3])

    def _quantize(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 1, 1)
        x = self._activation(inputs[0], (DType.FLOAT32, DType.INT8))
        output = self._activation(op.outputs[0])
        if x.dtype is DType.INT8:
            self._check_rescale(x.scale / output.scale)
        if x.dtype is DType.FLOAT32 and inputs[0] not in self._raw.inputs and x.data is None:
            raise self._error(
                f"it reads the float tensor '{x.name}' inside the model",
                "expected float only at the model's inputs and outputs",
                _QUANTISE,
            )
        return inputs, NoAttrs(), x.shape

    def _dequantize(self, op: RawOperator) -> tuple[tuple[int, ...], Attrs, tuple[int, ...]]:
        inputs = self._inputs(op, 1, 1)
        x = self._activation(inputs[0])
        self._activation(op.outputs[0], (DType.FLOAT32,))
        return inputs, NoAttrs(), x.shape


def _shape_matches(wanted: list[int], shape: tuple[int, ...]) -> bool:
    """Return whether a RESHAPE's argument, with at most one −1, gives the shape."""
    return (
        len(wanted) == len(shape)
        and wanted.count(-1) <= 1
        and all(w in (-1, d) for w, d in zip(wanted, shape, strict=True))
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d for d in shape if d != 1)
