"""Write the CRC-32 of the RP2040's second boot stage into an ELF: the boot ROM refuses to start without.

    python rp2040_checksum.py firmware.elf

CRC-32 with polynomial 0x04C11DB7, start 0xFFFFFFFF, not reflected, no final inversion, over the first
252 bytes (RP2040 datasheet 2.8.1.3.1); stored little endian in the last four.
"""

import struct
import sys
from pathlib import Path


def crc32_mpeg2(data):
    """Return the checksum the boot ROM computes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def _section(elf, wanted):
    """Return (offset, size) of a section of a 32-bit little-endian ELF file."""
    if elf[:6] != b"\x7fELF\x01\x01":
        raise SystemExit("rp2040_checksum: not a 32-bit little-endian ELF file")
    (table,) = struct.unpack_from("<I", elf, 0x20)
    size, count, names = struct.unpack_from("<HHH", elf, 0x2E)
    sections = [struct.unpack_from("<10I", elf, table + i * size) for i in range(count)]
    strings = sections[names][4]
    for section in sections:
        start = strings + section[0]
        if elf[start : elf.index(b"\0", start)] == wanted:
            return section[4], section[5]
    raise SystemExit("rp2040_checksum: no section %s" % wanted.decode())


def patch(path):
    """Fill in the checksum of the ELF file's .boot2 section."""
    path = Path(path)
    elf = bytearray(path.read_bytes())
    offset, size = _section(elf, b".boot2")
    if size != 256:
        raise SystemExit("rp2040_checksum: .boot2 has %d bytes, not 256" % size)
    crc = crc32_mpeg2(elf[offset : offset + 252])
    elf[offset + 252 : offset + 256] = struct.pack("<I", crc)
    path.write_bytes(elf)


if __name__ == "__main__":
    patch(sys.argv[1])
