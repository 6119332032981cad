"""Boards: `boards/<id>.json` → `Board`.

A board file is PlatformIO's manifest with a `tinyml` object (`boards/schema/board.schema.json`); planner,
linker script, PlatformIO and `tinyml boards` read the same one, so no fact is written twice. A variant
names what it `extends` and states only its differences. A real board may name an emulated `twin`: the
machine that runs its images, with the real board's memory sizes at the machine's addresses.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import itertools
import json
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema

from tinyml import resources
from tinyml.errors import BoardError

TWIN_SUFFIX = "_twin"  # load("stm32f746_twin") is the emulated twin of stm32f746


@dataclass(frozen=True, slots=True)
class Region:
    """A memory of the chip, or a run of memories that touch. `size_bytes` bytes from `origin`."""

    name: str
    origin: int
    size_bytes: int
    access: str  # "rx" | "rw" | "rwx"
    note: str = ""

    @property
    def end(self) -> int:
        """The first address behind the region."""
        return self.origin + self.size_bytes


@dataclass(frozen=True, slots=True)
class FlashCache:
    """What stands between the core and its flash: lines of `line_bytes`, kept for code and for data.

    With `prefetch` the line behind the last fetched one is read ahead.
    """

    line_bytes: int
    code_lines: int
    data_lines: int
    prefetch: bool


@dataclass(frozen=True, slots=True)
class Uart:
    """The serial port the firmware speaks on. Pins are the chip's names, or empty in an emulator."""

    kind: str  # the driver: runtime_c/port/uart_<kind>.c
    base: int
    irqs: tuple[int, ...]
    baud: int
    tx: str
    rx: str
    via: str  # how a computer reaches it, a sentence


