"""Convolution, depthwise and fully connected layers with DSP instructions (Armv7E-M, Armv8-M).

Each kernel is bit-equal to its portable twin; where a predicate refuses, that one is used.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import BinaryAttrs, BinaryFunction, OpKind, ReduceAttrs
from tinyml.kernels.binary import function_is
from tinyml.kernels.convolution import pointwise, window_access, window_loop
from tinyml.kernels.dense import one_weight_scale, whole_rows
from tinyml.kernels.depthwise import whole_depth_multiplier
from tinyml.kernels.dsp_add import fixed_add
from tinyml.kernels.dsp_requant import Int64Array, Scaling, single_rounding
from tinyml.kernels.dsp_streams import (
    Int8Array,
    Int32Array,
    RequantForm,
    conv_stream,
    depthwise_3x3_stream,
    depthwise_pairs_stream,
    depthwise_stream,
    fully_connected_stream,
    packable,
    requant_form,
    requant_words,
)
from tinyml.kernels.elementwise import (
    add_literals,
    int8_constants,
    lower_same_shape,
    same_shape,
    two_activations,
)
from tinyml.kernels.geometry import elementwise_access
from tinyml.kernels.pooling import ACCEPTS as POOLING
from tinyml.kernels.pooling import lower_pooling
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    int8_activations,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext
from tinyml.numerics.binary import sub_params


def one_group(context: OpContext) -> bool:
    """The convolution must have one group."""
    return context.input(1).shape[3] == context.input(0).shape[3]


def depth_multiplier_one(context: OpContext) -> bool:
    """The depth multiplier must be 1."""
    return context.output.shape[3] == context.input(0).shape[3]


def lines_of_pairs(context: OpContext) -> bool:
    """The horizontal stride must be 1 or 2, the horizontal dilation 1."""
    attrs = window_attrs(context)
    return attrs.dilation_w == 1 and attrs.stride_w in (1, 2)


def no_dilation(context: OpContext) -> bool:
    """The dilation must be 1."""
    attrs = window_attrs(context)
    return (attrs.dilation_h, attrs.dilation_w) == (1, 1)


def strides_one_or_two(context: OpContext) -> bool:
    """The strides must be 1 or 2."""
    attrs = window_attrs(context)
    return attrs.stride_h in (1, 2) and attrs.stride_w in (1, 2)


def strides_one(context: OpContext) -> bool:
    """The strides must be 1."""
    attrs = window_attrs(context)
    return (attrs.stride_h, attrs.stride_w) == (1, 1)


def no_horizontal_dilation(context: OpContext) -> bool:
    """The horizontal dilation must be 1."""
    return window_attrs(context).dilation_w == 1


def horizontal_stride_one_or_two(context: OpContext) -> bool:
    """The horizontal stride must be 1 or 2."""
    return window_attrs(context).stride_w in (1, 2)


def three_to_five_pairs_of_rows(context: OpContext) -> bool:
    """The vertical stride must be 1 or 2, and the rows of two outputs 5 to 10."""
    attrs = window_attrs(context)
    return attrs.stride_h in (1, 2) and 5 <= attrs.kernel_h + attrs.stride_h <= 10


def kernel_5x5_or_7x7(context: OpContext) -> bool:
    """The kernel must be 5x5 or 7x7."""
    attrs = window_attrs(context)
    return (attrs.kernel_h, attrs.kernel_w) in ((5, 5), (7, 7))


def equal_strides(context: OpContext) -> bool:
    """The vertical stride must be the horizontal one."""
    attrs = window_attrs(context)
    return attrs.stride_h == attrs.stride_w


def at_most_255_pixels(context: OpContext) -> bool:
    """The window must have at most 255 pixels."""
    attrs = window_attrs(context)
    return attrs.kernel_h * attrs.kernel_w <= 255


def kernel_3x3(context: OpContext) -> bool:
    """The kernel must be 3x3."""
    attrs = window_attrs(context)
    return (attrs.kernel_h, attrs.kernel_w) == (3, 3)


def rows_meet_image(context: OpContext) -> bool:
    """Every window must hold at least one row of the image."""
    attrs = window_attrs(context)
    first = np.arange(context.output.shape[1])[:, None] * attrs.stride_h - attrs.pads.top
    rows = first + np.arange(attrs.kernel_h) * attrs.dilation_h
    return bool(np.all(np.any((rows >= 0) & (rows < context.input(0).shape[1]), axis=1)))


def addends_scaled_down(context: OpContext) -> bool:
    """The scales of the addends may differ at most 2^31-fold, and from the output's at most 2^11-fold."""
    shifts = numerics.add_params(context.graph, context.op)
    operands = all(-31 <= shift <= 0 for shift in (shifts.shift_1, shifts.shift_2))
    return operands and -31 <= shifts.shift_out <= -1


