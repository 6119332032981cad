"""Builds and uploads with PlatformIO, also where its registry cannot be reached.

PlatformIO itself insists on one package, `tool-scons`. A small stand-in that imports SCons from this
Python serves instead, in a core folder of our own; everything else our platform takes from PATH.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tinyml import resources
from tinyml.errors import ToolchainError
from tinyml.toolchain import gcc
from tinyml.toolchain.programs import ARM_GCC_INSTALL, OPENOCD_INSTALL, require
from tinyml.toolchain.result import BuildResult, Progress, publish

INSTALL = "pip install 'platformio>=6.2,<6.3' 'scons>=4.11.1,<4.12'"
_FETCH = re.compile(r"Tool Manager: Installing platformio/(\S+)")
_FROM_SYSTEM = {"tool-openocd": OPENOCD_INSTALL, "tool-scons": INSTALL}


def available() -> bool:
    """Whether this Python has PlatformIO and SCons."""
    return all(importlib.util.find_spec(name) is not None for name in ("platformio", "SCons"))


def scons_versions() -> tuple[str, str]:
    """Return (the SCons release this PlatformIO wants, the one this Python has), such as "4.11.1".

    Raises:
        ToolchainError: PlatformIO or SCons is missing.
    """
    if not available():
        raise ToolchainError("PlatformIO is not installed", hint=f"install it with: {INSTALL}")
    import SCons
    from platformio.dependencies import get_core_dependencies

    # Package version a.aBBCC.0 is SCons a.B.C: "~4.41101.0" is 4.11.1.
    match = re.fullmatch(r"~?(\d+)\.(\d)(\d\d)(\d\d)\.\d+", get_core_dependencies()["tool-scons"])
    wanted = ".".join(str(int(match[i])) for i in (2, 3, 4)) if match else ""
    return wanted, str(SCons.__version__)


def scons_fits(wanted: str, have: str) -> bool:
    """Whether SCons `have` serves where PlatformIO wants `wanted`: the same but for the patch level."""
    return have.split(".")[:2] == wanted.split(".")[:2]


def core_dir() -> Path:
    """Return PlatformIO's core folder: PLATFORMIO_CORE_DIR where set, else one in the user's cache."""
    if configured := os.environ.get("PLATFORMIO_CORE_DIR"):
        return Path(configured)
    return resources.cache_dir() / "platformio"


def seed(core: Path) -> None:
    """Make a core folder usable without the registry; one that has its SCons is left as it is.

    Raises:
        ToolchainError: PlatformIO is missing, or wants another SCons than the one installed.
    """
    wanted, have = scons_versions()
    import platformio

    package = core / "packages" / "tool-scons"
    major, minor, patch = (int(x) for x in wanted.split("."))
    version = f"{major}.{major}{minor:02d}{patch:02d}.0"
    if not _is_package(package, version):
        if not scons_fits(wanted, have):
            raise ToolchainError(
                f"PlatformIO {platformio.__version__} wants SCons {wanted}, this Python has {have}",
                hint=f"install it with: pip install 'scons=={wanted}'",
            )
        package.mkdir(parents=True, exist_ok=True)
        _write(package / "scons.py", "from SCons.Script import main\nmain()\n")
        _write_json(
            package / "package.json",
            {
                "name": "tool-scons",
                "version": version,
                "description": f"SCons {have} of this Python",
                "license": "MIT",
                "system": "*",
            },
        )
        # Without its owner, PlatformIO takes the package for another one and asks the registry.
        spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
        _write_json(
            package / ".piopm", {"type": "tool", "name": "tool-scons", "version": version, "spec": spec}
        )
    # A core folder of another version, or one not checked lately, updates itself: no registry, no build.
    state_file = core / "appstate.json"
    try:
        state = json.loads(state_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        state = {}
    now = int(time.time())
    checked = state.get("last_check", {})
    stale = (
        now - checked.get("prune_system", 0) > 24 * 3600
        or now - checked.get("platformio_upgrade", 0) > 24 * 3600
    )
    if state.get("last_version") != platformio.__version__ or stale:
        state["last_version"] = platformio.__version__
        state["last_check"] = {"platformio_upgrade": now, "prune_system": now}
        _write_json(state_file, state)


def _is_package(package: Path, version: str) -> bool:
    try:
        return bool(json.loads((package / "package.json").read_text(encoding="utf-8"))["version"] == version)
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all: builds may run side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)


def _write_json(path: Path, value: Any) -> None:
    _write(path, json.dumps(value, indent=2) + "\n")


def environment() -> dict[str, str]:
    """Return the environment variables for running PlatformIO: quiet, no telemetry, our core folder."""
    return {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(core_dir()),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "0",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "36500",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
        "PLATFORMIO_DISABLE_PROGRESSBAR": "true",
    }


def _pio(project: Path, arguments: list[str], doing: str, progress: Progress | None) -> str:
    """Run `pio run` and return its output, or raise what it, or its folder, says is wrong."""
    if not (project / "platformio.ini").is_file():
        raise ToolchainError(
            "this is not a PlatformIO project", where=str(project), expected="a platformio.ini"
        )
    try:
        seed(core_dir())
    except OSError as error:
        raise ToolchainError(
            f"PlatformIO's folder {core_dir()} cannot be written: {error.strerror}",
            where=str(error.filename),
            hint="set PLATFORMIO_CORE_DIR to a folder that can be, or build with --toolchain gcc",
        ) from error
    lines: list[str] = []
    command = [sys.executable, "-m", "platformio", "run", "-d", str(project), *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
        start_new_session=True,  # a process group of its own, to end with all that it starts
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                if (wanted := _FETCH.search(line)) and progress is not None:
                    progress(f"ask PlatformIO's registry for {wanted[1]}")
                step = re.match(r"(Compiling|Archiving|Linking|Building|Uploading|Checksum) (\S*/\S+)", line)
                if step and progress is not None:
                    progress(f"{step[1].lower()} {Path(step[2]).name}")
        except BaseException:
            _end(process)  # it would build on, into a folder that is gone, or wait for ever for a reader
            raise
    output = "".join(lines)
    if process.returncode != 0:
        if "HTTPClientError" in output and (asked := _FETCH.findall(output)):
            raise ToolchainError(
                f"{doing} needs {asked[-1]}, and PlatformIO's registry cannot be reached",
                hint=f"install it with: {_FROM_SYSTEM.get(asked[-1], ARM_GCC_INSTALL)}",
            )
        raise gcc.failure(doing, output)
    return output


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its children; at once those that do not end when asked."""
    if not hasattr(os, "killpg"):
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(5)
        os.killpg(process.pid, signal.SIGKILL)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all of them have ended


