"""WHILE: what is recovered into a loop, and why not where it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.recurrent_loops import Layer, recurrent
from tests.tflite_builder import ModelBuilder, OperatorRecord
from tinyml import passes
from tinyml.errors import ModelError
from tinyml.graph import Graph, LoopAttrs, OpKind, Walk
from tinyml.readers import read_model

STEPS = 3


def _model(layer: Layer | None = None) -> ModelBuilder:
    b = ModelBuilder(1)
    b.output(recurrent(b, b.input((STEPS, 1, 5), 0.03), layer or Layer()))
    return b


def _read(b: ModelBuilder, folder: Path) -> Graph:
    return read_model(b.save(folder / "m.tflite"))


def _loop(graph: Graph) -> LoopAttrs:
    (attrs,) = (op.attrs for op in graph.ops if isinstance(op.attrs, LoopAttrs))
    return attrs


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize(
    ("layer", "collects", "states"),
    [
        (Layer("gru"), None, 1),
        (Layer("gru", returns="sequence"), Walk(), 1),
        (Layer("lstm", returns="sequence", writes="update"), Walk(), 2),
        (Layer("lstm", returns="cell", reads="slice"), None, 2),
        (Layer("gru", returns="sequence", backwards=True), Walk(STEPS - 1, -1), 1),
    ],
)
def test_counters_and_lists_are_gone(
    layer: Layer, collects: Walk | None, states: int, floats: bool, tmp_path: Path
) -> None:
    layer = dataclasses.replace(layer, floats=floats, converted=floats)
    graph = passes.run(_read(_model(layer), tmp_path))
    attrs = _loop(graph)
    assert (attrs.steps, attrs.collects) == (STEPS, collects)
    assert attrs.walks == (Walk(STEPS - 1, -1) if layer.backwards else Walk(),)
    assert len(attrs.body.inputs) == 1
    assert [state.initial.dtype for state in attrs.body.states] == [np.int8] * states
    assert not {op.kind for op in attrs.body.ops} & {OpKind.GATHER, OpKind.QUANTIZE, OpKind.CONCATENATION}
    kinds = [op.kind for op in graph.ops]
    assert kinds == [OpKind.WHILE]


def test_what_nobody_reads_is_not_computed(tmp_path: Path) -> None:
    b = _model(Layer("lstm", returns="sequence"))
    names = [op.kind for op in _loop(_read(b, tmp_path)).body.ops]
    assert OpKind.CONCATENATION not in names
    b.outputs = [b.operators[0].outputs[1]]  # a counter alone
    b.output(b.cast(b.operators[0].outputs[1], "int32"))
    b.outputs = b.outputs[1:]
    assert OpKind.WHILE not in [op.kind for op in _read(b, tmp_path).ops]


def test_a_first_state_may_be_computed(tmp_path: Path) -> None:
    b = _model()
    loop = b.operators[0]
    first = b.input((1, 4), 1 / 128, 0)
    loop.inputs[2] = first
    op = next(op for op in _read(b, tmp_path).ops if op.kind is OpKind.WHILE)
    assert isinstance(op.attrs, LoopAttrs)
    assert op.inputs[op.attrs.initial] >= 0


def _number(b: ModelBuilder, tensor: int, value: int) -> None:
    b.tensors[tensor].data = np.array(value, np.int32).tobytes()


def _bound(b: ModelBuilder, value: int) -> None:
    for op in b.others[0].operators[:2]:
        _number(b.others[0], op.inputs[1], value)


def _variable_bound(b: ModelBuilder) -> None:
    b.others[0].tensors[b.others[0].operators[0].inputs[1]].data = None
    g = b.others[0]
    g.raw_op("ABS", [g.inputs[0]], [g.operators[0].inputs[1]], "AbsOptions")
    g.operators.insert(0, g.operators.pop())


def _computed_bound(b: ModelBuilder) -> None:
    """A loop that ends when its first row says so."""
    g = b.others[0]
    g.raw_op("GREATER", [g.inputs[2], g.constant(np.array(0, np.int8), 0.1)], [g.tensor((), "bool")])
    g.operators[-2].inputs[0] = g.operators[-1].outputs[0]
    g.operators.insert(0, g.operators.pop())


def _option(name: str, value: int) -> Callable[[ModelBuilder], None]:
    def change(b: ModelBuilder) -> None:
        b.operators[0].options[name] = value

    return change


def _assignment(b: ModelBuilder) -> None:
    g = b.others[0]
    g.operators.insert(
        0, OperatorRecord("VAR_HANDLE", [], [g.tensor((), "int32", type_code=13)], "VarHandleOptions")
    )


def _inner_loop(b: ModelBuilder) -> None:
    g = b.others[1]
    outputs = [g.tensor((), "int32")]
    g.raw_op("WHILE", [g.inputs[0]], outputs, "WhileOptions", CondSubgraphIndex=1, BodySubgraphIndex=2)


def _fewer_outputs(b: ModelBuilder) -> None:
    b.others[1].outputs = b.others[1].outputs[:-1]


def _counter_as_data(b: ModelBuilder) -> None:
    """A step adds its own number to what it remembers."""
    g = b.others[1]
    number = g.tensor((), "int8", 1 / 128, 0)
    g.raw_op("CAST", [g.inputs[1]], [number], "CastOptions")
    g.outputs[2] = g.add(g.outputs[2], number, "none", 1 / 128, 0)


def _variable_state(b: ModelBuilder) -> None:
    g = b.others[1]
    state = g.tensor((1, 4), "int8", 1 / 128, 0)
    g.tensors[state].is_variable = True
    g.outputs[2] = g.add(g.outputs[2], state, "none", 1 / 128, 0)


def _swapped(b: ModelBuilder) -> None:
    g = b.others[1]
    g.operators.reverse()


def _other_scale(b: ModelBuilder) -> None:
    g = b.others[1]
    g.tensors[g.inputs[2]].scale = (0.5,)


def _wild_index(b: ModelBuilder) -> None:
    b.others[1].operators[0].inputs[0] = 999


def _another_entry(b: ModelBuilder) -> None:
    g = ModelBuilder()
    g.output(g.add(g.input((1, 2)), g.inputs[0]))
    b.others.append(g)


WRONG = {
    "unknown bound": (_variable_bound, "its condition is LESS of something else"),
    "depends on data": (_computed_bound, "its condition is GREATER of something else"),
    "never": (lambda b: _bound(b, 0), "it runs 0 times"),
    "negative": (lambda b: _bound(b, -5), "it runs 0 times"),
    "huge": (lambda b: _bound(b, 2**31 - 1), "it runs 2147483647 times"),
    "too long for the sequence": (lambda b: _bound(b, STEPS + 1), "in step 3 it reads row 3"),
    "condition outside": (_option("CondSubgraphIndex", 7), "it runs subgraph 7"),
    "negative subgraph": (_option("BodySubgraphIndex", -1), "it runs subgraph -1"),
    "itself": (_option("BodySubgraphIndex", 0), "the model's main graph, and so itself"),
    "side effect": (_assignment, "has VAR_HANDLE, which changes a variable"),
    "variable": (_variable_state, "which changes a variable"),
    "loop in a loop": (_inner_loop, "its body has a loop of its own"),
    "arity": (_fewer_outputs, "its body 4 and 3 outputs"),
    "counter as data": (_counter_as_data, "a step computes with its counter"),
    "order": (_swapped, "before it is written"),
    "scale": (_other_scale, "has another scale"),
    "index": (_wild_index, "refers to tensor 999"),
    "entry": (_another_entry, "4 subgraphs"),
}


@pytest.mark.parametrize("name", WRONG)
def test_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    change, message = WRONG[name]
    b = _model()
    _read(b, tmp_path)
    change(b)
    with pytest.raises(ModelError) as refused:
        _read(b, tmp_path)
    assert message in str(refused.value), str(refused.value)


@pytest.mark.parametrize("bound", [STEPS - 1, STEPS + 1])
def test_a_list_must_be_filled(bound: int, tmp_path: Path) -> None:
    b = _model(Layer(returns="sequence"))
    _bound(b, bound)
    with pytest.raises(ModelError, match=f"in {bound} steps it does not write each of the {STEPS} rows"):
        _read(b, tmp_path)


def test_a_loop_that_counts_away_from_its_bound(tmp_path: Path) -> None:
    b = _model()
    g = b.others[1]
    for op in g.operators[:2]:
        _number(g, op.inputs[1], -1)
    with pytest.raises(ModelError, match="its condition never ends to hold"):
        _read(b, tmp_path)


def test_many_loops_are_refused(tmp_path: Path) -> None:
    b = _model()
    loop = b.operators[0]
    for _ in range(64):
        b.raw_op(
            "WHILE", loop.inputs, [b._like(t, b.shape(t)) for t in loop.inputs], loop.table, **loop.options
        )
    with pytest.raises(ModelError, match="more than 64 loops"):
        _read(b, tmp_path)


def test_unsupported_operators_of_a_step_are_listed(tmp_path: Path) -> None:
    b = _model()
    for op in b.others[1].operators:
        op.name = "CUMSUM" if op.name == "TANH" else op.name
    with pytest.raises(ModelError, match=r"a step of op 0 WHILE.*1 operator that cannot run \(CUMSUM\)"):
        _read(b, tmp_path)
