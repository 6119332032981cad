"""Pooling over the whole image, one row at a time: rows are summed as they come, the last one finishes.

A pool over everything reads all of its input for its one output pixel. Where the stage before computes that
input row by row, summing the rows at once keeps one row of it in memory instead of the whole.

Source: the fused global pool of msf-CNN (Huang and Baccelli, 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

from tinyml import numerics
from tinyml.graph import DType, OpKind, ReduceAttrs, WindowAttrs
from tinyml.kernels.registry import OpContext

_MOST_ROWS_SUMMED = 1 << 23  # int8 values whose sum surely fits 31 bits, the mean's offset included


@dataclass(frozen=True, slots=True)
class RowSums:
    """An operator as one call per input row.

    The C call is: the row, the output, the sums, the row's index, literals.

    Args:
        symbol: the C function, which names its file.
        sums: int32 sums that are kept between the calls.
        literals: as Lowered.literals.
    """

    symbol: str
    sums: int
    literals: tuple[tuple[str, int], ...]


def row_sums(context: OpContext) -> RowSums | None:
    """Return how the operator is computed from rows that come one after another, None where it is not.

    Accepted are AVERAGE_POOL_2D with one window that covers the image, and MEAN over the rows of an image
    or over its rows and columns.
    """
    shape = context.input(0).shape
    if context.input(0).dtype is not DType.INT8 or context.output.dtype is not DType.INT8:
        return None
    if len(shape) != 4 or shape[0] != 1 or context.input(0).elements > _MOST_ROWS_SUMMED:
        return None
    _, rows, width, channels = shape
    attrs = context.op.attrs
    if context.op.kind is OpKind.AVERAGE_POOL_2D and isinstance(attrs, WindowAttrs):
        covers = (
            attrs.kernel_h - attrs.pads.top >= rows
            and attrs.kernel_w - attrs.pads.left >= width
            and context.output.shape == (1, 1, 1, channels)
        )
        if not covers:
            return None
        lo, hi = numerics.output_range(context.graph, context.op)
        sizes = {"rows": rows, "pixels": width, "channels": channels, "lo": lo, "hi": hi}
        return RowSums("tm_avg_pool_rows_s8_c", channels, tuple(sizes.items()))
    if context.op.kind is OpKind.MEAN and isinstance(attrs, ReduceAttrs):
        axes = set(attrs.axes)
        if axes not in ({1}, {1, 2}):
            return None
        pixels, sums = (1, width * channels) if axes == {1} else (width, channels)
        params = numerics.mean_params(context.graph, context.op)
        literals = {
            "rows": rows,
            "pixels": pixels,
            "channels": sums,
            "sum_offset": params.offset,
            "multiplier": params.multiplier,
            "shift": params.shift,
            "zp_out": params.offset_out,
            "lo": params.low,
            "hi": params.high,
        }
        return RowSums("tm_mean_rows_s8_c", sums, tuple(literals.items()))
    return None
