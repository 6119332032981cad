"""Reads an ONNX file into a Graph, or says exactly why it cannot."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyml.errors import ModelError, UnsupportedOp
from tinyml.graph import DType, Graph, NoAttrs, Op, OpKind, Tensor
from tinyml.readers.files import read_bytes
from tinyml.readers.onnx.network import (
    QUANTISE,
    Constant,
    FileValue,
    Network,
    Output,
    Pending,
    Stored,
    quantise_too,
)
from tinyml.readers.onnx.operators import OPERATORS
from tinyml.readers.onnx.order import channels_last, plain, transposed
from tinyml.readers.onnx.proto import ModelInput, Node, OnnxFile, check_shape, decode
from tinyml.readers.tflite import identifier

_INPUT_TYPES = {"float32": DType.FLOAT32, "int8": DType.INT8, "uint8": DType.INT8}
_QDQ = "quantise the float model with quant_format=QuantFormat.QDQ, not QOperator"
_STATIC = "quantise statically (onnxruntime.quantization.quantize_static), not dynamically"
_ADVICE: Mapping[str, str] = {
    "BatchNormalization": "export in eval mode, or run onnxruntime's quant_pre_process, which folds it",
    "QLinearConv": _QDQ,
    "QLinearMatMul": _QDQ,
    "QLinearAdd": _QDQ,
    "QGemm": _QDQ,
    "ConvInteger": _STATIC,
    "MatMulInteger": _STATIC,
    "DynamicQuantizeLinear": _STATIC,
    "DynamicQuantizeMatMul": _STATIC,
    "If": "export a model without control flow",
    "Loop": "export a model without control flow; unroll recurrent layers",
    "Scan": "export a model without control flow; unroll recurrent layers",
}


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """A file as read.

    Args:
        graph: `source_index[i]` is i where tensor i is a value of the file, −1 where the reader made it.
        values: of each tensor what it is in the file, None where the reader made it.
        outputs: of each output of the graph its value in the file.
    """

    graph: Graph
    values: tuple[FileValue | None, ...]
    outputs: tuple[FileValue, ...]


def read_model(path: Path) -> Graph:
    """Read an ONNX file.

    Args:
        path: the file; its stem names the graph.

    Returns:
        The graph, NHWC; the passes remove the transposes and reshapes that change nothing. Float edges
        are kept: `tinyml.passes.run` removes them.

    Raises:
        ToolchainError: the package `onnx` is not installed.
        ModelError: the file cannot be read, is damaged, or breaks ONNX's rules.
        UnsupportedOp: it computes what no kernel runs, in float for example.
    """
    return read(path).graph


def read(path: Path) -> OnnxModel:
    """Read an ONNX file, and what its values are in the graph. Arguments and errors as `read_model`."""
    path = Path(path)
    data = read_bytes(path)
    file = decode(data, path.name)
    return _Reader(file, path.name).model(identifier(path.stem), hashlib.sha256(data).hexdigest())


class _Reader:
    """Turns nodes into a graph, one after another."""

    def __init__(self, file: OnnxFile, name: str) -> None:
        self._file = file
        self._name = name
        self._net = Network(name)
        self._written: set[str] = set()

    def model(self, name: str, sha256: str) -> OnnxModel:
        """Check and convert everything."""
        net = self._net
        self._refuse_unsupported()
        for constant, data in self._file.constants.items():
            self._define(constant, "a constant")
            net.operands[constant] = Constant(data)
        inputs = tuple(self._input(value) for value in self._file.inputs)
        for node in self._file.nodes:
            net.node = node
            for output in node.outputs:
                if output:
                    self._define(output, f"{node.op} '{node.name}'")
            read = OPERATORS[node.op].read(net)
            results = read if isinstance(read, Sequence) else (read,)
            net.operands.update(zip(node.outputs, results, strict=False))
        outputs = tuple(self._output(value) for value in self._file.outputs)
        if len({t for t, _ in outputs}) != len(outputs):
            raise ModelError(
                f"{self._name} gives the same value twice", expected="expected different outputs"
            )
        graph = Graph(
            name=name,
            tensors=tuple(net.tensors),
            ops=tuple(net.ops),
            inputs=inputs,
            outputs=tuple(t for t, _ in outputs),
            source_index=tuple(-1 if v is None else i for i, v in enumerate(net.file_values)),
            sha256=sha256,
        )
        return OnnxModel(graph, tuple(net.file_values), tuple(value for _, value in outputs))

    def _define(self, name: str, where: str) -> None:
        if name in self._written:
            raise ModelError(
                f"{self._name}: '{name}' is written twice",
                where=f"by {where}",
                expected="expected every value to be written once",
                hint="the file breaks ONNX's rules: export it again",
            )
        self._written.add(name)

    def _refuse_unsupported(self) -> None:
        """Raise one UnsupportedOp that lists every operator that cannot be read."""
        unknown = [node for node in self._file.nodes if node.op not in OPERATORS]
        if unknown:
            lines = [
                f"{node.op} '{node.name}': "
                + _ADVICE.get(node.op, "replace this layer, or run it outside the model")
                for node in unknown
            ]
            kinds = ", ".join(sorted({node.op for node in unknown}))
            count = f"{len(unknown)} operator{'s' * (len(unknown) > 1)}"
            raise UnsupportedOp(
                f"{self._name} has {count} that cannot run ({kinds})",
                where="\n  ".join(lines),
                expected=f"supported: {', '.join(sorted(OPERATORS))}",
                hint=_ADVICE.get(unknown[0].op, "replace these operators, or run them outside the model"),
            )
        if not any(node.op == "QuantizeLinear" for node in self._file.nodes):
            raise UnsupportedOp(
                f"{self._name} is not quantised: it has no QuantizeLinear",
                expected="expected QuantizeLinear and DequantizeLinear around its operators",
                hint=QUANTISE,
            )

    # Edges

    def _input(self, value: ModelInput) -> int:
        where = f"input '{value.name}'"
        self._define(value.name, where)
        if value.dtype not in _INPUT_TYPES:
            raise ModelError(
                f"{self._name}: {where} has type {value.dtype}",
                expected=f"expected {', '.join(_INPUT_TYPES)}",
                hint="export the model with float32 inputs",
            )
        shape = value.shape
        if shape and (shape[0] is None or shape[0] < 1):  # an open batch runs one sample at a time
            shape = (1, *shape[1:])
        known = tuple(size for size in shape if size is not None and size > 0)
        if len(known) != len(shape):
            raise ModelError(
                f"{self._name}: {where} has an open shape, {['?' if s is None else s for s in shape]}",
                expected="expected fixed sizes in all dimensions but the batch",
                hint="export with fixed input shapes, or set them with "
                "python -m onnxruntime.tools.make_dynamic_shape_fixed",
            )
        check_shape(known, where, self._name)
        perm = (
            channels_last(len(known)) if self._wants_channels_last(value.name) else tuple(range(len(known)))
        )
        net = self._net
        tensor = net.add_tensor(Tensor(value.name, tuple(known[p] for p in perm), _INPUT_TYPES[value.dtype]))
        order = transposed(known, perm)
        net.file_values[tensor] = FileValue(value.name, value.dtype, known, order)
        stored = Stored(tensor, known, order, real=True)

        def quantise(output: Output) -> Stored:
            shape = net.tensors[tensor].shape
            index = net.emit(OpKind.QUANTIZE, (tensor,), NoAttrs(), shape, output.quant, value.name)
            return dataclasses.replace(stored, tensor=index)

        if value.dtype == "float32":
            net.operands[value.name] = Pending(value.name, "input", known, quantise, fuses=False)
        else:
            net.operands[value.name] = dataclasses.replace(stored, real=False)
        return tensor

    def _wants_channels_last(self, name: str) -> bool:
        """Return whether the first operator that cares for an input's order wants its channels last."""
        reached = {name}
        for node in self._file.nodes:
            if reached.intersection(node.inputs):
                order = OPERATORS[node.op].order
                if order == "channels":
                    return True
                if order == "any":
                    reached.update(node.outputs)
        return False

    def _output(self, name: str) -> tuple[int, FileValue]:
        """Return an output's tensor: in the file's order, or with the channels last."""
        net = self._net
        net.node = Node("output", name, (), (), {})
        value = net.operands.get(name)
        if value is None or isinstance(value, Constant) or self._is_input(value):
            raise ModelError(
                f"{self._name}: output '{name}' is not computed",
                expected="expected an operator that writes it",
                hint="remove it from the model's outputs",
            )
        if isinstance(value, Pending):
            raise UnsupportedOp(
                f"{self._name}: output '{name}' is computed in float, by {value.op}",
                expected="expected QuantizeLinear behind the last operator",
                hint=quantise_too(value.op),
            )
        rank = len(value.shape)
        last = channels_last(rank)
        perm = tuple(range(rank))
        if value.order != plain(value.shape) and value.order == transposed(value.shape, last):
            perm = last
        tensor = net.in_order(value, value.shape, perm)
        order = transposed(value.shape, perm)
        # The quantiser has renamed it.
        inner = net.tensors[tensor] = dataclasses.replace(net.tensors[tensor], name=name)
        if value.real:
            source = tensor
            tensor = net.add_tensor(dataclasses.replace(inner, name=name, dtype=DType.FLOAT32, quant=None))
            net.ops.append(Op(OpKind.DEQUANTIZE, (source,), (tensor,), NoAttrs(), name))
            net.file_values[tensor] = FileValue(name, "float32", value.shape, order)
            return tensor, FileValue(name, "float32", value.shape, order)
        held = net.file_values[value.tensor]
        return tensor, FileValue(name, held.dtype if held else "int8", value.shape, order)

    def _is_input(self, value: Stored | Pending) -> bool:
        if isinstance(value, Pending):
            return value.op == "input"
        return not any(value.tensor in op.outputs for op in self._net.ops)
