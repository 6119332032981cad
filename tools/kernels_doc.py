"""Write docs/kernels.md from the registry, the kernels' headers and tinyml/report/latency.json.

    python tools/kernels_doc.py [--check]

--check writes nothing and fails where the file is not what would be written.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel
from tinyml.report.latency import TABLE

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "kernels.md"
COMMAND = "python tools/kernels_doc.py"
ISA_NAMES = {
    Isa.C: "portable C11",
    Isa.DSP: "DSP instructions of Armv7E-M and Armv8-M (Cortex-M4, M7, M33, M55)",
    Isa.MVE: "Helium (Cortex-M55, M85)",
}
# Multiply-accumulates that the widest instruction of each set does, and which that is.
FLOORS = {Isa.C: (1, "MLA"), Isa.DSP: (2, "SMLAD"), Isa.MVE: (16, "VMLADAVA.S8")}


def page() -> str:
    """Return the page."""
    parts = [_head()]
    for isa in (Isa.MVE, Isa.DSP, Isa.C):
        kernels = {kernel.symbol: kernel for kernel in reversed(KERNELS) if kernel.isa is isa}
        if kernels:
            parts.append(f"## {ISA_NAMES[isa][0].upper()}{ISA_NAMES[isa][1:]}\n")
            parts += [_section(kernel) for kernel in reversed(kernels.values())]
    return "\n".join(parts)


def _head() -> str:
    low, high = (TABLE["calibration"][key] for key in ("ratio_low", "ratio_high"))
    table = "\n".join(_errors(core, values) for core, values in TABLE["cores"].items())
    networks = f"{len(TABLE['networks'])} networks ({', '.join(TABLE['networks'])})"
    return f"""# Kernels

Made by `{COMMAND}` from the registry (`tinyml/kernels/`), the headers in `runtime_c/kernels/` and
`tinyml/report/latency.json`; change those.

An operator gets the first kernel that accepts it, in the order of this page, of the instruction sets that its
board has. `tinyml build --tune` measures all that accept it instead.

* *layers* are those of {networks},
  a grid of single layers, and operators of the kernels' own tests, all counted in QEMU by
  `{TABLE["command"]}` with {TABLE["compiler"]}.
* *per work* are executed instructions: the fewest and the most that a layer of a network or of the grid
  needed per multiply-accumulate (per element read where nothing is multiplied), with requantisation, packing
  and loops.
  Kernels that none of these runs have been counted on the operators of their tests alone, which are small.
* *fitted* is a · work + b · output elements + c per call over all of them.
* *~cycles* are **estimated**: every executed instruction priced with the core's published timings, for zero
  wait states. RISC-V has no such prices.
* The *floor* is what the multiplications alone would take with the widest instruction of the set.

Generated projects compile with `{" ".join(_flags())}`.

How far the estimate was off (cycles; on RISC-V instructions) where the fit had not seen what was estimated:
a whole network at most; a single call, most of which are of a few outputs, in half and in nine of ten cases.
And how often the registry's order had the kernel first that was measured cheapest, over the layers of the
grid that several kernels accept, and how much more all first ones take together than the cheapest:

| core | network | call, half | nine in ten | first is cheapest | lost |
|---|---:|---:|---:|---:|---:|
{table}

How far such prices are from silicon: boards with a Cortex-M4 took {low} to {high} times the price of like
software. {TABLE["calibration"]["provenance"]}
"""


def _errors(core: str, values: dict[str, Any]) -> str:
    """Return a core's line of the table of errors."""
    worst = max(map(abs, values["unseen"].values()), default=None)
    calls, order = values["unseen_calls"], values["order"]
    first = f"{order['first_is_cheapest']} of {order['graphs']}"
    return (
        f"| {core} | {'–' if worst is None else f'{worst:.0%}'} | {calls['median']:.0%} "
        f"| {calls['nine_in_ten']:.0%} | {first} | {order['lost']:.2%} |"
    )


