"""Test programs for the DSP kernels: many operators in one C file, for the host and for emulated boards.

Each case is one operator with its lowering, input and expected output (from tinyml.reference). The
program runs it twice: with separate buffers, and with input and output sharing memory at exactly
`AccessMap.overlap_distance`. On the host every buffer is its own malloc, so that AddressSanitizer
sees the first byte read or written too far; on a board guard bytes around output and scratch do.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyml import reference
from tinyml.graph import (
    Activation,
    ActivationAttrs,
    Array,
    DType,
    Graph,
    Op,
    OpKind,
    Pads,
    Quant,
    Tensor,
    WindowAttrs,
)
from tinyml.kernels import dsp
from tinyml.kernels.registry import Lowered, OpContext

ROOT = Path(__file__).resolve().parents[2]
INCLUDES = (f"-I{ROOT / 'runtime_c/include'}", f"-I{ROOT / 'runtime_c/kernels'}")
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
TARGET_FLAGS = (
    *("-mthumb", "-mfloat-abi=soft", "-O2", "-fomit-frame-pointer", "-mslow-flash-data"),
    *("-fno-tree-loop-distribute-patterns", "-ffunction-sections", "-fdata-sections"),
)
_IN_SCALE = 0.02
BOARDS = {"mps2-an386": "cortex-m4", "mps2-an500": "cortex-m7"}


@dataclass(frozen=True, slots=True)
class Case:
    """One operator to run, and the row of the registry to run it with."""

    name: str
    graph: Graph
    symbol: str

    @property
    def context(self) -> OpContext:
        return OpContext(self.graph, self.graph.ops[0])

    def lowered(self) -> Lowered:
        kernel = next(k for k in dsp.KERNELS if k.symbol == self.symbol)
        assert kernel.refusals(self.context) == []
        return kernel.lower(self.context)

    def input(self, rng: np.random.Generator) -> Array:
        shape = self.graph.tensors[0].shape
        values = rng.integers(-128, 128, shape)
        if rng.integers(4) == 0:  # the extremes, where halfword products and sums are largest
            values = np.where(values < 0, -128, 127)
        return values.astype(np.int8)


def conv_case(
    symbol: str,
    *,
    in_shape: tuple[int, int, int],
    out_c: int,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pads: Pads | None = None,
    activation: Activation = Activation.NONE,
    shifts: tuple[int, int] | None = None,
    zero_points: tuple[int, int] = (-3, 5),
    out_scale: float = 0.05,
    seed: int = 0,
    depthwise: bool = False,
) -> Case:
    """Return a CONV_2D or DEPTHWISE_CONV_2D with random weights and right shifts within `shifts`.

    By default the shifts spread the outputs over int8.
    """
    rng = np.random.default_rng(seed)
    pads = pads or Pads()
    in_h, in_w, in_c = in_shape
    out_h = (in_h + pads.top + pads.bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    out_w = (in_w + pads.left + pads.right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    assert min(out_h, out_w) > 0
    shape = (1, *kernel, out_c) if depthwise else (out_c, *kernel, in_c)
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    weights.flat[:: max(1, weights.size // 7)] = -128  # not symmetric, but legal int8
    scales, bias = _scales_and_bias(rng, weights.size // out_c, out_c, out_c, shifts, out_scale)
    return _case(
        symbol,
        Op(
            OpKind.DEPTHWISE_CONV_2D if depthwise else OpKind.CONV_2D,
            (0, 1, 2),
            (3,),
            WindowAttrs(*kernel, *stride, *dilation, pads, activation),
        ),
        (1, *in_shape),
        weights,
        Quant(tuple(scales), (0,) * out_c, 3 if depthwise else 0),
        bias,
        (1, out_h, out_w, out_c),
        zero_points,
        out_scale,
        f"{in_shape} k{kernel} s{stride} d{dilation} {pads} oc{out_c} shifts{shifts} {activation}",
    )


def dense_case(
    *,
    batches: int = 1,
    in_c: int,
    out_c: int,
    activation: Activation = Activation.NONE,
    shifts: tuple[int, int] | None = None,
    per_output: bool = False,
    zero_points: tuple[int, int] = (-3, 5),
    out_scale: float = 0.05,
    seed: int = 0,
) -> Case:
    """Return a FULLY_CONNECTED with random weights and right shifts within `shifts`, as `conv_case`."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (out_c, in_c)).astype(np.int8)
    count = out_c if per_output else 1
    scales, bias = _scales_and_bias(rng, in_c, out_c, count, shifts, out_scale)
    return _case(
        "tm_fully_connected_s8_dsp",
        Op(OpKind.FULLY_CONNECTED, (0, 1, 2), (3,), ActivationAttrs(activation)),
        (batches, in_c),
        weights,
        Quant(tuple(scales), (0,) * count, 0),
        bias,
        (batches, out_c),
        zero_points,
        out_scale,
        f"{batches}x{in_c}->{out_c} shifts{shifts} {activation} per_output={per_output}",
    )


