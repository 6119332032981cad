"""Both ends of the protocol against each other, over good and bad lines.

The board's end is the firmware's own C code in a process under AddressSanitizer and UBSan: any memory
error or undefined behaviour there ends the process, which fails the test as a vanished port.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run import toy
from tests.run.lines import BadLine, Faults, WrongSpeed
from tinyml.errors import TargetError, UsageError
from tinyml.run import wire
from tinyml.run.host import LinkedHostTarget
from tinyml.run.link import BoardFault, Expected, Link, Timing
from tinyml.run.ports import SocketPort
from tinyml.run.serial import SerialTarget
from tinyml.run.wire import Frame, Kind

FAST = Timing(retry=0.02, answer=15.0, hello=15.0, patience=15.0)
HASTY = Timing(retry=0.02, answer=0.5, hello=0.8, patience=0.5)


def check(target: LinkedHostTarget, seed: int) -> None:
    inputs = toy.inputs(seed)
    assert [o.tobytes() for o in target.infer(inputs).outputs] == toy.outputs(*inputs)


# ---- a good line ------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", [33, 64, 256])
def test_every_request_over_a_good_line(toy_program: Path, packet: int) -> None:
    moved: list[tuple[int, int]] = []
    with LinkedHostTarget(
        toy_program, packet=packet, progress=lambda done, total: moved.append((done, total))
    ) as target:
        info = target.info
        assert (info.board, info.model, info.model_sha256) == ("host", "toy", toy.SHA256)
        assert (info.input_bytes, info.output_bytes) == ((600, 40), (600, 8))
        assert (info.arena_bytes, info.layer_count, info.packet_bytes) == (656, 3, packet)
        assert [(x.name[:4], x.op, x.macs, x.size_bytes) for x in target.layers()] == [
            ("t", "ADD", 0, 600),
            ("y", "ADD", 600, 600),
            ("z_a_", "MEAN", 70000, 8),
        ]
        for seed in range(3):
            moved.clear()
            check(target, seed)
            assert moved[-1] == (1248, 1248)
            assert moved == sorted(moved)
        inputs = toy.inputs(9)
        traces = target.trace(inputs)
        assert [t.crc32 for t in traces] == toy.crcs(*inputs)
        assert all(t.cycles is not None and t.cycles > 0 for t in traces)
        for index in range(3):  # each one leaves the model stopped in the middle of an inference
            assert target.layer_output(inputs, index) == toy.layers(*inputs)[index]
            check(target, index)


def test_cycles_are_unknown_where_the_core_counts_none(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program, environment={"TM_HOST_NO_CYCLES": "1"}) as target:
        inputs = toy.inputs(0)
        assert target.infer(inputs).cycles is None
        assert target.trace(inputs)[0].cycles is None


def test_wrong_inputs_are_the_callers_error(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program) as target:
        a, b = toy.inputs(0)
        with pytest.raises(UsageError, match="2 inputs, not 1"):
            target.infer([a])
        with pytest.raises(UsageError, match="input 1 of toy") as error:
            target.infer([a, b[:39]])
        assert "expected 40 bytes, received 39" in str(error.value)


def test_a_slow_board_is_waited_for(toy_program: Path) -> None:
    """Silent for longer than `answer`, and repeated requests pile up meanwhile."""
    timing = Timing(retry=0.01, answer=0.05, hello=5.0, patience=20.0)
    with LinkedHostTarget(toy_program, timing=timing) as target:
        inputs = toy.inputs(1, trouble=4, amount=127)
        started = time.monotonic()
        outputs = target.infer(inputs).outputs
        assert time.monotonic() - started > 0.05
        assert [o.tobytes() for o in outputs] == toy.outputs(*inputs)
        check(target, 2)


def test_a_board_that_hangs_is_given_up(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program, timing=HASTY) as target:
        check(target, 0)
        assert target.process is not None
        os.kill(target.process.pid, signal.SIGSTOP)
        with pytest.raises(TargetError, match=r"no answer from .* to WRITE"):
            target.infer(toy.inputs(1))
        os.kill(target.process.pid, signal.SIGCONT)
        check(target, 1)  # and it may come back


# ---- bad lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", [33, 256])
@pytest.mark.parametrize("seed", range(3))
def test_the_bytes_are_right_over_a_bad_line(toy_program: Path, seed: int, packet: int) -> None:
    with LinkedHostTarget(
        toy_program, timing=FAST, packet=packet, wrap=lambda port: BadLine(port, seed, Faults.all(0.04))
    ) as target:
        check(target, seed)
        inputs = toy.inputs(seed + 100)
        assert [t.crc32 for t in target.trace(inputs)] == toy.crcs(*inputs)
        assert target.layer_output(inputs, 1) == toy.layers(*inputs)[1]
        check(target, seed + 1)


@pytest.mark.parametrize("kind", ["lose", "double", "damage", "cut", "noise", "delay"])
def test_the_bytes_are_right_with_one_kind_of_fault(toy_program: Path, kind: str) -> None:
    faults = Faults(**{kind: 0.3})
    with LinkedHostTarget(toy_program, timing=FAST, wrap=lambda port: BadLine(port, 7, faults)) as target:
        for seed in range(3):
            check(target, seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_terrible_line_ends_in_the_right_bytes_or_one_error(toy_program: Path, seed: int) -> None:
    started = time.monotonic()
    message = ""
    try:
        with LinkedHostTarget(
            toy_program, timing=HASTY, wrap=lambda port: BadLine(port, seed, Faults.all(0.35))
        ) as target:
            check(target, seed)
    except TargetError as error:
        message = error.what
    assert message == "" or "no answer" in message or "wrong baud" in message
    assert time.monotonic() - started < 20.0


# ---- restarts ---------------------------------------------------------------------------------------


def resetting(target_of: dict[str, LinkedHostTarget], at: set[int]) -> Callable[[Any], BadLine]:
    """A good line that presses the reset button when frame number n is sent, for n in `at`."""

    def wrap(port: SocketPort) -> BadLine:
        def on_send(number: int) -> None:
            process = target_of["target"].process
            if number in at and process is not None:
                at.remove(number)
                select.select([port._socket], [], [], 10.0)  # an answer, or READY: it has started
                os.kill(process.pid, signal.SIGUSR1)

        return BadLine(port, 0, Faults(), on_send)

    return wrap


@pytest.mark.parametrize("at", [1, 2, 5, 8, 9, 10, 11, 12, 13, 14])
def test_a_restart_loses_nothing(toy_program: Path, at: int) -> None:
    """At any frame: in the handshake, between WRITEs, at INVOKE, at READs."""
    holder: dict[str, LinkedHostTarget] = {}
    target = LinkedHostTarget(toy_program, timing=FAST, wrap=resetting(holder, {at}))
    holder["target"] = target
    with target:
        for seed in range(2):
            check(target, seed)


def test_a_restart_while_stopped_behind_a_layer_loses_nothing(toy_program: Path) -> None:
    holder: dict[str, LinkedHostTarget] = {}
    at: set[int] = set()
    target = LinkedHostTarget(toy_program, timing=FAST, wrap=resetting(holder, at))
    holder["target"] = target
    with target:
        line = target.link._port
        assert isinstance(line, BadLine)
        inputs = toy.inputs(3)
        at.add(line.there.frames + 6)  # 4 WRITEs, STEP 0, STEP 1
        assert [t.crc32 for t in target.trace(inputs)] == toy.crcs(*inputs)
        assert not at


def test_two_restarts_in_one_sample_are_an_error(toy_program: Path) -> None:
    holder: dict[str, LinkedHostTarget] = {}
    at: set[int] = set()
    target = LinkedHostTarget(toy_program, timing=FAST, wrap=resetting(holder, at))
    holder["target"] = target
    with target:
        line = target.link._port
        assert isinstance(line, BadLine)
        check(target, 0)
        # A sample is 8 frames; after the first restart come a handshake (2 to 3) and the sample again.
        at |= {line.there.frames + 3, line.there.frames + 10}
        with pytest.raises(TargetError, match="restarted in the middle of a sample, and again"):
            target.infer(toy.inputs(1))
        check(target, 2)


def test_reset_on_request(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program, timing=FAST) as target:
        boot = target.link._boot
        target.link.reset()
        check(target, 1)
        assert target.link._boot == boot + 1
        assert target.link.last_fault() is None


# ---- faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", ["infer", "trace"])
def test_a_fault_names_its_layer(toy_program: Path, request_: str) -> None:
    with LinkedHostTarget(toy_program, timing=FAST, environment={"ASAN_OPTIONS": "handle_segv=0"}) as target:
        with pytest.raises(BoardFault, match="faulted in layer 1, ADD, output y") as error:
            getattr(target, request_)(toy.inputs(0, trouble=1))
        assert error.value.layer == 1
        assert "HardFault at PC 0x33334444, LR 0x11112222" in error.value.expected
        check(target, 1)  # the board has restarted, and says so:
        fault = target.link.last_fault()
        assert fault is not None
        assert (fault.exception, fault.layer) == (3, 1)


def test_a_fault_is_known_even_if_its_report_is_lost(toy_program: Path) -> None:
    """Everything the board says is lost for a while after INVOKE is sent; the restart tells."""

    class Deaf(BadLine):
        deaf = False

        def read(self, size: int = 1, /) -> bytes:
            data = super().read(size)
            if self.deaf and data:
                self.deaf = False
                return b""
            return data

    lines: list[Deaf] = []

    def wrap(port: Any) -> Deaf:
        lines.append(Deaf(port, 0, Faults()))
        return lines[0]

    with LinkedHostTarget(
        toy_program, timing=FAST, environment={"ASAN_OPTIONS": "handle_segv=0"}, wrap=wrap
    ) as target:
        first = lines[0].there.frames

        def on_send(number: int) -> None:
            if number == first + 5:  # 4 WRITEs, INVOKE
                time.sleep(0.1)  # BUSY, FAULT and READY have all arrived, and go together
                lines[0].deaf = True

        lines[0].on_send = on_send
        with pytest.raises(BoardFault, match="faulted in layer 1"):
            target.infer(toy.inputs(0, trouble=1))
        check(target, 1)


def test_a_failing_invoke_is_reported(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program, timing=FAST) as target:
        for call in (target.infer, target.trace):
            with pytest.raises(TargetError, match=r"invoke\(\) failed") as error:
                call(toy.inputs(0, trouble=3))
            assert "received -7" in error.value.expected
            check(target, 1)


# ---- somebody else answers, or nobody ---------------------------------------------------------------


class Fake:
    """A port with a few lines of Python behind it."""

    in_waiting = 4096

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.waiting = b""

    def read(self, size: int = 1, /) -> bytes:
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        if not data:
            time.sleep(0.002)
        return data

    def write(self, data: bytes, /) -> int:
        self.waiting += self.answer(data)
        return len(data)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda data: b"", "no answer from board"),
        (lambda data: data, "only returns what is sent"),
        (lambda data: b"\r\nsensor 3: 21.5 C, ok\r\n", "wrong firmware on board: another program talks"),
        (lambda data: bytes(range(128, 256, 3)), "wrong baud rate on board"),
        (lambda data: wire.encode(Frame(Kind.NAK, 0, 1, b"\1\0")), "no answer to HELLO arrives intact"),
    ],
)
def test_messages_when_no_board_answers(answer: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Link(Fake(answer), "board", timing=HASTY).connect()


def test_another_protocol_version_is_the_wrong_firmware() -> None:
    def answer(data: bytes) -> bytes:
        hello = wire.decode(data.strip(b"\0"))
        assert hello is not None
        return wire.encode(
            Frame(Kind.HELLO | wire.REPLY, hello.seq, 1, b"\x09\0\x21\0", wire.Status.BAD_VERSION)
        )

    with pytest.raises(TargetError, match="wrong firmware") as error:
        Link(Fake(answer), "board", timing=HASTY).connect()
    assert "expected version 2, received version 9" in error.value.expected


def test_the_board_refuses_another_protocol_version(
    toy_program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "VERSION", 1)
    with (
        pytest.raises(TargetError, match="another version of the protocol"),
        LinkedHostTarget(toy_program, timing=FAST),
    ):
        pass


@pytest.mark.parametrize("host_baud", [9600, 19200, 38400, 57600, 230400, 460800, 921600])
def test_the_wrong_baud_rate_is_told_from_silence(toy_program: Path, host_baud: int) -> None:
    with (
        pytest.raises(TargetError, match="wrong baud rate"),
        LinkedHostTarget(toy_program, timing=HASTY, wrap=lambda port: WrongSpeed(port, host_baud, 115200)),
    ):
        pass


def test_the_right_baud_rate_passes_through_the_uart_model(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program, wrap=lambda port: WrongSpeed(port, 115200, 115200)) as target:
        check(target, 0)


def test_wrong_model_and_wrong_firmware_are_two_messages(toy_program: Path) -> None:
    with LinkedHostTarget(toy_program) as target:
        firmware = target.info.firmware
    assert firmware.startswith("64-")
    with LinkedHostTarget(toy_program, expected=Expected(toy.SHA256, firmware)) as target:
        check(target, 0)
    with (
        pytest.raises(TargetError, match=r"wrong model .*: toy for host"),
        LinkedHostTarget(toy_program, expected=Expected("ab" * 32, firmware)),
    ):
        pass
    with (
        pytest.raises(TargetError, match=r"wrong firmware .*: the right model, but another build"),
        LinkedHostTarget(toy_program, expected=Expected(toy.SHA256, "64-00000000")),
    ):
        pass


# ---- ports that vanish ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 4, 9, 12])
def test_a_process_that_dies_is_a_vanished_port(toy_program: Path, at: int) -> None:
    holder: dict[str, LinkedHostTarget] = {}

    def on_send(number: int) -> None:
        process = holder["target"].process
        if number == at and process is not None:
            process.kill()

    target = LinkedHostTarget(toy_program, timing=FAST, wrap=lambda port: BadLine(port, 0, Faults(), on_send))
    holder["target"] = target
    with pytest.raises(TargetError, match="port vanished") as error, target:
        check(target, 0)
    assert "ended with status -9" in error.value.where
    assert target.process is None


def test_a_serial_port_works_and_then_vanishes(toy_program: Path) -> None:
    """A pseudo-terminal: pyserial on one end, the firmware's link on the other."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        path = os.ttyname(slave)
        process = subprocess.Popen([str(toy_program), str(master)], pass_fds=[master])
        try:
            with SerialTarget(path, 115200, expected=Expected(toy.SHA256)) as target:
                inputs = toy.inputs(4)
                assert [o.tobytes() for o in target.infer(inputs).outputs] == toy.outputs(*inputs)
                with pytest.raises(TargetError, match="cannot be opened") as error:
                    SerialTarget(path, 115200).__enter__()
                assert "another program has the port open" in error.value.hint
                process.kill()
                process.wait()
                os.close(master)
                master = -1
                with pytest.raises(TargetError, match=f"port vanished: {path} at 115200 baud"):
                    target.infer(inputs)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(slave)
        if master >= 0:
            os.close(master)


