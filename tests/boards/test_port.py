"""The port on every board: all images compile and link, and those an emulator takes are run."""

from __future__ import annotations

import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.boards.machine import Machine
from tinyml import boards
from tinyml.errors import DoesNotFit, ToolchainError
from tinyml.toolchain import gcc
from tinyml.toolchain.result import BuildResult

needs_gcc = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
)
needs_qemu = pytest.mark.skipif(
    not shutil.which("qemu-system-arm"), reason="qemu-system-arm is not installed"
)

BOARDS = [b for b in boards.all_boards() if not b.is_host]
# Not a board of the project: a machine with the RP2040's PL011, and no DWT to count cycles with.
PL011 = boards.load(Path(__file__).parent / "extra" / "lm3s6965evb.json")
EMULATED = [b for b in BOARDS if b.emulator]
EMULATED += [boards.load("stm32f746_twin"), boards.load("rp2040_twin"), PL011]
QEMU = {b.id: b for b in EMULATED}


def section(elf: Path, name: str) -> tuple[int, bytes]:
    with elf.open("rb") as file:
        found = ELFFile(file).get_section_by_name(name)
        return found["sh_addr"], found.data()


@needs_gcc
@pytest.mark.parametrize("board", BOARDS, ids=lambda b: b.id)
def test_every_board_compiles_and_links_without_a_warning(board: boards.Board, project: Path) -> None:
    built = gcc.build(project, board)
    assert built.log == ""
    assert board.flash is not None
    address, table = section(built.elf, ".isr_vector")
    stack, reset = struct.unpack_from("<II", table)
    assert board.flash.origin <= address < board.flash.end
    assert board.ram is not None
    assert stack == board.ram.origin + board.stack_bytes  # the stack is the first thing in RAM
    assert reset & 1
    assert board.flash.origin <= reset < board.flash.end
    assert address % 256 == 0
    # every interrupt the board names has an entry
    assert board.uart is not None
    assert len(table) >= 4 * (16 + max(board.uart.irqs) + 1)
    assert built.bin.stat().st_size < 8192


@needs_gcc
def test_the_second_boot_stage_has_its_checksum(project: Path) -> None:
    built = gcc.build(project, boards.load("rp2040"))
    address, stage = section(built.elf, ".boot2")
    assert (address, len(stage)) == (0x10000000, 256)
    crc = gcc._platform_module("rp2040_checksum").crc32_mpeg2
    assert crc(b"123456789") == 0x0376E6E7  # the catalogue's check value of CRC-32/MPEG-2
    assert struct.unpack("<I", stage[252:])[0] == crc(stage[:252])
    assert built.bin.read_bytes()[:256] == stage
    assert section(built.elf, ".isr_vector")[0] == 0x10000100


