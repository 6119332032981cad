"""A board on a serial port."""

from __future__ import annotations

from pathlib import Path

import serial
from serial.tools import list_ports

from tinyml.errors import TargetError
from tinyml.run.link import Expected, Link, Progress, Timing
from tinyml.run.linked import LinkedTarget


class SerialTarget(LinkedTarget):
    """A board on a serial port.

    Args:
        port: a device ("/dev/ttyACM0") or a pyserial URL ("rfc2217://host:port").
        baud: bits per second, as in the board's file.
        timing: time-outs; chosen for `baud` where not given.
        expected: model and firmware that should answer.
        packet: largest packet in bytes. Lower it to 64 or 33 where an adapter without flow control
            loses bytes.
        progress: called while inputs and outputs move.
    """

    def __init__(
        self,
        port: str,
        baud: int,
        *,
        timing: Timing | None = None,
        expected: Expected | None = None,
        packet: int = 256,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self._port = port
        self._baud = baud
        self._timing = timing or Timing.for_baud(baud)
        self._expected = expected
        self._packet = packet
        self._progress = progress

    def _start(self) -> Link:
        try:
            # Only the first byte is waited for: in_waiting tells how many follow.
            port = serial.serial_for_url(
                self._port, self._baud, timeout=0.02, write_timeout=5.0, exclusive=True
            )
        except (OSError, ValueError) as error:
            raise TargetError(
                f"serial port {self._port} cannot be opened",
                expected=str(error),
                hint=_ports_hint(error),
            ) from error
        return Link(
            port,
            f"{self._port} at {self._baud} baud",
            timing=self._timing,
            expected=self._expected,
            packet=self._packet,
            progress=self._progress,
            explain=self._explain,
        )

    def _explain(self) -> str:
        if self._port.startswith("/") and not Path(self._port).exists():
            return f"{self._port} no longer exists"
        return ""

    def _stop(self) -> None:
        pass  # the link has closed the port


def _ports_hint(error: Exception) -> str:
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return "add your user to the group that owns it (Debian: `adduser $USER dialout`), then log in again"
    if "busy" in str(error).lower() or "lock" in str(error).lower():
        return "another program has the port open: close its serial monitor"
    found = [f"{info.device} ({info.description})" for info in sorted(list_ports.comports())]
    return f"ports here: {', '.join(found)}" if found else "no serial port is connected to this computer"
