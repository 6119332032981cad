"""Whole networks that join, cut, shuffle, gather and resize: on the host and on an emulated Cortex-M4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import boards
from tinyml.build import Planning, compile_model, open_target
from tinyml.graph import OpKind
from tinyml.verify import verify


def shufflenet(b: ModelBuilder) -> None:
    """Half of the channels pass, the others are convolved; then they are shuffled (ShuffleNet v2)."""
    x = b.conv2d(b.input((1, 12, 12, 3), 0.05, 0), 8, stride=2, activation="relu")
    for _ in range(2):
        left, right = b.split(x, 2, 3)
        right = b.conv2d(b.depthwise(b.conv2d(right, 4, kernel=1)), 4, kernel=1, activation="relu")
        _, h, w, c = b.shape(left)
        right = b.quantize(right, b.tensors[left].scale[0], b.tensors[left].zero_point[0])
        x = b.concatenation([left, right], -1)
        x = b.reshape(b.transpose(b.reshape(x, (1, h, w, 2, c)), (0, 1, 2, 4, 3)), (1, h, w, 2 * c))
    b.output(b.softmax(b.fully_connected(b.mean(x, [1, 2]), 5)))


def densenet(b: ModelBuilder) -> None:
    x = b.conv2d(b.input((1, 16, 16, 3), 0.05, 0), 6, activation="relu")
    for _ in range(3):
        y = b.conv2d(b.conv2d(x, 12, kernel=1, activation="relu"), 4, activation="relu")
        x = b.concatenation([x, b.quantize(y, b.tensors[x].scale[0], b.tensors[x].zero_point[0])], 3)
    x = b.average_pool(b.conv2d(x, 8, kernel=1), 2)
    b.output(b.fully_connected(b.reshape(x, (1, 8 * 8 * 8)), 4))


def unet(b: ModelBuilder) -> None:
    """A skip connection around pooling, resized bilinearly, joined, mirrored at the edges."""
    x = b.conv2d(b.mirror_pad(b.input((1, 12, 12, 2), 0.05, 0), [(0, 0), (1, 1), (1, 1), (0, 0)]), 6)
    y = b.conv2d(b.max_pool(x, 2), 6, activation="relu")
    y = b.resize_bilinear(y, b.shape(x)[1:3], half_pixel_centers=True)
    y = b.concatenation([x, b.quantize(y, b.tensors[x].scale[0], b.tensors[x].zero_point[0])], 3)
    b.output(
        b.strided_slice(
            b.conv2d(y, 2),
            (0, 1, 1, 0),
            (0, -1, -1, 0),
            (1, 1, 1, 1),
            (1, 12, 12, 2),
            begin_mask=9,
            end_mask=9,
        )
    )


def windows(b: ModelBuilder) -> None:
    """Parts along the first dimension that are computed apart and joined where they are: no copy at all."""
    x = b.conv2d(b.input((1, 12, 8, 4), 0.05, 0), 8, activation="relu")
    parts = []
    for part in b.split(x, 3, 1):
        y = b.conv2d(part, 8, activation="relu")
        parts.append(b.quantize(y, 0.1, 3))
    b.output(b.conv2d(b.concatenation(parts, 1), 2, kernel=1))


def words(b: ModelBuilder) -> None:
    """Embedded tokens, a gather and a mean; int32 and float32 move through, too."""
    tokens, chosen = b.input((6,), dtype="int32"), b.input((2,), dtype="int32")
    table = b.constant(b.rng.integers(-128, 128, (20, 8)).astype(np.int8), 0.05, 3)
    x = b.reshape(b.embedding_lookup(tokens, table), (1, 6, 8))
    b.output(
        b.fully_connected(b.mean(x, [1]), 3), b.gather(b.reshape(x, (6, 8)), chosen), b.reverse(tokens, [0])
    )
    real = b.input((1, 3, 4), dtype="float32")
    b.output(b.tile(b.slice(real, (0, 1, 0), (1, 2, 4)), (1, 1, 2)))


def blocks(b: ModelBuilder) -> None:
    x = b.space_to_depth(b.input((1, 8, 8, 3), 0.05, 0), 2)
    x = b.space_to_batch(x, (2, 2), [(2, 2), (2, 2)])
    x = b.batch_to_space(b.conv2d(x, 8, kernel=3, padding="VALID"), (2, 2), [(0, 0), (0, 0)])
    x = b.pad_value(b.depth_to_space(x, 2), [(0, 0), (1, 1), (0, 1), (0, 0)], 7)
    rows = b.unpack(x, 1)
    b.output(
        b.pack(rows[::3], 1),
        b.batch_to_space(b.space_to_batch(x, (2, 3), [(1, 1), (1, 2)]), (2, 3), [(1, 0), (0, 2)]),
    )


NETWORKS: tuple[Callable[[ModelBuilder], None], ...] = (shufflenet, densenet, unet, windows, words, blocks)


def _save(network: Callable[[ModelBuilder], None], folder: Path) -> Path:
    b = ModelBuilder(5)
    network(b)
    return b.save(folder / f"{network.__name__}.tflite")


def _check(path: Path, board: str, planning: Planning, folder: Path, samples: int) -> None:
    compiled = compile_model(path, boards.load(board), planning)
    with open_target(compiled, folder, toolchain="gcc") as target:
        report = verify(path, target, samples=samples)
    assert report.mismatched_samples == 0, report.first_mismatch


@pytest.mark.parametrize("schedule", ["auto", "stream"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
def test_on_the_host(network: Callable[[ModelBuilder], None], schedule: str, tmp_path: Path) -> None:
    planning = Planning(schedule=schedule)  # type: ignore[arg-type]
    _check(_save(network, tmp_path), "host", planning, tmp_path / "built", 12)


@pytest.mark.parametrize("network", [shufflenet, words, blocks], ids=lambda n: n.__name__)
def test_on_an_emulated_m4(network: Callable[[ModelBuilder], None], tmp_path: Path) -> None:
    _check(_save(network, tmp_path), "mps2-an386", Planning(), tmp_path / "built", 3)


def test_parts_that_are_computed_apart_are_never_copied(tmp_path: Path) -> None:
    compiled = compile_model(_save(windows, tmp_path), boards.load("host"))
    run = {compiled.graph.ops[op].kind for stage in compiled.plan.stages for op in stage.ops}
    assert run == {OpKind.CONV_2D, OpKind.QUANTIZE}


def test_an_index_outside_reads_nothing_outside(tmp_path: Path) -> None:
    compiled = compile_model(_save(words, tmp_path), boards.load("host"))
    with open_target(compiled, tmp_path / "built", toolchain="gcc") as target:
        inputs = [
            np.zeros(compiled.graph.tensors[t].shape, compiled.graph.tensors[t].dtype.value)
            for t in compiled.graph.inputs
        ]
        first, last = (target.infer([np.full_like(inputs[0], v), *inputs[1:]]).outputs[0] for v in (0, 19))
        low, high = (
            target.infer([np.full_like(inputs[0], v), *inputs[1:]]).outputs[0] for v in (-(2**31), 2**31 - 1)
        )
    assert (low.tobytes(), high.tobytes()) == (first.tobytes(), last.tobytes())
