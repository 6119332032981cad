"""Counts the instructions that the DSP kernels execute on the emulated M4, per multiply-accumulate.

Run as a program it prints the table; test_dsp_counts.py asserts upper bounds. The counts are those
of the TCG plugin in runtime_c/qemu_plugin: the whole kernel with all that it calls, loads to stores.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dsp_program import ROOT, board_program, conv_case, dense_case, run_board, write_program
from dsp_program import Case as ProgramCase

from tinyml.graph import Pads

SAME3 = Pads(1, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Shape:
    """One measured shape and the most instructions per multiply-accumulate it may take."""

    name: str
    case: ProgramCase
    bound: float
    bound_without_asm: float = 99.0


def _depthwise(symbol: str, in_shape: tuple[int, int, int], k: int, stride: int = 1) -> ProgramCase:
    pads = Pads(k // 2, k // 2, k // 2, k // 2)
    return conv_case(
        symbol,
        in_shape=in_shape,
        out_c=in_shape[2],
        kernel=(k, k),
        stride=(stride, stride),
        pads=pads,
        depthwise=True,
    )


def shapes() -> list[Shape]:
    """Return the shapes of the project's networks that matter, and what they may cost."""
    pointwise, conv, dw = "tm_conv2d_1x1_s8_dsp", "tm_conv2d_s8_dsp", "tm_dwconv2d_3x3_s8_dsp"
    return [
        Shape("1x1 125px 64->64", conv_case(pointwise, in_shape=(25, 5, 64), out_c=64), 1.1, 1.75),
        Shape("1x1 100px 16->48", conv_case(pointwise, in_shape=(10, 10, 16), out_c=48), 1.3, 2.3),
        Shape("1x1 100px 24->144", conv_case(pointwise, in_shape=(10, 10, 24), out_c=144), 1.1, 2.1),
        Shape("1x1 100px 144->24", conv_case(pointwise, in_shape=(10, 10, 144), out_c=24), 1.0, 1.7),
        Shape("1x1 9px 128->128", conv_case(pointwise, in_shape=(3, 3, 128), out_c=128), 1.1, 1.8),
        Shape(
            "3x3 16x16 16->16",
            conv_case(conv, in_shape=(16, 16, 16), out_c=16, kernel=(3, 3), pads=SAME3),
            1.1,
            1.8,
        ),
        Shape(
            "3x3 8x8 64->64",
            conv_case(conv, in_shape=(8, 8, 64), out_c=64, kernel=(3, 3), pads=SAME3),
            1.0,
            1.7,
        ),
        Shape(
            "3x3 s2 stem 32x32 3->16",
            conv_case(
                conv, in_shape=(32, 32, 3), out_c=16, kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1)
            ),
            1.5,
            2.5,
        ),
        Shape(
            "10x4 s2 49x10 1->64",
            conv_case(
                conv, in_shape=(49, 10, 1), out_c=64, kernel=(10, 4), stride=(2, 2), pads=Pads(4, 1, 5, 1)
            ),
            1.4,
            2.2,
        ),
        Shape("dw 3x3 25x5x64", _depthwise(dw, (25, 5, 64), 3), 3.0),
        Shape("dw 3x3 20x20x48", _depthwise(dw, (20, 20, 48), 3), 2.5),
        Shape("dw 3x3 48x48x8", _depthwise(dw, (48, 48, 8), 3), 2.4),
        Shape("dw 3x3 s2 48x48x8", _depthwise(dw, (48, 48, 8), 3, 2), 3.5),
        Shape("dw 5x5 20x20x8", _depthwise("tm_dwconv2d_s8_dsp", (20, 20, 8), 5), 2.3),
        Shape("dw 7x7 20x20x8", _depthwise("tm_dwconv2d_s8_dsp", (20, 20, 8), 7), 2.0),
        Shape("dw 5x5 5x5x40", _depthwise("tm_dwconv2d_s8_dsp", (5, 5, 40), 5), 3.2),
        Shape("fc 640->128", dense_case(in_c=640, out_c=128), 1.4, 1.7),
        Shape("fc 128->128", dense_case(in_c=128, out_c=128), 1.5, 1.8),
        Shape("fc 64->12", dense_case(in_c=64, out_c=12), 1.6, 2.0),
    ]


def build_plugin(folder: Path) -> Path:
    """Compile the counting plugin and return it."""
    plugin = folder / "tm_profile.so"
    source = ROOT / "runtime_c/qemu_plugin/tm_profile.c"
    command = ["gcc", "-std=c11", "-O2", "-shared", "-fPIC", "-Wl,--unresolved-symbols=ignore-all"]
    subprocess.run([*command, str(source), "-o", str(plugin)], check=True)
    return plugin


def count(case: ProgramCase, plugin: Path, folder: Path, *, flags: tuple[str, ...] = ()) -> tuple[int, int]:
    """Return the instructions that one run of the case executes, and the code bytes it takes."""
    source = folder / "count.c"
    write_program([case], source, calls_only=True)
    board = "mps2-an386"
    program = board_program(source, board, flags=flags)
    symbols = subprocess.run(
        ["arm-none-eabi-nm", "-S", str(program)], capture_output=True, text=True, check=True
    ).stdout
    # a symbol's lowest bit is the Thumb state, not its address
    functions = [
        (int(at, 16) & ~1, int(size, 16), name)
        for at, size, name in re.findall(r"^(\w+) (\w+) [tT] (\S+)$", symbols, re.MULTILINE)
    ]
    ranges = folder / "ranges"
    ranges.write_text("".join(f"{at:x} {at + size:x} other {name}\n" for at, size, name in functions))
    out = folder / "counts"
    out.unlink(missing_ok=True)
    result = run_board(program, board, arguments=("-plugin", f"{plugin},out={out},ranges={ranges}"))
    assert result.returncode == 0, result.stderr
    lines = re.findall(r"^function (\d+) (\S+)$", out.read_text(), re.MULTILINE)
    executed = {name: int(n) for n, name in lines}
    mine = re.compile(r"case_0(\.|$)|tm_|mem(cpy|set)")
    assert any(mine.match(name) for name in executed), "the kernel did not run"
    return (
        sum(n for name, n in executed.items() if mine.match(name)),
        sum(size for _, size, name in functions if mine.match(name)),
    )


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plugin = build_plugin(folder)
        print(f"{'shape':26} {'MACs':>9} {'instr':>9} {'per MAC':>8} {'no asm':>8} {'code B':>7} {'scratch B':>9}")
        for shape in shapes():
            lowered = shape.case.lowered()
            instructions, code = count(shape.case, plugin, folder)
            without, _ = count(shape.case, plugin, folder, flags=("-DTM_NO_ASM",))
            print(
                f"{shape.name:26} {lowered.macs:9} {instructions:9} {instructions / lowered.macs:8.3f} "
                f"{without / lowered.macs:8.3f} {code:7} {lowered.scratch_bytes:9}"
            )


if __name__ == "__main__":
    sys.exit(main())
