"""A QEMU machine with its serial port on TCP: just enough to talk to the port's test program."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tinyml.boards import Board


class Machine:
    """Starts frozen, so that the first line is not lost; runs once the serial port is open."""

    def __init__(self, board: Board, elf: Path, folder: Path) -> None:
        assert board.emulator is not None
        qmp = folder / "qmp"
        emulator = board.emulator
        self._process = subprocess.Popen(
            [emulator.program, "-M", emulator.machine, "-kernel", str(elf), "-S", "-display", "none"]
            + ["-nodefaults", "-monitor", "none"]
            + ["-chardev", "socket,id=uart,host=127.0.0.1,port=0,server=on,wait=off,nodelay=on"]
            + ["-serial", "null"] * emulator.serial_index
            + ["-serial", "chardev:uart", "-semihosting-config", "enable=on,target=native"]
            + ["-qmp", f"unix:{qmp},server=on,wait=off", *emulator.args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._qmp = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 10
        while True:
            try:
                self._qmp.connect(str(qmp))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < end, "QEMU did not start"
                assert self._process.poll() is None, "QEMU ended"
                time.sleep(0.005)
        self._answers = self._qmp.makefile("r")
        self._answers.readline()
        self.command("qmp_capabilities")
        uart = next(c["filename"] for c in self.command("query-chardev") if c["label"] == "uart")
        host, port = uart.split("tcp:")[1].split(",")[0].split(":")
        self._serial = socket.create_connection((host, int(port)), timeout=10)
        self._lines = self._serial.makefile("rb")
        self.command("cont")

    def command(self, name: str) -> Any:
        self._qmp.sendall(json.dumps({"execute": name}).encode())
        while True:
            answer = json.loads(self._answers.readline())
            if "return" in answer:
                return answer["return"]

    def read(self) -> str:
        return self._lines.readline().decode().strip()

    def send(self, line: str) -> None:
        self._serial.sendall(line.encode() + b"\n")

    def ask(self, line: str) -> str:
        """Send a line and return the first line of the answer."""
        self.send(line)
        self.command("query-status")  # wakes QEMU's main loop, which enabling a receiver does not
        return self.read()

    def value(self, name: str) -> int:
        key, _, value = self.ask(name).partition("=")
        assert key == name
        return int(value)

    def wait(self) -> int:
        """Return the exit code of the machine."""
        return self._process.wait(10)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._lines.close()
        self._serial.close()
        self._answers.close()
        self._qmp.close()
