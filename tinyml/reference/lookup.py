"""Functions of one int8 value, by their tables."""

from __future__ import annotations

import numpy as np

from tinyml.graph import Array, Graph, LookupAttrs, Op, OpKind


def _lookup(graph: Graph, op: Op, operands: list[Array]) -> Array:
    assert isinstance(op.attrs, LookupAttrs)
    return np.array(op.attrs.table, np.int8)[operands[0].astype(np.int64) + 128]


RUNNERS = {OpKind.LOOKUP: _lookup}
