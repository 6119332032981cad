"""Does a target compute the bytes of the reference? Every output byte, sample by sample.

The reference is LiteRT with its reference kernels (`oracle.py`); of ONNX networks it is `reference.py`,
and its distance from onnxruntime is reported (`oracle_onnx.py`). On the first sample that differs the
target runs layer by layer, so that the report names the operator where the difference begins.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyml import numerics, passes
from tinyml.emit.context import printable
from tinyml.errors import TargetError, UsageError
from tinyml.graph import Array, DType, Graph, Tensor, signed
from tinyml.oracle import Oracle
from tinyml.oracle_onnx import OnnxOracle, RuntimeComparison
from tinyml.passes import Edges
from tinyml.readers import is_onnx, read_model
from tinyml.readers.onnx import FileValue
from tinyml.readers.onnx import read as read_onnx
from tinyml.reference import index_ranges
from tinyml.run.target import LayerInfo, Target

_ARCHIVE = (zipfile.BadZipFile, zlib.error)

Progress = Callable[[int, int], None]
"""Called with (samples compared, samples in all)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first element of a tensor that differs."""

    element: tuple[int, ...]
    expected: float
    received: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"element": list(self.element), "expected": self.expected, "received": self.received}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first sample whose outputs differ.

    `layer` is the first operator whose output differs in a run that stops behind every layer, None
    where the target cannot do that, or all layers that the reference also has are equal there; `note`
    then says which.
    """

    sample: int
    output: int
    difference: Difference
    layer: LayerInfo | None = None
    layer_difference: Difference | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        layer = None
        if self.layer is not None:
            layer = {"index": self.layer.index, "op": self.layer.op, "tensor": self.layer.name}
            if self.layer_difference is not None:
                layer |= self.layer_difference.to_json()
        return {
            "sample": self.sample,
            "output": self.output,
            **self.difference.to_json(),
            "layer": layer,
            "note": self.note,
        }

    def describe(self) -> str:
        """One or two lines for people."""
        d = self.difference
        text = (
            f"sample {self.sample}, output {self.output} at {list(d.element)}:"
            f" expected {d.expected:g}, received {d.received:g}"
        )
        if self.layer is not None and self.layer_difference is not None:
            d = self.layer_difference
            text += (
                f"\nfirst differing layer {self.layer.index}, {self.layer.op}, output '{self.layer.name}'"
                f" at {list(d.element)}: expected {d.expected:g}, received {d.received:g}"
            )
        return f"{text}\n{self.note}" if self.note else text


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verify() found.

    Args:
        samples: compared.
        mismatched_samples: of them with any differing output byte.
        first_mismatch: where the first of these differs.
        accuracy: fraction of samples whose largest first output is the label; None without labels.
        reference_accuracy: the same for the reference.
        cycles: of the last inference; None where the target counts none.
        stack_free: bytes of stack never used after the last inference; None where unknown.
        runtime: of ONNX networks, the reference's distance from onnxruntime.
    """

    samples: int
    mismatched_samples: int
    first_mismatch: Mismatch | None
    accuracy: float | None
    reference_accuracy: float | None = None
    cycles: int | None = None
    stack_free: int | None = None
    runtime: RuntimeComparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "samples": self.samples,
            "mismatched_samples": self.mismatched_samples,
            "first_mismatch": self.first_mismatch.to_json() if self.first_mismatch else None,
            "accuracy": self.accuracy,
            "reference_accuracy": self.reference_accuracy,
            "cycles": self.cycles,
            "stack_free": self.stack_free,
            "runtime": self.runtime.to_json() if self.runtime else None,
        }


def verify(
    model_path: Path,
    target: Target,
    *,
    samples: int | None = None,
    data: Path | None = None,
    seed: int = 0,
    edges: Edges = "int8",
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare a target with the reference.

    Args:
        model_path: the model file.
        target: a connected target that runs this model, built with the same `edges`.
        samples: how many; by default all of `data`, or 8 random ones.
        data: a .npz (`x` [N, …], or `x0`, `x1`, … for several inputs; `y` [N] labels, optional) or a
            .npy file (`x`). Float values are quantised with the input's scale where inputs are int8.
        seed: of the random inputs; sample i depends on `seed` and i only.
        edges: as the model was built.
        progress: told after every sample.

    Raises:
        UsageError: data that does not fit the model.
        TargetError: the target does not answer, or runs another model.
    """
    source = read_model(model_path)
    graph = passes.run(source, edges=edges)
    oracle = OnnxOracle(model_path) if is_onnx(model_path) else Oracle(model_path)
    if graph.sha256 and target.info.model_sha256 != graph.sha256:
        raise TargetError(
            f"the target runs another model: {target.info.model}",
            expected=f"expected SHA-256 {graph.sha256[:16]}…, received {target.info.model_sha256[:16]}…",
            hint=f"build {model_path.name} again",
        )
    dataset = Dataset.load(data, graph, file_values(model_path)) if data is not None else None
    count = samples if samples is not None else (len(dataset) if dataset else 8)
    if dataset is not None:
        count = min(count, len(dataset))
    if count < 1:
        raise UsageError(f"{count} samples asked for", expected="expected at least 1")
    ranges = _value_ranges(source, graph)

    def reference(inputs: Sequence[Array]) -> list[Array]:
        return oracle.run_int8(source, inputs) if edges == "int8" else oracle.run(inputs)

    past: list[Sequence[Array]] = []  # samples that a model with states has seen

    def replay() -> None:
        """Bring the target to where it was before the last sample."""
        target.reset_states()
        for inputs in past[:-1]:
            target.infer(inputs)

    target.reset_states()
    mismatched = right = reference_right = 0
    first: Mismatch | None = None
    cycles = stack_free = None
    for i in range(count):
        inputs = dataset.sample(i) if dataset else random_inputs(ranges, seed, i)
        if target.info.stateful:
            past.append(inputs)
        wanted = reference(inputs)
        inference = target.infer(inputs)
        cycles, stack_free = inference.cycles, inference.stack_free
        got = [
            raw.view(value.dtype).reshape(value.shape)
            for raw, value in zip(inference.outputs, wanted, strict=True)
        ]
        unequal = [k for k, value in enumerate(wanted) if value.tobytes() != got[k].tobytes()]
        if unequal:
            mismatched += 1
            if first is None:
                k = unequal[0]
                found = Mismatch(i, k, _difference(wanted[k], got[k]))
                first = _locate(target, graph, oracle, inputs, found, replay)
                replay()
                if past:
                    target.infer(inputs)
        if dataset is not None and dataset.labels is not None:
            right += int(np.argmax(got[0])) == int(dataset.labels[i])
            reference_right += int(np.argmax(wanted[0])) == int(dataset.labels[i])
        if progress is not None:
            progress(i + 1, count)
    labelled = dataset is not None and dataset.labels is not None
    return VerifyReport(
        samples=count,
        mismatched_samples=mismatched,
        first_mismatch=first,
        accuracy=right / count if labelled else None,
        reference_accuracy=reference_right / count if labelled else None,
        cycles=cycles,
        stack_free=stack_free,
        runtime=oracle.comparison() if isinstance(oracle, OnnxOracle) else None,
    )


