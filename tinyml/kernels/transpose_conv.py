"""TRANSPOSE_CONV in portable C and with DSP instructions, row by row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import OpKind, WindowAttrs
from tinyml.kernels.convolution import image_row_bytes
from tinyml.kernels.dsp import Blocks, blocks_for, filled, with_forms
from tinyml.kernels.dsp_streams import conv_stream, packable
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    has_rank,
    int8_activations,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext, RowLoop


def equal_depth(context: OpContext) -> bool:
    """The weights must be as deep as the input, and as many as the output's channels."""
    if not has_rank(context, 4, 4):
        return False
    weights = context.input(1).shape
    return weights[3] == context.input(0).shape[3] and weights[:1] == context.output.shape[3:]


def at_least_the_stride(context: OpContext) -> bool:
    """The kernel must be at least as high and wide as the strides."""
    attrs = window_attrs(context)
    return attrs.kernel_h >= attrs.stride_h and attrs.kernel_w >= attrs.stride_w


def transposed_access(context: OpContext) -> tuple[AccessMap, RowLoop]:
    """Return the access map and the loop of a kernel that computes one output row.

    Output row r takes input rows ⌊(r + top)/stride⌋ and up to ⌈kernel_h/stride⌉ − 1 before it.
    """
    attrs = window_attrs(context)
    in_h, in_row = context.input(0).shape[1], image_row_bytes(context.input(0))
    out_h, out_row = context.output.shape[1], image_row_bytes(context.output)
    pointers = -(-attrs.kernel_h // attrs.stride_h)
    pad_top = (pointers - 1) * attrs.stride_h - attrs.pads.top
    rows = RowMap(in_h, in_row, lo=-pad_top, hi=attrs.pads.top, div=attrs.stride_h)
    loop = RowLoop(
        kernel_h=pointers,
        stride_h=1,
        dilation_h=1,
        pad_top=pad_top,
        in_rows=in_h,
        in_row_bytes=in_row,
        out_rows=out_h,
        out_row_bytes=out_row,
        pad_value=context.input(0).zero_point,
        upscale=attrs.stride_h,
    )
    return AccessMap(out_h, out_row, (rows,)), loop


def _phases(attrs: WindowAttrs) -> Iterator[tuple[slice, slice]]:
    """Yield the kernel's rows and columns that meet outputs of each phase, row phases first."""
    for phase_h in range(attrs.stride_h):
        for phase_w in range(attrs.stride_w):
            yield slice(phase_h, None, attrs.stride_h), slice(phase_w, None, attrs.stride_w)


def phase_weights(
    weights: np.typing.NDArray[np.int8], attrs: WindowAttrs
) -> Iterator[np.typing.NDArray[np.int8]]:
    """Yield the weights of each phase's convolution, [out_c, rows, columns, in_c]."""
    for rows, columns in _phases(attrs):
        # Neighbouring inputs meet taps in the opposite order, a stride apart.
        yield weights[:, rows, columns][:, ::-1, ::-1]


def _biases(context: OpContext) -> numerics.Int32Array:
    """Return the bias of each phase with the input's zero point folded in: [phases, out_c]."""
    weights = context.input(1).data
    assert weights is not None
    bias = numerics.raw_bias(context.graph, context.op).astype(np.int64)
    zero_point = context.input(0).zero_point
    sums = [
        weights[:, rows, columns].sum(axis=(1, 2, 3), dtype=np.int64)
        for rows, columns in _phases(window_attrs(context))
    ]
    return np.stack([bias - zero_point * total for total in sums]).astype(np.int32)


def lower_transposed(
    context: OpContext, constants: tuple[Constant, ...], scratch_bytes: int = 0, **extra: int
) -> Lowered:
    """Lower a transposed convolution to a kernel that computes one output row.

    Its multiply-accumulates include those that fall outside the output.

    Args:
        context: the TRANSPOSE_CONV.
        constants: of the call.
        scratch_bytes: of the call.
        extra: literals between the window and the range of the output, by parameter name.
    """
    attrs = window_attrs(context)
    in_w, in_c = context.input(0).shape[2:]
    out_w, out_c = context.output.shape[2:]
    lo, hi = numerics.output_range(context.graph, context.op)
    access, loop = transposed_access(context)
    literals = {
        "in_w": in_w,
        "in_c": in_c,
        "out_w": out_w,
        "out_c": out_c,
        "kernel_h": attrs.kernel_h,
        "kernel_w": attrs.kernel_w,
        "stride_h": attrs.stride_h,
        "stride_w": attrs.stride_w,
        "pad_left": attrs.pads.left,
        **extra,
        "lo": lo,
        "hi": hi,
    }
    return Lowered(
        access=access,
        constants=constants,
        literals=tuple(literals.items()),
        scratch_bytes=scratch_bytes,
        loop=loop,
        macs=context.input(0).elements * context.input(1).elements // in_c,
    )


def _lower(context: OpContext) -> Lowered:
    weights = context.input(1).data
    assert weights is not None
    x = context.input(0)
    multiplier, shift = numerics.conv_requant(context.graph, context.op)
    constants = (
        Constant("weights", "int8_t", weights),
        Constant("bias", "int32_t", _biases(context), "of each phase, the input's zero point folded in"),
        Constant("multiplier", "int32_t", multiplier, "times 2^(shift - 31)"),
        Constant("shift", "int8_t", shift.astype(np.int8)),
        Constant("outside", "int8_t", np.full(x.shape[3], x.zero_point, np.int8), "a pixel beside the image"),
    )
    return lower_transposed(context, constants, zp_out=context.output.zero_point)


def _lower_dsp(context: OpContext) -> Lowered:
    """Lower to one convolution per phase of the columns, of the kernel's taps that meet the row's phase."""
    attrs = window_attrs(context)
    in_c = context.input(0).shape[3]
    out_w, out_c = context.output.shape[2:]
    weights = context.input(1).data
    assert weights is not None
    form, requant = with_forms(*numerics.conv_requant(context.graph, context.op))
    taps = -(-attrs.kernel_h // attrs.stride_h) * -(-attrs.kernel_w // attrs.stride_w)
    biases = _biases(context)
    streams: list[numerics.Int32Array] = []
    arranged = [_window_order(phase) for phase in phase_weights(weights, attrs)]
    packed = form != 0 and out_c > 1 and taps * in_c > 16 and all(packable(phase) for phase in arranged)
    for phase, bias in zip(arranged, biases, strict=True):
        streams.append(conv_stream(phase, bias, requant, packed=packed))
    starts = np.cumsum([0, *(stream.size for stream in streams[:-1])])
    outputs = -(-out_w // attrs.stride_w)
    blocks = blocks_for(outputs, taps * in_c, packed=packed)
    columns = _scratch(taps, -(-attrs.kernel_w // attrs.stride_w), in_c, blocks, outputs)
    return lower_transposed(
        context,
        (
            Constant("stream", "int32_t", np.concatenate(streams), "weights, biases and requantisation"),
            Constant("starts", "int32_t", starts.astype(np.int32), "of each phase in the stream"),
        ),
        columns + outputs * out_c,
        zp_in=context.input(0).zero_point,
        columns=columns,
        blocks=int(blocks),
        packed=int(packed),
        form=int(form),
        zp_out=context.output.zero_point,
    )


def _window_order(weights: np.typing.NDArray[np.int8]) -> np.typing.NDArray[np.int8]:
    """Return weights [out_c, kernel_h, kernel_w, in_c] as tm_conv2d_s8_dsp fills its column."""
    out_c, kernel_h, _, in_c = weights.shape
    rows = weights.reshape(out_c, kernel_h, -1)
    whole = rows.shape[2] // 4 * 4 if in_c % 4 else rows.shape[2]
    parts = (rows[:, :, :whole], rows[:, :, whole:])
    return np.concatenate([part.reshape(out_c, -1) for part in parts], axis=1)


def _scratch(taps: int, kernel_w: int, in_c: int, blocks: Blocks, outputs: int) -> int:
    """Return what tm_conv2d_s8_dsp needs for windows of so many taps, rounded up to words."""
    most = min(blocks.most, outputs)
    scratch = 2 * filled(taps * in_c, 4) * blocks.most
    if in_c % 4:
        scratch += taps // kernel_w * (most - 1 + kernel_w) * in_c
    return filled(scratch, 4)


_ACCEPTS = (
    one_activation,
    int8_activations,
    single_image,
    constant_symmetric_weights,
    constant_int32_bias,
    equal_depth,
)

KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_transpose_conv_s8_c", OpKind.TRANSPOSE_CONV, Isa.C, _lower, _ACCEPTS),
)

DSP_KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_transpose_conv_s8_dsp",
        OpKind.TRANSPOSE_CONV,
        Isa.DSP,
        _lower_dsp,
        (*_ACCEPTS, at_least_the_stride),
    ),
)
