"""The packed streams hold the weights, biases and requantisation they were made of, and little more."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tinyml.graph import Array
from tinyml.kernels.dsp_streams import (
    conv_stream,
    depthwise_3x3_stream,
    depthwise_pairs_stream,
    depthwise_stream,
    fully_connected_stream,
    packable,
)


def random_layer(seed: int, shape: tuple[int, ...], channels: int) -> tuple[Array, Array, Array]:
    """Return random weights, biases and requantisation words."""
    rng = np.random.default_rng(seed)
    words = rng.integers(-(2**31), 2**31, (channels, 3)).astype(np.int32)
    return rng.integers(-128, 128, shape).astype(np.int8), words[:, 0], words[:, 1:]


def split(word: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what SXTB16 and SXTB16 with ROR #8 make of a word: (low, high) each."""
    b = np.array([word], "<i4").view(np.int8).tolist()
    return (b[0], b[2]), (b[1], b[3])


@pytest.mark.parametrize("k", [1, 3, 4, 9, 27, 40])
@pytest.mark.parametrize("out_c", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("packed", [False, True])
def test_convolution(k: int, out_c: int, packed: bool) -> None:
    weights, bias, requant = random_layer(k, (out_c, k), out_c)
    if packed:
        weights = np.maximum(weights, -127)
    groups = -(-k // 4)
    stream = iter(conv_stream(weights, bias, requant, packed=packed).tolist())
    seen = np.zeros((out_c, 4 * groups), np.int64)
    for c in range(0, out_c - 1, 2):
        assert [next(stream) for _ in range(1 if packed else 2)] == bias[
            c : c + 1 if packed else c + 2
        ].tolist()
        for g in range(groups):
            for half in range(2):  # activations 4g + half and 4g + half + 2 meet this word
                at = [4 * g + half, 4 * g + half + 2]
                word = next(stream)
                seen[c, at], seen[c + 1, at] = split(word)
                if packed:
                    raw = np.array([word], "<i4").view("<i2").astype(np.int64)
                    seen[c + 1, at] = (raw - seen[c, at]) // 256
        if packed:
            assert next(stream) == bias[c + 1]
        assert [next(stream) for _ in range(4)] == requant[c : c + 2].ravel().tolist()
    if out_c % 2:
        assert next(stream) == bias[-1]
        for g in range(groups):
            seen[-1, [4 * g, 4 * g + 2]], seen[-1, [4 * g + 1, 4 * g + 3]] = split(next(stream))
        assert [next(stream) for _ in range(2)] == requant[-1].tolist()
    assert list(stream) == []
    assert np.array_equal(seen[:, :k], weights)
    assert not seen[:, k:].any()


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_depthwise_3x3(channels: int) -> None:
    weights, bias, requant = random_layer(channels, (channels, 3, 3), channels)
    stream = depthwise_3x3_stream(weights, bias, requant).reshape(channels, 6)
    for c, words in enumerate(stream.tolist()):
        assert words[:2] == requant[c].tolist()
        assert words[5] == bias[c]
        for column, word in zip(weights[c].T.tolist(), words[2:5], strict=True):
            assert split(word) == ((column[0], column[1]), (column[1], column[2]))


@pytest.mark.parametrize(
    ("kernel", "taps"), [((5, 5), 3), ((7, 7), 4), ((1, 1), 1), ((3, 4), 2), ((3, 4), 3)]
)
def test_depthwise(kernel: tuple[int, int], taps: int) -> None:
    channels = 3
    weights, bias, requant = random_layer(taps, (channels, *kernel), channels)
    pairs = taps * kernel[0]
    stream = depthwise_stream(weights, bias, requant, taps).reshape(channels, -1)
    assert stream.shape[1] == 3 + -(-pairs // 2)
    for c, words in enumerate(stream.tolist()):
        assert words[:3] == [*requant[c].tolist(), bias[c]]
        seen = [pair for word in words[3:] for pair in split(word)]
        filled = np.zeros((kernel[0], 2 * taps), np.int64)
        filled[:, : kernel[1]] = weights[c]
        for n in range(pairs):
            t, line = divmod(n, kernel[0])
            assert seen[n] == tuple(filled[line, 2 * t : 2 * t + 2])
        assert all(pair == (0, 0) for pair in seen[pairs:])


@pytest.mark.parametrize("kernel", [(3, 3), (4, 2), (5, 5), (6, 3), (7, 7), (9, 4)])
def test_depthwise_pairs(kernel: tuple[int, int]) -> None:
    kernel_h, kernel_w = kernel
    weights, bias, requant = random_layer(kernel_h, (3, *kernel), 3)
    stream = iter(depthwise_pairs_stream(weights, bias, requant).tolist())
    for c in range(3):
        assert [next(stream) for _ in range(3)] == [*requant[c].tolist(), bias[c]]
        seen = np.zeros((kernel_w, kernel_h + 3), np.int64)
        left_over = kernel_h % 4 == 1
        for column in seen:
            for row in range(0, kernel_h - left_over, 4):
                (column[row], column[row + 1]), (column[row + 2], column[row + 3]) = split(next(stream))
        if left_over:
            last = np.array([next(stream) for _ in range(0, kernel_w, 4)], "<i4").view(np.int8)
            seen[:, kernel_h - 1] = last[:kernel_w]
        assert np.array_equal(seen[:, :kernel_h].T, weights[c])
        assert not seen[:, kernel_h:].any()
    assert list(stream) == []


@pytest.mark.parametrize("in_c", [1, 4, 10, 64])
@pytest.mark.parametrize("out_c", [1, 4, 5, 11])
@pytest.mark.parametrize("per_output", [False, True])
def test_fully_connected(in_c: int, out_c: int, per_output: bool) -> None:
    weights, bias, requant = random_layer(in_c, (out_c, in_c), out_c)
    stream = iter(fully_connected_stream(weights, bias, requant if per_output else None).tolist())
    groups = -(-in_c // 4)
    seen = np.zeros((out_c, 4 * groups), np.int64)
    fours = out_c // 4 * 4
    for first, end in pairwise([*range(0, fours, 4), *range(fours, out_c + 1)]):
        assert [next(stream) for _ in range(first, end)] == bias[first:end].tolist()
        for g in range(groups):
            for o in range(first, end):
                seen[o, [4 * g, 4 * g + 2]], seen[o, [4 * g + 1, 4 * g + 3]] = split(next(stream))
        if per_output:
            assert [next(stream) for _ in range(2 * (end - first))] == requant[first:end].ravel().tolist()
    assert list(stream) == []
    assert np.array_equal(seen[:, :in_c], weights)
    assert not seen[:, in_c:].any()


@pytest.mark.parametrize(("in_c", "out_c"), [(4, 4), (12, 9), (64, 11)])
def test_packed_fully_connected(in_c: int, out_c: int) -> None:
    weights, bias, _ = random_layer(in_c, (out_c, in_c), out_c)
    weights = np.maximum(weights, -127)
    assert packable(weights)
    stream = iter(fully_connected_stream(weights, bias, packed=True).tolist())
    seen = np.zeros((out_c, in_c), np.int64)
    fours = out_c // 4 * 4
    for o in range(0, fours, 4):
        assert [next(stream), next(stream)] == bias[[o, o + 2]].tolist()
        for k in range(0, in_c, 4):
            for half in range(2):
                for pair in (o, o + 2):
                    word = next(stream)
                    low, _ = split(word)
                    raw = np.array([word], "<i4").view("<i2").astype(np.int64)
                    at = [k + half, k + half + 2]
                    seen[pair, at] = low
                    seen[pair + 1, at] = (raw - low) // 256
        assert [next(stream), next(stream)] == bias[[o + 1, o + 3]].tolist()
    for o in range(fours, out_c):
        assert next(stream) == bias[o]
        for k in range(0, in_c, 4):
            seen[o, [k, k + 2]], seen[o, [k + 1, k + 3]] = split(next(stream))
    assert list(stream) == []
    assert np.array_equal(seen, weights)


def test_what_can_be_packed() -> None:
    weights = np.array([[1, 1], [-128, 1], [-1, 3]], np.int8)
    assert packable(weights)  # the last channel is no pair's
    assert not packable(-weights[[0, 1]])
    assert packable(np.full((2, 516), -127, np.int8))  # 128 * 127 * 516 < 2^23
    assert not packable(np.full((2, 517), 127, np.int8))


@pytest.mark.parametrize(("k", "out_c"), [(27, 16), (40, 64), (64, 64), (16, 8), (240, 41)])
def test_a_convolution_costs_at_most_five_percent_more_than_its_parts(k: int, out_c: int) -> None:
    weights, bias, requant = random_layer(k, (out_c, k), out_c)
    parts = out_c * (k + 4 + 8)
    assert 4 * conv_stream(weights, bias, requant).size <= 1.05 * parts
