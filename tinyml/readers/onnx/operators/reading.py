"""How an operator of an ONNX file is read: one entry per operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tinyml.readers.onnx.network import Network, Operand


@dataclass(frozen=True, slots=True)
class OnnxOperator:
    """How a node becomes operators of the graph.

    Args:
        read: returns the value of the first output of `Network.node`, or of the first ones; what others hold
            cannot be read.
        order: what it wants of an image: "any" order, "channels" last, or the "file"'s. It decides in
            which order the model's inputs are.
    """

    read: Callable[[Network], Operand | Sequence[Operand]]
    order: Literal["any", "channels", "file"] = "file"