# ---- inputs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples from a file: per model input an array [N, …] of the input's dtype, and labels [N]."""

    inputs: tuple[Array, ...]
    shapes: tuple[tuple[int, ...], ...]
    labels: Array | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def sample(self, i: int) -> list[Array]:
        """Return sample i: one array per model input, of the input's shape."""
        return [x[i].reshape(shape) for x, shape in zip(self.inputs, self.shapes, strict=True)]

    @classmethod
    def load(cls, path: Path, graph: Graph, file_values: Sequence[FileValue] = ()) -> Dataset:
        """Read a .npz or .npy file and fit it to the graph's inputs.

        Args:
            path: the file.
            graph: the graph after passes.
            file_values: of ONNX networks the inputs in the file: samples may have their shapes too.

        Raises:
            UsageError: unreadable, or of a wrong shape or type.
        """
        arrays = _read_arrays(path)
        tensors = [graph.tensors[t] for t in graph.inputs]
        names = ["x"] if len(tensors) == 1 else [f"x{i}" for i in range(len(tensors))]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise UsageError(
                f"{path.name} has no array {', '.join(missing)}",
                where=str(path),
                expected=f"expected {', '.join(names)}; it has {', '.join(sorted(arrays)) or 'no such'}",
                hint="numpy.savez(path, x=samples, y=labels)",
            )
        samples = [arrays[name] for name in names]
        for i, value in enumerate(file_values):
            samples[i] = _in_graph_order(samples[i], tensors[i], value)
        inputs = tuple(
            _fit(x, t, f"{path.name}: {n}") for x, t, n in zip(samples, tensors, names, strict=True)
        )
        counts = {len(x) for x in inputs}
        if len(counts) != 1 or 0 in counts:
            raise UsageError(
                f"{path.name} has {', '.join(map(str, sorted(counts)))} samples",
                where=str(path),
                expected="expected at least one, and as many for every input",
            )
        labels = arrays.get("y")
        count = len(inputs[0])
        if labels is not None and (
            labels.dtype.kind not in "iu" or labels.size != count or labels.shape[:1] != (count,)
        ):
            raise UsageError(
                f"the labels `y` of {path.name} do not fit",
                where=str(path),
                expected=f"expected {len(inputs[0])} class numbers,"
                f" received {labels.dtype}{list(labels.shape)}",
            )
        classes = graph.tensors[graph.outputs[0]].elements
        if labels is not None and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise UsageError(
                f"the labels `y` of {path.name} are not classes of the model",
                where=str(path),
                expected=f"expected 0 to {classes - 1}, received {labels.min()} to {labels.max()}",
            )
        return cls(inputs, tuple(t.shape for t in tensors), None if labels is None else labels.reshape(-1))


