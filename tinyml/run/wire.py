"""The bytes of the serial protocol: frames, kinds, records (docs/protocol.md).

A frame is `00 COBS(kind status seq tag payload crc) 00`, numbers little endian. This module only
turns values into bytes and back; `link.py` decides what to send and when.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

VERSION = 2
PACKET_MIN = 33  # bytes on the wire that every board takes
PACKET_MAX = 256  # bytes on the wire, both delimiters included
OVERHEAD = 13  # delimiter, COBS code, header (6), CRC (4), delimiter
NO_LAYER = 0xFFFF
NO_INPUT = 0xFFFF

_HEADER = struct.Struct("<BBHH")
_CRC = struct.Struct("<I")


class Kind(IntEnum):
    """What a frame is. A reply has the request's kind plus 0x80."""

    HELLO = 0x01
    INFO = 0x02
    WRITE = 0x03
    INVOKE = 0x04
    READ = 0x05
    STEP = 0x06
    STATUS = 0x07
    RESET = 0x08
    READY = 0xF0
    BUSY = 0xF1
    FAULT = 0xF2
    NAK = 0xF3


REPLY = 0x80


class Status(IntEnum):
    """Outcome of a request."""

    OK = 0
    UNKNOWN_KIND = 1
    BAD_ARGUMENT = 2
    BAD_STATE = 3
    NO_SESSION = 4
    INVOKE_FAILED = 5
    NOT_AVAILABLE = 6
    BAD_VERSION = 7


class Flags(IntFlag):
    """What a board can do, and why it last started."""

    TRACE = 1
    CYCLES = 2
    FAULT = 4
    STATES = 8


class Table(IntEnum):
    """Records that INFO reads."""

    MODEL = 0
    LAYER = 1


class Source(IntEnum):
    """What READ reads."""

    OUTPUT = 0
    LAYER = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `tag` is the session in a request and the boot number in all a board sends."""

    kind: int
    seq: int
    tag: int
    payload: bytes = b""
    status: int = 0


def cobs_encode(body: bytes) -> bytes:
    """Remove the zeros from a body of at most 253 bytes (Cheshire and Baker, 1997: COBS).

    >>> cobs_encode(bytes([1, 0, 2])).hex()
    '02010202'
    """
    if len(body) > PACKET_MAX - 3:
        raise ValueError(f"a body has at most {PACKET_MAX - 3} bytes, not {len(body)}")
    return b"".join(bytes([len(block) + 1]) + block for block in body.split(b"\0"))


def cobs_decode(data: bytes) -> bytes | None:
    """Restore a body; None where the bytes cannot be COBS.

    >>> cobs_decode(bytes.fromhex("02010202")).hex()
    '010002'
    """
    blocks = []
    at = 0
    while at < len(data):
        code = data[at]
        if code == 0 or at + code > len(data):
            return None
        blocks.append(data[at + 1 : at + code])
        at += code
    return b"\0".join(blocks)


def encode(frame: Frame) -> bytes:
    """Return the frame as it goes over the wire."""
    body = _HEADER.pack(frame.kind, frame.status, frame.seq, frame.tag) + frame.payload
    return b"\0" + cobs_encode(body + _CRC.pack(zlib.crc32(body))) + b"\0"


def decode(data: bytes) -> Frame | None:
    """Return the frame between two delimiters; None where COBS or CRC is wrong."""
    body = cobs_decode(data)
    if body is None or len(body) < _HEADER.size + _CRC.size:
        return None
    (crc,) = _CRC.unpack(body[-_CRC.size :])
    if crc != zlib.crc32(body[: -_CRC.size]):
        return None
    kind, status, seq, tag = _HEADER.unpack_from(body)
    return Frame(kind, seq, tag, body[_HEADER.size : -_CRC.size], status)


@dataclass
class FrameReader:
    """Cuts a byte stream into frames and keeps account of what was none.

    `bad_bytes` counts bytes that belonged to no frame, `good_frames` the frames; `tail` holds the
    last bytes received, for error messages.
    """

    good_frames: int = 0
    bad_frames: int = 0
    bad_bytes: int = 0
    tail: bytes = b""
    _partial: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[Frame]:
        """Take received bytes; return the frames they complete."""
        self.tail = (self.tail + data)[-64:]
        frames = []
        *closed, rest = data.split(b"\0")
        for part in closed:
            chunk = bytes(self._partial) + part
            self._partial.clear()
            if not chunk:
                continue
            frame = decode(chunk) if len(chunk) <= PACKET_MAX else None
            if frame is None:
                self.bad_frames += 1
                self.bad_bytes += len(chunk)
            else:
                self.good_frames += 1
                frames.append(frame)
        room = PACKET_MAX + 1 - len(self._partial)  # beyond that it is no frame; keep no more of it
        self.bad_bytes += max(0, len(rest) - room)
        self._partial += rest[:room]
        return frames

    @property
    def noise_bytes(self) -> int:
        """Bytes received so far that are not part of a frame, an unfinished one included."""
        return self.bad_bytes + len(self._partial)

    def reset(self) -> None:
        """Forget an unfinished frame and the counts."""
        self.__init__()  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Hello:
    """Reply to HELLO."""

    version: int
    flags: Flags
    packet: int

    @classmethod
    def parse(cls, payload: bytes) -> Hello:
        """Read the payload; raises struct.error where it is too short."""
        version, flags, packet = struct.unpack_from("<BBH", payload)
        return cls(version, Flags(flags & 15), packet)


@dataclass(frozen=True, slots=True)
class Invoked:
    """Reply to INVOKE. `cycles` is None where the core does not count any; `stack_free` in bytes."""

    result: int
    cycles: int | None
    stack_free: int

    @classmethod
    def parse(cls, payload: bytes) -> Invoked:
        """Read the payload; raises struct.error where it is too short."""
        result, valid, cycles, stack_free = struct.unpack_from("<iBQI", payload)
        return cls(result, cycles if valid else None, stack_free)


@dataclass(frozen=True, slots=True)
class Stepped:
    """Reply to STEP: the layer that has just run."""

    layer: int
    cycles: int | None
    crc32: int
    size_bytes: int

    @classmethod
    def parse(cls, payload: bytes) -> Stepped:
        """Read the payload; raises struct.error where it is too short."""
        layer, valid, crc, size, cycles = struct.unpack_from("<HBIIQ", payload)
        return cls(layer, cycles if valid else None, crc, size)


@dataclass(frozen=True, slots=True)
class Fault:
    """Payload of FAULT and of the reply to STATUS; `exception` 0 means that there was no fault."""

    exception: int
    layer: int | None
    pc: int
    lr: int
    cfsr: int
    stack_free: int

    @classmethod
    def parse(cls, payload: bytes) -> Fault:
        """Read the payload; raises struct.error where it is too short."""
        exception, layer, pc, lr, cfsr, stack_free = struct.unpack_from("<BHIIII", payload)
        return cls(exception, None if layer == NO_LAYER else layer, pc, lr, cfsr, stack_free)

    def describe(self) -> str:
        """One line: what kind of fault, where, and the stack's low-water mark."""
        name = _EXCEPTIONS.get(self.exception, f"exception {self.exception}")
        reasons = ", ".join(text for bit, text in _CFSR_BITS.items() if self.cfsr >> bit & 1)
        status = f"CFSR 0x{self.cfsr:08x}" + (f" ({reasons})" if reasons else "")
        stack = f"{self.stack_free} B of stack never used"
        return f"{name} at PC 0x{self.pc:08x}, LR 0x{self.lr:08x}, {status}, {stack}"


