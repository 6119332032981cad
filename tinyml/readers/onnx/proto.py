"""Decodes an ONNX file into plain records; the only file that imports `onnx`.

A protocol buffer's parser accepts nearly anything, so every number and string is checked or converted
here, and what comes out holds Python values and numpy arrays only. `onnx` is an optional dependency and
is used for its schema alone: no checker, no shape inference, nothing that interprets the network.

Source: https://github.com/onnx/onnx/blob/main/docs/IR.md and onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyml.errors import ModelError, ToolchainError
from tinyml.graph import Array

MAX_RANK = 6
MAX_ELEMENTS = 2**31 - 1
MIN_OPSET = 13

# TensorProto.DataType -> (numpy type, the repeated field that holds it where raw_data does not)
_TYPES: Mapping[int, tuple[str, str]] = {
    1: ("float32", "float_data"),
    2: ("uint8", "int32_data"),
    3: ("int8", "int32_data"),
    6: ("int32", "int32_data"),
    7: ("int64", "int64_data"),
    9: ("bool", "int32_data"),
    11: ("float64", "double_data"),
}
_TYPE_NAMES = {4: "uint16", 5: "int16", 8: "string", 10: "float16", 16: "bfloat16", 21: "uint4", 22: "int4"}

_DOMAINS = ("", "ai.onnx", "com.microsoft")
_EXTERNAL = 1  # TensorProto.DataLocation

_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS = 1, 2, 3, 4, 6, 7  # AttributeProto.AttributeType

Attribute = int | float | str | Array | tuple[float, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the file. Absent optional inputs are ''. `name` is its own, or its output's."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An input of the file: element type, and its shape with None where it is left open."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The main graph of an ONNX file."""

    nodes: tuple[Node, ...]
    inputs: tuple[ModelInput, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]


