"""This computer as a target: a shared library, or the firmware's own link in a process."""

from __future__ import annotations

import os
import socket
import subprocess
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import numpy as np

from tinyml import resources
from tinyml.errors import TargetError, ToolchainError
from tinyml.graph import Array
from tinyml.run.link import Link
from tinyml.run.linked import LinkedTarget, LinkOptions
from tinyml.run.ports import SocketPort
from tinyml.run.target import Inference, LayerInfo, LayerTrace, TargetInfo, input_bytes
from tinyml.toolchain.gcc import build_host

_GUARD = 64  # bytes on either side of the arena that must stay as they are
_PUSHED = 0xFFFFFFFF  # TM_PUSHED, the offset of an input whose rows are pushed

# The declarations of tm_model.h and tm_host_trace.c, as cffi reads them.
_CDEF = """
typedef struct { const char *name; uint32_t offset; uint32_t bytes; float scale; int32_t zero_point;
                 uint8_t dtype; uint8_t rank; uint32_t dims[6]; } tm_tensor_info;
typedef struct { const char *name; const char *op; uint32_t macs; uint32_t offset; uint32_t bytes;
                 } tm_layer_info;
typedef struct { const char *name; uint8_t sha256[32]; uint32_t arena_bytes;
                 uint16_t input_count; uint16_t output_count; uint16_t layer_count;
                 const tm_tensor_info *inputs; const tm_tensor_info *outputs; const tm_layer_info *layers;
                 int (*invoke)(void *arena); int (*push_row)(void *arena, int32_t index, const void *row);
                 int32_t pushed_rows; void (*reset)(void *arena); } tm_model;
typedef void (*tm_host_hook)(uint16_t layer);
void tm_host_set_hooks(tm_host_hook begin, tm_host_hook end);
"""


def _model_sources(project_dir: Path, model_name: str) -> tuple[list[Path], Path]:
    """Return the model's C files and the folder of its headers."""
    folder = project_dir / "lib" / model_name / "src"
    sources = sorted(folder.glob("*.c"))
    if not sources:
        raise ToolchainError(
            f"there is no generated code of model '{model_name}'",
            where=str(folder),
            hint="write it with `tinyml generate`",
        )
    return sources, folder


