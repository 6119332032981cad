"""ONNX files → Graph: networks quantised to int8 with QuantizeLinear and DequantizeLinear (QDQ).

`proto.py` decodes the file, `network.py` holds what is built of it, `order.py` says in which order
elements lie in memory, `operators/` has one entry per operator.

Images are [N, H, W, C] in the graph, weights as TFLite has them. Integers are those of TFLite's
operators too: what onnxruntime computes in float, a kernel computes in fixed point, and now and then
rounds the other way (docs/onnx.md has the figures).
"""

from tinyml.readers.onnx.network import FileValue
from tinyml.readers.onnx.reader import OnnxModel, read, read_model

__all__ = ["FileValue", "OnnxModel", "read", "read_model"]
