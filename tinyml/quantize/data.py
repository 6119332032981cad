"""Samples for calibration and comparison: a folder of images, a .npz or a .npy file.

Floats are what the network takes, as they are. Pixels, which images and uint8 arrays hold, become
(low + pixel / 255 · (high − low) − mean) / std, as `Pixels` says.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyml.errors import UsageError
from tinyml.graph import Array

_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif"))
_ARCHIVE = (zipfile.BadZipFile, zlib.error)
_SAVE = "numpy.savez(path, x=samples, y=labels)"
# Decode(files, height, width, channels) → uint8 [N, height, width, channels]
Decode = Callable[[Sequence[Path], int, int, int], Array]


@dataclass(frozen=True, slots=True)
class Input:
    """A model input: `shape` starts with the batch; None where open. `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a pixel of 0 and of 255 is to the network; then `mean` is subtracted and `std` divides.

    `mean` and `std` have one value, or one per channel.
    """

    low: float
    high: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def apply(self, values: Array) -> Array:
        """Return uint8 values as float32."""
        real = self.low + values.astype(np.float64) / 255 * (self.high - self.low)
        scaled: Array = (real - np.array(self.mean)) / np.array(self.std)
        return scaled.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples as the network takes them: sample i is one array [1, …] per input. `labels` [N] or None."""

    arrays: tuple[Array, ...]  # per input [N, …], of the input's dtype or uint8
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    pixels: Pixels | None
    labels: Array | None

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, i: int) -> list[Array]:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return [
            self._real(array[i], dtype).reshape(shape)
            for array, shape, dtype in zip(self.arrays, self.shapes, self.dtypes, strict=True)
        ]

    def _real(self, values: Array, dtype: str) -> Array:
        if values.dtype == np.uint8 and dtype == "float32":
            assert self.pixels is not None
            return self.pixels.apply(values)
        return np.ascontiguousarray(values.astype(dtype, copy=False))


def evenly(count: int, wanted: int) -> Array:
    """Return at most `wanted` indices of `count`, spread evenly, in order: every class of a sorted set."""
    if count <= wanted:
        return np.arange(count)
    return np.arange(wanted) * count // wanted


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A data set as it lies on disk: arrays by name, or image files; and labels, if it has any.

    `classes` are the names of an image folder's class folders; empty where it has none.
    """

    path: Path
    arrays: dict[str, Array]
    files: tuple[Path, ...]
    labels: Array | None
    classes: tuple[str, ...] = ()

    def shapes(self, inputs: Sequence[Input]) -> list[tuple[int, ...]]:
        """Return each input's shape with a batch of 1, open dimensions as the samples have them.

        Raises:
            UsageError: the samples do not fit.
        """
        found = []
        for item, array in zip(inputs, self._match(inputs), strict=True):
            inner = item.shape[1:]
            if array is None:
                if None in inner:
                    raise UsageError(
                        f"the model's input '{item.name}' has an open size, {_shape(item.shape)}",
                        where=str(self.path),
                        expected="images are not resized to a size that nobody named",
                        hint=f"give the samples as .npz: {_SAVE}",
                    )
                found.append((1, *(int(d or 0) for d in inner)))
                continue
            fits = [
                shape
                for shape in (array.shape[1:], array.shape[2:] if array.shape[1:2] == (1,) else None)
                if shape is not None
                and len(shape) == len(inner)
                and all(want in (None, have) for want, have in zip(inner, shape, strict=True))
            ]
            if not fits:
                raise UsageError(
                    f"the samples do not fit input '{item.name}'",
                    where=str(self.path),
                    expected=f"expected shape {_shape(('N', *inner))}, received {_shape(array.shape)}",
                )
            found.append((1, *fits[0]))
        return found

    def take(self, inputs: Sequence[Input], indices: Array, pixels: Pixels | None, decode: Decode) -> Samples:
        """Return the samples at `indices`; every input has a fixed shape.

        Raises:
            UsageError: the samples do not fit, or hold values that are not finite, or pixels whose range
                nobody has said.
        """
        self.shapes(inputs)
        arrays = []
        for item, array in zip(inputs, self._match(inputs), strict=True):
            if array is None:
                height, width, channels = _image_shape(item, self.path)
                arrays.append(decode([self.files[i] for i in indices], height, width, channels))
            else:
                arrays.append(self._typed(array[indices], item))
        if pixels is None and any(
            a.dtype == np.uint8 and item.dtype == "float32" for a, item in zip(arrays, inputs, strict=True)
        ):
            raise UsageError(
                "pixels have 0 to 255; what range does the network take?",
                where=str(self.path),
                expected="a wrong range spoils the calibration and the accuracy",
                hint="add --range 0..1, --range -1..1 or --range 0..255, as in training",
            )
        for item, array in zip(inputs, arrays, strict=True):
            _check_channels(pixels, item, array)
        return Samples(
            tuple(arrays),
            tuple(tuple(int(d or 1) for d in item.shape) for item in inputs),
            tuple(item.dtype for item in inputs),
            pixels,
            None if self.labels is None else self.labels[indices],
        )

    def count(self, inputs: Sequence[Input]) -> int:
        """Return how many samples there are.

        Raises:
            UsageError: there is no array for an input, or there are more or fewer labels.
        """
        first = self._match(inputs)[0]
        count = len(self.files) if first is None else len(first)
        if self.labels is not None and len(self.labels) != count:
            raise UsageError(
                f"{self.path.name} has {count} samples and {len(self.labels)} labels",
                where=str(self.path),
                expected="expected as many labels as samples",
            )
        return count

    def _match(self, inputs: Sequence[Input]) -> list[Array | None]:
        """Return the array of every input; None for images."""
        if self.files:
            if len(inputs) != 1:
                raise UsageError(
                    f"the model has {len(inputs)} inputs, images are one",
                    where=str(self.path),
                    hint="give a .npz with an array for each: " + ", ".join(i.name for i in inputs),
                )
            return [None]
        if all(item.name in self.arrays for item in inputs):
            names = [item.name for item in inputs]
        else:
            names = ["x"] if len(inputs) == 1 else [f"x{i}" for i in range(len(inputs))]
        missing = [name for name in names if name not in self.arrays]
        if missing:
            listed = ", ".join(f"{n} ('{i.name}')" for n, i in zip(names, inputs, strict=True))
            raise UsageError(
                f"{self.path.name} has no array {', '.join(missing)}",
                where=str(self.path),
                expected=f"expected {listed}; it has {', '.join(sorted(self.arrays)) or 'none'}",
                hint=_SAVE,
            )
        chosen = [self.arrays[name] for name in names]
        counts = {len(array) if array.ndim else 0 for array in chosen}
        if len(counts) != 1 or 0 in counts:
            raise UsageError(
                f"{self.path.name} has {', '.join(map(str, sorted(counts)))} samples",
                where=str(self.path),
                expected="expected at least one, and as many for every input",
            )
        return list(chosen)

    def _typed(self, values: Array, item: Input) -> Array:
        """Return samples in the input's dtype, or as the uint8 pixels they are."""
        if values.dtype.kind == "f" and item.dtype == "float32":
            with np.errstate(over="ignore"):
                real = values.astype(np.float32)
            if not np.isfinite(real).all():
                raise UsageError(
                    f"the samples of input '{item.name}' hold values that are not finite as float32",
                    where=str(self.path),
                    expected=f"{int((~np.isfinite(real)).sum())} of {real.size} values are NaN or infinite",
                )
            return real
        if values.dtype == np.uint8 and item.dtype == "float32":
            return values
        if values.dtype.kind in "iu" and item.dtype in ("int32", "int64", "uint8", "int8"):
            limits = np.iinfo(item.dtype)
            if values.size and limits.min <= int(values.min()) and int(values.max()) <= limits.max:
                return values.astype(item.dtype)
        raise UsageError(
            f"the samples do not fit input '{item.name}'",
            where=str(self.path),
            expected=f"expected {item.dtype}{' or uint8 pixels' * (item.dtype == 'float32')}, received "
            f"{values.dtype}",
            hint="convert them as in training, with x.astype('float32') say" * (item.dtype == "float32"),
        )


def open_source(path: Path, labels: Path | None) -> Source:
    """Find out what a data set holds; images are not read yet.

    Args:
        path: a folder of images (in one folder per class, or not), a .npz (x, or x0, x1, … or the
            inputs' names; y labels) or a .npy file (x).
        labels: a .npy of class numbers [N], or for class folders a text file with the classes' names,
            one a line, in the order of the model's outputs; by default alphabetical order.

    Raises:
        UsageError: it cannot be read, or is empty.
    """
    if not path.exists():
        raise UsageError(f"there is no {path.name}", where=str(path), hint="check the path given to --data")
    if path.is_dir():
        return _open_folder(path, labels)
    arrays = _read_arrays(path)
    values = arrays.pop("y", None)
    if labels is not None:
        values = _read_arrays(labels)["x"] if labels.suffix == ".npy" else None
        if values is None:
            raise UsageError(
                f"{labels.name} is not a .npy of class numbers",
                where=str(labels),
                expected="names of classes are for folders of images",
                hint="numpy.save(path, labels)",
            )
    if values is not None:
        if values.dtype.kind not in "iu" or values.ndim < 1 or values.shape[0] != values.size:
            raise UsageError(
                f"the labels of {path.name} are not class numbers",
                where=str(labels or path),
                expected=f"expected integers [N], received {values.dtype}{list(values.shape)}",
                hint="y.argmax(axis=1) turns one-hot labels into numbers; without y, outputs are compared",
            )
        values = values.reshape(-1)
    return Source(path, arrays, (), values)


def _open_folder(path: Path, labels: Path | None) -> Source:
    found = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in _IMAGES and not file.name.startswith(".") and file.is_file()
    )
    if not found:
        raise UsageError(
            f"there are no images in {path.name}",
            where=str(path),
            expected=f"expected {', '.join(sorted(_IMAGES))} files, in it or in one folder per class",
        )
    folders = [file.relative_to(path).parts[0] if file.parent != path else "" for file in found]
    classes = sorted(set(folders))
    if labels is not None and labels.suffix == ".npy":
        raise UsageError(
            f"{labels.name} is a .npy",
            where=str(labels),
            expected="images take their labels from one folder per class, and --labels names the classes: a "
            "text file, one class a line, in the order of the model's outputs",
        )
    if "" in classes and len(classes) > 1:
        raise UsageError(
            f"{path.name} has images both beside and in class folders",
            where=str(path),
            expected=f"{folders.count('')} of {len(found)} images are in no folder",
        )
    if labels is None:
        if len(classes) == 1:  # no class folders, or one that groups nothing
            return Source(path, {}, tuple(found), None)
        names = classes
    else:
        try:
            lines = labels.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {labels.name}", where=str(labels), expected=str(error)) from error
        names = [line.strip() for line in lines if line.strip()]
        unknown = [name for name in classes if name not in names]
        if unknown or len(set(names)) != len(names):
            raise UsageError(
                f"{labels.name} does not name the class folders of {path.name}",
                where=str(labels),
                expected=f"expected each once; missing or double: {', '.join(unknown[:5]) or 'a double'}",
            )
    numbers = np.array([names.index(folder) for folder in folders])
    return Source(path, {}, tuple(found), numbers, tuple(names))


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        with path.open("rb") as stream:  # numpy leaves a file open that it cannot read
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return {"x": content}
            found: dict[str, Array] = {}
            for name in content.files:
                try:
                    found[name] = content[name]
                except ValueError:  # objects, class names say: not asked for
                    continue
            return {name: array for name, array in found.items() if array.dtype.kind in "fiub"}
    # MemoryError: a header that promises too much; RuntimeError: an encrypted archive.
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, *_ARCHIVE) as error:
        reason = "it is neither" if "pickle" in str(error) else str(error)
        raise UsageError(
            f"{path.name} cannot be read as .npz or .npy", where=str(path), expected=reason, hint=_SAVE
        ) from error


def _image_shape(item: Input, path: Path) -> tuple[int, int, int]:
    """Return height, width, channels of an input that takes an image."""
    shape = [int(d or 0) for d in item.shape]
    if len(shape) == 3:  # grey, as MNIST's networks have it
        shape.append(1)
    if len(shape) != 4 or shape[3] not in (1, 3, 4) or item.dtype not in ("float32", "uint8"):
        raise UsageError(
            f"the model's input '{item.name}' is no image: {item.dtype} {_shape(item.shape)}",
            where=str(path),
            expected="expected [1, height, width, channels] with 1, 3 or 4 channels",
            hint=f"give the samples as .npz: {_SAVE}",
        )
    return shape[1], shape[2], shape[3]


def _check_channels(pixels: Pixels | None, item: Input, array: Array) -> None:
    if pixels is None:
        return
    if array.dtype != np.uint8:
        raise UsageError(
            f"the samples of input '{item.name}' are {array.dtype}, not pixels",
            where="--range, --mean, --std",
            expected="they are about uint8 pixels; other values are taken as they are",
            hint="leave them out",
        )
    for name, values in (("--mean", pixels.mean), ("--std", pixels.std)):
        if len(values) not in (1, array.shape[-1]):
            raise UsageError(
                f"{len(values)} values for input '{item.name}'",
                where=name,
                expected=f"expected 1, or one for each of {array.shape[-1]} channels",
            )


def _shape(shape: Sequence[object]) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
