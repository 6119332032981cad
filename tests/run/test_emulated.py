"""The firmware's link on emulated Cortex-M boards: real start-up, UART, interrupts and faults."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run import toy
from tinyml import boards
from tinyml.boards import Board
from tinyml.errors import TargetError, ToolchainError, UsageError
from tinyml.run.firmware import firmware_id, symbol_ranges
from tinyml.run.link import BoardFault, Expected
from tinyml.run.profile import count_functions, profile
from tinyml.run.qemu import QemuTarget
from tinyml.toolchain import gcc

Firmware = tuple[Board, Path]


def check(target: QemuTarget, seed: int) -> None:
    inputs = toy.inputs(seed)
    assert [o.tobytes() for o in target.infer(inputs).outputs] == toy.outputs(*inputs)


def test_round_trip_trace_and_layers(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    with QemuTarget(elf, board, expected=Expected(toy.SHA256, firmware_id(elf))) as target:
        info = target.info
        assert (info.board, info.model, info.trace) == (board.id, "toy", True)
        assert info.firmware == (firmware_id(elf) or "")
        for seed in range(4):
            check(target, seed)
        inputs = toy.inputs(5)
        inference = target.infer(inputs)
        assert inference.stack_free is not None
        assert 0 < inference.stack_free < board.stack_bytes
        assert [t.crc32 for t in target.trace(inputs)] == toy.crcs(*inputs)
        for index in range(3):
            assert target.layer_output(inputs, index) == toy.layers(*inputs)[index]


def test_the_image_in_flash_is_compared(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    assert firmware_id(elf) is not None
    with (
        pytest.raises(TargetError, match="wrong firmware on QEMU"),
        QemuTarget(elf, board, expected=Expected(toy.SHA256, "4-deadbeef")),
    ):
        pass


def test_a_fault_names_its_layer_and_the_board_lives_on(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    start, end = symbol_ranges(elf)["toy_invoke"]
    with QemuTarget(elf, board) as target:
        with pytest.raises(BoardFault, match="faulted in layer 1, ADD, output y") as error:
            target.infer(toy.inputs(0, trouble=1))
        fault = error.value.fault
        assert start <= fault.pc < end  # the store itself
        assert fault.cfsr & (1 << 9 | 1 << 10)  # data bus error
        assert 0 < fault.stack_free < board.stack_bytes
        check(target, 1)
        with pytest.raises(BoardFault, match="layer 1") as error:
            target.trace(toy.inputs(0, trouble=2))
        assert error.value.fault.cfsr & (1 << 17)  # a jump to an even address: invalid state
        check(target, 2)
        assert target.link.last_fault() is not None
        target.link.reset()
        check(target, 3)
        assert target.link.last_fault() is None


def test_small_packets(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    with QemuTarget(elf, board, packet=33) as target:
        assert target.info.packet_bytes == 33
        check(target, 1)


@pytest.mark.parametrize("stage", [1, 700])
def test_an_emulator_killed_in_the_middle_is_one_clear_error(toy_firmware: Firmware, stage: int) -> None:
    board, elf = toy_firmware
    holder: list[QemuTarget] = []

    def kill(done: int, total: int) -> None:
        process = holder[0].process
        if done >= stage and process is not None:
            process.send_signal(signal.SIGKILL)

    target = QemuTarget(elf, board, progress=kill)
    holder.append(target)
    with pytest.raises(TargetError, match="port vanished: QEMU") as error, target:
        check(target, 0)
    assert "QEMU was ended by signal 9" in error.value.where
    assert target.process is None


def test_the_emulator_ends_with_the_block(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    target = QemuTarget(elf, board)

    def fail_inside() -> tuple[subprocess.Popen[bytes], Path]:
        nonlocal process, folder
        with target:
            process, folder = target.process, target._folder
            raise ZeroDivisionError

    process: subprocess.Popen[bytes] | None = None
    folder: Path | None = None
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert process is not None
    assert process.poll() is not None
    assert folder is not None
    assert not folder.exists()


def test_wrong_use(toy_firmware: Firmware, tmp_path: Path) -> None:
    board, _ = toy_firmware
    with pytest.raises(UsageError, match="has no emulator"):
        QemuTarget(tmp_path / "x.elf", boards.load("host"))
    with (
        pytest.raises(UsageError, match=r"there is no firmware .*x\.elf"),
        QemuTarget(tmp_path / "x.elf", board),
    ):
        pass
    (tmp_path / "x.elf").write_bytes(b"no ELF file")
    with pytest.raises(ToolchainError, match="cannot be read as a firmware"):
        firmware_id(tmp_path / "x.elf")
    with (
        pytest.raises(TargetError, match=r"(does not start|no answer|vanished)"),
        QemuTarget(tmp_path / "x.elf", board),
    ):
        pass


def test_a_machine_that_qemu_does_not_know(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    assert board.emulator is not None
    other = dataclasses.replace(board, emulator=dataclasses.replace(board.emulator, machine="mps2-an1"))
    with pytest.raises(TargetError, match="does not start") as error, QemuTarget(elf, other):
        pass
    assert "unsupported machine type" in error.value.where


# ---- exact counts -----------------------------------------------------------------------------------


def test_counts_are_exact_and_repeatable(
    toy_project: Path, toy_firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, elf = toy_firmware
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # so that the plugin is compiled here
    inputs = toy.inputs(0)
    first = profile(elf, board, "toy", inputs)
    assert first == profile(elf, board, "toy", inputs)
    assert [layer.name[:2] for layer in first.layers] == ["t", "y", "z_"]
    assert [layer.macs for layer in first.layers] == [0, 600, 70000]
    assert first.instructions == first.outside + sum(layer.instructions for layer in first.layers)
    assert set(first.functions) == {"toy_invoke"}
    # A build without hooks is the judge: same work, other registers perhaps, never a loop's turn more.
    plain = gcc.build(toy_project, board, name=f"{board.id}-plain").elf
    bare = profile(plain, board, "toy", inputs)
    assert bare.layers == ()
    assert abs(bare.instructions - first.instructions) <= 8
    json = first.to_json()
    assert {"instructions", "layers"} <= set(json)
    assert set(json["layers"][0]) == {"index", "name", "op", "macs", "instructions"}


def test_a_known_loop_counts_to_the_instruction(toy_firmware: Firmware) -> None:
    """Trouble 4 turns a loop n times 10 million; the difference of two runs is a multiple of it."""
    board, elf = toy_firmware
    totals = [
        profile(elf, board, "toy", toy.inputs(0, trouble=4, amount=n)).layers[1].instructions
        for n in (0, 1, 2)
    ]
    turn, rest = divmod(totals[2] - totals[1], 10_000_000)
    assert rest == 0
    assert 2 <= turn <= 6
    assert 0 <= totals[1] - totals[0] - turn * 10_000_000 < 10  # entering the loop at all


def test_counts_by_function(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    counts = count_functions(elf, board, lambda target: [target.infer(toy.inputs(s)) for s in range(3)])
    once = profile(elf, board, "toy", toy.inputs(0)).functions["toy_invoke"]
    assert counts["toy_invoke"] == 3 * once
    assert counts["tm_start"] > 0


def test_a_firmware_without_the_model_is_refused(toy_firmware: Firmware) -> None:
    board, elf = toy_firmware
    with pytest.raises(TargetError, match="no function other_invoke"):
        profile(elf, board, "other", toy.inputs(0))


def test_a_plugin_that_does_not_compile(
    toy_firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, elf = toy_firmware
    (tmp_path / "qemu_plugin").mkdir()
    (tmp_path / "qemu_plugin" / "tm_profile.c").write_text("int broken(")
    monkeypatch.setattr("tinyml.resources.runtime_dir", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ToolchainError, match=r"tm_profile.*failed"):
        profile(elf, board, "toy", toy.inputs(0))
    assert list((tmp_path / "cache" / "tinyml").iterdir()) == []


def test_a_missing_emulator_is_named(
    toy_firmware: Firmware, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, elf = toy_firmware
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("qemu-system-arm") is None
    call: Callable[[], Any]
    for call in (
        lambda: profile(elf, board, "toy", toy.inputs(0)),
        lambda: QemuTarget(elf, board).__enter__(),
    ):
        with pytest.raises(ToolchainError, match="is not installed"):
            call()
