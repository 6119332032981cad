"""PlatformIO without its registry: an empty core folder, our platform, the same bytes as direct GCC."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.boards.conftest import make_project
from tinyml import boards, resources
from tinyml.errors import ToolchainError
from tinyml.toolchain import gcc, platformio
from tinyml.toolchain.programs import OPENOCD_INSTALL

needs_tools = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and platformio.available()),
    reason="arm-none-eabi-gcc or PlatformIO is not installed",
)


def write_project(folder: Path, board_id: str) -> Path:
    project = make_project(folder)
    board = boards.load(board_id)
    shutil.copytree(resources.runtime_dir() / "platformio", project / "platforms" / "tinyml")
    (project / "boards").mkdir()
    ini = "[platformio]\nplatforms_dir = platforms\n[env]\nplatform = tinyml\nbuild_src_flags = -Werror\n"
    for b in {b.id: b for b in (board, board.emulated()) if b is not None}.values():
        (project / "boards" / f"{b.id}.json").write_text(json.dumps(b.manifest))
        ini += f"[env:{b.id}]\nboard = {b.id}\n"
    (project / "platformio.ini").write_text(ini)
    return project


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("core")


@pytest.fixture(autouse=True)
def offline(core: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(core))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there: any request would fail


@needs_tools
def test_platformio_builds_the_same_bytes_as_gcc(tmp_path: Path) -> None:
    project = write_project(tmp_path / "an äpp", "nucleo_f746zg")
    steps: list[str] = []
    for name in ("nucleo_f746zg", "nucleo_f746zg_twin"):
        built = platformio.build(project, name, steps.append)
        direct = gcc.build(project, boards.load(name), name=f"{name}-gcc")
        assert built.bin.read_bytes() == direct.bin.read_bytes()
        assert built.elf.parent == project / "build" / name
        assert {f.name.removesuffix(".su").rsplit("_", 1)[-1] for f in built.stack_usage} >= {
            "main",
            "startup",
        }
    assert "compiling main.o" in steps
    assert "linking firmware.elf" in steps


@needs_tools
def test_the_second_boot_stage_gets_its_checksum_from_platformio_too(tmp_path: Path) -> None:
    project = write_project(tmp_path / "an äpp", "rp2040")
    built = platformio.build(project, "rp2040")
    assert built.bin.read_bytes()[252:256] != b"\0\0\0\0"
    assert built.bin.read_bytes() == gcc.build(project, boards.load("rp2040"), name="direct").bin.read_bytes()


@needs_tools
def test_a_compile_error_is_shown_and_leaves_no_build(tmp_path: Path) -> None:
    project = write_project(tmp_path / "an äpp", "mps2-an386")
    (project / "src" / "main.c").write_text("int main(void) { int unused; return 0; }\n")
    with pytest.raises(ToolchainError, match="building mps2-an386 with PlatformIO failed") as caught:
        platformio.build(project, "mps2-an386")
    assert "unused variable" in caught.value.where
    assert not (project / "build").exists()


@needs_tools
@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed")
def test_upload_starts_an_emulated_board(tmp_path: Path) -> None:
    project = write_project(tmp_path / "an äpp", "mps2-an500")
    platformio.build(project, "mps2-an500")
    platformio.upload(project, "mps2-an500")
    folder = project / ".pio" / "build" / "mps2-an500"
    state = json.loads((folder / "emu.json").read_text())
    try:
        host, port = state["url"].removeprefix("socket://").split(":")
        with (
            socket.create_connection((host, int(port)), timeout=10) as serial,
            serial.makefile("rb") as lines,
        ):
            assert lines.readline() == b"READY mps2-an500 data-good\n"
            serial.sendall(b"hello\n")
            assert lines.readline() == b"echo hello\n"
    finally:
        script = project / "platforms" / "tinyml" / "qemu_upload.py"
        subprocess.run([sys.executable, str(script), "--state", str(folder), "--stop"], check=True)
    end = time.monotonic() + 5
    while (
        Path(f"/proc/{state['pid']}/cmdline").exists()
        and b"qemu" in Path(f"/proc/{state['pid']}/cmdline").read_bytes()
    ):
        assert time.monotonic() < end, "the machine did not stop"
        time.sleep(0.02)
    assert not (folder / "emu.json").exists()


@needs_tools
def test_an_unreachable_registry_is_told_with_the_systems_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project(tmp_path / "app", "mps2-an386")
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\necho 'Tool Manager: Installing platformio/tool-openocd @ >=3.1100.0'\n"
        "echo 'HTTPClientError: '\nexit 1\n"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))  # PlatformIO itself would try for a minute
    steps: list[str] = []
    with pytest.raises(ToolchainError, match="needs tool-openocd, and PlatformIO's registry") as caught:
        platformio.upload(project, "mps2-an386", progress=steps.append)
    assert OPENOCD_INSTALL in caught.value.hint
    assert steps == ["ask PlatformIO's registry for tool-openocd"]


@needs_tools
def test_a_seeded_core_folder_is_left_alone(tmp_path: Path) -> None:
    platformio.seed(tmp_path)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert {p.name for p in files} == {"scons.py", "package.json", ".piopm", "appstate.json"}
    platformio.seed(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == files


@needs_tools
def test_scons_of_another_release_is_refused_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformio, "scons_versions", lambda: ("4.11.1", "4.8.1"))
    with pytest.raises(ToolchainError) as caught:
        platformio.seed(tmp_path)
    assert "scons==4.11.1" in caught.value.hint
    assert not (tmp_path / "packages").exists()


def test_without_platformio_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformio, "available", lambda: False)
    with pytest.raises(ToolchainError) as caught:
        platformio.seed(tmp_path)
    assert platformio.INSTALL in caught.value.hint


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    with pytest.raises(ToolchainError, match="not a PlatformIO project"):
        platformio.build(tmp_path, "x")


@needs_tools
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc")
def test_an_interrupted_build_ends_platformio(tmp_path: Path) -> None:
    project = write_project(tmp_path / "app", "microbit")

    def interrupt(step: str) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        platformio.build(project, "microbit", interrupt)
    time.sleep(0.2)  # for orphans to be reaped
    commands = [_command(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    assert [command for command in commands if str(project) in command] == []


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text("utf-8", "replace")
    except OSError:
        return ""  # ended meanwhile
