"""MEAN over any axes in portable C."""

from __future__ import annotations

from tinyml import numerics
from tinyml.access import AccessMap
from tinyml.graph import OpKind, ReduceAttrs
from tinyml.kernels.geometry import strides, walk
from tinyml.kernels.predicates import at_most_six_dimensions, int8_activations, one_activation
from tinyml.kernels.registry import Isa, Kernel, Lowered, OpContext


def _lower(context: OpContext) -> Lowered:
    attrs = context.op.attrs
    assert isinstance(attrs, ReduceAttrs)
    shape = context.input(0).shape
    steps = strides(shape)
    kept = [axis for axis in range(len(shape)) if axis not in attrs.axes]
    params = numerics.mean_params(context.graph, context.op)
    kept_walk, reduced_walk = (
        walk(
            name,
            [shape[axis] for axis in axes],
            [steps[axis] for axis in axes],
            comment="dimensions, then the input's strides",
        )
        for name, axes in (("kept", kept), ("reduced", list(attrs.axes)))
    )
    literals = {
        "reduced_runs": int(reduced_walk.values[0, :-1].prod()),
        "sum_offset": params.offset,
        "multiplier": params.multiplier,
        "shift": params.shift,
        "zp_out": params.offset_out,
        "lo": params.low,
        "hi": params.high,
    }
    return Lowered(
        access=AccessMap(rows=1, row_bytes=context.output.elements, inputs=(None,)),
        constants=(kept_walk, reduced_walk),
        literals=tuple(literals.items()),
    )


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        "tm_mean_s8_c", OpKind.MEAN, Isa.C, _lower, (one_activation, int8_activations, at_most_six_dimensions)
    ),
)
