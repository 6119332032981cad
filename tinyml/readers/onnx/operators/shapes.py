"""Operators that only move, reshape, pad or enlarge; and the arithmetic of shapes, which is folded."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from tinyml import numerics
from tinyml.graph import (
    Array,
    Attrs,
    ConcatAttrs,
    MirrorPadAttrs,
    OpKind,
    PadAttrs,
    ResizeAttrs,
    SliceAttrs,
)
from tinyml.readers.onnx.network import MAX_EXTENT, Constant, Network, Operand, Output, Stored
from tinyml.readers.onnx.operators.functions import single_number
from tinyml.readers.onnx.operators.reading import OnnxOperator
from tinyml.readers.onnx.operators.reduction import commuting
from tinyml.readers.onnx.order import channels_last, plain, transpose
from tinyml.readers.onnx.proto import check_shape
from tinyml.readers.tensors import dims

_MAX_FOLDED = 4096  # elements of a constant that the arithmetic of shapes may give


# What changes only the note on the order in memory


def _seen_as(net: Network, value: Operand, shape: tuple[int, ...]) -> Operand:
    """Return a value with another shape."""
    check_shape(shape, f"the result of {net.node.op} '{net.node.name}'", net.file, smallest=0)
    if math.prod(shape) != math.prod(value.shape):
        raise net.error(f"it turns {dims(value.shape)} into {dims(shape)}", "expected as many elements")
    if isinstance(value, Constant):
        if value.quant is not None and value.quant.per_channel:
            raise net.unsupported("it reshapes weights", "expected them as they are", "fold it")
        return Constant(value.data.reshape(shape), value.quant)
    if isinstance(value, Stored):
        return dataclasses.replace(value, shape=shape)
    inner = value

    def build(output: Output) -> Stored:
        return dataclasses.replace(inner.build(output), shape=shape)

    return dataclasses.replace(inner, shape=shape, build=build)


def _reshape(net: Network) -> Operand:
    shape = net.operand(0).shape
    wanted = list(net.integers(1, "new shape"))
    if not net.integer("allowzero", 0):
        for i, size in enumerate(wanted):
            if size == 0:
                if i >= len(shape):
                    raise net.error(f"its new shape is {wanted}", f"its input is {dims(shape)}")
                wanted[i] = shape[i]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise net.error(f"its new shape is {wanted}", "expected at most one -1")
    if -1 in wanted:
        rest = math.prod(w for w in wanted if w != -1)
        if not rest or math.prod(shape) % rest:
            raise net.error(f"its new shape is {wanted}", f"its input is {dims(shape)}")
        wanted[wanted.index(-1)] = math.prod(shape) // rest
    return _seen_as(net, net.operand(0), tuple(wanted))


def _flatten(net: Network) -> Operand:
    shape = net.operand(0).shape
    axis = net.integer("axis", 1)
    at = axis if axis == len(shape) else net.axis(axis, len(shape))
    return _seen_as(net, net.operand(0), (math.prod(shape[:at]), math.prod(shape[at:])))


def _axes(net: Network, rank: int) -> set[int]:
    axes = [net.axis(a, rank) for a in net.integers(1, "axes")]
    if len(set(axes)) != len(axes):
        raise net.error(f"its axes are {axes}", "expected each once")
    return set(axes)


def _squeeze(net: Network) -> Operand:
    shape = net.operand(0).shape
    axes = _axes(net, len(shape)) if net.has_input(1) else {d for d, size in enumerate(shape) if size == 1}
    if any(shape[a] != 1 for a in axes):
        raise net.error(f"it removes axes {sorted(axes)} of {dims(shape)}", "expected sizes of 1")
    return _seen_as(net, net.operand(0), tuple(size for d, size in enumerate(shape) if d not in axes))


def _unsqueeze(net: Network) -> Operand:
    shape = net.operand(0).shape
    rank = len(shape) + len(net.integers(1, "axes"))
    axes = _axes(net, rank)
    sizes = iter(shape)
    return _seen_as(net, net.operand(0), tuple(1 if d in axes else next(sizes) for d in range(rank)))


def _transpose(net: Network) -> Operand:
    value = net.operand(0)
    rank = len(value.shape)
    perm = net.numbers("perm") if net.attribute("perm") is not None else tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        raise net.error(f"its permutation is {list(perm)}", f"expected each of 0 to {rank - 1} once")
    shape = tuple(value.shape[p] for p in perm)
    if isinstance(value, Constant):
        quant = value.quant
        if quant is not None and quant.per_channel:
            quant = dataclasses.replace(quant, axis=perm.index(quant.axis))
        return Constant(np.ascontiguousarray(value.data.transpose(perm)), quant)

    if isinstance(value, Stored):
        return _turned(net, value, perm)
    inner = value

    def build(output: Output) -> Stored:
        return _turned(net, inner.build(output), perm)

    return dataclasses.replace(inner, shape=shape, build=build)


def _blocks(net: Network) -> Operand:
    """Read DepthToSpace and SpaceToDepth: a reshape, a transpose and a reshape."""
    shape = net.operand(0).shape
    block = net.integer("blocksize", 0)
    if len(shape) != 4 or not 1 <= block <= MAX_EXTENT:
        raise net.error(f"its input is {dims(shape)}, its block {block}", "expected an image and a block")
    n, c, h, w = shape
    mode = net.text("mode", "DCR")
    if net.node.op == "SpaceToDepth":
        inner: tuple[int, ...] = (n, c, h // block, block, w // block, block)
        perm, out = (0, 3, 5, 1, 2, 4), (n, c * block * block, h // block, w // block)
    elif mode == "CRD":
        inner = (n, c // (block * block), block, block, h, w)
        perm, out = (0, 1, 4, 2, 5, 3), (n, c // (block * block), h * block, w * block)
    else:
        inner = (n, block, block, c // (block * block), h, w)
        perm, out = (0, 3, 4, 1, 5, 2), (n, c // (block * block), h * block, w * block)
    if math.prod(inner) != math.prod(shape) or mode not in ("DCR", "CRD"):
        raise net.error(
            f"its input is {dims(shape)}, its block {block}, its mode {mode}", "expected whole blocks"
        )

    def moved(stored: Stored) -> Stored:
        turned = _turned(net, dataclasses.replace(stored, shape=inner), perm)
        return dataclasses.replace(turned, shape=out)

    return commuting(net, out, moved)


def _turned(net: Network, stored: Stored, perm: Sequence[int]) -> Stored:
    """Return a value with its axes permuted."""
    order = transpose(stored.order, stored.shape, perm)
    if order is None:  # its memory is that of another shape: back to the file's order
        tensor = net.in_order(stored, stored.shape, range(len(perm)))
        stored = dataclasses.replace(stored, tensor=tensor, order=plain(stored.shape))
        order = transpose(stored.order, stored.shape, perm)
        assert order is not None
    return dataclasses.replace(stored, shape=tuple(stored.shape[p] for p in perm), order=order)


def _identity(net: Network) -> Operand:
    return net.operand(0)


# What computes nothing, but writes


def _pad(net: Network) -> Operand:
    shape = net.operand(0).shape
    rank = len(shape)
    mode = net.text("mode", "constant")
    if mode not in ("constant", "reflect"):
        raise net.unsupported(f"it pads with mode {mode}", "expected a constant or reflect", "pad with zeros")
    number = 0.0
    if mode == "constant" and net.has_input(2):
        constant = net.operand(2)
        if not isinstance(constant, Constant) or constant.data.size != 1:
            raise net.unsupported("its value is computed by the model", "expected a constant", "fold it")
        number = float(single_number(constant))
        if not math.isfinite(number):
            raise net.error(f"it pads with {number:g}", "expected a finite number")
    axes = [net.axis(a, rank) for a in net.integers(3, "axes")] if net.has_input(3) else list(range(rank))
    pads = net.integers(1, "pads")
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise net.error(f"its pads are {list(pads)}", f"expected two for each of {len(axes)} axes")
    if any(not 0 <= p <= MAX_EXTENT for p in pads):
        raise net.unsupported(
            f"its pads are {list(pads)}", f"expected 0 to {MAX_EXTENT}", "crop outside the model"
        )
    paddings = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        paddings[axis] = (pads[i], pads[len(axes) + i])
    out = tuple(size + sum(pad) for size, pad in zip(shape, paddings, strict=True))
    if mode == "reflect" and any(max(pad) >= size for size, pad in zip(shape, paddings, strict=True)):
        raise net.error(f"its pads are {list(pads)}", f"expected less than the sizes of {dims(shape)}")

    def padded(stored: Stored) -> Stored:
        perm = net.order_of(stored)
        source = net.in_order(stored, shape, perm)
        quant = net.quant(source)
        moved = tuple(paddings[p] for p in perm)
        attrs: Attrs = MirrorPadAttrs(moved, reflect=True)
        if mode == "constant":
            code = np.rint(number / quant.scale[0]) + quant.zero_point[0]
            attrs = PadAttrs(moved, int(np.clip(code, -128, 127)) if number else None)
        index = net.emit(
            OpKind.PAD if mode == "constant" else OpKind.MIRROR_PAD,
            (source,),
            attrs,
            tuple(out[p] for p in perm),
            net.quant(source),
            net.node.outputs[0],
        )
        return net.stored(index, out, perm)

    if number:  # which no activation before it may clip, nor another scale change
        return padded(net.real(0))
    return commuting(net, out, padded)


def _resize(net: Network) -> Operand:
    shape = net.operand(0).shape
    image = net.image_shape(shape)
    mode = net.text("mode", "nearest")
    if mode not in ("nearest", "linear") or net.integer("antialias", 0):
        raise net.unsupported(f"its mode is {mode}", "expected nearest or linear", "use one of them")
    if net.attribute("axes") is not None or net.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise net.unsupported("it resizes some axes", "expected sizes or scales of all", "export it again")
    scales: list[float] = []
    if net.has_input(3):
        sizes = net.integers(3, "sizes")
    else:
        scales = [float(s) for s in net.constant(2, "scales").reshape(-1)[:6]] if net.has_input(2) else []
        if len(scales) != len(shape) or not all(0 < s < MAX_EXTENT for s in scales):
            raise net.error(f"its scales are {scales}", f"expected {len(shape)} positive numbers")
        sizes = tuple(math.floor(size * s) for size, s in zip(shape, scales, strict=True))
    if len(sizes) != len(shape) or sizes[:2] != shape[:2] or not all(1 <= s <= MAX_EXTENT for s in sizes):
        raise net.unsupported(
            f"it turns {dims(shape)} into {dims(sizes)}", "expected other heights and widths only", "split it"
        )
    out = net.image_shape(sizes)
    ratios = scales[2:] if scales else [o / i for i, o in zip(image[2:], out[2:], strict=True)]
    if len(ratios) == 1:
        ratios = [1.0, *ratios]
    if mode == "linear":
        return _interpolated(net, sizes, [size * r for size, r in zip(image[2:], ratios, strict=True)])
    wanted = [
        _nearest(net, size, new, ratio) for size, new, ratio in zip(image[2:], out[2:], ratios, strict=True)
    ]
    for attrs in (ResizeAttrs(), ResizeAttrs(align_corners=True), ResizeAttrs(half_pixel_centers=True)):
        if all(
            np.array_equal(numerics.resize_indices(size, new, attrs), indices)
            for size, new, indices in zip(image[2:], out[2:], wanted, strict=True)
        ):
            break
    else:
        raise net.unsupported(
            "it takes other pixels than the kernel does",
            "expected asymmetric and floor, align_corners, or half_pixel with whole factors",
            "export it with coordinate_transformation_mode asymmetric and nearest_mode floor",
        )

    def resized(stored: Stored) -> Stored:
        source = net.image(stored)
        perm = channels_last(4)
        memory = tuple(out[p] for p in perm)
        kind = OpKind.RESIZE_NEAREST_NEIGHBOR
        index = net.emit(kind, (source,), attrs, memory, net.quant(source), net.node.outputs[0])
        return dataclasses.replace(net.stored(index, out, perm), shape=sizes)

    return commuting(net, sizes, resized)


def _interpolated(net: Network, sizes: tuple[int, ...], exact: Sequence[float]) -> Operand:
    """Return a bilinear resize; `exact` are height and width before they were rounded down."""
    out = net.image_shape(sizes)
    image = net.image_shape(net.operand(0).shape)
    mode = net.text("coordinate_transformation_mode", "half_pixel")
    attrs = {
        "asymmetric": ResizeAttrs(),
        "align_corners": ResizeAttrs(align_corners=True),
        "half_pixel": ResizeAttrs(half_pixel_centers=True),
        "pytorch_half_pixel": ResizeAttrs(half_pixel_centers=True),
    }.get(mode)
    if (
        attrs is None
        or any(abs(a - b) > 1e-3 for a, b in zip(exact, out[2:], strict=True))
        or (mode == "pytorch_half_pixel" and 1 in out[2:])
        or any(
            int(numerics.bilinear_taps(size, new, attrs)[0].max()) >= size
            for size, new in zip(image[2:], out[2:], strict=True)
        )
    ):
        raise net.unsupported(
            f"it interpolates in a way the kernel does not: {mode}, to {dims(sizes)}",
            "expected asymmetric, align_corners or half_pixel, and whole sizes",
            "resize to fixed sizes, or to nearest pixels",
        )
    x = net.real(0)

    def build(output: Output) -> Stored:
        source = net.image(x)
        perm = channels_last(4)
        memory = tuple(out[p] for p in perm)
        index = net.emit(
            OpKind.RESIZE_BILINEAR, (source,), attrs, memory, net.quant(source), net.node.outputs[0]
        )
        return net.requantised(dataclasses.replace(net.stored(index, out, perm), shape=sizes), output)

    return net.pending(sizes, build)


def _nearest(net: Network, size: int, new: int, ratio: float) -> Array:
    """Return the input row of every output row. Source: onnx/docs/Operators.md, Resize."""
    x = np.arange(new, dtype=np.float64)
    mode = net.text("coordinate_transformation_mode", "half_pixel")
    if mode == "asymmetric":
        x = x / ratio
    elif mode == "align_corners":
        x = x * ((size - 1) / (new - 1)) if new > 1 else x * 0
    elif mode in ("half_pixel", "pytorch_half_pixel"):
        x = (x + 0.5) / ratio - 0.5 if new > 1 or mode == "half_pixel" else x * 0
    else:
        raise net.unsupported(f"its coordinates are {mode}", "expected asymmetric", "export it again")
    rounding = net.text("nearest_mode", "round_prefer_floor")
    match rounding:
        case "floor":
            x = np.floor(x)
        case "ceil":
            x = np.ceil(x)
        case "round_prefer_floor":
            x = np.ceil(x - 0.5)
        case "round_prefer_ceil":
            x = np.floor(x + 0.5)
        case _:
            raise net.error(f"its nearest_mode is {rounding}", "expected floor, ceil, or rounding")
    return np.clip(x, 0, size - 1).astype(np.int32)


# Parts


def _taken(net: Network, begin: Sequence[int], steps: Sequence[int], shape: tuple[int, ...]) -> Operand:
    """Return a part of the input: `shape` elements from `begin` in steps."""
    whole = net.operand(0).shape
    axes = range(len(whole))

    def part(stored: Stored) -> Stored:
        perm = net.order_of(stored)
        source = net.in_order(stored, whole, perm)
        attrs = SliceAttrs(tuple(begin[p] for p in perm), tuple(steps[p] for p in perm), tuple(axes))
        memory = tuple(shape[p] for p in perm)
        name = net.node.outputs[0]
        return net.stored(
            net.emit(OpKind.SLICE, (source,), attrs, memory, net.quant(source), name), shape, perm
        )

    return commuting(net, shape, part)


def _slice(net: Network) -> Operand:
    if isinstance(net.operand(0), Constant):
        return folded(net)
    whole = net.operand(0).shape
    rank = len(whole)
    starts, ends = net.integers(1, "starts"), net.integers(2, "ends")
    axes = net.integers(3, "axes") if net.has_input(3) else tuple(range(len(starts)))
    steps = net.integers(4, "steps") if net.has_input(4) else (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise net.error("its starts, ends, axes and steps do not fit together", "expected as many of each")
    begin, step, shape = [0] * rank, [1] * rank, list(whole)
    for a, start, end, by in zip(axes, starts, ends, steps, strict=True):
        axis = net.axis(a, rank)
        taken = range(*slice(start, end, by).indices(whole[axis]))
        if not taken:
            raise net.error(f"it takes nothing along axis {axis}", f"expected a part of {dims(whole)}")
        begin[axis], step[axis], shape[axis] = taken[0], by, len(taken)
    return _taken(net, begin, step, tuple(shape))


def _gather(net: Network) -> Operand:
    """Read a Gather of indices in equal steps, x[:, -1] for example; of constants any."""
    if isinstance(net.operand(0), Constant):
        return folded(net)
    whole = net.operand(0).shape
    axis = net.axis(net.integer("axis", 0), len(whole))
    data = net.constant(1, "indices")
    if data.dtype.kind != "i" or data.ndim > 1 or not data.size:
        raise net.unsupported(f"its indices are {data.dtype}{list(data.shape)}", "expected some", "slice")
    size = whole[axis]
    if int(data.min()) < -size or int(data.max()) >= size:
        raise net.error(f"its indices reach to {data.max()}", f"expected indices of {size}")
    indices = [int(i) % size for i in data.reshape(-1)]
    steps = {b - a for a, b in itertools.pairwise(indices)} or {1}
    if len(steps) > 1 or 0 in steps:
        raise net.unsupported("its indices have no equal steps", "expected a slice", "use Slice and Concat")
    begin, by = [0] * len(whole), [1] * len(whole)
    begin[axis], by[axis] = indices[0], steps.pop()
    part = _taken(net, begin, by, (*whole[:axis], len(indices), *whole[axis + 1 :]))
    return part if data.ndim else _seen_as(net, part, (*whole[:axis], *whole[axis + 1 :]))


def _split(net: Network) -> Sequence[Operand]:
    whole = net.operand(0).shape
    axis = net.axis(net.integer("axis", 0), len(whole))
    count = len(net.node.outputs)
    if net.has_input(1):
        sizes = net.integers(1, "sizes")
    else:
        most = -(-whole[axis] // count)
        sizes = tuple(min(most, whole[axis] - i * most) for i in range(count))
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != whole[axis]:
        raise net.error(f"it splits {whole[axis]} into {list(sizes)}", f"expected {count} parts")
    parts = []
    for i, size in enumerate(sizes):
        begin = [0] * len(whole)
        begin[axis] = sum(sizes[:i])
        parts.append(_taken(net, begin, [1] * len(whole), (*whole[:axis], size, *whole[axis + 1 :])))
    return parts


def _concat(net: Network) -> Operand:
    operands = [net.operand(i) for i in range(len(net.node.inputs))]
    if all(isinstance(o, Constant) for o in operands):
        return folded(net)
    first = operands[0].shape
    rank = len(first)
    axis = net.axis(net.integer("axis", 0), rank)
    for operand in operands:
        other = operand.shape
        if len(other) != rank or any(
            a != b for d, (a, b) in enumerate(zip(first, other, strict=True)) if d != axis
        ):
            raise net.error(
                f"its inputs are {dims(first)} and {dims(other)}",
                f"expected other sizes along axis {axis} only",
            )
    shape = (*first[:axis], sum(o.shape[axis] for o in operands), *first[axis + 1 :])
    values = [net.real(i) for i in range(len(operands))]

    def build(output: Output) -> Stored:
        perm = net.order_of(max(values, key=lambda v: math.prod(v.shape)))
        parts = []
        for value in values:
            rescaled = Output(output.quant, f"{output.name}/{net.tensors[value.tensor].name}")
            parts.append(net.in_order(net.requantised(value, rescaled), value.shape, perm))
        memory = tuple(shape[p] for p in perm)
        attrs = ConcatAttrs(perm.index(axis))
        index = net.emit(OpKind.CONCATENATION, parts, attrs, memory, output.quant, output.name)
        return net.stored(index, shape, perm)

    return net.pending(shape, build)


# The arithmetic of shapes


def _constant(net: Network) -> Operand:
    value = net.attribute("value")
    if isinstance(value, np.ndarray):
        return Constant(value)
    for name, dtype in (
        ("value_float", np.float32),
        ("value_int", np.int64),
        ("value_floats", np.float32),
        ("value_ints", np.int64),
    ):
        if (number := net.attribute(name)) is not None and not isinstance(number, str | np.ndarray):
            try:
                with np.errstate(over="ignore"):
                    return Constant(np.array(number, dtype))
            except (OverflowError, ValueError):
                break
    raise net.error(f"its attributes are {', '.join(net.node.attributes)}", "expected a value")


def _shape(net: Network) -> Operand:
    shape = net.operand(0).shape
    start, end = net.integer("start", 0), net.integer("end", len(shape))
    return Constant(np.array(shape[start:end], np.int64))


def folded(net: Network) -> Operand:
    """Compute on constant integers."""
    arrays = [net.constant(i, "input") for i in range(len(net.node.inputs)) if net.has_input(i)]
    if not arrays or any(a.size > _MAX_FOLDED for a in arrays):
        raise net.unsupported("it computes with large constants", "expected shapes only", "fold them")
    try:
        with np.errstate(all="ignore"):
            result = _fold(net, arrays)
    except (ValueError, IndexError, OverflowError, ZeroDivisionError, TypeError) as error:
        raise net.error(f"it cannot be computed: {error}", "expected operands that fit") from error
    if result.size > _MAX_FOLDED:
        raise net.unsupported("it computes large constants", "expected shapes only", "fold them")
    return Constant(result)


def _fold(net: Network, arrays: Sequence[Array]) -> Array:
    first = arrays[0]
    match net.node.op:
        case "Add":
            return np.asarray(first + arrays[1])
        case "Sub":
            return np.asarray(first - arrays[1])
        case "Mul":
            return np.asarray(first * arrays[1])
        case "Div":
            return np.asarray(first // arrays[1])
        case "Gather":
            return np.asarray(np.take(first, arrays[1], axis=net.integer("axis", 0)))
        case "Concat":
            return np.concatenate(arrays, axis=net.integer("axis", 0))
        case "Cast":
            types = {1: np.float32, 6: np.int32, 7: np.int64}
            to = net.integer("to", 0)
            if to not in types:
                raise ValueError(f"type {to}")
            return first.astype(types[to])
        case "Slice":
            starts, ends = (a.reshape(-1).tolist() for a in arrays[1:3])
            axes = arrays[3].reshape(-1).tolist() if len(arrays) > 3 else list(range(len(starts)))
            steps = arrays[4].reshape(-1).tolist() if len(arrays) > 4 else [1] * len(starts)
            slices = [slice(None)] * first.ndim
            for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
                slices[axis] = slice(start, end, step)
            return np.ascontiguousarray(first[tuple(slices)])
    raise ValueError(net.node.op)


OPERATORS = {
    "Reshape": OnnxOperator(_reshape),
    "Flatten": OnnxOperator(_flatten),
    "Squeeze": OnnxOperator(_squeeze),
    "Unsqueeze": OnnxOperator(_unsqueeze),
    "Transpose": OnnxOperator(_transpose),
    "DepthToSpace": OnnxOperator(_blocks, "channels"),
    "SpaceToDepth": OnnxOperator(_blocks, "channels"),
    "Identity": OnnxOperator(_identity, "any"),
    "Dropout": OnnxOperator(_identity, "any"),
    "Pad": OnnxOperator(_pad, "any"),
    "Resize": OnnxOperator(_resize, "channels"),
    "Constant": OnnxOperator(_constant),
    "Shape": OnnxOperator(_shape),
    "Gather": OnnxOperator(_gather, "any"),
    "Concat": OnnxOperator(_concat, "any"),
    "Split": OnnxOperator(_split, "any"),
    "Cast": OnnxOperator(folded),
    "Slice": OnnxOperator(_slice, "any"),
}
