"""TensorFlow's share of `tinyml quantize`; the only file that imports it.

Run as a process of its own by `converter.py`: TensorFlow writes to stdout and stderr as it likes, and its
calibrator ends the process on some networks. Requests come as lines of JSON on stdin, answers go as lines
of JSON to what was stdout: {"progress": n} any number of times, then {"result": …} or {"error": …}.

A Keras model or a SavedModel becomes a float .tflite file with a batch of 1, and that file is quantised with
the two steps that the converter itself ends with (`TFLiteConverter._quantize`): calibration, then MLIR's
quantiser. So a float .tflite file, which the converter takes no more, is quantised just the same.

Source: tensorflow/lite/python/lite.py and optimize/calibrator.py.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Layers that give the network's input the range it was trained on: it takes pixels of 0 to 255.
_SCALING_LAYERS = ("Rescaling", "Normalization")

_EXPORT = "or export it where it was trained, model.export('saved_model'), and give that folder"

# Export(shape of every input, folder) writes a SavedModel.
Export = Callable[[list[tuple[int, ...]], Path], None]


class Refused(Exception):
    """Something a user can act on.

    Args:
        kind: "model", "data" or "tensorflow".
        what, where, expected, hint: as in `tinyml.errors`.
    """

    def __init__(self, kind: str, what: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.parts = {"kind": kind, "what": what, "where": where, "expected": expected, "hint": hint}


class Worker:
    """Answers requests; holds the loaded model between them."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        self._export: Export | None = None

    def load(self, model: str) -> dict[str, Any]:
        """Load a Keras model or a SavedModel.

        Returns:
            inputs: name, dtype and shape of each (None where open, the batch too); `scales_itself`:
            whether its first layer scales or normalises; `unrolled`: names of recurrent layers that were.
        """
        if Path(model).is_dir():
            inputs, self._export = _load_saved_model(model)
            return {"inputs": inputs, "scales_itself": False, "unrolled": []}
        network = _load_keras(model)
        inputs, self._export = _keras_export(network, model)
        return {
            "inputs": inputs,
            "scales_itself": _first_layer(network) in _SCALING_LAYERS,
            "unrolled": _unroll(network),
        }

    def convert(self, shapes: Sequence[Sequence[int]], out: str) -> dict[str, Any]:
        """Write the loaded model as a float .tflite file whose inputs have these shapes."""
        import tensorflow as tf

        assert self._export is not None, "load comes first"
        with tempfile.TemporaryDirectory(prefix="tinyml-") as folder:
            self._export([tuple(shape) for shape in shapes], Path(folder))
            try:
                flat = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
            except Exception as error:
                gist = _gist(error)
                loops = "tensor list" in gist.lower()  # what recurrent layers collect their outputs in
                raise Refused(
                    "model",
                    "TensorFlow cannot convert this model to .tflite",
                    expected=gist,
                    hint="export it with recurrent layers built with unroll=True, or give the Keras file"
                    if loops
                    else "replace these layers by some that TensorFlow Lite has",
                ) from error
        Path(out).write_bytes(flat)
        return {}

    def decode(
        self, files: Sequence[str], height: int, width: int, channels: int, resize: str | None, out: str
    ) -> dict[str, Any]:
        """Write images as one .npy file, uint8 [N, height, width, channels].

        Decoded as `keras.utils.image_dataset_from_directory` does, and with `resize` ("stretch" or
        "crop") resized as it does too, bilinearly, but rounded to whole values.
        """
        import keras
        import numpy as np
        import tensorflow as tf

        shape = (len(files), height, width, channels)
        images = np.lib.format.open_memmap(out, mode="w+", dtype=np.uint8, shape=shape)
        for i, name in enumerate(files):
            try:
                image = tf.io.decode_image(
                    tf.io.read_file(name), channels=channels, expand_animations=False
                ).numpy()
            except Exception as error:
                raise Refused(
                    "data", f"{Path(name).name} cannot be read as an image", where=name, expected=_gist(error)
                ) from error
            if image.shape[:2] != (height, width):
                if resize is None:
                    raise Refused(
                        "data",
                        f"{Path(name).name} has {image.shape[1]}x{image.shape[0]} pixels",
                        where=name,
                        expected=f"the model's input has {width}x{height}",
                        hint="add --resize stretch or --resize crop, whichever was done in training",
                    )
                if resize == "crop":
                    resized = keras.preprocessing.image.smart_resize(image, (height, width))
                else:
                    resized = tf.image.resize(image, (height, width))
                image = np.clip(np.rint(np.asarray(resized)), 0, 255)
            images[i] = image
            self._tell(i + 1)
        images.flush()
        return {}

    def quantize(
        self, model: str, samples: Sequence[str], edges: str, activations: str, out: str
    ) -> dict[str, Any]:
        """Write a float .tflite file quantised to int8, or to int16 activations and int8 weights.

        Args:
            model: the float file.
            samples: per model input, in the file's order, a .npy file with the calibration samples [N, 1, …].
            edges: element type of inputs and outputs, "int8" (that of the activations) or "float".
            activations: "int8" or "int16".
            out: the file to write.
        """
        import numpy as np
        import tensorflow as tf

        try:
            from tensorflow.lite.python.convert import mlir_quantize
            from tensorflow.lite.python.optimize import calibrator
        except ImportError as error:
            raise Refused(
                "tensorflow",
                f"TensorFlow {tf.__version__} has no calibrator where tinyml looks for it",
                expected=str(error),
                hint="pip install 'tensorflow>=2.18,<2.22'",
            ) from error
        arrays = [np.load(path, mmap_mode="r") for path in samples]

        def feed() -> Iterator[list[Any]]:
            for i in range(len(arrays[0])):
                yield [np.ascontiguousarray(array[i]) for array in arrays]
                self._tell(i + 1)

        activation = tf.int16 if activations == "int16" else tf.int8
        edge = activation if edges == "int8" else tf.float32
        content = Path(model).read_bytes()
        loops = _loops(content)
        if loops and activations == "int16":
            raise Refused(
                "model",
                "TensorFlow cannot quantise a model with loops to int16",
                expected=f"its operator {loops[0]} is WHILE",
                hint="build recurrent layers with unroll=True",
            )
        try:
            if loops:
                calibrated = _calibrated_with_loops(content, loops, feed())
                Path(out).write_bytes(mlir_quantize(calibrated, input_data_type=edge, output_data_type=edge))
                return {}
            calibration = calibrator.Calibrator(calibrator.add_intermediate_tensors(content))
            if activations == "int16":  # which MLIR's quantiser does not know
                flat = calibration.calibrate_and_quantize(feed, edge, edge, True, activation, tf.int64)
            else:
                calibrated = calibration.calibrate(feed)
                flat = mlir_quantize(calibrated, input_data_type=edge, output_data_type=edge)
        except Refused:
            raise
        except Exception as error:
            raise Refused("model", "TensorFlow cannot quantise this model", expected=_gist(error)) from error
        Path(out).write_bytes(flat)
        return {}


