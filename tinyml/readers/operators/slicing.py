"""Operators that take a regular part: SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, UNPACK, REVERSE_V2.

All become SLICEs of the graph, those with several outputs one per output.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinyml.graph import DType, OpKind, SliceAttrs, Tensor
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import MOVED, MOVED_TYPES, OperatorReader, Read
from tinyml.readers.tensors import ModelTensors, dims

_MASKS = ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask", "Offset")


def moved(model: ModelTensors, op: RawOperator, index: int) -> Tensor:
    """Return an input whose elements are only moved, checked to be of the outputs' type."""
    x = model.activation(index, MOVED)
    for output in op.outputs:
        model.activation(output, (x.dtype,))
    return x


def dimension(model: ModelTensors, axis: int, shape: Sequence[int], extra: int = 0) -> int:
    """Return a dimension that may be counted from the end; `extra` ones may be beyond the shape's."""
    rank = len(shape) + extra
    if not -rank <= axis < rank:
        raise model.error(f"its axis is {axis}", f"expected a dimension of {dims(shape)}")
    return axis % rank


def _plain(x: Tensor, begin: Sequence[int], steps: Sequence[int] = ()) -> SliceAttrs:
    rank = len(x.shape)
    return SliceAttrs(tuple(begin), tuple(steps) or (1,) * rank, tuple(range(rank)))


def _slice(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 3, 3)
    x = moved(model, op, inputs[0])
    rank = len(x.shape)
    begin, size = model.integers(inputs[1], "begin", rank), model.integers(inputs[2], "size", rank)
    size = [n - b if s == -1 else s for n, b, s in zip(x.shape, begin, size, strict=True)]
    if any(b < 0 or s <= 0 or b + s > n for n, b, s in zip(x.shape, begin, size, strict=True)):
        raise model.error(f"it takes {size} from {begin}", f"expected a part of {dims(x.shape)}")
    return Read(inputs[:1], _plain(x, begin), tuple(size))


def _strided_slice(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 4, 4)
    x = moved(model, op, inputs[0])
    begin = model.integers(inputs[1], "begin")
    count = len(begin)
    end, step = (
        model.integers(index, what, count) for index, what in zip(inputs[2:], ("end", "strides"), strict=True)
    )
    begin_mask, end_mask, ellipsis, new_axis, shrink = (
        {i for i in range(count) if op.options[mask] >> i & 1} for mask in _MASKS[:5]
    )
    if len(ellipsis) > 1:
        raise model.error("its ellipsis mask has several bits", "expected at most one")
    new_axis -= ellipsis
    spread = len(x.shape) - (count - len(ellipsis) - len(new_axis))  # dimensions that an ellipsis stands for
    if spread < 0:
        raise model.error(
            f"it has {count} begins for an input of {dims(x.shape)}", "expected at most as many as dimensions"
        )
    if ellipsis and spread == 0:  # TensorFlow Lite takes it for one dimension all the same
        raise model.error("its ellipsis stands for no dimension", "expected one that stands for some")
    starts: list[int] = []
    steps: list[int] = []
    axes: list[int] = []
    shape: list[int] = []

    def whole(dimensions: int) -> None:
        for _ in range(dimensions):
            axes.append(len(shape))
            shape.append(x.shape[len(starts)])
            starts.append(0)
            steps.append(1)

    for i in range(count):
        if i in ellipsis:
            whole(spread)
        elif i in new_axis:
            shape.append(1)
        else:
            n = x.shape[len(starts)]
            if step[i] == 0:
                raise model.error("it has a stride of 0", "expected strides other than 0")
            stop = begin[i] + end[i] if op.options["Offset"] else end[i]
            first, size = _range(
                n, None if i in begin_mask else begin[i], None if i in end_mask else stop, step[i]
            )
            if i in shrink:
                first, size = (begin[i] if i not in begin_mask else 0), 1
                first += n if first < 0 else 0
            if size <= 0 or not 0 <= first < n:
                raise model.error(
                    f"it takes nothing of dimension {len(starts)}, from {begin[i]} to {stop} by {step[i]}",
                    f"expected a part of {dims(x.shape)}",
                )
            axes.append(-1 if i in shrink else len(shape))
            if i not in shrink:
                shape.append(size)
            starts.append(first)
            steps.append(1 if size == 1 else step[i])
    whole(len(x.shape) - len(starts))
    return Read(inputs[:1], SliceAttrs(tuple(starts), tuple(steps), tuple(axes)), tuple(shape))