def sample_inputs(model_path: Path, graph: Graph, *, data: Path | None, seed: int, index: int) -> list[Array]:
    """Return one sample: sample `index` of a file, or a random one.

    Args:
        model_path: the model file.
        graph: the model after passes.
        data: a .npy or .npz file as for `verify`; a single sample may lack the first axis.
        seed: of random values.
        index: which sample.

    Raises:
        UsageError: data that does not fit, or too few samples.
    """
    if data is None:
        return random_inputs(_value_ranges(read_model(model_path), graph), seed, index)
    dataset = Dataset.load(data, graph, file_values(model_path))
    if not 0 <= index < len(dataset):
        raise UsageError(
            f"{data.name} has no sample {index}", where=str(data), expected=f"it has {len(dataset)}"
        )
    return dataset.sample(index)


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:  # numpy leaves a file open that it cannot read
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"x": content}
            # Only these: a file may hold more, of any type (class names, say).
            return {n: content[n] for n in content.files if n == "y" or n.strip("0123456789") == "x"}
    # MemoryError: a header that promises too much; RuntimeError: an encrypted archive.
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, *_ARCHIVE) as error:
        raise UsageError(
            f"{path.name} cannot be read as .npz or .npy",
            where=str(path),
            expected="it is neither" if "pickle" in str(error) else str(error),
            hint="numpy.savez(path, x=samples, y=labels)",
        ) from error


def file_values(model_path: Path) -> tuple[FileValue, ...]:
    """Return the inputs of an ONNX file as it has them; none of other files, whose order is the graph's."""
    if not is_onnx(model_path):
        return ()
    model = read_onnx(model_path)
    return tuple(value for t in model.graph.inputs if (value := model.values[t]) is not None)


def _in_graph_order(x: Array, tensor: Tensor, value: FileValue) -> Array:
    """Return samples that have the file's type and shape, and not the graph's, as the graph has them."""
    if value.dtype == "uint8" and x.dtype == np.uint8:
        x = signed(x)
    shape = x.shape[1:]
    if (
        not x.ndim
        or not len(x)
        or shape in (tensor.shape, tensor.shape[1:])
        or shape not in (value.shape, value.shape[1:])
    ):
        return x
    return np.stack([value.from_file(sample) for sample in x]).reshape(len(x), *tensor.shape)


