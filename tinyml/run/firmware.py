"""What a firmware's ELF file tells about the program that should be in flash."""

from __future__ import annotations

import zlib
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tinyml.errors import ToolchainError


def firmware_id(elf: Path) -> str | None:
    """Return "<bytes>-<CRC-32 in hex>" of the program between tm_image_start and tm_image_end.

    The firmware computes the same over its flash (tm_link.c), so that the two differ exactly if the
    board holds another build, or flash that has lost bits.

    Args:
        elf: a linked firmware.

    Returns:
        The id, or None where the linker script does not define both symbols.

    Raises:
        ToolchainError: not an ELF file, or one whose image has gaps.
    """
    try:
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            table = file.get_section_by_name(".symtab")
            places = {}
            if isinstance(table, SymbolTableSection):
                for name in ("tm_image_start", "tm_image_end"):
                    for symbol in table.get_symbol_by_name(name) or ():
                        places[name] = symbol["st_value"]
            if len(places) < 2:
                return None
            start, end = places["tm_image_start"], places["tm_image_end"]
            for segment in file.iter_segments("PT_LOAD"):
                base = segment["p_vaddr"]
                if base <= start and end <= base + segment["p_filesz"]:
                    image = segment.data()[start - base : end - base]
                    return f"{len(image)}-{zlib.crc32(image):08x}"
    except (OSError, ELFError) as error:
        raise ToolchainError(
            f"{elf.name} cannot be read as a firmware", where=str(elf), expected=str(error)
        ) from error
    raise ToolchainError(
        f"the image of {elf.name} does not lie in one loadable segment",
        where=f"tm_image_start 0x{start:x}, tm_image_end 0x{end:x}",
        hint="keep everything between the two symbols in one section of the linker script",
    )


def symbol_ranges(elf: Path) -> dict[str, tuple[int, int]]:
    """Return {function: (first address, first address behind it)} of a linked firmware.

    Thumb bits are cleared. Functions without a size are left out.

    Raises:
        ToolchainError: not an ELF file.
    """
    try:
        with elf.open("rb") as stream:
            table = ELFFile(stream).get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                return {}
            ranges = {}
            for symbol in table.iter_symbols():
                if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]:
                    start = symbol["st_value"] & ~1
                    ranges[symbol.name] = (start, start + symbol["st_size"])
            return ranges
    except (OSError, ELFError) as error:
        raise ToolchainError(
            f"{elf.name} cannot be read as a firmware", where=str(elf), expected=str(error)
        ) from error
