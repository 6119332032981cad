"""The doctor on machines made up of a faked PATH."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from tinyml.errors import ToolchainError
from tinyml.toolchain import doctor, gcc, platformio
from tinyml.toolchain.programs import ARM_GCC_INSTALL


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH; put programs there with `program`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, name: str, script: str) -> None:
    file = path / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def found() -> dict[str, doctor.Check]:
    return {c.name: c for c in doctor.check()}


def test_an_empty_machine_gets_a_command_for_everything(path: Path) -> None:
    checks = found()
    for name in ("arm-none-eabi-gcc", "newlib-nano", "gcc", "qemu-system-arm", "QEMU plugins", "openocd"):
        assert not checks[name].ok
        assert checks[name].fix.startswith("sudo apt-get install ")
        assert checks[name].needed_for
    assert checks["openocd"].optional
    assert not checks["arm-none-eabi-gcc"].optional
    # Python packages do not depend on PATH
    assert checks["numpy"].ok
    assert checks["numpy"].detail == importlib.metadata.version("numpy")


def test_versions_are_read_from_the_programs(path: Path, tmp_path: Path) -> None:
    library = tmp_path / "libc_nano.a"
    library.touch()
    program(
        path,
        "arm-none-eabi-gcc",
        f'case "$*" in *print-file-name*) echo {library};; *) echo 12.2.1;; esac',
    )
    program(path, "gcc", "echo 13.1.0")
    program(
        path,
        "qemu-system-arm",
        'case "$1" in --help) echo "-plugin [file=]<file>";; *) echo "QEMU emulator version 7.2.4";; esac',
    )
    program(path, "openocd", "echo Open On-Chip Debugger 0.12.0 >&2")
    checks = found()
    assert {
        name: checks[name].detail for name in ("arm-none-eabi-gcc", "gcc", "qemu-system-arm", "openocd")
    } == {
        "arm-none-eabi-gcc": "12.2.1",
        "gcc": "13.1.0",
        "qemu-system-arm": "7.2.4",
        "openocd": "0.12.0",
    }
    assert checks["newlib-nano"].ok
    assert checks["QEMU plugins"].ok
    assert not any(checks[name].fix for name in ("gcc", "newlib-nano", "QEMU plugins", "openocd"))


def test_a_compiler_without_newlib_and_a_qemu_without_plugins_are_noticed(path: Path) -> None:
    program(
        path, "arm-none-eabi-gcc", 'case "$*" in *print-file-name*) echo libc_nano.a;; *) echo 12.2.1;; esac'
    )
    program(path, "qemu-system-arm", 'echo "QEMU emulator version 7.2.4"')
    checks = found()
    assert checks["arm-none-eabi-gcc"].ok
    assert not checks["newlib-nano"].ok
    assert checks["newlib-nano"].fix == "sudo apt-get install libnewlib-arm-none-eabi"
    assert not checks["QEMU plugins"].ok


def test_a_program_that_cannot_run_is_not_installed(path: Path) -> None:
    program(path, "gcc", "exit 1")
    (path / "openocd").write_text("not a program")
    (path / "openocd").chmod(0o755)
    checks = found()
    assert "does not run" in checks["gcc"].detail
    assert not checks["openocd"].ok


def test_scons_of_another_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformio, "scons_versions", lambda: ("4.11.1", "4.8.1"))
    check = found()["scons"]
    assert not check.ok
    assert check.fix == "pip install scons==4.11.1"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "ai-edge-litert":
            raise importlib.metadata.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    check = found()["ai-edge-litert"]
    assert (check.ok, check.fix) == (False, "pip install ai-edge-litert")


def test_a_missing_compiler_stops_a_build_with_the_command(path: Path, tmp_path: Path) -> None:
    from tinyml import boards

    with pytest.raises(ToolchainError) as caught:
        gcc.build(tmp_path, boards.load("stm32f746"))
    assert caught.value.what == "arm-none-eabi-gcc is not installed"
    assert ARM_GCC_INSTALL in caught.value.hint
    with pytest.raises(ToolchainError, match="is not installed"):
        gcc.build_host([], [], tmp_path / "x.so")