def _fit(x: Array, tensor: Tensor, where: str) -> Array:
    """Return x as [N, …] of the tensor's dtype."""
    shapes = {tensor.shape}
    if tensor.shape[:1] == (1,):
        shapes.add(tensor.shape[1:])
        if x.shape == tensor.shape[1:]:
            x = x[np.newaxis]
    if x.ndim < 1 or x.shape[1:] not in shapes:
        wanted = " or ".join(str(["N", *shape]).replace("'", "") for shape in sorted(shapes, key=len))
        raise UsageError(
            f"the samples do not fit input '{tensor.name}'",
            where=where,
            expected=f"expected shape {wanted}, received {list(x.shape)}",
        )
    if tensor.unsigned and x.dtype == np.uint8:
        return signed(x)
    if x.dtype == np.dtype(tensor.dtype.value) and x.dtype.kind != "f":
        return x
    if tensor.quant is None and x.dtype.kind in "iu" and tensor.dtype in (DType.INT32, DType.INT64):
        limits = np.iinfo(tensor.dtype.value)
        if x.size and (int(x.min()) < limits.min or int(x.max()) > limits.max):
            raise UsageError(f"the samples do not fit in {tensor.dtype.value}", where=where)
        return x.astype(tensor.dtype.value)
    if x.dtype.kind == "f" and (tensor.dtype is DType.FLOAT32 or tensor.quant is not None):
        with np.errstate(over="ignore"):
            real = x.astype(np.float32)
        if not np.isfinite(real).all():
            raise UsageError("the samples hold values that are not finite as float32", where=where)
        return real if tensor.dtype is DType.FLOAT32 else numerics.quantize_floats(real, tensor)
    raise UsageError(
        f"the samples do not fit input '{tensor.name}'",
        where=where,
        expected=f"expected {tensor.dtype.value} or float values, received {x.dtype}",
    )


@dataclass(frozen=True, slots=True)
class _ValueRange:
    """What random values of an input look like: its shape and type, and the int8 quantisation behind it.

    `choices` are the smallest and the largest index, None where the input is none.
    """

    shape: tuple[int, ...]
    dtype: DType
    scale: float
    zero_point: int
    choices: tuple[int, int] | None = None


def _value_ranges(source: Graph, graph: Graph) -> list[_ValueRange]:
    ranges, choices = [], index_ranges(source)
    for index, original in zip(graph.inputs, source.inputs, strict=True):
        tensor = graph.tensors[index]
        consumers = source.consumers(original)
        # A float input means what the QUANTIZE behind it makes of it.
        candidates = [original, *(source.ops[i].outputs[0] for i in consumers)]
        inner = next((source.tensors[t] for t in candidates if source.tensors[t].dtype is DType.INT8), None)
        if inner is None or inner.quant is None:
            wide = next(
                (source.tensors[t] for t in candidates if source.tensors[t].dtype is DType.INT16), None
            )
            scale = 1 / 32 if wide is None or wide.quant is None else 256 * wide.scale
            ranges.append(_ValueRange(tensor.shape, tensor.dtype, scale, 0, choices.get(original)))
        else:
            ranges.append(_ValueRange(tensor.shape, tensor.dtype, inner.scale, inner.zero_point))
    return ranges


