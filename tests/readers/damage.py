"""Small files that together use every operator, and ways to damage files."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.recurrent_loops import Layer, recurrent
from tests.tflite_builder import ModelBuilder
from tinyml import passes
from tinyml.errors import ModelError
from tinyml.readers import read_model

Damage = Callable[[np.random.Generator], bytes]


def _layers() -> ModelBuilder:
    b = ModelBuilder(1)
    x = b.quantize(b.input((1, 7, 6, 4), dtype="float32"), 0.05, 3)
    y = b.depthwise(b.conv2d(x, 8, stride=2, activation="relu6"), 2, padding="VALID")
    y = b.add(b.pad(y, [(0, 0), (1, 1), (1, 1), (0, 0)]), b.constant(np.array([5], np.int8), 0.1, 0))
    y = b.fully_connected(b.mean(y, [1, 2]), 10, per_channel=True)
    b.output(b.dequantize(b.softmax(y)))
    return b


def _images() -> ModelBuilder:
    b = ModelBuilder(2)
    x = b.input((1, 6, 8, 3))
    y = b.max_pool(b.resize_nearest(b.mul(x, x), (9, 9)), 3, padding="SAME")
    b.output(b.reshape(b.transpose(b.average_pool(y), (0, 3, 1, 2)), (1, -1 + 13)), b.quantize(y))
    return b


def _elementwise() -> ModelBuilder:
    b = ModelBuilder(3)
    x, y = (b.input((1, 4, 5, 3), 0.05) for _ in range(2))
    z = b.unary("LEAKY_RELU", b.unary("LOGISTIC", x, 1 / 256), None, None, "LeakyReluOptions", Alpha=0.1)
    z = b.binary("SUB", b.unary("HARD_SWISH", y), z, 0.1, None, "SubOptions")
    slopes = b.constant(np.arange(3, dtype=np.int8), 0.01, 0)
    z = b.select(b.relation("LESS", x, z), b.binary("PRELU", z, slopes), z)
    b.output(b.binary("SQUARED_DIFFERENCE", z, y, 0.2), b.cast(b.quantize(z, dtype="int16"), "int32"))
    return b


def _products() -> ModelBuilder:
    b = ModelBuilder(4)
    x = b.input((2, 4, 6, 3))
    y = b.transpose_conv(x, 4, activation="relu")
    y = b.batch_matmul(y, b.constant(np.arange(20, dtype=np.int8).reshape(4, 5), 0.1, 3))
    y = b.reduce("REDUCE_MAX", b.reduce("SUM", y, [1]), [-2], keep_dims=True)
    b.int4_weights = True
    y = b.fully_connected(b.l2_normalization(y), 7)
    b.output(b.arg("ARG_MAX", y, -1), b.arg("ARG_MIN", y, 0, "int64"), b.log_softmax(y))
    b.output(b.reduce("REDUCE_PROD", y, [1]), b.reduce("REDUCE_MIN", y, [1]))
    return b


def _functions() -> ModelBuilder:
    """Functions of one value, comparisons and extrema."""
    b = ModelBuilder(5)
    x = b.input((1, 3, 4, 5), 0.05, -128)
    y = b.unary("TANH", b.unary("SQRT", b.unary("RSQRT", x)), 1 / 128, 0)
    y = b.unary("GELU", b.unary("ELU", b.unary("NEG", y, None, 0, "NegOptions")), None, None, "GeluOptions")
    y = b.unary("EXP", b.unary("ABS", y, None, None, "AbsOptions"), 0.1, -128, "ExpOptions")
    y = b.unary("RELU", b.unary("RELU_N1_TO_1", b.unary("RELU6", b.unary("LOG", y, 0.05, 3))))
    y = b.binary("DIV", y, b.constant(np.array([5], np.int8), 0.1, 0), table="DivOptions")
    z = b.binary("MINIMUM", x, b.quantize(y, 0.05, -128), 0.05, -128, "MaximumMinimumOptions")
    z = b.binary("MAXIMUM", z, x, 0.05, -128, "MaximumMinimumOptions")
    near = b.relation("LOGICAL_OR", b.relation("EQUAL", z, x), b.relation("NOT_EQUAL", y, x))
    far = b.relation("LOGICAL_AND", b.relation("LESS_EQUAL", z, y), b.relation("GREATER_EQUAL", z, y))
    far = b.relation("LOGICAL_NOT", b.relation("LOGICAL_AND", far, b.relation("GREATER", x, y)))
    b.output(b.select(near, x, z, "SELECT"), far)
    w = b.dequantize(x)
    for name in ("SIN", "COS", "SQUARE", "SIGN", "FLOOR", "CEIL", "ROUND"):
        w = b._op(name, [w], b.tensor((1, 3, 4, 5), "float32"))
    w = b._op("POW", [w, b.constant(np.array(2, np.float32))], b.tensor((1, 3, 4, 5), "float32"))
    b.output(b.quantize(w, 1 / 128, 0))
    return b


def _parts() -> ModelBuilder:
    """What cuts, joins and picks."""
    b = ModelBuilder(6)
    x = b.input((1, 6, 4, 8), 0.05, 1)
    first, second = b.split(b.slice(x, [0, 1, 0, 0], [1, 4, 4, 8]), 2, 3)
    third, fourth = b.split_v(b.concatenation([second, first], -1), [3, 5], 3, [3, -1])
    y = b.concatenation([third, fourth], 3)
    y = b.strided_slice(y, [0, 4, 0, 1], [1, 0, 4, 8], [1, -1, 2, 3], (1, 4, 2, 3), begin_mask=2, end_mask=2)
    y = b.pack(b.unpack(y, 1), 2)
    y = b.reverse(b.tile(y, (1, 2, 1, 1)), [1, 2])
    y = b.broadcast_to(b.gather(y, b.constant(np.array([2, 0], np.int32)), 2), (2, 4, 2, 3))
    y = b.gather_nd(y, b.constant(np.array([[0, 1], [1, 3]], np.int32)))
    axis = b.constant(np.array(1, np.int32))
    y = b._op("EXPAND_DIMS", [y, axis], b._like(y, (2, 1, 2, 3)), "ExpandDimsOptions")
    y = b._op("SQUEEZE", [y], b._like(y, (2, 2, 3)), "SqueezeOptions")
    shape = b._op("SHAPE", [y], b.tensor((3,), "int32"), "ShapeOptions", OutType=2)
    b.output(b._op("RESHAPE", [y, shape], b._like(y, (2, 2, 3))))
    sizes = b.constant(np.array([2, 3], np.int32))
    ones = b._op("FILL", [sizes, b.constant(np.array(1, np.int32))], b.tensor((2, 3), "int32"), "FillOptions")
    limits = [b.constant(np.array(v, np.int32)) for v in (0, 3, 1)]
    counted = b._op("RANGE", limits, b.tensor((3,), "int32"), "RangeOptions")
    b.output(b.cast(ones, "int32"), b.cast(counted, "int32"))
    table = b.constant(np.arange(30, dtype=np.int8).reshape(10, 3), 0.1, 0)
    ids = b.input((4,), dtype="int32")
    by = b.constant(np.array([3, 1, 2, -5], np.int32))
    near = b.select(b.relation("LESS", ids, by), b.integer("ADD", ids, by, table="AddOptions"), ids)
    b.output(b.embedding_lookup(b.integer("FLOOR_MOD", b.integer("FLOOR_DIV", near, by), by), table))
    return b


def _blocks() -> ModelBuilder:
    b = ModelBuilder(7)
    x = b.input((1, 4, 6, 8), 0.05, 1)
    y = b.depth_to_space(b.space_to_depth(x, 2), 2)
    y = b.batch_to_space(b.space_to_batch(y, (2, 2), [(0, 0), (0, 2)]), (2, 2), [(0, 0), (2, 0)])
    y = b.resize_bilinear(b.mirror_pad(y, [(0, 0), (1, 2), (1, 1), (0, 0)]), (5, 9))
    b.output(b.pad_value(y, [(0, 0), (0, 0), (1, 0), (0, 1)], 3))
    return b


def _memory() -> ModelBuilder:
    """What remembers: LSTM, SVDF, a variable."""
    b = ModelBuilder(8)
    x = b.input((1, 3, 6), 0.03)
    y = b.fully_connected(b.reshape(b.lstm(x, 4), (1, 12)), 5)
    handle = b.variable(np.arange(3, dtype=np.int8).reshape(1, 3), 0.1, 3)
    y = b.add(b.svdf(y, 3), b.read_variable(handle, (1, 3), 0.1, 3), out_scale=0.1, out_zero_point=3)
    b.assign_variable(handle, y)
    b.output(y)
    return b


def _wide() -> ModelBuilder:
    b = ModelBuilder(9)
    b.int16 = True
    x = b.input((1, 6, 5, 3), 0.001, 0, "int16")
    y = b.max_pool(b.depthwise(b.conv2d(x, 4, activation="relu"), bias=False))
    y = b.transpose_conv(y, 3)
    y = b.mul(y, b.unary("TANH", y, 2**-15))
    y = b.binary("SUB", b.unary("LOGISTIC", y, 2**-15), y, 0.01, None, "SubOptions", PotScaleInt16=False)
    y = b.unary("LEAKY_RELU", b.add(y, y), None, None, "LeakyReluOptions", Alpha=0.1)
    b.output(b.softmax(b.fully_connected(b.mean(y, [1, 2]), 4)), b.average_pool(y, 1))
    return b


def _loop() -> ModelBuilder:
    """A recurrent layer that is not unrolled."""
    b = ModelBuilder(10)
    b.output(recurrent(b, b.input((3, 1, 5), 0.03), Layer("rnn", 3, "sequence", floats=True)))
    return b


SMALL = (_layers, _images, _elementwise, _products, _functions, _parts, _blocks, _memory, _wide, _loop)


def small_models() -> list[ModelBuilder]:
    """Return models that together use every operator."""
    return [make() for make in SMALL]


def is_refused(data: bytes, path: Path) -> bool:
    """Read and rewrite a file; return whether that ended in a ModelError, which must say something short."""
    path.write_bytes(data)
    message = None
    try:
        passes.run(read_model(path))
    except ModelError as error:
        message = str(error)
    assert message is None or 0 < len(message) < 200_000
    return message is not None


def damage_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file short, flip bits, set words, copy, blank or remove parts."""
    kind = rng.integers(0, 6)
    damaged = bytearray(data)
    if kind == 0:
        return bytes(damaged[: rng.integers(0, len(data))])
    if kind == 1:  # bits
        for _ in range(int(rng.integers(1, 20))):
            damaged[rng.integers(0, len(data))] ^= 1 << int(rng.integers(0, 8))
    elif kind == 2:  # a word that is an offset, a count or a size
        at = int(rng.integers(0, len(data) // 4)) * 4
        value = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(data), int(rng.integers(0, 2**32))]))
        damaged[at : at + 4] = value.to_bytes(4, "little")
    elif kind == 3:  # one part over another
        size = int(rng.integers(1, 200))
        source, target = rng.integers(0, len(data) - size, 2)
        damaged[target : target + size] = damaged[source : source + size]
    elif kind == 4:  # zeros or ones
        size = int(rng.integers(1, 64))
        at = int(rng.integers(0, len(data) - size))
        damaged[at : at + size] = bytes([int(rng.choice([0, 255]))]) * size
    else:  # something missing
        at = int(rng.integers(0, len(data) - 8))
        del damaged[at : at + int(rng.integers(1, 8))]
    return bytes(damaged)


