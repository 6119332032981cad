"""LiteRT's reference kernels, the bytes that everything here is compared with.

Only this file imports LiteRT, and only when an `Oracle` is made.
"""

from __future__ import annotations

import faulthandler
import os
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyml import numerics
from tinyml.errors import ModelError, ToolchainError, UsageError
from tinyml.graph import Array, DType, Graph, OpKind, signed, unsigned
from tinyml.readers.flatbuffer import decode

_VERSION_FIELD = 8  # in the table OperatorCode of the schema
_SOFTMAX_LIMIT = 512  # lite/kernels/internal/reference/softmax.h checks for a shift of at most 31 bits


# Operators of which the table of the reference kernels lacks the versions that converters write; the kernels,
# which move elements and have no faster twin, are the same.
_VERSION_1 = ("TILE", "DEPTH_TO_SPACE", "ABS")


def _with_known_versions(content: bytes) -> bytes:
    """Return a model file whose operators `BUILTIN_REF` finds."""
    import tflite

    changed = bytearray(content)
    numbers = {getattr(tflite.BuiltinOperator, name) for name in _VERSION_1}
    try:
        model = tflite.Model.GetRootAs(content)
        for i in range(model.OperatorCodesLength()):
            code = model.OperatorCodes(i)
            if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in numbers and code.Version() > 1:
                at = code._tab.Pos + code._tab.Offset(_VERSION_FIELD)
                changed[at : at + 4] = (1).to_bytes(4, "little")
    except (struct.error, IndexError, ValueError, TypeError, AttributeError):  # damaged: LiteRT refuses it
        return content
    return bytes(changed)


class Oracle:
    """A model in the LiteRT interpreter, with `BUILTIN_REF` kernels and every tensor kept.

    Args:
        path: the .tflite file.
        reference: False takes LiteRT's faster kernels, for float models, and keeps no inner tensors.

    Raises:
        ToolchainError: LiteRT is not installed.
        ModelError: LiteRT refuses the model.
    """

    def __init__(self, path: Path, *, reference: bool = True) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise ToolchainError(
                "LiteRT, whose reference kernels results are compared with, is not installed",
                where=f"import ai_edge_litert: {error}",
                hint="pip install ai-edge-litert",
            ) from error
        try:
            # By content: LiteRT takes no path that is not UTF-8, and does not copy what it is given.
            self._content = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(
                f"cannot read {Path(path).name}", where=str(path), expected=error.strerror or str(error)
            ) from error
        if reference:
            self._content = _with_known_versions(self._content)
        try:
            self._interpreter: Any = Interpreter(
                model_content=self._content,
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF
                if reference
                else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=reference,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"LiteRT refuses {Path(path).name}", where=str(path), expected=str(error).strip()
            ) from error
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()
        raw = decode(self._content, Path(path).name)
        self._sums_unsigned = any(
            op.name == "SUM" and raw.tensors[op.inputs[0]].type == "int8" for op in raw.operators
        )
        self._may_abort = any(
            op.name == "SOFTMAX" and raw.tensors[op.inputs[0]].shape[-1:] >= (_SOFTMAX_LIMIT,)
            for op in raw.operators
        )

    @property
    def input_names(self) -> list[str]:
        """The inputs' names, in the file's order: its signature's, or else the tensors'."""
        return self._names(self._inputs, "get_input_details")

    @property
    def output_names(self) -> list[str]:
        """The outputs' names, in the file's order: its signature's, or else the tensors'."""
        return self._names(self._outputs, "get_output_details")

    def _names(self, details: Sequence[Any], method: str) -> list[str]:
        names: dict[int, str] = {}
        if len(self._interpreter.get_signature_list()) == 1:
            signature = getattr(self._interpreter.get_signature_runner(), method)()
            names = {tensor["index"]: name for name, tensor in signature.items()}
        return [names.get(tensor["index"], tensor["name"]) for tensor in details]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once.

        Args:
            inputs: one array per model input, in the file's order, of its shape and dtype; int8 for uint8
                that is quantised (`Tensor.unsigned`).

        Returns:
            One array per model output, in the file's order; int8 for such uint8.

        Raises:
            UsageError: the inputs do not fit the model, or LiteRT has no result for them.
        """
        if self._sums_unsigned:
            raise UsageError(
                "LiteRT's reference SUM reads int8 as uint8: it has no result to compare with",
                where="LiteRT issue 4079; LiteRT's optimised SUM, with which tinyml agrees, is right",
                hint="use MEAN, and multiply by the number of elements in the layer behind it",
            )
        if len(inputs) != len(self._inputs):
            raise UsageError(f"{len(inputs)} inputs given", expected=f"the model has {len(self._inputs)}")
        for details, value in zip(self._inputs, inputs, strict=True):
            if value.dtype == np.int8 and _is_code(details):
                value = unsigned(value)
            if value.shape != tuple(details["shape"]) or value.dtype != details["dtype"]:
                raise UsageError(
                    f"wrong value for input '{details['name']}'",
                    expected=f"expected {details['dtype'].__name__} {tuple(details['shape'])}, "
                    f"received {value.dtype} {value.shape}",
                )
            self._interpreter.set_tensor(details["index"], value)
        if self._may_abort:
            self._refuse_abort()
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise UsageError(
                "LiteRT's reference has no result for these inputs",
                where=str(error).strip(),
                hint="give samples that the network was trained for with --data",
            ) from error
        values = [self._interpreter.get_tensor(details["index"]) for details in self._outputs]
        return [
            signed(value) if _is_code(details) else value
            for details, value in zip(self._outputs, values, strict=True)
        ]

    def _refuse_abort(self) -> None:
        """Say what is wrong with inputs on which LiteRT would end this process: a copy of it tries first.

        Its SOFTMAX aborts where the exponentials of a row, relative to the largest, sum to 512 or more.
        """
        if not hasattr(os, "fork"):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: the copy uses none
            child = os.fork()
        if child == 0:
            faulthandler.disable()  # its end is no news
            try:
                self._interpreter.invoke()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            raise UsageError(
                "LiteRT's reference aborts on these inputs: they have no result to compare with",
                where=f"a SOFTMAX over {_SOFTMAX_LIMIT} or more classes whose values are nearly equal",
                expected=f"expected exponentials that sum to less than {_SOFTMAX_LIMIT} times the largest",
                hint="give samples that the network was trained for with --data",
            )

    def tensor(self, source_index: int) -> Array:
        """Return a tensor of the last run by its index in the file (`Graph.source_index`)."""
        value: Array = self._interpreter.get_tensor(source_index)
        return value

    def run_int8(self, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
        """Run a model, float-edged or not, on int8 inputs, and return the int8 values at its edges.

        Float inputs get the dequantised samples, which the leading QUANTIZE turns back into the
        same bytes; float outputs are read before the trailing DEQUANTIZE.

        Args:
            graph: the graph as read, before passes.
            inputs: one int8 array per model input, of the input's shape.

        Returns:
            One int8 array per model output.
        """
        self.run(float_inputs(graph, inputs))
        return [
            graph.tensors[t].of_file(self.tensor(graph.source_index[t])) for t in int8_edges(graph).outputs
        ]


def _is_code(details: Mapping[str, Any]) -> bool:
    """Whether a tensor of LiteRT's holds quantised numbers as uint8."""
    scales = details["quantization_parameters"]["scales"]
    return bool(details["dtype"] is np.uint8 and scales.size)