def _unpacked(content: bytes) -> Any:
    """Return a .tflite file as objects of TensorFlow's schema."""
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _loops(content: bytes) -> list[int]:
    """Return the operators of a model's main graph that are WHILE."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = _unpacked(content)
    return [
        i
        for i, op in enumerate(model.subgraphs[0].operators or ())
        if model.operatorCodes[op.opcodeIndex].builtinCode == schema.BuiltinOperator.WHILE
    ]


def _calibrated_with_loops(content: bytes, loops: Sequence[int], samples: Iterator[list[Any]]) -> bytes:
    """Return a float model with the range of every float tensor, as TensorFlow's calibrator makes it.

    That one crashes where it runs a loop. Here conditions and bodies are models of their own, which run as
    the loop would, and so is the main graph without its loops: what they return is put into it. A value of
    a loop has one range, in the loop and outside.

    Args:
        content: the float .tflite file.
        loops: its WHILE operators.
        samples: arrays of the model's inputs, in the file's order.
    """
    import numpy as np
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema

    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    model = _unpacked(content)
    main = model.subgraphs[0]
    returned = [int(tensor) for loop in loops for tensor in main.operators[loop].outputs]
    runs: dict[int, Any] = {}  # an interpreter for each subgraph that is run
    ranges: dict[tuple[int, int], tuple[float, float]] = {}  # by subgraph and tensor

    def interpreter(graph: int) -> Any:
        if graph not in runs:
            part = _unpacked(content)
            part.signatureDefs = None
            if graph:
                part.subgraphs = [part.subgraphs[graph]]
            else:  # a loop's operands are not to be trusted once it has run
                own = part.subgraphs[0]
                own.inputs = [*own.inputs, *returned]
                own.operators = [op for i, op in enumerate(own.operators) if i not in loops]
            runs[graph] = tf.lite.Interpreter(
                model_content=_packed(part),
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=plain,
            )
            runs[graph].allocate_tensors()
        return runs[graph]

    def run(graph: int, values: Sequence[Any]) -> list[Any]:
        """Run a subgraph, and return its outputs."""
        one, records = interpreter(graph), model.subgraphs[graph]
        for tensor, value in zip((*records.inputs, *(() if graph else returned)), values, strict=True):
            one.set_tensor(int(tensor), value)
        one.invoke()
        return [one.get_tensor(int(tensor)) for tensor in records.outputs]

    def note(graph: int) -> None:
        """Take note of the floats that a run has left."""
        one = interpreter(graph)
        for tensor, record in enumerate(model.subgraphs[graph].tensors):
            if record.type != schema.TensorType.FLOAT32 or model.buffers[record.buffer].data is not None:
                continue
            try:
                value = one.get_tensor(tensor)
            except ValueError:  # it is empty: the rows of a list before its first one
                continue
            if value.size:
                low, high = ranges.get((graph, tensor), (0.0, 0.0))
                ranges[graph, tensor] = min(low, float(value.min())), max(high, float(value.max()))

    for sample in samples:
        # A loop reads nothing that depends on what it or a later one returns. Until that is known it is zero:
        # what is in memory that nobody wrote might be an index outside its data.
        results = {tensor: np.zeros_like(interpreter(0).get_tensor(tensor)) for tensor in returned}
        for loop in loops:
            run(0, [*sample, *results.values()])
            op = main.operators[loop]
            condition, body = op.builtinOptions.condSubgraphIndex, op.builtinOptions.bodySubgraphIndex
            values = [interpreter(0).get_tensor(int(tensor)) for tensor in op.inputs]
            while bool(np.all(run(condition, values)[0])):
                values = run(body, values)
                note(condition)
                note(body)
            results |= {int(t): value for t, value in zip(op.outputs, values, strict=True)}
        run(0, [*sample, *results.values()])
        note(0)
    for loop in loops:
        op = main.operators[loop]
        condition, body = op.builtinOptions.condSubgraphIndex, op.builtinOptions.bodySubgraphIndex
        inside = [(g, model.subgraphs[g]) for g in (condition, body)]
        for k, (first, last) in enumerate(zip(op.inputs, op.outputs, strict=True)):
            alike = [(0, int(first)), (0, int(last)), (body, int(model.subgraphs[body].outputs[k]))]
            alike += [(g, int(graph.inputs[k])) for g, graph in inside]
            known = [ranges[one] for one in alike if one in ranges]
            for one in alike:
                if one in ranges:
                    ranges[one] = min(low for low, _ in known), max(high for _, high in known)
    for (graph, tensor), (low, high) in ranges.items():
        quantisation = schema.QuantizationParametersT()
        quantisation.min, quantisation.max = [low], [high if high > low else low + 1.0]
        model.subgraphs[graph].tensors[tensor].quantization = quantisation
    return _packed(model)


def _load_keras(model: str) -> Any:
    import keras

    try:
        return keras.models.load_model(model, compile=False)
    except Exception as error:
        raise Refused(
            "model",
            f"Keras {keras.__version__} cannot load {Path(model).name}",
            where=model,
            expected=_gist(error),
            hint=f"save it with a matching Keras and without custom objects, {_EXPORT}",
        ) from error


def _keras_export(network: Any, model: str) -> tuple[list[dict[str, Any]], Export]:
    """Return a Keras model's inputs, and what writes it as a SavedModel with inputs of given shapes."""
    import keras
    import tensorflow as tf

    try:
        tensors = list(network.inputs)
        # Functional models are called with the structure of inputs they were built with.
        structure = tensors[0] if len(tensors) == 1 else network.input
    except Exception as error:
        raise Refused(
            "model",
            f"{Path(model).name} does not say what its inputs are",
            where=model,
            expected="expected a Sequential or functional model that was built",
            hint=f"call the model once before saving it, {_EXPORT}",
        ) from error

    def export(shapes: list[tuple[int, ...]], folder: Path) -> None:
        def infer(*values: Any) -> Any:
            return network(keras.tree.pack_sequence_as(structure, list(values)), training=False)

        archive = keras.export.ExportArchive()
        archive.track(network)
        archive.add_endpoint(
            "serving_default",
            infer,
            input_signature=[
                tf.TensorSpec(shape, tensor.dtype, name=tensor.name)
                for tensor, shape in zip(tensors, shapes, strict=True)
            ],
        )
        archive.write_out(str(folder), verbose=False)

    inputs = [{"name": t.name, "dtype": str(t.dtype), "shape": list(t.shape)} for t in tensors]
    return inputs, export


