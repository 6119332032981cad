"""Reads a .tflite file into a Graph, or says exactly why it cannot.

`flatbuffer.py` decodes the bytes, `tensors.py` judges tensors and operands, `operators/` each operator:
its reader checks the inputs, turns attribute-carrying ones (axes, paddings, permutations, sizes) into
attributes, resolves SAME and VALID into explicit pads, and returns the output shape it must have, which
is compared with the declared one here.

Source: TensorFlow Lite operator preparation, `lite/kernels/*.cc` (`Prepare`) and `padding.h`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinyml.errors import ModelError, UnsupportedOp
from tinyml.graph import Array, DType, Graph, NoAttrs, Op, OpKind, State
from tinyml.readers.files import read_bytes
from tinyml.readers.flatbuffer import RawModel, RawOperator, decode
from tinyml.readers.operators import COMPUTED, READERS, Read, compute
from tinyml.readers.tensors import QUANTISE, ModelTensors, dims
from tinyml.readers.variables import OPTIONS, Variable, resolve

_INPUT_TYPES = (DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.BOOL, DType.FLOAT32)

# Inputs that are shapes of outputs. With these operators and SHAPE, converters compute them where the batch
# size was left open.
_SHAPE_READERS = frozenset((("RESHAPE", 1), ("TRANSPOSE_CONV", 0)))
_SHAPE_ARITHMETIC = frozenset(
    ("CAST", "CONCATENATION", "GATHER", "MUL", "PACK", "REDUCE_PROD", "SLICE", "STRIDED_SLICE")
)
_INT8_EDGES = (
    "convert again with converter.inference_input_type = converter.inference_output_type = tf.int8, "
    "or leave both float32; or run `tinyml quantize --data SAMPLES MODEL` on the float model"
)
_FLOAT_ONLY = "LiteRT has it only in float: replace this layer, or run it outside the model"
ADVICE = {
    "ADD_N": "add two tensors at a time",
    "CONV_3D": _FLOAT_ONLY,
    "CONV_3D_TRANSPOSE": _FLOAT_ONLY,
    "FLOOR_DIV": "multiply by the reciprocal: LiteRT divides the bytes, whatever their scales",
    "FLOOR_MOD": "LiteRT divides the bytes, whatever their scales; run it outside the model",
    "ONE_HOT": "take the rows of an identity matrix with tf.gather: GATHER is supported",
    "REDUCE_ALL": "take tf.reduce_min of what the comparison chooses between, 0 and 1",
    "REDUCE_ANY": "take tf.reduce_max of what the comparison chooses between, 0 and 1",
    "WHERE": "the number of its results depends on the data: choose with tf.where(condition, a, b)",
    "IF": "export a model without control flow",
}

# C11 and C++ keywords: a model of that name would not compile.
_KEYWORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
char32_t class compl concept const consteval constexpr constinit const_cast continue co_await
co_return co_yield decltype default delete do double dynamic_cast else enum explicit export
extern false final float for friend goto if inline int long mutable namespace new noexcept not
not_eq nullptr operator or or_eq override private protected public register reinterpret_cast
requires restrict return short signed sizeof static static_assert static_cast struct switch
template this thread_local throw true try typedef typeid typename typeof union unsigned using
virtual void volatile wchar_t while xor xor_eq
"""
# The generated header is <name>.h: it must not hide a standard header or one of the harness.
_HEADERS = """
assert complex ctype errno fenv inttypes iso646 limits locale math setjmp signal stdalign
stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time
uchar wchar wctype main model port arduino stm32_gpio
"""
# Prefixes of the harness (APP_ARENA_BYTES in app_model.h) and of the runtime (type tm_model).
_NAMESPACES = "app app_model tm"
_RESERVED = frozenset(f"{_KEYWORDS} {_HEADERS} {_NAMESPACES}".split())


