"""Feeds damaged .tflite and .onnx files to the readers and the passes: a ModelError or a sound graph, always.

    python tools/fuzz.py [--inputs N] [--jobs N] [--seed N] [--models FOLDER] [FILE ...]

Files are made by tests/readers/damage.py of small models that together use every operator, and of the real
ones in FOLDER: cut short, bits flipped, parts moved, or sound files of changed tensors and operators. One in
ten is ONNX (damage_onnx.py). Of those that are accepted one in `REWRITTEN` goes through the passes, one in
`PLANNED` is planned and emitted. An input is a finding where anything but a TinymlError leaves the house, or
where it takes longer than `SECONDS` of processor time or more memory than `BYTES`. Findings lie in
build/fuzz/, to be run again by naming them; they make the status 1.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 10
BYTES = 1 << 30
REWRITTEN = 4
PLANNED = 60
ONNX = 0.1
FINDINGS = ROOT / "build" / "fuzz"
_ONNX: list[bytes] = []  # of a process: making them takes more memory than is allowed here
# Address space is reserved per thread of the linear algebra, which nothing here needs.
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(ROOT))


class Hang(Exception):
    """An input took too long."""


def main() -> int:
    """Run the fuzzer; the status is 1 where it found something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=200_000, help="damaged files to try")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=0, help="first seed; process i has seed + i")
    shared = Path(os.environ.get("TINYML_SHARED") or ROOT.parent / "shared") / "models"
    parser.add_argument("--models", type=Path, default=shared, help="folder of real .tflite files")
    parser.add_argument("files", nargs="*", type=Path, help="run these instead, once each")
    options = parser.parse_args()
    from tests.readers.damage_onnx import sound_files

    counts: collections.Counter[str] = collections.Counter()
    if options.files:
        _limit()
        for file in options.files:
            outcome = _run(file.read_bytes(), file, rewritten=True, planned=True)
            print(f"{file}: {outcome}")
            counts[outcome] += 1
    else:
        each = -(-options.inputs // options.jobs)
        tasks = [(options.seed + i, each, options.models) for i in range(options.jobs)]
        begun = last = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            onnx = sound_files(Path(folder))
        with multiprocessing.get_context("spawn").Pool(options.jobs, _limit, (onnx,)) as pool:
            for part in pool.imap_unordered(_batch, _batches(tasks)):
                counts += part
                if time.monotonic() - last > 30:
                    last = time.monotonic()
                    print(f"{counts.total():,} inputs, {last - begun:.0f} s", file=sys.stderr, flush=True)
    print(f"{counts.total():,} inputs: " + ", ".join(f"{n:,} {name}" for name, n in counts.most_common()))
    found = counts.total() - counts["refused"] - counts["accepted"] - counts["planned"]
    return 1 if found else 0


def _batches(tasks: list[tuple[int, int, Path]], size: int = 500) -> Iterator[tuple[int, int, int, Path]]:
    """Cut every process's share into batches, (seed, number, inputs, models)."""
    for seed, count, models in tasks:
        for number, begin in enumerate(range(0, count, size)):
            yield seed, number, min(size, count - begin), models


def _limit(onnx: list[bytes] | None = None) -> None:
    _ONNX.extend(onnx or ())
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    signal.signal(signal.SIGVTALRM, _hang)


def _hang(*_: Any) -> None:
    raise Hang(f"more than {SECONDS} s of processor time")


def _batch(task: tuple[int, int, int, Path]) -> collections.Counter[str]:
    """Try one batch of inputs; returns how many came to what."""
    import numpy as np

    from tests.readers.damage import damage_bytes, damage_structure, small_models
    from tests.readers.damage_onnx import rewire

    seed, number, inputs, folder = task
    rng = np.random.default_rng([seed, number])
    small = small_models()
    sound = [model.build() for model in small]
    # Large files are mostly weights, and slow: their tables are like those of small ones.
    real = [file.read_bytes() for file in sorted(folder.glob("*.tflite")) if file.stat().st_size < 400_000]
    memory = Path("/dev/shm")
    stem = (memory if memory.is_dir() else Path(tempfile.gettempdir())) / f"tinyml-fuzz-{os.getpid()}"
    counts: collections.Counter[str] = collections.Counter()
    for i in range(inputs):
        which = int(rng.integers(len(small)))
        kind = rng.random()
        suffix = ".tflite"
        if rng.random() < ONNX:
            suffix = ".onnx"
            whole = _ONNX[int(rng.integers(len(_ONNX)))]
            data = damage_bytes(whole, rng) if kind < 0.4 else rewire(whole, rng)
        elif kind < 0.55:
            data = damage_structure(small[which], rng)
            if data and kind < 0.05:
                data = damage_bytes(data, rng)
        elif real and kind < 0.6:
            data = real[int(rng.integers(len(real)))]
            # Both ends of a file hold tables, the middle weights.
            kept = len(data) - 20000 if kind < 0.58 else 0
            data = data[:kept] + damage_bytes(data[kept:], rng)
        else:
            data = damage_bytes(sound[which], rng)
        outcome = _run(data, stem.with_suffix(suffix), rewritten=i % REWRITTEN == 0, planned=i % PLANNED == 0)
        counts[outcome] += 1
        if outcome not in ("refused", "accepted", "planned"):
            FINDINGS.mkdir(parents=True, exist_ok=True)
            (FINDINGS / f"{outcome.replace(' ', '-')}-{seed}-{number}-{i}{suffix}").write_bytes(data)
    for suffix in (".tflite", ".onnx"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    return counts


def _run(data: bytes, file: Path, *, rewritten: bool, planned: bool) -> str:
    """Read, rewrite and perhaps plan one file; returns what came of it."""
    from tinyml import boards, passes
    from tinyml.build import compile_model
    from tinyml.errors import ModelError, TinymlError
    from tinyml.readers import read_model

    file.write_bytes(data)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        graph = read_model(file)
        if rewritten or planned:
            passes.run(graph)
        if not planned:
            return "accepted"
        signal.setitimer(signal.ITIMER_VIRTUAL, 6 * SECONDS)  # the planner searches for a while
        compile_model(file, boards.load("mps2-an386")).context()
        return "planned"
    except ModelError as error:
        return "refused" if len(str(error)) < 100_000 else "endless message"
    except TinymlError as error:
        return "refused" if planned else f"{type(error).__name__}"
    except Exception as error:
        _say(traceback.format_exc())
        return type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _say(text: str) -> None:
    """Show where it happened: the last frames are the house's own."""
    print("".join(text.splitlines(keepends=True)[-9:]), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
