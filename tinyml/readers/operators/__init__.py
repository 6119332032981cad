"""The operators that can be read, by their TFLite names, one file per family."""

from __future__ import annotations

from collections.abc import Mapping

from tinyml.readers.operators import binary, elementwise, layers, layout, lookup, recurrent, reduction
from tinyml.readers.operators.reading import OperatorReader, Read

__all__ = ["READERS", "OperatorReader", "Read"]

READERS: Mapping[str, OperatorReader] = {
    **binary.READERS,
    **layers.READERS,
    **elementwise.READERS,
    **layout.READERS,
    **lookup.READERS,
    **reduction.READERS,
    **recurrent.READERS,
}
