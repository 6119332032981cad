"""The C sources of the link compile cleanly everywhere, and the document says what the code does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.kernels.harness import WARNINGS
from tinyml import resources
from tinyml.run import wire

STRICT = ("-std=c11", *WARNINGS)


def compile_object(source: str, out: Path, *command: str) -> None:
    """Compile one file of runtime_c/ with all warnings as errors."""
    runtime = resources.runtime_dir()
    include = [f"-I{runtime / folder}" for folder in ("include", "port")]
    subprocess.run([*command, *STRICT, *include, "-c", str(runtime / source), "-o", str(out)], check=True)


@pytest.mark.parametrize("trace", [0, 1])
@pytest.mark.parametrize(
    "compiler",
    [
        ("gcc", "-O2"),
        ("clang", "-O2"),
        ("arm-none-eabi-gcc", "-Os", "-mcpu=cortex-m0", "-mthumb"),
        ("arm-none-eabi-gcc", "-O2", "-mcpu=cortex-m7", "-mthumb"),
        ("arm-none-eabi-gcc", "-O2", "-mcpu=cortex-m33", "-mthumb"),
    ],
    ids=" ".join,
)
def test_the_link_compiles_without_a_warning(compiler: tuple[str, ...], trace: int, tmp_path: Path) -> None:
    compile_object("port/tm_link.c", tmp_path / "tm_link.o", *compiler, f"-DTM_TRACE={trace}")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_hosts_sources_compile_without_a_warning(compiler: str, tmp_path: Path) -> None:
    for source in ("qemu_plugin/tm_profile.c", "host/tm_host_trace.c", "host/tm_host_port.c"):
        compile_object(source, tmp_path / "x.o", compiler, "-O2", "-fPIC", "-DTM_TRACE=1")


def test_the_link_is_small_and_uses_no_heap_nor_floats(tmp_path: Path) -> None:
    out = tmp_path / "tm_link.o"
    compile_object(
        "port/tm_link.c", out, "arm-none-eabi-gcc", "-Os", "-mcpu=cortex-m0", "-mthumb", "-DTM_TRACE=1"
    )
    symbols = subprocess.run(["arm-none-eabi-nm", "-u", str(out)], capture_output=True, text=True, check=True)
    needed = set(symbols.stdout.split()) - {"U", "w"}
    # memory functions, the port, the image's marks and integer helpers of a core without division
    allowed = re.compile(r"mem(cpy|set)|tm_port_\w+|tm_image_\w+|__gnu_thumb1_case_\w+|__aeabi_(u?idiv|lmul)")
    assert {name for name in needed if not allowed.fullmatch(name)} == set()
    sizes = subprocess.run(["arm-none-eabi-size", str(out)], capture_output=True, text=True, check=True)
    text, data, bss = map(int, sizes.stdout.splitlines()[1].split()[:3])
    assert text <= 4096
    assert data + bss <= 768


def test_the_document_lists_every_number(repo_root: Path) -> None:
    text = (repo_root / "docs" / "protocol.md").read_text()
    rows = dict(re.findall(r"^\| ([0-9A-F]{2}) (\w+) \|", text, re.MULTILINE))
    assert rows == {f"{kind:02X}": kind.name for kind in wire.Kind}
    for status in wire.Status:
        assert re.search(rf"\b{status.value} [A-Za-z]", text[text.index("Status: ") :]), status
    assert f"version {wire.VERSION}" in text.splitlines()[0]
    assert f"at most {wire.PACKET_MAX} bytes" in text
    assert f"room for {wire.PACKET_MIN}: {wire.OVERHEAD} bytes of frame" in text


def test_the_header_has_the_same_numbers() -> None:
    source = (resources.runtime_dir() / "port" / "tm_link.c").read_text()
    kinds = {name: int(value, 16) for name, value in re.findall(r"KIND_(\w+) = (0x\w+)", source)}
    assert kinds == {kind.name: kind.value for kind in wire.Kind} | {"REPLY": wire.REPLY}
    statuses = {name: int(value) for name, value in re.findall(r"STATUS_(\w+) = (\d+)", source)}
    assert statuses == {status.name: status.value for status in wire.Status}
    header = (resources.runtime_dir() / "port" / "tm_link.h").read_text()
    values = {name: int(value, 0) for name, value in re.findall(r"TM_LINK_(\w+) = (\w+)", header)}
    assert values == {
        "VERSION": wire.VERSION,
        "PACKET_MIN": wire.PACKET_MIN,
        "PACKET_MAX": wire.PACKET_MAX,
        "NO_LAYER": wire.NO_LAYER,
        "NO_INPUT": wire.NO_INPUT,
    }