@needs_gcc
def test_an_image_that_overflows_the_boards_memory_does_not_link_for_its_twin(
    project: Path, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    shutil.copytree(project, big, ignore=shutil.ignore_patterns("build"))
    main = big / "src" / "main.c"
    twin = boards.load("stm32f746_twin")
    assert twin.ram is not None
    for size, fits in ((twin.ram.size_bytes - 8192, True), (twin.ram.size_bytes, False)):
        main.write_text(
            "#include <stdint.h>\n"
            f"static volatile uint8_t arena[{size}];\nint main(void) {{ return arena[arena[0]]; }}\n"
        )
        if fits:
            gcc.build(big, twin)
        else:
            with pytest.raises(DoesNotFit, match="RAM by"):
                gcc.build(big, twin)


@needs_gcc
def test_a_failed_build_leaves_the_last_good_one(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "broken"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("build"))
    board = boards.load("mps2-an386")
    good = gcc.build(copy, board).bin.read_bytes()
    (copy / "src" / "main.c").write_text("int main(void) { return missing; }\n")
    with pytest.raises(ToolchainError, match=r"compiling src/main\.c failed") as caught:
        gcc.build(copy, board)
    assert "missing" in caught.value.where
    assert (copy / "build" / "mps2-an386" / "firmware.bin").read_bytes() == good
    assert [p.name for p in (copy / "build").iterdir()] == ["mps2-an386"]


@needs_gcc
def test_the_same_source_gives_the_same_bytes_anywhere(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a" / "longer" / "path"
    shutil.copytree(project, elsewhere, ignore=shutil.ignore_patterns("build"))
    board = boards.load("mps2-an500")
    assert gcc.build(project, board).elf.read_bytes() == gcc.build(elsewhere, board).elf.read_bytes()


@pytest.fixture(scope="module")
def images() -> dict[str, BuildResult]:
    return {}


@pytest.fixture(params=sorted(QEMU))
def machine(
    request: pytest.FixtureRequest, project: Path, images: dict[str, BuildResult]
) -> Iterator[Machine]:
    board = QEMU[request.param]
    if board.id not in images:
        images[board.id] = gcc.build(project, board)
    with tempfile.TemporaryDirectory() as folder:
        running = Machine(board, images[board.id].elf, Path(folder))
        try:
            assert running.read() == f"READY {board.id} data-good"
            yield running
        finally:
            running.close()


@needs_gcc
@needs_qemu
def test_a_machine_boots_echoes_and_exits(machine: Machine, request: pytest.FixtureRequest) -> None:
    board = QEMU[request.node.callspec.params["machine"]]
    for length in (0, 1, 7, 250):
        text = "".join(chr(ord("a") + (i * 7) % 26) for i in range(length))
        assert machine.ask(text) == f"echo {text}".strip()
    assert machine.value("lost") == 0
    stack = machine.value("stack")
    free = int(machine.read().partition("=")[2])
    assert stack == board.stack_bytes
    assert 0 < free < stack - 64
    # netduinoplus2 has no clock controller in QEMU: the fall-back must say so, not claim 168 MHz
    assert machine.value("clock") == (16_000_000 if board.id == "netduinoplus2" else board.clock_hz)
    machine.send("exit")
    assert machine.wait() == 7


@needs_gcc
@needs_qemu
def test_a_machine_resets_and_keeps_noinit(machine: Machine, request: pytest.FixtureRequest) -> None:
    board = QEMU[request.node.callspec.params["machine"]]
    before = int(machine.ask("count").partition("=")[2])
    assert machine.ask("reset") == f"READY {board.id} data-good"
    assert int(machine.ask("count").partition("=")[2]) == before + 1


@needs_gcc
@needs_qemu
def test_cycles_are_counted_where_the_emulator_has_a_counter(
    machine: Machine, request: pytest.FixtureRequest
) -> None:
    board = QEMU[request.node.callspec.params["machine"]]
    asked = time.monotonic()
    first = machine.value("now")
    begin = time.monotonic()
    time.sleep(1.5 if board.cycle_counter == "systick" else 0.3)  # 24 bits last 1.34 s at 12.5 MHz
    end = time.monotonic()
    last = machine.value("now")
    answered = time.monotonic()
    if board.cycle_counter == "dwt":
        assert (first, last) == (0, 0)  # QEMU's DWT does not count: `run --profile` uses a plugin instead
    else:
        assert board.clock_hz is not None
        seconds = ((last - first) % (1 << 32)) / board.clock_hz
        assert 0.95 * (end - begin) < seconds < 1.05 * (answered - asked)


@needs_gcc
@needs_qemu
@pytest.mark.parametrize("what", ["undefined", "overflow"])
def test_a_machine_reports_a_fault_and_restarts(
    machine: Machine, what: str, request: pytest.FixtureRequest, images: dict[str, BuildResult]
) -> None:
    board = QEMU[request.node.callspec.params["machine"]]
    exc = int(machine.ask(what).partition("=")[2])
    pc = int(machine.read().partition("=")[2])
    status = int(machine.read().partition("=")[2])
    armv6 = board.core in ("cortex-m0", "cortex-m0plus")
    if what == "undefined":
        assert exc == (3 if armv6 else 6)  # HardFault, UsageFault
        start, code = section(images[board.id].elf, ".text")
        assert code[pc - start : pc - start + 2] == b"\x00\xde"  # udf #0
        assert armv6 or status & 1 << 16  # UNDEFINSTR
    else:
        assert exc in (3, 5, 6)
    assert machine.read() == f"READY {board.id} data-good"
