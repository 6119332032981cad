"""Packs weights, biases and requantisation into the streams that the DSP kernels read from flash.

One int32 stream per layer, read front to back once per block of pixels. The orders are those of
the headers in runtime_c/kernels; nothing is widened, so a stream costs little more than the raw
weights, biases and 8 bytes of requantisation per channel.
"""

from __future__ import annotations

import itertools
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]


class RequantForm(IntEnum):
    """How a layer rescales its accumulators; the values are those of tm_dsp.h."""

    ANY = 0
    ONCE = 1
    THREE = 3
    FOUR = 4


def requant_form(multiplier: Int32Array, shift: Int32Array) -> RequantForm:
    """Return the shortest form that is exact for every channel and every int32 accumulator.

    Both short forms need a multiplier in [2^30, 2^31), which every nonzero one is.

    Args:
        multiplier: [channels], from `numerics.conv_requant`.
        shift: [channels], positive to the left.
    """
    right = -shift
    if np.any(multiplier < 1 << 30):
        return RequantForm.ANY
    if np.all((right >= 2) & (right <= 12)):
        return RequantForm.THREE
    if np.all((right >= 1) & (right <= 31)):
        return RequantForm.FOUR
    return RequantForm.ANY


def requant_words(form: RequantForm, multiplier: Int32Array, shift: Int32Array) -> Int32Array:
    """Return [channels, 2] int32: the two words (a, b) that tm_requant_dsp takes per channel.

    In form ANY a channel that can has the words of form FOUR; its b tells, as it is below any shift.
    """
    if form is RequantForm.ANY:
        words = np.stack([multiplier, shift], axis=1).astype(np.int32)
        short = (multiplier >= 1 << 30) & (shift <= -1) & (shift >= -26)
        words[short] = requant_words(RequantForm.FOUR, multiplier[short], shift[short])
        return words
    a = 2 * multiplier.astype(np.int64) - (1 << 32)
    power = np.int64(1) << (32 + shift.astype(np.int64))
    if form is RequantForm.ONCE:
        return np.stack([a, power], axis=1).astype(np.int32)
    b = power + 1 if form is RequantForm.THREE else -power
    return np.stack([a, b], axis=1).astype(np.int32)


def packable(weights: Int8Array) -> bool:
    """Return whether packed pairs of these weights give exact sums (tm_unpack_odd in tm_dsp.h).

    Args:
        weights: [out_c, K]; channels 2n and 2n + 1 form a pair, a last single channel is none.
    """
    even = weights.shape[0] // 2 * 2
    first, second = weights[0:even:2].astype(np.int64), weights[1:even:2].astype(np.int64)
    fits = not np.any((second == -128) & (first < 0))
    return fits and bool(np.all(128 * np.abs(second).sum(axis=1) < 1 << 23))


def _packed_pairs(weights: Int8Array) -> Int8Array:
    """Return pairs of channels whose bytes, low and high, are the halfwords 256·w1 + w0.

    Args:
        weights: [channels, K], an even number of channels that are `packable`.

    Returns:
        [channels, K]: even rows as they were, odd rows less one where the row before is negative.
    """
    packed = weights.astype(np.int64)
    packed[1::2] -= weights[0::2] < 0
    return packed.astype(np.int8)


def conv_stream(
    weights: Int8Array, bias: Int32Array, requant: Int32Array, *, packed: bool = False
) -> Int32Array:
    """Pack a convolution for tm_conv_block_s8_dsp.h.

    Args:
        weights: [out_c, K], K in the order in which the kernel fills its column.
        bias: [out_c], the input's zero point folded in.
        requant: [out_c, 2].
        packed: store packed pairs (the weights must be `packable`).

    Returns:
        Pairs of channels, then a last single channel where out_c is odd; K filled up to 4.
    """
    out_c = weights.shape[0]
    filled = _fill(weights, 4)
    pairs = out_c // 2
    even = 2 * pairs
    groups = filled.shape[1] // 4
    # k = 4 group + 2 second + half -> per group: both halves, each (first, second) x (channel 0, 1)
    stored = _packed_pairs(filled[:even]) if packed else filled[:even]
    interleaved = stored.reshape(pairs, 2, groups, 2, 2).transpose(0, 2, 4, 3, 1)
    biases = bias[:even].reshape(pairs, 2)
    before, after = (biases[:, :1], biases[:, 1:]) if packed else (biases, biases[:, 2:])
    parts = np.concatenate(
        [before, _words(interleaved, pairs), after, requant[:even].reshape(pairs, 4)], axis=1
    ).ravel()
    single = [] if even == out_c else [bias[even:], _words(filled[even:], 1).ravel(), requant[even]]
    return np.concatenate([parts, *single]).astype(np.int32)


