"""Operators that move elements of any type, in portable C: slices, joins, blocks, tiles, gathers.

Few kernels serve them all: most are one regular walk through the input (`tm_strided_copy_c`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import (
    Array,
    BlockAttrs,
    ConcatAttrs,
    DType,
    GatherAttrs,
    MirrorPadAttrs,
    OpKind,
    PadAttrs,
    ResizeAttrs,
    SliceAttrs,
    TransposeAttrs,
)
from tinyml.kernels.geometry import RANK, strides, walk
from tinyml.kernels.predicates import (
    at_most_six_dimensions,
    int8_activations,
    one_activation,
    single_image,
)
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext

Walk = tuple[list[int], list[int], int]
"""Dimensions, the input's stride along each, and the first element taken: all in elements."""


def slice_walk(context: OpContext) -> Walk:
    """Return the walk of a SLICE."""
    attrs = context.op.attrs
    assert isinstance(attrs, SliceAttrs)
    steps = strides(context.input(0).shape)
    return (
        list(numerics.slice_sizes(context.op, context.output.shape)),
        [own * step for own, step in zip(attrs.steps, steps, strict=True)],
        sum(begin * step for begin, step in zip(attrs.begin, steps, strict=True)),
    )


def _transpose_walk(context: OpContext) -> Walk:
    attrs = context.op.attrs
    assert isinstance(attrs, TransposeAttrs)
    steps = strides(context.input(0).shape)
    return list(context.output.shape), [steps[axis] for axis in attrs.perm], 0