def build(project_dir: Path, env: str, progress: Progress | None = None) -> BuildResult:
    """Build one environment of a generated project with PlatformIO.

    Args:
        project_dir: the project, with its platformio.ini.
        env: the environment's name; generated projects have the board's id and its twin's.
        progress: told one line per step.

    Returns:
        The result, copied to project_dir/build/<env>: PlatformIO empties its own folder at will.

    Raises:
        ToolchainError: PlatformIO is missing, or the build fails.
        DoesNotFit: the linker finds a memory too small.
    """
    project = project_dir.resolve()
    require("arm-none-eabi-gcc", ARM_GCC_INSTALL)
    log = _pio(project, ["-e", env], f"building {env} with PlatformIO", progress)
    out = project / ".pio" / "build" / env
    files = {f.name: f for f in out.glob("firmware.*")}
    files |= {str(su.relative_to(out)).replace("/", "_"): su for su in out.rglob("*.su")}
    return publish(files, project / "build" / env, log)


def upload(project_dir: Path, env: str, port: str | None = None, progress: Progress | None = None) -> str:
    """Flash an environment's firmware with PlatformIO; an emulated one starts its machine.

    Args:
        project_dir: the project, with its platformio.ini.
        env: the environment's name.
        port: the upload port, where the protocol has one.
        progress: told one line per step.

    Returns:
        PlatformIO's output.

    Raises:
        ToolchainError: a tool is missing, or the board does not answer.
    """
    arguments = ["-e", env, "-t", "upload", *(["--upload-port", port] if port else [])]
    return _pio(project_dir.resolve(), arguments, f"uploading {env}", progress)
