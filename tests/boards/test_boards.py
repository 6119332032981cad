"""Board files: every shipped one is whole and cited; every broken one is refused by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyml import boards, resources
from tinyml.errors import BoardError

ALL = boards.all_boards()
REAL = [b for b in ALL if b.emulator is None and not b.is_host]


def test_the_boards_of_the_project_are_there() -> None:
    assert {b.id for b in ALL} >= {
        "stm32f746", "nucleo_f746zg", "stm32f407", "stm32h743", "nucleo_l4r5zi", "nucleo_u575zi", "nrf52840",
        "rp2040", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "netduinoplus2", "microbit", "host",
    }  # fmt: skip


@pytest.mark.parametrize("board", ALL, ids=lambda b: b.id)
def test_a_board_cites_its_facts_and_says_what_was_run(board: boards.Board) -> None:
    assert board.sources
    assert board.isa[0] == "c"
    assert json.loads(json.dumps(board.to_json()))["id"] == board.id
    if not board.is_host:
        assert board.sram_bytes is not None
        assert board.flash_bytes is not None
        assert 0 < board.sram_bytes < sum(r.size_bytes for r in board.memory)
        levels = {what: e.level for what, e in board.evidence.items()}
        if board.emulator is None:
            # nothing here was run on silicon
            assert levels["boot"] == levels["uart"] == "compiled"
            assert "not run on silicon" in board.evidence["boot"].how
        else:
            assert levels["boot"] == levels["uart"] == "emulated"


COMPARED = {"read", "header", "vendor code", "other code"}


@pytest.mark.parametrize("board", ALL, ids=lambda b: b.id)
def test_a_source_claims_no_more_than_was_checked(board: boards.Board) -> None:
    checked = {s.checked for s in board.sources}
    if board.emulator is not None:
        assert "run" in checked
    elif not board.is_host:
        assert checked & COMPARED, "some public header or code must back a real board's facts"
        assert "run" not in checked
    for source in board.sources:
        # what nobody opened has no section number that anyone could have seen, nor a revision
        if source.checked in ("not opened", "not confirmed"):
            assert not re.search(r"\b\d+\.\d|[Tt]able \d|[Ff]igure \d", source.section)
            assert not re.search(r" v\d+\.\d", source.document)
        # a fact without a source has no document to hide behind
        assert (source.document == "none") == (source.checked == "not confirmed")


def test_the_f746_is_one_run_of_320_kib() -> None:
    board = boards.load("stm32f746")
    assert [r.name for r in board.memory] == ["FLASH", "DTCM", "SRAM1", "SRAM2"]
    assert board.ram == boards.Region("RAM", 0x20000000, 320 * 1024, "rw")
    assert board.sram_bytes == 320 * 1024 - board.stack_bytes - board.static_bytes


def test_a_variant_differs_only_in_what_it_says() -> None:
    discovery, nucleo = boards.load("stm32f746"), boards.load("nucleo_f746zg")
    assert (nucleo.memory, nucleo.core, nucleo.clock_hz) == (
        discovery.memory,
        discovery.core,
        discovery.clock_hz,
    )
    assert discovery.uart is not None
    assert nucleo.uart is not None
    assert (discovery.uart.tx, nucleo.uart.tx) == ("PA9", "PD8")
    assert "extends" not in nucleo.manifest["tinyml"]  # a project carries the resolved file


@pytest.mark.parametrize("board", REAL, ids=lambda b: b.id)
def test_a_twin_has_the_machines_addresses_and_the_boards_sizes(board: boards.Board) -> None:
    twin = board.emulated()
    assert twin is not None
    assert twin.twin is None
    assert twin.emulator is not None
    assert board.twin is not None
    machine = boards.load(board.twin)
    assert machine.flash is not None
    assert machine.ram is not None
    assert twin.flash is not None
    assert twin.ram is not None
    assert (twin.flash.origin, twin.ram.origin) == (machine.flash.origin, machine.ram.origin)
    assert (twin.flash_bytes, twin.sram_bytes) == (board.flash_bytes, board.sram_bytes)
    assert (twin.core, twin.isa) == (board.core, board.isa)
    assert twin.uart == machine.uart
    again = boards.load(twin.id)
    assert again.to_json() == twin.to_json()
    assert machine.emulated() is machine


def test_an_unknown_board_gets_the_nearest_names() -> None:
    for wrong, near in (
        ("stm32f745", "stm32f746"),
        ("f746zg", "nucleo_f746zg"),
        ("mps2_an500", "mps2-an500"),
    ):
        with pytest.raises(BoardError) as caught:
            boards.load(wrong)
        assert near in caught.value.expected
        assert wrong in caught.value.what
    for wrong in ("", "zzzzzz", "mps2-an500_twin", "host_twin", "nothing_twin"):
        with pytest.raises(BoardError, match="there is no board"):
            boards.load(wrong)


def edited(change: Callable[[dict[str, Any]], object], board: str = "stm32f746") -> dict[str, Any]:
    manifest = copy.deepcopy(boards.load(board).manifest)
    change(manifest)
    return manifest


def put(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        inner: Any = manifest
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        inner: Any = manifest
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return change


T = "tinyml"
BROKEN = {
    "no name": (drop("name"), "$", "'name'"),
    "no build": (drop("build"), "$", "'build'"),
    "unknown core": (put("build", "cpu", value="z80"), "$.build.cpu", "z80"),
    "clock without unit": (put("build", "f_cpu", value="216000000"), "$.build.f_cpu", "216000000"),
    "clock a number": (put("build", "f_cpu", value=216000000), "$.build.f_cpu", "216000000"),
    "unknown key": (put(T, "colour", value="red"), "$.tinyml", "colour"),
    "size as text": (put(T, "memory", "SRAM1", "size", value="240K"), "$.tinyml.memory.SRAM1.size", "240K"),
    "size negative": (put(T, "memory", "SRAM1", "size", value=-4), "$.tinyml.memory.SRAM1.size", "-4"),
    "origin a number": (put(T, "memory", "SRAM1", "origin", value=1), "$.tinyml.memory.SRAM1.origin", "1"),
    "memory a list": (put(T, "memory", value=[]), "$.tinyml.memory", "object"),
    "no sources": (put(T, "sources", value=[]), "$.tinyml.sources", "[]"),
    "unchecked source": (
        put(T, "sources", value=[{"document": "a", "section": "b", "for": "c"}]),
        "$.tinyml.sources[0]",
        "'checked'",
    ),
    "no evidence": (drop(T, "evidence"), "$.tinyml", "'evidence'"),
    "overlap": (
        put(T, "memory", "SRAM1", "origin", value="0x2000F000"),
        "$.tinyml.memory.SRAM1",
        "0x20010000",
    ),
    "gap": (put(T, "memory", "SRAM2", "origin", value="0x20050000"), "$.tinyml.ram[2]", "SRAM1"),
    "wrong order": (put(T, "ram", value=["SRAM1", "DTCM", "SRAM2"]), "$.tinyml.ram[1]", "DTCM"),
    "unknown region": (put(T, "ram", value=["SRAM9"]), "$.tinyml.ram[0]", "SRAM9"),
    "ram in flash": (put(T, "ram", value=["FLASH"]), "$.tinyml.ram[0]", "FLASH"),
    "beyond 4 GiB": (put(T, "memory", "SRAM2", "size", value=1 << 32), "$.tinyml.memory.SRAM2", "4 GiB"),
    "all reserved": (put(T, "reserve", "static", value=400000), "$.tinyml.reserve", "404096"),
    "another clock": (put(T, "clock", "pll", "n", value=430), "$.tinyml.clock.pll", "216000000"),
    "source missing": (drop(T, "clock", "source_hz"), "$.tinyml.clock", "source_hz"),
    "bad pin": (put(T, "uart", "tx", value="9"), "$.tinyml.uart.tx", "9"),
    "irq too high": (put(T, "uart", "irq", value=[200]), "$.tinyml.uart.irq[0]", "200"),
    "unknown uart": (put(T, "uart", "kind", value="8250"), "$.tinyml.uart.kind", "8250"),
    "extends itself": (put(T, "extends", value="mine"), "$.tinyml.extends", "lead back"),
    "extends nobody": (put(T, "extends", value="nobody"), "$.tinyml.extends", "nobody"),
    "name of two lines": (put("name", value="a\nb"), "$.name", "a"),
    "name that ends its line": (put("name", value="a\n"), "$.name", "a"),
    "extends a number": (put(T, "extends", value=4), "$.tinyml.extends", "4"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_file_path_expected_and_received(case: str, tmp_path: Path) -> None:
    change, where, mentioned = BROKEN[case]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(edited(change)))
    with pytest.raises(BoardError) as caught:
        boards.load(file)
    assert caught.value.where == f"{file}: {where}"
    assert "expected " in caught.value.expected
    assert ", received " in caught.value.expected
    assert mentioned in caught.value.expected


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "4", '"board"', '{"name": ', "\x00", "{}", '{"tinyml": 3}', "[" * 100000]
)
def test_a_file_that_is_no_board_is_a_board_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(BoardError):
        boards.load(file)


def test_a_file_that_cannot_be_read_is_a_board_error(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    for wrong in (tmp_path / "latin.json", tmp_path / "absent.json", tmp_path):
        with pytest.raises(BoardError):
            boards.load(wrong)


def test_a_board_of_the_users_own_may_extend_a_shipped_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(
        json.dumps({"name": "Mine", "tinyml": {"extends": "stm32f746", "uart": {"baud": 921600}}})
    )
    board = boards.load(str(file))
    assert (board.id, board.name) == ("mine", "Mine")
    assert board.uart is not None
    assert board.uart.baud == 921600
    assert board.sram_bytes == boards.load("stm32f746").sram_bytes


def test_a_twin_smaller_than_the_board_or_no_machine_is_refused(tmp_path: Path) -> None:
    for twin in ("microbit", "stm32f407", "nobody"):
        file = tmp_path / "mine.json"
        file.write_text(json.dumps(edited(put(T, "twin", value=twin))))
        with pytest.raises(BoardError, match="schema") as caught:
            boards.load(file).emulated()
        assert caught.value.where == f"{file}: $.tinyml.twin"


def test_the_host_sets_no_limit() -> None:
    host = boards.load("host")
    assert host.is_host
    assert host.sram_bytes is None
    assert host.flash_bytes is None
    assert host.emulated() is None


def test_a_board_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        boards.load("host").name = "x"  # type: ignore[misc]


def test_data_folders_exist() -> None:
    for folder in (resources.codegen_dir(), resources.runtime_dir(), resources.boards_dir()):
        assert folder.is_dir()
    assert (resources.runtime_dir() / "platformio" / "platform.json").is_file()
