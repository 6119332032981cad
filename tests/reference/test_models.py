"""Real networks: every inner tensor equals LiteRT's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.shared_models import shared_models
from tinyml import passes, reference
from tinyml.oracle import Oracle, float_inputs, int8_edges
from tinyml.readers import read_model

MODELS = ("kws", "vww96", "resnet8", "ad01", "mcunet_vww", "mcunet_det", "mcunetv2_large")


@pytest.mark.parametrize("path", shared_models(*MODELS))
def test_every_tensor_equals_litert(path: Path) -> None:
    graph = read_model(path)
    rewritten = passes.run(graph)
    oracle = Oracle(path)
    rng = np.random.default_rng(1)
    samples = [
        rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in int8_edges(graph).inputs
    ]
    expected = oracle.run_int8(graph, samples)

    inputs = dict(zip(graph.inputs, float_inputs(graph, samples), strict=True))
    values = reference.run(graph, inputs)
    for op in graph.ops:
        tensor = op.outputs[0]
        np.testing.assert_array_equal(
            values[tensor], oracle.tensor(graph.source_index[tensor]), err_msg=str(op)
        )

    values = reference.run(rewritten, dict(zip(rewritten.inputs, samples, strict=True)))
    for tensor, output in zip(rewritten.outputs, expected, strict=True):
        np.testing.assert_array_equal(values[tensor], output)
    compared = 0
    for op in rewritten.ops:
        source = rewritten.source_index[op.outputs[0]]
        if source >= 0:
            expected_here = rewritten.tensors[op.outputs[0]].of_file(oracle.tensor(source))
            np.testing.assert_array_equal(values[op.outputs[0]], expected_here, strict=True, err_msg=str(op))
            compared += 1
    assert compared >= len(rewritten.ops) - 2
