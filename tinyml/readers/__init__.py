"""Model files → Graph. The only place that knows a file format."""

from tinyml.readers.tflite import read_model

__all__ = ["read_model"]
