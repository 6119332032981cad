"""Operators that move blocks of an image: SPACE_TO_DEPTH, SPACE_TO_BATCH_ND and their inverses."""

from __future__ import annotations

from tinyml.graph import BlockAttrs, DType, OpKind
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.operators.reading import MOVED_TYPES, OperatorReader, Read
from tinyml.readers.operators.slicing import moved
from tinyml.readers.tensors import ModelTensors, dims


def _depth(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 1, 1)
    x = moved(model, op, inputs[0])
    block = op.options["BlockSize"]
    if len(x.shape) != 4 or block < 1:
        raise model.error(
            f"it has an input of {dims(x.shape)} and blocks of {block}", "expected 4 dimensions, NHWC"
        )
    n, h, w, c = x.shape
    if op.name == "SPACE_TO_DEPTH":
        fits, shape = h % block == w % block == 0, (n, h // block, w // block, c * block * block)
    else:
        fits, shape = c % (block * block) == 0, (n, h * block, w * block, c // (block * block))
    if not fits:
        raise model.error(
            f"its blocks of {block}x{block} do not fit {dims(x.shape)}", "expected whole blocks"
        )
    return Read(inputs, BlockAttrs((block, block)), shape)


def _batch(model: ModelTensors, op: RawOperator) -> Read:
    inputs = model.inputs(op, 3, 3)
    x = moved(model, op, inputs[0])
    spatial = len(x.shape) - 2
    if spatial not in (1, 2):
        raise model.error(f"its input is {dims(x.shape)}", "expected 3 or 4 dimensions")
    to_batch = op.name == "SPACE_TO_BATCH_ND"
    block = model.integers(inputs[1], "block shape", spatial)
    data = model.constant(inputs[2], DType.INT32, "paddings" if to_batch else "crops")
    if data.shape != (spatial, 2) or data.min() < 0 or min(block) < 1:
        raise model.error(
            f"it has blocks {block} and edges of shape {dims(data.shape)}",
            f"expected {spatial} positive numbers and {spatial}x2 numbers from 0",
        )
    edges = [(int(before), int(after)) for before, after in data]
    n = x.shape[0]
    sizes = []
    for size, b, (before, after) in zip(x.shape[1:-1], block, edges, strict=True):
        padded = size + before + after
        out = padded // b if to_batch else size * b - before - after
        blocks = n * b if to_batch else n // b
        if (padded % b if to_batch else n % b) or out <= 0:
            raise model.error(
                f"its blocks of {block} with edges {edges} do not fit {dims(x.shape)}",
                "expected whole blocks",
            )
        n = blocks
        sizes.append(out)
    block += [1] * (2 - spatial)
    edges += [(0, 0)] * (2 - spatial)
    return Read(inputs[:1], BlockAttrs((block[0], block[1]), (edges[0], edges[1])), (n, *sizes, x.shape[-1]))


READERS = {
    "BATCH_TO_SPACE_ND": OperatorReader(
        OpKind.BATCH_TO_SPACE_ND, _batch, 1, input_types=MOVED_TYPES, output_types=MOVED_TYPES
    ),
    "DEPTH_TO_SPACE": OperatorReader(
        OpKind.DEPTH_TO_SPACE, _depth, 1, ("DepthToSpaceOptions", "BlockSize"), MOVED_TYPES, MOVED_TYPES
    ),
    "SPACE_TO_BATCH_ND": OperatorReader(
        OpKind.SPACE_TO_BATCH_ND, _batch, 1, input_types=MOVED_TYPES, output_types=MOVED_TYPES
    ),
    "SPACE_TO_DEPTH": OperatorReader(
        OpKind.SPACE_TO_DEPTH, _depth, 1, ("SpaceToDepthOptions", "BlockSize"), MOVED_TYPES, MOVED_TYPES
    ),
}
