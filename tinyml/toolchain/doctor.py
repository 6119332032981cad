"""What a machine needs for tinyml, what it has, and the command that installs the rest."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyml.errors import ToolchainError
from tinyml.toolchain import platformio
from tinyml.toolchain.programs import HOST_GCC_INSTALL, OPENOCD_INSTALL, QEMU_INSTALL

# distribution: what it is needed for
_PACKAGES = {
    "numpy": "everything",
    "flatbuffers": "reading models",
    "tflite": "reading models",
    "jinja2": "generating C",
    "jsonschema": "board files",
    "click": "the command line",
    "rich": "the command line",
    "pyelftools": "sizes per symbol",
    "cffi": "running on this computer",
    "pyserial": "boards and emulators",
    "ai-edge-litert": "verify: the reference interpreter",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked for.

    ok: found, and usable. optional: tinyml does without it (see `needed_for`). detail: version or what is
    wrong. fix: the command that installs it; empty where it is ok.
    """

    name: str
    ok: bool
    optional: bool
    detail: str
    needed_for: str
    fix: str


def check() -> list[Check]:
    """Return all checks."""
    return list(checks())


def checks() -> Iterator[Check]:
    """Look for everything tinyml uses, one thing at a time; never fails."""
    for package, needed_for in _PACKAGES.items():
        yield _package(package, needed_for)
    yield _package("tensorflow", "quantize", optional=True)
    yield from _platformio()
    yield _program(
        "arm-none-eabi-gcc",
        ["-dumpfullversion"],
        "building for boards",
        "sudo apt-get install gcc-arm-none-eabi",
    )
    yield _newlib()
    yield _program("gcc", ["-dumpfullversion"], "running on this computer", HOST_GCC_INSTALL)
    yield _program("qemu-system-arm", ["--version"], "emulated boards", QEMU_INSTALL)
    yield _plugins()
    yield _program("openocd", ["--version"], "flashing boards", OPENOCD_INSTALL, optional=True)
    yield _serial_ports()


def _package(name: str, needed_for: str, *, optional: bool = False) -> Check:
    try:
        return Check(name, True, optional, importlib.metadata.version(name), needed_for, "")
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, optional, "not installed", needed_for, f"pip install {name}")


def _output(command: list[str]) -> str:
    """Return a program's output, or "" where it cannot be run."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def _program(name: str, arguments: list[str], needed_for: str, fix: str, *, optional: bool = False) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, optional, "not on PATH", needed_for, fix)
    version = re.search(r"\d+\.\d+(\.\d+)?", _output([path, *arguments]))
    if version is None:
        return Check(name, False, optional, f"{path} does not run", needed_for, fix)
    return Check(name, True, optional, version[0], needed_for, "")


def _platformio() -> Iterator[Check]:
    use = "building for boards (or --toolchain gcc)"
    if not platformio.available():
        yield Check("platformio", False, True, "not installed", use, platformio.INSTALL)
        return
    yield Check("platformio", True, True, importlib.metadata.version("platformio"), use, "")
    try:
        wanted, have = platformio.scons_versions()
    except ToolchainError as e:
        yield Check("scons", False, True, e.what, use, platformio.INSTALL)
        return
    fits = platformio.scons_fits(wanted, have)
    detail = have if fits else f"{have}; PlatformIO wants {wanted}"
    yield Check(
        "scons",
        fits,
        True,
        detail,
        "PlatformIO without its registry",
        "" if fits else f"pip install scons=={wanted}",
    )


def _newlib() -> Check:
    use, fix = "building for boards", "sudo apt-get install libnewlib-arm-none-eabi"
    path = shutil.which("arm-none-eabi-gcc")
    if path is None:
        return Check("newlib-nano", False, False, "not looked for: no arm-none-eabi-gcc", use, fix)
    # A file the compiler does not know comes back as the bare name.
    library = _output([path, "-mthumb", "-mcpu=cortex-m4", "-print-file-name=libc_nano.a"]).strip()
    if not Path(library).is_absolute():
        return Check("newlib-nano", False, False, "the compiler has no libc_nano.a", use, fix)
    return Check("newlib-nano", True, False, "found", use, "")


def _plugins() -> Check:
    use = "run --profile: instructions per layer"
    path = shutil.which("qemu-system-arm")
    if path is None:
        return Check("QEMU plugins", False, True, "not looked for: no qemu-system-arm", use, QEMU_INSTALL)
    if "-plugin" not in _output([path, "--help"]):
        return Check("QEMU plugins", False, True, "this QEMU was built without -plugin", use, QEMU_INSTALL)
    return Check("QEMU plugins", True, True, "supported", use, "")


def _serial_ports() -> Check:
    use = "boards on a serial port"
    ports = sorted([*Path("/dev").glob("ttyACM*"), *Path("/dev").glob("ttyUSB*")])
    if not ports:
        return Check("serial ports", True, True, "no board is connected", use, "")
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if closed:
        return Check(
            "serial ports",
            False,
            True,
            f"no permission: {', '.join(map(str, closed))}",
            use,
            "sudo usermod -aG dialout $USER, then log in again",
        )
    return Check("serial ports", True, True, ", ".join(map(str, ports)), use, "")
