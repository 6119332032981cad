"""An emulated board: QEMU, its UART on a TCP socket, controlled over QMP."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from tinyml.boards import Board
from tinyml.errors import TargetError, UsageError
from tinyml.run.link import Link
from tinyml.run.linked import LinkedTarget, LinkOptions
from tinyml.run.ports import SocketPort
from tinyml.toolchain.programs import QEMU_INSTALL, require

_START_S = 20.0  # until QEMU answers on QMP; it needs 0.04 s on an idle computer


class QemuTarget(LinkedTarget):
    """A firmware on an emulated board.

    The machine starts frozen, the port is opened, then it runs: so READY is never missed. QEMU is
    killed when the with-block ends, whatever has happened in it.

    Args:
        elf: the firmware, linked for `board`.
        board: a board with an emulator (`Board.emulated()`).
        extra_args: further arguments of QEMU, such as `-plugin`.
        log: where QEMU's own messages go; a temporary file where not given.
        options: see Link.
    """

    def __init__(
        self,
        elf: Path,
        board: Board,
        *,
        extra_args: Sequence[str] = (),
        log: Path | None = None,
        **options: Unpack[LinkOptions],
    ) -> None:
        super().__init__(**options)
        if board.emulator is None:
            raise UsageError(
                f"board '{board.id}' has no emulator", hint="give --port, or a board from `tinyml boards`"
            )
        self._elf = elf
        self._board = board
        self._emulator = board.emulator
        self._extra_args = tuple(extra_args)
        self._log = log
        self._folder: Path | None = None
        self._monitor: _Monitor | None = None
        self._port: SocketPort | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def _start(self) -> Link:
        program = require(self._emulator.program, QEMU_INSTALL)
        if not self._elf.is_file():
            raise UsageError(f"there is no firmware {self._elf}", hint="make it with `tinyml build`")
        self._folder = Path(tempfile.mkdtemp(prefix="tinyml-qemu-"))
        log = self._log or self._folder / "qemu.log"
        control = self._folder / "qmp"
        command = [
            program,
            *("-M", self._emulator.machine, "-kernel", str(self._elf)),
            *("-display", "none", "-nodefaults", "-monitor", "none", "-S"),
            *("-chardev", "socket,id=uart,host=127.0.0.1,port=0,server=on,wait=off,nodelay=on"),
            *(["-serial", "null"] * self._emulator.serial_index),
            *("-serial", "chardev:uart"),
            *("-qmp", f"unix:{control},server=on,wait=off"),
            *self._emulator.args,
            *self._extra_args,
        ]
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            )
        self._log_path = log
        try:
            self._monitor = self._connect_monitor(control)
            self._port = SocketPort(socket.create_connection(self._uart_address(), timeout=_START_S))
            self._monitor.execute("cont")
        except OSError as error:
            raise TargetError(
                f"QEMU does not start {self._elf.name} on machine {self._emulator.machine}",
                where=self._explain(),
                hint="is the firmware built for this board, and does"
                f" `{self._emulator.program} -M help` list the machine?",
            ) from error
        return self._link_over(self._port, f"QEMU {self._emulator.machine}", self._wake)

    def _connect_monitor(self, control: Path) -> _Monitor:
        assert self.process is not None
        deadline = time.monotonic() + _START_S
        while True:  # until QEMU listens
            try:
                return _Monitor(control)
            except (FileNotFoundError, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
            time.sleep(0.005)

    def _uart_address(self) -> tuple[str, int]:
        assert self._monitor is not None
        for device in self._monitor.execute("query-chardev"):
            if device["label"] == "uart":  # "disconnected:tcp:127.0.0.1:41235,server=on"
                host, port = device["filename"].split("tcp:")[1].split(",")[0].rsplit(":", 1)
                return host, int(port)
        raise TargetError("QEMU has no serial port", expected="expected a character device 'uart'")

    def _wake(self) -> None:
        """Make QEMU's main loop look at the UART again.

        Some of its UART models (CMSDK, nRF51) do not tell the loop when the guest enables reception;
        any monitor command makes it look.
        """
        if self._monitor is not None:
            try:
                self._monitor.execute("query-status")
            except (OSError, TargetError):
                self._monitor = None  # QEMU has gone: the port says so next

    def quit(self, timeout_s: float = 10.0) -> None:
        """Let QEMU end by itself, so that plugins write what they counted."""
        assert self._monitor is not None
        assert self.process is not None
        try:
            self._monitor.execute("quit")
            self.process.wait(timeout_s)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TargetError("QEMU does not end", where=self._explain(), expected=str(error)) from error

    def _explain(self) -> str:
        """Say what QEMU's process has done, with the end of its messages."""
        if self.process is None:
            return ""
        try:
            status: int | None = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            status = None
        state = "QEMU still runs"
        if status is not None:
            state = f"QEMU ended with status {status}"
            if status < 0:
                state = f"QEMU was ended by signal {-status}"
        text = self._log_path.read_text("utf-8", "replace").strip().splitlines()[-8:]
        return "\n  ".join([state, *text])

    def _stop(self) -> None:
        monitor, self._monitor = self._monitor, None
        process, self.process = self.process, None
        folder, self._folder = self._folder, None
        port, self._port = self._port, None
        if port is not None:
            port.close()
        if monitor is not None:
            monitor.close()
        if process is not None:
            if process.poll() is None:
                process.kill()
            process.wait()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


class _Monitor:
    """QMP: one JSON object per line, requests and replies in turn, events in between."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(_START_S)
            self._socket.connect(str(path))
            self._lines = self._socket.makefile("rb")
            self._receive()  # the greeting
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def execute(self, command: str) -> Any:
        """Run a command without arguments; return its result."""
        self._socket.sendall(json.dumps({"execute": command}).encode())
        while True:
            reply = self._receive()
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                text = str(reply["error"].get("desc", reply))
                raise TargetError(f"QEMU refuses '{command}'", expected=text)

    def _receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("QEMU has closed its monitor")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()
