"""Write docs/supported-ops.md from the readers and the kernel registry.

    python tools/supported_ops.py [--check]

--check writes nothing and fails where the file is not what would be written.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from tinyml.graph import OpKind
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel
from tinyml.readers import variables
from tinyml.readers.operators import READERS, OperatorReader
from tinyml.readers.tflite import ADVICE

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "supported-ops.md"
COMMAND = "python tools/supported_ops.py"
_VIEW = "a view: nothing runs, and its output takes no memory of its own"

_LOOP = "One step is a C function, and a loop calls it: the code does not grow with the steps."


def page() -> str:
    """Return the page."""
    rows = "\n".join(_row(name, READERS[name]) for name in sorted(READERS))
    sections = "\n".join(_section(name, READERS[name]) for name in sorted(READERS))
    refused = "\n".join(f"* {name}: {ADVICE[name]}" for name in sorted(ADVICE) if name not in READERS)
    states = ", ".join(sorted(variables.OPTIONS))
    return f"""# Supported operators

Made by `{COMMAND}` from the readers (`tinyml/readers/operators/`) and the registry (`tinyml/kernels/`).
Every one equals LiteRT byte for byte (its reference kernels): `tests/reference/` compares over random models,
`tests/kernels/` runs the C on the host under sanitizers and on emulated cores. What a model breaks is said
in the sentences below, with the operator, before anything is built.

{len(READERS)} operators of TensorFlow Lite, and variables ({states}), which become states: the network
remembers them from one inference to the next.

| operator | data in | out | C | DSP | Helium |
|---|---|---|:-:|:-:|:-:|
{rows}

*C* is portable C11, *DSP* the instructions of Armv7E-M and Armv8-M (Cortex-M4, M7, M33), *Helium* Cortex-M55.
A dot is a kernel of that instruction set; a core takes the best it has and portable C for the rest.

## What each must be like

{sections}
## Refused, and what to do

{refused}
* any other operator: replace the layer, or run it outside the model
"""


def _kernels(reader: OperatorReader) -> list[Kernel]:
    # A float function between quantised layers becomes a table.
    kind = OpKind.LOOKUP if reader.kind is OpKind.FLOAT_FUNCTION else reader.kind
    return [kernel for kernel in KERNELS if kernel.op is kind]


def _row(name: str, reader: OperatorReader) -> str:
    dots = " | ".join(
        "•" if any(kernel.isa is isa for kernel in _kernels(reader)) else ""
        for isa in (Isa.C, Isa.DSP, Isa.MVE)
    )
    inputs, outputs = (", ".join(types) for types in (reader.input_types, reader.output_types))
    return f"| {name} | {inputs} | {outputs} | {dots} |"


def _section(name: str, reader: OperatorReader) -> str:
    """Return how an operator is read, and what the portable kernels that may run it demand."""
    lines = [f"### {name}\n"]
    doc = inspect.getdoc(reader.read)
    if doc:
        lines.append(" ".join(doc.split()) + "\n")
    kernels = [kernel for kernel in _kernels(reader) if kernel.isa is Isa.C]
    if not kernels and reader.kind is OpKind.WHILE:
        lines.append(f"{_LOOP}\n")
    elif not kernels:
        lines.append(f"{_VIEW[0].upper()}{_VIEW[1:]}.\n")
    for kernel in kernels:
        sentences = " ".join(" ".join((p.__doc__ or "").split("\n\n")[0].split()) for p in kernel.accepts)
        lines.append(f"* `{kernel.symbol}`{': ' + sentences if sentences else '.'}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where the page is out of date"
    )
    arguments = parser.parse_args()
    text = page()
    if arguments.check:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name} is {'up to date' if same else f'out of date: run {COMMAND}'}")
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
