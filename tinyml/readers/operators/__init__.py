"""The operators that can be read, by their TFLite names, one file per family."""

from __future__ import annotations

from collections.abc import Mapping

from tinyml.readers.operators import (
    blocks,
    elementwise,
    gathering,
    joining,
    layers,
    layout,
    reduction,
    slicing,
)
from tinyml.readers.operators.constants import COMPUTED, compute
from tinyml.readers.operators.reading import OperatorReader, Read

__all__ = ["COMPUTED", "READERS", "OperatorReader", "Read", "compute"]

READERS: Mapping[str, OperatorReader] = {
    **layers.READERS,
    **blocks.READERS,
    **elementwise.READERS,
    **gathering.READERS,
    **joining.READERS,
    **layout.READERS,
    **reduction.READERS,
    **slicing.READERS,
}