def _flags() -> list[str]:
    """Return the flags that generated projects compile with on every core."""
    path = ROOT / "runtime_c" / "platformio" / "board_files.py"
    spec = importlib.util.spec_from_file_location("board_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [*module.CFLAGS, *module.COMMON_CCFLAGS]


def _section(kernel: Kernel) -> str:
    header = (ROOT / "runtime_c" / "kernels" / f"{kernel.symbol}.h").read_text(encoding="utf-8")
    comment = _comment(header)
    rows = [row for row in KERNELS if row.symbol == kernel.symbol]
    predicates = dict.fromkeys(predicate for row in rows for predicate in row.accepts)
    accepts = [(predicate.__doc__ or predicate.__name__).split("\n\n")[0] for predicate in predicates]
    sentences = " ".join(" ".join(sentence.split()) for sentence in accepts) or "Always."
    operators = [row.op.value for row in KERNELS if row.symbol == kernel.symbol]
    parts = [
        f"### {kernel.symbol}\n",
        f"{comment['title']} Operator{'s' * (len(operators) > 1)} {', '.join(operators)}.\n",
        *(["```\n" + textwrap.dedent(comment["layout"]) + "\n```\n"] if comment["layout"] else []),
        f"*Chosen* where no kernel before it was and: {sentences}\n",
    ]
    if scratch := comment.get("scratch"):
        parts.append(f"*Scratch*: {scratch}\n")
    if table := _table(kernel):
        parts.append(table)
    return "\n".join(parts)


def _comment(header: str) -> dict[str, str]:
    """Return title, layout (the arguments) and scratch of a header's first comment."""
    text = header[: header.index("*/")].removeprefix("/*")
    lines = [re.sub(r"^ \* ?", "", line).rstrip() for line in text.splitlines()]
    paragraphs = re.split(r"\n\s*\n", "\n".join(lines).strip())
    title = " ".join(paragraphs[0].split()).partition(": ")[2]
    layouts = [
        part for part in paragraphs[1:] if re.match(r"\s+\w+(?:, \w+)* +(?:u?int\d+|float|const|any)\b", part)
    ]
    found = {"title": title[0].upper() + title[1:], "layout": "\n".join(layouts)}
    scratch = re.search(r"^\s*Scratch +(.*(?:\n\s{6,}.*)*)", "\n".join(lines), re.MULTILINE)
    if scratch:
        found["scratch"] = " ".join(scratch[1].split())
    return found


def _table(kernel: Kernel) -> str:
    """Return the measured costs on each core that has run the kernel."""
    rows = []
    for core, values in TABLE["cores"].items():
        costs = values["kernels"].get(kernel.symbol)
        if costs is None:
            continue
        rows.append(
            f"| {core} | {costs['layers']} | {_range(costs['per_work'])} | {_formula(costs['instructions'])} "
            f"| {_formula(costs['cycles'])} |"
        )
    if not rows:
        return "*Cost*: no layer of the measured networks runs it.\n"
    macs, instruction = FLOORS[kernel.isa]
    multiplies = any(word in kernel.symbol for word in ("conv", "fully_connected"))
    floor = (
        f"*Floor*: {1 / macs:g} instructions per multiply-accumulate ({instruction}).\n\n"
        if multiplies
        else ""
    )
    head = (
        "| core | layers | per work | instructions, fitted | ~cycles, fitted |\n|---|---:|---:|---:|---:|\n"
    )
    return floor + head + "\n".join(rows) + "\n"


def _range(limits: list[float] | None) -> str:
    if limits is None:
        return "–"
    low, high = limits
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def _formula(costs: Iterable[float] | None) -> str:
    if costs is None:
        return "–"
    work, outputs, call = costs
    terms = [f"{value:.3g} · {name}" for value, name in ((work, "work"), (outputs, "outputs")) if value]
    return " + ".join([*terms, *([f"{call:.0f}"] if call else [])]) or "0"


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the page is out of date"
    )
    arguments = parser.parse_args()
    text = page()
    if arguments.check:
        current: Any = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else None
        if current != text:
            print(f"{PAGE.relative_to(ROOT)} is out of date: run {COMMAND}", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
