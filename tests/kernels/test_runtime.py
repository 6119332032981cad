"""The requantisation of tm_runtime.h against exact integers, aimed at halves and at the ends of int32."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest

from tests.kernels.harness import ROOT, WARNINGS, Array

INT32 = (-(2**31), 2**31 - 1)

SOURCE = """
#include "tm_runtime.h"
void requant(const int32_t *v, const int32_t *m, const int32_t *s, int32_t *y, int32_t n);
void requant_single(const int32_t *v, const int32_t *m, const int32_t *s, int32_t *y, int32_t n);
void clamp(const int32_t *v, const int32_t *zp, const int32_t *lo, const int32_t *hi, int8_t *y, int32_t n);
void requant(const int32_t *v, const int32_t *m, const int32_t *s, int32_t *y, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) y[i] = tm_requant(v[i], m[i], s[i]);
}
void requant_single(const int32_t *v, const int32_t *m, const int32_t *s, int32_t *y, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) y[i] = tm_requant_single(v[i], m[i], s[i]);
}
void clamp(const int32_t *v, const int32_t *zp, const int32_t *lo, const int32_t *hi, int8_t *y, int32_t n)
{
    for (int32_t i = 0; i < n; ++i) y[i] = tm_clamp_s8(v[i], zp[i], lo[i], hi[i]);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions over arrays; undefined behaviour traps, which ends the test run loudly."""
    folder = tmp_path_factory.mktemp("runtime")
    (folder / "runtime.c").write_text(SOURCE)
    sanitize = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    subprocess.run(
        [
            *("gcc", "-std=c11", "-O1", "-shared", "-fPIC", *sanitize, *WARNINGS),
            *(
                f"-I{ROOT / 'runtime_c' / 'include'}",
                str(folder / "runtime.c"),
                "-o",
                str(folder / "runtime.so"),
            ),
        ],
        check=True,
    )
    return ctypes.CDLL(str(folder / "runtime.so"))


def _call(library: ctypes.CDLL, name: str, arrays: list[Array], out: str) -> list[int]:
    columns = [np.ascontiguousarray(a, np.int32) for a in arrays]
    result = np.zeros(len(columns[0]), out)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*columns, result)]
    getattr(library, name)(*pointers, ctypes.c_int32(len(result)))
    return [int(v) for v in result]


def _cases(shift_range: tuple[int, int]) -> tuple[list[int], list[int], list[int]]:
    """Values, multipliers and shifts; a third of them one off an exact half of the last rounding."""
    rng = np.random.default_rng(7)
    values, multipliers, shifts = [], [], []
    for i in range(60_000):
        shift = int(rng.integers(shift_range[0], shift_range[1] + 1))
        multiplier = int(
            rng.choice(
                [1 << 30, 2**31 - 1, int(rng.integers(1 << 30, 1 << 31)), 0, int(rng.integers(1 << 30))]
            )
        )
        limit = 31 - max(shift, 0)
        if i % 3 == 0 and multiplier > 0:
            y = int(rng.integers(-300, 300))
            value = int((y + 0.5) * 2.0 ** (31 - shift) / multiplier) + int(rng.integers(-1, 2))
        else:
            value = int(rng.integers(-(2**31), 2**31)) >> int(rng.integers(0, 31))
        if i % 50 == 0:
            value = int(rng.choice([*INT32, 0, 1, -1]))
        values.append(max(-(1 << limit), min((1 << limit) - 1, value)))  # beyond, the reference is undefined
        multipliers.append(multiplier)
        shifts.append(shift)
    return values, multipliers, shifts


def _half_away(numerator: int, bits: int) -> int:
    """round(numerator / 2^bits), halves away from zero, in integers."""
    if bits == 0:
        return numerator
    magnitude = (abs(numerator) + (1 << (bits - 1))) >> bits
    return magnitude if numerator >= 0 else -magnitude


def test_requant_rounds_twice_as_the_reference(library: ctypes.CDLL) -> None:
    values, multipliers, shifts = _cases((-31, 30))
    got = _call(library, "requant", [np.array(a) for a in (values, multipliers, shifts)], "int32")
    for value, multiplier, shift, y in zip(values, multipliers, shifts, got, strict=True):
        # SRDHM as gemmlowp writes it: nudge by sign, then truncate towards zero.
        product = (value << max(shift, 0)) * multiplier
        nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
        high = abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)
        assert y == _half_away(high, max(-shift, 0)), (value, multiplier, shift)


def test_requant_single_rounds_once(library: ctypes.CDLL) -> None:
    values, multipliers, shifts = _cases((-31, 0))
    got = _call(library, "requant_single", [np.array(a) for a in (values, multipliers, shifts)], "int32")
    for value, multiplier, shift, y in zip(values, multipliers, shifts, got, strict=True):
        bits = 31 - shift
        assert y == (value * multiplier + (1 << (bits - 1))) >> bits, (value, multiplier, shift)


def test_the_two_roundings_differ_somewhere(library: ctypes.CDLL) -> None:
    """Were they the same, neither test above would tell them apart."""
    arrays = [np.array(a) for a in _cases((-31, 0))]
    assert _call(library, "requant", arrays, "int32") != _call(library, "requant_single", arrays, "int32")


def test_clamp_never_overflows(library: ctypes.CDLL) -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([np.array(INT32), rng.integers(*INT32, 2000), rng.integers(-600, 600, 2000)])
    zero_points = rng.integers(-128, 128, len(values))
    lo = rng.integers(-128, 128, len(values))
    hi = np.minimum(127, lo + rng.integers(0, 256, len(values)))
    got = _call(library, "clamp", [values, zero_points, lo, hi], "int8")
    assert got == [int(v) for v in np.clip(values + zero_points, lo, hi)]
