"""The short requantisations equal the reference for every accumulator, not only for likely ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.harness import INCLUDES, SEMIHOSTING_SOURCES, WARNINGS, board_compiler, board_runner
from tinyml import numerics
from tinyml.kernels.dsp_streams import RequantForm, requant_form, requant_words

# The forms of tm_dsp.h against tm_requant, and the one of FULLY_CONNECTED against tm_requant_single,
# on accumulators aimed at halves of the second rounding, at both ends of int32, and at random.
PROGRAM = r"""
#include <stdio.h>
#include "tm_dsp.h"
#include "tm_fully_connected_s8_dsp.h"

static uint32_t state = 2463534242u;
static uint32_t random32(void)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static int32_t accumulator(int32_t multiplier, int32_t s, uint32_t kind)
{
    if (kind == 0) {
        return (int32_t)random32() >> (random32() & 31);
    }
    if (kind == 1) {
        const int32_t near = (int32_t)(random32() & 15);
        return random32() & 1 ? INT32_MAX - near : INT32_MIN + near;
    }
    /* value * multiplier / 2^31 lies beside a half of the shift by s, value within int8's reach */
    const int64_t y = (int64_t)(random32() % 520) - 260;
    const int64_t half = (y * ((int64_t)1 << s)) + ((int64_t)1 << s) / 2 + (int64_t)(random32() % 3) - 1;
    if (half > INT32_MAX || half < INT32_MIN) {
        return (int32_t)random32();
    }
    const int64_t value = half * 2147483648 / multiplier + (int64_t)(random32() % 3) - 1;
    return value > INT32_MAX || value < INT32_MIN ? (int32_t)random32() : (int32_t)value;
}

static int32_t a_multiplier(void)
{
    switch (random32() % 4) {
    case 0:
        return 1 << 30;
    case 1:
        return INT32_MAX;
    case 2:
        return (1 << 30) + (int32_t)(random32() & 7);
    default:
        return (1 << 30) + (int32_t)(random32() & 0x3fffffff);
    }
}

typedef struct {
    int32_t acc, multiplier, s, zp;
    int8_t want;
} sample;
static int32_t bad;
static void compare(const char *form, int8_t got, const sample *at)
{
    if (got != at->want && ++bad <= 10) {
        printf("%s acc %ld multiplier %ld s %ld zp %ld: %d, not %d\n", form, (long)at->acc,
               (long)at->multiplier, (long)at->s, (long)at->zp, got, at->want);
    }
}

