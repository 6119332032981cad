"""A handle on the process in which TensorFlow runs (`worker.py`)."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tinyml.errors import ModelError, TinymlError, ToolchainError, UsageError

INSTALL = "pip install 'tinyml-toolchain[quantize]' (or: pip install tensorflow)"
_LOG_LINES = 3
_ERRORS: dict[str, type[TinymlError]] = {
    "model": ModelError,
    "data": UsageError,
    "tensorflow": ToolchainError,
}


class Converter:
    """TensorFlow in a process of its own; a context manager that ends it.

    Raises:
        ToolchainError: TensorFlow is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("tensorflow") is None:
            raise ToolchainError(
                "TensorFlow, which converts and quantises models, is not installed",
                where=f"in the environment of {sys.executable}",
                expected="nothing else in tinyml needs it",
                hint=INSTALL,
            )
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            # -P: this package's folder must not come before TensorFlow's own modules.
            [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
            env=os.environ
            | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def ask(self, do: str, progress: Callable[[int], None] | None = None, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its result.

        Args:
            do: the method of `worker.Worker`.
            progress: told how many samples are done.
            arguments: of that method.

        Raises:
            ModelError, UsageError, ToolchainError: as the worker says; the last one also where
                TensorFlow ended its process.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended(do) from None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "progress" in answer:
                if progress is not None:
                    progress(answer["progress"])
            elif "error" in answer:
                parts = answer["error"]
                raise _ERRORS[parts.pop("kind")](parts.pop("what"), **parts)
            else:
                result: dict[str, Any] = answer["result"]
                return result
        raise self._ended(do)

    def _ended(self, do: str) -> ToolchainError:
        status = self._process.wait()
        self._log.seek(0)
        text = self._log.read().decode("utf-8", "replace")
        lines = [line.strip()[:300] for line in text.splitlines() if line.strip()]
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return ToolchainError(
            f"TensorFlow ended its process {how}",
            where=f"step: {do}",
            expected="\n  ".join(lines[-_LOG_LINES:]),
            hint="its calibrator does so on control flow, and where memory runs out: "
            "build recurrent layers with unroll=True, give fewer --samples",
        )
