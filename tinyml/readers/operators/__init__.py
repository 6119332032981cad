"""The operators that can be read, by their TFLite names, one file per family."""

from __future__ import annotations

from collections.abc import Mapping

from tinyml.readers.operators import (
    binary,
    blocks,
    elementwise,
    gathering,
    integer,
    joining,
    layers,
    layout,
    lookup,
    loops,
    matrix,
    recurrent,
    reduction,
    slicing,
)
from tinyml.readers.operators.constants import COMPUTED, compute
from tinyml.readers.operators.reading import OperatorReader, Read

__all__ = ["COMPUTED", "READERS", "OperatorReader", "Read", "compute"]

READERS: Mapping[str, OperatorReader] = {
    **binary.READERS,
    **layers.READERS,
    **blocks.READERS,
    **elementwise.READERS,
    **gathering.READERS,
    **integer.READERS,
    **joining.READERS,
    **layout.READERS,
    **lookup.READERS,
    **loops.READERS,
    **matrix.READERS,
    **reduction.READERS,
    **recurrent.READERS,
    **slicing.READERS,
}
