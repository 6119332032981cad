"""A convolution between SPACE_TO_BATCH_ND and its inverse is a dilated one, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.passes.test_passes import _kinds, run_passes
from tests.tflite_builder import ModelBuilder
from tinyml.graph import Pads, WindowAttrs
from tinyml.kernels.registry import Isa
from tinyml.select import select


def _dilated(b: ModelBuilder, rng: np.random.Generator, sequence: bool) -> bool:
    """Write a dilated convolution as converters do; returns whether no crop is wider than its padding."""
    spatial = 1 if sequence else 2
    sizes, channels = [int(n) for n in rng.integers(5, 12, spatial)], int(rng.integers(1, 5))
    block = [int(n) for n in rng.integers(1, 4, spatial)]
    kernel = [int(n) for n in rng.integers(1, 4, spatial)]
    same = bool(rng.integers(2))  # the convolution's own padding
    pads, crops, fits = [], [], True
    for size, d, k in zip(sizes, block, kernel, strict=True):
        # At least what the window needs, up to whole blocks.
        before, after = (int(n) for n in rng.integers(0, (k - 1) * d + 1, 2))
        while (size + before + after) % d or (size + before + after) // d < k:
            after += 1
        out = (size + before + after) - (0 if same else (k - 1) * d)
        cut = [int(n) for n in rng.integers(0, 3, 2)]
        cut = cut if sum(cut) < out and rng.random() < 0.4 else [0, 0]
        own = (k - 1) // 2 * d if same else 0, (k - 1 - (k - 1) // 2) * d if same else 0
        fits &= before + own[0] >= cut[0] and after + own[1] >= cut[1]
        pads.append((before, after))
        crops.append((cut[0], cut[1]))
    padding = "SAME" if same else "VALID"
    y = b.space_to_batch(b.input((1, *sizes, channels)), block, pads)
    if not sequence:
        y = (
            b.conv2d(y, 3, kernel=tuple(kernel), padding=padding)
            if rng.integers(2)
            else b.depthwise(y, 2, kernel=tuple(kernel), padding=padding)
        )
    else:
        n, t, c = b.shape(y)
        across = bool(rng.integers(2))
        y = b.reshape(y, (n, 1, t, c) if across else (n, t, 1, c))
        y = b.conv2d(y, 3, kernel=(1, kernel[0]) if across else (kernel[0], 1), padding=padding)
        n, h, w, c = b.shape(y)
        y = b.reshape(y, (n, h * w, c))
    b.output(b.batch_to_space(y, block, crops))
    return fits


@pytest.mark.parametrize("sequence", [False, True])
def test_random_ones_equal_litert(sequence: bool, tmp_path: Path) -> None:
    folded = 0
    for seed in range(40):
        b = ModelBuilder(seed)
        fits = _dilated(b, np.random.default_rng(seed), sequence)
        kinds = _kinds(run_passes(b, tmp_path))
        assert ("SPACE_TO_BATCH_ND" not in kinds) == fits
        folded += fits
    assert 10 < folded < 40


def test_a_causal_convolution(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    y = b.space_to_batch(b.input((1, 14, 1, 4)), (4, 1), [(8, 2), (0, 0)])
    b.output(b.batch_to_space(b.conv2d(y, 5, kernel=(3, 1), padding="VALID"), (4, 1), [(0, 2), (0, 0)]))
    graph = run_passes(b, tmp_path)
    (op,) = graph.ops
    assert isinstance(op.attrs, WindowAttrs)
    assert (op.attrs.dilation_h, op.attrs.dilation_w) == (4, 1)
    assert op.attrs.pads == Pads(top=8)


def test_what_cannot_fold_runs_over_the_batch(tmp_path: Path) -> None:
    b = ModelBuilder(4)
    y = b.space_to_batch(b.input((1, 8, 8, 4)), (2, 2), [(0, 0), (0, 0)])
    y = b.conv2d(y, 3, kernel=2, stride=2, padding="VALID")
    b.output(b.batch_to_space(y, (2, 2), [(0, 0), (0, 0)]))
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["SPACE_TO_BATCH_ND", "CONV_2D", "BATCH_TO_SPACE_ND"]
    (_, convolution, _) = select(graph, (Isa.C,))
    assert convolution.lowered is not None
    assert convolution.lowered.batches == 4