def depthwise_3x3_stream(weights: Int8Array, bias: Int32Array, requant: Int32Array) -> Int32Array:
    """Pack a 3x3 depthwise convolution for tm_dwconv2d_3x3_s8_dsp.h.

    Args:
        weights: [channels, 3, 3].
        bias: [channels], the input's zero point folded in.
        requant: [channels, 2].

    Returns:
        Six words per channel; three bytes of weights take four.
    """
    channels = weights.shape[0]
    columns = weights.transpose(0, 2, 1)[:, :, [0, 1, 1, 2]]
    return (
        np.concatenate([requant, _words(columns, channels), bias[:, None]], axis=1).astype(np.int32).ravel()
    )


def depthwise_stream(weights: Int8Array, bias: Int32Array, requant: Int32Array, taps: int) -> Int32Array:
    """Pack a depthwise convolution for tm_dwconv2d_s8_dsp.h.

    Args:
        weights: [channels, kernel_h, kernel_w].
        bias: [channels], the input's zero point folded in.
        requant: [channels, 2].
        taps: pairs of weights per kernel row, at least kernel_w / 2.

    Returns:
        Per channel: requantisation, bias, weight pairs (two to a word).
    """
    channels, kernel_h, kernel_w = weights.shape
    rows = np.zeros((channels, kernel_h, 2 * taps), np.int8)
    rows[:, :, :kernel_w] = weights
    # [channels, taps, kernel_h, 2]: the order in which the lines are interleaved
    pairs = rows.reshape(channels, kernel_h, taps, 2).transpose(0, 2, 1, 3).reshape(channels, -1, 2)
    if pairs.shape[1] % 2:
        pairs = np.concatenate([pairs, np.zeros((channels, 1, 2), np.int8)], axis=1)
    # two pairs to a word: low low high high
    words = _words(pairs.reshape(channels, -1, 2, 2).transpose(0, 1, 3, 2), channels)
    return np.concatenate([requant, bias[:, None], words], axis=1).astype(np.int32).ravel()


def depthwise_pairs_stream(weights: Int8Array, bias: Int32Array, requant: Int32Array) -> Int32Array:
    """Pack a depthwise convolution for tm_dwconv2d_pairs_s8_dsp.h, ..._large_... and ..._taps_....

    Args:
        weights: [channels, kernel_h, kernel_w].
        bias: [channels], the input's zero point folded in.
        requant: [channels, 2].

    Returns:
        Per channel: requantisation, bias, columns of weights; a last weight of each column on its own.
    """
    channels, kernel_h, _ = weights.shape
    columns = weights.transpose(0, 2, 1)
    left_over = kernel_h % 4 == 1
    whole = columns[:, :, : kernel_h - left_over]
    filled = np.pad(whole, ((0, 0), (0, 0), (0, -whole.shape[2] % 4)))
    fours = filled.reshape(channels, filled[0].size // 4, 4)[:, :, [0, 2, 1, 3]]
    parts = [requant, bias[:, None], _words(fours, channels)]
    if left_over:
        parts.append(_words(_fill(columns[:, :, -1], 4), channels))
    return np.concatenate(parts, axis=1).astype(np.int32).ravel()


def fully_connected_stream(
    weights: Int8Array, bias: Int32Array, requant: Int32Array | None = None, *, packed: bool = False
) -> Int32Array:
    """Pack a dense layer for tm_fully_connected_s8_dsp.h.

    Args:
        weights: [out_c, in_c].
        bias: [out_c], the input's zero point folded in.
        requant: [out_c, 2] multiplier and shift, or None where one pair serves all outputs.
        packed: store packed pairs in the fours; in_c must be a multiple of 4 and `requant` None.

    Returns:
        Fours of outputs, then single ones; in_c filled up to 4.
    """
    out_c = weights.shape[0]
    groups = _fill(weights, 4).reshape(out_c, -1, 4)
    fours = out_c // 4 * 4
    parts: list[npt.NDArray[np.int32]] = []
    bounds = [*range(0, fours, 4), *range(fours, out_c + 1)]
    for outputs in (slice(first, end) for first, end in itertools.pairwise(bounds)):
        if packed and outputs.stop <= fours:
            pairs = _packed_pairs(weights[outputs]).reshape(
                2, 2, -1, 2, 2
            )  # pair, channel, group, k // 2, k % 2
            parts += [
                bias[outputs][::2],
                _words(pairs.transpose(2, 4, 0, 3, 1), 1).ravel(),
                bias[outputs][1::2],
            ]
            continue
        parts += [bias[outputs], _words(groups[outputs].transpose(1, 0, 2), 1).ravel()]
        if requant is not None:
            parts.append(requant[outputs].ravel())
    return np.concatenate(parts).astype(np.int32)


def _fill(weights: Int8Array, multiple: int) -> Int8Array:
    """Append zeros to each row until its length is a multiple."""
    surplus = -weights.shape[1] % multiple
    return np.pad(weights, ((0, 0), (0, surplus)))


def _words(values: Int8Array, rows: int) -> Int32Array:
    """Return the bytes as little-endian words, [rows, words]."""
    row_bytes = values.size // max(rows, 1)
    return np.ascontiguousarray(values, np.int8).reshape(rows, row_bytes).view("<i4").astype(np.int32)
