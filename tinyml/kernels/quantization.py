"""QUANTIZE and DEQUANTIZE in portable C: int8 to int8 inside a model, float at its edges."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import DType, OpKind, Tensor
from tinyml.kernels.geometry import elementwise_access, elementwise_rows
from tinyml.kernels.predicates import int8_activations, one_activation
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def _one_scale(tensor: Tensor) -> bool:
    return tensor.dtype is DType.INT8 and tensor.quant is not None and not tensor.quant.per_channel


def float_to_int8(context: OpContext) -> bool:
    """The input must be float32, the output int8 with one scale and zero point."""
    return context.input(0).dtype is DType.FLOAT32 and _one_scale(context.output)


def int8_to_float(context: OpContext) -> bool:
    """The input must be int8 with one scale and zero point, the output float32."""
    return _one_scale(context.input(0)) and context.output.dtype is DType.FLOAT32


def _scale(tensor: Tensor) -> Constant:
    return Constant("scale", "float", np.array([tensor.scale], np.float32))


def lower_requantize(context: OpContext) -> Lowered:
    """Lower a change of scale and zero point, int8 to int8."""
    params = numerics.requant_params(context.graph, context.op)
    output = context.output
    literals = {
        "elements": output.elements,
        "zp_in": -params.offset,
        "multiplier": params.multiplier,
        "shift": params.shift,
        "zp_out": params.offset_out,
    }
    return Lowered(
        access=elementwise_access(output.shape, [output.shape]),
        literals=tuple(literals.items()),
        per_column="elements",
    )


def _lower_quantize(context: OpContext) -> Lowered:
    output = context.output
    return Lowered(
        # Element by element, so that the distance is exact although the input shrinks to a quarter.
        access=AccessMap(
            rows=output.elements, row_bytes=1, inputs=(RowMap(output.elements, 4),), buffered=True
        ),
        constants=(_scale(output),),
        literals=(("elements", output.elements), ("zp_out", output.zero_point)),
        per_column="elements",
    )


def _lower_dequantize(context: OpContext) -> Lowered:
    x = context.input(0)
    rows, row = elementwise_rows(x.shape)
    return Lowered(
        access=AccessMap(rows=rows, row_bytes=4 * row, inputs=(RowMap(rows, row),)),
        constants=(_scale(x),),
        literals=(("elements", x.elements), ("zp_in", x.zero_point)),
        per_column="elements",
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_requantize_s8_c", OpKind.QUANTIZE, Isa.C, lower_requantize, (one_activation, int8_activations)
    ),
    Kernel("tm_quantize_f32_s8_c", OpKind.QUANTIZE, Isa.C, _lower_quantize, (one_activation, float_to_int8)),
    Kernel(
        "tm_dequantize_s8_f32_c", OpKind.DEQUANTIZE, Isa.C, _lower_dequantize, (one_activation, int8_to_float)
    ),
)
