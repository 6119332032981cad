"""The host's end of the serial protocol, over anything that reads and writes bytes.

Stop and wait: one request at a time, sent again until its reply arrives. The rules that make this
safe (who ignores what, and when) are in docs/protocol.md.
"""

from __future__ import annotations

import secrets
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from tinyml.errors import TargetError
from tinyml.graph import Array
from tinyml.run import wire
from tinyml.run.target import Inference, LayerInfo, LayerTrace, TargetInfo, input_bytes
from tinyml.run.wire import Frame, Kind, Source, Status, Table

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (bytes moved so far, bytes in all) while inputs and outputs are on the wire."""


class BytePort(Protocol):
    """What Link needs of a port; `serial.Serial` with a short read time-out is one.

    A port that has gone raises OSError from any of these.
    """

    @property
    def in_waiting(self) -> int:
        """Bytes that read() would return at once."""
        ...

    def read(self, size: int = 1, /) -> bytes:
        """Return up to `size` bytes; b"" where none came within the port's short time-out."""
        ...

    def write(self, data: bytes, /) -> int | None:
        """Send bytes."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Time-outs in seconds.

    Args:
        retry: until a request is sent again, the first time; doubles with every try.
        answer: until a silent board counts as gone, where it has nothing to do.
        hello: until a board that was never heard counts as absent; boards that restart when
            their port is opened need a few seconds.
        patience: added to the estimated time of an inference before a silent board counts as gone.
    """

    retry: float = 0.25
    answer: float = 5.0
    hello: float = 5.0
    patience: float = 20.0

    @classmethod
    def for_baud(cls, baud: int) -> Timing:
        """Allow for the time that two packets of the largest size take at `baud`."""
        return cls(retry=0.1 + 2 * wire.PACKET_MAX * 10 / baud)


@dataclass(frozen=True, slots=True)
class Expected:
    """Who should answer; None where anybody may."""

    model_sha256: str | None = None
    firmware: str | None = None


class BoardReset(TargetError):
    """The board restarted while a request was under way."""


class BoardFault(TargetError):
    """The board's fault handler reported. `layer` is the operator that ran, None outside any."""

    def __init__(self, what: str, fault: wire.Fault, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, expected=fault.describe(), hint=hint)
        self.fault = fault
        self.layer = fault.layer