@dataclass(frozen=True, slots=True)
class Emulator:
    """How to start the machine: `program -M machine -kernel ELF args`; the UART is port `serial_index`."""

    program: str
    machine: str
    serial_index: int
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vendor:
    """The same board in PlatformIO's registry, for firmware on the vendor's own framework."""

    platform: str
    board: str
    framework: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was really run: level "compiled" < "emulated" < "measured" ("host" for the host)."""

    level: str
    how: str


@dataclass(frozen=True, slots=True)
class Source:
    """The document or public code that facts of the board file were taken from or compared with."""

    document: str
    section: str
    facts: str
    checked: str  # "read" | "header" | "vendor code" | "other code" | "run" | "not opened" | "not confirmed"


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """A board as every later step sees it. All sizes in bytes.

    `flash` and `ram` are the linker's two regions. `sram_bytes` is the most an arena may take: RAM less
    the reserves for stack and static data. Both are None on the host, which sets no limit.
    `manifest` is the resolved board file; a generated project carries it as `boards/<id>.json`.
    """

    id: str
    name: str
    core: str  # "cortex-m7", …, "host"
    isa: tuple[str, ...]  # of kernels.registry.Isa, plainest first
    clock_hz: int | None
    memory: tuple[Region, ...]
    flash: Region | None
    ram: Region | None
    stack_bytes: int
    static_bytes: int
    flash_wait_states: int
    flash_cache: FlashCache | None  # None where it is not known
    cycle_counter: str  # "dwt" | "systick" | "nrf_timer" | "" (host)
    uart: Uart | None
    usb_ids: tuple[tuple[int, int], ...]  # (vendor, product)
    emulator: Emulator | None
    twin: str | None
    vendor: Vendor | None
    upload_protocol: str
    evidence: dict[str, Evidence]
    sources: tuple[Source, ...]
    path: Path
    manifest: dict[str, Any] = field(repr=False)

    @property
    def sram_bytes(self) -> int | None:
        """Bytes of RAM an arena may take, or None where there is no limit (host)."""
        return None if self.ram is None else self.ram.size_bytes - self.stack_bytes - self.static_bytes

    @property
    def flash_bytes(self) -> int | None:
        """Bytes of flash for code and constants, or None where there is no limit (host)."""
        return None if self.flash is None else self.flash.size_bytes

    @property
    def is_host(self) -> bool:
        """Whether this is the computer itself."""
        return self.core == "host"

    def emulated(self) -> Board | None:
        """Return the board whose image an emulator runs: itself, its twin, or None where it has neither.

        The twin has the machine's addresses, UART and clock and this board's core flags, memory sizes
        and reserves, so that an image too large for this board fails to link for its twin too.
        """
        if self.emulator is not None:
            return self
        return _twin_of(self) if self.twin else None

    def to_json(self) -> dict[str, Any]:
        """Return the board as plain values."""
        values = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("manifest", "memory", "flash", "ram")
        }
        for name in ("uart", "emulator", "vendor", "flash_cache"):
            values[name] = None if values[name] is None else dataclasses.asdict(values[name])
        values["evidence"] = {k: dataclasses.asdict(v) for k, v in self.evidence.items()}
        values["sources"] = [dataclasses.asdict(s) for s in self.sources]
        values["memory"] = [dataclasses.asdict(r) for r in self.memory]
        values["path"] = str(self.path)
        values["sram_bytes"] = self.sram_bytes
        values["flash_bytes"] = self.flash_bytes
        return values


def load(id_or_path: str | Path) -> Board:
    """Return a board by its id, by the id of its twin ("…_twin"), or from a file of the user's own.

    Raises:
        BoardError: no such board (with the nearest names), or the file is not JSON, breaks the schema, or
            contradicts itself (regions that overlap, a clock tree that gives another clock, …).
    """
    text = str(id_or_path)
    if isinstance(id_or_path, Path) or text.endswith(".json") or "/" in text:
        return _board(Path(text))
    known = board_ids()
    if text in known:
        return _board(resources.boards_dir() / f"{text}.json")
    if text.removesuffix(TWIN_SUFFIX) in known:
        twin = load(text.removesuffix(TWIN_SUFFIX)).emulated()
        if twin is not None and twin.id == text:
            return twin
    # "f746zg" should find "nucleo_f746zg": compare the parts of a name too.
    near = difflib.get_close_matches(text.lower(), known, n=3, cutoff=0.5)
    near += [k for k in known if k not in near and text and text.lower() in k]
    raise BoardError(
        f"there is no board '{text}'",
        where=f"in {resources.boards_dir()}",
        expected=f"nearest: {', '.join(near[:4])}" if near else f"known: {', '.join(known)}",
        hint="list them with `tinyml boards`, or give the path of a board file (docs/add-a-board.md)",
    )


def board_ids() -> list[str]:
    """Return the ids of all boards that ship with the package, sorted."""
    return sorted(p.stem for p in resources.boards_dir().glob("*.json"))


def all_boards() -> list[Board]:
    """Return all boards that ship with the package, sorted by id."""
    return [load(name) for name in board_ids()]


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not (path.is_file() or path.is_fifo()):
            raise BoardError("the board file is no file", where=str(path), expected="expected a JSON file")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BoardError("the board file does not exist", where=str(path)) from None
    except (OSError, UnicodeDecodeError) as e:
        raise BoardError("the board file cannot be read", where=str(path), expected=str(e)) from None
    except (ValueError, RecursionError) as e:  # ValueError: also of numbers with thousands of digits
        raise BoardError("the board file is not JSON", where=str(path), expected=str(e)) from None
    if not isinstance(value, dict):
        raise _broken(path, "$", "a JSON object", value)
    return value


def _broken(path: Path, where: str, expected: str, received: object) -> BoardError:
    got = json.dumps(received, default=str)
    return BoardError(
        "the board file breaks the schema of boards",
        where=f"{path}: {where}",
        expected=f"expected {expected}, received {got if len(got) <= 80 else got[:77] + '...'}",
        hint="boards/schema/board.schema.json and docs/add-a-board.md describe every key",
    )


def _merged(base: Any, change: Any) -> Any:
    """Return `base` with the keys of `change` replaced; null deletes a key; lists are replaced whole."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return copy.deepcopy(change)
    out = dict(base)
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merged(base[key], value) if key in base else copy.deepcopy(value)
    return out