def damage_structure(model: ModelBuilder, rng: np.random.Generator) -> bytes:
    """Write a model with one to three of its tensors and operators changed: a sound file that means nonsense.

    The model keeps its records.
    """
    graphs = (model, *model.others)
    kept = [(g, g.tensors, g.operators, g.inputs, g.outputs, g.version, g.subgraphs) for g in graphs]
    try:
        for g in graphs:
            g.tensors = [dataclasses.replace(t) for t in g.tensors]
            g.operators = [
                dataclasses.replace(op, inputs=[*op.inputs], outputs=[*op.outputs], options={**op.options})
                for op in g.operators
            ]
            g.inputs, g.outputs = [*g.inputs], [*g.outputs]
        for _ in range(int(rng.integers(1, 4))):
            graph = graphs[int(rng.integers(len(graphs)))] if rng.random() < 0.2 else model
            _change(graph, rng)
        try:
            return model.build()
        except (struct.error, OverflowError, ValueError, TypeError):  # a field too small for its new value
            return b""
    finally:
        for g, *fields in kept:
            g.tensors, g.operators, g.inputs, g.outputs, g.version, g.subgraphs = fields


_SIZES = (0, 1, 2, 3, 5, 7, 8, 16, 255, 1024, 65536, 2**20, 2**31 - 1, -1, -2, -(2**31))
_SCALES = (0.0, -0.1, 1e-45, 1e-38, 1e-9, 0.5, 1.0, 1e9, 3e38, float("inf"), float("nan"))
_DTYPES = ("float32", "int32", "uint8", "int64", "bool", "int16", "int8", "int4")


