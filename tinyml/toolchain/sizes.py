"""Bytes per symbol of a firmware: ELF → flash and RAM, weights apart from code.

Where a symbol comes from is read from the debug information (compilation units), so it needs `-g`, which
every build here has and no image pays for.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tinyml.errors import ToolchainError

_WEIGHTS_FILE = "_weights.c"  # the emitter's name for the file of constants
_ADDRESS_OPERATION = 0x03  # DW_OP_addr
_ALLOCATED, _WRITABLE = 0x2, 0x1  # SHF_ALLOC, SHF_WRITE


@dataclass(frozen=True, slots=True)
class SymbolSize:
    """One function or variable. An initialised variable counts in flash (its initial value) and in RAM.

    kind: "weights" (constants of the model), "model" (its code, kernels inlined), "runtime" (start-up,
    serial link and whatever else was compiled with it), "library" (libc and compiler support).
    """

    name: str
    kind: str
    flash_bytes: int
    ram_bytes: int
    source: str  # file it was compiled from, or "" for a library


@dataclass(frozen=True, slots=True)
class Sizes:
    """All of a firmware. `flash_bytes` is the image; `static_bytes` is .data, .bss (arena too) and .noinit.

    The symbols' flash adds up to less than `flash_bytes`: padding and merged strings belong to none.
    """

    symbols: tuple[SymbolSize, ...]
    flash_bytes: int
    static_bytes: int

    def flash_of(self, *kinds: str) -> int:
        """Return the flash bytes of the symbols of these kinds."""
        return sum(s.flash_bytes for s in self.symbols if s.kind in kinds)

    @property
    def weights_bytes(self) -> int:
        """Flash bytes of the model's constants."""
        return self.flash_of("weights")

    @property
    def code_bytes(self) -> int:
        """Flash bytes of everything else: model code, runtime, library, vectors, padding."""
        return self.flash_bytes - self.weights_bytes


def section_sizes(elf: Path) -> Sizes:
    """Measure an ELF file.

    Raises:
        ToolchainError: the file is missing or no ELF file.
    """
    try:
        with elf.open("rb") as file:
            return _sizes(ELFFile(file))
    except (OSError, ELFError) as e:
        raise ToolchainError("the firmware cannot be read", where=str(elf), expected=str(e)) from None


def _sizes(elf: ELFFile) -> Sizes:
    flash_bytes = static_bytes = 0
    place: dict[int, tuple[int, int]] = {}  # section index: (1 if it takes flash, 1 if it takes RAM)
    for index, section in enumerate(elf.iter_sections()):
        flags = section["sh_flags"]
        if not flags & _ALLOCATED or section.name == ".stack":
            continue
        in_flash = int(section["sh_type"] != "SHT_NOBITS")
        in_ram = int(bool(flags & _WRITABLE))
        place[index] = (in_flash, in_ram)
        flash_bytes += in_flash * section["sh_size"]
        static_bytes += in_ram * section["sh_size"]
    sources = _sources(elf)
    table = elf.get_section_by_name(".symtab")
    found: dict[tuple[int, str], SymbolSize] = {}
    for symbol in table.iter_symbols() if isinstance(table, SymbolTableSection) else ():
        index, size = symbol["st_shndx"], symbol["st_size"]
        kind = symbol["st_info"]["type"]
        if index not in place or size == 0 or kind not in ("STT_OBJECT", "STT_FUNC"):
            continue
        address = symbol["st_value"] & ~1 if kind == "STT_FUNC" else symbol["st_value"]
        in_flash, in_ram = place[index]
        source = sources.get(address, "") or _unit_at(elf, address)
        found.setdefault(
            (address, kind),  # an alias is the same bytes
            SymbolSize(symbol.name, _kind(source), in_flash * size, in_ram * size, source),
        )
    _leave_inner_to_themselves(found)
    ordered = sorted(found.values(), key=lambda s: (-s.flash_bytes, -s.ram_bytes, s.name))
    return Sizes(tuple(ordered), flash_bytes, static_bytes)


def _leave_inner_to_themselves(found: dict[tuple[int, str], SymbolSize]) -> None:
    """Shorten a function to where another begins inside it: libgcc's floats have entries in each other."""
    functions = sorted(key for key in found if key[1] == "STT_FUNC")
    for (address, kind), (following, _) in itertools.pairwise(functions):
        symbol = found[address, kind]
        if address + symbol.flash_bytes > following:
            found[address, kind] = dataclasses.replace(symbol, flash_bytes=following - address)


def _kind(source: str) -> str:
    if not source:
        return "library"
    if source.endswith(_WEIGHTS_FILE):
        return "weights"
    in_project = source.removeprefix("./")
    if in_project == "src/main.c" or in_project.startswith("lib/tinyml_board/"):
        return "runtime"
    # newlib and libgcc carry debug information too, with the paths of whoever built them
    return "model" if in_project.startswith(("src/", "lib/")) else "library"


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _sources(elf: ELFFile) -> dict[int, str]:
    """Return address → source file for every variable and function that debug information places."""
    out: dict[int, str] = {}
    if not elf.has_dwarf_info():
        return out
    for unit in elf.get_dwarf_info().iter_CUs():
        top = unit.get_top_DIE()
        name = _text(top.attributes["DW_AT_name"].value) if "DW_AT_name" in top.attributes else ""
        for entry in top.iter_children():
            attributes = entry.attributes
            if entry.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in attributes:
                out[attributes["DW_AT_low_pc"].value & ~1] = name
            elif entry.tag == "DW_TAG_variable" and "DW_AT_location" in attributes:
                where = attributes["DW_AT_location"].value
                if isinstance(where, list) and len(where) == 5 and where[0] == _ADDRESS_OPERATION:
                    out[int.from_bytes(bytes(where[1:]), "little")] = name
    return out


def _unit_at(elf: ELFFile, address: int) -> str:
    """Return the source file whose code holds an address: for clones, which have no entry of their own."""
    if not elf.has_dwarf_info():
        return ""
    dwarf = elf.get_dwarf_info()
    ranges = dwarf.get_aranges()
    offset = ranges.cu_offset_at_addr(address) if ranges is not None else None
    if offset is None:
        return ""
    top = dwarf.get_CU_at(offset).get_top_DIE()
    return _text(top.attributes["DW_AT_name"].value) if "DW_AT_name" in top.attributes else ""