_EXCEPTIONS = {2: "NMI", 3: "HardFault", 4: "MemManage", 5: "BusFault", 6: "UsageFault", 7: "SecureFault"}

# Armv7-M Architecture Reference Manual (DDI 0403), B3.2.15, Configurable Fault Status Register.
_CFSR_BITS = {
    0: "instruction access violation",
    1: "data access violation",
    3: "MemManage on unstacking",
    4: "MemManage on stacking",
    8: "instruction bus error",
    9: "precise data bus error",
    10: "imprecise data bus error",
    11: "bus fault on unstacking",
    12: "bus fault on stacking",
    16: "undefined instruction",
    17: "invalid state",
    18: "invalid PC load",
    19: "no coprocessor",
    20: "stack overflow",
    24: "unaligned access",
    25: "division by zero",
}


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """INFO table 0: what the board holds. Sizes in bytes.

    `pushed_input` is None where no input arrives row by row; `pushed_rows` counts all rows of one
    inference, which are the image's or a multiple of them.
    """

    image_bytes: int
    image_crc32: int
    model_sha256: str
    clock_hz: int
    arena_bytes: int
    layer_count: int
    pushed_input: int | None
    pushed_rows: int
    row_bytes: int
    input_bytes: tuple[int, ...]
    output_bytes: tuple[int, ...]
    board: str
    model: str

    @classmethod
    def parse(cls, data: bytes) -> ModelRecord:
        """Read the record; raises struct.error or ValueError where it is malformed."""
        head = struct.Struct("<II32sIIHHHHII")
        size, crc, sha, clock, arena, layers, inputs, outputs, pushed, rows, row_bytes = head.unpack_from(
            data
        )
        sizes = struct.unpack_from(f"<{inputs + outputs}I", data, head.size)
        board, model = _strings(data[head.size + 4 * len(sizes) :], 2)
        if pushed != NO_INPUT and (
            pushed >= inputs or rows * row_bytes == 0 or rows * row_bytes % max(1, sizes[pushed])
        ):
            raise ValueError(f"{rows} rows of {row_bytes} bytes are no image of input {pushed}")
        return cls(
            image_bytes=size,
            image_crc32=crc,
            model_sha256=sha.hex(),
            clock_hz=clock,
            arena_bytes=arena,
            layer_count=layers,
            pushed_input=None if pushed == NO_INPUT else pushed,
            pushed_rows=rows,
            row_bytes=row_bytes,
            input_bytes=sizes[:inputs],
            output_bytes=sizes[inputs:],
            board=board,
            model=model,
        )


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """INFO table 1: one operator."""

    name: str
    op: str
    macs: int
    size_bytes: int

    @classmethod
    def parse(cls, data: bytes) -> LayerRecord:
        """Read the record; raises struct.error or ValueError where it is malformed."""
        macs, size = struct.unpack_from("<II", data)
        op, name = _strings(data[8:], 2)
        return cls(name, op, macs, size)


def _strings(data: bytes, count: int) -> list[str]:
    parts = data.split(b"\0")
    if len(parts) != count + 1 or parts[-1]:
        raise ValueError(f"expected {count} strings, received {data!r}")
    return [part.decode("utf-8", "replace") for part in parts[:-1]]
