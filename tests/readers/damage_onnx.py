"""Sound ONNX files of other content, for the fuzz tests and tools/fuzz.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

SIZES = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 7, 100, 2**15, 2**31 - 1, 2**32, 2**63 - 1)


def sound_files(folder: Path) -> list[bytes]:
    """Return the quantised networks of test_onnx, which together use every operator; needs onnxruntime."""
    from tests.onnx_builder import OnnxBuilder
    from tests.readers.test_onnx import NETWORKS

    found = []
    for network in NETWORKS:
        b = OnnxBuilder(1)
        network(b)
        found.append(b.save_quantised(folder / "m.onnx").read_bytes())
    return found


def rewire(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the meaning of a file that stays a valid protocol buffer."""
    model = onnx.ModelProto.FromString(data)
    graph = model.graph
    for _ in range(int(rng.integers(1, 4))):
        node = graph.node[int(rng.integers(len(graph.node)))]
        names = [name for other in graph.node for name in other.output] + [c.name for c in graph.initializer]
        constant = graph.initializer[int(rng.integers(len(graph.initializer)))]
        match int(rng.integers(12)):
            case 0:
                node.input[int(rng.integers(len(node.input)))] = str(rng.choice(names))
            case 1:
                del node.input[int(rng.integers(len(node.input)))]
            case 2:
                node.op_type = graph.node[int(rng.integers(len(graph.node)))].op_type
            case 3 if node.attribute:
                attribute = node.attribute[int(rng.integers(len(node.attribute)))]
                if attribute.ints:
                    attribute.ints[int(rng.integers(len(attribute.ints)))] = int(rng.choice(SIZES))
                else:
                    attribute.i = int(rng.choice(SIZES))
            case 4 if node.attribute:
                node.attribute[int(rng.integers(len(node.attribute)))].type = int(rng.integers(0, 14))
            case 5 if constant.dims:
                constant.dims[int(rng.integers(len(constant.dims)))] = int(rng.choice(SIZES))
            case 6:
                constant.data_type = int(rng.integers(0, 24))
            case 7:
                constant.raw_data = rng.bytes(len(constant.raw_data))
            case 8:
                size = graph.input[0].type.tensor_type.shape.dim[int(rng.integers(2, 3))]
                size.dim_value = int(rng.choice(SIZES))
            case 9:
                del graph.node[int(rng.integers(len(graph.node)))]
                if not graph.node:
                    return model.SerializeToString()
            case 10:
                node.output[0] = str(rng.choice(names))
            case 11:
                values = [int(v) for v in rng.choice(SIZES, int(rng.integers(0, 8)))]
                constant.CopyFrom(onnx.numpy_helper.from_array(np.array(values, np.int64), constant.name))
    return model.SerializeToString()
