"""What tinyml needs on this machine: what is there, what is missing, and the command that installs it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MIN_PYTHON = (3, 11)
_TIMEOUT_S = 20
_DISTRIBUTION = "tinyml-toolchain"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that tinyml needs.

    `detail` is its version or place, or what is wrong; `fix` the command that installs it, empty
    where nothing is to be done. An `optional` thing that is missing is no failure.
    """

    name: str
    ok: bool
    detail: str
    needed_for: str
    fix: str = ""
    optional: bool = False


def checks() -> Iterator[Check]:
    """Yield the checks in the order of the flow; each is made when it is asked for."""
    yield _python()
    yield from _requirements()
    yield _program("cc", "run and verify with --board host", "sudo apt-get install gcc libc6-dev")
    yield _program("arm-none-eabi-gcc", "build", "sudo apt-get install gcc-arm-none-eabi")
    yield _newlib()
    yield _program(
        "qemu-system-arm", "run and verify on emulated boards", "sudo apt-get install qemu-system-arm"
    )
    yield _serial_ports()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= _MIN_PYTHON
    return Check("Python", ok, version, "everything", "" if ok else "sudo apt-get install python3")


def _requirements() -> Iterator[Check]:
    """Check the distribution's own list of requirements, so that none is forgotten here."""
    try:
        required = importlib.metadata.requires(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Check(
            _DISTRIBUTION,
            False,
            "running from a checkout that is not installed",
            "the tinyml command and its dependencies' versions",
            f"{sys.executable} -m pip install -e .",
            optional=True,
        )
        return
    for requirement in required:
        specifier, _, marker = requirement.partition(";")
        if "extra" in marker:
            continue
        match = re.match(r"[A-Za-z0-9._-]+", specifier)
        if match is None:
            continue
        name = match.group()
        try:
            yield Check(name, True, importlib.metadata.version(name), "tinyml")
        except importlib.metadata.PackageNotFoundError:
            fix = f"{sys.executable} -m pip install '{specifier.strip()}'"
            yield Check(name, False, "not installed", "tinyml", fix)


def _program(name: str, needed_for: str, fix: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, "not found on PATH", needed_for, fix)
    first_line = (_output(path, "--version").splitlines() or [""])[0]
    return Check(
        name, bool(first_line), first_line or f"{path} does not run", needed_for, "" if first_line else fix
    )


def _newlib() -> Check:
    """Newlib is a package of its own; without it the compiler answers with the bare file name."""
    fix = "sudo apt-get install libnewlib-arm-none-eabi"
    gcc = shutil.which("arm-none-eabi-gcc")
    path = _output(gcc, "-print-file-name=nano.specs").strip() if gcc else ""
    ok = Path(path).is_absolute() and Path(path).is_file()
    return Check("newlib", ok, path if ok else "nano.specs not found", "build", "" if ok else fix)


def _serial_ports() -> Check:
    from serial.tools import list_ports

    ports = [port.device for port in list_ports.comports() if port.vid is not None]  # USB ones
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if closed:
        return Check(
            "serial ports",
            False,
            f"no permission for {', '.join(closed)}",
            "real boards",
            "sudo usermod -aG dialout $USER   # then log in again",
            optional=True,
        )
    return Check(
        "serial ports", True, ", ".join(ports) or "no board is connected", "real boards", optional=True
    )


def _output(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