def read_model(path: Path) -> Graph:
    """Read a .tflite file.

    Args:
        path: the file; its stem names the graph.

    Returns:
        The graph, operators in file order, SAME and VALID resolved, every tensor checked. Float
        edges are kept: `tinyml.passes.run` removes them.

    Raises:
        ModelError: the file cannot be read, is damaged, or breaks TFLite's own rules.
        UnsupportedOp: it uses operators or element types that no kernel runs; lists them all.
    """
    path = Path(path)
    data = read_bytes(path)
    options = {name: reader.options for name, reader in READERS.items() if reader.options} | OPTIONS
    reader = _GraphReader(decode(data, path.name, options), path.name)
    return reader.graph(identifier(path.stem), hashlib.sha256(data).hexdigest())


def identifier(stem: str) -> str:
    """Return a lowercase C identifier for a file stem.

    Never empty, a keyword, a standard header's name (the generated header is `<name>.h`) or in
    the runtime's namespace `tm_`; at most 48 characters.
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:48].rstrip("_")
    if not name:
        return "model_0"
    if name[0].isdigit() or name in _RESERVED or name.startswith(("tm_", "tinyml")):
        return f"model_{name}"
    return name


class _GraphReader(ModelTensors):
    """Turns raw records into a Graph."""

    variables: tuple[Variable, ...] = ()
    _variable_ops: frozenset[int] = frozenset()

    # The whole graph

    def graph(self, name: str, sha256: str) -> Graph:
        """Check and convert everything."""
        self._check_indices()
        resolved = resolve(self.raw, self.file)
        self.raw = dataclasses.replace(self.raw, operators=resolved.operators, outputs=resolved.outputs)
        self._variable_ops = resolved.left_out
        self.variables = (*self.variables, *resolved.variables)
        self.shape_ops = self._shape_arithmetic()
        self.unsigned = self._unsigned_edges()
        self._refuse_unsupported()
        available = {*self.raw.inputs, *(variable.tensor for variable in self.variables)}
        written: dict[int, str] = dict.fromkeys(self.raw.inputs, "the model's inputs")
        ops: list[Op] = []
        for i, raw in enumerate(self.raw.operators):
            if i in self._variable_ops:
                continue
            self.where = f"op {i} {raw.name} '{self.raw.tensors[raw.outputs[0]].name}'"
            self._check_order(raw, available, written)
            if i in self.shape_ops:
                continue
            if raw.name in COMPUTED:
                self.fix(raw.outputs[0], compute(self, raw))
                continue
            reader = READERS[raw.name]
            read = reader.read(self, raw)
            parts = (read,) if isinstance(read, Read) else read  # None where there is nothing to compute
            if len(parts) != len(raw.outputs):
                raise self.error(f"it has {len(raw.outputs)} outputs", f"expected {len(parts)}")
            for index, part in zip(raw.outputs, parts, strict=True):
                if part is None:
                    continue
                output = self.tensor(index)
                if output.shape != part.shape:
                    raise self.error(
                        f"its output is declared as {dims(output.shape)}",
                        f"its inputs and attributes give {dims(part.shape)}",
                    )
                ops.append(Op(part.kind or reader.kind, part.inputs, (index,), part.attrs, output.name))
        for index in self.raw.outputs:
            copied = index in self.raw.inputs and self.raw.tensors[index].type == "int8"
            if index not in available or (index in self.raw.inputs and not copied):
                raise ModelError(
                    f"{self.file}: model output '{self.raw.tensors[index].name}' is not computed",
                    expected="expected an operator that writes it",
                    hint="remove it from the model's outputs",
                )
        return self._compact(name, sha256, ops)

    def body(self, raw: RawModel, variables: Sequence[Variable]) -> Graph:
        """Return a step of the loop at hand as a graph."""
        reader = _GraphReader(raw, f"{self.file}, a step of {self.where}")
        reader.variables = tuple(variables)
        return reader.graph("step", "")

    def _compact(self, name: str, sha256: str, ops: list[Op]) -> Graph:
        """Number the tensors that are used from 0, in file order."""
        for index in self.raw.inputs:
            self.where = "the model's inputs"
            if self.activation(index, _INPUT_TYPES).data is not None:
                raise self.error(f"input '{self.tensor(index).name}' is a constant", "expected no data")
        for variable in self.variables:
            self._check_variable(variable, ops)
        self._check_exchange()
        states = [State(t, None, np.array(initial)) for t, initial in self.states.items()]
        states += [State(v.tensor, v.next, self._first_value(v)) for v in self.variables]
        used = sorted(
            {t for op in ops for t in (*op.inputs, *op.outputs) if t >= 0}
            | set(self.raw.inputs)
            | set(self.raw.outputs)
            | {t for state in states for t in (state.tensor, state.result)}
        )
        new = {old: i for i, old in enumerate(used)} | {-1: -1}
        # An output that is an input as well, or another output, is a copy of it.
        outputs: list[int] = []
        copied: list[int] = []
        for t in self.raw.outputs:
            if t in self.raw.inputs or new[t] in outputs:
                outputs.append(len(used) + len(copied))
                copied.append(t)
            else:
                outputs.append(new[t])
        return Graph(
            name=name,
            tensors=tuple(self.tensor(t) for t in (*used, *copied)),
            ops=tuple(
                Op(
                    op.kind,
                    tuple(new[t] for t in op.inputs),
                    tuple(new[t] for t in op.outputs),
                    op.attrs,
                    op.name,
                )
                for op in ops
            )
            + tuple(self._copy(old, len(used) + i, new, ops) for i, old in enumerate(copied)),
            inputs=tuple(new[t] for t in self.raw.inputs),
            outputs=tuple(outputs),
            states=tuple(
                State(new[s.tensor], None if s.next is None else new[s.next], s.initial) for s in states
            ),
            source_index=(*used, *copied),
            sha256=sha256,
        )

    def _copy(self, tensor: int, copy: int, new: Mapping[int, int], ops: Sequence[Op]) -> Op:
        """Return the operator that copies an int8 tensor, or dequantises one a second time."""
        name = self.tensor(tensor).name
        if self.tensor(tensor).dtype is DType.INT8:
            return Op(OpKind.QUANTIZE, (new[tensor],), (copy,), NoAttrs(), name)
        source = next(op.inputs[0] for op in ops if op.outputs == (tensor,))
        return Op(OpKind.DEQUANTIZE, (new[source],), (copy,), NoAttrs(), name)

    def _check_variable(self, variable: Variable, ops: Sequence[Op]) -> None:
        """Check that what a variable becomes is computed and of its type."""
        tensor = self.activation(variable.tensor, _INPUT_TYPES)
        self.where = f"the variable read as '{tensor.name}'"
        if variable.next is None:
            return
        following = self.tensor(variable.next)
        if (following.shape, following.dtype) != (tensor.shape, tensor.dtype):
            raise self.error(
                f"it is {tensor.dtype.value} {dims(tensor.shape)}, and assigned "
                f"{following.dtype.value} {dims(following.shape)}",
                "expected the same type and shape",
            )
        known = {
            *self.raw.inputs,
            *(v.tensor for v in self.variables),
            *(t for op in ops for t in op.outputs),
        }
        if variable.next not in known:
            raise self.error(
                f"it is assigned '{following.name}'", "expected a value that the model computes, or an input"
            )

    def _check_exchange(self) -> None:
        """Refuse variables that exchange their values: each would have to be replaced before the other."""
        following = {v.tensor: v.next for v in self.variables if v.next is not None}
        for start in following:
            tensor, seen = start, set[int]()
            while tensor in following and tensor not in seen:
                seen.add(tensor)
                tensor = following[tensor]
            if tensor in seen:
                raise self.error(
                    f"variables, '{self.tensor(start).name}' among them, exchange their values",
                    "expected values that the model computes",
                    "keep them in one variable",
                )

    def _first_value(self, variable: Variable) -> Array:
        """Return a variable's value before the first inference."""
        tensor = self.tensor(variable.tensor)
        if variable.initial.size != tensor.size_bytes:
            raise self.error(
                f"its first value has {variable.initial.size} bytes", f"expected {tensor.size_bytes}"
            )
        dtype = np.dtype(tensor.dtype.value).newbyteorder("<")
        return np.asarray(variable.initial.view(dtype).reshape(tensor.shape))

    def _check_indices(self) -> None:
        count = len(self.raw.tensors)
        if not self.raw.operators:
            raise ModelError(f"{self.file} has no operators", expected="expected at least one")
        if not self.raw.inputs or not self.raw.outputs:
            raise ModelError(
                f"{self.file} has no inputs or no outputs", expected="expected at least one each"
            )
        # Layers that return their state as well give the same tensor two names.
        copied = {i for i, tensor in enumerate(self.raw.tensors) if tensor.type == "int8"}
        copied.update(t for op in self.raw.operators if op.name == "DEQUANTIZE" for t in op.outputs)
        for what, indices in (("inputs", self.raw.inputs), ("outputs", self.raw.outputs)):
            twice = {t for i, t in enumerate(indices) if t in indices[:i]}
            if twice and not (what == "outputs" and twice <= copied):
                raise ModelError(
                    f"{self.file} lists a tensor twice in the model's {what}",
                    expected=f"expected different tensors, found indices {list(indices)}",
                    hint="export the model with each tensor once",
                )
            for index in indices:
                if not 0 <= index < count:
                    raise self._bad_index(f"the model's {what}", index)
        for i, op in enumerate(self.raw.operators):
            if not op.outputs and op.name not in OPTIONS:
                raise ModelError(
                    f"{self.file}: op {i} {op.name} has no output", expected="expected one or more"
                )
            if not op.inputs and op.name not in OPTIONS:
                raise ModelError(
                    f"{self.file}: op {i} {op.name} has no input", expected="expected one or more"
                )
            for index in op.inputs:
                if not -1 <= index < count:
                    raise self._bad_index(f"the inputs of op {i} {op.name}", index)
            for index in op.outputs:
                if not 0 <= index < count:
                    raise self._bad_index(f"the outputs of op {i} {op.name}", index)

    def _bad_index(self, where: str, index: int) -> ModelError:
        return ModelError(
            f"{self.file} is damaged: it refers to tensor {index}",
            where=where,
            expected=f"the model has tensors 0 to {len(self.raw.tensors) - 1}",
            hint="convert or copy the file again",
        )

    def _shape_arithmetic(self) -> frozenset[int]:
        """Return the operators that compute nothing but shapes of outputs, from tensors' shapes."""
        operators = self.raw.operators
        found: set[int] = set()
        known = {t for t, tensor in enumerate(self.raw.tensors) if tensor.data is not None}
        for i, op in enumerate(operators):
            if op.name == "SHAPE" or (op.name in _SHAPE_ARITHMETIC and known.issuperset(op.inputs)):
                found.add(i)
                known.update(op.outputs)
        while True:
            elsewhere = set(self.raw.outputs).union(
                t
                for i, op in enumerate(operators)
                for position, t in enumerate(op.inputs)
                if i not in found and (op.name, position) not in _SHAPE_READERS
            )
            values = {i for i in found if elsewhere.intersection(operators[i].outputs)}
            if not values:
                return frozenset(found)
            found -= values

    def _unsigned_edges(self) -> frozenset[int]:
        """Return the uint8 activations that only QUANTIZE reads and writes: edges of int8 networks."""
        elsewhere = {
            t for op in self.raw.operators if op.name != "QUANTIZE" for t in (*op.inputs, *op.outputs)
        }
        return frozenset(
            t
            for op in self.raw.operators
            if op.name == "QUANTIZE"
            for t in (*op.inputs, *op.outputs)
            if t not in elsewhere and self.raw.tensors[t].type == "uint8" and self.raw.tensors[t].data is None
        )

    def _refuse_unsupported(self) -> None:
        """Raise one UnsupportedOp that lists every operator no kernel can run."""
        lines: list[str] = []
        kinds: set[str] = set()
        wrong_types = edges = 0
        for i, op in enumerate(self.raw.operators):
            if i in self.shape_ops or i in self._variable_ops or op.name in COMPUTED:
                continue
            output = self.raw.tensors[op.outputs[0]]
            if op.name not in READERS:
                advice = ADVICE.get(op.name, "replace this layer, or run it outside the model")
                kinds.add(op.name)
            else:
                wrong = self._unsupported_type(op)
                if wrong is None:
                    continue
                advice = f"{wrong}; {ADVICE[op.name]}" if op.name in ADVICE else wrong
                wrong_types += 1
                edges += self._unsupported_edge(op)
            lines.append(f"op {i} {op.name} '{output.name}' {dims(output.shape)} {output.type}: {advice}")
        if not lines:
            return
        count = f"{len(lines)} operator{'s' * (len(lines) > 1)}"
        if kinds:
            what = f"{self.file} has {count} that cannot run ({', '.join(sorted(kinds))})"
        elif edges == len(lines):
            what = f"{self.file} is quantised, but its edges are neither int8, uint8 nor float32"
        elif any(t.type == "int8" and t.data is None for t in self.raw.tensors):
            what = f"{self.file} is only partly quantised: {count} cannot run in int8"
        elif any(t.type == "int8" and t.scale for t in self.raw.tensors):
            what = f"{self.file} is a hybrid model (float activations, int8 weights): {count} cannot run"
        else:
            what = f"{self.file} is not quantised to int8: {count} cannot run"
        hint = QUANTISE if wrong_types else "replace these operators, or run them outside the model"
        raise UnsupportedOp(
            what,
            where="\n  ".join(lines),
            expected=f"supported, in int8: {', '.join(sorted(READERS))}",
            hint=_INT8_EDGES if edges and edges == len(lines) else hint,
        )

    def _unsupported_edge(self, op: RawOperator) -> bool:
        """Return whether an operator that cannot run only converts a model input or output, of uint8 say."""
        return op.name == "QUANTIZE" and (
            op.inputs[0] in self.raw.inputs or op.outputs[0] in self.raw.outputs
        )

    def _unsupported_type(self, op: RawOperator) -> str | None:
        """Say for which tensor and type no kernel runs an operator; None where all are as they should."""
        reader = READERS[op.name]
        checked = [(i, "input", reader.input_types) for i in reader.data(op.inputs)]
        checked += [(i, "output", reader.output_types) for i in op.outputs]
        for index, role, allowed in checked:
            if index < 0:
                continue
            tensor = self.raw.tensors[index]
            if tensor.type not in allowed:
                more = f"; {reader.other_types}" if reader.other_types else ""
                return (
                    f"its {role} '{tensor.name}' of type {tensor.type} must be {' or '.join(allowed)}{more}"
                )
        return None

    def _check_order(self, op: RawOperator, available: set[int], written: dict[int, str]) -> None:
        for index in op.inputs:
            tensor = self.raw.tensors[index]
            if index >= 0 and index not in available and tensor.data is None and not tensor.is_variable:
                raise self.error(
                    f"it reads tensor '{tensor.name}' before anything has written it",
                    "expected operators in an executable order, without cycles",
                )
        for index in op.outputs:
            if index in written:
                raise self.error(
                    f"it writes tensor '{self.raw.tensors[index].name}'",
                    f"that tensor is already written by {written[index]}",
                )
            if self.raw.tensors[index].data is not None:
                raise self.error(f"it writes the constant '{self.raw.tensors[index].name}'", "")
            written[index] = self.where
            available.add(index)
