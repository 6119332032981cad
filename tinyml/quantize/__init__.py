"""Float network → int8 .tflite: calibration on samples, and what the rounding costs in accuracy.

TensorFlow quantises (`worker.py`, in a process of its own); LiteRT judges: the float model and the int8
model run on the same samples, the int8 one with the reference kernels whose bytes the firmware computes.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tinyml.errors import ModelError, UsageError
from tinyml.files import write_file
from tinyml.graph import Array, DType, Quant, Tensor
from tinyml.numerics import quantize_floats
from tinyml.oracle import Oracle
from tinyml.quantize.converter import Converter
from tinyml.quantize.data import Decode, Input, Pixels, Samples, Source, evenly, open_source
from tinyml.readers.flatbuffer import RawModel, RawTensor, decode
from tinyml.readers.tflite import read_model

Edges = Literal["int8", "float"]
Activations = Literal["int8", "int16"]
Resize = Literal["stretch", "crop"]
Kind = Literal["keras", "saved_model", "tflite"]
Progress = Callable[[str, int, int], None]

_QUANTISED = ("int8", "int16")
_KERAS = frozenset((".keras", ".h5", ".hdf5"))
_ROUNDED = frozenset(("int4", "int8", "uint8", "int16", "float16", "bfloat16"))
_UNROLL = (
    "export a model without control flow: recurrent layers with unroll=True, as is done here for Keras files"
)
_ENOUGH_TO_JUDGE = 20  # samples, before an accuracy is called no better than chance
_CHANCE = 1.5  # times 1 / classes


@dataclass(frozen=True, slots=True)
class Edge:
    """An int8 model's input or output, `real = scale · (q − zero_point)`; scale is None where it is float."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "scale": self.scale,
            "zero_point": self.zero_point,
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """An output of the int8 model beside the float model's, over all test samples.

    sqnr_db: signal to quantisation noise, 10 log10(Σ float² / Σ (float − int8)²); None where either sum is 0.
    max_error: the largest difference.
    range: smallest and largest float value.
    same_choice: share of positions where the largest value along the last axis is the same one (of one
        value: where it is on the same side of the threshold); None for one value that is no decision.
    """

    edge: Edge
    sqnr_db: float | None
    max_error: float
    range: tuple[float, float]
    same_choice: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the edge's among them."""
        return self.edge.to_json() | {
            "sqnr_db": self.sqnr_db,
            "max_error": self.max_error,
            "range": list(self.range),
            "same_choice": self.same_choice,
        }


