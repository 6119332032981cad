"""The reference of ONNX networks: tinyml's own numbers, byte for byte, with onnxruntime's beside them.

onnxruntime rescales accumulators in float32 and rounds half to even; the kernels here do it in fixed
point and round twice, as TensorFlow Lite does. No multiplier makes the two equal for every accumulator
(docs/onnx.md), so a target cannot compute onnxruntime's bytes. It must compute those of `reference.py`
on the same graph, all of them, and how far these are from onnxruntime's is counted and reported.

Only this file imports onnxruntime, and only when an `OnnxOracle` is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyml import reference
from tinyml.errors import ModelError, ToolchainError
from tinyml.graph import Array, DType, Graph
from tinyml.oracle import float_inputs, int8_edges
from tinyml.readers.onnx import FileValue, read


@dataclass(slots=True)
class Deviation:
    """How one tensor of the reference differs from onnxruntime's, over all samples so far.

    Args:
        name: the value's in the file.
        op: the operator that writes it.
        elements: compared.
        different: of them with another byte.
        largest: the largest difference, in steps of the tensor's scale.
    """

    name: str
    op: str
    elements: int = 0
    different: int = 0
    largest: int = 0

    def add(self, expected: Array, received: Array) -> None:
        """Count one sample's bytes."""
        distance = np.abs(expected.astype(np.int64) - received.astype(np.int64))
        self.elements += distance.size
        self.different += int(np.count_nonzero(distance))
        self.largest = max(self.largest, int(distance.max(initial=0)))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "op": self.op,
            "elements": self.elements,
            "different": self.different,
            "largest": self.largest,
        }


@dataclass(frozen=True, slots=True)
class RuntimeComparison:
    """The reference beside onnxruntime: all outputs together, and every layer on onnxruntime's own inputs."""

    runtime: str
    outputs: Deviation
    layers: tuple[Deviation, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "runtime": self.runtime,
            "outputs": self.outputs.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }


class OnnxOracle:
    """An ONNX network in numpy, integer for integer, and in onnxruntime as its users run it.

    Its interface is that of `oracle.Oracle`. Every run is also compared with onnxruntime.

    Args:
        path: the .onnx file.
        optimise: let onnxruntime fuse layers to integer ones, as it does by default; without, it computes
            in float32 between the file's quantisations, as ONNX defines. The two differ too.

    Raises:
        ToolchainError: onnxruntime is not installed.
        ModelError: onnxruntime refuses the model.
    """

    def __init__(self, path: Path, *, optimise: bool = True) -> None:
        self._model = read(path)
        self._values: dict[int, Array] = {}
        graph = self._model.graph
        writers = {t: op.kind.value for op in graph.ops for t in op.outputs}
        self._inner = {
            i: Deviation(graph.tensors[i].name, writers[i])
            for i, value in enumerate(self._model.values)
            if value is not None and value.dtype != "float32" and i in writers
        }
        self._outputs = Deviation("outputs", "")
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise ToolchainError(
                "onnxruntime, which results are compared with, is not installed",
                where=f"import onnxruntime: {error}",
                hint="pip install 'tinyml-toolchain[onnx]'",
            ) from error
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        proto = onnx.ModelProto.FromString(Path(path).read_bytes())
        declared = {value.name for value in proto.graph.output}
        for i in self._inner:
            name = self._file_value(i).name
            if name not in declared:
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
                declared.add(name)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base but this one
            raise ModelError(
                f"onnxruntime refuses {Path(path).name}", where=str(path), expected=str(error).strip()
            ) from error

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once.

        Args:
            inputs: one array per model input, in the graph's order of dimensions, of its dtype.

        Returns:
            One array per model output, in the graph's order of dimensions.
        """
        graph = self._model.graph
        self._values = reference.run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        self._compare(inputs)
        return [self._values[t] for t in graph.outputs]

    def run_int8(self, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
        """Run on int8 inputs, and return the int8 values at the network's edges.

        Args:
            graph: the graph as read, before passes.
            inputs: one int8 array per model input, of the input's shape.
        """
        self.run(float_inputs(graph, inputs))
        return [self._values[t] for t in int8_edges(graph).outputs]

    def tensor(self, source_index: int) -> Array:
        """Return a tensor of the last run (`Graph.source_index`)."""
        return self._values[source_index]

    def comparison(self) -> RuntimeComparison:
        """Return how far all runs so far were from onnxruntime's."""
        return RuntimeComparison(self.runtime, self._outputs, tuple(self._inner.values()))

    def _file_value(self, tensor: int) -> FileValue:
        value = self._model.values[tensor]
        assert value is not None
        return value

    def _compare(self, inputs: Sequence[Array]) -> None:
        graph = self._model.graph
        feed = {}
        for index, given in zip(graph.inputs, inputs, strict=True):
            value = self._file_value(index)
            feed[value.name] = value.to_file(given)
        inner = [self._file_value(i).name for i in self._inner]
        outputs = [value.name for value in self._model.outputs]
        results = dict(zip(inner + outputs, self._session.run(inner + outputs, feed), strict=True))
        theirs = dict(zip(graph.inputs, inputs, strict=True))
        for op in graph.ops:
            index = op.outputs[0]
            theirs[index] = reference.run_op(graph, op, theirs)
            if index in self._inner:  # compared, and what the layers behind it read
                value = self._file_value(index)
                ours = theirs[index]
                theirs[index] = value.from_file(results[value.name]).reshape(ours.shape)
                self._inner[index].add(theirs[index], ours)
        for tensor, edge, value in zip(
            graph.outputs, int8_edges(graph).outputs, self._model.outputs, strict=True
        ):
            received = value.from_file(results[value.name])
            if graph.tensors[tensor].dtype is DType.FLOAT32:  # it is dequantised: back to its codes
                held = graph.tensors[edge]
                received = np.rint(received.astype(np.float64) / held.scale) + held.zero_point
            self._outputs.add(self._values[edge].reshape(-1), received)
