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
    costs = [first.outside, *(layer.cost for layer in first.layers)]
    assert first.instructions == sum(cost.instructions for cost in costs)
    assert first.total.cycles == sum(cost.cycles or 0 for cost in costs)
    # counted once more, by function: the same but for the four instructions of each layer's two hooks
    assert sum(first.functions.values()) == first.instructions + 4 * len(first.layers)
    for cost in costs:
        assert sum(cost.kinds.values()) == cost.instructions
        assert min(cost.kinds.values()) >= 0
        assert cost.cycles is not None
        assert 0.5 * cost.instructions <= cost.cycles <= 3 * cost.instructions
        assert cost.wait_cycles == 0  # the emulated board has none
    assert set(first.functions) == {"toy_invoke"}
    # A build without hooks is the judge: same work, other registers perhaps, never a loop's turn more.
    plain = gcc.build(toy_project, board, name=f"{board.id}-plain").elf
    bare = profile(plain, board, "toy", inputs)
    assert bare.layers == ()
    assert abs(bare.instructions - first.instructions) <= 8
    json = first.to_json()
    assert {"instructions", "layers"} <= set(json)
    assert json["core"] == board.core
    kinds = json["layers"][2]["classes"]
    assert kinds["load"] > 0
    assert kinds["branch"] > 0


def test_waiting_for_flash_is_priced_by_the_real_board(toy_firmware: Firmware) -> None:
    """Lines that no cache keeps are waited for every time; a cache that holds everything, once."""
    board, elf = toy_firmware

    def waits(code_lines: int, data_lines: int, prefetch: bool, states: int = 5) -> int:
        cache = boards.FlashCache(16, code_lines, data_lines, prefetch)
        real = dataclasses.replace(board, flash_wait_states=states, flash_cache=cache)
        counted = profile(elf, board, "toy", toy.inputs(0), priced_as=real)
        assert counted.total.wait_cycles is not None
        assert counted.total.wait_cycles == sum(
            cost.wait_cycles or 0 for cost in (counted.outside, *(layer.cost for layer in counted.layers))
        )
        return counted.total.wait_cycles

    uncached, ahead, small, large = (
        waits(0, 0, False),
        waits(0, 0, True),
        waits(2, 2, True),
        waits(1024, 1024, True),
    )
    assert uncached > ahead > large
    assert uncached >= small >= large > 0
    assert waits(2, 2, True, states=10) == 2 * small
    assert large % 5 == 0
    # a board whose flash nobody has described gets no number
    unknown = dataclasses.replace(board, flash_wait_states=5)
    assert profile(elf, board, "toy", toy.inputs(0), priced_as=unknown).total.wait_cycles is None


def test_a_loop_is_priced_by_its_turns(toy_firmware: Firmware) -> None:
    """A turn of Trouble 4's loop costs what its instructions cost with the branch taken."""
    board, elf = toy_firmware
    two, one = (profile(elf, board, "toy", toy.inputs(0, trouble=4, amount=n)).layers[1].cost for n in (2, 1))
    assert two.cycles is not None
    assert one.cycles is not None
    turn, rest = divmod(two.cycles - one.cycles, 10_000_000)
    assert rest == 0
    # STR, SUBS, BNE: 1 + 1 + (1 + 2 to refill the pipeline); or the first two together, then the branch
    assert two.instructions - one.instructions == 3 * 10_000_000
    assert turn == {"cortex-m4": 5, "cortex-m7": 2}[board.core]


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
