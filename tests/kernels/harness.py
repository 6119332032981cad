"""Runs kernels in C on given bytes: many cases, any shapes, one compiled program.

`Program` compiles a driver that holds one wrapper per kernel and takes shapes, constants and
inputs from a file, so that hundreds of random cases cost one compilation. Every buffer is its own
allocation of the exact size, which lets AddressSanitizer see one byte too many; `Case.distance`
puts an input and the output into one buffer instead, as the planner would.

The driver needs only <stdio.h> and <stdlib.h>, and reads cases.bin and writes outputs.bin in the
directory it runs in: with newlib's semihosting it runs on an emulated board as well.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyml.access import AccessMap
from tinyml.kernels.registry import Lowered
from tinyml.toolchain.gcc import HOST_WARNINGS

ROOT = Path(__file__).resolve().parents[2]
INCLUDES = tuple(ROOT / "runtime_c" / folder for folder in ("include", "kernels", "ref"))
WARNINGS = HOST_WARNINGS
SANITIZED = (
    "gcc",
    "-std=c11",
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    *WARNINGS,
    "-Wno-unused-function",
)

_TESTS = Path(__file__).resolve().parent
EMULATED_M0_COMPILER = (
    *("arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-std=c11", "-O2", *WARNINGS),
    *("-Wno-unused-function", "--specs=rdimon.specs", "-T", str(_TESTS / "semihosting.ld")),
)
# Start-up of an emulated board, whose program reads and writes files by semihosting.
SEMIHOSTING_SOURCES = (_TESTS / "semihosting.c",)
# RISC-V: picolibc's start-up and semihosting; the virt machine's memory begins at 0x80000000.
RISCV_ISA = ("--specs=picolibc.specs", "-march=rv32imc", "-mabi=ilp32")
RISCV_COMPILER = (
    *("riscv64-unknown-elf-gcc", *RISCV_ISA, "-std=c11", "-O2", *WARNINGS, "-Wno-unused-function"),
    *("--oslib=semihost", "--crt0=hosted", "-Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=0x400000"),
    "-Wl,--defsym=__ram=0x80400000,--defsym=__ram_size=0x1c00000,--defsym=__stack_size=0x10000",
)
RISCV_RUNNER = (
    *("qemu-system-riscv32", "-M", "virt", "-m", "32", "-bios", "none", "-nographic", "-monitor", "none"),
    *("-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel"),
)


# mps3-an547: Helium needs the hard-float ABI, and the monitor's stack lies below the RAM (semihosting.c).
_M55_FLAGS = (
    "-mfloat-abi=hard",
    "-Wl,--defsym=ram_origin=0x21000000,--defsym=ram_bytes=0x200000,--wrap=_sbrk",
)


def board_compiler(core: str, *flags: str) -> tuple[str, ...]:
    """Return the command that compiles for an emulated board, with the flags of generated projects."""
    if core == "cortex-m55":
        flags = (*_M55_FLAGS, *flags)
    return (
        *("arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", "-std=c11", "-fomit-frame-pointer"),
        *("-mslow-flash-data", "-fno-tree-loop-distribute-patterns", *WARNINGS, "-Wno-unused-function"),
        *("--specs=rdimon.specs", "-T", str(_TESTS / "semihosting.ld"), *flags),
    )


def board_runner(board: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a program on an emulated board."""
    return (
        *("qemu-system-arm", "-M", board, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", *arguments, "-kernel"),
    )


EMULATED_M0_RUNNER = board_runner("mps2-an386")  # an M4 board runs Armv6-M code too

Array = npt.NDArray[np.generic]

_CTYPES = {
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "uint8_t",
    "float32": "float",
}
_MOST_INPUTS = 16  # of a case; the driver's arrays are as long
_NULL = -(1 << 31)  # RowLoop.pad_value None: the row pointer is NULL
_WORD = np.dtype("<i4")


@dataclass(frozen=True)
class Case:
    """One call of a kernel.

    Args:
        symbol: the C function, in `<symbol>.h`.
        lowered: constants, literals, loop and scratch of the call.
        inputs: the activation inputs, in operator order.
        output: shape and dtype of the output.
        overlap: (input, bytes): place this input so many bytes above the output (negative: below) in
            one buffer. None: every buffer on its own.
    """

    symbol: str
    lowered: Lowered
    inputs: tuple[Array, ...]
    output: tuple[tuple[int, ...], str]
    overlap: tuple[int, int] | None = None
    input_array: bool = False

    @property
    def output_bytes(self) -> int:
        shape, dtype = self.output
        return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize

    @property
    def signature(self) -> tuple[object, ...]:
        """What decides the C wrapper."""
        low = self.lowered
        return (
            self.symbol,
            tuple(x.dtype.name for x in self.inputs),
            self.output[1],
            tuple(c.ctype for c in low.constants),
            low.scratch_bytes > 0,
            len(low.literals),
            low.loop and low.loop.step,
            self.input_array,
        )


def overlaps(access: AccessMap, alignment: int = 1) -> list[tuple[int, int]]:
    """Return (input, bytes above the output) for the tightest placement that the map allows.

    Where the map says that any placement is safe the output sits `alignment` above the input.
    """
    tightest = []
    for i in range(len(access.inputs)):
        distance = access.overlap_distance(i)
        tightest.append((i, -alignment if distance is None else -(-distance // alignment) * alignment))
    return tightest


class Program:
    """A compiled driver for the kernels that `cases` use.

    Args:
        folder: where sources, program and data files go.
        cases: one per wrapper suffices; `run` takes any cases of the same wrappers.
        compiler: command and flags.
        specialise: compile every case with its literals written out, as generated code does, and
            not with values read at run time. `run` then takes exactly `cases`.
        sources: further C files (start-up code of an emulated board).
        libraries: flags after the sources.
    """

    def __init__(
        self,
        folder: Path,
        cases: Sequence[Case],
        *,
        compiler: Sequence[str] = SANITIZED,
        specialise: bool = False,
        sources: Sequence[Path] = (),
        libraries: Sequence[str] = ("-lm",),
    ) -> None:
        self.folder = folder
        self.specialise = specialise
        self.wrappers: dict[object, int] = {}
        bodies = []
        for number, case in enumerate(cases):
            key = number if specialise else case.signature
            if key not in self.wrappers:
                self.wrappers[key] = len(self.wrappers)
                bodies.append(_wrapper(self.wrappers[key], case, specialise))
        headers = sorted({case.symbol for case in cases})
        source = folder / "driver.c"
        source.write_text(_source(headers, bodies))
        self.program = folder / "driver"
        includes = [f"-I{path}" for path in INCLUDES]
        command = [*compiler, *includes, str(source), *map(str, sources), "-o", str(self.program), *libraries]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[:4000]}"

    def run(self, cases: Sequence[Case], runner: Sequence[str] = ()) -> list[Array]:
        """Run the cases; `runner` is put before the program (an emulator). Returns the outputs."""
        words = [np.array([len(cases)], _WORD).tobytes()]
        for number, case in enumerate(cases):
            words.append(_encode(self.wrappers[number if self.specialise else case.signature], case))
        (self.folder / "cases.bin").write_bytes(b"".join(words))
        output = self.folder / "outputs.bin"
        output.unlink(missing_ok=True)
        done = subprocess.run(
            [*runner, str(self.program)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
            timeout=300,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-4000:]}"
        data = output.read_bytes()
        arrays: list[Array] = []
        at = 0
        for case in cases:
            shape, dtype = case.output
            arrays.append(np.frombuffer(data[at : at + case.output_bytes], dtype).reshape(shape))
            at += case.output_bytes
        assert at == len(data)
        return arrays


def _wrapper(number: int, case: Case, specialise: bool) -> str:
    """Return the C function that unpacks a case's buffers into the kernel's arguments."""
    low = case.lowered
    arguments = []
    if low.loop is not None:
        arguments.append("rows")
    elif case.input_array:
        assert len(case.inputs) <= _MOST_INPUTS
        arguments.append("inputs")
    else:
        arguments += [
            f"({_CTYPES[x.dtype.name]} *)(uintptr_t)inputs[{i}]"
            if i in low.updates
            else f"(const {_CTYPES[x.dtype.name]} *)inputs[{i}]"
            for i, x in enumerate(case.inputs)
        ]
    arguments.append(f"({_CTYPES[case.output[1]]} *)output")
    if low.loop is not None and (low.loop.step > 1 or low.loop.upscale is not None):
        arguments.append("count")
    arguments += [f"(const {c.ctype} *)constants[{i}]" for i, c in enumerate(low.constants)]
    if low.scratch_bytes > 0:
        arguments.append("scratch")
    arguments += [str(value) if specialise else f"literals[{i}]" for i, (_, value) in enumerate(low.literals)]
    return (
        f"static __attribute__((noinline)) void call_{number}(\n"
        "    const int8_t *const *rows, const void *const *inputs, void *output, int32_t count,\n"
        "    const void *const *constants, void *scratch, const int32_t *literals)\n"
        "{\n"
        "    (void)rows; (void)inputs; (void)count; (void)constants; (void)scratch; (void)literals;\n"
        f"    {case.symbol}({', '.join(arguments)});\n"
        "}\n"
    )


def _encode(wrapper: int, case: Case) -> bytes:
    """Return a case as the driver reads it; the layout is that of `read_case` below."""
    low = case.lowered
    overlap_input, overlap_bytes = case.overlap if case.overlap is not None else (-1, 0)
    loop = low.loop
    words = [wrapper, case.output_bytes, low.scratch_bytes, overlap_input, overlap_bytes]
    if loop is None:
        words += [0] * 10
    else:
        words += [loop.kernel_h, loop.stride_h, loop.dilation_h, loop.pad_top, loop.in_rows]
        words += [loop.in_row_bytes, loop.out_rows, _NULL if loop.pad_value is None else loop.pad_value]
        words += [loop.step, loop.upscale or 0]
    literals = [value for _, value in low.literals]
    words += [len(literals), *literals, len(case.inputs), len(low.constants)]
    chunks = [np.array(words, _WORD).tobytes()]
    for array in (*case.inputs, *(_typed(c.values, c.ctype) for c in low.constants)):
        data = np.ascontiguousarray(array).tobytes()
        chunks += [np.array([len(data)], _WORD).tobytes(), data]
    return b"".join(chunks)


def _typed(values: Array, ctype: str) -> Array:
    """Return constant values in the C type's bytes; raises where one does not fit."""
    dtypes: Mapping[str, str] = {"float": "float32"}
    dtype = np.dtype(dtypes.get(ctype, ctype.removesuffix("_t")))
    typed = np.asarray(values).astype(dtype)
    assert np.array_equal(typed, values), f"constants leave {ctype}"
    return typed


def _source(headers: Sequence[str], bodies: Sequence[str]) -> str:
    includes = "\n".join(f'#include "{header}.h"' for header in headers)
    table = ", ".join(f"call_{i}" for i in range(len(bodies)))
    return (
        _DRIVER.replace("@INCLUDES@", includes)
        .replace("@WRAPPERS@", "\n".join(bodies))
        .replace("@TABLE@", table)
    )


_DRIVER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

@INCLUDES@

typedef void (*wrapper)(const int8_t *const *, const void *const *, void *, int32_t, const void *const *,
                        void *, const int32_t *);

@WRAPPERS@
static const wrapper wrappers[] = {@TABLE@};

static void fail(const char *what)
{
    fprintf(stderr, "driver: %s\n", what);
    exit(3);
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

/* Output and scratch between bytes that no kernel may change. AddressSanitizer sees more without them. */
#if defined(__SANITIZE_ADDRESS__)
enum { GUARD = 0 };
#else
enum { GUARD = 64 };
#endif

static uint8_t *allocate_guarded(size_t bytes)
{
    uint8_t *memory = (uint8_t *)allocate(bytes + 2 * GUARD);
    memset(memory, 0x5a, bytes + 2 * GUARD);
    return memory + GUARD;
}

static void free_guarded(uint8_t *memory, size_t bytes)
{
    for (int i = 0; i < GUARD; ++i) {
        if (memory[i - GUARD] != 0x5a || memory[bytes + (size_t)i] != 0x5a) {
            fail("a kernel wrote beyond its output or scratch");
        }
    }
    free(memory - GUARD);
}

static void read_bytes(FILE *file, void *into, size_t bytes)
{
    if (fread(into, 1, bytes, file) != bytes) {
        fail("cases.bin is too short");
    }
}

static int32_t word(FILE *file)
{
    int32_t value;
    read_bytes(file, &value, sizeof value);
    return value;
}

static void *block(FILE *file, size_t *bytes)
{
    void *memory;
    *bytes = (size_t)word(file);
    memory = allocate(*bytes);
    read_bytes(file, memory, *bytes);
    return memory;
}

static void run_case(FILE *cases, FILE *outputs)
{
    void *inputs[16] = {NULL};
    void *constants[8] = {NULL};
    size_t input_bytes[16] = {0};
    size_t constant_bytes;
    const int32_t kernel = word(cases);
    const size_t output_bytes = (size_t)word(cases);
    const size_t scratch_bytes = (size_t)word(cases);
    const int32_t overlap_input = word(cases);
    const int32_t overlap_bytes = word(cases);
    int32_t loop[10];
    int32_t literals[32];
    int32_t literal_count, input_count, constant_count;
    uint8_t *shared = NULL;
    uint8_t *output;
    size_t shared_bytes = 0;
    uint8_t *scratch = scratch_bytes > 0 ? allocate_guarded(scratch_bytes) : NULL;

    for (int i = 0; i < 10; ++i) {
        loop[i] = word(cases);
    }
    literal_count = word(cases);
    for (int32_t i = 0; i < literal_count; ++i) {
        literals[i] = word(cases);
    }
    input_count = word(cases);
    constant_count = word(cases);
    for (int32_t i = 0; i < input_count; ++i) {
        inputs[i] = block(cases, &input_bytes[i]);
    }
    for (int32_t i = 0; i < constant_count; ++i) {
        constants[i] = block(cases, &constant_bytes);
    }
    if (overlap_input < 0) {
        output = allocate_guarded(output_bytes);
    } else {
        const size_t above = overlap_bytes > 0 ? (size_t)overlap_bytes : 0;
        const size_t below = overlap_bytes < 0 ? (size_t)-overlap_bytes : 0;
        const size_t end_in = above + input_bytes[overlap_input];
        const size_t end_out = below + output_bytes;
        shared_bytes = end_in > end_out ? end_in : end_out;
        shared = allocate_guarded(shared_bytes);
        memcpy(shared + above, inputs[overlap_input], input_bytes[overlap_input]);
        free(inputs[overlap_input]);
        inputs[overlap_input] = shared + above;
        output = shared + below;
    }
    if (loop[0] == 0) {
        wrappers[kernel](NULL, (const void *const *)inputs, output, 0, (const void *const *)constants,
                         scratch, literals);
    } else {
        const int32_t in_rows = loop[4], in_row_bytes = loop[5], out_rows = loop[6], step = loop[8];
        const int32_t pointers = (step - 1) * loop[1] + loop[0];
        const int8_t **rows = allocate((size_t)pointers * sizeof *rows);
        int8_t *pad = NULL;
        if (loop[7] != INT32_MIN) {
            pad = allocate((size_t)in_row_bytes);
            memset(pad, loop[7], (size_t)in_row_bytes);
        }
        for (int32_t r = 0; r < out_rows; r += step) {
            const int32_t upscale = loop[9] > 0 ? loop[9] : 1;
            const int32_t scaled = r * loop[1] - loop[3] + 1024 * upscale;
            const int32_t rest = out_rows - r < step ? out_rows - r : step;
            for (int32_t k = 0; k < pointers; ++k) {
                const int32_t row = scaled / upscale - 1024 + k * loop[2];
                const int8_t *x = (const int8_t *)inputs[0];
                rows[k] = row < 0 || row >= in_rows ? pad : x + row * in_row_bytes;
            }
            wrappers[kernel](rows, NULL, output + (size_t)r * (output_bytes / (size_t)out_rows),
                             loop[9] > 0 ? scaled % upscale : rest, (const void *const *)constants,
                             scratch, literals);
        }
        free(rows);
        free(pad);
    }
    if (fwrite(output, 1, output_bytes, outputs) != output_bytes) {
        fail("cannot write outputs.bin");
    }
    for (int32_t i = 0; i < input_count; ++i) {
        if (i != overlap_input) {
            free(inputs[i]);
        }
    }
    for (int32_t i = 0; i < constant_count; ++i) {
        free(constants[i]);
    }
    if (shared != NULL) {
        free_guarded(shared, shared_bytes);
    } else {
        free_guarded(output, output_bytes);
    }
    if (scratch != NULL) {
        free_guarded(scratch, scratch_bytes);
    }
}

int main(void)
{
    FILE *cases = fopen("cases.bin", "rb");
    FILE *outputs = fopen("outputs.bin", "wb");
    int32_t count;
    if (cases == NULL || outputs == NULL) {
        fail("cannot open cases.bin or outputs.bin");
    }
    count = word(cases);
    for (int32_t i = 0; i < count; ++i) {
        run_case(cases, outputs);
    }
    fclose(cases);
    if (fclose(outputs) != 0) {
        fail("cannot write outputs.bin");
    }
    return 0;
}
"""