def _change(g: ModelBuilder, rng: np.random.Generator) -> None:
    """Change one thing of a graph."""

    def pick(values: Sequence[object]) -> object:
        return values[int(rng.integers(len(values)))]

    def size() -> int:
        return int(_SIZES[int(rng.integers(len(_SIZES)))])

    if not g.tensors or not g.operators:
        return
    tensor = g.tensors[int(rng.integers(len(g.tensors)))]
    op = g.operators[int(rng.integers(len(g.operators)))]
    kind = int(rng.integers(0, 14))
    if kind == 0 and tensor.shape:
        shape = list(tensor.shape)
        shape[int(rng.integers(len(shape)))] = size()
        tensor.shape = tuple(shape)
    elif kind == 1:
        tensor.shape = tuple(size() for _ in range(int(rng.integers(0, 8))))
    elif kind == 2:
        tensor.dtype = str(pick(_DTYPES))
        tensor.type_code = None
    elif kind == 3:
        tensor.type_code = int(rng.integers(-128, 128))
    elif kind == 4:
        tensor.scale = tuple(float(str(pick(_SCALES))) for _ in range(int(rng.integers(0, 5))))
        tensor.zero_point = tensor.zero_point[: len(tensor.scale)]
    elif kind == 5 and tensor.zero_point:
        points = (-129, 128, -(2**63), 2**63 - 1, 2**31, 0, -128, 127)
        tensor.zero_point = tuple(int(str(pick(points))) for _ in tensor.zero_point)
    elif kind == 6:
        tensor.axis = size()
    elif kind == 7:  # wild axes, sizes and indices; fewer values, more or none
        data = tensor.data
        if data is None:
            tensor.data = bytes(int(rng.integers(0, 64)))
        else:
            words = b"".join(struct.pack("<i", size()) for _ in range(-(-len(data) // 4)))
            tensor.data = (None, data[: len(data) // 2], words[: len(data)], data * 2)[int(rng.integers(4))]
    elif kind == 8:
        tensor.is_variable = not tensor.is_variable
        tensor.signature = tuple(-1 for _ in tensor.shape)
    elif kind == 9 and op.inputs:
        wild = (-1, len(g.tensors), 2**31 - 1, -2, *range(len(g.tensors)))
        op.inputs[int(rng.integers(len(op.inputs)))] = int(str(pick(wild)))
    elif kind == 10:
        if rng.random() < 0.5:
            op.inputs = op.inputs[: int(rng.integers(len(op.inputs) + 1))]
        else:
            op.outputs = [int(rng.integers(len(g.tensors))) for _ in range(int(rng.integers(0, 4)))]
    elif kind == 11 and op.options:
        name = str(pick(list(op.options)))
        if isinstance(op.options[name], float):
            op.options[name] = float(str(pick(_SCALES)))
        elif isinstance(op.options[name], int):
            op.options[name] = size()
    elif kind == 12:  # another operator's name, or its options
        other = g.operators[int(rng.integers(len(g.operators)))]
        if rng.random() < 0.5:
            op.name = other.name
        else:
            op.table, op.options = other.table, {**other.options}
    else:
        what = int(rng.integers(0, 4))
        if what == 0:
            g.operators = [g.operators[i] for i in rng.permutation(len(g.operators))]
        elif what == 1:
            del g.operators[int(rng.integers(len(g.operators)))]
        elif what == 2:
            g.outputs = [int(rng.integers(-1, len(g.tensors) + 1)) for _ in range(int(rng.integers(0, 4)))]
        else:
            g.inputs = [int(rng.integers(-1, len(g.tensors) + 1)) for _ in range(int(rng.integers(0, 4)))]
