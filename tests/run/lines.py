"""Bad serial lines: they lose, double, damage, delay and invent frames, or run at another speed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Faults:
    """Probability of each fault, per frame."""

    lose: float = 0.0
    double: float = 0.0
    damage: float = 0.0
    cut: float = 0.0
    noise: float = 0.0
    delay: float = 0.0

    @classmethod
    def all(cls, p: float) -> Faults:
        return cls(p, p, p, p, p, p)


class _Direction:
    """One direction of a bad line. Takes bytes, cuts them into frames, gives back what arrives."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.faults = faults
        self.rng = rng
        self.partial = b""
        self.held: list[bytes] = []
        self.frames = 0

    def take(self, data: bytes) -> bytes:
        *closed, self.partial = (self.partial + data).split(b"\0")
        arrived = b""
        for chunk in closed:
            if chunk:
                self.frames += 1
                arrived += self.pass_on(b"\0" + chunk + b"\0")
        return arrived

    def pass_on(self, frame: bytes) -> bytes:
        rng, p = self.rng, self.faults
        if rng.random() < p.lose:
            return b""
        if rng.random() < p.damage:
            at = rng.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ rng.randrange(1, 256)]) + frame[at + 1 :]
        if rng.random() < p.cut:
            frame = frame[: rng.randrange(len(frame))]
        if rng.random() < p.double:
            frame = frame * 2
        if rng.random() < p.noise:
            frame = rng.randbytes(rng.randrange(1, 300)) + frame
        if rng.random() < p.delay:
            self.held.append(frame)
            return b""
        arrived = frame + b"".join(self.held)  # a delayed frame arrives after a later one
        self.held.clear()
        return arrived


class BadLine:
    """A byte port around another one. `on_send` is called with the number of every frame sent."""

    def __init__(
        self, port: Any, seed: int, faults: Faults, on_send: Callable[[int], None] | None = None
    ) -> None:
        self.port = port
        self.there = _Direction(faults, random.Random(2 * seed))
        self.back = _Direction(faults, random.Random(2 * seed + 1))
        self.on_send = on_send

    @property
    def in_waiting(self) -> int:
        return int(self.port.in_waiting)

    def read(self, size: int = 1, /) -> bytes:
        return self.back.take(self.port.read(size))

    def write(self, data: bytes, /) -> int:
        arrived = self.there.take(data)
        if arrived:
            self.port.write(arrived)
        if self.on_send is not None:
            self.on_send(self.there.frames)
        return len(data)

    def close(self) -> None:
        self.port.close()


def resample(data: bytes, sender_baud: int, receiver_baud: int) -> bytes:
    """Return what a UART set to `receiver_baud` makes of bytes (8N1) sent at `sender_baud`.

    The receiver waits for a falling edge, samples the middle of each of its own bit times, and hands on
    the byte whatever its stop bit is, as microcontrollers' UARTs do; after a low stop bit it waits
    for the line to go high.
    """
    levels = [1, 1]
    for byte in data:
        levels += [0, *((byte >> bit) & 1 for bit in range(8)), 1]
    levels += [1] * 2
    end = len(levels) / sender_baud
    bit = 1 / receiver_baud

    def level(at: float) -> int:
        index = int(at * sender_baud)
        return levels[index] if index < len(levels) else 1

    received = []
    step = min(bit, 1 / sender_baud) / 16
    now = 0.0
    while now < end:
        if level(now):
            now += step
            continue
        if level(now + bit / 2):  # too short for a start bit: a glitch
            now += bit / 2
            continue
        received.append(sum(level(now + (1.5 + k) * bit) << k for k in range(8)))
        now += 9.5 * bit
        while now < end and not level(now):
            now += step
    return bytes(received)


class WrongSpeed:
    """A byte port around another one whose two ends are set to different baud rates."""

    def __init__(self, port: Any, host_baud: int, board_baud: int) -> None:
        self.port = port
        self.bauds = (host_baud, board_baud)

    @property
    def in_waiting(self) -> int:
        return int(self.port.in_waiting)

    def read(self, size: int = 1, /) -> bytes:
        return resample(self.port.read(size), self.bauds[1], self.bauds[0])

    def write(self, data: bytes, /) -> int:
        arrived = resample(data, *self.bauds)
        if arrived:
            self.port.write(arrived)
        return len(data)

    def close(self) -> None:
        self.port.close()
