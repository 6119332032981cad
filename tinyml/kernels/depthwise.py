"""DEPTHWISE_CONV_2D in portable C, row by row."""

from __future__ import annotations

from tinyml.graph import OpKind
from tinyml.kernels.convolution import lower_window
from tinyml.kernels.predicates import (
    constant_int32_bias,
    constant_symmetric_weights,
    has_rank,
    int8_activations,
    one_activation,
    single_image,
    window_attrs,
)
from tinyml.kernels.registry import Isa, Kernel, Lowered, OpContext


def whole_depth_multiplier(context: OpContext) -> bool:
    """The output channels must be a multiple of the input channels."""
    return has_rank(context, 4, 4) and context.input(1).shape[3] % context.input(0).shape[3] == 0


def lower_depthwise(context: OpContext) -> Lowered:
    """Lower to a row kernel of the portable kind."""
    attrs = window_attrs(context)
    return lower_window(context, context.output.elements * attrs.kernel_h * attrs.kernel_w)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_dwconv2d_s8_c",
        OpKind.DEPTHWISE_CONV_2D,
        Isa.C,
        lower_depthwise,
        (
            one_activation,
            int8_activations,
            single_image,
            constant_symmetric_weights,
            constant_int32_bias,
            whole_depth_multiplier,
        ),
    ),
)
