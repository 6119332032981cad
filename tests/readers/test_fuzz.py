"""Damaged files: whatever the damage, one ModelError or a checked graph, quickly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.shared_models import shared_models
from tests.tflite_builder import ModelBuilder
from tinyml import passes
from tinyml.errors import ModelError
from tinyml.readers import read_model

CASES = 1500


def _small_models() -> list[bytes]:
    """Return files that together use every operator."""
    a = ModelBuilder(1)
    x = a.quantize(a.input((1, 7, 6, 4), dtype="float32"), 0.05, 3)
    y = a.depthwise(a.conv2d(x, 8, stride=2, activation="relu6"), 2, padding="VALID")
    y = a.add(a.pad(y, [(0, 0), (1, 1), (1, 1), (0, 0)]), a.constant(np.array([5], np.int8), 0.1, 0))
    y = a.fully_connected(a.mean(y, [1, 2]), 10, per_channel=True)
    a.output(a.dequantize(a.softmax(y)))

    b = ModelBuilder(2)
    x = b.input((1, 6, 8, 3))
    y = b.max_pool(b.resize_nearest(b.mul(x, x), (9, 9)), 3, padding="SAME")
    b.output(b.reshape(b.transpose(b.average_pool(y), (0, 3, 1, 2)), (1, -1 + 13)), b.quantize(y))

    c = ModelBuilder(3)
    x, y = (c.input((1, 4, 5, 3), 0.05) for _ in range(2))
    z = c.unary("LEAKY_RELU", c.unary("LOGISTIC", x, 1 / 256), None, None, "LeakyReluOptions", Alpha=0.1)
    z = c.binary("SUB", c.unary("HARD_SWISH", y), z, 0.1, None, "SubOptions")
    slopes = c.constant(np.arange(3, dtype=np.int8), 0.01, 0)
    z = c.select(c.relation("LESS", x, z), c.binary("PRELU", z, slopes), z)
    c.output(c.binary("SQUARED_DIFFERENCE", z, y, 0.2), c.cast(c.quantize(z, dtype="int16"), "int32"))

    d = ModelBuilder(4)
    x = d.input((2, 4, 6, 3))
    y = d.transpose_conv(x, 4, activation="relu")
    y = d.batch_matmul(y, d.constant(np.arange(20, dtype=np.int8).reshape(4, 5), 0.1, 3))
    y = d.reduce("REDUCE_MAX", d.reduce("SUM", y, [1]), [-2], keep_dims=True)
    d.int4_weights = True
    y = d.fully_connected(d.l2_normalization(y), 7)
    d.output(d.arg("ARG_MAX", y, -1), d.arg("ARG_MIN", y, 0, "int64"), d.log_softmax(y))
    d.output(d.reduce("REDUCE_PROD", y, [1]))

    e = ModelBuilder(5)
    x = e.input((1, 6, 6, 4))
    left, _ = e.split(x, 2, 3)
    _, right = e.split_v(x, (2, 2), 3)
    y = e.concatenation([e.slice(left, (0, 0, 0, 0), (1, 6, 6, 2)), e.reverse(right, [1])], 3)
    y = e.resize_bilinear(
        e.mirror_pad(e.pad_value(y, [(0, 0)] * 4, 3), [(0, 0), (1, 1), (0, 0), (0, 0)]), (8, 8)
    )
    y = e.depth_to_space(e.space_to_depth(e.tile(y, (1, 1, 1, 2)), 2), 2)
    y = e.batch_to_space(e.space_to_batch(y, (2, 2), [(0, 0), (0, 0)]), (2, 2), [(0, 0), (0, 0)])
    y = e.pack(e.unpack(y, 1)[:2], 1)
    index = e.constant(np.array([1, 0], np.int32))
    y = e.gather(e.gather_nd(y, e.constant(np.array([[0, 1]], np.int32))), index, 1)
    y = e.strided_slice(y, (0, 0, 0), (1, 2, 8), (1, 1, 3), (1, 2, 3))
    ids = e.input((2,), dtype="int32")
    table = e.constant(e.rng.integers(-128, 128, (4, 3)).astype(np.int8), 0.1, 0)
    e.output(e.broadcast_to(y, (2, 2, 3)), e.embedding_lookup(ids, table))

    f = ModelBuilder(6)
    f.int16 = True
    x = f.input((1, 6, 5, 3), 0.001, 0, "int16")
    y = f.max_pool(f.depthwise(f.conv2d(x, 4, activation="relu"), bias=False))
    y = f.transpose_conv(y, 3)
    y = f.mul(y, f.unary("TANH", y, 2**-15))
    y = f.binary("SUB", f.unary("LOGISTIC", y, 2**-15), y, 0.01, None, "SubOptions", PotScaleInt16=False)
    y = f.unary("LEAKY_RELU", f.add(y, y), None, None, "LeakyReluOptions", Alpha=0.1)
    f.output(f.softmax(f.fully_connected(f.mean(y, [1, 2]), 4)), f.average_pool(y, 1))
    return [model.build() for model in (a, b, c, d, e, f)]


def _damage(data: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(0, 6)
    damaged = bytearray(data)
    if kind == 0:
        return bytes(damaged[: rng.integers(0, len(data))])
    if kind == 1:  # bits
        for _ in range(int(rng.integers(1, 20))):
            damaged[rng.integers(0, len(data))] ^= 1 << int(rng.integers(0, 8))
    elif kind == 2:  # a word that is an offset, a count or a size
        at = int(rng.integers(0, len(data) // 4)) * 4
        value = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(data), int(rng.integers(0, 2**32))]))
        damaged[at : at + 4] = value.to_bytes(4, "little")
    elif kind == 3:  # one part over another
        size = int(rng.integers(1, 200))
        source, target = rng.integers(0, len(data) - size, 2)
        damaged[target : target + size] = damaged[source : source + size]
    elif kind == 4:  # zeros or ones
        size = int(rng.integers(1, 64))
        at = int(rng.integers(0, len(data) - size))
        damaged[at : at + size] = bytes([int(rng.choice([0, 255]))]) * size
    else:  # something missing
        at = int(rng.integers(0, len(data) - 8))
        del damaged[at : at + int(rng.integers(1, 8))]
    return bytes(damaged)


def _survives(data: bytes, path: Path) -> bool:
    """Read and rewrite a file; True where it was refused."""
    path.write_bytes(data)
    message = ""
    try:
        passes.run(read_model(path))
    except ModelError as error:
        message = str(error)
    assert len(message) < 200_000
    return bool(message)


@pytest.mark.parametrize("model", [0, 1, 2])
def test_damaged_small_models(model: int, tmp_path: Path) -> None:
    data = _small_models()[model]
    assert not _survives(data, tmp_path / "m.tflite")
    rng = np.random.default_rng(model)
    refused = sum(_survives(_damage(data, rng), tmp_path / "m.tflite") for _ in range(CASES))
    assert refused > CASES // 4  # the damage reaches what is checked


def test_every_truncation(tmp_path: Path) -> None:
    data = _small_models()[1]
    for size in range(0, len(data), 7):
        assert _survives(data[:size], tmp_path / "m.tflite"), size


@pytest.mark.parametrize("path", shared_models("kws", "mcunet_vww", "ad01"))
def test_damaged_real_models(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    # Damage what is structure rather than weights: both ends of the file hold the tables.
    rng = np.random.default_rng(0)
    for _ in range(100):
        _survives(_damage(data, rng), tmp_path / "m.tflite")
        tail = _damage(data[-20000:], rng)
        _survives(data[:-20000] + tail, tmp_path / "m.tflite")
