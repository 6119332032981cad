"""Model files → Graph. The only place that knows file formats."""

from __future__ import annotations

from pathlib import Path

from tinyml.graph import Graph
from tinyml.readers import tflite

__all__ = ["is_onnx", "read_model"]


def read_model(path: Path) -> Graph:
    """Read a model file: .onnx, or .tflite in all other cases.

    Raises:
        ModelError: the file cannot be read, is damaged, or breaks its format's rules.
        UnsupportedOp: it uses operators or element types that no kernel runs.
        ToolchainError: it is an ONNX model, and the package onnx is not installed.
    """
    if is_onnx(path):
        from tinyml.readers import onnx

        return onnx.read_model(path)
    return tflite.read_model(path)


def is_onnx(path: Path) -> bool:
    """Return whether a file is read as ONNX: by its name, since protocol buffers carry no mark."""
    return Path(path).suffix.lower() == ".onnx"