@dataclass(frozen=True, slots=True)
class Int8Edges:
    """The int8 tensors at a graph's edges: those behind QUANTIZE and before DEQUANTIZE."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def int8_edges(graph: Graph) -> Int8Edges:
    """Return the int8 tensor at each input and output of a graph as read.

    Raises:
        UsageError: a float input is quantised in two different ways, so that no int8 sample stands
            for it.
    """
    inputs = []
    for index in graph.inputs:
        readers = [graph.ops[i] for i in graph.consumers(index)]
        inner = [op.outputs[0] for op in readers if op.kind is OpKind.QUANTIZE]
        if graph.tensors[index].dtype is not DType.FLOAT32 or len(inner) < len(readers):
            inputs.append(index)
            continue
        quants = {graph.tensors[t].quant for t in inner}
        if len(quants) != 1:
            raise UsageError(
                f"input '{graph.tensors[index].name}' is quantised in {len(quants)} ways",
                expected="expected one QUANTIZE, or several with equal scales",
                hint="add --edges float",
            )
        inputs.append(inner[0])
    outputs = []
    for index in graph.outputs:
        producer = graph.producer(index)
        if producer is not None and graph.ops[producer].kind is OpKind.DEQUANTIZE:
            index = graph.ops[producer].inputs[0]
        outputs.append(index)
    return Int8Edges(tuple(inputs), tuple(outputs))


def float_inputs(graph: Graph, samples: Sequence[Array]) -> list[Array]:
    """Return int8 samples as the values that the model's own inputs take (float where they are float)."""
    return [
        sample if inner == index else numerics.dequantize_values(sample, graph.tensors[inner])
        for index, inner, sample in zip(graph.inputs, int8_edges(graph).inputs, samples, strict=True)
    ]
