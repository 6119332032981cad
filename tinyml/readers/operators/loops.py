"""WHILE: what converters make of recurrent layers that are not unrolled (Keras GRU, LSTM and RNN, tf.scan).

The condition and the body are subgraphs over the same list of values. Of these some are counters, some
never change, some are what a step remembers, and some are lists that each step writes a row of. A loop whose
counters prove how often it runs becomes one operator (LoopAttrs), whose body is a network with states: it
gets rows of sequences, and gives a row of a list or what is remembered in the end. Counters and lists are
gone then.

Source: TensorFlow Lite, `kernels/while.cc`, and `transforms/lower_static_tensor_list.cc` for the lists.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyml.graph import Array, LoopAttrs, NoAttrs, OpKind, Walk
from tinyml.readers.flatbuffer import RawModel, RawOperator, RawSubgraph, RawTensor
from tinyml.readers.operators.reading import MOVED_TYPES, OperatorReader, Read
from tinyml.readers.tensors import ModelTensors, dims
from tinyml.readers.variables import OPTIONS, Variable

_MOST_STEPS = 1 << 16
_MOST_LOOPS = 64  # of a model; a small file can run one subgraph thousands of times
_MOST_NUMBERS = 8  # of a tensor that is followed as an index
_INDEX_TYPES = ("int32", "int64")
_UNROLL = "unroll the layer (keras: unroll=True), or count with a constant bound"
_COMPARED = {"LESS": (1, 0), "LESS_EQUAL": (1, 1), "GREATER": (-1, 0), "GREATER_EQUAL": (-1, 1)}
_PASSING = ("QUANTIZE", "DEQUANTIZE")  # between a list and its rows


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """Integers that are `base` + `slope` · n in step n."""

    base: Array  # int64
    slope: Array


@dataclass(frozen=True, slots=True)
class _Place:
    """A row of a list that a step writes: the tensor that holds it, and which row."""

    item: int
    walk: Walk


@dataclass(slots=True)
class _Loop:
    """A WHILE: its body, and what each of its values is.

    Args:
        model: the file's reader.
        op: the operator.
        body: the subgraph that it repeats.
        steps: how often.
        indices: tensors of the body that are functions of the counters.
        producers: operators of the body by the tensors they write.
        counters: the values that count, by position.
        fixed: positions of the values that never change.
        places: what is written into lists, by position.
    """

    model: ModelTensors
    op: RawOperator
    body: RawSubgraph
    steps: int
    indices: Mapping[int, _Index]
    producers: Mapping[int, RawOperator]
    counters: Mapping[int, _Index]
    fixed: frozenset[int]
    places: dict[int, _Place] = field(default_factory=dict)


def _while(model: ModelTensors, op: RawOperator) -> Sequence[Read | None]:
    """It must count with integers from a constant by a constant, and run as long as they are on one side of
    constants: then the number of steps is known. A step may read the row of a sequence that a counter
    selects, and write one of a list. A loop inside a loop is refused.
    """
    if sum(other.name == "WHILE" for other in model.raw.operators) > _MOST_LOOPS:
        raise model.error(
            f"it is one of more than {_MOST_LOOPS} loops", f"at most {_MOST_LOOPS} are supported"
        )
    condition, body = (_subgraph(model, op, name) for name in ("CondSubgraphIndex", "BodySubgraphIndex"))
    if len(condition.outputs) != 1:
        raise model.error(f"its condition has {len(condition.outputs)} outputs", "expected one")
    _check_values(model, op, condition, body)
    counters = _counters(model, op, body)
    fixed = frozenset(k for k in range(len(op.inputs)) if body.outputs[k] == body.inputs[k])
    body = _with_constants(model, op, body, fixed)
    steps = _steps(model, _indices(model, op, condition, counters, fixed), condition)
    for k, index in counters.items():
        if max(abs(int(index.base)), abs(int(index.base + steps * index.slope))) >= 1 << 31:
            raise model.error(f"its counter, value {k}, leaves 31 bits", "expected a smaller one", _UNROLL)
    producers = {t: other for other in body.operators for t in other.outputs}
    loop = _Loop(
        model,
        op,
        body,
        steps,
        _indices(model, op, body, counters, fixed),
        producers,
        counters,
        fixed,
    )
    for k in range(len(op.inputs)):
        place = _place(loop, k)
        if place is not None:
            loop.places[k] = place
    wanted = {t for other in model.raw.operators for t in other.inputs} | set(model.raw.outputs)
    return [_output(loop, k) if op.outputs[k] in wanted else None for k in range(len(op.outputs))]


def _subgraph(model: ModelTensors, op: RawOperator, name: str) -> RawSubgraph:
    """Return a subgraph that the operator names; its indices and the order of its operators are checked."""
    index = op.options[name]
    if index == 0:
        raise model.error("it runs the model's main graph, and so itself", "expected a subgraph of its own")
    if not 1 <= index <= len(model.raw.subgraphs):
        raise model.error(
            f"it runs subgraph {index}", f"the model has subgraphs 0 to {len(model.raw.subgraphs)}"
        )
    graph: RawSubgraph = model.raw.subgraphs[index - 1]
    count = len(graph.tensors)
    outside = [t for t in (*graph.inputs, *graph.outputs) if not 0 <= t < count]
    outside += [t for other in graph.operators for t in other.inputs if not -1 <= t < count]
    outside += [t for other in graph.operators for t in other.outputs if not 0 <= t < count]
    if outside:
        raise model.error(f"subgraph {index} refers to tensor {outside[0]}", f"it has {count}")
    known = {t for t, tensor in enumerate(graph.tensors) if tensor.data is not None}
    if len(set(graph.inputs)) != len(graph.inputs) or known.intersection(graph.inputs):
        raise model.error(
            f"the inputs of subgraph {index} are not tensors of their own", "expected each once"
        )
    known |= {-1, *graph.inputs}
    variables = {t for t, tensor in enumerate(graph.tensors) if tensor.is_variable}
    for other in graph.operators:
        if other.name == "WHILE":
            raise model.error(
                "its body has a loop of its own", "expected one loop at a time", "unroll the inner loop"
            )
        if other.name in OPTIONS or not other.outputs or variables.intersection(other.inputs):
            raise model.error(
                f"subgraph {index} has {other.name}, which changes a variable",
                "expected operators that compute: a loop remembers in its values",
                "keep variables outside the loop",
            )
        if not known.issuperset(other.inputs) or known.intersection(other.outputs):
            raise model.error(
                f"subgraph {index} reads a tensor at {other.name} before it is written, or writes one twice",
                "expected operators in an executable order",
            )
        known.update(other.outputs)
    if not known.issuperset(graph.outputs):
        raise model.error(f"subgraph {index} does not compute all its outputs", "expected it to")
    return graph


def _check_values(model: ModelTensors, op: RawOperator, condition: RawSubgraph, body: RawSubgraph) -> None:
    """Check that the loop, its condition and its body have as many values, of the same types."""
    lists = (op.inputs, op.outputs, condition.inputs, body.inputs, body.outputs)
    if len({len(values) for values in lists}) != 1 or not op.inputs or min(op.inputs) < 0:
        raise model.error(
            f"it has {len(op.inputs)} inputs and {len(op.outputs)} outputs, its condition "
            f"{len(condition.inputs)} inputs, its body {len(body.inputs)} and {len(body.outputs)} outputs",
            "expected the same number",
        )
    for k, index in enumerate(op.inputs):
        first = model.raw.tensors[index]
        for others, graph in ((body.inputs, body), (body.outputs, body), (op.outputs, model.raw)):
            other = graph.tensors[others[k]]
            if (other.type, other.scale, other.zero_point) != (first.type, first.scale, first.zero_point):
                raise model.error(
                    f"its value {k}, '{first.name}', is {first.type} at first and {other.type} in a step, "
                    "or has another scale there",
                    "expected the same type, scale and zero point",
                )


def _counters(model: ModelTensors, op: RawOperator, body: RawSubgraph) -> dict[int, _Index]:
    """Return the values to which every step adds a constant, by position, as functions of the step."""
    producers = {t: other for other in body.operators for t in other.outputs}
    found: dict[int, _Index] = {}
    for k, value in enumerate(body.inputs):
        add = producers.get(body.outputs[k])
        start = _number(model.raw.tensors[op.inputs[k]])
        if add is None or add.name not in ("ADD", "SUB") or start is None or len(add.inputs) != 2:
            continue
        if add.options.get("FusedActivationFunction"):
            continue
        a, b = add.inputs
        if add.name == "ADD" and b == value:
            a, b = b, a
        step = _number(body.tensors[b]) if a == value and b >= 0 else None
        if step is not None:
            found[k] = _Index(np.array(start), np.array(step if add.name == "ADD" else -step))
    return found


def _number(tensor: RawTensor) -> int | None:
    """Return the value of a constant integer, None where the tensor is none."""
    values = _integers(tensor)
    return int(values.reshape(-1)[0]) if values is not None and values.size == 1 else None


def _integers(tensor: RawTensor) -> Array | None:
    """Return the values of a small constant of integers, None where the tensor is none."""
    if tensor.data is None or tensor.type not in _INDEX_TYPES:
        return None
    dtype = np.dtype(tensor.type).newbyteorder("<")
    count = int(np.prod(tensor.shape, dtype=np.int64)) if all(d >= 0 for d in tensor.shape) else -1
    if not 1 <= count <= _MOST_NUMBERS or tensor.data.size != count * dtype.itemsize:
        return None
    return tensor.data.view(dtype).reshape(tensor.shape).astype(np.int64)


def _with_constants(
    model: ModelTensors, op: RawOperator, body: RawSubgraph, fixed: frozenset[int]
) -> RawSubgraph:
    """Return the body with the values that never change as constants of its own, where they are constants."""
    tensors = list(body.tensors)
    for k in fixed:
        data = model.raw.tensors[op.inputs[k]].data
        if data is not None:
            tensors[body.inputs[k]] = dataclasses.replace(tensors[body.inputs[k]], data=data)
    return dataclasses.replace(body, tensors=tuple(tensors))


def _indices(
    model: ModelTensors,
    op: RawOperator,
    graph: RawSubgraph,
    counters: Mapping[int, _Index],
    fixed: frozenset[int],
) -> dict[int, _Index]:
    """Return the tensors of a subgraph that are functions of the counters and of constants."""
    found: dict[int, _Index] = {}
    for t, tensor in enumerate(graph.tensors):
        values = _integers(tensor)
        if values is not None:
            found[t] = _Index(values, np.zeros_like(values))
    for k, value in enumerate(graph.inputs):
        constant = _integers(model.raw.tensors[op.inputs[k]]) if k in fixed else None
        if k in counters:
            shape = model.raw.tensors[op.inputs[k]].shape
            found[value] = _Index(counters[k].base.reshape(shape), counters[k].slope.reshape(shape))
        elif constant is not None:
            found[value] = _Index(constant, np.zeros_like(constant))
    for other in graph.operators:
        operands = [found.get(t) for t in other.inputs]
        known = [one for one in operands if one is not None]
        if not known or (len(known) < len(operands) and other.name != "RESHAPE") or operands[0] is None:
            continue
        bases, slopes = [one.base for one in known], [one.slope for one in known]
        try:
            if other.options.get("FusedActivationFunction"):
                continue
            if other.name in ("ADD", "SUB") and len(known) == 2:
                join = np.add if other.name == "ADD" else np.subtract
                index = _Index(join(*bases), join(*slopes))
            elif other.name == "RESHAPE":
                shape = graph.tensors[other.outputs[0]].shape
                index = _Index(bases[0].reshape(shape), slopes[0].reshape(shape))
            elif other.name in ("CONCATENATION", "PACK"):
                flat = [[one.reshape(-1) for one in ones] for ones in (bases, slopes)]
                if any(one.ndim > 1 for one in bases):
                    continue
                index = _Index(np.concatenate(flat[0]), np.concatenate(flat[1]))
            else:
                continue
        except ValueError:
            raise model.error(
                f"its {other.name} of indices has shapes that do not fit", "expected shapes that do"
            ) from None
        if index.base.size <= _MOST_NUMBERS:
            found[other.outputs[0]] = index
    return found


def _steps(model: ModelTensors, indices: Mapping[int, _Index], condition: RawSubgraph) -> int:
    """Return how often the condition holds."""
    producers = {t: other for other in condition.operators for t in other.outputs}
    waiting, bounds = [condition.outputs[0]], list[int]()
    while waiting:
        op = producers.get(waiting.pop())
        if op is not None and op.name == "LOGICAL_AND" and len(waiting) + len(bounds) < _MOST_NUMBERS:
            waiting += op.inputs
            continue
        sides = [indices.get(t) for t in op.inputs] if op is not None and op.name in _COMPARED else []
        a, b = sides if len(sides) == 2 else (None, None)
        if op is None or a is None or b is None or a.base.size != 1 or b.base.size != 1:
            raise model.error(
                f"its condition is {op.name if op else 'a value'} of something else than counters and "
                "constants",
                "expected LESS, LESS_EQUAL, GREATER or GREATER_EQUAL, joined by LOGICAL_AND, of integers to "
                "which every step adds a constant: then the number of steps is known",
                _UNROLL,
            )
        sign, further = _COMPARED[op.name]
        # it holds while `left` + n · `slope` < 0
        left = sign * (int(a.base.item()) - int(b.base.item())) - further
        slope = sign * (int(a.slope.item()) - int(b.slope.item()))
        if left >= 0:
            bounds.append(0)
        elif slope > 0:
            bounds.append(-(left // slope))
    if not bounds:
        raise model.error(
            "its condition never ends to hold", "expected a counter that reaches its bound", _UNROLL
        )
    if not 1 <= min(bounds) <= _MOST_STEPS:
        raise model.error(
            f"it runs {min(bounds)} times",
            f"expected 1 to {_MOST_STEPS} times",
            "check the bound of the loop",
        )
    return min(bounds)


def _place(loop: _Loop, k: int) -> _Place | None:
    """Return what a step writes into the list that is value k; None where the value is no list."""
    value = loop.body.inputs[k]
    op = loop.producers.get(_origin(loop, loop.body.outputs[k]))
    if op is None:
        return None
    joined: tuple[int, ...]
    if op.name == "DYNAMIC_UPDATE_SLICE" and len(op.inputs) == 3 and _origin(loop, op.inputs[0]) == value:
        joined, item, row = op.inputs[:2], op.inputs[1], loop.indices.get(op.inputs[2])
    elif op.name == "CONCATENATION" and len(op.inputs) == 3:
        joined, item, row = op.inputs, op.inputs[1], _split(loop, value, op.inputs[0], op.inputs[2])
    else:
        return None
    tensor, part = loop.body.tensors[value], loop.body.tensors[item]
    rows = tensor.shape[0] if tensor.shape else 0
    walk = _walk(row, len(tensor.shape))
    if walk is None or part.shape != (1, *tensor.shape[1:]):
        return None
    taken = {walk.first, walk.first + (loop.steps - 1) * walk.step}
    if rows != loop.steps or (abs(walk.step) != 1 and rows > 1) or taken != {0, rows - 1}:
        raise loop.model.error(
            f"in {loop.steps} steps it does not write each of the {rows} rows of '{tensor.name}' once",
            "expected as many steps as rows",
        )
    quants = {(loop.body.tensors[t].scale, loop.body.tensors[t].zero_point) for t in (*op.outputs, *joined)}
    if len(quants) != 1:
        raise loop.model.error(
            f"a row of '{tensor.name}' has another scale than the list", "expected the same"
        )
    return _Place(item, walk)


def _origin(loop: _Loop, tensor: int) -> int:
    """Return the tensor that another one is but for being quantised or dequantised once."""
    op = loop.producers.get(tensor)
    if op is None or op.name not in _PASSING or not op.inputs:
        return tensor
    floats = op.inputs[0] if op.name == "QUANTIZE" else op.outputs[0]
    return op.inputs[0] if loop.body.tensors[floats].type == "float32" else tensor


def _split(loop: _Loop, value: int, before: int, after: int) -> _Index | None:
    """Return where in the list the rows [0, i) and those from i + 1 on leave room for one: i."""
    sides = []
    for part in (before, after):
        op = loop.producers.get(_origin(loop, part))
        if op is None or op.name != "SLICE" or len(op.inputs) != 3:
            return None
        inner = {part, op.outputs[0], op.inputs[0]}  # quantised once at most, before or behind
        if _origin(loop, op.inputs[0]) != value or len(inner | {value}) > 3:
            return None
        begin, size = (loop.indices.get(t) for t in op.inputs[1:])
        if begin is None or size is None or begin.base.shape != size.base.shape or begin.base.ndim != 1:
            return None
        sides.append((begin, size))
    (zero, row), (begin, rest) = sides
    shape = loop.body.tensors[value].shape
    same = begin.base.size == row.base.size == len(shape) and begin.base[0] == row.base[0] + 1
    if (
        not same
        or any(s not in (-1, d) for s, d in zip(row.base[1:], shape[1:], strict=True))
        or begin.slope[0] != row.slope[0]
        or any(one.slope[1:].any() for one in (row, begin))
        or any(one.any() for one in (zero.base, zero.slope, begin.base[1:], rest.slope))
        or not (rest.base == -1).all()
    ):
        return None
    return _Index(np.concatenate([row.base[:1], begin.base[1:]]), row.slope)


def _walk(index: _Index | None, rank: int) -> Walk | None:
    """Return the rows that an index selects: it must be of the first of `rank` dimensions alone."""
    if index is None or index.base.size not in (1, rank):
        return None
    (first, *others), (step, *further) = index.base.reshape(-1), index.slope.reshape(-1)
    return None if any(others) or any(further) else Walk(int(first), int(step))


def _selected(loop: _Loop, op: RawOperator) -> tuple[int, Walk] | None:
    """Return the sequence, a value of the loop, and the rows that an operator takes of it; None where it does
    not take one row of a sequence.
    """
    if len(op.inputs) < 2 or _origin(loop, op.inputs[0]) not in loop.body.inputs:
        return None
    k = loop.body.inputs.index(_origin(loop, op.inputs[0]))
    x = loop.body.tensors[loop.body.inputs[k]]
    index = loop.indices.get(op.inputs[1])
    if k not in loop.fixed or not x.shape or index is None or not index.slope.any():
        return None
    row = loop.body.tensors[op.outputs[0]].shape
    walk = _walk(index, len(x.shape))
    if op.name == "GATHER":
        if op.options["Axis"] not in (0, -len(x.shape)) or op.options["BatchDims"] or index.base.size != 1:
            return None
    elif op.name == "SLICE":
        size = loop.indices.get(op.inputs[2]) if len(op.inputs) == 3 else None
        whole = size is not None and size.base.shape == (len(x.shape),) and not size.slope.any()
        if size is None or not whole or size.base[0] != 1:
            return None
        if any(s not in (-1, d) for s, d in zip(size.base[1:], x.shape[1:], strict=True)):
            return None
    elif op.name == "STRIDED_SLICE":
        end, strides = (loop.indices.get(t) for t in op.inputs[2:4]) if len(op.inputs) == 4 else (None, None)
        if (
            end is None
            or strides is None
            or index.base.size != 1
            or any(op.options[mask] for mask in ("BeginMask", "EllipsisMask", "NewAxisMask", "Offset"))
        ):
            return None
        one = op.options["ShrinkAxisMask"] == 1 or (
            end.base.size == 1
            and end.base.item() == index.base.item() + 1
            and (end.slope == index.slope).all()
        )
        if not one or strides.base.reshape(-1)[0] != 1:
            return None
    else:
        return None
    if walk is None or np.prod(row, dtype=np.int64) * x.shape[0] != np.prod(x.shape, dtype=np.int64):
        return None
    for step in (0, loop.steps - 1):
        if not 0 <= walk.first + step * walk.step < x.shape[0]:
            raise loop.model.error(
                f"in step {step} it reads row {walk.first + step * walk.step} of '{x.name}'",
                f"expected 0 to {x.shape[0] - 1}",
            )
    return k, walk


def _output(loop: _Loop, k: int) -> Read | None:
    """Return the operator that computes one of the loop's outputs; None where it is a constant."""
    model, op = loop.model, loop.op
    if k in loop.counters:
        counter = model.tensor(op.outputs[k])
        index = loop.counters[k]
        value = int(index.base) + loop.steps * int(index.slope)
        model.fix(op.outputs[k], np.full(counter.shape, value, counter.dtype.value))
        return None
    if k in loop.fixed:
        return Read(op.inputs[k : k + 1], NoAttrs(), model.tensor(op.inputs[k]).shape, OpKind.RESHAPE)
    return _Body(loop).read(k)