def _scales_and_bias(
    rng: np.random.Generator,
    terms: int,
    out_c: int,
    scale_count: int,
    shifts: tuple[int, int] | None,
    out_scale: float,
) -> tuple[Array, Array]:
    """Return weight scales that make TFLite's right shifts lie within `shifts`, and a bias."""
    spread = 74 * 74 * math.sqrt(terms)  # standard deviation of a sum of products of random int8
    if shifts is None:
        shift = max(2, round(math.log2(spread / 60)))
        shifts = (shift - 1, shift + 1)
    # a real multiplier in [2^(-s-1), 2^-s) has the right shift s
    real = 2.0 ** -rng.integers(shifts[0], shifts[1] + 1, scale_count) * rng.uniform(0.5, 1, scale_count)
    bias = rng.normal(0, spread / 2, out_c).astype(np.int32)
    return real * out_scale / _IN_SCALE, bias


def _case(
    symbol: str,
    op: Op,
    in_shape: tuple[int, ...],
    weights: Array,
    weight_quant: Quant,
    bias: Array,
    out_shape: tuple[int, ...],
    zero_points: tuple[int, int],
    out_scale: float,
    name: str,
) -> Case:
    tensors = (
        Tensor("x", in_shape, DType.INT8, Quant((_IN_SCALE,), (zero_points[0],))),
        Tensor("w", weights.shape, DType.INT8, weight_quant, weights),
        Tensor("b", bias.shape, DType.INT32, None, bias),
        Tensor("y", out_shape, DType.INT8, Quant((out_scale,), (zero_points[1],))),
    )
    return Case(f"{symbol} {name}", Graph("case", tensors, (op,), (0,), (3,)), symbol)