class Link:
    """Speaks the protocol over a port.

    Args:
        port: an open port; closed by close().
        name: what messages call it: "/dev/ttyACM0 at 115200 baud", "QEMU mps2-an500".
        timing: time-outs.
        expected: model and firmware that should answer.
        packet: largest packet in bytes, 33 to 256; the board may ask for less.
        wake: called before a request is repeated, and once before the first.
        explain: returns why a port may have vanished, for the error message.
        progress: called while inputs and outputs move.
    """

    def __init__(
        self,
        port: BytePort,
        name: str,
        *,
        timing: Timing | None = None,
        expected: Expected | None = None,
        packet: int = wire.PACKET_MAX,
        wake: Callable[[], None] | None = None,
        explain: Callable[[], str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._port = port
        self._name = name
        self._timing = timing or Timing()
        self._expected = expected or Expected()
        self._packet = packet
        self._wake = wake
        self._explain = explain
        self._progress = progress
        self._reader = wire.FrameReader()
        self._seq = secrets.randbelow(0x10000)
        self._session = 0
        self._boot = 0
        self._payload = wire.PACKET_MIN - wire.OVERHEAD
        self._open = False
        self._hello: wire.Hello | None = None
        self._info: TargetInfo | None = None
        self._layers: tuple[LayerInfo, ...] = ()

    # -- what targets call --------------------------------------------------------------------

    @property
    def info(self) -> TargetInfo:
        """Who answers; connects where that has not happened yet."""
        self._ensure_open()
        assert self._info is not None
        return self._info

    def layers(self) -> tuple[LayerInfo, ...]:
        """The operators of the model on the board."""
        self._ensure_open()
        return self._layers

    def infer(self, inputs: Sequence[Array]) -> Inference:
        """Run one inference; a board that restarts in the middle gets the sample once more."""
        return self._repeat_once(lambda: self._infer(inputs))

    def trace(self, inputs: Sequence[Array]) -> list[LayerTrace]:
        """Run one inference, stopping behind every layer."""
        return self._repeat_once(lambda: self._trace(inputs))

    def layer_output(self, inputs: Sequence[Array], index: int) -> bytes:
        """Run up to layer `index` and return its output bytes."""
        return self._repeat_once(lambda: self._layer_output(inputs, index))

    def last_fault(self) -> wire.Fault | None:
        """The fault that caused the board's last restart, if one did."""
        self._ensure_open()
        fault = self._parse(wire.Fault.parse, self._request(Kind.STATUS))
        return fault if fault.exception else None

    def reset(self) -> None:
        """Restart the board. The next call connects again."""
        self._ensure_open()
        self._request(Kind.RESET)
        self._open = False

    def reset_states(self) -> None:
        """Let a model that remembers earlier inferences forget them: a new session begins without them."""
        if self.info.stateful:
            self.connect()

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    # -- connecting ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Say hello, and check who answers. A board that restarts meanwhile is asked once more.

        Raises:
            TargetError: nobody answers, or somebody else: wrong baud rate, firmware or model.
        """
        try:
            self._introduce()
        except BoardReset:
            self._introduce()

    def _introduce(self) -> None:
        self._open = False
        self._session = secrets.randbelow(0x10000)
        self._seq = secrets.randbelow(0x10000)
        self._payload = wire.PACKET_MIN - wire.OVERHEAD
        self._reader.reset()
        if self._wake is not None:
            self._await_ready()
        hello = self._handshake()
        self._hello = hello
        self._payload = max(hello.packet, wire.PACKET_MIN) - wire.OVERHEAD
        record = self._parse(wire.ModelRecord.parse, self._record(Table.MODEL, 0))
        info = TargetInfo(
            board=record.board,
            model=record.model,
            model_sha256=record.model_sha256,
            firmware=f"{record.image_bytes}-{record.image_crc32:08x}" if record.image_bytes else "",
            clock_hz=record.clock_hz,
            arena_bytes=record.arena_bytes,
            input_bytes=record.input_bytes,
            output_bytes=record.output_bytes,
            layer_count=record.layer_count,
            trace=wire.Flags.TRACE in hello.flags,
            packet_bytes=self._payload + wire.OVERHEAD,
            pushed_input=record.pushed_input,
            pushed_rows=record.pushed_rows,
            row_bytes=record.row_bytes,
            stateful=wire.Flags.STATES in hello.flags,
        )
        self._check_identity(info)
        if self._info is None or info != self._info:
            layers = []
            for i in range(info.layer_count):
                layer = self._parse(wire.LayerRecord.parse, self._record(Table.LAYER, i))
                layers.append(LayerInfo(i, layer.name, layer.op, layer.macs, layer.size_bytes))
            self._layers = tuple(layers)
        self._info = info
        self._open = True

    def _ensure_open(self) -> None:
        if not self._open:
            self.connect()

    def _await_ready(self) -> None:
        """Give an emulator time for its READY, then wake it."""
        deadline = time.monotonic() + 2 * self._timing.retry
        while time.monotonic() < deadline:
            if any(frame.kind == Kind.READY for frame in self._receive()):
                break
        assert self._wake is not None
        self._wake()

    def _handshake(self) -> wire.Hello:
        self._seq = (self._seq + 1) & 0xFFFF
        payload = struct.pack("<BBH", wire.VERSION, 0, self._packet)
        request = Frame(Kind.HELLO, self._seq, self._session, payload)
        echoed = False
        busy = False
        deadline = time.monotonic() + self._timing.hello
        pause = self._timing.retry
        data = wire.encode(request)
        while time.monotonic() < deadline:
            self._write(data)
            again = time.monotonic() + pause
            while time.monotonic() < again:
                for frame in self._receive():
                    if frame.seq == request.seq and frame.kind == Kind.HELLO:
                        echoed = True
                    elif frame.seq == request.seq and frame.kind == Kind.HELLO | wire.REPLY:
                        return self._welcome(frame)
                    elif frame.kind == Kind.BUSY and not busy:
                        # An inference that an earlier session left behind: wait for its end.
                        busy = True
                        deadline += self._timing.patience
            pause = min(2 * pause, 1.0)
            # Zeros are nothing to a board that reads them right. At another baud rate they still look
            # like zeros, so they end what it takes for a frame, and it answers with a NAK: noise here.
            data = wire.encode(request) + bytes(32)
            if self._wake is not None:
                self._wake()
        raise self._no_hello(echoed)

    def _welcome(self, frame: Frame) -> wire.Hello:
        hello = self._parse(wire.Hello.parse, frame.payload)
        if frame.status == Status.BAD_VERSION or hello.version != wire.VERSION:
            raise TargetError(
                f"wrong firmware on {self._name}: it speaks another version of the protocol",
                expected=f"expected version {wire.VERSION}, received version {hello.version}",
                hint="flash the firmware that this version of tinyml builds: `tinyml flash`",
            )
        self._boot = frame.tag
        return hello

    def _no_hello(self, echoed: bool) -> TargetError:
        """Tell the reasons of a failed handshake apart by what was received."""
        reader = self._reader
        seconds = f"{self._timing.hello:g} s"
        if echoed:
            return TargetError(
                f"no answer from {self._name}: the port only returns what is sent",
                hint="RX and TX are joined, or this is not the board's port",
            )
        if reader.good_frames:
            return TargetError(
                f"no answer from {self._name}: the board is heard, but no answer to HELLO arrives intact",
                expected=f"{reader.good_frames} good and {reader.bad_frames} damaged frames in {seconds}",
                hint="check the wires and the ground between the board and its serial adapter",
            )
        tail = reader.tail
        if not tail:
            return TargetError(
                f"no answer from {self._name}",
                expected=f"no byte received in {seconds}",
                hint="is the board powered, its firmware flashed (`tinyml flash`), and this its port?",
            )
        printable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in tail)
        if len(tail) >= 8 and printable >= 0.9 * len(tail):
            return TargetError(
                f"wrong firmware on {self._name}: another program talks there",
                expected=f"expected the tinyml protocol, received {tail.decode('ascii', 'replace')!r}",
                hint="flash the model's firmware: `tinyml flash`",
            )
        heard = f"{reader.noise_bytes} bytes" if reader.noise_bytes else "nothing but zeros"
        return TargetError(
            f"wrong baud rate on {self._name}",
            expected=f"received {heard} in {seconds} and no frame among them;"
            f" the last ones: {tail[-16:].hex(' ')}",
            hint="is this the port of that board? Its speed is `baud` in the board's file",
        )

    def _check_identity(self, info: TargetInfo) -> None:
        expected = self._expected
        if expected.model_sha256 is not None and info.model_sha256 != expected.model_sha256:
            raise TargetError(
                f"wrong model on {self._name}: {info.model} for {info.board}",
                expected=f"expected SHA-256 {expected.model_sha256[:16]}…,"
                f" received {info.model_sha256[:16]}…",
                hint="flash this model's firmware: `tinyml flash`",
            )
        if expected.firmware is not None and info.firmware and info.firmware != expected.firmware:
            raise TargetError(
                f"wrong firmware on {self._name}: the right model, but another build",
                expected=f"expected program {expected.firmware} (bytes-CRC), received {info.firmware}",
                hint="flash the firmware that was just built: `tinyml flash`",
            )

    def _record(self, table: Table, index: int) -> bytes:
        data = b""
        while True:
            payload = self._request(Kind.INFO, struct.pack("<BHH", table, index, len(data)))
            if len(payload) < 2:
                raise self._malformed(payload)
            total = int.from_bytes(payload[:2], "little")
            data += payload[2:]
            if len(data) >= total:
                return data
            if len(payload) == 2:
                raise self._malformed(payload)

    # -- inferences ---------------------------------------------------------------------------

    def _infer(self, inputs: Sequence[Array]) -> Inference:
        info = self.info
        raw = input_bytes(inputs, info)
        sent = sum(info.input_bytes[i] * times for i, times in info.transfers)
        total = sent + sum(info.output_bytes)
        self._send_inputs(raw, total)
        invoked = self._parse(wire.Invoked.parse, self._request(Kind.INVOKE, work=True))
        done = sent
        outputs = []
        for i, size in enumerate(info.output_bytes):
            data = self._read(Source.OUTPUT, i, size, done, total)
            outputs.append(np.frombuffer(data, np.uint8))
            done += size
        return Inference(tuple(outputs), invoked.cycles, invoked.stack_free)

    def _trace(self, inputs: Sequence[Array]) -> list[LayerTrace]:
        self._start_trace(inputs)
        traces = []
        for layer in self._layers:
            step = self._step(layer.index)
            traces.append(LayerTrace(layer.index, layer.name, layer.op, step.crc32, step.cycles))
        return traces

    def _layer_output(self, inputs: Sequence[Array], index: int) -> bytes:
        self._start_trace(inputs)
        step = self._step(index)
        data = self._read(Source.LAYER, index, step.size_bytes, 0, step.size_bytes)
        if zlib.crc32(data) != step.crc32:
            raise TargetError(
                f"layer {index} changed on {self._name} while it was read",
                expected=f"expected CRC-32 {step.crc32:08x}, received {zlib.crc32(data):08x}",
                hint="an interrupt or DMA writes into the arena",
            )
        return data

    def _start_trace(self, inputs: Sequence[Array]) -> None:
        info = self.info
        if not info.trace:
            raise TargetError(
                f"the firmware on {self._name} was built without trace hooks",
                hint="build it with -DTM_TRACE=1",
            )
        total = sum(info.input_bytes[i] * times for i, times in info.transfers)
        self._send_inputs(input_bytes(inputs, info), total)

    def _step(self, index: int) -> wire.Stepped:
        step = self._parse(wire.Stepped.parse, self._request(Kind.STEP, struct.pack("<H", index), work=True))
        if step.layer != index:
            raise self._malformed(struct.pack("<H", step.layer))
        return step

    def _send_inputs(self, raw: Sequence[bytes], total: int) -> None:
        chunk = self._payload - 5
        done = 0
        for i, times in self.info.transfers:
            data = raw[i]
            work = i == self.info.pushed_input  # the board computes as far as every row allows
            for first in range(0, times * len(data), len(data)):
                for offset in range(0, len(data), chunk):
                    part = data[offset : offset + chunk]
                    self._request(Kind.WRITE, struct.pack("<BI", i, first + offset) + part, work=work)
                    done += len(part)
                    self._report(done, total)

    def _read(self, source: Source, index: int, size: int, done: int, total: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            count = min(self._payload, size - len(data))
            part = self._request(Kind.READ, struct.pack("<BHIH", source, index, len(data), count))
            if len(part) != count:
                raise self._malformed(part)
            data += part
            self._report(done + len(data), total)
        return bytes(data)

    def _report(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)

    def _repeat_once(self, work: Callable[[], Result]) -> Result:
        self._ensure_open()
        try:
            return work()
        except BoardReset:
            self._open = False
        self._ensure_open()
        assert self._hello is not None
        if wire.Flags.FAULT in self._hello.flags:
            raise self._fault(self._parse(wire.Fault.parse, self._request(Kind.STATUS)))
        if self.info.stateful:
            raise TargetError(
                f"{self._name} restarted and has forgotten what {self.info.model} remembers",
                expected="expected an answer, received a new start of the same firmware",
                hint="begin the sequence of samples again; check the board's supply",
            )
        try:
            return work()
        except BoardReset as error:
            self._open = False
            raise TargetError(
                f"{self._name} restarted in the middle of a sample, and again when it was repeated",
                expected="expected an answer, received a new start of the same firmware",
                hint="check the board's supply; a watchdog of a bootloader may also be running",
            ) from error

    # -- one request --------------------------------------------------------------------------

    def _request(self, kind: Kind, payload: bytes = b"", *, work: bool = False) -> bytes:
        """Send a request until its reply comes; return the reply's payload."""
        self._seq = (self._seq + 1) & 0xFFFF
        data = wire.encode(Frame(kind, self._seq, self._session, payload))
        allowed = self._timing.answer + (self._work_seconds() if work else 0.0)
        heard = time.monotonic()
        pause = self._timing.retry
        while True:
            self._write(data)
            again = time.monotonic() + pause
            refused = False
            while not refused and time.monotonic() < again:
                for frame in self._receive():
                    reply = self._sort(frame, kind)
                    if reply is not None:
                        return self._accept(reply, kind)
                    if frame.kind == Kind.BUSY and frame.tag == self._boot:
                        heard = time.monotonic()  # slow, not dead
                        allowed = max(allowed, self._timing.answer + self._work_seconds())
                    refused = refused or frame.kind == Kind.NAK
            if time.monotonic() - heard > allowed:
                raise TargetError(
                    f"no answer from {self._name} to {kind.name}",
                    expected=f"silent for {time.monotonic() - heard:.1f} s after it had answered before",
                    hint="the board hangs or its wire came off: press its reset button and try again",
                )
            if not refused:
                pause = min(2 * pause, max(2.0, self._timing.retry))
                if self._wake is not None:
                    self._wake()

    def _sort(self, frame: Frame, kind: Kind) -> Frame | None:
        """Return the frame if it answers the request under way; raise if it tells of a restart."""
        if frame.kind == Kind.FAULT and frame.tag == self._boot:
            raise self._fault(self._parse(wire.Fault.parse, frame.payload))
        if frame.kind == Kind.READY and frame.tag != self._boot:
            raise self._restarted()
        if frame.kind != kind | wire.REPLY or frame.seq != self._seq:
            return None  # an answer to something earlier
        if frame.status == Status.NO_SESSION or frame.tag != self._boot:
            raise self._restarted()
        return frame

    def _accept(self, frame: Frame, kind: Kind) -> bytes:
        if frame.status == Status.OK:
            return frame.payload
        name = Status(frame.status).name if frame.status in set(Status) else f"status {frame.status}"
        if frame.status == Status.INVOKE_FAILED and len(frame.payload) >= 4:
            (result,) = struct.unpack_from("<i", frame.payload)
            function = "push_row()" if kind == Kind.WRITE else "invoke()"
            raise TargetError(
                f"the model's {function} failed on {self._name}",
                expected=f"expected 0, received {result}",
                hint="see the result codes in tm_model.h",
            )
        raise TargetError(
            f"{self._name} refused {kind.name}: {name}",
            hint="host and firmware disagree on the protocol: flash the firmware again with `tinyml flash`",
        )

    def _work_seconds(self) -> float:
        """How long a board may be silent while it computes.

        40 cycles per multiply-accumulate and 400 per output byte is several times slower than
        portable C on a Cortex-M0. With trace hooks a board speaks up between layers, so that the
        longest layer counts, else their sum.
        """
        assert self._info is not None
        cycles = [40.0 * layer.macs + 400.0 * layer.size_bytes for layer in self._layers] or [0.0]
        longest = max(cycles) if self._info.trace else sum(cycles)
        return self._timing.patience + longest / max(self._info.clock_hz, 1_000_000)

    def _fault(self, fault: wire.Fault) -> BoardFault:
        self._open = False
        where = "outside any layer"
        if fault.layer is not None:
            where = f"in layer {fault.layer}"
            if fault.layer < len(self._layers):
                layer = self._layers[fault.layer]
                where += f", {layer.op}, output {layer.name}"
        return BoardFault(
            f"{self._name} faulted {where}",
            fault,
            hint="find the line with: arm-none-eabi-addr2line -e firmware.elf "
            f"0x{fault.pc:08x}" + ("; the stack is too small" if fault.stack_free == 0 else ""),
        )

    def _restarted(self) -> BoardReset:
        self._open = False
        return BoardReset(
            f"{self._name} restarted in the middle of a request",
            hint="check the board's supply; a watchdog of a bootloader may also be running",
        )

    def _malformed(self, payload: bytes) -> TargetError:
        return TargetError(
            f"malformed answer from {self._name}",
            expected=f"received {payload[:32].hex(' ') or 'nothing'} in an intact frame",
            hint="host and firmware disagree on the protocol: flash the firmware again with `tinyml flash`",
        )

    def _parse(self, parse: Callable[[bytes], Result], payload: bytes) -> Result:
        try:
            return parse(payload)
        except (struct.error, ValueError) as error:
            raise self._malformed(payload) from error

    # -- bytes --------------------------------------------------------------------------------

    def _receive(self) -> list[Frame]:
        try:
            data = self._port.read(max(1, self._port.in_waiting))
        except OSError as error:
            raise self._vanished(error) from error
        return self._reader.feed(data)

    def _write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except OSError as error:
            raise self._vanished(error) from error

    def _vanished(self, error: OSError) -> TargetError:
        self._open = False
        reason = self._explain() if self._explain is not None else ""
        return TargetError(
            f"port vanished: {self._name}",
            where=reason,
            expected=f"the system says: {error}",
            hint="check the cable and the board's supply, then run the command again",
        )
