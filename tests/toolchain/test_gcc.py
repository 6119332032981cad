"""Direct compilation: the host's shared libraries, and what a build refuses."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from tinyml import boards
from tinyml.errors import DoesNotFit, ToolchainError
from tinyml.toolchain import gcc

needs_arm = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_a_shared_library_is_built_whole_or_not_at_all(tmp_path: Path) -> None:
    source, header = tmp_path / "sum.c", tmp_path / "include" / "sum.h"
    header.parent.mkdir()
    header.write_text("int sum(int a, int b);\n")
    source.write_text('#include "sum.h"\nint sum(int a, int b) { return a + b + EXTRA; }\n')
    library = gcc.build_host([source], [header.parent], tmp_path / "out" / "libsum.so", defines=["EXTRA=4"])
    assert ctypes.CDLL(str(library)).sum(1, 2) == 7
    good = library.read_bytes()
    source.write_text('#include "sum.h"\nint sum(int a, int b) { return a; }\n')  # b is not used
    with pytest.raises(ToolchainError, match=r"compiling libsum\.so for this computer failed") as caught:
        gcc.build_host([source], [header.parent], library)
    assert "unused" in caught.value.where
    assert library.read_bytes() == good
    assert [p.name for p in library.parent.iterdir()] == ["libsum.so"]


@needs_arm
def test_nothing_to_compile_and_the_host_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="nothing to compile"):
        gcc.build(tmp_path, boards.load("mps2-an386"))
    with pytest.raises(ToolchainError, match="host"):
        gcc.build(tmp_path, boards.load("host"))


def test_linker_messages_become_errors_a_user_can_act_on() -> None:
    error = gcc.failure(
        "linking for x",
        "ld: firmware.elf section `.bss' will not fit in region `RAM'\n"
        "ld: region `RAM' overflowed by 4096 bytes\nld: region `FLASH' overflowed by 12 bytes\n",
    )
    assert isinstance(error, DoesNotFit)
    assert "RAM by 4096 bytes, FLASH by 12 bytes" in error.what
    missing = gcc.failure(
        "linking for x", "main.o: in function `main':\nmain.c:3: undefined reference to `f'\n"
    )
    assert isinstance(missing, ToolchainError)
    assert missing.where == "main.c:3: undefined reference to `f'"


@pytest.mark.parametrize(
    ("board", "slow_flash"),
    [("microbit", False), ("rp2040", False), ("stm32f746", True), ("mps3-an547", True)],
)
def test_flags_follow_the_core(board: str, slow_flash: bool) -> None:
    flags = gcc._platform_module("board_files").compiler_flags(boards.load(board).manifest, "/p")
    assert ("-mslow-flash-data" in flags) == slow_flash
    assert ("-DTM_DUAL_ISSUE=1" in flags) == (board == "stm32f746")
    assert {"-O2", "-fomit-frame-pointer", "-fno-tree-loop-distribute-patterns", "-fstack-usage"} <= set(
        flags
    )
    assert "-ffile-prefix-map=/p=." in flags