def write_program(cases: Sequence[Case], path: Path, *, calls_only: bool = False) -> None:
    """Write one C program that runs all cases and reports each mismatch; exit status 0 means none.

    With `calls_only` it runs each case once and compares nothing, for counting instructions.
    """
    rng = np.random.default_rng(1)
    symbols = sorted({case.symbol for case in cases})
    text = [f'#include "{symbol}.h"' for symbol in symbols]
    text.append(_RUNTIME)
    calls = []
    for i, case in enumerate(cases):
        lowered = case.lowered()
        x = case.input(rng)
        y = reference.run_op(case.graph, case.graph.ops[0], {0: x})
        # on ties of layout the program must notice outputs that are never written
        text += [
            _array(f"case_{i}_{constant.name}", constant.ctype, constant.values)
            for constant in lowered.constants
        ]
        text.append(_array(f"case_{i}_x", "int8_t", x))
        if not calls_only:
            text.append(_array(f"case_{i}_want", "int8_t", y))
        arguments = [f"case_{i}_{constant.name}" for constant in lowered.constants]
        if lowered.scratch_bytes:
            arguments.append("scratch")
        arguments += [value for _, value in lowered.literals]
        tail = ", ".join(arguments)
        body = f"{case.symbol}(x, y, {tail});"
        pad_row = "NULL"
        if loop := lowered.loop:
            body = (
                f"for (int32_t r = 0; r < {loop.out_rows}; ++r) {{ const int8_t *rows[{loop.kernel_h}];\n"
                f"for (int32_t k = 0; k < {loop.kernel_h}; ++k) {{\n"
                f"const int32_t at = r * {loop.stride_h} - {loop.pad_top} + k * {loop.dilation_h};\n"
                f"rows[k] = at < 0 || at >= {loop.in_rows} ? pad_row : x + at * {loop.in_row_bytes}; }}\n"
                f"{case.symbol}(rows, y + r * {loop.out_row_bytes}, {tail}); }}"
            )
            text.append(
                _array(f"case_{i}_pad", "int8_t", np.full(loop.in_row_bytes, loop.pad_value, np.int8))
            )
            pad_row = f"case_{i}_pad"
        text.append(
            f"/* {case.name} */\n"
            f"static __attribute__((noinline)) void case_{i}(const int8_t *x, int8_t *y, void *scratch, "
            f"const int8_t *pad_row)\n{{ (void)scratch; (void)pad_row; {body} }}"
        )
        pad_bytes = lowered.loop.in_row_bytes if lowered.loop else 0
        if not calls_only:
            buffers = f"case_{i}_x, {x.nbytes}, case_{i}_want, {y.nbytes}, {lowered.scratch_bytes}"
            calls.append(
                f"bad += run(case_{i}, {_text(case.name)}, {buffers}, {pad_row}, {pad_bytes}, "
                f"{lowered.access.overlap_distance(0)});"
            )
        else:
            calls.append(
                f"{{ int8_t *out = take({y.nbytes});\n"
                f"int8_t *scratch = take({lowered.scratch_bytes});\n"
                f"case_{i}(case_{i}_x, out, scratch, {pad_row}); give(scratch); give(out); }}"
            )
    text += ["int main(void)\n{\nint bad = 0;\n(void)run;", *calls, "return bad != 0;\n}\n"]
    path.write_text("\n".join(text))


def host_program(source: Path, compiler: str, flags: Sequence[str]) -> Path:
    """Compile a program for this machine and return it."""
    program = source.with_suffix(f".{compiler}")
    subprocess.run([compiler, *WARNINGS, *flags, *INCLUDES, str(source), "-o", str(program)], check=True)
    return program


def board_program(source: Path, board: str, *, flags: Sequence[str] = ()) -> Path:
    """Compile a program for an emulated board and return it."""
    program = source.with_suffix(f".{board}.elf")
    script = source.with_suffix(".ld")
    script.write_text(_LINKER_SCRIPT)
    command = [
        "arm-none-eabi-gcc",
        f"-mcpu={BOARDS[board]}",
        *TARGET_FLAGS,
        *WARNINGS,
        *flags,
        *INCLUDES,
        *("-nostartfiles", "-specs=nano.specs", "-specs=nosys.specs", "-Wl,--gc-sections", f"-T{script}"),
        *("-Wl,--no-warn-rwx-segments", str(source), "-o", str(program)),
    ]
    subprocess.run(command, check=True)
    return program


