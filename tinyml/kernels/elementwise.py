"""ADD and MUL in portable C: same shape, broadcasting, and with a constant operand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinyml import numerics
from tinyml.graph import DType, OpKind, Tensor
from tinyml.kernels.geometry import elementwise_access, strides, walk
from tinyml.kernels.predicates import at_most_six_dimensions, int8_activations
from tinyml.kernels.registry import Constant, Isa, Kernel, Lowered, OpContext


def two_activations(context: OpContext) -> bool:
    """Neither input may be constant."""
    return len(context.activation_inputs) == 2


def one_constant(context: OpContext) -> bool:
    """Exactly one input must be constant."""
    return len(context.activation_inputs) == 1


def same_shape(context: OpContext) -> bool:
    """Both inputs must have the output's shape."""
    return all(context.graph.tensors[i].shape == context.output.shape for i in context.op.inputs)


def int8_constants(context: OpContext) -> bool:
    """Constant operands must be int8 with one scale and zero point."""
    constants = [context.graph.tensors[i] for i in context.op.inputs if i not in context.activation_inputs]
    return all(t.dtype.value == "int8" and t.quant is not None and not t.quant.per_channel for t in constants)


def broadcast_strides(shape: Sequence[int], output: Sequence[int]) -> tuple[int, ...]:
    """Return an input's stride along each output dimension, 0 where it repeats."""
    return (0,) * (len(output) - len(shape)) + tuple(
        0 if dim == 1 else step for dim, step in zip(shape, strides(shape), strict=True)
    )


def add_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    """Literals of tm_add_*; `order` says which operand of the operator is x1, which x2."""
    p = numerics.add_params(context.graph, context.op)
    operands = ((-p.offset_1, p.multiplier_1, p.shift_1), (-p.offset_2, p.multiplier_2, p.shift_2))
    literals: dict[str, int] = {}
    for i, operand in enumerate(order, start=1):
        zero_point, multiplier, shift = operands[operand]
        literals |= {f"zp_{i}": zero_point, f"multiplier_{i}": multiplier, f"shift_{i}": shift}
    return literals | {
        "multiplier": p.multiplier_out,
        "shift": p.shift_out,
        "zp_out": p.offset_out,
        "lo": p.low,
        "hi": p.high,
    }


def mul_literals(context: OpContext, order: tuple[int, int]) -> dict[str, int]:
    """Literals of tm_mul_*; `order` says which operand of the operator is x1, which x2."""
    p = numerics.mul_params(context.graph, context.op)
    zero_points = (-p.offset_1, -p.offset_2)
    return {
        "zp_1": zero_points[order[0]],
        "zp_2": zero_points[order[1]],
        "multiplier": p.multiplier,
        "shift": p.shift,
        "zp_out": p.offset_out,
        "lo": p.low,
        "hi": p.high,
    }


def operand_constant(name: str, tensor: Tensor) -> Constant:
    """Return a constant operand: integers or bool."""
    assert tensor.data is not None
    ctype = "uint8_t" if tensor.dtype is DType.BOOL else f"{tensor.dtype}_t"
    return Constant(name, ctype, tensor.data)


Literals = Callable[[OpContext, tuple[int, int]], dict[str, int]]


def lower_same_shape(literals: Literals) -> Callable[[OpContext], Lowered]:
    """Return the lowering of an operator on two tensors of the output's shape."""

    def lower(context: OpContext) -> Lowered:
        output = context.output
        values = {"elements": output.elements} | literals(context, (0, 1))
        return Lowered(
            access=elementwise_access(output.shape, [output.shape, output.shape], output.dtype.size_bytes),
            literals=tuple(values.items()),
            per_column="elements",
        )

    return lower


def lower_broadcast(literals: Literals) -> Callable[[OpContext], Lowered]:
    """Return the lowering of an operator on two tensors that broadcast, one of which may be constant."""

    def lower(context: OpContext) -> Lowered:
        shape = context.output.shape
        # The constant, where there is one, is the kernel's second operand.
        order = (0, 1) if context.input(0).data is None else (1, 0)
        operands = [context.input(i) for i in order]
        table = walk(
            "geometry",
            shape,
            *(broadcast_strides(operand.shape, shape) for operand in operands),
            comment="dimensions, then each operand's strides",
        )
        constants = [operand_constant("operand", t) for t in operands if t.data is not None]
        activations = [t.shape for t in operands if t.data is None]
        return Lowered(
            access=elementwise_access(
                shape, activations, context.output.dtype.size_bytes, operands[0].dtype.size_bytes
            ),
            constants=(*constants, table),
            literals=tuple(literals(context, order).items()),
        )

    return lower


def _kernels(name: str, op: OpKind, literals: Literals) -> tuple[Kernel, ...]:
    accepts = (int8_activations, int8_constants, at_most_six_dimensions)
    same, broadcast, const = f"tm_{name}_s8_c", f"tm_{name}_broadcast_s8_c", f"tm_{name}_const_s8_c"
    return (
        Kernel(same, op, Isa.C, lower_same_shape(literals), (*accepts, two_activations, same_shape)),
        Kernel(
            broadcast,
            op,
            Isa.C,
            lower_broadcast(literals),
            (*accepts, two_activations),
        ),
        Kernel(const, op, Isa.C, lower_broadcast(literals), (*accepts, one_constant)),
    )


KERNELS: tuple[Kernel, ...] = (
    *_kernels("add", OpKind.ADD, add_literals),
    *_kernels("mul", OpKind.MUL, mul_literals),
)