def _range(n: int, begin: int | None, end: int | None, step: int) -> tuple[int, int]:
    """Return (first index, number of indices) as Python slices a dimension of n."""
    taken = range(n)[slice(begin, end, step)]
    return (taken[0], len(taken)) if taken else (0, 0)


def _parts(model: ModelTensors, op: RawOperator, index: int, axis: int, sizes: Sequence[int]) -> list[Read]:
    """Return one SLICE per output, side by side along an axis."""
    x = model.tensor(index)
    if len(sizes) != len(op.outputs) or sum(sizes) != x.shape[axis] or any(size <= 0 for size in sizes):
        raise model.error(
            f"it splits {dims(x.shape)} along dimension {axis} into {list(sizes)[:16]}",
            f"expected {len(op.outputs)} parts of {x.shape[axis]} in all",
        )
    reads = []
    at = 0
    for size in sizes:
        begin = tuple(at if d == axis else 0 for d in range(len(x.shape)))
        shape = tuple(size if d == axis else n for d, n in enumerate(x.shape))
        reads.append(Read((index,), _plain(x, begin), shape))
        at += size
    return reads


def _split(model: ModelTensors, op: RawOperator) -> list[Read]:
    axis_input, index = model.inputs(op, 2, 2)
    x = moved(model, op, index)
    (axis,) = model.integers(axis_input, "axis", 1)
    axis = dimension(model, axis, x.shape)
    count = op.options["NumSplits"]
    if count != len(op.outputs) or x.shape[axis] % count:
        raise model.error(
            f"it splits {x.shape[axis]} into {count} for {len(op.outputs)} outputs", "expected equal parts"
        )
    return _parts(model, op, index, axis, (x.shape[axis] // count,) * count)


def _split_v(model: ModelTensors, op: RawOperator) -> list[Read]:
    index, size_input, axis_input = model.inputs(op, 3, 3)
    x = moved(model, op, index)
    (axis,) = model.integers(axis_input, "axis", 1)
    axis = dimension(model, axis, x.shape)
    dtype = DType.INT64 if model.tensor(size_input).dtype is DType.INT64 else DType.INT32
    sizes = [int(size) for size in model.constant(size_input, dtype, "sizes").reshape(-1)]
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    return _parts(model, op, index, axis, sizes)


def _unpack(model: ModelTensors, op: RawOperator) -> list[Read]:
    (index,) = model.inputs(op, 1, 1)
    x = moved(model, op, index)
    axis = dimension(model, op.options["Axis"], x.shape)
    if not len(op.outputs) == op.options["Num"] == x.shape[axis]:
        raise model.error(
            f"it unpacks {op.options['Num']} of {dims(x.shape)} along dimension {axis} "
            f"into {len(op.outputs)} outputs",
            "expected all of them",
        )
    rank = len(x.shape)
    axes = tuple(-1 if d == axis else d - (d > axis) for d in range(rank))
    shape = tuple(n for d, n in enumerate(x.shape) if d != axis)
    return [
        Read(
            (index,), SliceAttrs(tuple(i if d == axis else 0 for d in range(rank)), (1,) * rank, axes), shape
        )
        for i in range(x.shape[axis])
    ]


def _reverse(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 2, 2)
    x = moved(model, op, inputs[0])
    turned = {dimension(model, axis, x.shape) for axis in model.integers(inputs[1], "axes")}
    begin = [n - 1 if d in turned else 0 for d, n in enumerate(x.shape)]
    steps = [-1 if d in turned and n > 1 else 1 for d, n in enumerate(x.shape)]
    return Read(inputs[:1], _plain(x, begin, steps), x.shape)


def _reader(read: object, options: tuple[str, ...] = (), data_inputs: int = 1) -> OperatorReader:
    return OperatorReader(OpKind.SLICE, read, data_inputs, options, MOVED_TYPES, MOVED_TYPES)  # type: ignore[arg-type]


READERS = {
    "REVERSE_V2": _reader(_reverse),
    "SLICE": _reader(_slice),
    "SPLIT": _reader(_split, ("SplitOptions", "NumSplits"), data_inputs=0),
    "SPLIT_V": _reader(_split_v),
    "STRIDED_SLICE": _reader(_strided_slice, ("StridedSliceOptions", *_MASKS)),
    "UNPACK": _reader(_unpack, ("UnpackOptions", "Num", "Axis")),
}