def _manifest(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the file's JSON with `tinyml.extends` resolved."""
    raw = _read(path)
    own = raw.get("tinyml")
    parent = own.get("extends") if isinstance(own, dict) else None
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise _broken(path, "$.tinyml.extends", "the id of a board", parent)
    beside, shipped = path.parent / f"{parent}.json", resources.boards_dir() / f"{parent}.json"
    source = beside if beside.is_file() else shipped
    if not source.is_file():
        raise _broken(path, "$.tinyml.extends", f"one of {', '.join(board_ids())}", parent)
    if source.resolve() in seen or source.resolve() == path.resolve():
        raise _broken(path, "$.tinyml.extends", "a board that does not lead back here", parent)
    merged: dict[str, Any] = _merged(_manifest(source, (*seen, path.resolve())), raw)
    del merged["tinyml"]["extends"]
    return merged


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    text = (resources.boards_dir() / "schema" / "board.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


def _expected(error: jsonschema.ValidationError) -> str:
    """Say in words what a failed schema keyword asked for."""
    rule: Any = error.validator_value
    instance: Any = error.instance
    match error.validator:
        case "type":
            return f"a value of type {rule if isinstance(rule, str) else ' or '.join(rule)}"
        case "enum":
            return "one of " + ", ".join(map(str, rule))
        case "required":
            missing = [k for k in rule if k not in instance]
            return f"the key {', '.join(map(repr, missing))}"
        case "additionalProperties":
            return f"only known keys ({error.message})"
        case "pattern":
            return f"text that matches {rule}"
        case _:
            return error.message


def _check_schema(path: Path, manifest: dict[str, Any]) -> None:
    error = jsonschema.exceptions.best_match(_validator().iter_errors(manifest))
    if error is not None:
        raise _broken(path, error.json_path, _expected(error), error.instance)


def _regions(path: Path, memory: dict[str, Any]) -> dict[str, Region]:
    regions = {
        name: Region(name, int(r["origin"], 16), r["size"], r["access"], r.get("note", ""))
        for name, r in memory.items()
    }
    ordered = sorted(regions.values(), key=lambda r: r.origin)
    for low, high in itertools.pairwise(ordered):
        if high.origin < low.end:
            raise _broken(
                path,
                f"$.tinyml.memory.{high.name}",
                f"an origin from {low.end:#x} on, where {low.name} ends",
                f"{high.origin:#x}",
            )
    for r in ordered:
        if r.end > 1 << 32:
            raise _broken(path, f"$.tinyml.memory.{r.name}", "an end below 4 GiB", f"{r.end:#x}")
    return regions


def _run(path: Path, key: str, names: list[str], regions: dict[str, Region], access: str) -> Region:
    """Join regions that touch into one; the name is the linker's."""
    for i, name in enumerate(names):
        where = f"$.tinyml.{key}[{i}]"
        if name not in regions:
            raise _broken(path, where, f"a region of tinyml.memory ({', '.join(regions)})", name)
        if not set(access) <= set(regions[name].access):
            raise _broken(path, where, f"a region with access '{access}'", f"{name}: {regions[name].access}")
        if i and regions[name].origin != regions[names[i - 1]].end:
            before = regions[names[i - 1]]
            raise _broken(
                path,
                where,
                f"a region that touches {before.name}, which ends at {before.end:#x}",
                f"{name} at {regions[name].origin:#x}",
            )
    first, last = regions[names[0]], regions[names[-1]]
    return Region(key.upper(), first.origin, last.end - first.origin, access)


def _check_clock(path: Path, clock: dict[str, Any], clock_hz: int) -> None:
    """The PLL of the file must give the core clock of the file."""
    pll = clock.get("pll")
    if pll is None:
        return
    if "source_hz" not in clock or "source" not in clock:
        raise _broken(path, "$.tinyml.clock", "the keys 'source' and 'source_hz' beside 'pll'", clock)
    hz = Fraction(clock["source_hz"], pll["m"]) * pll["n"] / pll["p"] / pll.get("p2", 1)
    if hz != clock_hz:
        raise _broken(
            path,
            "$.tinyml.clock.pll",
            f"dividers that give build.f_cpu = {clock_hz} Hz",
            f"{float(hz):.0f} Hz",
        )


def _board(path: Path, manifest: dict[str, Any] | None = None, board_id: str | None = None) -> Board:
    """Build a Board from a file, or from an already resolved manifest (a twin's)."""
    if manifest is None:
        manifest = _manifest(path)
    _check_schema(path, manifest)
    board_id = board_id or path.stem
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", board_id):
        raise _broken(path, "the file's name", "lower-case letters, digits, '-' and '_'", board_id)
    build, own = manifest["build"], manifest["tinyml"]
    flash = ram = None
    uart = None
    regions: dict[str, Region] = {}
    clock_hz = int(build["f_cpu"].rstrip("L")) if "f_cpu" in build else None
    if build["cpu"] != "host":
        assert clock_hz is not None
        regions = _regions(path, own["memory"])
        flash = _run(path, "flash", own["flash"], regions, "rx")
        ram = _run(path, "ram", own["ram"], regions, "rw")
        _check_clock(path, own["clock"], clock_hz)
        reserved = own["reserve"]["stack"] + own["reserve"]["static"]
        if reserved >= ram.size_bytes:
            raise _broken(path, "$.tinyml.reserve", f"less than the {ram.size_bytes} bytes of RAM", reserved)
        u = own["uart"]
        uart = Uart(
            u["kind"],
            int(u["base"], 16),
            tuple(u["irq"]),
            u["baud"],
            u.get("tx", ""),
            u.get("rx", ""),
            u["via"],
        )
    emulator = own.get("emulator")
    vendor = own.get("vendor")
    cache = own.get("clock", {}).get("flash_cache")
    return Board(
        id=board_id,
        name=manifest["name"],
        core=build["cpu"],
        isa=tuple(own["isa"]),
        clock_hz=clock_hz,
        memory=tuple(regions.values()),
        flash=flash,
        ram=ram,
        stack_bytes=own.get("reserve", {}).get("stack", 0),
        static_bytes=own.get("reserve", {}).get("static", 0),
        flash_wait_states=own.get("clock", {}).get("flash_wait_states", 0),
        flash_cache=FlashCache(**cache) if cache else None,
        cycle_counter=own.get("cycle_counter", ""),
        uart=uart,
        usb_ids=tuple((int(v, 16), int(p, 16)) for v, p in build.get("hwids", [])),
        emulator=Emulator(**{**emulator, "args": tuple(emulator["args"])}) if emulator else None,
        twin=own.get("twin"),
        vendor=Vendor(**vendor) if vendor else None,
        upload_protocol=manifest.get("upload", {}).get("protocol", ""),
        evidence={k: Evidence(**v) for k, v in own["evidence"].items()},
        sources=tuple(Source(s["document"], s["section"], s["for"], s["checked"]) for s in own["sources"]),
        path=path,
        manifest=manifest,
    )


def _twin_of(board: Board) -> Board:
    assert board.twin is not None
    assert board.flash is not None
    assert board.ram is not None
    if board.twin not in board_ids():
        raise _broken(board.path, "$.tinyml.twin", f"one of {', '.join(board_ids())}", board.twin)
    machine = load(board.twin)
    if machine.emulator is None or machine.flash is None or machine.ram is None:
        raise _broken(board.path, "$.tinyml.twin", "an emulated board", board.twin)
    for mine, its in ((board.flash, machine.flash), (board.ram, machine.ram)):
        if mine.size_bytes > its.size_bytes:
            raise _broken(
                board.path,
                "$.tinyml.twin",
                f"a machine with {mine.size_bytes} bytes of {mine.name}",
                its.size_bytes,
            )
    manifest = copy.deepcopy(board.manifest)
    theirs = machine.manifest["tinyml"]
    manifest["name"] = f"{board.name}, emulated on {machine.emulator.machine}"
    manifest["build"]["f_cpu"] = machine.manifest["build"]["f_cpu"]
    manifest["build"]["hwids"] = []
    manifest["upload"] = copy.deepcopy(machine.manifest["upload"])
    manifest.pop("debug", None)
    own = manifest["tinyml"]
    for key in ("clock", "uart", "cycle_counter", "emulator"):
        own[key] = copy.deepcopy(theirs[key])
    own["memory"] = {
        name: {"origin": f"{its.origin:#010x}", "size": mine.size_bytes, "access": its.access}
        for name, mine, its in (("FLASH", board.flash, machine.flash), ("RAM", board.ram, machine.ram))
    }
    own["memory"]["RAM"]["access"] = "rwx"
    own["flash"], own["ram"] = ["FLASH"], ["RAM"]
    own["evidence"] = {**copy.deepcopy(theirs["evidence"])}
    for key in ("twin", "vendor"):
        own.pop(key, None)
    return _board(board.path, manifest, board.id + TWIN_SUFFIX)