def decode(data: bytes, file: str) -> OnnxFile:
    """Decode a file's bytes.

    Args:
        data: the content.
        file: its name, for messages.

    Raises:
        ToolchainError: the package `onnx` is not installed.
        ModelError: damaged, or of a kind that is not read: an old operator set, foreign operators,
            weights in other files.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ToolchainError(
            "reading ONNX models needs the package onnx",
            where=f"import onnx: {error}",
            hint="pip install 'tinyml-toolchain[onnx]'",
        ) from error
    damaged = ModelError(
        f"{file} is no ONNX model, or is damaged",
        expected="expected a protocol buffer of the type onnx.ModelProto",
        hint="export or copy the file again",
    )
    try:
        model = onnx.ModelProto.FromString(data)
        if not model.graph.node:
            raise damaged
        _check_opset(model, file)
        return _graph(model.graph, file)
    except (DecodeError, UnicodeError) as error:
        raise damaged from error


def _check_opset(model: Any, file: str) -> None:
    versions = {str(o.domain): int(o.version) for o in model.opset_import}
    version = versions.get("", versions.get("ai.onnx", 0))
    if version < MIN_OPSET:
        raise ModelError(
            f"{file} uses operator set {version}",
            expected=f"expected {MIN_OPSET} or newer, where scales may differ per channel",
            hint=f"export it again with opset_version={MIN_OPSET} or more",
        )
    if model.functions:
        raise ModelError(
            f"{file} defines {len(model.functions)} operators of its own",
            expected="expected standard operators",
            hint="onnx.inliner.inline_local_functions replaces them by what they consist of",
        )


def _graph(graph: Any, file: str) -> OnnxFile:
    if graph.sparse_initializer:
        raise ModelError(f"{file} has sparse constants", expected="expected dense ones")
    constants: dict[str, Array] = {}
    for proto in graph.initializer:
        name = str(proto.name)
        if name in constants:
            raise ModelError(f"{file} defines the constant '{name}' twice")
        constants[name] = _tensor(proto, name, file)
    nodes = tuple(_node(node, i, file) for i, node in enumerate(graph.node))
    inputs = tuple(_input(value, file) for value in graph.input if value.name not in constants)
    outputs = tuple(str(value.name) for value in graph.output)
    if not inputs or not outputs:
        raise ModelError(f"{file} has no inputs or no outputs", expected="expected at least one each")
    for what, names in (("inputs", [i.name for i in inputs]), ("outputs", list(outputs))):
        if len(set(names)) != len(names) or "" in names:
            raise ModelError(f"{file} lists a value twice, or without a name, in its {what}")
    return OnnxFile(nodes, inputs, outputs, constants)


def _node(node: Any, index: int, file: str) -> Node:
    op, domain = str(node.op_type), str(node.domain)
    inputs, outputs = tuple(str(n) for n in node.input), tuple(str(n) for n in node.output)
    while inputs and not inputs[-1]:
        inputs = inputs[:-1]
    name = str(node.name) or next((n for n in outputs if n), str(index))
    if domain not in _DOMAINS:
        raise ModelError(
            f"{file} uses the operator {op} of '{domain}'",
            where=f"node {index} '{name}'",
            expected="expected operators of ONNX",
            hint="export the model with standard operators",
        )
    if not outputs or not outputs[0]:
        raise ModelError(f"{file}: node {index} {op} has no output", expected="expected one or more")
    where = f"node {index} {op} '{name}'"
    attributes = {str(a.name): _attribute(a, where, file) for a in node.attribute}
    return Node(op, name, inputs, outputs, attributes)


def _attribute(attribute: Any, where: str, file: str) -> Attribute:
    match attribute.type:
        case t if t == _FLOAT:
            return float(attribute.f)
        case t if t == _INT:
            return int(attribute.i)
        case t if t == _STRING:
            return bytes(attribute.s).decode("utf-8")
        case t if t == _TENSOR:
            return _tensor(attribute.t, str(attribute.name), file)
        case t if t == _FLOATS:
            return tuple(float(f) for f in attribute.floats)
        case t if t == _INTS:
            return tuple(int(i) for i in attribute.ints)
    # Graphs of If and Loop: the operator itself is refused, with what to do.
    return f"an attribute of type {attribute.type}"


def _input(value: Any, file: str) -> ModelInput:
    name = str(value.name)
    if value.type.WhichOneof("value") != "tensor_type":
        raise ModelError(f"{file}: input '{name}' is no tensor", expected="expected tensors only")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise ModelError(
            f"{file}: input '{name}' has no shape",
            expected="expected fixed sizes in all dimensions but the batch",
            hint="export with fixed input shapes",
        )
    shape = tuple(int(d.dim_value) if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return ModelInput(name, _type_name(tensor.elem_type), shape)


def _type_name(code: int) -> str:
    return _TYPES[code][0] if code in _TYPES else _TYPE_NAMES.get(code, f"type {code}")


def _tensor(proto: Any, name: str, file: str) -> Array:
    """Return a constant's values, as many as its shape says."""
    where = f"constant '{name}'"
    if proto.data_location == _EXTERNAL or proto.external_data:
        raise ModelError(
            f"{file} keeps its weights in another file",
            where=where,
            expected="expected one file",
            hint="onnx.save(model, path, save_as_external_data=False)",
        )
    if proto.data_type not in _TYPES:
        raise ModelError(
            f"{file} has a constant of {_type_name(proto.data_type)}",
            where=where,
            expected=f"expected {', '.join(sorted(kind for kind, _ in _TYPES.values()))}",
        )
    dtype, field = _TYPES[proto.data_type]
    shape = tuple(int(d) for d in proto.dims)
    check_shape(shape, where, file, smallest=0)
    count = math.prod(shape)
    raw = bytes(proto.raw_data)
    element = np.dtype(dtype).newbyteorder("<")
    if raw:
        if len(raw) != count * element.itemsize:
            raise _wrong_size(file, where, shape, dtype, f"{len(raw)} bytes")
        return np.frombuffer(raw, element).reshape(shape).astype(dtype)
    stored = getattr(proto, field)
    if len(stored) != count:
        raise _wrong_size(file, where, shape, dtype, f"{len(stored)} numbers")
    with np.errstate(all="ignore"):
        wide = np.array(stored, np.int64 if np.dtype(dtype).kind in "iub" else np.float64)
        values: Array = wide.astype(dtype)
    if wide.dtype.kind == "i" and not np.array_equal(values.astype(np.int64), wide):
        raise ModelError(f"{file} is damaged: {where} holds numbers beyond {dtype}")
    return values.reshape(shape)


def _wrong_size(file: str, where: str, shape: Sequence[int], dtype: str, found: str) -> ModelError:
    return ModelError(
        f"{file} is damaged: {where} has {found} of data",
        expected=f"its shape {list(shape)} of {dtype} needs {math.prod(shape)} numbers",
        hint="export or copy the file again",
    )


def check_shape(shape: Sequence[int], where: str, file: str, smallest: int = 1) -> None:
    """Refuse shapes that no tensor of the graph can have.

    Raises:
        ModelError: too many dimensions or elements, or a size below `smallest`.
    """
    if len(shape) > MAX_RANK or any(d < smallest for d in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ModelError(
            f"{file}: {where} has shape {list(shape)}",
            expected=f"expected at most {MAX_RANK} dimensions, positive, and fewer than 2^31 elements",
        )