def exact_in_fixed_point(context: OpContext) -> bool:
    """One sum in 32-bit fixed point must be exact for all 65,536 pairs of inputs."""
    attrs = context.op.attrs
    if isinstance(attrs, BinaryAttrs) and attrs.function is not BinaryFunction.SUB:
        return False
    return int8_activations(context) and fixed_add(_addends(context)) is not None


def one_factor_per_channel(context: OpContext) -> bool:
    """The first input must have the output's shape, the second repeat along its leading dimensions."""
    x, factors, shape = context.input(0), context.input(1), context.output.shape
    padded = (1,) * (len(shape) - len(factors.shape)) + factors.shape
    repeats = next((axis for axis, dim in enumerate(padded) if dim > 1), len(shape))
    return x.shape == shape and padded[repeats:] == shape[repeats:]


def products_scaled_down(context: OpContext) -> bool:
    """The product of the input scales must be 2 to 2^31 times below the output's."""
    params = numerics.mul_params(context.graph, context.op)
    return params.multiplier >= 1 << 30 and -31 <= params.shift <= -2


def neighbouring_axes(context: OpContext) -> bool:
    """The reduced dimensions must be neighbours, with four elements or more behind them."""
    outer, count, inner = _mean_shape(context)
    return outer * count * inner == context.input(0).elements and inner >= 4


def means_scaled_down(context: OpContext) -> bool:
    """The output's scale must not be far below the input's, divided by the number of elements."""
    return -31 <= numerics.mean_params(context.graph, context.op).shift <= 0


def _mean_shape(context: OpContext) -> tuple[int, int, int]:
    """Return the elements before, along and after the reduced dimensions.

    Their product is the input's size only where all reduced dimensions above 1 are neighbours.
    """
    attrs = context.op.attrs
    assert isinstance(attrs, ReduceAttrs)
    shape = context.input(0).shape
    reduced = [axis for axis in attrs.axes if shape[axis] > 1] or [len(shape)]
    first, last = min(reduced), max(reduced)
    count = math.prod(shape[axis] for axis in reduced if axis < len(shape))
    return math.prod(shape[:first]), count, math.prod(shape[last + 1 :])


def _weights(context: OpContext) -> Int8Array:
    data = context.input(1).data
    assert data is not None
    return np.asarray(data, np.int8)


@dataclass(frozen=True, slots=True)
class _Layer:
    """What a convolution's stream is packed from; channels are the first axis of the weights.

    packed: whether pairs of channels are.
    """

    weights: Int8Array
    bias: Int32Array
    form: RequantForm
    requant: Int32Array
    packed: bool = False


def settle_constant_channels(
    context: OpContext, weights: Int8Array
) -> tuple[Int8Array, Int32Array, Int32Array, Int32Array]:
    """Return (weights, folded bias, multiplier, shift) of a convolution with harmless constant channels.

    A channel without a weight other than 0, or with a multiplier of 0, gives the same value for
    every input. Pruned networks have many of them, with shifts that would force the slow forms on
    the whole layer; the same value comes out of bias 8·(value − zero point), multiplier 2^30 and a
    right shift by 2, exactly: both roundings see whole numbers.

    Args:
        context: the convolution.
        weights: its weights with the output channels as the first axis.
    """
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    bias = numerics.folded_bias(context.graph, context.op)
    zero_point = context.output.zero_point
    constant = (multiplier == 0) | ~weights.any(axis=tuple(range(1, weights.ndim)))
    value = numerics.multiply_by_quantized_multiplier(bias, multiplier, shift)
    value = np.clip(value, -128 - zero_point, 127 - zero_point)
    weights = np.where(constant.reshape(-1, *[1] * (weights.ndim - 1)), np.int8(0), weights)
    bias = np.where(constant, 8 * value, bias).astype(np.int32)
    multiplier = np.where(constant, np.int32(1 << 30), multiplier)
    shift = np.where(constant, np.int32(-2), shift)
    return weights, bias, multiplier, shift