def build_host_library(project_dir: Path, model_name: str, out: Path, *, sanitize: bool = False) -> Path:
    """Compile a generated model for this computer, with trace hooks.

    Args:
        project_dir: a generated project; `lib/<model_name>/src` holds the model's C code.
        model_name: the model's C name.
        out: the shared library to write.
        sanitize: add UBSan; undefined behaviour then ends the process with a message. (AddressSanitizer
            cannot be loaded into Python: build_host_program has it.)

    Returns:
        `out`.

    Raises:
        ToolchainError: no compiler, no such model, or code that does not compile without a warning.
    """
    sources, include = _model_sources(project_dir, model_name)
    runtime = resources.runtime_dir()
    flags = ["-O2"]
    if sanitize:
        flags += ["-g", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
    return build_host(
        [*sources, runtime / "host" / "tm_host_trace.c"],
        [include, runtime / "include"],
        out,
        defines=["TM_TRACE=1"],
        flags=flags,
    )


def build_host_program(
    sources: Sequence[Path],
    include: Sequence[Path],
    out: Path,
    *,
    sanitize: bool = False,
    defines: Mapping[str, str] | None = None,
    compiler: str = "gcc",
) -> Path:
    """Compile the firmware's own main.c and tm_link.c with a model into a process for this computer.

    Args:
        sources: the model's C files.
        include: folders with `app_model.h` and the model's headers.
        out: the program to write.
        sanitize: add AddressSanitizer and UBSan.
        defines: further preprocessor definitions.
        compiler: "gcc" or "clang".

    Returns:
        `out`, to be run with LinkedHostTarget.

    Raises:
        ToolchainError: no compiler, or code that does not compile without a warning.
    """
    runtime = resources.runtime_dir()
    values = {"TM_TRACE": "1", "main": "tm_firmware_main", **(defines or {})}
    flags = ["-O2", "-Wl,--defsym=tm_image_end=tm_image_start+64"]
    if sanitize:
        flags += ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    port = runtime / "host" / "tm_host_port.c"
    link = [runtime / "port" / "main.c", runtime / "port" / "tm_link.c"]
    return build_host(
        [*sources, *link, port],
        [*include, runtime / "port", runtime / "include"],
        out,
        shared=False,
        defines=[f"{name}={value}" for name, value in values.items()],
        flags=flags,
        compiler=compiler,
    )


class HostTarget:
    """A model as a shared library in this process. Every instance has an arena of its own.

    Args:
        library: written by build_host_library().
        model_name: the model's C name; the library's symbol is `<model_name>_model`.
    """

    def __init__(self, library: Path, model_name: str) -> None:
        self._library = library
        self._name = model_name
        self._ffi: Any = None
        self._lib: Any = None
        self._model: Any = None
        self._memory: Array = np.empty(0, np.uint8)
        self._start = 0
        self._info: TargetInfo | None = None
        self._layers: tuple[LayerInfo, ...] = ()

    def __enter__(self) -> Self:
        """Load the library and make an arena."""
        import cffi

        self._ffi = cffi.FFI()
        self._ffi.cdef(_CDEF + f"extern tm_model {self._name}_model;")
        try:
            self._lib = self._ffi.dlopen(str(self._library))
            self._model = getattr(self._lib, f"{self._name}_model")
        except (OSError, AttributeError, KeyError) as error:  # cffi raises KeyError for a missing variable
            raise TargetError(
                f"the library of model '{self._name}' cannot be loaded",
                where=str(self._library),
                expected=str(error),
                hint="build it again with `tinyml build --board host`",
            ) from error
        model = self._model
        size = int(model.arena_bytes)
        pushed = next((i for i in range(model.input_count) if model.inputs[i].offset == _PUSHED), None)
        image = model.inputs[pushed] if pushed is not None else None
        self._memory = np.full(size + 2 * _GUARD + 8, 0xA5, np.uint8)
        self._start = _GUARD + (-(self._memory.ctypes.data + _GUARD)) % 8
        self._info = TargetInfo(
            board="host",
            model=self._text(model.name),
            model_sha256=bytes(model.sha256).hex(),
            firmware="",
            clock_hz=0,
            arena_bytes=size,
            input_bytes=tuple(model.inputs[i].bytes for i in range(model.input_count)),
            output_bytes=tuple(model.outputs[i].bytes for i in range(model.output_count)),
            layer_count=model.layer_count,
            trace=True,
            pushed_input=pushed,
            pushed_rows=model.pushed_rows,
            row_bytes=image.bytes // image.dims[1] if image is not None else 0,
            stateful=model.reset != self._ffi.NULL,
        )
        self.reset_states()
        self._layers = tuple(
            LayerInfo(i, self._text(layer.name), self._text(layer.op), layer.macs, layer.bytes)
            for i, layer in ((i, model.layers[i]) for i in range(model.layer_count))
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unload the library."""
        if self._lib is not None:
            self._model = None
            self._ffi.dlclose(self._lib)
            self._lib = None

    @property
    def info(self) -> TargetInfo:
        """Who answers."""
        if self._info is None:
            raise RuntimeError("HostTarget is used outside its with-block")
        return self._info

    def layers(self) -> tuple[LayerInfo, ...]:
        """The operators of the model."""
        return self._layers

    def infer(self, inputs: Sequence[Array]) -> Inference:
        """Run one inference."""
        self._invoke(inputs, None)
        model = self._model
        return Inference(
            tuple(
                self._bytes(model.outputs[i].offset, model.outputs[i].bytes).copy()
                for i in range(model.output_count)
            )
        )

    def trace(self, inputs: Sequence[Array]) -> list[LayerTrace]:
        """Run one inference and take the CRC-32 of every layer's output."""
        traces: list[LayerTrace] = []

        def end(index: int) -> None:
            layer, place = self._layers[index], self._model.layers[index]
            crc = zlib.crc32(self._bytes(place.offset, place.bytes).tobytes())
            traces.append(LayerTrace(index, layer.name, layer.op, crc, None))

        self._invoke(inputs, end)
        return traces

    def layer_output(self, inputs: Sequence[Array], index: int) -> bytes:
        """Run one inference and return the output bytes of layer `index`, copied right after it ran."""
        found = b""

        def end(layer: int) -> None:
            nonlocal found
            if layer == index:
                place = self._model.layers[index]
                found = self._bytes(place.offset, place.bytes).tobytes()

        self._invoke(inputs, end)
        return found

    def reset_states(self) -> None:
        """Forget earlier inferences."""
        if self.info.stateful:
            self._model.reset(self._arena())

    def _arena(self) -> Any:
        return self._ffi.cast("void *", self._memory.ctypes.data + self._start)

    def _text(self, pointer: Any) -> str:
        return str(self._ffi.string(pointer).decode("utf-8", "replace"))

    def _bytes(self, offset: int, size: int) -> Array:
        return self._memory[self._start + offset : self._start + offset + size]

    def _invoke(self, inputs: Sequence[Array], end: Callable[[int], None] | None) -> None:
        info, model, ffi = self.info, self._model, self._ffi
        arena = self._arena()
        raw = input_bytes(inputs, info)
        for i, data in enumerate(raw):
            if i != info.pushed_input:
                place = model.inputs[i]
                self._bytes(place.offset, place.bytes)[:] = np.frombuffer(data, np.uint8)
        if info.pushed_input is not None:
            self._push_rows(arena, np.frombuffer(raw[info.pushed_input], np.uint8))
            if end is not None:
                end(0)  # the pushed rows' layer: its hooks are called for every row
        hook = ffi.callback("tm_host_hook", end) if end is not None else ffi.NULL
        self._lib.tm_host_set_hooks(ffi.NULL, hook)
        try:
            self._check("invoke", model.invoke(arena))
        finally:
            self._lib.tm_host_set_hooks(ffi.NULL, ffi.NULL)
        inside = slice(self._start, self._start + info.arena_bytes)
        outside = np.delete(self._memory, inside)
        if not (outside == 0xA5).all():
            self._memory[: inside.start] = self._memory[inside.stop :] = 0xA5
            raise TargetError(
                f"{info.model} wrote outside its arena of {info.arena_bytes} bytes",
                hint="this is a defect of a kernel or the plan: please report it with the model",
            )

    def _push_rows(self, arena: Any, image: Array) -> None:
        """Push every row from one buffer, as an application does that never has the whole image."""
        info = self.info
        rows = image.reshape(-1, info.row_bytes)
        row = np.empty(info.row_bytes, np.uint8)
        pointer = self._ffi.cast("void *", row.ctypes.data)
        for index in range(info.pushed_rows):
            row[:] = rows[index % len(rows)]
            self._check("push_row", self._model.push_row(arena, index, pointer))

    def _check(self, function: str, result: int) -> None:
        if result != 0:
            raise TargetError(
                f"{self.info.model}_{function}() failed",
                expected=f"expected 0, received {result}",
                hint="see the result codes in tm_model.h",
            )


class LinkedHostTarget(LinkedTarget):
    """The firmware's main.c and tm_link.c as a process, spoken to like a board.

    Args:
        program: written by build_host_program().
        environment: set for the process besides the caller's own.
        wrap: puts something around the port, such as a bad line.
        options: see Link.
    """

    def __init__(
        self,
        program: Path,
        *,
        environment: Mapping[str, str] | None = None,
        wrap: Callable[[SocketPort], Any] | None = None,
        **options: Unpack[LinkOptions],
    ) -> None:
        super().__init__(**options)
        self._program = program
        self._environment = dict(environment or {})
        self._wrap = wrap
        self.process: subprocess.Popen[bytes] | None = None
        self._errors = b""

    def _start(self) -> Link:
        ours, theirs = socket.socketpair()
        try:
            self.process = subprocess.Popen(
                [str(self._program), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **self._environment},
            )
        except OSError as error:
            ours.close()
            raise TargetError(
                f"{self._program.name} cannot be started", where=str(self._program), expected=str(error)
            ) from error
        finally:
            theirs.close()
        port: Any = SocketPort(ours)
        return self._link_over(self._wrap(port) if self._wrap else port, f"process {self._program.name}")

    def _explain(self) -> str:
        if self.process is None:
            return ""
        try:
            _, self._errors = self.process.communicate(timeout=2.0)
        except subprocess.TimeoutExpired:
            return "the process still runs"
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()[:8]
        return "\n  ".join([f"the process ended with status {self.process.returncode}", *lines])

    def _stop(self) -> None:
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.kill()
        process.communicate()
