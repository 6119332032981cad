"""Layers on int16 activations (int8 weights) with DSP instructions (Armv7E-M, Armv8-M).

Each kernel is bit-equal to its portable twin in wide.py; where a predicate refuses, that one is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind
from tinyml.kernels.convolution import pointwise, window_access, window_loop
from tinyml.kernels.dsp import Blocks, blocks_for, filled, one_group
from tinyml.kernels.dsp_streams import Int8Array, Int32Array
from tinyml.kernels.predicates import (
    constant_symmetric_weights,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.kernels.wide import constant_int64_bias, int16_activations
from tinyml.numerics import Int64Array, wide

_SHORT_SHIFTS = (-17, -1)
"""Shifts with which a factor of 32 bits and SMMULR are exact (tm_conv_block_s16_dsp.h)."""
_TWO_PIXELS = Blocks.TWOS  # of which the sums of 64 bits fit the registers


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution whose constant channels are harmless.

    Args:
        weights: [out_c, ...] int8.
        bias: [out_c].
        multiplier: [out_c], of 15 bits.
        shift: [out_c], positive to the left.
        wide: whether some sums may leave 32 bits, or some shift is out of the ordinary.
    """

    weights: Int8Array
    bias: Int64Array
    multiplier: Int64Array
    shift: Int64Array
    wide: bool

    @property
    def factor(self) -> Int64Array:
        """What SMMULR takes, [out_c], where not `wide`."""
        return self.multiplier << (17 + self.shift)


def _layer(context: OpContext, arrange: Callable[[Int8Array], Int8Array]) -> _Layer:
    """Return the layer with its weights arranged as the kernel reads them: channels first."""
    data = context.input(1).data
    assert data is not None
    return context.once("layer", lambda: _settle(context, arrange(np.asarray(data, np.int8))))


def _settle(context: OpContext, weights: Int8Array) -> _Layer:
    """Settle channels that have one value for every input, and prove what the sums of the others fit.

    The value comes out of bias 4·value, multiplier 2^14 and a right shift by 1 exactly. Pruned networks
    have many such channels, with shifts that would force the slow form on the whole layer.
    """
    bias = wide.layer_bias(context.graph, context.op)
    multiplier, shift = wide.layer_requant(context.graph, context.op)
    lowest, highest = _sums(weights, bias)
    constant = _rescaled(lowest, multiplier, shift) == _rescaled(highest, multiplier, shift)
    lo, hi = numerics.output_range(context.graph, context.op)
    value = np.clip(wide.rescale(lowest, multiplier, shift), lo, hi)
    weights = np.where(constant.reshape(-1, *[1] * (weights.ndim - 1)), np.int8(0), weights)
    bias = np.where(constant, 4 * value, bias)
    multiplier = np.where(constant, 1 << 14, multiplier)
    shift = np.where(constant, -1, shift)
    lowest, highest = _sums(weights, bias)
    least, most = _SHORT_SHIFTS
    short = np.all((shift >= least) & (shift <= most))
    fits = np.all((lowest >= -(1 << 31)) & (highest < 1 << 31))
    return _Layer(weights, bias, multiplier, shift, wide=not (short and fits))


def _rescaled(acc: Int64Array, multiplier: Int64Array, shift: Int64Array) -> Int64Array:
    """Requantise without wrapping to 32 bits."""
    total = 15 - shift
    return (acc * multiplier + (np.int64(1) << (total - 1))) >> total