def test_a_port_that_does_not_exist() -> None:
    with (
        pytest.raises(TargetError, match="/dev/ttyNO5 cannot be opened") as error,
        SerialTarget("/dev/ttyNO5", 9600),
    ):
        pass
    assert "port" in error.value.hint


# ---- the board's end, fed by hand -------------------------------------------------------------------


class Client:
    """Sends single frames and collects what comes back."""

    def __init__(self, program: Path) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "ASAN_OPTIONS": "handle_segv=0"}
        self.process = subprocess.Popen(
            [str(program), str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environment
        )
        theirs.close()
        self.port = SocketPort(ours, wait_s=0.005)
        self.reader = wire.FrameReader()
        self.collect(1)  # READY

    def collect(self, count: int, kinds: set[int] | None = None) -> list[Frame]:
        """Wait for `count` frames (of these kinds); return all frames of these kinds."""
        found: list[Frame] = []
        deadline = time.monotonic() + 5
        while len(found) < count and time.monotonic() < deadline:
            found += [f for f in self.reader.feed(self.port.read(4096)) if kinds is None or f.kind in kinds]
        assert len(found) >= count
        return found

    def quiet(self) -> bool:
        """True if nothing comes for a while."""
        return not any(self.port.read(4096) for _ in range(6))

    def send(self, kind: int, seq: int, session: int, payload: bytes = b"") -> None:
        self.port.write(wire.encode(Frame(kind, seq, session, payload)))

    def ask(self, kind: int, seq: int, session: int, payload: bytes = b"") -> Frame:
        self.send(kind, seq, session, payload)
        return self.collect(1, {kind | wire.REPLY})[0]

    def close(self) -> None:
        self.port.close()
        self.process.wait(5)


HELLO = bytes([wire.VERSION, 0, 0, 1])


@pytest.fixture
def client(toy_program: Path) -> Any:
    client = Client(toy_program)
    yield client
    client.close()


def test_duplicates_are_answered_but_not_executed(client: Client) -> None:
    assert client.ask(Kind.HELLO, 10, 77, HELLO).status == 0
    for offset in range(0, 600, 100):
        client.ask(Kind.WRITE, 11 + offset // 100, 77, b"\0" + offset.to_bytes(4, "little") + bytes(100))
    client.ask(Kind.WRITE, 17, 77, b"\1" + bytes(4) + bytes([0] * 39 + [5]))
    first = client.ask(Kind.INVOKE, 18, 77)
    again = client.ask(Kind.INVOKE, 18, 77)
    assert again == first  # also the cycles: it did not run a second time
    y = client.ask(Kind.READ, 19, 77, b"\0\0\0" + (39).to_bytes(4, "little") + b"\1\0")
    assert y.payload == bytes([0 + 1 + 5])
    client.send(Kind.WRITE, 17, 77, b"\1" + bytes(4) + bytes(40))  # a left-over from before
    client.send(Kind.INVOKE, 18, 77)
    client.send(Kind.HELLO, 10, 77, HELLO)
    assert client.quiet()
    assert client.ask(Kind.READ, 19, 77, b"\0\0\0" + (39).to_bytes(4, "little") + b"\1\0") == y


def test_requests_of_no_session_are_told_so(client: Client) -> None:
    assert client.ask(Kind.INVOKE, 5, 1).status == wire.Status.NO_SESSION
    client.ask(Kind.HELLO, 1, 2, HELLO)
    assert client.ask(Kind.STATUS, 2, 1).status == wire.Status.NO_SESSION
    assert client.ask(Kind.STATUS, 2, 2).status == wire.Status.OK


def test_bad_arguments_are_refused(client: Client) -> None:
    client.ask(Kind.HELLO, 0, 9, HELLO)
    status = wire.Status

    def at(offset: int) -> bytes:
        return offset.to_bytes(4, "little")

    cases = [
        (0x55, b"", status.UNKNOWN_KIND),
        (Kind.INFO, b"", status.BAD_ARGUMENT),
        (Kind.INFO, b"\x00\x01\x00\x00\x00", status.BAD_ARGUMENT),
        (Kind.INFO, b"\x01\x03\x00\x00\x00", status.BAD_ARGUMENT),
        (Kind.WRITE, b"\x00\x00", status.BAD_ARGUMENT),
        (Kind.WRITE, b"\x02" + at(0) + b"x", status.BAD_ARGUMENT),
        (Kind.WRITE, b"\x00" + at(600) + b"x", status.BAD_ARGUMENT),
        (Kind.WRITE, b"\x00" + at(0xFFFFFFFF) + b"xy", status.BAD_ARGUMENT),
        (Kind.WRITE, b"\x01" + at(39) + b"xy", status.BAD_ARGUMENT),
        (Kind.READ, b"\0\0\0" + at(0) + b"\1\0", status.BAD_STATE),
        (Kind.READ, b"\1\0\0" + at(0) + b"\1\0", status.BAD_STATE),
        (Kind.READ, b"\2\0\0" + at(0) + b"\1\0", status.BAD_ARGUMENT),
        (Kind.STEP, b"\x03\x00", status.BAD_ARGUMENT),
        (Kind.INVOKE, b"\x00", status.BAD_ARGUMENT),
        (Kind.INVOKE, b"", status.OK),
        (Kind.READ, b"\0\2\0" + at(0) + b"\1\0", status.BAD_ARGUMENT),
        (Kind.READ, b"\0\1\0" + at(0xFFFFFFF8) + b"\x08\0", status.BAD_ARGUMENT),
        (Kind.READ, b"\0\0\0" + at(0) + (244).to_bytes(2, "little"), status.BAD_ARGUMENT),
        (Kind.READ, b"\0\0\0" + at(0) + (243).to_bytes(2, "little"), status.OK),
        (Kind.STEP, b"\x01\x00", status.OK),
        (Kind.STEP, b"\x01\x00", status.BAD_STATE),
        (Kind.STEP, b"\x02\x00", status.OK),
        (Kind.READ, b"\1\1\0" + at(0) + b"\1\0", status.BAD_STATE),
        (Kind.READ, b"\1\2\0" + at(0) + b"\x08\0", status.OK),
    ]
    for seq, (kind, payload, expected) in enumerate(cases, 1):
        assert client.ask(kind, seq, 9, payload).status == expected, (seq, kind, payload)


def test_half_a_frame_never_blocks(client: Client) -> None:
    client.ask(Kind.HELLO, 0, 9, HELLO)
    whole = wire.encode(Frame(Kind.STATUS, 1, 9))
    for cut in range(1, len(whole)):
        client.port.write(whole[:cut])
        assert client.ask(Kind.STATUS, cut, 9).status == 0


def test_an_overlong_frame_is_refused_before_it_ends(client: Client) -> None:
    client.port.write(b"\0" + b"\x41" * 255)
    assert client.collect(1)[0].kind == Kind.NAK
    client.port.write(b"\x41" * 5000)
    assert client.quiet()
    assert client.ask(Kind.HELLO, 0, 9, HELLO).status == 0


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_do_no_harm(client: Client, seed: int) -> None:
    """Well-framed nonsense, and nonsense that is not: the sanitizers watch."""
    rng = random.Random(seed)
    session, seq = 0, 0
    for turn in range(1500):
        if turn % 50 == 0:
            session, seq = rng.randrange(65536), rng.randrange(65536)
            client.send(Kind.HELLO, seq, session, bytes([wire.VERSION, 0]) + rng.randbytes(2))
        seq = (seq + (rng.random() < 0.95)) & 0xFFFF
        kind = rng.choice([2, 3, 3, 4, 5, 5, 6, 6, 7, rng.randrange(256), 8 if rng.random() < 0.05 else 6])
        small = bytes([rng.randrange(3), rng.randrange(4), 0])
        offset = rng.choice([0, 1, 39, 500, 599, 600, 0xFFFFFFFF, rng.randrange(700)]).to_bytes(4, "little")
        payload = rng.choice(
            [
                b"",
                small[:2],
                small[:1] + offset + rng.randbytes(rng.randrange(60)),
                small + offset,
                rng.randbytes(5),
            ]
        )
        payload += rng.choice([b"", b"", rng.randbytes(2), bytes([rng.randrange(60), 0])])
        data = wire.encode(Frame(kind, seq, session, payload))
        if rng.random() < 0.1:
            at = rng.randrange(len(data))
            data = data[:at] + rng.randbytes(rng.randrange(4)) + data[at + 1 :]
        client.port.write(data)
        if turn % 10 == 0:
            client.reader.feed(client.port.read(1 << 16))
    while client.port.read(1 << 16):
        pass
    assert client.process.poll() is None
    link = Link(client.port, "toy", timing=FAST)
    link.connect()
    inputs = toy.inputs(seed)
    assert [o.tobytes() for o in link.infer(inputs).outputs] == toy.outputs(*inputs)


def test_a_board_that_answers_nonsense_is_an_error_not_a_crash() -> None:
    """Intact frames whose payload is random: everything ends in a TargetError."""
    for seed in range(40):
        rng = random.Random(seed)

        def answer(data: bytes, rng: random.Random = rng) -> bytes:
            out = b""
            for chunk in data.split(b"\0"):
                frame = wire.decode(chunk) if chunk else None
                if frame is None:
                    continue
                payload = rng.randbytes(rng.randrange(40))
                if frame.kind == Kind.HELLO:
                    payload = bytes([wire.VERSION, 0, 0x21, 0])
                elif frame.kind == Kind.INFO and rng.random() < 0.8:
                    payload = len(payload).to_bytes(2, "little") + payload
                status = 0 if rng.random() < 0.9 else rng.randrange(256)
                out += wire.encode(Frame(frame.kind | wire.REPLY, frame.seq, 1, payload, status))
            return out

        with pytest.raises((TargetError, UsageError)):
            Link(Fake(answer), "board", timing=HASTY).infer(toy.inputs(0))
