"""What a kernel is: one row per C kernel, read by selection, templates, tests, benchmarks and docs.

A row says which operators the kernel accepts and how an operator is *lowered* to it: constants in
flash, literals of the call, scratch bytes, and the access map the planner needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from tinyml.access import AccessMap
from tinyml.graph import Array, Graph, Op, OpKind, Tensor

Value = TypeVar("Value")


class Isa(StrEnum):
    """Instruction sets that kernels are written for."""

    C = "c"  # portable C11, any core and compiler
    DSP = "dsp"  # Armv7E-M and Armv8-M with DSP: M4, M7, M33 (and M55)
    MVE = "mve"  # Helium: M55, M85


_IMAGE_BY_IMAGE = frozenset(
    (
        OpKind.CONV_2D,
        OpKind.DEPTHWISE_CONV_2D,
        OpKind.TRANSPOSE_CONV,
        OpKind.AVERAGE_POOL_2D,
        OpKind.MAX_POOL_2D,
        OpKind.RESIZE_NEAREST_NEIGHBOR,
    )
)
"""Operators whose kernels compute one image; a batch is one call for each."""


@dataclass(frozen=True, slots=True)
class OpContext:
    """An operator in its graph, as predicates and lowering see it.

    Args:
        graph: the graph; for a strip of an image, one whose activations are as wide as the strip.
        op: the operator.
        parameters: what has been derived from the operator's weights, biases and scales (`once`), or decided
            beforehand (`select`, for little code). Shared by the contexts of one operator, as these do not
            depend on the size of the image.
    """

    graph: Graph
    op: Op
    parameters: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, derive: Callable[[], Value]) -> Value:
        """Return what `derive` makes of the parameters, called the first time only."""
        if name not in self.parameters:
            self.parameters[name] = derive()
        value: Value = self.parameters[name]
        return value

    def input(self, i: int) -> Tensor:
        """Return input tensor i; raises IndexError where it is absent (−1)."""
        index = self.op.inputs[i]
        if index < 0:
            raise IndexError(i)
        return self.graph.tensors[index]

    def optional_input(self, i: int) -> Tensor | None:
        """Return input tensor i, or None where the operator has none."""
        if i >= len(self.op.inputs) or self.op.inputs[i] < 0:
            return None
        return self.graph.tensors[self.op.inputs[i]]

    @property
    def output(self) -> Tensor:
        """The (first) output tensor."""
        return self.graph.tensors[self.op.outputs[0]]

    @property
    def images(self) -> int:
        """The images that the operator works on one after another: 1 for operators that are not of images."""
        one_by_one = self.op.kind in _IMAGE_BY_IMAGE and len(self.output.shape) == 4
        return self.output.shape[0] if one_by_one else 1

    def one_image(self) -> OpContext:
        """Return the operator on one image of its batch."""
        tensors = list(self.graph.tensors)
        for t in (*self.activation_inputs, *self.op.outputs):
            tensors[t] = dataclasses.replace(tensors[t], shape=(1, *tensors[t].shape[1:]))
        return OpContext(self.graph.replace(tensors=tuple(tensors)), self.op, self.parameters)

    @property
    def activation_inputs(self) -> tuple[int, ...]:
        """Tensor indices of the inputs that are not constants, in operator order."""
        return self.graph.activations(self.op)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """An array emitted to flash and passed to the kernel by pointer."""

    name: str  # C identifier suffix: weights, bias, multiplier, shift, stream, ...
    ctype: str  # element type in C: int8_t, int32_t, uint8_t ...
    values: Array
    comment: str = ""


@dataclass(frozen=True, slots=True)
class RowLoop:
    """The loop of a row kernel: one call per output row, with `kernel_h` input row pointers.

    The rows may be computed from the first to the last or the other way round (Stage.bottom_up).
    Row r of the output reads input rows r·stride_h − pad_top + k·dilation_h, k < kernel_h; a row
    outside [0, in_rows) is replaced by a row of `pad_value` (the input's zero point). Where
    `pad_value` is None its pointer is NULL instead, and the kernel leaves the row out (pooling) or knows what
    stands for it.

    With a `step` above 1, which only dilation 1 allows, a call gets the rows of `step` output rows, first
    to last, and is told how many of these to compute: fewer in the last call. The access map's granule
    is the same number.

    With an `upscale` u (transposed convolution; step and strides are 1 then), output row r reads input rows
    ⌊(r − pad_top)/u⌋ + k, and a call is told (r − pad_top) mod u behind the output.
    """

    kernel_h: int
    stride_h: int
    dilation_h: int
    pad_top: int
    in_rows: int
    in_row_bytes: int
    out_rows: int
    out_row_bytes: int
    pad_value: int | None
    step: int = 1
    upscale: int | None = None

    @property
    def pointers(self) -> int:
        """Row pointers that a call gets."""
        return (self.step - 1) * self.stride_h + self.kernel_h

    def reaches_outside(self, row: int) -> bool:
        """Whether any of the pointers that the call for output row `row` gets lies outside the image."""
        start = row * self.stride_h - self.pad_top
        if self.upscale is not None:
            start = (row - self.pad_top) // self.upscale
        return start < 0 or start + (self.pointers - 1) * self.dilation_h >= self.in_rows

    @property
    def reads_outside(self) -> bool:
        """Whether any of the pointers lies outside the image."""
        short = -self.out_rows % self.step  # rows that the last call is not asked for
        last = (
            (self.out_rows - 1 + short) * self.stride_h - self.pad_top + (self.kernel_h - 1) * self.dilation_h
        )
        if self.upscale is not None:
            last = (self.out_rows - 1 - self.pad_top) // self.upscale + self.kernel_h - 1
        return self.pad_top > 0 or last >= self.in_rows


@dataclass(frozen=True, slots=True)
class Lowered:
    """An operator lowered to one kernel.

    The C call is, in this order: inputs, output, constants, scratch (only if scratch_bytes > 0),
    literals. With `loop`, the input is `const int8_t *const *rows` (`loop.pointers` of them) and the
    output points at the current row, followed by the number of rows where `loop.step` is above 1;
    without, they are the whole tensors, one pointer per activation input, or an array of these pointers
    (`Kernel.input_array`). With `batches` above 1 that is the call for one image, which is made for each:
    the access map's rows are the images then.

    `per_column` names the literal that says how much of a row to compute, in proportion to its columns, where
    a smaller number computes the first of them alone; None where a call computes all.
    """

    access: AccessMap
    constants: tuple[Constant, ...] = ()
    literals: tuple[tuple[str, int], ...] = ()  # (parameter name, value), each an int32_t
    scratch_bytes: int = 0
    loop: RowLoop | None = None
    macs: int = 0
    updates: tuple[int, ...] = ()  # activation inputs that are states, which the kernel writes
    batches: int = 1
    per_column: str | None = None


Predicate = Callable[[OpContext], bool]
"""True where the operator is acceptable. Its docstring is the sentence users read."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One C kernel. `symbol` is the C function and names its file, runtime_c/kernels/<symbol>.h.

    A function that computes several operators has a row for each.

    Args:
        symbol: the C function.
        op: the operator that it computes.
        isa: the instructions that it needs.
        lower: turns an operator into the call.
        accepts: what an operator must be like.
        row_in_place: a call has read a channel of all its input rows before it writes that channel of any
            output row, so the output rows may lie on input rows of as many channels.
        less_scratch: turns a call into one that takes less scratch and more instructions.
        input_array: it takes any number of inputs, as an array of pointers.
    """

    symbol: str
    op: OpKind
    isa: Isa
    lower: Callable[[OpContext], Lowered]
    accepts: tuple[Predicate, ...] = field(default=())
    row_in_place: bool = False
    less_scratch: Callable[[Lowered], Lowered] | None = None
    input_array: bool = False

    def refusals(self, context: OpContext) -> list[str]:
        """Return the sentences of the predicates that the operator breaks."""
        return [
            (predicate.__doc__ or predicate.__name__).strip()
            for predicate in self.accepts
            if not predicate(context)
        ]
