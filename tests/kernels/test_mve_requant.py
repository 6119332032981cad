"""The vector requantisations equal the reference for every accumulator, not only for likely ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.harness import SEMIHOSTING_SOURCES, WARNINGS, board_compiler, board_runner, compile_c
from tinyml import numerics
from tinyml.kernels.mve_streams import RequantForm, requant_form, requant_words

# The forms of tm_mve.h as the convolutions use them, tm_mve_scale of the elementwise kernels, and the high
# word with a rounding shift of FULLY_CONNECTED: on accumulators aimed at halves of the second rounding, at
# both ends of int32, and at random; four lanes at a time.
PROGRAM = r"""
#include <stdio.h>
#include "tm_mve.h"
#include "requant_cases.h"

static int32_t bad;
static void compare(const char *form, const int8_t *got, const int8_t *want, const int32_t *acc,
                    int32_t multiplier, int32_t s)
{
    for (int32_t i = 0; i < 4; ++i) {
        if (got[i] != want[i] && ++bad <= 10) {
            printf("%s acc %ld multiplier %ld s %ld: %d, not %d\n", form, (long)acc[i],
                   (long)multiplier, (long)s, got[i], want[i]);
        }
    }
}

#if TM_MVE_ASM
#define VECTOR(form) \
    static void vector_##form(const int32_t acc[4], int32_t a, int32_t b, int32_t zp, int8_t y[4]) \
    { \
        __asm__ volatile("vldrw.u32 q0, [%0]\n" \
                         "mov r0, %1\n" \
                         "mov r1, %2\n" TM_MVE_REQUANT_TEXT_##form("q0", "q1", "r0", "r1", "r2", "r3") \
                         "vqmovnb.s32 q2, " TM_MVE_RESULT_##form("q0", "q1") "\n" \
                         "vqadd.s16 q2, q2, %3\n" \
                         "vqmovnb.s16 q2, q2\n" \
                         "vstrb.32 q2, [%4]\n" \
                         : \
                         : "r"(acc), "r"(a), "r"(b), "r"(zp), "l"(y) \
                         : "r0", "r1", "r2", "r3", "q0", "q1", "q2", "memory"); \
    }
#else
#define VECTOR(form) \
    static void vector_##form(const int32_t acc[4], int32_t a, int32_t b, int32_t zp, int8_t y[4]) \
    { \
        for (int32_t i = 0; i < 4; ++i) { \
            y[i] = tm_mve_requant(TM_MVE_REQUANT_##form, acc[i], a, b, zp); \
        } \
    }
#endif
VECTOR(2)
VECTOR(3)
VECTOR(ANY)

static void scale(const int32_t acc[4], int32_t multiplier, int32_t shift, int32_t zp, int8_t y[4])
{
#if TM_MVE_ASM
    int32_t words[4];
    vst1q_s32(words, tm_mve_scale(vld1q_s32(acc), multiplier, shift));
    for (int32_t i = 0; i < 4; ++i) {
        y[i] = tm_clamp_s8(words[i], zp, -128, 127);
    }
#else
    vector_ANY(acc, multiplier, shift, zp, y);
#endif
}

static void dense(const int32_t acc[4], int32_t multiplier, int32_t s, int32_t zp, int8_t y[4])
{
#if TM_MVE_ASM
    int32_t words[4];
    vst1q_s32(words, vrshlq_n_s32(vmulhq_s32(vld1q_s32(acc), vdupq_n_s32(multiplier)), 1 - s));
    for (int32_t i = 0; i < 4; ++i) {
        y[i] = tm_clamp_s8(words[i], zp, -128, 127);
    }
#else
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t high = (int32_t)(((int64_t)acc[i] * multiplier) >> 32);
        y[i] = tm_clamp_s8(tm_mve_round_shift(high, s - 1), zp, -128, 127);
    }
#endif
}

