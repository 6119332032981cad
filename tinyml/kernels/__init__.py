"""The registry: every C kernel, preferred first within one operator and instruction set."""

from tinyml.kernels import (
    binary,
    convolution,
    dense,
    depthwise,
    dsp,
    dsp_wide,
    elementwise,
    integer,
    layout,
    lookup,
    matmul,
    movement,
    mve,
    pooling,
    quantization,
    recurrent,
    reduction,
    softmax,
    transpose_conv,
    wide,
)
from tinyml.kernels.registry import Kernel

__all__ = ["KERNELS", "Kernel"]

KERNELS: tuple[Kernel, ...] = (
    *mve.KERNELS,
    *dsp.KERNELS,
    *dsp_wide.KERNELS,
    *binary.KERNELS,
    *matmul.DSP_KERNELS,
    *transpose_conv.DSP_KERNELS,
    *convolution.KERNELS,
    *depthwise.KERNELS,
    *dense.KERNELS,
    *elementwise.KERNELS,
    *integer.KERNELS,
    *pooling.KERNELS,
    *reduction.KERNELS,
    *softmax.KERNELS,
    *transpose_conv.KERNELS,
    *layout.KERNELS,
    *recurrent.KERNELS,
    *lookup.KERNELS,
    *matmul.KERNELS,
    *movement.KERNELS,
    *quantization.KERNELS,
    *wide.KERNELS,
)