@dataclass(frozen=True, slots=True)
class QuantizeReport:
    """What was made and what it costs.

    Units: bytes of .tflite files; accuracies are counts of right answers among `labelled` test samples, None
    without labels. `problem` is why tinyml cannot build the result, None where it can.
    """

    model: str
    output: str
    float_bytes: int
    int8_bytes: int
    calibration_samples: int
    test_samples: int
    tested_on: str
    inputs: tuple[Edge, ...]
    outputs: tuple[Agreement, ...]
    float_right: int | None
    int8_right: int | None
    notes: tuple[str, ...]
    problem: ModelError | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; accuracies also as shares."""
        return {
            "model": self.model,
            "output": self.output,
            "float_bytes": self.float_bytes,
            "int8_bytes": self.int8_bytes,
            "calibration_samples": self.calibration_samples,
            "test_samples": self.test_samples,
            "tested_on": self.tested_on,
            "inputs": [edge.to_json() for edge in self.inputs],
            "outputs": [output.to_json() for output in self.outputs],
            "float_right": self.float_right,
            "int8_right": self.int8_right,
            "float_accuracy": _share(self.float_right, self.test_samples),
            "int8_accuracy": _share(self.int8_right, self.test_samples),
            "notes": list(self.notes),
        }


def _share(right: int | None, samples: int) -> float | None:
    return None if right is None else right / samples


def quantize(
    model: Path,
    data: Path,
    output: Path,
    *,
    labels: Path | None = None,
    test: Path | None = None,
    samples: int = 200,
    test_samples: int = 1000,
    pixels: Pixels | None = None,
    resize: Resize | None = None,
    edges: Edges = "int8",
    activations: Activations = "int8",
    progress: Progress | None = None,
) -> QuantizeReport:
    """Quantise a network to int8 after training, and compare it with the float one.

    Args:
        model: a .keras or .h5 file, a SavedModel's folder, or a float .tflite file.
        data: samples like those the network will see: see `data.open_source`.
        output: the .tflite file to write; written whole or not at all.
        labels: of `test`, or of `data` where there is no `test`.
        test: the samples to compare on; by default `data`.
        samples: calibrate on at most so many, spread evenly over `data`.
        test_samples: compare on at most so many, spread evenly.
        pixels: the range of images and uint8 arrays; by default 0 to 255 where the model scales its input
            itself, and an error otherwise.
        resize: how images of another size are made to fit; by default they are refused.
        edges: element type of the result's inputs and outputs; "int8" is that of its activations.
        activations: element type between the layers; weights are int8.
        progress: told (stage, done, total).

    Raises:
        UsageError: data, labels or options that do not fit the model.
        ModelError: a model that cannot be loaded, converted or quantised, or is quantised already.
        ToolchainError: TensorFlow is missing, or ended its process.
    """
    tell = progress or (lambda stage, done, total: None)
    kind = _kind(model)
    if output.resolve() == model.resolve():
        raise UsageError(f"{output.name} would overwrite the model", where="-o", hint="choose another file")
    if output.suffix != ".tflite" or output.is_dir():
        raise UsageError(f"{output.name} is not the name of a .tflite file", where="-o")
    if kind == "tflite":
        _refuse_rounded(_read(model), model.name)
    calibration = open_source(data, labels if test is None else None)
    testing = open_source(test, labels) if test is not None else calibration
    with Converter() as converter, tempfile.TemporaryDirectory(prefix="tinyml-") as name:
        folder = Path(name)
        network = _float_model(model, kind, calibration, converter, folder, tell)
        pixels = pixels or (Pixels(0, 255) if network.scales_itself else None)
        decode_images = _decoder(converter, folder, resize, tell)
        calibrating, tested = (
            source.take(network.inputs, evenly(source.count(network.inputs), wanted), pixels, decode_images)
            for source, wanted in ((calibration, samples), (testing, test_samples))
        )
        classifiers = [_Classifier.of(network.raw, index) for index in network.raw.outputs]
        notes, tested_labels = _labels(testing.classes, tested.labels, classifiers[0], testing.path, labels)
        int8_file = folder / "int8.tflite"
        tell("calibrate", 0, len(calibrating))
        converter.ask(
            "quantize",
            lambda done: tell("calibrate", done, len(calibrating)),
            model=str(network.file.resolve()),
            samples=_save_samples(calibrating, folder),
            edges=edges,
            activations=activations,
            out=str(int8_file),
        )
        int8_raw = _read(int8_file, output.name)
        int8_model = Oracle(int8_file)
        comparison = _Comparison(int8_raw, classifiers)
        for i in range(len(tested)):
            values = tested[i]
            comparison.add(
                network.oracle.run(values),
                int8_model.run(comparison.to_int8(values)),
                None if tested_labels is None else int(tested_labels[i]),
            )
            tell("compare", i + 1, len(tested))
        problem = _problem(int8_file, output.name)
        content = int8_file.read_bytes()
        float_bytes = network.file.stat().st_size
    write_file(output, content, option="-o")
    if comparison.no_better_than_chance():
        notes.append(
            f"the float model is right on {comparison.float_right} of {len(tested)}, no better than "
            "chance: are --range and the order of the classes (--labels) those of the training?"
        )
    return QuantizeReport(
        model=str(model),
        output=str(output),
        float_bytes=float_bytes,
        int8_bytes=len(content),
        calibration_samples=len(calibrating),
        test_samples=len(tested),
        tested_on=str(testing.path),
        inputs=tuple(
            _edge(int8_raw.tensors[index], name)
            for name, index in zip(int8_model.input_names, int8_raw.inputs, strict=True)
        ),
        outputs=comparison.agreements(int8_model.output_names),
        float_right=comparison.float_right,
        int8_right=comparison.int8_right,
        notes=(*network.notes, *notes),
        problem=problem,
    )


# ---- the steps --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _FloatModel:
    """A float .tflite file. `scales_itself`: its first layer gives the input the range it needs."""

    file: Path
    raw: RawModel
    oracle: Oracle
    inputs: tuple[Input, ...]
    scales_itself: bool = False
    notes: tuple[str, ...] = ()


def _float_model(
    model: Path, kind: Kind, samples: Source, converter: Converter, folder: Path, tell: Progress
) -> _FloatModel:
    """Convert a model to a float .tflite file, its open sizes as the samples have them."""
    file = model
    scales_itself = False
    notes = []
    if kind != "tflite":
        tell("load", 0, 1)
        loaded = converter.ask("load", model=str(model.resolve()))
        scales_itself = loaded["scales_itself"]
        if loaded["unrolled"]:
            notes.append(f"unrolled, as TensorFlow calibrates no loops: {', '.join(loaded['unrolled'])}")
        tell("convert", 0, 1)
        file = folder / "float.tflite"
        inputs = [Input(i["name"], i["dtype"], tuple(i["shape"])) for i in loaded["inputs"]]
        converter.ask("convert", shapes=samples.shapes(inputs), out=str(file))
    raw = _read(file, model.name)
    oracle = Oracle(file, reference=False)
    return _FloatModel(
        file,
        raw,
        oracle,
        tuple(
            Input(name, raw.tensors[index].type, _batch_of_one(raw.tensors[index], name, model.name))
            for name, index in zip(oracle.input_names, raw.inputs, strict=True)
        ),
        scales_itself,
        tuple(notes),
    )


def _decoder(converter: Converter, folder: Path, resize: Resize | None, tell: Progress) -> Decode:
    """Return what reads images, with TensorFlow."""

    def decode_images(files: Sequence[Path], height: int, width: int, channels: int) -> Array:
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".npy", delete=False) as out:
            path = Path(out.name)
        converter.ask(
            "decode",
            lambda done: tell("read images", done, len(files)),
            files=[str(file.resolve()) for file in files],
            height=height,
            width=width,
            channels=channels,
            resize=resize,
            out=str(path),
        )
        images: Array = np.load(path, mmap_mode="r")
        return images

    return decode_images


def _save_samples(samples: Samples, folder: Path) -> list[str]:
    """Write the samples [N, 1, …] of every input to a .npy file, and return their paths."""
    paths = []
    for k, (shape, dtype) in enumerate(zip(samples.shapes, samples.dtypes, strict=True)):
        path = folder / f"input{k}.npy"
        array = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.dtype(dtype), shape=(len(samples), *shape)
        )
        for i in range(len(samples)):
            array[i] = samples[i][k]
        array.flush()
        paths.append(str(path))
    return paths


def _problem(file: Path, name: str) -> ModelError | None:
    """Return why tinyml cannot build a quantised file, if it cannot."""
    try:
        read_model(file)
    except ModelError as error:
        return type(error)(
            error.what.replace(file.name, name),
            where=error.where,
            expected=error.expected,
            hint=f"{name} was written, but tinyml cannot build it",
        )
    return None


# ---- the model --------------------------------------------------------------------------------------


def _kind(model: Path) -> Kind:
    if not model.exists():
        raise ModelError(
            f"cannot read {model.name}",
            where=str(model),
            expected="No such file or directory",
            hint="check the path",
        )
    if model.is_dir():
        if (model / "saved_model.pb").is_file():
            return "saved_model"
    elif model.suffix in _KERAS:
        return "keras"
    elif model.suffix == ".tflite":
        return "tflite"
    raise ModelError(
        f"{model.name} is no model that can be quantised",
        where=str(model),
        expected="expected a .keras or .h5 file, a SavedModel's folder, or a float .tflite file",
    )


def _read(path: Path, name: str | None = None) -> RawModel:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path.name}", where=str(path), expected=str(error)) from error
    try:
        return decode(data, name or path.name)
    except ModelError as error:
        if "subgraphs" not in error.what:
            raise
        raise ModelError(error.what, where=error.where, expected=error.expected, hint=_UNROLL) from error


def _refuse_rounded(raw: RawModel, name: str) -> None:
    """Refuse a .tflite file whose weights or activations were rounded before."""
    weights = [t for t in raw.tensors if t.data is not None and t.type in _ROUNDED]
    activations = [t for t in raw.tensors if t.data is None and t.type in _ROUNDED]
    again = "start from the float model: the Keras file, the SavedModel, or a .tflite converted without "
    if activations:
        types = ", ".join(sorted({t.type for t in activations}))
        raise ModelError(
            f"{name} is quantised already",
            where=f"{len(activations)} activation{'s' * (len(activations) > 1)} of type {types}",
            expected="expected a float model",
            hint="int8 models go straight to `tinyml plan`; to quantise anew, " + again + "quantisation",
        )
    if weights:
        types = ", ".join(sorted({t.type for t in weights}))
        raise ModelError(
            f"{name} is a hybrid model: float activations, weights rounded to {types}",
            where=f"{len(weights)} constant{'s' * (len(weights) > 1)} of type {types}",
            expected="its weights would be rounded a second time",
            hint=again + "converter.optimizations",
        )


def _batch_of_one(tensor: RawTensor, name: str, model: str) -> tuple[int | None, ...]:
    shape: tuple[int | None, ...] = tuple(
        None if d < 0 else d for d in (tensor.signature if tensor.signature else tensor.shape)
    )
    if shape[:1] not in ((1,), (None,)) or None in shape[1:]:
        text = "x".join("?" if d is None else str(d) for d in shape)
        raise ModelError(
            f"input '{name}' of {model} is {text}",
            expected="expected a batch of 1 (or an open one) and fixed sizes",
            hint="convert it again with fixed input shapes and a batch of 1",
        )
    return (1, *shape[1:])


def _edge(tensor: RawTensor, name: str) -> Edge:
    scale = tensor.scale[0] if tensor.scale and tensor.type in _QUANTISED else None
    zero_point = tensor.zero_point[0] if scale is not None and tensor.zero_point else None
    return Edge(name, tuple(abs(d) for d in tensor.shape), tensor.type, scale, zero_point)


# ---- the comparison ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Classifier:
    """How an output decides: the largest of `classes` values, or one value above `threshold`."""

    classes: int
    threshold: float

    @classmethod
    def of(cls, raw: RawModel, output: int) -> _Classifier:
        """Return how tensor `output` of a float model decides."""
        shape = raw.tensors[output].shape
        last = next((op.name for op in raw.operators if output in op.outputs), "")
        # One value is a probability behind a sigmoid, and a logit otherwise.
        return cls(abs(shape[-1]) if shape else 1, 0.5 if last == "LOGISTIC" else 0.0)

    def choose(self, values: Array) -> Array:
        """Return the chosen class at every position."""
        if values.shape[-1:] == (1,):
            chosen: Array = values[..., 0] > self.threshold
            return chosen
        largest: Array = np.argmax(values, axis=-1)
        return largest


def _labels(
    classes: Sequence[str],
    labels: Array | None,
    classifier: _Classifier,
    path: Path,
    given: Path | None,
) -> tuple[list[str], Array | None]:
    """Return notes, and the labels if the model can be judged by them."""
    if labels is None:
        return [], None
    outputs = max(classifier.classes, 2)
    if classes and given is None and len(classes) != outputs:
        note = (
            f"{path.name} has {len(classes)} class folders, the model {outputs} classes: not counted. "
            "--labels FILE names the classes in the order of the model's outputs"
        )
        return [note], None
    if not 0 <= int(labels.min()) <= int(labels.max()) < outputs:
        raise UsageError(
            "the labels are not classes of the model",
            where=str(given or path),
            expected=f"expected 0 to {outputs - 1}, received {labels.min()} to {labels.max()}",
        )
    return [], labels


class _Comparison:
    """Sums over samples of the float and the int8 model's outputs."""

    def __init__(self, raw: RawModel, classifiers: Sequence[_Classifier]) -> None:
        self._inputs = [raw.tensors[t] for t in raw.inputs]
        self._outputs = [raw.tensors[t] for t in raw.outputs]
        self._classifiers = classifiers
        count = len(self._outputs)
        self._signal = [0.0] * count
        self._noise = [0.0] * count
        self._error = [0.0] * count
        self._low = [math.inf] * count
        self._high = [-math.inf] * count
        self._same = [0] * count
        self._positions = [0] * count
        self._labelled = 0
        self.float_right: int | None = None
        self.int8_right: int | None = None

    def to_int8(self, values: Sequence[Array]) -> list[Array]:
        """Return float inputs as the int8 model's inputs take them."""
        return [
            quantize_floats(
                value,
                Tensor(tensor.name, value.shape, DType(tensor.type), Quant(tensor.scale, tensor.zero_point)),
            )
            if tensor.type in _QUANTISED and value.dtype == np.float32
            else value
            for value, tensor in zip(values, self._inputs, strict=True)
        ]

    def add(self, wanted: Sequence[Array], got: Sequence[Array], label: int | None) -> None:
        """Add one sample's outputs, float and int8, and its label."""
        for k, (a, b, tensor) in enumerate(zip(wanted, got, self._outputs, strict=True)):
            real = a.astype(np.float64)
            approximate = b.astype(np.float64)
            if tensor.type in _QUANTISED and tensor.scale:
                approximate = tensor.scale[0] * (approximate - tensor.zero_point[0])
            difference = np.abs(real - approximate)
            self._signal[k] += float((real**2).sum())
            self._noise[k] += float((difference**2).sum())
            self._error[k] = max(self._error[k], float(difference.max(initial=0.0)))
            self._low[k] = min(self._low[k], float(real.min()))
            self._high[k] = max(self._high[k], float(real.max()))
            classifier = self._classifiers[k]
            chosen, choice = classifier.choose(real), classifier.choose(approximate)
            self._same[k] += int((chosen == choice).sum())
            self._positions[k] += chosen.size
            if k == 0 and label is not None and chosen.size == 1:
                self.float_right = (self.float_right or 0) + (int(chosen.item()) == label)
                self.int8_right = (self.int8_right or 0) + (int(choice.item()) == label)
                self._labelled += 1

    def agreements(self, names: Sequence[str]) -> tuple[Agreement, ...]:
        """Return the figures of every output."""
        found = []
        for k, (tensor, name) in enumerate(zip(self._outputs, names, strict=True)):
            known = self._signal[k] > 0 and self._noise[k] > 0
            classifier = self._classifiers[k]
            decides = classifier.classes > 1 or classifier.threshold > 0
            decides = decides or (k == 0 and self.float_right is not None)
            found.append(
                Agreement(
                    _edge(tensor, name),
                    10 * math.log10(self._signal[k] / self._noise[k]) if known else None,
                    self._error[k],
                    (self._low[k], self._high[k]),
                    self._same[k] / self._positions[k] if decides else None,
                )
            )
        return tuple(found)

    def no_better_than_chance(self) -> bool:
        """Return whether the float model's answers look as if they were drawn."""
        classes = self._classifiers[0].classes
        chance = _CHANCE / classes if classes > 2 else 0.5
        return self._labelled >= _ENOUGH_TO_JUDGE and (self.float_right or 0) <= chance * self._labelled
