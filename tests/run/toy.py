"""The hand-written model of tests/run/model/toy.c in Python, and how to build it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from tinyml.graph import Array

MODEL = Path(__file__).parent / "model"
SHA256 = "707172" + 58 * "0"
TROUBLE = 0x7E


def inputs(seed: int, *, trouble: int = 0, amount: int = 0) -> list[Array]:
    """Return both inputs; `trouble` is b[1], see toy.c."""
    random = np.random.default_rng(seed)
    a = random.integers(-128, 128, 600).astype(np.int8)
    b = random.integers(-128, 128, 40).astype(np.int8)
    b[0] = 0
    if trouble:
        b[:3] = TROUBLE, trouble, amount
    return [a, b]


def layers(a: Array, b: Array) -> list[bytes]:
    """Return the output bytes of the three layers."""
    t = a + np.int8(1)
    y = t + np.resize(b, 600)
    z = y.reshape(-1, 8).sum(axis=0, dtype=np.int8)
    return [t.tobytes(), y.tobytes(), z.tobytes()]


def outputs(a: Array, b: Array) -> list[bytes]:
    """Return the bytes of both outputs."""
    return layers(a, b)[1:]


def crcs(a: Array, b: Array) -> list[int]:
    """Return the CRC-32 of the three layers' outputs."""
    return [zlib.crc32(data) for data in layers(a, b)]
