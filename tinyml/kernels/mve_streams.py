"""Packs weights, biases and requantisation into the streams that the Helium kernels read from flash.

The orders are those of the headers in runtime_c/kernels. Only sums over fewer weights than a vector has lanes
are filled up, with zeros.
"""

from __future__ import annotations

import itertools
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from tinyml.kernels.dsp_streams import Int8Array, Int32Array

LANES = 16  # bytes of a vector


class RequantForm(IntEnum):
    """How a layer rescales its accumulators; the values are those of tm_mve.h."""

    ANY = 0
    TWO = 2
    THREE = 3


def requant_form(multiplier: Int32Array, shift: Int32Array) -> RequantForm:
    """Return the shortest form that is exact for every channel and every int32 accumulator.

    Args:
        multiplier: [channels], from `numerics.conv_requant`.
        shift: [channels], positive to the left.
    """
    right = -shift
    if np.all((right >= 1) & (right <= 11)):
        return RequantForm.TWO
    if np.all((right >= 1) & (right <= 31)):
        return RequantForm.THREE
    return RequantForm.ANY


def requant_words(form: RequantForm, multiplier: Int32Array, shift: Int32Array) -> Int32Array:
    """Return [channels, 2] int32: the two words (a, b) of each channel (tm_mve.h)."""
    b = (np.int64(1) << (31 + shift.astype(np.int64))) + 1 if form is RequantForm.TWO else shift
    return np.stack([multiplier, b], axis=1).astype(np.int32)


def conv_stream(weights: Int8Array, bias: Int32Array, requant: Int32Array) -> Int32Array:
    """Pack a convolution for tm_conv_block_s8_mve.h.

    Args:
        weights: [out_c, K], K in the order in which the kernel fills its column.
        bias: [out_c], the input's zero point folded in.
        requant: [out_c, 2].

    Returns:
        Pairs of channels, then up to three single ones; K filled up to 16.
    """
    out_c, k = weights.shape
    steps = -(-k // LANES)
    filled = np.pad(weights, ((0, 0), (0, steps * LANES - k))).reshape(out_c, steps, LANES)
    words = np.concatenate([bias[:, None], requant], axis=1)
    fours = out_c // 4 * 4
    bounds = [*range(0, fours, 2), *range(fours, out_c + 1)]
    parts = []
    for channels in (slice(first, end) for first, end in itertools.pairwise(bounds)):
        parts += [_words(filled[channels].transpose(1, 0, 2)), words[channels].ravel()]
    return np.concatenate(parts).astype(np.int32)


def depthwise_3x3_stream(weights: Int8Array, bias: Int32Array, requant: Int32Array) -> Int32Array:
    """Pack a 3x3 depthwise convolution for tm_dwconv2d_3x3_s8_mve.h.

    Args:
        weights: [channels, 3, 3].
        bias: [channels], the input's zero point folded in.
        requant: [channels, 2].

    Returns:
        Per 16 channels: three words of each, then nine bytes of each, filled up to a word.
    """
    columns = weights.transpose(0, 2, 1).reshape(-1, 9)
    words = np.concatenate([bias[:, None], requant], axis=1)
    parts = []
    for first in range(0, len(weights), LANES):
        taps = columns[first : first + LANES].ravel()
        parts += [words[first : first + LANES].ravel(), _words(np.pad(taps, (0, -taps.size % 4)))]
    return np.concatenate(parts).astype(np.int32)


def depthwise_words_stream(weights: Int8Array, bias: Int32Array, requant: Int32Array) -> Int32Array:
    """Pack a depthwise convolution for tm_dwconv2d_words_s8_mve.h.

    Args:
        weights: [channels, kernel_h, kernel_w].
        bias: [channels], the input's zero point folded in.
        requant: [channels, 2].

    Returns:
        Per channel: bias, requantisation, weights, and at least one byte of zero.
    """
    channels = weights.shape[0]
    flat = weights.reshape(channels, -1)
    filled = np.pad(flat, ((0, 0), (0, 4 - flat.shape[1] % 4)))
    words = [bias[:, None], requant, _words(filled).reshape(channels, -1)]
    return np.concatenate(words, axis=1).astype(np.int32).ravel()


def depthwise_words_taps(kernel_h: int, kernel_w: int) -> npt.NDArray[np.uint8]:
    """Return [planes, blocks, 4 columns, 4 rows]: the byte of a channel's weights that stands there."""
    planes, blocks = -(-kernel_h // 4), -(-kernel_w // 4)
    taps = np.full((4 * planes, 4 * blocks), kernel_h * kernel_w, np.uint8)  # the first zero
    taps[:kernel_h, :kernel_w] = np.arange(kernel_h * kernel_w).reshape(kernel_h, kernel_w)
    return taps.reshape(planes, 4, blocks, 4).transpose(0, 2, 3, 1)


def _words(values: Int8Array) -> Int32Array:
    """Return the bytes as little-endian words."""
    return np.ascontiguousarray(values, np.int8).ravel().view("<i4").astype(np.int32)
