"""ONNX networks for tests: built in float with random weights, quantised by onnxruntime as users do it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType

OPSET = 17


class OnnxBuilder:
    """Nodes one after another; every method returns the name of the value it adds."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, shape: Sequence[int | str], dtype: int = TensorProto.FLOAT) -> str:
        name = f"input_{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, dtype: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def random(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.rng.normal(size=shape) * scale)

    def conv(
        self,
        x: str,
        in_c: int,
        out_c: int,
        kernel: Sequence[int],
        *,
        group: int = 1,
        bias: bool = True,
        **attrs: Any,
    ) -> str:
        fan = in_c // group * int(np.prod(kernel))
        operands = [x, self.random(out_c, in_c // group, *kernel, scale=fan**-0.5)]
        if bias:
            operands.append(self.random(out_c, scale=0.3))
        return self.node("Conv", *operands, group=group, **attrs)

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        return self.node(
            "Gemm", x, self.random(outputs, inputs, scale=inputs**-0.5), self.random(outputs), transB=1
        )

    # Quantised by hand

    def quantize(self, x: str, scale: float, zero_point: int, dtype: Any = np.uint8) -> str:
        return self.node("QuantizeLinear", x, self.constant(scale), self.constant(zero_point, dtype))

    def dequantize(self, x: str, scale: Any, zero_point: Any, dtype: Any = np.uint8, **attrs: Any) -> str:
        return self.node(
            "DequantizeLinear", x, self.constant(scale), self.constant(zero_point, dtype), **attrs
        )

    def qdq(self, x: str, scale: float, zero_point: int, dtype: Any = np.uint8) -> str:
        return self.dequantize(self.quantize(x, scale, zero_point, dtype), scale, zero_point, dtype)

    def weights(self, shape: Sequence[int], scale: float = 0.01) -> str:
        """Return int8 weights with one scale, dequantised."""
        values = self.constant(self.rng.integers(-127, 128, shape), np.int8)
        return self.dequantize(values, scale, 0, np.int8)

    def conv_quantised(self, x: str, in_c: int, out_c: int) -> str:
        """Return a 3x3 convolution, its result not yet quantised."""
        return self.node("Conv", x, self.weights((out_c, in_c, 3, 3)), pads=[1, 1, 1, 1])

    # Files

    def model(self, opset: int = OPSET) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "test", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 9
        return model

    def save(self, path: Path, opset: int = OPSET) -> Path:
        path.write_bytes(self.model(opset).SerializeToString())
        return path

    def save_quantised(
        self,
        path: Path,
        *,
        activations: QuantType = QuantType.QUInt8,
        per_channel: bool = True,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Calibrate with random inputs, quantise, and save."""
        logging.getLogger().setLevel(logging.ERROR)
        quantization.quantize_static(
            self.model(),
            str(path),
            _Samples(self.inputs, self.rng),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=activations,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=sorted({node.op_type for node in self.nodes}),
            extra_options=dict(extra or {}),
        )
        return path


class _Samples(CalibrationDataReader):
    """Normally distributed calibration inputs."""

    def __init__(self, inputs: Sequence[onnx.ValueInfoProto], rng: np.random.Generator) -> None:
        self._samples = self._draw(inputs, rng)

    def _draw(
        self, inputs: Sequence[onnx.ValueInfoProto], rng: np.random.Generator
    ) -> Iterator[dict[str, np.ndarray]]:
        for _ in range(6):
            yield {
                value.name: rng.normal(
                    size=[d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
                ).astype(np.float32)
                for value in inputs
            }

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._samples, None)
