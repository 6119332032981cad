"""The registry: every C kernel, preferred first within one operator and instruction set."""

from tinyml.kernels import (
    binary,
    convolution,
    dense,
    depthwise,
    dsp,
    elementwise,
    layout,
    lookup,
    movement,
    mve,
    pooling,
    quantization,
    recurrent,
    reduction,
    softmax,
)
from tinyml.kernels.registry import Kernel

__all__ = ["KERNELS", "Kernel"]

KERNELS: tuple[Kernel, ...] = (
    *mve.KERNELS,
    *dsp.KERNELS,
    *binary.KERNELS,
    *convolution.KERNELS,
    *depthwise.KERNELS,
    *dense.KERNELS,
    *elementwise.KERNELS,
    *pooling.KERNELS,
    *reduction.KERNELS,
    *softmax.KERNELS,
    *layout.KERNELS,
    *recurrent.KERNELS,
    *lookup.KERNELS,
    *movement.KERNELS,
    *quantization.KERNELS,
)
