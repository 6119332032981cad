"""Arenas of the networks that memory planners are compared on, from builds that ran, beside published ones.

    python tools/bench_memory.py [--instructions] [--json] [--write] [NAME ...]

Every plan of CONFIGURATIONS is generated, compiled, run and compared with TensorFlow Lite, twice: as portable
C on this computer and with the DSP kernels, which want more scratch, on the emulated Cortex-M4 of BOARD.
Networks whose file is absent are left out with a line that says so. `--write` fills the table in
docs/memory.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import PEERS, ROOT, Built, run_build, write_between_marks
from rich.console import Console
from rich.table import Table

from tinyml import __version__
from tinyml.build import PatchSchedule, Planning
from tinyml.errors import DoesNotFit
from tinyml.planner import Plan

PAGE = ROOT / "docs" / "memory.md"
BOARD = "mps2-an386"
SAMPLES = 4
EMULATED_SAMPLES = 2
SHARED = Path(os.environ.get("TINYML_SHARED") or ROOT.parent / "shared") / "models"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A way to plan.

    Args:
        name: as the table calls it.
        planning: the arguments of the planner.
        models: only these networks; all where empty.
        aims: arena bytes that the project set itself, by network.
    """

    name: str
    planning: Planning
    models: tuple[str, ...] = ()
    aims: dict[str, int] = dataclasses.field(default_factory=dict)