def _first_layer(network: Any) -> str:
    """Return the class name of the first layer that does something at inference."""
    kinds = (kind for kind in _layer_kinds(network) if kind != "InputLayer")
    return next((kind for kind in kinds if not kind.startswith("Random")), "")  # Random…: augmentation


def _unroll(network: Any) -> list[str]:
    """Unroll recurrent layers and return their names: TensorFlow's calibrator crashes on loops."""
    rolled = [layer for layer in network._flatten_layers() if getattr(layer, "unroll", None) is False]
    for layer in rolled:
        layer.unroll = True
    return [layer.name for layer in rolled]


def _layer_kinds(layer: Any) -> Iterator[str]:
    """Yield the class names of the innermost layers, in the model's order."""
    inner = getattr(layer, "layers", None)
    if not inner:
        yield type(layer).__name__
        return
    for part in inner:
        yield from _layer_kinds(part)


def _load_saved_model(folder: str) -> tuple[list[dict[str, Any]], Export]:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:
        raise Refused(
            "model",
            f"TensorFlow {tf.__version__} cannot load {Path(folder).name}",
            where=folder,
            expected=_gist(error),
        ) from error
    signatures = dict(loaded.signatures)
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures), "")
    if not name or (len(signatures) > 1 and name != "serving_default"):
        raise Refused(
            "model",
            f"{Path(folder).name} has no signature 'serving_default'",
            where=folder,
            expected=f"it has {', '.join(sorted(signatures)) or 'no signatures'}",
            hint="export it with model.export(folder), or save it with signatures={'serving_default': …}",
        )
    signature = signatures[name]
    specs = dict(signature.structured_input_signature[1])
    names = list(specs)

    def export(shapes: list[tuple[int, ...]], out: Path) -> None:
        module = tf.Module()
        module.loaded = loaded  # keeps its variables
        module.infer = tf.function(
            lambda *values: signature(**dict(zip(names, values, strict=True))),
            input_signature=[
                tf.TensorSpec(shape, specs[key].dtype, name=key)
                for key, shape in zip(names, shapes, strict=True)
            ],
        )
        tf.saved_model.save(module, str(out), signatures={"serving_default": module.infer})

    inputs = []
    for key, spec in specs.items():
        if spec.shape.rank is None:
            raise Refused(
                "model",
                f"input '{key}' of {Path(folder).name} has an open number of dimensions",
                hint="export the model with fixed input shapes",
            )
        inputs.append({"name": key, "dtype": spec.dtype.name, "shape": spec.shape.as_list()})
    return inputs, export


def _gist(error: Exception) -> str:
    """Return what a TensorFlow exception says, without its dump of the network."""
    text = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "ops:" in line.lower()]
    return "\n  ".join(line[:300] for line in (telling or lines)[:3]) or type(error).__name__


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever TensorFlow prints goes to the log

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    worker = Worker(lambda done: say(progress=done))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(result=getattr(worker, request.pop("do"))(**request))
        except Refused as refused:
            say(error=refused.parts)


if __name__ == "__main__":
    main()
