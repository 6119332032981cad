"""The operators that can be read, by their ONNX names, one file per family."""

from __future__ import annotations

from collections.abc import Mapping

from tinyml.readers.onnx.operators import elementwise, functions, layers, quantization, reduction, shapes
from tinyml.readers.onnx.operators.reading import OnnxOperator

__all__ = ["OPERATORS", "OnnxOperator"]

OPERATORS: Mapping[str, OnnxOperator] = {
    **quantization.OPERATORS,
    **layers.OPERATORS,
    **elementwise.OPERATORS,
    **functions.OPERATORS,
    **reduction.OPERATORS,
    **shapes.OPERATORS,
}
