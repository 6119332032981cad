"""The hand-written model of tests/run/pushed_model/pushed.c in Python."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from tinyml.graph import Array

MODEL = Path(__file__).parent / "pushed_model"
SHA256 = "8081" + 60 * "0"
ROWS, ROW_BYTES, TIMES = 6, 50, 2
SENT_BYTES = ROWS * ROW_BYTES * TIMES
TROUBLE = 0x7E


def inputs(seed: int, *, trouble: int = 0, amount: int = 0) -> list[Array]:
    """Return both inputs; `trouble` is b[1], see pushed.c."""
    random = np.random.default_rng(seed)
    x = random.integers(-128, 128, (1, ROWS, 10, 5)).astype(np.int8)
    b = random.integers(-128, 128, 40).astype(np.int8)
    b[0] = 0
    if trouble:
        b[:3] = TROUBLE, trouble, amount
    return [x, b]


def layers(x: Array, b: Array) -> list[bytes]:
    """Return the output bytes of the two layers."""
    rows = x.reshape(ROWS, ROW_BYTES)
    y = (rows + np.resize(b, ROW_BYTES)) * np.int8(3) + rows
    z = np.zeros(8, np.int8)
    np.add.at(z, np.arange(y.size) % 8, y.reshape(-1))
    return [y.tobytes(), z.tobytes()]


def crcs(x: Array, b: Array) -> list[int]:
    """Return the CRC-32 of the layers' outputs."""
    return [zlib.crc32(data) for data in layers(x, b)]
