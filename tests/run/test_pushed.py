"""A model whose image is pushed row by row, over the link: no row is lost, doubled or taken out of turn."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run import pushed
from tests.run.lines import BadLine, Faults
from tests.run.test_link import FAST, HELLO, Client, resetting
from tinyml import boards
from tinyml.errors import TargetError
from tinyml.graph import Array
from tinyml.run import wire
from tinyml.run.host import HostTarget, LinkedHostTarget, build_host_library
from tinyml.run.link import BoardFault
from tinyml.run.profile import profile
from tinyml.run.qemu import QemuTarget
from tinyml.run.target import Target
from tinyml.run.wire import Frame, Kind, Status
from tinyml.toolchain import gcc


def check(target: Target, seed: int) -> None:
    inputs = pushed.inputs(seed)
    assert [o.tobytes() for o in target.infer(inputs).outputs] == pushed.layers(*inputs)


def check_everything(target: Target, seed: int) -> None:
    inputs = pushed.inputs(seed)
    assert [t.crc32 for t in target.trace(inputs)] == pushed.crcs(*inputs)
    for index in range(2):
        assert target.layer_output(inputs, index) == pushed.layers(*inputs)[index]
        check(target, seed + 1)


# ---- both ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", [33, 64, 256])
def test_every_request_over_a_good_line(pushed_program: Path, packet: int) -> None:
    moved: list[tuple[int, int]] = []
    with LinkedHostTarget(
        pushed_program, packet=packet, progress=lambda done, total: moved.append((done, total))
    ) as target:
        info = target.info
        assert (info.input_bytes, info.output_bytes, info.arena_bytes) == ((300, 40), (300, 8), 400)
        assert (info.pushed_input, info.pushed_rows, info.row_bytes) == (0, 12, 50)
        assert info.transfers == ((1, 1), (0, 2))  # the image last, and twice
        for seed in range(3):
            moved.clear()
            check(target, seed)
            assert moved[-1] == (40 + 600 + 308, 40 + 600 + 308)
            assert moved == sorted(moved)
        check_everything(target, 5)
        inputs = pushed.inputs(9)
        assert all(t.cycles is not None and t.cycles > 0 for t in target.trace(inputs))


def test_the_host_library_pushes_rows_too(pushed_project: Path, tmp_path: Path) -> None:
    library = build_host_library(pushed_project, "pushed", tmp_path / "pushed.so", sanitize=True)
    with HostTarget(library, "pushed") as target:
        assert (target.info.pushed_input, target.info.pushed_rows, target.info.row_bytes) == (0, 12, 50)
        check(target, 0)
        check_everything(target, 1)
        with pytest.raises(TargetError, match=r"pushed_push_row\(\) failed") as error:
            target.infer(pushed.inputs(0, trouble=2))
        assert "received -9" in error.value.expected
        with pytest.raises(TargetError, match=r"pushed_invoke\(\) failed"):
            target.infer(pushed.inputs(0, trouble=3))
        check(target, 2)


@pytest.mark.parametrize("packet", [33, 256])
@pytest.mark.parametrize("seed", range(3))
def test_the_bytes_are_right_over_a_bad_line(pushed_program: Path, seed: int, packet: int) -> None:
    with LinkedHostTarget(
        pushed_program, timing=FAST, packet=packet, wrap=lambda port: BadLine(port, seed, Faults.all(0.04))
    ) as target:
        check(target, seed)
        check_everything(target, seed + 50)


@pytest.mark.parametrize("kind", ["lose", "double", "delay"])
def test_the_bytes_are_right_with_one_kind_of_fault(pushed_program: Path, kind: str) -> None:
    faults = Faults(**{kind: 0.3})
    with LinkedHostTarget(pushed_program, timing=FAST, wrap=lambda port: BadLine(port, 7, faults)) as target:
        for seed in range(3):
            check(target, seed)


@pytest.mark.parametrize("at", range(9, 17))
def test_a_restart_in_the_middle_of_an_image_loses_nothing(pushed_program: Path, at: int) -> None:
    holder: dict[str, LinkedHostTarget] = {}
    line = resetting(holder, {at})
    target = LinkedHostTarget(pushed_program, timing=FAST, packet=128, wrap=line)
    holder["target"] = target
    with target:
        for seed in range(3):
            check(target, seed)


def test_a_failing_row_and_a_failing_invoke_are_two_messages(pushed_program: Path) -> None:
    with LinkedHostTarget(pushed_program, timing=FAST) as target:
        for call in (target.infer, target.trace):
            with pytest.raises(TargetError, match=r"push_row\(\) failed") as error:
                call(pushed.inputs(0, trouble=2))
            assert "received -9" in error.value.expected
            with pytest.raises(TargetError, match=r"invoke\(\) failed") as error:
                call(pushed.inputs(0, trouble=3))
            assert "received -7" in error.value.expected
            check(target, 1)


def test_a_fault_in_a_row_names_its_layer(pushed_program: Path) -> None:
    with LinkedHostTarget(
        pushed_program, timing=FAST, environment={"ASAN_OPTIONS": "handle_segv=0"}
    ) as target:
        with pytest.raises(BoardFault, match="faulted in layer 0, CONV_2D, output y"):
            target.infer(pushed.inputs(0, trouble=1))
        check(target, 1)


# ---- the board's end, fed by hand -------------------------------------------------------------------


class Rows(Client):
    """Sends single requests to the model in one session."""

    def __init__(self, program: Path) -> None:
        super().__init__(program)
        self.seq = 0
        assert self.ask(Kind.HELLO, 0, 9, HELLO).status == Status.OK

    def request(self, kind: Kind, payload: bytes = b"", *, times: int = 1) -> Frame:
        """Send a request, `times` over; all the answers are the same."""
        self.seq += 1
        for _ in range(times):
            self.send(kind, self.seq, 9, payload)
        replies = self.collect(times, {kind | wire.REPLY})
        assert all(reply == replies[0] for reply in replies)
        return replies[0]

    def write(self, which: int, offset: int, data: bytes, *, times: int = 1) -> int:
        return self.request(Kind.WRITE, struct.pack("<BI", which, offset) + data, times=times).status

    def start(self, x: Array, b: Array, rows: bytes = b"") -> None:
        assert self.write(1, 0, b.tobytes()) == Status.OK
        for offset in range(0, len(rows), 100):
            assert self.write(0, offset, rows[offset : offset + 100]) == Status.OK

    def result(self) -> tuple[int, int]:
        """INVOKE; return its status and result."""
        reply = self.request(Kind.INVOKE)
        return reply.status, struct.unpack_from("<i", reply.payload)[0]

    def outputs(self) -> list[bytes]:
        read = [(0, 0, 200), (0, 200, 100), (1, 0, 8)]
        parts = [self.request(Kind.READ, struct.pack("<BHIH", 0, *where)) for where in read]
        assert [part.status for part in parts] == [Status.OK] * 3
        return [parts[0].payload + parts[1].payload, parts[2].payload]


@pytest.fixture
def board(pushed_program: Path) -> Iterator[Rows]:
    board = Rows(pushed_program)
    yield board
    board.close()


NO_ROWS = (Status.INVOKE_FAILED, -3)


def sent(x: Array) -> bytes:
    return x.tobytes() * pushed.TIMES


@pytest.mark.parametrize("seed", range(12))
def test_chunks_may_be_split_anywhere_and_repeated(board: Rows, seed: int) -> None:
    rng = random.Random(seed)
    x, b = pushed.inputs(seed)
    data = sent(x)
    board.start(x, b)
    at = 0
    while at < len(data):
        size = rng.choice([0, 1, 49, 50, 51, 100, rng.randrange(237)]) if seed else 1
        assert board.write(0, at, data[at : at + size], times=rng.randint(1, 3)) == Status.OK
        at = min(len(data), at + size)
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)


def test_rows_that_are_missing_are_an_error(board: Rows) -> None:
    x, b = pushed.inputs(0)
    assert board.result() == NO_ROWS
    for count in (1, 49, 50, 300, 550, 599):  # also the image only once
        board.start(x, b, sent(x)[:count])
        assert board.result() == NO_ROWS
        reply = board.request(Kind.STEP, b"\0\0")
        assert (reply.status, reply.payload[:4]) == (Status.INVOKE_FAILED, struct.pack("<i", -3))
        assert board.request(Kind.READ, struct.pack("<BHIH", 1, 0, 0, 1)).status == Status.BAD_STATE
    board.start(x, b, sent(x))
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)
    assert board.result() == NO_ROWS  # they are used up
    assert board.request(Kind.READ, struct.pack("<BHIH", 0, 0, 0, 1)).status == Status.BAD_STATE


def test_bytes_out_of_sequence_change_nothing(board: Rows) -> None:
    x, b = pushed.inputs(1)
    data = sent(x)
    board.start(x, b, data[:120])
    for offset in (1, 50, 100, 119, 121, 300, 600, 0xFFFFFFFF):
        assert board.write(0, offset, b"\x11" * 10) == Status.BAD_STATE
    for offset in range(120, 600, 96):
        assert board.write(0, offset, data[offset : offset + 96]) == Status.OK
    assert board.write(0, 600, b"\x11") == Status.BAD_ARGUMENT
    assert board.write(0, 600, b"") == Status.OK
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)
    board.start(x, b, data[:500])
    assert board.write(0, 500, data[500:] + b"\x11") == Status.BAD_ARGUMENT  # a byte too many


@pytest.mark.parametrize("count", [1, 50, 299, 300, 420, 600])
def test_offset_0_begins_a_new_image(board: Rows, count: int) -> None:
    abandoned, b = pushed.inputs(2)
    board.start(abandoned, b, sent(abandoned)[:count])
    x, b = pushed.inputs(3)
    board.start(x, b, sent(x))
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)


def test_another_input_in_the_middle_drops_the_rows(board: Rows) -> None:
    x, b = pushed.inputs(4)
    data = sent(x)
    board.start(x, b, data[:200])
    assert board.write(1, 0, b.tobytes()) == Status.OK
    assert board.write(0, 200, data[200:300]) == Status.BAD_STATE
    assert board.result() == NO_ROWS
    board.start(x, b, data)
    assert board.write(1, 39, b.tobytes()[39:]) == Status.OK
    assert board.result() == NO_ROWS


def test_a_reset_in_the_middle_of_an_image(board: Rows) -> None:
    x, b = pushed.inputs(5)
    board.start(x, b, sent(x)[:350])
    assert board.request(Kind.RESET).status == Status.OK
    assert board.ask(Kind.HELLO, board.seq, 9, HELLO).status == Status.OK
    assert board.write(0, 350, sent(x)[350:400]) == Status.BAD_STATE
    assert board.result() == NO_ROWS
    board.start(x, b, sent(x))
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)


def test_a_trace_that_is_left_and_taken_up(board: Rows) -> None:
    """STEP 0 answers from the rows that have come; WRITE and INVOKE may follow it, or another STEP."""
    x, b = pushed.inputs(6)
    for step in (b"\0\0", b"\1\0"):
        board.start(x, b, sent(x))
        reply = board.request(Kind.STEP, step)
        assert reply.status == Status.OK
        assert wire.Stepped.parse(reply.payload).crc32 == pushed.crcs(x, b)[step[0]]
        (first,) = struct.unpack("<H", step)
        data = board.request(Kind.READ, struct.pack("<BHIH", 1, first, 0, 8))
        assert data.payload == pushed.layers(x, b)[first][:8]
        other = board.request(Kind.READ, struct.pack("<BHIH", 1, 1 - first, 0, 8))
        assert other.status == Status.BAD_STATE
    board.start(x, b, sent(x))
    assert board.request(Kind.STEP, b"\0\0").status == Status.OK
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_do_no_harm(board: Rows, seed: int) -> None:
    """Rows in and out of sequence, steps and inferences between them: the sanitizers watch."""
    rng = random.Random(seed)
    at = 0
    for _ in range(1500):
        kind = rng.choice([Kind.WRITE] * 6 + [Kind.INVOKE, Kind.STEP, Kind.READ])
        payload = {Kind.STEP: bytes([rng.randrange(3), 0]), Kind.INVOKE: b""}.get(
            kind, struct.pack("<BHIH", rng.randrange(3), rng.randrange(3), rng.randrange(310), 8)
        )
        if kind is Kind.WRITE:
            which = int(rng.random() < 0.03)
            at = rng.choice([at] * 8 + [0, rng.randrange(700), 0xFFFFFFF0])
            data = rng.randbytes(rng.randrange(200))
            data = bytes(len(data)) if which else data  # never b[0] = 0x7E
            payload = struct.pack("<BI", which, at) + data
        status = board.request(kind, payload, times=rng.randint(1, 2)).status
        if kind is Kind.WRITE and status == Status.OK:
            at += len(payload) - 5
    x, b = pushed.inputs(seed)
    board.start(x, b, sent(x))
    assert board.result() == (Status.OK, 0)
    assert board.outputs() == pushed.layers(x, b)


# ---- an emulated board ------------------------------------------------------------------------------


def test_an_emulated_board_takes_rows_and_counts_them_in(pushed_project: Path) -> None:
    board = boards.load("mps2-an386")
    elf = gcc.build(pushed_project, board, defines=["TM_TRACE=1"]).elf
    with QemuTarget(elf, board) as target:
        check(target, 0)
        check_everything(target, 1)
        with pytest.raises(BoardFault, match="faulted in layer 0"):
            target.infer(pushed.inputs(0, trouble=1))
        check(target, 2)
    inputs = pushed.inputs(3)
    first = profile(elf, board, "pushed", inputs)
    assert first == profile(elf, board, "pushed", inputs)
    assert first.instructions == first.outside.instructions + sum(
        layer.instructions for layer in first.layers
    )
    assert first.layers[0].instructions > 2 * pushed.SENT_BYTES  # every row of them
    assert first.outside.instructions > 12 * 10  # push_row()'s own code
    called = {"pushed_push_row", "pushed_invoke"}
    assert called <= set(first.functions) <= called | {"memcpy", "memset", "-"}
    # A build without hooks is the judge, as for a model that is there as a whole.
    plain = profile(gcc.build(pushed_project, board, name="plain").elf, board, "pushed", inputs)
    assert plain.layers == ()
    assert abs(plain.instructions - first.instructions) <= 4 * 12 + 8


def test_a_loop_in_a_row_counts_to_the_instruction(pushed_project: Path) -> None:
    board = boards.load("mps2-an386")
    elf = gcc.build(pushed_project, board, name="loop", defines=["TM_TRACE=1"]).elf
    totals = [
        profile(elf, board, "pushed", pushed.inputs(0, trouble=4, amount=n)).layers[0].instructions
        for n in (1, 2)
    ]
    turn, rest = divmod(totals[1] - totals[0], 10_000_000)
    assert rest == 0
    assert 2 <= turn <= 6
