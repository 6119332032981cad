"""Frames: what is encoded comes back, whatever surrounds it; nothing else does."""

from __future__ import annotations

import contextlib
import doctest
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.run import wire
from tinyml.run.wire import Frame, FrameReader

frames = st.builds(
    Frame,
    kind=st.integers(0, 255),
    seq=st.integers(0, 0xFFFF),
    tag=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=wire.PACKET_MAX - wire.OVERHEAD),
    status=st.integers(0, 255),
)


def test_doctests() -> None:
    assert doctest.testmod(wire).failed == 0


@given(frames)
def test_a_frame_comes_back(frame: Frame) -> None:
    data = wire.encode(frame)
    assert data[0] == data[-1] == 0
    assert 0 not in data[1:-1]
    assert len(data) == len(frame.payload) + wire.OVERHEAD <= wire.PACKET_MAX
    assert wire.decode(data[1:-1]) == frame


def test_too_long_a_body_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 253"):
        wire.encode(Frame(1, 2, 3, bytes(wire.PACKET_MAX - wire.OVERHEAD + 1)))


@given(st.lists(st.one_of(frames, st.binary(max_size=400)), max_size=6), st.randoms(use_true_random=False))
def test_frames_survive_noise_and_any_chunking(parts: list[Frame | bytes], rng: object) -> None:
    stream = b"".join(wire.encode(p) if isinstance(p, Frame) else p for p in parts)
    reader = FrameReader()
    got: list[Frame] = []
    while stream:
        n = rng.randint(1, 300)  # type: ignore[attr-defined]
        got += reader.feed(stream[:n])
        stream = stream[n:]
    # The zero in front of each frame cuts off the noise before it, so that none is lost.
    wanted = [p for p in parts if isinstance(p, Frame)]
    it = iter(got)
    assert all(any(frame == other for other in it) for frame in wanted)
    assert reader.good_frames == len(got)


@given(frames, st.data())
def test_a_damaged_frame_is_refused(frame: Frame, data: st.DataObject) -> None:
    good = wire.encode(frame)
    at = data.draw(st.integers(1, len(good) - 2))
    flip = data.draw(st.integers(1, 255))
    bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    reader = FrameReader()
    assert frame not in reader.feed(bad)
    assert reader.noise_bytes > 0


def test_an_endless_frame_takes_bounded_memory() -> None:
    reader = FrameReader()
    for _ in range(1000):
        assert reader.feed(b"\x55" * 1000) == []
    assert reader.noise_bytes == 1_000_000
    assert len(reader._partial) <= wire.PACKET_MAX + 1
    assert reader.feed(wire.encode(Frame(1, 2, 3))) == [Frame(1, 2, 3)]


def test_the_crc_is_zlibs() -> None:
    body = bytes.fromhex("810234129078") + b"payload"
    data = wire.encode(Frame(0x81, 0x1234, 0x7890, b"payload", status=2))
    assert wire.cobs_decode(data[1:-1]) == body + zlib.crc32(body).to_bytes(4, "little")


@given(st.binary(max_size=300))
def test_any_record_parses_or_says_so(data: bytes) -> None:
    for parse in (
        wire.Hello.parse,
        wire.Invoked.parse,
        wire.Stepped.parse,
        wire.Fault.parse,
        wire.ModelRecord.parse,
        wire.LayerRecord.parse,
    ):
        with contextlib.suppress(struct.error, ValueError):
            parse(data)
