"""Tensors that need no memory of their own: other shapes, parts and joins of what is stored already.

A RESHAPE is its input. A SLICE whose elements lie one behind the other is a place in its input. A
CONCATENATION along the first dimension above one is its inputs side by side: their producers write them
there. Every byte is still written by one operator, once, so that nothing is overwritten among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tinyml import numerics
from tinyml.graph import ConcatAttrs, Graph, Op, OpKind, SliceAttrs

ALIGNMENT = 4
"""Bytes: where tensors start, and so where those inside another one do."""


@dataclass(slots=True)
class Group:
    """Tensors that share memory: their offsets in bytes by tensor index, the widest first."""

    size_bytes: int
    offsets: dict[int, int]
    movable: bool  # False where it holds a model input or a state, whose place is its own


@dataclass(slots=True)
class Aliases:
    """Which tensors share memory, found operator by operator.

    Call `store` or `alias` for the operators in execution order; model inputs and states are there at first.
    """

    graph: Graph
    _group_of: dict[int, Group] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for tensor in self.graph.sources:
            self.store(tensor)
            self._group_of[tensor].movable = False

    def group(self, tensor: int) -> Group:
        """Return the group of a tensor."""
        return self._group_of[tensor]

    def stored(self, tensor: int) -> bool:
        """Whether the tensor has a place."""
        return tensor in self._group_of

    def store(self, tensor: int) -> None:
        """Give a tensor memory of its own."""
        self._group_of[tensor] = Group(self.graph.tensors[tensor].size_bytes, {tensor: 0}, movable=True)

    def alias(self, op: Op) -> bool:
        """Put an operator's output into its input, or its inputs into its output; False where it cannot."""
        sources = self.graph.activations(op)
        if len(sources) != len([t for t in op.inputs if t >= 0]):
            return False
        if op.kind is OpKind.CONCATENATION:
            return self._join(op)
        offset = 0 if op.kind is OpKind.RESHAPE else slice_offset(self.graph, op)
        if offset is None or len(sources) != 1:
            return False
        group = self._group_of[sources[0]]
        at = group.offsets[sources[0]] + offset
        if at % ALIGNMENT:
            return False
        group.offsets[op.outputs[0]] = at
        self._group_of[op.outputs[0]] = group
        return True

    def _join(self, op: Op) -> bool:
        output, attrs = self.graph.tensors[op.outputs[0]], op.attrs
        assert isinstance(attrs, ConcatAttrs)
        parts = [self._group_of[t] for t in op.inputs]
        places = []
        at = 0
        for tensor in op.inputs:
            places.append(at)
            at += self.graph.tensors[tensor].size_bytes
        if (
            math.prod(output.shape[: attrs.axis]) != 1
            or len({id(part) for part in parts}) != len(parts)
            or any(place % ALIGNMENT for place in places)
            or any(
                not part.movable or part.size_bytes != self.graph.tensors[tensor].size_bytes
                for part, tensor in zip(parts, op.inputs, strict=True)
            )
        ):
            return False
        whole = Group(output.size_bytes, {op.outputs[0]: 0}, movable=True)
        for part, place in zip(parts, places, strict=True):
            whole.offsets |= {t: offset + place for t, offset in part.offsets.items()}
        self._group_of.update(dict.fromkeys(whole.offsets, whole))
        return True


def slice_offset(graph: Graph, op: Op) -> int | None:
    """Return where in a SLICE's input its output begins, in bytes; None where it is not one run of them."""
    if not isinstance(op.attrs, SliceAttrs):
        return None
    x, sizes = graph.tensors[op.inputs[0]], numerics.slice_sizes(op, graph.tensors[op.outputs[0]].shape)
    offset = 0
    whole = False  # behind a dimension of which several indices are taken, all are
    pitch = x.elements
    for begin, stride, size, dim in zip(op.attrs.begin, op.attrs.steps, sizes, x.shape, strict=True):
        pitch //= dim
        offset += begin * pitch
        if whole and size != dim:
            return None
        if size > 1 and stride != 1:
            return None
        whole = whole or size > 1
    return offset * x.dtype.size_bytes