def _tile_walk(context: OpContext) -> Walk:
    shape, x = context.output.shape, context.input(0).shape
    x = (1,) * (len(shape) - len(x)) + x
    dims: list[int] = []
    steps: list[int] = []
    for out, size, step in zip(shape, x, strides(x), strict=True):
        dims += [out // size, size]
        steps += [0, step]
    return dims, steps, 0


def _space_to_depth_walk(context: OpContext) -> Walk:
    (n, h, w, c), block = context.input(0).shape, _block(context).block[0]
    row, batch = w * c, h * w * c
    return (
        [n, h // block, w // block, block, block, c],
        [batch, block * row, block * c, row, c, 1],
        0,
    )


def _depth_to_space_walk(context: OpContext) -> Walk:
    (n, h, w, c), block = context.input(0).shape, _block(context).block[0]
    out = c // (block * block)
    return [n, h, block, w, block, out], [h * w * c, w * c, block * out, c, out, 1], 0


_WALKS: dict[OpKind, Callable[[OpContext], Walk]] = {
    OpKind.DEPTH_TO_SPACE: _depth_to_space_walk,
    OpKind.SLICE: slice_walk,
    OpKind.SPACE_TO_DEPTH: _space_to_depth_walk,
    OpKind.TILE: _tile_walk,
    OpKind.TRANSPOSE: _transpose_walk,
}


def one_input(context: OpContext) -> bool:
    """Input and output must have one element type, and the input must not be constant."""
    return (
        context.activation_inputs == context.op.inputs[:1] and context.input(0).dtype is context.output.dtype
    )


def six_runs(context: OpContext) -> bool:
    """At most six dimensions may be left where neighbours that are walked through evenly are joined."""
    dims, steps, _ = _WALKS[context.op.kind](context)
    try:
        walk("", dims, steps)
    except ValueError:
        return False
    return True


def _lower_walk(context: OpContext) -> Lowered:
    dims, steps, start = _WALKS[context.op.kind](context)
    x, output = context.input(0), context.output
    geometry = walk("geometry", dims, steps, comment="output dimensions, input strides")
    size = x.dtype.size_bytes
    values = geometry.values.reshape(2, RANK)
    merged = [(int(d), size * int(s)) for d, s in values.T if d > 1]
    return Lowered(
        access=_walk_access(x.size_bytes, output.size_bytes, merged, size * start, size),
        constants=(geometry,),
        literals=(("element_bytes", size), ("start", start)),
    )


def _walk_access(
    in_bytes: int, out_bytes: int, walked: Sequence[tuple[int, int]], start: int, element: int
) -> AccessMap:
    """Return the map of a walk: the output's rows are the indices of its first dimension.

    Args:
        in_bytes: of the input.
        out_bytes: of the output.
        walked: (dimension, stride in bytes), dimensions above one.
        start: bytes before the first element.
        element: its bytes.
    """
    rows, step = (walked[0][0], walked[0][1]) if len(walked) > 1 else (1, 0)
    within = walked[1:] if len(walked) > 1 else walked
    if step < 0:  # the last rows of the input come first
        return AccessMap(rows=1, row_bytes=out_bytes, inputs=(None,))
    ends = [(dim - 1) * stride for dim, stride in within]
    low = start + sum(min(end, 0) for end in ends)
    high = start + sum(max(end, 0) for end in ends) + element - 1
    return AccessMap(
        rows=rows, row_bytes=out_bytes // rows, inputs=(RowMap(in_bytes, 1, mul=step, lo=low, hi=high),)
    )


# Joins


def one_type(context: OpContext) -> bool:
    """Inputs and output must have one element type."""
    tensors = [context.graph.tensors[t] for t in (*context.op.inputs, *context.op.outputs)]
    return len({tensor.dtype for tensor in tensors}) == 1


def no_constant(context: OpContext) -> bool:
    """No input may be constant."""
    return context.activation_inputs == context.op.inputs


def some_constants(context: OpContext) -> bool:
    """Some inputs must be constant, but not all."""
    return 0 < len(context.activation_inputs) < len(context.op.inputs)


def _pixels(context: OpContext) -> int:
    attrs = context.op.attrs
    assert isinstance(attrs, ConcatAttrs)
    return math.prod(context.output.shape[: attrs.axis])


def _lower_concat(context: OpContext) -> Lowered:
    pixels = _pixels(context)
    runs = [context.graph.tensors[t].size_bytes // pixels for t in context.op.inputs]
    return Lowered(
        access=AccessMap(rows=pixels, row_bytes=sum(runs), inputs=tuple(RowMap(pixels, run) for run in runs)),
        constants=(Constant("runs", "int32_t", np.array(runs, np.int32), "bytes of the inputs per pixel"),),
        literals=(("parts", len(runs)), ("pixels", pixels)),
    )


def _lower_concat_const(context: OpContext) -> Lowered:
    pixels = _pixels(context)
    table: list[tuple[int, int]] = []
    inputs: list[RowMap] = []
    fixed: list[Array] = []
    for tensor in (context.graph.tensors[t] for t in context.op.inputs):
        run = tensor.size_bytes // pixels
        if tensor.data is None:
            table.append((run, -1))
            inputs.append(RowMap(pixels, run))
        else:
            table.append((run, sum(part.size for part in fixed)))
            fixed.append(_bytes(tensor.data))
    return Lowered(
        access=AccessMap(rows=pixels, row_bytes=sum(run for run, _ in table), inputs=tuple(inputs)),
        constants=(
            Constant(
                "runs", "int32_t", np.array(table, np.int32), "bytes per pixel, and where constants begin"
            ),
            Constant("fixed", "int8_t", np.concatenate(fixed)),
        ),
        literals=(("parts", len(table)), ("pixels", pixels)),
    )


def _bytes(data: Array) -> Array:
    return np.ascontiguousarray(data).reshape(-1).view(np.int8)


# Gathers


def data_and_indices(context: OpContext) -> bool:
    """Neither the data nor the indices may be constant."""
    return len(context.activation_inputs) == 2


def constant_indices(context: OpContext) -> bool:
    """The indices must be constant, and the data not."""
    return context.activation_inputs == context.op.inputs[:1]


def constant_data(context: OpContext) -> bool:
    """The data must be constant, and the indices not."""
    return context.activation_inputs == context.op.inputs[1:]


def integer_indices(context: OpContext) -> bool:
    """The indices must be int32 or int64."""
    return context.input(1).dtype in (DType.INT32, DType.INT64)


def _gather_literals(context: OpContext) -> dict[str, int]:
    attrs = context.op.attrs
    assert isinstance(attrs, GatherAttrs)
    data, indices = context.input(0), context.input(1)
    axis, batch = attrs.axis, attrs.batch_dims
    return {
        "batches": math.prod(data.shape[:batch]),
        "outer": math.prod(data.shape[batch:axis]),
        "limit": data.shape[axis],
        "count": math.prod(indices.shape[batch:]),
        "run_bytes": math.prod(data.shape[axis + 1 :]) * data.dtype.size_bytes,
    }


def _whole(context: OpContext) -> AccessMap:
    """Everything is read before or while anything is written."""
    inputs = (None,) * len(context.activation_inputs)
    return AccessMap(rows=1, row_bytes=context.output.size_bytes, inputs=inputs)


def _index_constant(values: Array) -> Constant:
    return Constant("indices", "int32_t", values.astype(np.int32))


def _lower_gather(context: OpContext) -> Lowered:
    literals = {"index_bytes": context.input(1).dtype.size_bytes} | _gather_literals(context)
    data = context.input(0).data
    table = () if data is None else (Constant("table", "int8_t", _bytes(data)),)
    return Lowered(access=_whole(context), constants=table, literals=tuple(literals.items()))


def _lower_gather_const(context: OpContext) -> Lowered:
    indices = context.input(1).data
    assert indices is not None
    return Lowered(
        access=_whole(context),
        constants=(_index_constant(indices),),
        literals=tuple(_gather_literals(context).items()),
    )


def _tuple_literals(context: OpContext) -> tuple[tuple[int, ...], dict[str, int]]:
    """Return the limits of an index tuple's numbers, and how many tuples there are of how many bytes."""
    data, indices = context.input(0), context.input(1)
    depth = indices.shape[-1]
    count = math.prod(indices.shape[:-1])
    run = math.prod(data.shape[depth:]) * data.dtype.size_bytes
    return data.shape[:depth], {"count": count, "run_bytes": run}


def _lower_gather_nd(context: OpContext) -> Lowered:
    limits, literals = _tuple_literals(context)
    literals = {"index_bytes": context.input(1).dtype.size_bytes, "depth": len(limits)} | literals
    return Lowered(
        access=_whole(context),
        constants=(Constant("limits", "int32_t", np.array(limits, np.int32)),),
        literals=tuple(literals.items()),
    )


def _lower_gather_nd_const(context: OpContext) -> Lowered:
    limits, literals = _tuple_literals(context)
    indices = context.input(1).data
    assert indices is not None
    flat = np.ravel_multi_index(tuple(np.moveaxis(indices, -1, 0)), limits)
    literals = {"batches": 1, "outer": 1, "limit": math.prod(limits)} | literals
    return Lowered(
        access=_whole(context),
        constants=(_index_constant(np.asarray(flat)),),
        literals=tuple(literals.items()),
    )


# Padding


def two_or_four_bytes(context: OpContext) -> bool:
    """Elements must have two or four bytes."""
    return context.output.dtype.size_bytes in (2, 4)


def _lower_pad(context: OpContext) -> Lowered:
    attrs, x, output = context.op.attrs, context.input(0), context.output
    assert isinstance(attrs, PadAttrs)
    steps = strides(output.shape)
    value = np.array(numerics.pad_value(context.graph, context.op), output.dtype.value)
    literals = {
        "element_bytes": output.dtype.size_bytes,
        "out_elements": output.elements,
        "start": sum(before * step for (before, _), step in zip(attrs.paddings, steps, strict=True)),
        "value": int(value.view(np.int16 if output.dtype.size_bytes == 2 else np.int32)),
    }
    return Lowered(
        access=_whole(context),
        constants=(walk("geometry", x.shape, steps, comment="input dimensions, output strides"),),
        literals=tuple(literals.items()),
    )


def _lower_mirror_pad(context: OpContext) -> Lowered:
    attrs, x = context.op.attrs, context.input(0)
    assert isinstance(attrs, MirrorPadAttrs)
    steps = strides(x.shape)
    # Dimensions behind the last one that is padded are one run.
    padded = max((d + 1 for d, pad in enumerate(attrs.paddings) if any(pad)), default=0)
    run = math.prod(x.shape[padded:]) * x.dtype.size_bytes
    tables = [np.zeros(1, np.int64)] * (RANK - padded)
    tables += [
        numerics.mirrored_indices(x.shape[d], attrs.paddings[d], attrs.reflect)
        * steps[d]
        * x.dtype.size_bytes
        for d in range(padded)
    ]
    values = np.concatenate([np.array([len(table) for table in tables]), *tables])
    return Lowered(
        access=_whole(context),
        constants=(
            Constant("tables", "int32_t", values.astype(np.int32), "dimensions, then bytes per index"),
        ),
        literals=(("run_bytes", run),),
    )


# Blocks


def _block(context: OpContext) -> BlockAttrs:
    attrs = context.op.attrs
    assert isinstance(attrs, BlockAttrs)
    return attrs


def _lower_batch(context: OpContext) -> Lowered:
    """SPACE_TO_BATCH_ND and its inverse; [n, h, c] is one column wide."""
    attrs, to_batch = _block(context), context.op.kind is OpKind.SPACE_TO_BATCH_ND
    x, output = context.input(0), context.output
    (n, in_h, *in_w, channels), (m, out_h, *out_w, _) = x.shape, output.shape
    literals = {
        "images": n if to_batch else m,
        "in_h": in_h,
        "in_w": in_w[0] if in_w else 1,
        "out_h": out_h,
        "out_w": out_w[0] if out_w else 1,
        "pixel_bytes": channels * x.dtype.size_bytes,
        "block_h": attrs.block[0],
        "block_w": attrs.block[1],
        "top": attrs.edges[0][0],
        "left": attrs.edges[1][0],
    }
    if to_batch:
        literals["value"] = numerics.pad_value_of(output) if output.dtype is DType.INT8 else 0
    return Lowered(access=_whole(context), literals=tuple(literals.items()))


def zero_bytes(context: OpContext) -> bool:
    """The zero point of elements wider than a byte must be 0."""
    return context.output.dtype is DType.INT8 or numerics.pad_value_of(context.output) == 0


def _lower_bilinear(context: OpContext) -> Lowered:
    attrs = context.op.attrs
    assert isinstance(attrs, ResizeAttrs)
    _, in_h, in_w, channels = context.input(0).shape
    _, out_h, out_w, _ = context.output.shape
    rows, cols = (
        np.stack(numerics.bilinear_taps(size, out, attrs), axis=1)
        for size, out in ((in_h, out_h), (in_w, out_w))
    )
    literals = {"in_w": in_w, "out_h": out_h, "out_w": out_w, "channels": channels}
    return Lowered(
        access=AccessMap(rows=out_h, row_bytes=out_w * channels, inputs=(None,)),
        constants=(
            Constant("in_rows", "int32_t", rows, "two rows, weight of the second in 1024ths"),
            Constant("in_cols", "int32_t", cols, "two columns, weight of the second in 1024ths"),
        ),
        literals=tuple(literals.items()),
    )


KERNELS: tuple[Kernel, ...] = (
    *(
        Kernel("tm_strided_copy_c", kind, Isa.C, _lower_walk, (one_input, six_runs))
        for kind in sorted(_WALKS)
    ),
    Kernel(
        "tm_concat_c", OpKind.CONCATENATION, Isa.C, _lower_concat, (one_type, no_constant), input_array=True
    ),
    Kernel(
        "tm_concat_const_c",
        OpKind.CONCATENATION,
        Isa.C,
        _lower_concat_const,
        (one_type, some_constants),
        input_array=True,
    ),
    Kernel("tm_gather_c", OpKind.GATHER, Isa.C, _lower_gather, (data_and_indices, integer_indices)),
    Kernel(
        "tm_gather_const_c", OpKind.GATHER, Isa.C, _lower_gather_const, (constant_indices, integer_indices)
    ),
    Kernel("tm_embedding_c", OpKind.GATHER, Isa.C, _lower_gather, (constant_data, integer_indices)),
    Kernel("tm_gather_nd_c", OpKind.GATHER_ND, Isa.C, _lower_gather_nd, (data_and_indices, integer_indices)),
    Kernel(
        "tm_gather_const_c",
        OpKind.GATHER_ND,
        Isa.C,
        _lower_gather_nd_const,
        (constant_indices, integer_indices),
    ),
    Kernel(
        "tm_pad_nd_c",
        OpKind.PAD,
        Isa.C,
        _lower_pad,
        (one_input, at_most_six_dimensions, two_or_four_bytes),
    ),
    Kernel(
        "tm_index_copy_c", OpKind.MIRROR_PAD, Isa.C, _lower_mirror_pad, (one_input, at_most_six_dimensions)
    ),
    Kernel("tm_space_to_batch_c", OpKind.SPACE_TO_BATCH_ND, Isa.C, _lower_batch, (one_input, zero_bytes)),
    Kernel("tm_batch_to_space_c", OpKind.BATCH_TO_SPACE_ND, Isa.C, _lower_batch, (one_input,)),
    Kernel(
        "tm_resize_bilinear_s8_c",
        OpKind.RESIZE_BILINEAR,
        Isa.C,
        _lower_bilinear,
        (one_activation, int8_activations, single_image),
    ),
)
