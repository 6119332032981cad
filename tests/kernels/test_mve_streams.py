"""The Helium streams hold the weights, biases and requantisation they were made of, and little more."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.test_dsp_streams import random_layer
from tinyml.kernels.mve_streams import (
    conv_stream,
    depthwise_3x3_stream,
    depthwise_words_stream,
    depthwise_words_taps,
)


@pytest.mark.parametrize("k", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("out_c", [1, 3, 4, 6, 8, 11])
def test_convolution(k: int, out_c: int) -> None:
    weights, bias, requant = random_layer(k, (out_c, k), out_c)
    steps = -(-k // 16)
    stream = iter(conv_stream(weights, bias, requant).tolist())

    def lanes() -> list[int]:
        return np.array([next(stream) for _ in range(4)], "<i4").view(np.int8).tolist()  # type: ignore[no-any-return]

    seen = np.zeros((out_c, 16 * steps), np.int64)
    fours = out_c // 4 * 4
    for channels in [*((c, c + 1) for c in range(0, fours, 2)), *((c,) for c in range(fours, out_c))]:
        for step in range(steps):
            for c in channels:
                seen[c, 16 * step : 16 * step + 16] = lanes()
        for c in channels:
            assert [next(stream) for _ in range(3)] == [bias[c], *requant[c]]
    assert list(stream) == []
    assert np.array_equal(seen[:, :k], weights)
    assert not seen[:, k:].any()


@pytest.mark.parametrize("channels", [1, 4, 16, 17, 35])
def test_depthwise_3x3(channels: int) -> None:
    weights, bias, requant = random_layer(channels, (channels, 3, 3), channels)
    stream = depthwise_3x3_stream(weights, bias, requant)
    for first in range(0, channels, 16):
        n = min(channels - first, 16)
        for c, words in enumerate(stream[: 3 * n].reshape(n, 3), first):
            assert words.tolist() == [bias[c], *requant[c]]
        taps = stream[3 * n : 3 * n + -(-9 * n // 4)].astype("<i4").view(np.int8)
        for c, columns in enumerate(taps[: 9 * n].reshape(n, 3, 3), first):
            assert np.array_equal(columns.T, weights[c])
        assert not taps[9 * n :].any()
        stream = stream[3 * n + -(-9 * n // 4) :]
    assert stream.size == 0


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (4, 4), (5, 5), (3, 8), (8, 3), (7, 7), (8, 8)])
def test_depthwise_words(kernel: tuple[int, int]) -> None:
    kernel_h, kernel_w = kernel
    weights, bias, requant = random_layer(kernel_h, (5, *kernel), 5)
    stream = depthwise_words_stream(weights, bias, requant).reshape(5, -1)
    taps = depthwise_words_taps(*kernel)
    planes, blocks = -(-kernel_h // 4), -(-kernel_w // 4)
    assert taps.shape == (planes, blocks, 4, 4)
    for c, words in enumerate(stream):
        assert words[:3].tolist() == [bias[c], *requant[c]]
        window = words[3:].astype("<i4").view(np.int8)[taps]  # as the kernel gathers it
        rows = window.transpose(0, 3, 1, 2).reshape(4 * planes, 4 * blocks)
        assert np.array_equal(rows[:kernel_h, :kernel_w], weights[c])
        assert not rows[kernel_h:].any()
        assert not rows[:, kernel_w:].any()


@pytest.mark.parametrize(("k", "out_c"), [(32, 16), (64, 64), (144, 16), (27, 18), (576, 64)])
def test_a_convolution_of_whole_steps_costs_its_parts(k: int, out_c: int) -> None:
    weights, bias, requant = random_layer(k, (out_c, k), out_c)
    assert 4 * conv_stream(weights, bias, requant).size == out_c * (-(-k // 16) * 16 + 4 + 8)
