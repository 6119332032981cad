"""Resource variables of a model file → states of the graph.

Streaming models keep what they remember in variables: VAR_HANDLE names one, READ_VARIABLE and ASSIGN_VARIABLE
move its value, and CALL_ONCE runs a subgraph that assigns the first value. None of that is computation. What
is read before anything is assigned is a state; the value assigned last is what the state becomes; what is
read after an assignment is the value assigned.

Source: TensorFlow Lite, `kernels/var_handle.cc`, `read_variable.cc`, `assign_variable.cc`, `call_once.cc`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tinyml.errors import ModelError
from tinyml.graph import Array
from tinyml.readers.flatbuffer import RawModel, RawOperator, RawSubgraph

OPTIONS = {
    "VAR_HANDLE": ("VarHandleOptions", "Container", "SharedName"),
    "READ_VARIABLE": ("ReadVariableOptions",),
    "ASSIGN_VARIABLE": ("AssignVariableOptions",),
    "CALL_ONCE": ("CallOnceOptions", "InitSubgraphIndex"),
}

_OPERANDS = {"VAR_HANDLE": (0, 1), "READ_VARIABLE": (1, 1), "ASSIGN_VARIABLE": (2, 0), "CALL_ONCE": (0, 0)}
_Key = tuple[object, object]  # container and shared name


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """A variable that the network reads: `tensor` is its value at first, `next` what it becomes (or None)."""

    tensor: int
    next: int | None
    initial: Array  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """A model without variables: its operators with READ_VARIABLEs replaced, and those to leave out."""

    operators: tuple[RawOperator, ...]
    left_out: frozenset[int]
    outputs: tuple[int, ...]
    variables: tuple[Variable, ...]


def resolve(raw: RawModel, file: str) -> Resolved:
    """Turn a model's variables into states.

    Args:
        raw: the decoded model.
        file: its name, for messages.

    Raises:
        ModelError: a variable has no first value, or a subgraph that CALL_ONCE runs computes something.
    """
    handles: dict[int, _Key] = {}
    initial: dict[_Key, Array] = {}
    current: dict[_Key, int] = {}  # the tensor that holds a variable's value
    first: dict[_Key, int] = {}  # the tensor of the first READ_VARIABLE
    alias: dict[int, int] = {}
    left_out: set[int] = set()
    called: set[int] = set()
    operators: list[RawOperator] = []
    others = set(range(len(raw.subgraphs)))

    def error(i: int, problem: str, expected: str) -> ModelError:
        return ModelError(
            f"{file}: {problem}",
            where=f"at op {i} {raw.operators[i].name}",
            expected=expected,
            hint="export the model again",
        )

    for i, op in enumerate(raw.operators):
        op = dataclasses.replace(op, inputs=tuple(alias.get(t, t) for t in op.inputs))
        operators.append(op)
        if op.name == "WHILE":
            indices = {op.options[name] - 1 for name in ("CondSubgraphIndex", "BodySubgraphIndex")}
            # Where it runs no subgraph, that is for its reader to say.
            called |= indices if indices <= others else others
        if op.name not in OPTIONS:
            continue
        left_out.add(i)
        shape = {
            "VAR_HANDLE": (0, 1),
            "READ_VARIABLE": (1, 1),
            "ASSIGN_VARIABLE": (2, 0),
            "CALL_ONCE": (0, 0),
        }
        if (len(op.inputs), len(op.outputs)) != shape[op.name]:
            raise error(
                i, f"it has {len(op.inputs)} inputs and {len(op.outputs)} outputs", "expected a variable"
            )
        if op.name == "VAR_HANDLE":
            handles[op.outputs[0]] = _key(op)
            continue
        if op.name == "CALL_ONCE":
            index = op.options["InitSubgraphIndex"] - 1
            if not 0 <= index < len(raw.subgraphs):
                raise error(i, f"it calls subgraph {index + 1}", f"the model has {len(raw.subgraphs) + 1}")
            called.add(index)
            initial |= _first_values(raw.subgraphs[index], file)
            continue
        if op.inputs[0] not in handles:
            raise error(i, "it has no variable", "expected a VAR_HANDLE before it")
        key = handles[op.inputs[0]]
        if op.name == "ASSIGN_VARIABLE":
            current[key] = op.inputs[1]
        elif key in current:
            alias[op.outputs[0]] = current[key]
        else:
            current[key] = first[key] = op.outputs[0]
            if key not in initial:
                raise error(
                    i, "it reads a variable that has no first value", "expected CALL_ONCE to assign one"
                )
    if not called >= others:
        raise ModelError(
            f"{file} has {len(raw.subgraphs) + 1} subgraphs",
            expected="expected one, and those that WHILE and CALL_ONCE run",
            hint="export a single inference function without branches (IF)",
        )
    return Resolved(
        tuple(operators),
        frozenset(left_out),
        tuple(alias.get(t, t) for t in raw.outputs),
        tuple(
            Variable(tensor, current[key] if current[key] != tensor else None, initial[key])
            for key, tensor in first.items()
        ),
    )


def _key(op: RawOperator) -> _Key:
    return op.options["Container"], op.options["SharedName"]


def _first_values(graph: RawSubgraph, file: str) -> dict[_Key, Array]:
    """Return what a subgraph of constants and ASSIGN_VARIABLEs assigns."""
    handles = {op.outputs[0]: _key(op) for op in graph.operators if op.name == "VAR_HANDLE" and op.outputs}
    values: dict[_Key, Array] = {}
    for op in graph.operators:
        if op.name == "VAR_HANDLE":
            continue
        assigns = op.name == "ASSIGN_VARIABLE" and len(op.inputs) == 2 and op.inputs[0] in handles
        inside = assigns and 0 <= op.inputs[1] < len(graph.tensors)
        data = graph.tensors[op.inputs[1]].data if inside else None
        if data is None:
            raise ModelError(
                f"{file}: the subgraph that is called once has {op.name}",
                expected="expected only assignments of constants to variables",
                hint="give tf.Variable constant first values",
            )
        values[handles[op.inputs[0]]] = data
    return values