int main(void)
{
    for (int32_t i = 0; i < CASES / 4; ++i) {
        const int32_t s = 1 + (int32_t)(random32() % (i & 1 ? 31 : 12));
        const int32_t multiplier = a_multiplier();
        const int32_t zp = i % 5 ? (int32_t)(random32() & 255) - 128 : (i % 2 ? 127 : -128);
        const int32_t left = (int32_t)(random32() % 8) - 4; /* also shifts to the left, and none */
        int32_t acc[4];
        int8_t want[4];
        int8_t got[4];
        for (int32_t lane = 0; lane < 4; ++lane) {
            acc[lane] = accumulator(multiplier, s, random32() % 4);
            want[lane] = tm_clamp_s8(tm_requant(acc[lane], multiplier, -s), zp, -128, 127);
        }
        if (s <= 11) {
            vector_2(acc, multiplier, (int32_t)(((uint32_t)1 << (31 - s)) + 1u), zp, got);
            compare("form 2", got, want, acc, multiplier, s);
        }
        vector_3(acc, multiplier, -s, zp, got);
        compare("form 3", got, want, acc, multiplier, s);
        vector_ANY(acc, multiplier, -s, zp, got);
        compare("form any", got, want, acc, multiplier, s);
        scale(acc, multiplier, -s, zp, got);
        compare("scale", got, want, acc, multiplier, s);
        if (s >= 2) {
            for (int32_t lane = 0; lane < 4; ++lane) {
                want[lane] = tm_clamp_s8(tm_requant_single(acc[lane], multiplier, -s), zp, -128, 127);
            }
            dense(acc, multiplier, s, zp, got);
            compare("single", got, want, acc, multiplier, s);
        }
        for (int32_t lane = 0; lane < 4; ++lane) {
            acc[lane] >>= 8; /* far from where the reference overflows */
            want[lane] = tm_clamp_s8(tm_requant(acc[lane], multiplier, left), zp, -128, 127);
        }
        vector_ANY(acc, multiplier, left, zp, got);
        compare("form any, left", got, want, acc, multiplier, -left);
        scale(acc, multiplier, left, zp, got);
        compare("scale, left", got, want, acc, multiplier, -left);
        for (int32_t lane = 0; lane < 4; ++lane) {
            want[lane] = (int8_t)zp; /* a scale that TFLite rounds to nothing */
        }
        vector_ANY(acc, 0, 0, zp, got);
        compare("nothing", got, want, acc, 0, 0);
    }
    return bad != 0;
}
"""


def test_c_on_the_host(tmp_path: Path) -> None:
    compiler = ("gcc", "-std=c11", "-O2", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all")
    program = compile_c(tmp_path, PROGRAM, compiler, 12_000_000)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_real_instructions(tmp_path: Path) -> None:
    sources = (str(path) for path in SEMIHOSTING_SOURCES)
    program = compile_c(tmp_path, PROGRAM, board_compiler("cortex-m55", "-O2"), 3_000_000, *sources)
    command = [*board_runner("cortex-m55"), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def _doubling_high(a: int, b: int) -> int:
    """Return what VQRDMULH gives, in exact integers."""
    return (a * b + (1 << 30)) >> 31


@pytest.mark.parametrize("form", [RequantForm.TWO, RequantForm.THREE])
def test_words_give_the_reference_in_exact_integers(form: RequantForm) -> None:
    """The words from Python, the instructions as Arm defines them, numpy's reference."""
    rng = np.random.default_rng(3)
    for s in range(1, 12) if form is RequantForm.TWO else range(1, 32):
        multipliers = np.array([2**30, 2**31 - 1, *rng.integers(2**30, 2**31, 6)], np.int64)
        words = requant_words(form, multipliers.astype(np.int32), np.full(8, -s, np.int32))
        for m, (a, b) in zip(multipliers.tolist(), words.tolist(), strict=True):
            halves = [
                ((y << s) + (1 << s >> 1) + d << 31) // m + e
                for y in (-9, -1, 0, 8)
                for d in (0, 1)
                for e in (0, 1)
            ]
            edges = [-(2**31), 2**31 - 1, 0, -1, 1]
            accs = np.array([*edges, *halves, *rng.integers(-(2**31), 2**31, 8)], np.int64)
            accs = np.clip(accs, -(2**31), 2**31 - 1)
            want = np.clip(numerics.multiply_by_quantized_multiplier(accs, m, -s), -128, 127).tolist()
            got = []
            for acc in accs.tolist():
                if form is RequantForm.TWO:
                    y = _doubling_high(_doubling_high(acc, a), b)
                else:
                    y = (_doubling_high(acc, a) + (acc >> 31) + (1 << -b >> 1)) >> -b
                got.append(min(max(y, -128), 127))
            assert got == want


@pytest.mark.parametrize(
    ("multiplier", "shift", "form"),
    [
        ([2**30, 2**31 - 1], [-1, -11], RequantForm.TWO),
        ([2**30, 2**30], [-1, -12], RequantForm.THREE),
        ([2**30, 2**30], [-1, -31], RequantForm.THREE),
        ([2**30, 2**30], [-5, 0], RequantForm.ANY),
        ([2**30, 2**30], [-5, 3], RequantForm.ANY),
        ([2**30, 0], [-5, 0], RequantForm.ANY),  # a channel whose scale is too small for TFLite
    ],
)
def test_the_form_fits_all_channels(multiplier: list[int], shift: list[int], form: RequantForm) -> None:
    assert requant_form(np.array(multiplier, np.int32), np.array(shift, np.int32)) is form