def _sums(weights: Int8Array, bias: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the least and the greatest sum of each channel, over all inputs: [channels]."""
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    least, most = wide.SMALLEST, wide.LARGEST
    return bias + least * positive + most * negative, bias + most * positive + least * negative


def _words(values: Int64Array) -> Int32Array:
    """Return the low and the high word of each number: [..., 2 n]."""
    return np.ascontiguousarray(values, "<i8").view("<i4")


def conv_stream(layer: _Layer) -> Int32Array:
    """Pack a convolution for tm_conv_block_s16_dsp.h; its weights are [out_c, K].

    Returns:
        Pairs of channels, then a last single channel where out_c is odd; K filled up to 4.
    """
    out_c, k = layer.weights.shape
    weights = np.zeros((out_c, filled(k, 4)), np.int8)
    weights[:, :k] = layer.weights
    if layer.wide:
        bias = _words(layer.bias.reshape(-1, 1))
        requant = np.stack([layer.multiplier, layer.shift], axis=1)
    else:
        bias, requant = layer.bias.reshape(-1, 1).astype(np.int32), layer.factor.reshape(-1, 1)
    pairs = out_c // 2
    even = 2 * pairs
    # of two steps: (first, second) x (channel 0, 1)
    interleaved = weights[:even].reshape(pairs, 2, weights.shape[1] // 2, 2).transpose(0, 2, 3, 1)
    parts = [
        bias[:even].reshape(pairs, 2 * bias.shape[1]),
        np.ascontiguousarray(interleaved).reshape(pairs, 2 * weights.shape[1]).view("<i4"),
        requant[:even].reshape(pairs, 2 * requant.shape[1]),
    ]
    stream = [np.concatenate(parts, axis=1).ravel()]
    if even < out_c:
        last = np.ascontiguousarray(weights[even].reshape(-1, 2, 2).transpose(0, 2, 1))
        stream += [bias[even], last.ravel().view("<i4"), requant[even]]
    return np.concatenate(stream).astype(np.int32)


def _stream(context: OpContext, pack: Callable[[], Int32Array]) -> tuple[Constant, ...]:
    comment = "weights, biases and requantisation, interleaved"
    return context.once("stream", lambda: (Constant("stream", "int32_t", pack(), comment),))


def _lower_pointwise(context: OpContext) -> Lowered:
    _, out_h, out_w, out_c = context.output.shape
    in_c = context.input(0).shape[3]
    pixels = out_h * out_w
    layer = _layer(context, lambda weights: weights.reshape(out_c, in_c))
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "pixels": pixels,
        "in_c": in_c,
        "out_c": out_c,
        "blocks": 0,
        "wide": int(layer.wide),
        "lo": lo,
        "hi": hi,
    }
    lowered = Lowered(
        access=AccessMap(pixels, 2 * out_c, (RowMap(pixels, 2 * in_c),), buffered=True),
        constants=_stream(context, lambda: conv_stream(layer)),
        literals=tuple(literals.items()),
        macs=pixels * in_c * out_c,
        per_column="pixels",
    )
    return with_blocks(lowered, _blocks(layer, pixels, in_c))


def _lower_conv(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    in_w, in_c = context.input(0).shape[2:]
    out_w, out_c = context.output.shape[2:]
    layer = _layer(context, lambda weights: _runs(weights, neighbours=attrs.dilation_w == 1))
    lo, hi = numerics.output_range(context.graph, context.op)
    literals = {
        "in_w": in_w,
        "in_c": in_c,
        "out_w": out_w,
        "out_c": out_c,
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_w": attrs.stride_w,
        "dilation_w": attrs.dilation_w,
        "pad_left": attrs.pads.left,
        "blocks": 0,
        "wide": int(layer.wide),
        "lo": lo,
        "hi": hi,
    }
    lowered = Lowered(
        access=window_access(context),
        constants=_stream(context, lambda: conv_stream(layer)),
        literals=tuple(literals.items()),
        loop=window_loop(context, 0),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w * in_c,
        per_column="out_w",
    )
    return with_blocks(lowered, _blocks(layer, out_w, layer.weights.shape[1]))


def _runs(weights: Int8Array, *, neighbours: bool) -> Int8Array:
    """Return weights [out_c, kernel_h, kernel_w, in_c] as [out_c, K]: a zero after each run of odd length.

    Args:
        weights: the operator's.
        neighbours: whether the taps of a row of the kernel are one run.
    """
    out_c, kernel_h, kernel_w = weights.shape[:3]
    runs = weights.reshape(out_c, kernel_h if neighbours else kernel_h * kernel_w, -1)
    return np.pad(runs, ((0, 0), (0, 0), (0, runs.shape[2] % 2))).reshape(out_c, -1)


def _blocks(layer: _Layer, pixels: int, k: int) -> Blocks:
    return _TWO_PIXELS if layer.wide else blocks_for(pixels, k, packed=False, single=True)


def with_blocks(lowered: Lowered, blocks: Blocks) -> Lowered:
    """Return the same convolution with its pixels in other blocks: less scratch, or fewer instructions.

    Args:
        lowered: to tm_conv2d_1x1_s16_dsp or tm_conv2d_s16_dsp.
        blocks: how the pixels, of all or of a row, fall into blocks.
    """
    literals = dict(lowered.literals) | {"blocks": int(blocks)}
    access, k = lowered.access, literals["in_c"]
    if lowered.loop is None:
        # A call reads a block, then writes it: the shortest of them bound what may overlap.
        granule = blocks.block(literals["pixels"])
        if granule == 1:
            granule = min(literals["pixels"], blocks.most)  # a rest is read before any of it is written
        access = replace(access, granule=granule)
    else:
        taps = literals["kernel_w"] if literals["dilation_w"] == 1 else 1
        runs = literals["kernel_h"] * literals["kernel_w"] // taps
        k = runs * filled(taps * k, 2)
    return replace(
        lowered,
        access=access,
        literals=tuple(literals.items()),
        scratch_bytes=2 * filled(k, 4) * blocks.most,
    )


def in_small_blocks(lowered: Lowered) -> Lowered:
    """Return the same convolution with less scratch: two pixels at a time."""
    smaller = with_blocks(lowered, Blocks.TWOS)
    return smaller if smaller.scratch_bytes < lowered.scratch_bytes else lowered


_WEIGHTED = (one_activation, int16_activations, constant_symmetric_weights, constant_int64_bias)
_CONV = (*_WEIGHTED, single_image, one_group)

KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_conv2d_1x1_s16_dsp",
        OpKind.CONV_2D,
        Isa.DSP,
        _lower_pointwise,
        (*_CONV, pointwise),
        less_scratch=in_small_blocks,
    ),
    Kernel("tm_conv2d_s16_dsp", OpKind.CONV_2D, Isa.DSP, _lower_conv, _CONV, less_scratch=in_small_blocks),
)