MODELS = {
    **{
        name: SHARED / f"{name}.tflite"
        for name in ("kws", "vww96", "resnet8", "mcunet_vww", "mcunet_det", "mcunetv2_large")
    },
    "mobilenetv2_035_144": ROOT / "examples" / "mobilenetv2" / "mobilenetv2_035_144.tflite",
    "mobilenetv2_100_224": ROOT / "build" / "models" / "mobilenetv2_100_224.tflite",
}
# The first one is what instructions are held against.
CONFIGURATIONS = (
    Configuration("layer by layer", Planning(schedule="layer")),
    Configuration(
        "streamed",
        Planning(schedule="stream"),
        aims={
            "kws": 6_500,
            "vww96": 31_000,
            "resnet8": 17_500,
            "mcunet_vww": 26_000,
            "mcunet_det": 85_000,
            "mcunetv2_large": 260_000,
            "mobilenetv2_035_144": 67 * 1024,
            "mobilenetv2_100_224": 196 * 1024,
        },
    ),
    Configuration("smallest arena", Planning(objective="sram")),
    Configuration(
        "smallest arena, some computed twice",
        Planning(objective="sram", max_overhead=0.2),
        models=("mcunetv2_large",),
        aims={"mcunetv2_large": 260_000},
    ),
    Configuration(
        "image pushed",
        Planning(objective="sram", stream_input=True, max_overhead=0.0),
        aims={
            "vww96": 20_000,
            "mcunet_vww": 17_500,
            "mobilenetv2_035_144": 27 * 1024,
            "mobilenetv2_100_224": 120 * 1024,
        },
    ),
    Configuration(
        "image pushed, up to 1 % twice",
        Planning(objective="sram", stream_input=True, max_overhead=0.01),
        models=("mobilenetv2_035_144",),
        aims={"mobilenetv2_035_144": 18_944},
    ),
    Configuration(
        "image pushed, up to 3 % twice",
        Planning(objective="sram", stream_input=True, max_overhead=0.03),
        models=("mobilenetv2_100_224",),
        aims={"mobilenetv2_100_224": 65 * 1024},
    ),
    Configuration(
        "image pushed, up to 5 % twice",
        Planning(objective="sram", stream_input=True, max_overhead=0.05),
        models=("vww96", "mcunet_vww"),
        aims={"vww96": 16_000, "mcunet_vww": 14_500},
    ),
    Configuration(
        "patches 4x4 of 13 operators",
        Planning(schedule=PatchSchedule(4, 13)),
        models=("mobilenetv2_100_224",),
    ),
    Configuration(
        "patches 3x3 of 6 operators",
        Planning(schedule=PatchSchedule(3, 6)),
        models=("mobilenetv2_035_144",),
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One plan of one network. Bytes of the whole arena; None where it was not built or counted."""

    model: str
    plan: str
    arena_bytes: int | None  # on BOARD, with the DSP kernels
    lower_bound_bytes: int | None
    portable_arena_bytes: int
    portable_lower_bound_bytes: int
    aim_bytes: int | None
    extra_macs: float  # as a ratio of the network's
    instructions: int | None
    instructions_ratio: float | None  # to those of the first configuration
    peak_ops: tuple[int, ...]  # of the stage at the peak
    samples: int
    equal: int


def measure(name: str, path: Path, *, emulate: bool, count: bool) -> list[Row]:
    """Build, run and compare every configuration of a network."""
    rows: list[Row] = []
    first: int | None = None
    for configuration in CONFIGURATIONS:
        if configuration.models and name not in configuration.models:
            continue
        print(f"{name}, {configuration.name}", file=sys.stderr)
        portable = run_build(path, "host", configuration.planning, samples=SAMPLES)
        emulated = _emulated(path, configuration.planning, count=count) if emulate else None
        instructions = emulated.instructions if emulated else None
        first = first or instructions
        rows.append(
            Row(
                model=name,
                plan=configuration.name,
                arena_bytes=emulated.compiled.plan.arena_bytes if emulated else None,
                lower_bound_bytes=emulated.compiled.plan.lower_bound_bytes if emulated else None,
                portable_arena_bytes=portable.compiled.plan.arena_bytes,
                portable_lower_bound_bytes=portable.compiled.plan.lower_bound_bytes,
                aim_bytes=configuration.aims.get(name),
                extra_macs=portable.compiled.report().extra_macs,
                peak_ops=_peak_ops((emulated or portable).compiled.plan),
                instructions=instructions,
                instructions_ratio=instructions / first if instructions and first else None,
                samples=portable.samples + (emulated.samples if emulated else 0),
                equal=portable.equal + (emulated.equal if emulated else 0),
            )
        )
    return rows


def _peak_ops(plan: Plan) -> tuple[int, ...]:
    return plan.stages[plan.peak_stage].ops


def _emulated(path: Path, planning: Planning, *, count: bool) -> Built | None:
    try:
        return run_build(path, BOARD, planning, samples=EMULATED_SAMPLES, count=count)
    except DoesNotFit as error:
        print(f"  {error.what}", file=sys.stderr)
        return None


def peers(name: str) -> list[dict[str, Any]]:
    """Return what others need: peer, ram_bytes and extra_macs (a ratio, None where not known)."""
    measured = [
        {"peer": peer, "ram_bytes": figures["ram_bytes"], "extra_macs": 0}
        for peer, figures in PEERS["models"].get(name, {}).items()
    ]
    return measured + PEERS["memory"]["models"].get(name, [])


def _peer_text(name: str) -> str:
    return "; ".join(
        f"{p['peer']} {p['ram_bytes']:,}" + (f" (+{p['extra_macs']:.0%})" if p["extra_macs"] else "")
        for p in peers(name)
    )


HEADINGS = (
    "network",
    "plan",
    "arena",
    "lower bound",
    "fullest at",
    "portable C",
    "aim",
    "extra MACs",
    "instructions",
    "equal",
)


def cells(row: Row) -> list[str]:
    """Return a row's cells as text, in the order of HEADINGS."""
    ratio = row.instructions_ratio
    bound = row.lower_bound_bytes or row.portable_lower_bound_bytes
    return [
        row.model,
        row.plan,
        _number(row.arena_bytes),
        f"{bound:,}",
        f"{row.peak_ops[0]}" if len(row.peak_ops) == 1 else f"{row.peak_ops[0]}–{row.peak_ops[-1]}",
        f"{row.portable_arena_bytes:,}",
        _number(row.aim_bytes),
        f"{row.extra_macs:.1%}",
        f"{row.instructions:,} ({ratio - 1:+.1%})" if row.instructions and ratio else "–",
        f"{row.equal} of {row.samples}",
    ]


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def table(rows: Sequence[Row]) -> Table:
    """Return the table for a terminal, the others' figures above every network's plans."""
    found = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in HEADINGS:
        found.add_column(heading, justify="left" if heading in ("network", "plan") else "right", no_wrap=True)
    for index, row in enumerate(rows):
        if index == 0 or rows[index - 1].model != row.model:
            for peer in peers(row.model):
                extra = f"{peer['extra_macs']:.1%}" if peer["extra_macs"] is not None else "?"
                text = [row.model, peer["peer"], f"{peer['ram_bytes']:,}", "", "", "", "", extra, "", ""]
                found.add_row(*text, style="dim")
        best = row.portable_arena_bytes if row.arena_bytes is None else row.arena_bytes
        missed = row.aim_bytes is not None and best > row.aim_bytes
        found.add_row(*cells(row), style="yellow" if missed else "")
    return found


def markdown(rows: Sequence[Row]) -> str:
    """Return the table with its caption for docs/memory.md."""
    lines = [
        "| " + " | ".join(("network", "others", *HEADINGS[1:])) + " |",
        "|---|---|---|" + "---:|" * (len(HEADINGS) - 2),
    ]
    for index, row in enumerate(rows):
        first = index == 0 or rows[index - 1].model != row.model
        name, *rest = cells(row)
        lines.append(
            "| " + " | ".join((name if first else "", _peer_text(name) if first else "", *rest)) + " |"
        )
    sources = "\n".join(f"* {peer}: {text}." for peer, text in PEERS["memory"]["sources"].items())
    today = datetime.date.today().isoformat()
    return (
        "\n" + "\n".join(lines) + "\n\n"
        "Bytes of the whole arena: input image, output and scratch included. *Arena* and *lower bound* are\n"
        f"of the build for `{BOARD}` (Cortex-M4 with the DSP kernels, which want more scratch), *portable\n"
        "C* is the arena of the host's build. Both were generated, compiled, run and compared with\n"
        "TensorFlow Lite on random samples (*equal*: every output byte). *Fullest at*: the operators of the\n"
        "stage at the peak. *Aim* is what this project set itself. Instructions are of one inference,\n"
        f"counted in QEMU, and beside the {CONFIGURATIONS[0].name} plan's.\n\n"
        f"The others, in brackets what they compute again:\n\n{sources}\n\n{PEERS['provenance']}\n"
        f"tinyml {__version__}, {today}, `make bench-memory`.\n"
    )


def main() -> int:
    """Measure, print, and write the page where asked to. Returns 1 where an output differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all by default")
    parser.add_argument("--host-only", action="store_true", help="portable C only, no emulator")
    parser.add_argument("--instructions", action="store_true", help="also count instructions")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--write", action="store_true", help="write between the `arenas` marks of docs/memory.md"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MODELS]
    if unknown:
        parser.error(f"unknown networks: {', '.join(unknown)}; known: {', '.join(MODELS)}")
    rows: list[Row] = []
    for name in arguments.names or MODELS:
        path = MODELS[name]
        if not path.is_file():
            print(f"{name} is left out: {path} is not there", file=sys.stderr)
            continue
        rows += measure(name, path, emulate=not arguments.host_only, count=arguments.instructions)
    if arguments.json:
        names = list(dict.fromkeys(row.model for row in rows))
        value = {
            "board": BOARD,
            "rows": [dataclasses.asdict(row) for row in rows],
            "peers": {n: peers(n) for n in names},
        }
        print(json.dumps(value, indent=2))
    else:
        console = Console(markup=False, highlight=False)
        console.width = console.width if console.is_terminal else 160
        console.print(table(rows))
    if arguments.write:
        write_between_marks(PAGE, "arenas", markdown(rows))
    return 0 if all(row.equal == row.samples for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
