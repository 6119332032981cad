"""`tinyml quantize`: a float network becomes an int8 .tflite file."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from tinyml.cli.options import output_options
from tinyml.cli.output import Output

if TYPE_CHECKING:
    from tinyml.quantize import Activations, Edges, Resize

_NUMBER = r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?"


class _RangeType(click.ParamType[tuple[float, float]]):
    """LOW..HIGH: 0..1 or -1..1."""

    name = "range"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Return both ends."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(rf"({_NUMBER})\.\.({_NUMBER})", str(value).strip())
        if match is None or float(match[1]) == float(match[2]):
            self.fail(f"{value!r} is not a range; write 0..1, -1..1 or 0..255", param, ctx)
        return float(match[1]), float(match[2])


class _NumbersType(click.ParamType[tuple[float, ...]]):
    """One number, or one per channel: 0.485,0.456,0.406."""

    name = "numbers"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",")]
        if not all(re.fullmatch(_NUMBER, word) for word in words):
            self.fail(f"{value!r} is not a number, or one per channel as in 0.485,0.456,0.406", param, ctx)
        numbers = tuple(float(word) for word in words)
        if self._positive and min(numbers) <= 0:
            self.fail(f"{value!r} has a number that is not positive", param, ctx)
        return numbers


@click.command(
    "quantize",
    short_help="Turn a float network into an int8 .tflite file.",
    epilog="""\b
Example:
  tinyml quantize --data train.npz --test test.npz model.keras
  tinyml quantize --data images/ --range -1..1 --resize stretch -o small.tflite saved_model/
  tinyml quantize --data images/ --range 0..1 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 model.tflite
  tinyml quantize --data train.npz --json model.keras | jq .int8_accuracy

\b
Data:
  x.npz     x [N, ...], or x0, x1, ... or arrays named like the inputs; labels y [N] are class numbers
  x.npy     x alone; labels with --labels y.npy
  images/   PNG, JPEG, BMP or GIF files; in one folder per class, or not. Classes count in alphabetical
            order, or in that of --labels names.txt (one name a line)
  Floats are given to the network as they are. Pixels (images, uint8 arrays) are scaled by --range and then
  (value - mean) / std; a Keras model that starts with Rescaling or Normalization gets 0..255.

Needs TensorFlow: pip install 'tinyml-toolchain[quantize]'""",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Samples like those the network will see, to calibrate on: a folder of images, a .npz or a .npy.",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Samples to compare the int8 model with the float one on.  [default: --data]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels of --test (or --data): a .npy of class numbers, or the class folders' names in the order of "
    "the model's outputs.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file to write.  [default: MODEL_int8.tflite, or MODEL_16x8.tflite, beside the model]",
)
@click.option(
    "--range",
    "pixel_range",
    type=_RangeType(),
    metavar="LOW..HIGH",
    help="What pixels of 0 and 255 are to the network: 0..1, -1..1 or 0..255, as in training.",
)
@click.option("--mean", type=_NumbersType(), help="Subtracted after --range; one value, or one per channel.")
@click.option(
    "--std", type=_NumbersType(positive=True), help="Divides after --mean; one value, or one per channel."
)
@click.option(
    "--resize",
    type=click.Choice(["stretch", "crop"]),
    help="Make images of another size fit, as keras.utils.image_dataset_from_directory does without and with "
    "crop_to_aspect_ratio.  [default: refuse them]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Calibrate on at most so many, spread evenly over --data.",
)
@click.option(
    "--test-samples",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Compare on at most so many, spread evenly.",
)
@click.option(
    "--edges",
    type=click.Choice(["int8", "float"]),
    default="int8",
    show_default=True,
    help="Element type of the int8 model's inputs and outputs.",
)
@click.option(
    "--activations",
    type=click.Choice(["int8", "int16"]),
    default="int8",
    show_default=True,
    help="Element type between the layers. int16 costs twice the memory and more time, and keeps more of the "
    "accuracy; weights are int8 all the same, and --edges int8 means int16.",
)
@output_options
def command(
    model: Path,
    data: Path,
    test: Path | None,
    labels: Path | None,
    output: Path | None,
    pixel_range: tuple[float, float] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    resize: Resize | None,
    samples: int,
    test_samples: int,
    edges: Edges,
    activations: Activations,
    out: Output,
) -> int:
    """Quantise a float network to int8: a .keras or .h5 file, a SavedModel's folder, or a float .tflite.

    TensorFlow's converter calibrates it on samples (post-training quantisation, weights per channel) and
    LiteRT compares it with the float network: right answers where there are labels, and for every output
    how often both choose the same class, the signal-to-noise ratio and the largest error.

    A result with operators that tinyml cannot run is written and reported too, with exit status 2.
    """
    from tinyml.errors import UsageError
    from tinyml.quantize import quantize
    from tinyml.quantize.data import Pixels
    from tinyml.report.console import render_quantization

    if pixel_range is None and (mean or std):
        raise UsageError(
            "--mean and --std come after --range",
            where="--mean, --std",
            hint="for ImageNet's values in PyTorch's manner: --range 0..1 --mean … --std …",
        )
    pixels = Pixels(*pixel_range, mean or (0.0,), std or (1.0,)) if pixel_range else None
    with out.progress() as progress:
        report = quantize(
            model,
            data,
            output or model.parent / f"{model.stem}_{'16x8' if activations == 'int16' else 'int8'}.tflite",
            labels=labels,
            test=test,
            samples=samples,
            test_samples=test_samples,
            pixels=pixels,
            resize=resize,
            edges=edges,
            activations=activations,
            progress=progress,
        )
    problem = report.problem
    result = report.to_json() | (problem.to_json() if problem else {})
    following = shlex.quote(report.output)
    out.result(
        result,
        render_quantization(result),
        *(
            []
            if problem
            else [
                Text(),
                Text(f"next: tinyml plan --board ID {following}   (tinyml boards lists the boards)"),
                Text(f"      tinyml build --board ID {following}"),
            ]
        ),
    )
    for note in report.notes:
        out.note(f"note: {note}")
    if problem is None:
        return 0
    if not out.json:
        out.error(problem)
    return problem.exit_status