def run_board(
    program: Path, board: str, *, arguments: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program on an emulated board; its exit status is the emulator's."""
    command = [
        *("qemu-system-arm", "-M", board, "-kernel", str(program), "-display", "none", "-nodefaults"),
        *(
            "-monitor",
            "none",
            "-serial",
            "null",
            "-semihosting-config",
            "enable=on,target=native",
            *arguments,
        ),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _text(value: str) -> str:
    return f'"{value}"'


def _array(name: str, ctype: str, values: Array) -> str:
    flat = ", ".join(str(v) if v != -(2**31) else "INT32_MIN" for v in values.ravel().tolist())
    return f"static const {ctype} {name}[] __attribute__((aligned(4))) = {{{flat}}};"


_RUNTIME = r"""
#include <stdlib.h>
typedef void (*kernel_case)(const int8_t *, int8_t *, void *, const int8_t *);
enum { GUARD = 64 };
#if defined(__arm__)
int main(void);
static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static void say(const char *text) { semihosting(4, text); }
extern uint32_t bss_start, bss_end;
void stack_top(void); /* an address of the linker script */
static void leave(int status)
{
    const uint32_t block[2] = {0x20026, (uint32_t)status};
    semihosting(0x20, block);
    for (;;) {
    }
}
static void fault(void) { say("fault\n"); leave(70); }
void reset(void);
void reset(void)
{
    for (uint32_t *p = &bss_start; p < &bss_end; ++p) {
        *p = 0;
    }
    leave(main());
}
__attribute__((section(".vectors"), used)) static void (*const vectors[8])(void) = {
    stack_top, reset, fault, fault, fault, fault, fault, fault};
static uint8_t pool[1 << 20] __attribute__((aligned(8)));
static size_t used;
static int8_t *take(size_t bytes)
{
    int8_t *p = (int8_t *)pool + used + GUARD;
    memset(p - GUARD, 0x5A, bytes + 2 * GUARD);
    used += (bytes + 2 * GUARD + 7) / 8 * 8;
    return used <= sizeof pool ? p : NULL;
}
static int whole(const int8_t *p, size_t bytes)
{
    for (int i = 0; i < GUARD; ++i) {
        if (p[-1 - i] != 0x5A || p[bytes + (size_t)i] != 0x5A) {
            return 0;
        }
    }
    return 1;
}
static void give(int8_t *p) { (void)p; used = 0; }
#else
#include <stdio.h>
static void say(const char *text) { fputs(text, stdout); }
static int8_t *take(size_t bytes) { return memset(malloc(bytes ? bytes : 1), 0x5A, bytes ? bytes : 1); }
static int whole(const int8_t *p, size_t bytes) { (void)p; (void)bytes; return 1; }
static void give(int8_t *p) { free(p); }
#endif
static int report(const char *name, const char *how)
{
    say(name);
    say(how);
    return 1;
}
static int run(kernel_case kernel, const char *name, const int8_t *x, size_t in_bytes, const int8_t *want,
               size_t out_bytes, size_t scratch_bytes, const int8_t *pad, size_t pad_bytes, long distance)
{
    int bad = 0;
    int8_t *pad_row = take(pad_bytes);
    int8_t *scratch = take(scratch_bytes);
    int8_t *in = take(in_bytes);
    int8_t *out = take(out_bytes);
    if (pad_bytes) {
        memcpy(pad_row, pad, pad_bytes);
    }
    memcpy(in, x, in_bytes);
    kernel(in, out, scratch, pad_row);
    if (memcmp(out, want, out_bytes)) {
        bad += report(name, ": wrong output\n");
    }
    if (!whole(out, out_bytes) || !whole(scratch, scratch_bytes) || memcmp(in, x, in_bytes)) {
        bad += report(name, ": wrote beyond its output or scratch\n");
    }
    /* The output `distance` bytes below the input (above where negative), bases multiples of 4. */
    const size_t below = distance > 0 ? ((size_t)distance + 3) / 4 * 4 : 0;
    const size_t above = distance < 0 ? (size_t)-distance / 4 * 4 : 0;
    const size_t end = below + in_bytes > above + out_bytes ? below + in_bytes : above + out_bytes;
    int8_t *arena = take(end);
    memcpy(arena + below, x, in_bytes);
    kernel(arena + below, arena + above, scratch, pad_row);
    if (memcmp(arena + above, want, out_bytes)) {
        bad += report(name, ": wrong output in place\n");
    }
    give(arena);
    give(out);
    give(in);
    give(scratch);
    give(pad_row);
    return bad;
}
"""

_LINKER_SCRIPT = """
MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = 4M
         RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
ENTRY(reset)
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text .text.*) *(.rodata .rodata.*) } > FLASH
  .ARM.exidx : { *(.ARM.exidx*) } > FLASH
  .data : { *(.data .data.*) } > RAM AT > FLASH
  .bss (NOLOAD) : ALIGN(4) {
    bss_start = .; *(.bss .bss.*) *(COMMON) . = ALIGN(4); bss_end = .; end = .;
  } > RAM
  stack_top = ORIGIN(RAM) + LENGTH(RAM);
}
"""