def random_inputs(ranges: Sequence[_ValueRange], seed: int, index: int) -> list[Array]:
    """Return random sample `index`: in turn noise, extremes, ramps, and small values around zero.

    Noise alone rarely saturates an activation; extremes do, ramps show swapped axes, and values near
    zero exercise the roundings. Float inputs get values between the int8 steps, and some outside.
    """
    random = np.random.default_rng([seed, index])
    inputs: list[Array] = []
    for r in ranges:
        size = int(np.prod(r.shape, dtype=np.int64))
        kind = index % 4
        if r.choices is not None:  # TensorFlow Lite fails on indices outside
            inputs.append(random.integers(*r.choices, r.shape, endpoint=True).astype(r.dtype.value))
            continue
        if kind == 0:
            q = random.integers(-128, 128, size)
        elif kind == 1:
            q = random.choice(np.array([-128, -127, 0, 126, 127]), size)
        elif kind == 2:
            q = (np.arange(size) * int(random.integers(1, 8)) + int(random.integers(256))) % 256 - 128
        else:
            q = np.clip(r.zero_point + random.integers(-6, 7, size), -128, 127)
        if r.dtype is DType.INT16:  # the same shapes over 16 bits
            q = q * 257 + random.integers(-128, 129, size) if kind != 3 else r.zero_point + q
            inputs.append(np.clip(q, -32768, 32767).astype(np.int16).reshape(r.shape))
        elif r.dtype is not DType.INT8 and r.dtype is not DType.FLOAT32:  # flags, numbers
            inputs.append((q & 1).astype(r.dtype.value).reshape(r.shape))
        elif r.dtype is DType.FLOAT32:
            real = r.scale * (q - r.zero_point + random.uniform(-0.7, 0.7, size))
            inputs.append(real.astype(np.float32).reshape(r.shape))
        else:
            inputs.append(q.astype(np.int8).reshape(r.shape))
    return inputs


# ---- finding the first differing layer --------------------------------------------------------------


def _difference(expected: Array, received: Array) -> Difference:
    """Return the first element whose bytes differ; there is one."""
    size = expected.dtype.itemsize
    a = np.ascontiguousarray(expected).view(np.uint8).reshape(-1, size)
    b = np.ascontiguousarray(received).view(np.uint8).reshape(-1, size)
    at = int(np.argmax((a != b).any(axis=1)))
    element = tuple(int(i) for i in np.unravel_index(at, expected.shape))
    return Difference(element, float(expected.reshape(-1)[at]), float(received.reshape(-1)[at]))


def _locate(
    target: Target,
    graph: Graph,
    oracle: Oracle | OnnxOracle,
    inputs: Sequence[Array],
    mismatch: Mismatch,
    replay: Callable[[], None],
) -> Mismatch:
    """Add the first differing layer. The oracle still holds the tensors of this sample."""
    sample, output, difference = mismatch.sample, mismatch.output, mismatch.difference
    if not target.info.trace:
        return Mismatch(sample, output, difference, note="the firmware has no trace hooks: no layer is named")
    tensors = _layer_tensors(graph, target.layers())
    replay()
    for layer, trace in zip(target.layers(), target.trace(inputs), strict=True):
        tensor = tensors[layer.index]
        if tensor is None or graph.source_index[tensor] < 0:
            continue
        expected = graph.tensors[tensor].of_file(oracle.tensor(graph.source_index[tensor]))
        if expected.nbytes != layer.size_bytes or zlib.crc32(expected.tobytes()) == trace.crc32:
            continue
        replay()
        raw = target.layer_output(inputs, layer.index)
        received = np.frombuffer(raw, expected.dtype).reshape(expected.shape)
        if received.tobytes() != expected.tobytes():
            inner = _difference(expected, received)
            channels = graph.tensors[tensor].channels
            if channels is not None:  # the element of the file's tensor
                element = (*inner.element[:-1], channels[inner.element[-1]])
                inner = Difference(element, inner.expected, inner.received)
            return Mismatch(sample, output, difference, layer, inner)
        return Mismatch(
            sample, output, difference, layer, note="the layer differed in one run and not in the next"
        )
    return Mismatch(
        sample, output, difference, note="no layer differed when the sample was repeated layer by layer"
    )


def _layer_tensors(graph: Graph, layers: Sequence[LayerInfo]) -> list[int | None]:
    """Return the graph's output tensor of every layer on the target; None where none fits.

    Layers and operators are both in order of execution, but views have no layer, and a plan may order
    the operators anew: so each layer takes the first operator left with its kind and tensor name.
    """
    left = [(op.title, printable(graph.tensors[op.outputs[0]].name), op.outputs[0]) for op in graph.ops]
    found: list[int | None] = []
    for layer in layers:
        at = next(
            (i for i, (kind, name, _) in enumerate(left) if (kind, name) == (layer.op, layer.name)), None
        )
        found.append(left.pop(at)[2] if at is not None else None)
    return found
