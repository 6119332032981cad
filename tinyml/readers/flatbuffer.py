"""Bytes of a .tflite file → plain records, with every access checked.

The flatbuffers runtime for Python trusts the offsets in the file. Here every count is compared
with the size of the file before anything is read, the sum of all vectors is bounded (a small file
can point at one vector thousands of times), and whatever the runtime raises on a bad offset
becomes a `ModelError`. Nothing of the model's meaning is judged here: see `tflite.py`.

Source: TensorFlow Lite schema, version 3 (`schema.fbs`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from tinyml.errors import ModelError
from tinyml.graph import Array

IDENTIFIER = b"TFL3"

# An empty table: where an operator has no options, the schema's defaults hold.
_EMPTY_TABLE = struct.pack("<HHi", 4, 4, 4)
# What the flatbuffers runtime and numpy raise on offsets that lead nowhere.
_ACCESS_ERRORS = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, KeyError)
_VECTOR_BUDGET = 16  # vector elements read in all, in multiples of the file's size
_MAX_RANK = 8
_MAX_NAME = 256
_MAX_SUBGRAPHS = 64

OPERATOR_NAMES: Mapping[int, str] = {
    value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)
}
TYPE_NAMES: Mapping[int, str] = {
    value: name.lower() for name, value in vars(tflite.TensorType).items() if isinstance(value, int)
}


@dataclass(frozen=True, slots=True, eq=False)
class RawTensor:
    """A tensor as the file has it. `data` is a read-only view of the file's bytes, or None."""

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # shape with −1 where dynamic; () where the file has none
    type: str
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int
    data: Array | None  # uint8
    is_variable: bool
    is_sparse: bool


