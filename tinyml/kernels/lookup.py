"""Functions of one int8 value in portable C: a table of 256 bytes in flash."""

from __future__ import annotations

import numpy as np

from tinyml.graph import DType, LookupAttrs, OpKind
from tinyml.kernels.geometry import elementwise_access
from tinyml.kernels.predicates import one_activation
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def bytes_to_bytes(context: OpContext) -> bool:
    """Input and output must be int8 or bool."""
    return {context.input(0).dtype, context.output.dtype} <= {DType.INT8, DType.BOOL}


def _table(context: OpContext) -> Constant:
    assert isinstance(context.op.attrs, LookupAttrs)
    # The byte of a negative number comes after that of a positive one.
    values = np.roll(np.array(context.op.attrs.table, np.int8), 128)
    return Constant("table", "int8_t", values, "the outputs of the bytes 0 to 255")


def _lower(context: OpContext) -> Lowered:
    shape = context.output.shape
    return Lowered(
        access=elementwise_access(shape, [shape]),
        constants=(context.once("table", lambda: _table(context)),),
        literals=(("elements", context.output.elements),),
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel("tm_lookup_s8_c", OpKind.LOOKUP, Isa.C, _lower, (one_activation, bytes_to_bytes)),
)