int main(void)
{
    for (int32_t i = 0; i < CASES; ++i) {
        const int32_t s = 1 + (int32_t)(random32() % (i & 1 ? 31 : 12));
        const int32_t multiplier = a_multiplier();
        const int32_t zp = i % 5 ? (int32_t)(random32() & 255) - 128 : (i % 2 ? 127 : -128);
        const int32_t acc = accumulator(multiplier, s, random32() % 4);
        const int32_t a = (int32_t)(2u * (uint32_t)multiplier);
        const uint32_t power = (uint32_t)1 << (32 - s);
        sample at = {acc, multiplier, s, zp, 0};
        at.want = tm_clamp_s8(tm_requant(acc, multiplier, -s), zp, -128, 127);
        if (s >= 2 && s <= 12) {
            compare("form 3", tm_requant_dsp(TM_REQUANT_3, acc, a, (int32_t)(power + 1u), zp), &at);
        }
        compare("form 4", tm_requant_dsp(TM_REQUANT_4, acc, a, (int32_t)(0u - power), zp), &at);
        compare("form any", tm_requant_dsp(TM_REQUANT_ANY, acc, multiplier, -s, zp), &at);
        at.want = tm_clamp_s8(tm_requant_single(acc, multiplier, -s), zp, -128, 127);
        if (s >= 2) {
            compare("form 1", tm_requant_dsp(TM_REQUANT_1, acc, a, (int32_t)power, zp), &at);
        }
        compare("single", tm_fc_requant(acc, multiplier, -s, zp), &at);
    }
    return bad != 0;
}
"""


def _compile(folder: Path, compiler: tuple[str, ...], cases: int, *sources: str) -> Path:
    source = folder / "requant.c"
    source.write_text(PROGRAM)
    program = folder / "requant"
    includes = [f"-I{path}" for path in INCLUDES]
    subprocess.run(
        [*compiler, f"-DCASES={cases}", *includes, str(source), *sources, "-o", str(program)], check=True
    )
    return program


def test_emulated_instructions(tmp_path: Path) -> None:
    compiler = ("gcc", "-std=c11", "-O2", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all")
    program = _compile(tmp_path, compiler, 3_000_000)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("board", "core"), [("mps2-an386", "cortex-m4"), ("mps2-an500", "cortex-m7")])
def test_real_instructions(board: str, core: str, tmp_path: Path) -> None:
    program = _compile(
        tmp_path, board_compiler(core, "-O2"), 300_000, *(str(path) for path in SEMIHOSTING_SOURCES)
    )
    done = subprocess.run([*board_runner(board), str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def _high_word(c: int, product: int, rounded: bool) -> int:
    """Return the high word of (c << 32) + product as SMMLA and SMMLAR give it, in exact integers."""
    value = ((c << 32) + product + (0x80000000 if rounded else 0)) >> 32
    return (value + 2**31) % 2**32 - 2**31


@pytest.mark.parametrize("form", [RequantForm.THREE, RequantForm.FOUR])
def test_words_give_the_reference_in_exact_integers(form: RequantForm) -> None:
    """The words from Python, the instructions as Arm defines them, numpy's reference."""
    rng = np.random.default_rng(3)
    shifts = range(2, 13) if form is RequantForm.THREE else range(1, 32)
    for s in shifts:
        multipliers = np.array([2**30, 2**31 - 1, *rng.integers(2**30, 2**31, 6)], np.int64)
        words = requant_words(form, multipliers.astype(np.int32), np.full(8, -s, np.int32))
        for m, (a, b) in zip(multipliers.tolist(), words.tolist(), strict=True):
            halves = [
                ((y << s) + (1 << s >> 1) + d << 31) // m + e
                for y in (-9, -1, 0, 8)
                for d in (0, 1)
                for e in (0, 1)
            ]
            accs = np.array(
                [-(2**31), 2**31 - 1, 0, -1, 1, *halves, *rng.integers(-(2**31), 2**31, 8)], np.int64
            )
            accs = np.clip(accs, -(2**31), 2**31 - 1)
            for zero_point in (-128, 0, 127):
                want = np.clip(
                    numerics.multiply_by_quantized_multiplier(accs, m, -s) + zero_point, -128, 127
                ).tolist()
                got = []
                for acc in accs.tolist():
                    t = _high_word(acc, acc * a, rounded=True)
                    if form is RequantForm.FOUR:
                        y = _high_word(zero_point, -(t + (t >> 31)) * b, rounded=True)
                    else:
                        y = _high_word(zero_point, t * b, rounded=True)
                    got.append(min(max(y, -128), 127))
                assert got == want


@pytest.mark.parametrize(
    ("multiplier", "shift", "form"),
    [
        ([2**30, 2**31 - 1], [-2, -12], RequantForm.THREE),
        ([2**30, 2**30], [-2, -13], RequantForm.FOUR),
        ([2**30, 2**30], [-1, -31], RequantForm.FOUR),
        ([2**30, 2**30], [-5, 0], RequantForm.ANY),
        ([2**30, 2**30], [-5, 3], RequantForm.ANY),
        ([2**30, 0], [-5, 0], RequantForm.ANY),  # a channel whose scale is too small for TFLite
    ],
)
def test_the_form_fits_all_channels(multiplier: list[int], shift: list[int], form: RequantForm) -> None:
    assert requant_form(np.array(multiplier, np.int32), np.array(shift, np.int32)) is form