@dataclass(frozen=True, slots=True)
class RawOperator:
    """An operator as the file has it: its name, tensor indices and option fields."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]  # only those that the reader interprets
    intermediates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RawSubgraph:
    """Tensors and operators that refer to each other."""

    tensors: tuple[RawTensor, ...]
    operators: tuple[RawOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RawModel(RawSubgraph):
    """The main subgraph of a model; `subgraphs` are the others."""

    subgraphs: tuple[RawSubgraph, ...] = ()


def decode(data: bytes, where: str, options: Mapping[str, tuple[str, ...]] | None = None) -> RawModel:
    """Decode a .tflite file's bytes.

    Args:
        data: the whole file.
        where: the file's name, for messages.
        options: the options to read of operators, by name: their table in the schema and its fields.

    Raises:
        ModelError: the bytes are not a readable TFLite model.
    """
    if len(data) < 8:
        raise ModelError(
            f"{where} is too short to be a TFLite model",
            where=f"{len(data)} bytes",
            expected="a flatbuffer with file identifier 'TFL3'",
            hint="check that the file was copied completely",
        )
    if data[4:8] != IDENTIFIER:
        raise ModelError(
            f"{where} is not a TFLite model",
            where="file identifier, bytes 4 to 7",
            expected=f"expected {IDENTIFIER!r}, found {data[4:8]!r}",
            hint="give a .tflite file; `tinyml quantize` makes one of a Keras file or a SavedModel",
        )
    try:
        return _Decoder(data, where, options or {}).model()
    except _ACCESS_ERRORS as error:
        raise ModelError(
            f"{where} is damaged: an offset leads outside the file",
            where=f"{len(data)} bytes",
            expected=f"a well-formed flatbuffer; reading it failed with: {error}",
            hint="the file is cut off or corrupt: convert or copy it again",
        ) from error


class _Decoder:
    """Reads one file, charging every vector to a budget."""

    def __init__(self, data: bytes, where: str, tables: Mapping[str, tuple[str, ...]]) -> None:
        self._data = data
        self._where = where
        self._tables = tables
        self._budget = _VECTOR_BUDGET * len(data)

    def model(self) -> RawModel:
        """Return the records of all subgraphs."""
        root = struct.unpack_from("<I", self._data, 0)[0]
        if not 4 <= root <= len(self._data) - 4:
            raise self._damaged(f"the root table's offset is {root}, the file has {len(self._data)} bytes")
        model = tflite.Model.GetRootAs(self._data, 0)
        if model.Version() != 3:
            raise ModelError(
                f"{self._where} has schema version {model.Version()}",
                expected="expected version 3",
                hint="convert the model again with a current TensorFlow Lite converter",
            )
        count = self._count(model.SubgraphsLength(), 4, "subgraphs")
        if not 1 <= count <= _MAX_SUBGRAPHS:
            raise self._damaged(f"it has {count} subgraphs, expected 1 to {_MAX_SUBGRAPHS}")
        main, *others = (self._subgraph(model, model.Subgraphs(i)) for i in range(count))
        return RawModel(main.tensors, main.operators, main.inputs, main.outputs, tuple(others))

    def _subgraph(self, model: Any, graph: Any) -> RawSubgraph:
        operators = tuple(self._operators(model, graph))
        tensors = tuple(
            self._tensor(model, graph.Tensors(i))
            for i in range(self._count(graph.TensorsLength(), 4, "tensors"))
        )
        return RawSubgraph(
            tensors,
            operators,
            self._integers(graph.InputsLength(), graph.InputsAsNumpy, "model inputs", 4, 1024),
            self._integers(graph.OutputsLength(), graph.OutputsAsNumpy, "model outputs", 4, 1024),
        )

    def _operators(self, model: Any, graph: Any) -> Iterator[RawOperator]:
        codes = self._count(model.OperatorCodesLength(), 4, "operator codes")
        for i in range(self._count(graph.OperatorsLength(), 4, "operators")):
            op = graph.Operators(i)
            index = op.OpcodeIndex()
            if not 0 <= index < codes:
                raise self._damaged(f"operator {i} has operator code {index} of {codes}")
            name = self._operator_name(model.OperatorCodes(index))
            yield RawOperator(
                name,
                self._integers(op.InputsLength(), op.InputsAsNumpy, f"inputs of operator {i}", 4, 1 << 16),
                self._integers(op.OutputsLength(), op.OutputsAsNumpy, f"outputs of operator {i}", 4, 1 << 16),
                self._options(op, name, i) if name in self._tables else {},
                self._integers(
                    op.IntermediatesLength(), op.IntermediatesAsNumpy, f"intermediates of operator {i}", 4, 64
                ),
            )

    def _operator_name(self, code: Any) -> str:
        # Codes above 127 do not fit the deprecated byte, which then holds a placeholder.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = OPERATOR_NAMES.get(builtin, f"operator code {builtin}")
        if name == "CUSTOM":
            custom = code.CustomCode()
            return f"CUSTOM {self._text(custom)}" if custom else "CUSTOM"
        return name

    def _options(self, op: Any, name: str, index: int) -> dict[str, Any]:
        table_name, *fields = self._tables[name]
        options = getattr(tflite, table_name)()
        table = op.BuiltinOptions()
        kind = op.BuiltinOptionsType()
        if table is None or kind == tflite.BuiltinOptions.NONE:
            options.Init(_EMPTY_TABLE, 4)
        elif kind == getattr(tflite.BuiltinOptions, table_name):
            options.Init(table.Bytes, table.Pos)
        else:
            raise self._damaged(f"operator {index} is {name}, but its options are of type {kind}")
        return {field: getattr(options, field)() for field in fields}

    def _tensor(self, model: Any, tensor: Any) -> RawTensor:
        name = self._text(tensor.Name() or b"")
        where = f"tensor '{name}'"
        quantisation = tensor.Quantization()
        scale: tuple[float, ...] = ()
        zero_point: tuple[int, ...] = ()
        axis = 0
        if quantisation is not None:
            scale = tuple(
                float(s)
                for s in self._vector(
                    quantisation.ScaleLength(), quantisation.ScaleAsNumpy, f"scales of {where}", 4, 1 << 24
                )
            )
            zero_point = self._integers(
                quantisation.ZeroPointLength(),
                quantisation.ZeroPointAsNumpy,
                f"zero points of {where}",
                8,
                1 << 24,
            )
            axis = quantisation.QuantizedDimension()
        kind = tensor.Type()
        return RawTensor(
            name,
            self._integers(tensor.ShapeLength(), tensor.ShapeAsNumpy, f"shape of {where}", 4, _MAX_RANK),
            self._integers(
                tensor.ShapeSignatureLength(),
                tensor.ShapeSignatureAsNumpy,
                f"shape signature of {where}",
                4,
                _MAX_RANK,
            ),
            TYPE_NAMES.get(kind, f"type {kind}"),
            scale,
            zero_point,
            axis,
            self._buffer(model, tensor.Buffer(), where),
            bool(tensor.IsVariable()),
            tensor.Sparsity() is not None,
        )

    def _buffer(self, model: Any, index: int, where: str) -> Array | None:
        buffers = self._count(model.BuffersLength(), 4, "buffers")
        if index == 0 and buffers == 0:
            return None
        if index >= buffers:
            raise self._damaged(f"{where} has buffer {index} of {buffers}")
        buffer = model.Buffers(index)
        # Large models keep constants behind the flatbuffer, at an offset from the file's start.
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1:
            if offset + size > len(self._data):
                raise self._damaged(
                    f"{where} has its data at bytes {offset} to {offset + size}, "
                    f"the file has {len(self._data)}"
                )
            return np.frombuffer(self._data, np.uint8, size, offset)
        length = buffer.DataLength()
        if length == 0:
            return None
        if length > len(self._data):
            raise self._damaged(f"{where} has {length} bytes of data, the file has {len(self._data)}")
        data: Array = buffer.DataAsNumpy()
        return data

    def _count(self, count: int, element_bytes: int, what: str) -> int:
        if count * element_bytes > len(self._data):
            raise self._damaged(f"{count} {what} cannot be in a file of {len(self._data)} bytes")
        return count

    def _vector(self, count: int, read: Any, what: str, element_bytes: int, limit: int) -> Any:
        if count == 0:
            return ()
        self._count(count, element_bytes, what)
        if count > limit:
            raise self._damaged(f"{count} {what}, at most {limit} are possible")
        self._charge(count)
        return read()

    def _integers(self, count: int, read: Any, what: str, element_bytes: int, limit: int) -> tuple[int, ...]:
        return tuple(int(v) for v in self._vector(count, read, what, element_bytes, limit))

    def _text(self, raw: bytes) -> str:
        self._charge(len(raw))
        return printable(raw[:_MAX_NAME].decode("utf-8", "replace"))

    def _charge(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise self._damaged("its tables point at the same data again and again")

    def _damaged(self, detail: str) -> ModelError:
        return ModelError(
            f"{self._where} is damaged",
            expected=detail,
            hint="the file is cut off or corrupt: convert or copy it again",
        )


_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:;,-+=()[] ")


def printable(name: str) -> str:
    """Return the name with what could end a C comment or garble a terminal replaced by '_'."""
    return "".join(c if c in _SAFE else "_" for c in name)
