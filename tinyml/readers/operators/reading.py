"""How an operator of a model file is read: one entry per TFLite operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinyml.graph import Attrs, DType, OpKind
from tinyml.readers.flatbuffer import RawOperator
from tinyml.readers.tensors import ModelTensors

MOVED = (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL, DType.FLOAT32)
MOVED_TYPES = tuple(dtype.value for dtype in MOVED)
"""Element types that operators may have which only move elements."""


@dataclass(frozen=True, slots=True)
class Read:
    """One operator of the graph.

    Args:
        inputs: tensors it computes from, −1 where an optional one is absent. Those that only carry
            attributes in the file (axes, paddings, sizes) are left out.
        attrs: its attributes.
        shape: what its output's shape must be; compared with the declared one.
        kind: where it is another than the entry's.
    """

    inputs: tuple[int, ...]
    attrs: Attrs
    shape: tuple[int, ...]
    kind: OpKind | None = None


@dataclass(frozen=True, slots=True)
class OperatorReader:
    """How a TFLite operator becomes operators of the graph.

    Args:
        kind: of the graph's operator.
        read: checks the operands and returns the operator, or one per output where the file's operator
            has several (SPLIT becomes one SLICE per part): the graph's have exactly one. None where nobody
            reads the output, or it is a constant.
        data_inputs: how many of the inputs, from `first_data` on, are data and have one of `input_types`.
        options: the table of the operator's options in the schema, and the fields that are read.
        input_types: element types of the data inputs, as the schema spells them.
        output_types: element types of the outputs.
        first_data: position of the first data input.
        other_types: what to know, and to do, about any other type.
    """

    kind: OpKind
    read: Callable[[ModelTensors, RawOperator], Read | Sequence[Read | None]]
    data_inputs: int
    options: tuple[str, ...] = ()
    input_types: tuple[str, ...] = ("int8",)
    output_types: tuple[str, ...] = ("int8",)
    first_data: int = 0
    other_types: str = ""

    def data(self, inputs: Sequence[int]) -> Sequence[int]:
        """Return those of an operator's inputs that are data."""
        return inputs[self.first_data : self.first_data + self.data_inputs]
