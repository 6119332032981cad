"""The short requantisations equal the reference for every accumulator, not only for likely ones."""

from __future__ import annotations

import subprocess
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.harness import SEMIHOSTING_SOURCES, WARNINGS, board_compiler, board_runner, compile_c
from tinyml import numerics
from tinyml.kernels import dsp_requant
from tinyml.kernels.dsp_requant import Scaling, single_rounding
from tinyml.kernels.dsp_streams import RequantForm, requant_form, requant_words

# The forms of tm_dsp.h against tm_requant, and the one of FULLY_CONNECTED against tm_requant_single,
# on accumulators aimed at halves of the second rounding, at both ends of int32, and at random.
PROGRAM = r"""
#include <stdio.h>
#include "tm_dsp.h"
#include "tm_fully_connected_s8_dsp.h"
#include "requant_cases.h"

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


def test_emulated_instructions(tmp_path: Path) -> None:
    compiler = ("gcc", "-std=c11", "-O2", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all")
    program = compile_c(tmp_path, PROGRAM, compiler, 3_000_000)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7", "cortex-m33"])
def test_real_instructions(core: str, tmp_path: Path) -> None:
    program = compile_c(
        tmp_path, PROGRAM, board_compiler(core, "-O2"), 300_000, *(str(path) for path in SEMIHOSTING_SOURCES)
    )
    done = subprocess.run([*board_runner(core), str(program)], capture_output=True, text=True, check=False)
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


def _scaling(seed: int, right: tuple[int, int], channels: int = 24) -> Scaling:
    rng = np.random.default_rng(seed)
    multiplier = np.array([2**30, 2**31 - 1, *rng.integers(2**30, 2**31, channels - 2)], np.int64)
    return Scaling(multiplier, -rng.integers(right[0], right[1] + 1, channels), -128)


@pytest.mark.parametrize("right", [(3, 6), (5, 8), (7, 10), (7, 31)])
@pytest.mark.parametrize("packed_pairs", [False, True])
def test_one_rounding_gives_the_reference_for_every_accumulator(
    right: tuple[int, int], packed_pairs: bool
) -> None:
    """As the instructions compute it: a product's high word, then a shift; of packed pairs 256-fold."""
    scaling = _scaling(right[0], right)
    rng = np.random.default_rng(right[1])
    size = scaling.shift.size
    lowest = rng.integers(-60_000, 1_000, size)
    highest = lowest + rng.integers(0, 90_000, size)
    highest[3] = lowest[3]  # a constant
    lowest[4], highest[4] = -70_000, -5  # always below the zero point
    found = single_rounding(scaling, lowest, highest, packed_pairs=packed_pairs)
    assert found is not None
    for words in (found.factor, found.addend):
        assert np.array_equal(words, words.astype(np.int32))
    outputs = set()
    for c in range(size):
        acc = np.arange(lowest[c], highest[c] + 1)
        want = numerics.multiply_by_quantized_multiplier(
            acc, int(scaling.multiplier[c]), int(scaling.shift[c])
        )
        odd = 8 if packed_pairs and c % 2 else 0
        total = acc + found.bias_offset[c] << odd
        assert np.array_equal(total, total.astype(np.int32))
        high = total * found.factor[c] + (found.addend[c] << 32) >> 32
        assert np.array_equal(high, high.astype(np.int32))
        got = np.clip(high >> found.shift + odd, -128, 127)
        assert np.array_equal(got, np.clip(want - 128, -128, 127)), c
        outputs.update(got.tolist())
    assert len(outputs) > 10


def test_one_rounding_takes_the_most_precise_shift_there_is() -> None:
    for right, shift in [((7, 12), 4), ((5, 12), 4), ((3, 12), 2)]:
        scaling = _scaling(1, right, channels=40)
        ends = np.full(40, -20_000), np.full(40, 20_000)
        found = single_rounding(scaling, *ends, packed_pairs=False)
        assert found is not None
        assert found.shift == shift


@pytest.mark.parametrize(
    ("scaling", "highest"),
    [
        (replace(_scaling(1, (7, 8)), zero_point=-127), 30_000),  # outputs below the zero point
        (replace(_scaling(1, (7, 8)), shift=np.zeros(24, np.int64)), 30_000),
        (replace(_scaling(1, (1, 2)), zero_point=-128), 30_000),  # a factor beyond an int32
        (replace(_scaling(1, (7, 8)), multiplier=np.full(24, 2**30 - 1)), 30_000),
        (_scaling(1, (7, 8)), 1 << 23),  # 256 times that is none
    ],
)
def test_one_rounding_is_refused(scaling: Scaling, highest: int) -> None:
    ends = np.full(24, -30_000), np.full(24, highest)
    assert single_rounding(scaling, *ends, packed_pairs=False) is None


def _plainly(scaling: Scaling, lowest: np.ndarray, highest: np.ndarray, shift: int, c: int) -> list[int]:
    """Search one channel's (bias offset, factor, addend) as the module says, one factor after the other."""
    right, multiplier = int(-scaling.shift[c]), int(scaling.multiplier[c])
    halves = [(y << right) - (1 << right - 1) for y in range(1, 256)]
    steps = [-(-((half << 31) - (1 << 30)) // multiplier) for half in halves]
    low_acc, high_acc = int(lowest[c]), int(highest[c])
    nearest = round(multiplier / 2**31 / 2**right * 2 ** (32 + shift))
    windows = []
    for factor in range(nearest - 64, nearest + 65):
        lines = [(y - 127 << 32 + shift, step) for y, step in enumerate(steps)]
        at_least = [y - factor * max(step, low_acc) for y, step in lines if step <= high_acc]
        at_most = [y - factor * min(step - 1, high_acc) for y, step in lines if step > low_acc]
        low, high = max(at_least, default=-(1 << 62)), min(at_most, default=1 << 62)
        windows.append((low - high, factor, low, high))
    for _, factor, low, high in sorted(windows, key=lambda window: window[0]):
        for offset in range(1 << 14):
            addend = -(factor * offset - low >> 32)
            if (addend << 32) + factor * offset < high:
                return [offset, factor, addend]
    raise AssertionError("no channel of this test is so narrow")


def test_channels_are_searched_together_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = _scaling(4, (6, 11))
    rng = np.random.default_rng(4)
    lowest = rng.integers(-30_000, -10_000, 24)
    highest = rng.integers(10_000, 60_000, 24)
    found = single_rounding(scaling, lowest, highest, packed_pairs=False)
    assert found is not None
    numbers = np.stack([found.bias_offset, found.factor, found.addend], axis=1).tolist()
    assert numbers == [_plainly(scaling, lowest, highest, found.shift, c) for c in range(24)]
    for at_once, piece in ((7, 1), (512, 1 << 10)):
        monkeypatch.setattr(dsp_requant, "_AT_ONCE", at_once)
        monkeypatch.setattr(dsp_requant, "_PIECE", piece)
        again = single_rounding(scaling, lowest, highest, packed_pairs=False)
        assert again is not None
        for one, other in zip(astuple(found), astuple(again), strict=True):
            assert np.array_equal(one, other)
