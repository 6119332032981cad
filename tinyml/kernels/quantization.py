"""QUANTIZE, DEQUANTIZE and CAST in portable C: integers inside a model, float at its edges."""

from __future__ import annotations

import numpy as np

from tinyml import numerics
from tinyml.access import AccessMap, RowMap
from tinyml.graph import DType, OpKind, Tensor
from tinyml.kernels.geometry import elementwise_access, elementwise_rows
from tinyml.kernels.predicates import int8_activations, one_activation
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def _one_scale(tensor: Tensor, dtype: DType) -> bool:
    return tensor.dtype is dtype and tensor.quant is not None and not tensor.quant.per_channel


def float_to_int8(context: OpContext) -> bool:
    """The input must be float32, the output int8 with one scale and zero point."""
    return context.input(0).dtype is DType.FLOAT32 and _one_scale(context.output, DType.INT8)


def float_to_int16(context: OpContext) -> bool:
    """The input must be float32, the output int16 with one scale and zero point."""
    return context.input(0).dtype is DType.FLOAT32 and _one_scale(context.output, DType.INT16)


def int8_to_float(context: OpContext) -> bool:
    """The input must be int8 with one scale and zero point, the output float32."""
    return _one_scale(context.input(0), DType.INT8) and context.output.dtype is DType.FLOAT32


def int16_to_float(context: OpContext) -> bool:
    """The input must be int16 with one scale and zero point, the output float32."""
    return _one_scale(context.input(0), DType.INT16) and context.output.dtype is DType.FLOAT32


def int8_or_int16(context: OpContext) -> bool:
    """Input and output must be int8 or int16, each with one scale and zero point."""
    return all(
        _one_scale(tensor, DType.INT8) or _one_scale(tensor, DType.INT16)
        for tensor in (context.input(0), context.output)
    )


def known_types(context: OpContext) -> bool:
    """Input and output must be int8, int16, int32, int64, float32 or bool."""
    return {context.input(0).dtype, context.output.dtype} <= set(_CAST_CODES)


def as_many_elements(context: OpContext) -> bool:
    """Input and output must have as many elements."""
    return context.input(0).elements == context.output.elements


def conversion_access(x: Tensor, y: Tensor) -> AccessMap:
    """Return the map of a kernel that reads an element, then writes it in another type."""
    into, out = x.dtype.size_bytes, y.dtype.size_bytes
    if into > out:  # element by element, so that the distance is exact although the tensor shrinks
        return AccessMap(y.elements, out, (RowMap(y.elements, into),), buffered=True)
    rows, row = elementwise_rows(y.shape)
    return AccessMap(rows, row * out, (RowMap(rows, row * into),), buffered=into == out)


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
    )


def _lower_quantize(context: OpContext) -> Lowered:
    output = context.output
    return Lowered(
        access=conversion_access(context.input(0), output),
        constants=(_scale(output),),
        literals=(("elements", output.elements), ("zp_out", output.zero_point)),
    )


def _lower_dequantize(context: OpContext) -> Lowered:
    x = context.input(0)
    return Lowered(
        access=conversion_access(x, context.output),
        constants=(_scale(x),),
        literals=(("elements", x.elements), ("zp_in", x.zero_point)),
    )


def _lower_requantize_16(context: OpContext) -> Lowered:
    params = numerics.requant_params(context.graph, context.op)
    x, output = context.input(0), context.output
    literals = {
        "elements": output.elements,
        "in_bytes": x.dtype.size_bytes,
        "out_bytes": output.dtype.size_bytes,
        "zp_in": -params.offset,
        "multiplier": params.multiplier,
        "shift": params.shift,
        "zp_out": params.offset_out,
    }
    return Lowered(access=conversion_access(x, output), literals=tuple(literals.items()))


_CAST_CODES = {
    DType.INT8: 0,
    DType.FLOAT32: 1,
    DType.INT16: 2,
    DType.INT32: 3,
    DType.INT64: 4,
    DType.BOOL: 5,
}
"""The enum of tm_cast_c.h."""


def _lower_cast(context: OpContext) -> Lowered:
    x, output = context.input(0), context.output
    literals = {
        "elements": output.elements,
        "from": _CAST_CODES[x.dtype],
        "to": _CAST_CODES[output.dtype],
    }
    return Lowered(access=conversion_access(x, output), literals=tuple(literals.items()))


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_requantize_s8_c", OpKind.QUANTIZE, Isa.C, lower_requantize, (one_activation, int8_activations)
    ),
    Kernel(
        "tm_requantize_s16_c", OpKind.QUANTIZE, Isa.C, _lower_requantize_16, (one_activation, int8_or_int16)
    ),
    Kernel("tm_quantize_f32_s8_c", OpKind.QUANTIZE, Isa.C, _lower_quantize, (one_activation, float_to_int8)),
    Kernel(
        "tm_dequantize_s8_f32_c", OpKind.DEQUANTIZE, Isa.C, _lower_dequantize, (one_activation, int8_to_float)
    ),
    Kernel(
        "tm_quantize_f32_s16_c", OpKind.QUANTIZE, Isa.C, _lower_quantize, (one_activation, float_to_int16)
    ),
    Kernel(
        "tm_dequantize_s16_f32_c",
        OpKind.DEQUANTIZE,
        Isa.C,
        _lower_dequantize,
        (one_activation, int16_to_float),
    ),
    Kernel("tm_cast_c", OpKind.CAST, Isa.C, _lower_cast, (one_activation, known_types, as_many_elements)),
)
