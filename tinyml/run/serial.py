"""A board on a serial port."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import serial
from serial.tools import list_ports

from tinyml.errors import TargetError
from tinyml.run.link import Link, Timing
from tinyml.run.linked import LinkedTarget, LinkOptions


class SerialTarget(LinkedTarget):
    """A board on a serial port.

    Args:
        port: a device ("/dev/ttyACM0") or a pyserial URL ("rfc2217://host:port").
        baud: bits per second, as in the board's file.
        options: see Link. `timing` is chosen for `baud` where not given. Lower `packet` to 64 or 33
            where an adapter without flow control loses bytes.
    """

    def __init__(self, port: str, baud: int, **options: Unpack[LinkOptions]) -> None:
        options["timing"] = options.get("timing") or Timing.for_baud(baud)
        super().__init__(**options)
        self._port = port
        self._baud = baud

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
        return self._link_over(port, f"{self._port} at {self._baud} baud")

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