def with_forms(multiplier: Int32Array, shift: Int32Array) -> tuple[RequantForm, Int32Array]:
    """Return the form of requantisation of a layer, and its words [channels, 2]."""
    form = requant_form(multiplier, shift)
    return form, requant_words(form, multiplier, shift)


def _layer(context: OpContext, arrange: Callable[[Int8Array], Int8Array], *, pairs: bool = False) -> _Layer:
    """Return the layer with its weights arranged as the kernel reads them: channels first.

    Args:
        context: the convolution.
        arrange: turns the operator's weights into the kernel's.
        pairs: whether the kernel takes packed pairs of channels.
    """
    return context.once("layer", lambda: _fold(context, arrange(_weights(context)), pairs=pairs))


def _fold(context: OpContext, weights: Int8Array, *, pairs: bool) -> _Layer:
    """Settle the constant channels, and choose the form of requantisation and of the weights.

    Unpacking takes 9 instructions per block of four pixels, or 4 with one rounding; a word of packed weights
    saves one. The rare form has no code for it.
    """
    weights, bias, multiplier, shift = settle_constant_channels(context, weights)
    pairs = pairs and weights.shape[0] > 1 and packable(weights)
    inner = weights[0].size
    packed = pairs and inner > 8
    shared = "form" in context.parameters  # with other layers, for the least code
    lowest, highest = _accumulators(weights, bias)
    single = None
    if not shared:
        single = single_rounding(
            Scaling(multiplier.astype(np.int64), shift.astype(np.int64), context.output.zero_point),
            lowest,
            highest,
            packed_pairs=packed,
        )
    if single is not None:
        form = RequantForm[f"TWO_{single.shift}"]
        words = np.stack([single.factor, single.addend], axis=1).astype(np.int32)
        biases = bias + single.bias_offset
        if packed:
            pairs_end = biases.size // 2 * 2
            biases[1:pairs_end:2] = biases[0:pairs_end:2] + 256 * biases[1:pairs_end:2]  # modulo 2^32
        return _Layer(weights, biases.astype(np.int32), form, words, packed)
    form = requant_form(multiplier, shift)
    if shared and form is not RequantForm.ANY:
        form = RequantForm(context.parameters["form"])
    packed = pairs and form is not RequantForm.ANY and context.parameters.get("packed", inner > 16)
    return _Layer(weights, bias, form, requant_words(form, multiplier, shift), packed)


def _accumulators(weights: Int8Array, bias: Int32Array) -> tuple[Int64Array, Int64Array]:
    """Return the least and the greatest sum of each channel, over all inputs: [channels] int64."""
    flat = weights.reshape(weights.shape[0], -1).astype(np.int64)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    return bias - 128 * positive + 127 * negative, bias + 127 * positive - 128 * negative


def _stream(context: OpContext, pack: Callable[[], Int32Array]) -> tuple[Constant, ...]:
    comment = "weights, biases and requantisation, interleaved"
    return context.once("stream", lambda: (Constant("stream", "int32_t", pack(), comment),))


def _conv_stream(context: OpContext, layer: _Layer) -> tuple[Constant, ...]:
    single = layer.form.single
    return _stream(
        context,
        lambda: conv_stream(
            layer.weights, layer.bias, layer.requant, packed=layer.packed, biases_first=single
        ),
    )


def _literals(context: OpContext, form: RequantForm, **shape: int) -> tuple[tuple[str, int], ...]:
    lo, hi = numerics.output_range(context.graph, context.op)
    values = {**shape, "form": int(form), "zp_out": context.output.zero_point, "lo": lo, "hi": hi}
    return tuple(values.items())