class _Body:
    """Collects what of a loop's body one of its outputs needs."""

    def __init__(self, loop: _Loop) -> None:
        self.loop = loop
        self.sequences: dict[int, tuple[int, Walk]] = {}  # by the tensor of the row: the value, which rows
        self.fixed: list[int] = []  # values of the loop that every step reads
        self.states: list[int] = []  # values of the loop that a step remembers
        self.operators: list[RawOperator] = []
        self.tensors: list[RawTensor] = list(loop.body.tensors)
        self.conversions: list[RawOperator] = []  # of rows

    def read(self, k: int) -> Read:
        """Return the loop that computes output k."""
        loop, model, body = self.loop, self.loop.model, self.loop.body
        tensors = self.tensors
        target, place = body.outputs[k], loop.places.get(k)
        renamed: dict[int, int] = {}
        if place is not None:  # what follows the list works on the row alone
            at = target
            while at != (origin := _origin(loop, at)):
                tensors[at] = dataclasses.replace(tensors[at], shape=tensors[place.item].shape, signature=())
                at = origin
            renamed[at] = place.item
            target = renamed.get(target, target)
        self._need(target, renamed)
        variables = []
        initial: list[int] = []
        for j in self.states:
            value, following = body.inputs[j], body.outputs[j]
            first = model.tensor(loop.op.inputs[j])
            data = np.zeros(first.size_bytes, np.uint8)
            if first.data is not None:
                data = np.frombuffer(np.ascontiguousarray(first.data).tobytes(), np.uint8)
            initial.append(-1 if first.data is not None else loop.op.inputs[j])
            variables.append(Variable(value, following, data))
        needed = {id(op) for op in self.operators}
        operators = tuple(
            dataclasses.replace(op, inputs=tuple(renamed.get(t, t) for t in op.inputs))
            for op in body.operators
            if id(op) in needed
        )
        raw = RawModel(
            tuple(tensors),
            (*self.conversions, *operators),
            (*self.sequences, *(body.inputs[j] for j in self.fixed)),
            (target,),
        )
        if not operators or target not in loop.producers or target in self.sequences:
            raise model.error(
                f"its value {k} is moved, not computed", "expected an operator in the body that computes it"
            )
        graph = model.body(raw, variables)
        walks = tuple(walk for _, walk in self.sequences.values())
        inputs = (
            *(loop.op.inputs[j] for j, _ in self.sequences.values()),
            *(loop.op.inputs[j] for j in self.fixed),
            *initial,
        )
        row = graph.tensors[graph.outputs[0]].shape
        shape = row if place is None else (loop.steps, *row[1:])
        return Read(inputs, LoopAttrs(graph, loop.steps, walks, None if place is None else place.walk), shape)

    def _need(self, target: int, renamed: Mapping[int, int]) -> None:
        """Follow a tensor back to the body's inputs."""
        loop, body = self.loop, self.loop.body
        position = {t: j for j, t in enumerate(body.inputs)}
        waiting, seen = [target], {-1}
        while waiting:
            t = waiting.pop()
            t = renamed.get(t, t)
            if t in seen:
                continue
            seen.add(t)
            if t in position:
                self._value(position[t], waiting)
            elif t in loop.producers:
                op = loop.producers[t]
                row = _selected(loop, op)
                if row is not None:
                    self._check_shape(row[0])
                    self.sequences[self._row(t, op, row[0])] = row
                elif not any(op is other for other in self.operators):
                    self.operators.append(op)
                    waiting += [i for i in op.inputs if i < 0 or body.tensors[i].data is None]
                    seen.update(op.outputs)

    def _check_shape(self, j: int) -> None:
        """Check that a value has the same shape in the loop and outside."""
        inside = self.loop.body.tensors[self.loop.body.inputs[j]].shape
        outside = self.loop.model.tensor(self.loop.op.inputs[j])
        if inside != outside.shape:
            raise self.loop.model.error(
                f"'{outside.name}' is {dims(outside.shape)}, and {dims(inside)} in a step",
                "expected the same shape",
            )

    def _row(self, row: int, op: RawOperator, j: int) -> int:
        """Return the tensor that a row of sequence j is put into: `row`, or what is converted to it."""
        value = self.loop.body.inputs[j]
        if op.inputs[0] == value:
            return row
        whole = self.tensors[value]
        self.tensors.append(
            dataclasses.replace(
                self.tensors[row], type=whole.type, scale=whole.scale, zero_point=whole.zero_point
            )
        )
        made = len(self.tensors) - 1
        converting = self.loop.producers[op.inputs[0]]
        self.conversions.append(dataclasses.replace(converting, inputs=(made,), outputs=(row,)))
        return made

    def _value(self, j: int, waiting: list[int]) -> None:
        """Take note of a value of the loop that a step reads."""
        loop, body = self.loop, self.loop.body
        if j in loop.counters or j in loop.places:
            what = "its counter" if j in loop.counters else f"the list '{body.tensors[body.inputs[j]].name}'"
            raise loop.model.error(
                f"a step computes with {what}",
                "expected that it selects rows x[i] of sequences that the loop does not change, and writes "
                "one row of a list",
                _UNROLL,
            )
        self._check_shape(j)
        if j in loop.fixed:
            self.fixed.append(j)
        else:
            self.states.append(j)
            waiting.append(body.outputs[j])


READERS = {
    "WHILE": OperatorReader(
        OpKind.WHILE,
        _while,
        0,
        ("WhileOptions", "CondSubgraphIndex", "BodySubgraphIndex"),
        MOVED_TYPES,
        MOVED_TYPES,
    ),
}