def filled(n: int, multiple: int) -> int:
    """Return n rounded up to a multiple."""
    return -(-n // multiple) * multiple


class Blocks(IntEnum):
    """How a run of pixels falls into blocks; the values are those of tm_conv_block_s8_dsp.h."""

    TWOS = 2
    THREES = 3
    FOURS = 4
    TWOS_AND_THREES = 5
    THREES_AND_FOURS = 7

    @property
    def most(self) -> int:
        """Pixels of the largest block."""
        return {Blocks.TWOS_AND_THREES: 3, Blocks.THREES_AND_FOURS: 4}.get(self, int(self))

    def block(self, left: int) -> int:
        """Return the pixels of the block that starts `left` pixels before the end, as tm_block_pixels."""
        match self:
            case Blocks.THREES_AND_FOURS:
                return 4 if left in (4, 5, 8) else 3 if left >= 3 else 1
            case Blocks.TWOS_AND_THREES:
                return 2 if left in (2, 4) else 3 if left >= 3 else 1
        return int(self) if left >= self else 1

    def split(self, pixels: int) -> Counter[int]:
        """Return how many blocks of each size a run falls into."""
        usual = self.block(_FAR)
        many = max(pixels - _FAR, 0) // usual
        blocks = Counter({usual: many})
        left = pixels - many * usual
        while left:
            blocks[self.block(left)] += 1
            left -= self.block(left)
        return +blocks


_FAR = 16
"""Pixels before the end of a run from which on all blocks are alike."""


# Instructions per pair of output channels: (per four values of K, whatever K is), with packed weights and
# without; counted in the assembly of tm_conv_block_s8_dsp.h, a pixel on its own on the emulator.
_BLOCK_COST = {
    True: {4: (24.375, 53), 3: (17.375, 46), 2: (13.375, 37), 1: (9.5, 25)},
    False: {4: (26.375, 44), 3: (19.375, 39), 2: (15.375, 32), 1: (11.5, 25)},
}
# Of the second, what one rounding saves: one per output, what separates the biases of packed pairs, and with
# four pixels a word of the stack.
_SINGLE_ROUNDING_SAVES = {
    True: {4: 14, 3: 10, 2: 7, 1: 4},
    False: {4: 9, 3: 6, 2: 4, 1: 2},
}


def blocks_for(pixels: int, k: int, *, packed: bool, single: bool = False) -> Blocks:
    """Return the division of a run that takes the fewest instructions; the smallest of those within 0.5 %."""
    saved = _SINGLE_ROUNDING_SAVES[packed] if single else dict.fromkeys(range(1, 5), 0)

    def cost(blocks: Blocks) -> float:
        costs = ((block, count, _BLOCK_COST[packed][block]) for block, count in blocks.split(pixels).items())
        return sum(
            count * (k / 4 * per_four + fixed - saved[block]) for block, count, (per_four, fixed) in costs
        )

    costs = {blocks: cost(blocks) for blocks in Blocks}
    cheap = [blocks for blocks in Blocks if costs[blocks] <= 1.005 * min(costs.values())]
    return min(cheap, key=lambda blocks: (blocks.most, costs[blocks], blocks))


def _lower_pointwise(context: OpContext) -> Lowered:
    _, out_h, out_w, out_c = context.output.shape
    in_c = context.input(0).shape[3]
    pixels = out_h * out_w
    layer = _layer(context, lambda weights: weights.reshape(out_c, in_c), pairs=True)
    lowered = Lowered(
        access=AccessMap(rows=pixels, row_bytes=out_c, inputs=(RowMap(pixels, in_c),), buffered=True),
        constants=_conv_stream(context, layer),
        literals=_literals(
            context, layer.form, pixels=pixels, in_c=in_c, out_c=out_c, blocks=0, packed=int(layer.packed)
        ),
        macs=pixels * in_c * out_c,
        per_column="pixels",
    )
    return with_blocks(lowered, blocks_for(pixels, in_c, packed=layer.packed, single=layer.form.single))


def with_blocks(lowered: Lowered, blocks: Blocks) -> Lowered:
    """Return the same convolution with its pixels in other blocks: less scratch, or fewer instructions.

    Args:
        lowered: to tm_conv2d_1x1_s8_dsp or tm_conv2d_s8_dsp.
        blocks: how the pixels, of all or of a row, fall into blocks.
    """
    literals = dict(lowered.literals) | {"blocks": int(blocks)}
    if lowered.loop is None:
        # A call reads a block, then writes it: the shortest of them bound what may overlap.
        granule = blocks.block(literals["pixels"])
        if granule == 1:
            granule = min(literals["pixels"], blocks.most)  # a rest is read before any of it is written
        return replace(
            lowered,
            access=replace(lowered.access, granule=granule),
            literals=tuple(literals.items()),
            scratch_bytes=2 * filled(literals["in_c"], 4) * blocks.most,
        )
    in_c, kernel_h, kernel_w = (literals[name] for name in ("in_c", "kernel_h", "kernel_w"))
    most = min(blocks.most, literals["out_w"])  # of any narrower row too (strips of an image)
    scratch = 2 * filled(kernel_h * kernel_w * in_c, 4) * blocks.most
    if in_c % 4:
        columns = (
            (most - 1) * literals["stride_w"] + kernel_w if literals["dilation_w"] == 1 else most * kernel_w
        )
        scratch += kernel_h * columns * in_c
    return replace(lowered, literals=tuple(literals.items()), scratch_bytes=scratch)


def _window_order(weights: Int8Array, context: OpContext) -> Int8Array:
    """Return weights [out_c, K] in the order in which tm_conv2d_s8_dsp fills its column."""
    out_c, kernel_h, kernel_w, in_c = context.input(1).shape
    rows = weights.reshape(out_c, kernel_h, kernel_w * in_c)
    whole = kernel_w * in_c // 4 * 4 if in_c % 4 else kernel_w * in_c
    parts = (rows[:, :, :whole], rows[:, :, whole:])
    return np.concatenate([part.reshape(out_c, -1) for part in parts], axis=1)


def _lower_conv(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    _, _, in_w, in_c = context.input(0).shape
    _, _, out_w, out_c = context.output.shape
    taps = attrs.kernel_h * attrs.kernel_w * in_c
    layer = _layer(context, lambda weights: _window_order(weights, context), pairs=True)
    lowered = Lowered(
        access=window_access(context),
        constants=_conv_stream(context, layer),
        literals=_literals(
            context,
            layer.form,
            in_w=in_w,
            in_c=in_c,
            out_w=out_w,
            out_c=out_c,
            kernel_h=attrs.kernel_h,
            kernel_w=attrs.kernel_w,
            stride_w=attrs.stride_w,
            dilation_w=attrs.dilation_w,
            pad_left=attrs.pads.left,
            zp_in=context.input(0).zero_point,
            blocks=0,
            packed=int(layer.packed),
        ),
        loop=window_loop(context, context.input(0).zero_point),
        macs=context.output.elements * taps,
        per_column="out_w",
    )
    return with_blocks(lowered, blocks_for(out_w, taps, packed=layer.packed, single=layer.form.single))


def _depthwise_layer(context: OpContext) -> _Layer:
    """Return the layer with weights as [channels, kernel_h, kernel_w]."""
    return _layer(context, lambda weights: np.asarray(weights[0]).transpose(2, 0, 1))


def _depthwise_words(context: OpContext, taps: int) -> int:
    """Words per prepared line: enough for the outputs, rounded up to pairs of them."""
    out_w = context.output.shape[2]
    outputs = filled(out_w, 2)
    return (outputs // 2 if window_attrs(context).stride_w == 1 else outputs) + taps - 1


def _depthwise(
    context: OpContext, stream: Callable[[], Int32Array], form: RequantForm, scratch_bytes: int, **shape: int
) -> Lowered:
    attrs = window_attrs(context)
    _, _, in_w, channels = context.input(0).shape
    zero_point = context.input(0).zero_point
    return Lowered(
        access=window_access(context),
        constants=_stream(context, stream),
        literals=_literals(
            context,
            form,
            in_w=in_w,
            channels=channels,
            out_w=context.output.shape[2],
            **shape,
            pad_left=attrs.pads.left,
            zp_in=zero_point,
        ),
        scratch_bytes=scratch_bytes,
        loop=window_loop(context, zero_point),
        macs=context.output.elements * attrs.kernel_h * attrs.kernel_w,
        per_column="out_w",
    )


def _two_rows(lowered: Lowered) -> Lowered:
    """Return the lowering of a kernel that computes two output rows at a time."""
    assert lowered.loop is not None
    return replace(lowered, access=replace(lowered.access, granule=2), loop=replace(lowered.loop, step=2))


def _lower_depthwise_3x3(context: OpContext) -> Lowered:
    layer = _depthwise_layer(context)
    out_w = context.output.shape[2]
    return _two_rows(
        _depthwise(
            context,
            lambda: depthwise_3x3_stream(layer.weights, layer.bias, layer.requant),
            layer.form,
            _scratch_3x3(out_w),
            tile=out_w,
        )
    )


def _lower_depthwise_3x3_row(context: OpContext) -> Lowered:
    stride_w = window_attrs(context).stride_w
    layer = _depthwise_layer(context)
    out_w = context.output.shape[2]
    lowered = _depthwise(
        context,
        lambda: depthwise_3x3_stream(layer.weights, layer.bias, layer.requant),
        layer.form,
        _scratch_3x3_row(out_w, stride_w),
        stride_w=stride_w,
        tile=out_w,
    )
    return replace(lowered, loop=window_loop(context, None))  # it puts zero points into its columns itself


def _scratch_3x3(outputs: int) -> int:
    return 32 * (outputs + 2)


def _scratch_3x3_row(outputs: int, stride_w: int) -> int:
    return 24 * filled((outputs - 1) * stride_w + 3, 2)


_TILE = 6
"""Outputs of a row that a 3x3 depthwise convolution computes at a time where scratch is short."""


def in_tiles(lowered: Lowered) -> Lowered:
    """Return the same 3x3 depthwise convolution with less scratch: a few outputs of a row at a time."""
    literals = dict(lowered.literals)
    tile = min(_TILE, literals["out_w"])
    two_rows = "stride_w" not in literals
    return replace(
        lowered,
        literals=tuple((literals | {"tile": tile}).items()),
        scratch_bytes=_scratch_3x3(tile) if two_rows else _scratch_3x3_row(tile, literals["stride_w"]),
    )


def in_small_blocks(lowered: Lowered) -> Lowered:
    """Return the same convolution with less scratch: two pixels at a time."""
    smaller = with_blocks(lowered, Blocks.TWOS)
    return smaller if smaller.scratch_bytes < lowered.scratch_bytes else lowered


def _lower_depthwise_pairs(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    layer = _depthwise_layer(context)
    words = (attrs.kernel_h + attrs.stride_h + 1) // 2
    columns = (context.output.shape[2] - 1) * attrs.stride_w + attrs.kernel_w
    return _two_rows(
        _depthwise(
            context,
            lambda: depthwise_pairs_stream(layer.weights, layer.bias, layer.requant),
            layer.form,
            16 * words * columns + 8 * words * attrs.kernel_w,
            kernel_h=attrs.kernel_h,
            kernel_w=attrs.kernel_w,
            stride_h=attrs.stride_h,
            stride_w=attrs.stride_w,
        )
    )


def _lower_depthwise_large(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    kernel, stride = attrs.kernel_h, attrs.stride_h
    layer = _depthwise_layer(context)
    words = (kernel + stride + 1) // 2
    columns = (context.output.shape[2] - 1) * stride + kernel
    weights = kernel * (kernel - 1 if stride == 1 else (kernel + 1) // 2)
    return _two_rows(
        _depthwise(
            context,
            lambda: depthwise_pairs_stream(layer.weights, layer.bias, layer.requant),
            layer.form,
            16 * words * columns + 4 * weights,
            kernel=kernel,
            stride=stride,
        )
    )


def _lower_depthwise(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    taps = attrs.kernel_w // 2 + 1 if attrs.stride_w == 1 else -(-attrs.kernel_w // 2)
    layer = _depthwise_layer(context)
    lines = 16 * _depthwise_words(context, taps) * attrs.kernel_h
    # with stride 1 every weight pair is there twice, the second shifted by one tap
    weights = (8 if attrs.stride_w == 1 else 4) * filled(taps * attrs.kernel_h, 2)
    return _depthwise(
        context,
        lambda: depthwise_stream(layer.weights, layer.bias, layer.requant, taps),
        layer.form,
        lines + weights,
        kernel_h=attrs.kernel_h,
        kernel_w=attrs.kernel_w,
        stride_w=attrs.stride_w,
    )


def _lower_depthwise_taps(context: OpContext) -> Lowered:
    attrs = window_attrs(context)
    layer = _depthwise_layer(context)
    words = (attrs.kernel_h + 1) // 2
    reach = (attrs.kernel_w - 1) * attrs.dilation_w + 1
    columns = (context.output.shape[2] - 1) * attrs.stride_w + reach
    return _depthwise(
        context,
        lambda: depthwise_pairs_stream(layer.weights, layer.bias, layer.requant),
        layer.form,
        16 * words * columns + 4 * words * attrs.kernel_w,
        multiplier=context.output.shape[3] // context.input(0).shape[3],
        kernel_h=attrs.kernel_h,
        kernel_w=attrs.kernel_w,
        stride_w=attrs.stride_w,
        dilation_w=attrs.dilation_w,
    )


def _lower_fully_connected(context: OpContext) -> Lowered:
    weights = _weights(context)
    out_c, in_c = weights.shape
    batches = context.input(0).elements // in_c
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    bias = numerics.folded_bias(context.graph, context.op)
    lo, hi = numerics.output_range(context.graph, context.op)
    one_scale = one_weight_scale(context)
    requant = None if one_scale else np.stack([multiplier, shift], axis=1)
    fast = one_scale and -23 <= shift[0] <= -2 and in_c % 4 == 0 and out_c >= 4
    packed = bool(fast and packable(weights[: out_c // 4 * 4]))
    literals = {
        "batches": batches,
        "in_c": in_c,
        "out_c": out_c,
        "packed": int(packed),
        "per_output": int(not one_scale),
        "multiplier": int(multiplier[0]) if one_scale else 0,
        "shift": int(shift[0]) if one_scale else 0,
        "zp_out": context.output.zero_point,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=AccessMap(rows=batches, row_bytes=out_c, inputs=(RowMap(batches, in_c),)),
        constants=_stream(context, lambda: fully_connected_stream(weights, bias, requant, packed=packed)),
        literals=tuple(literals.items()),
        macs=batches * in_c * out_c,
    )


def _addends(context: OpContext) -> numerics.AddParams:
    """Return the integers of an ADD, or of a SUB."""
    params = sub_params if context.op.kind is OpKind.BINARY else numerics.add_params
    return params(context.graph, context.op)


def three_rows(context: OpContext) -> bool:
    """There must be at least three rows of inputs."""
    return whole_rows(context) and context.input(0).elements >= 3 * context.input(1).shape[1]


def scaled_down_once(context: OpContext) -> bool:
    """The product of the input's and any weight scale must be 2 to 2^31 times below the output's."""
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    return bool(np.all((multiplier >= 1 << 30) & (shift <= -2) & (shift >= -31)))


def _lower_rows(context: OpContext) -> Lowered:
    """Lower to a pointwise convolution over the rows, which rounds once."""
    weights = _weights(context)
    out_c, in_c = weights.shape
    rows = context.input(0).elements // in_c
    form = RequantForm.ONCE

    def layer() -> _Layer:
        requant = requant_words(form, *numerics.conv_requant(context.graph, context.op))
        packed = out_c > 1 and in_c > 16 and packable(weights)
        return _Layer(weights, numerics.folded_bias(context.graph, context.op), form, requant, packed)

    prepared = context.once("rows", layer)
    packed = prepared.packed
    lowered = Lowered(
        access=AccessMap(rows=rows, row_bytes=out_c, inputs=(RowMap(rows, in_c),), buffered=True),
        constants=_conv_stream(context, prepared),
        literals=_literals(context, form, pixels=rows, in_c=in_c, out_c=out_c, blocks=0, packed=int(packed)),
        macs=rows * in_c * out_c,
    )
    return with_blocks(lowered, blocks_for(rows, in_c, packed=packed))


def _lower_add_fixed(context: OpContext) -> Lowered:
    params = _addends(context)
    fixed = fixed_add(params)
    assert fixed is not None
    output = context.output
    literals = {
        "elements": output.elements,
        "factor_1": fixed.factor_1,
        "factor_2": fixed.factor_2,
        "offset": fixed.offset,
        "shift": fixed.shift,
        "lo": params.low,
        "hi": params.high,
    }
    return Lowered(
        access=elementwise_access(output.shape, [output.shape, output.shape]),
        literals=tuple(literals.items()),
        per_column="elements",
    )


def _lower_mul_channels(context: OpContext) -> Lowered:
    params = numerics.mul_params(context.graph, context.op)
    multiplier, shift = (np.array([value], np.int32) for value in (params.multiplier, params.shift))
    form = requant_form(multiplier, shift)
    a, b = requant_words(form, multiplier, shift)[0].tolist()
    channels = context.input(1).elements
    literals = {
        "pixels": context.output.elements // channels,
        "channels": channels,
        "zp_1": -params.offset_1,
        "zp_2": -params.offset_2,
        "form": int(form),
        "a": a,
        "b": b,
        "zp_out": params.offset_out,
        "lo": params.low,
        "hi": params.high,
    }
    shapes = [context.input(i).shape for i in range(2)]
    return Lowered(
        access=elementwise_access(context.output.shape, shapes),
        literals=tuple(literals.items()),
        per_column="pixels",
    )


def _lower_mean(context: OpContext) -> Lowered:
    params = numerics.mean_params(context.graph, context.op)
    outer, count, inner = _mean_shape(context)
    literals = {
        "outer": outer,
        "count": count,
        "inner": inner,
        "sum_offset": params.offset,
        "multiplier": params.multiplier,
        "shift": params.shift,
        "zp_out": params.offset_out,
    }
    return Lowered(
        access=AccessMap(rows=1, row_bytes=context.output.elements, inputs=(None,)),
        literals=tuple(literals.items()),
    )


_ACCEPTS = (one_activation, int8_activations, constant_symmetric_weights, constant_int32_bias)
_CONV = (*_ACCEPTS, single_image, one_group)
_DEPTHWISE = (*_ACCEPTS, single_image, depth_multiplier_one)

_ADD = (int8_activations, int8_constants, two_activations, same_shape)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_add_fixed_s8_dsp", OpKind.ADD, Isa.DSP, _lower_add_fixed, (*_ADD, exact_in_fixed_point)),
    Kernel(
        "tm_add_s8_dsp",
        OpKind.ADD,
        Isa.DSP,
        lower_same_shape(add_literals),
        (*_ADD, addends_scaled_down),
    ),
    Kernel(
        "tm_sub_fixed_s8_dsp",
        OpKind.BINARY,
        Isa.DSP,
        _lower_add_fixed,
        (function_is(BinaryFunction.SUB), *_ADD, exact_in_fixed_point),
    ),
    Kernel(
        "tm_avg_pool2d_s8_dsp",
        OpKind.AVERAGE_POOL_2D,
        Isa.DSP,
        lower_pooling,
        (*POOLING, at_most_255_pixels),
    ),
    Kernel(
        "tm_conv2d_1x1_s8_dsp",
        OpKind.CONV_2D,
        Isa.DSP,
        _lower_pointwise,
        (*_CONV, pointwise),
        less_scratch=in_small_blocks,
    ),
    Kernel("tm_conv2d_s8_dsp", OpKind.CONV_2D, Isa.DSP, _lower_conv, _CONV, less_scratch=in_small_blocks),
    Kernel(
        "tm_dwconv2d_3x3_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_3x3,
        (*_DEPTHWISE, kernel_3x3, no_dilation, strides_one),
        row_in_place=True,
        less_scratch=in_tiles,
    ),
    Kernel(
        "tm_dwconv2d_3x3_row_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_3x3_row,
        (*_DEPTHWISE, kernel_3x3, no_horizontal_dilation, horizontal_stride_one_or_two, rows_meet_image),
        row_in_place=True,
        less_scratch=in_tiles,
    ),
    Kernel(
        "tm_dwconv2d_large_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_large,
        (*_DEPTHWISE, kernel_5x5_or_7x7, no_dilation, strides_one_or_two, equal_strides),
        row_in_place=True,
    ),
    Kernel(
        "tm_dwconv2d_pairs_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_pairs,
        (*_DEPTHWISE, no_dilation, three_to_five_pairs_of_rows),
        row_in_place=True,
    ),
    Kernel(
        "tm_dwconv2d_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise,
        (*_DEPTHWISE, lines_of_pairs),
        row_in_place=True,
    ),
    Kernel(
        "tm_dwconv2d_taps_s8_dsp",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.DSP,
        _lower_depthwise_taps,
        (*_ACCEPTS, single_image, whole_depth_multiplier),
        row_in_place=True,
    ),
    Kernel(
        "tm_fully_connected_rows_s8_dsp",
        OpKind.FULLY_CONNECTED,
        Isa.DSP,
        _lower_rows,
        (*_ACCEPTS, whole_rows, three_rows, scaled_down_once),
        less_scratch=in_small_blocks,
    ),
    Kernel(
        "tm_fully_connected_s8_dsp",
        OpKind.FULLY_CONNECTED,
        Isa.DSP,
        _lower_fully_connected,
        (*_ACCEPTS, whole_rows),
    ),
    Kernel(
        "tm_mean_s8_dsp",
        OpKind.MEAN,
        Isa.DSP,
        _lower_mean,
        (one_activation, int8_activations, neighbouring_axes, means_scaled_down),
    ),
    Kernel(
        "tm_mul_channels_s8_dsp",
        OpKind.MUL,
        Isa.DSP,
        _lower_mul_channels,
        (
            int8_activations,
            int8_constants,
            two_activations,
            one_factor_per_channel,
            products_scaled_down,
        ),
    ),
)
