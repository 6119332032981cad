"""Runs kernels in C on given bytes: many cases, any shapes, one compiled program.

`Program` compiles a driver that holds one wrapper per kernel and takes shapes, constants and
inputs from a file, so that hundreds of random cases cost one compilation. Every buffer is its own
allocation of the exact size, which lets AddressSanitizer see one byte too many; `Case.distance`
puts an input and the output into one buffer instead, as the planner would.

The driver needs only <stdio.h> and <stdlib.h>, and reads cases.bin and writes outputs.bin in the
directory it runs in: with newlib's semihosting it runs on an emulated board as well. There stack.bin has
the bytes of stack that each case changed, from `compute` on.
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
from tinyml.toolchain.gcc import WARNINGS
from tinyml.toolchain.stack import CallGraph

ROOT = Path(__file__).resolve().parents[2]
INCLUDES = (*(ROOT / "runtime_c" / folder for folder in ("include", "kernels", "ref")), Path(__file__).parent)
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
# Start-up of an emulated board, whose program reads and writes files by semihosting.
SEMIHOSTING_SOURCES = (_TESTS / "semihosting.c",)
# RISC-V: picolibc's start-up and semihosting; the virt machine's memory begins at 0x80000000.
RISCV_ISA = ("--specs=picolibc.specs", "-march=rv32imc", "-mabi=ilp32")
RISCV_COMPILER = (
    *("riscv64-unknown-elf-gcc", *RISCV_ISA, "-std=c11", "-O2", "-fomit-frame-pointer"),
    *("-fno-tree-loop-distribute-patterns", *WARNINGS, "-Wno-unused-function"),
    *("--oslib=semihost", "--crt0=hosted", "-Wl,--defsym=__flash=0x80000000,--defsym=__flash_size=0x400000"),
    "-Wl,--defsym=__ram=0x80400000,--defsym=__ram_size=0x1c00000,--defsym=__stack_size=0x10000",
)
RISCV_RUNNER = (
    *("qemu-system-riscv32", "-M", "virt", "-m", "32", "-bios", "none", "-nographic", "-monitor", "none"),
    *("-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel"),
)


BOARDS = {
    "cortex-m0": "microbit",
    "cortex-m4": "mps2-an386",
    "cortex-m7": "mps2-an500",
    "cortex-m33": "mps2-an505",
    "cortex-m55": "mps3-an547",
}
"""The emulated board of each core."""
# Where a board has no memory at 0, or the monitor's stack lies elsewhere than the heap (semihosting.c).
_MEMORY_FLAGS = {
    "cortex-m33": "-Wl,--defsym=code_origin=0x10000000,--defsym=ram_origin=0x38000000,--wrap=_sbrk",
    "cortex-m55": "-Wl,--defsym=ram_origin=0x21000000,--defsym=ram_bytes=0x200000,--wrap=_sbrk",
}
# A program of all kernels and their newlib is more than the real chip holds.
_LARGER_MICROBIT = ("-global", "nrf51-soc.flash-size=0x400000", "-global", "nrf51-soc.sram-size=0x400000")


def board_compiler(core: str, *flags: str) -> tuple[str, ...]:
    """Return the command that compiles for an emulated board, with the flags of generated projects."""
    if not core.startswith("cortex-m0"):  # which cannot do without literal pools
        flags = ("-mslow-flash-data", *flags)
    if core == "cortex-m7":
        flags = ("-DTM_DUAL_ISSUE=1", *flags)
    if core == "cortex-m55":  # Helium needs the hard-float ABI
        flags = ("-mfloat-abi=hard", *flags)
    if core in _MEMORY_FLAGS:
        flags = (_MEMORY_FLAGS[core], *flags)
    return (
        *("arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", "-std=c11", "-fomit-frame-pointer"),
        *("-fno-tree-loop-distribute-patterns", "-fstack-usage", *WARNINGS, "-Wno-unused-function"),
        *("--specs=rdimon.specs", "-T", str(_TESTS / "semihosting.ld"), *flags),
    )


def board_runner(core: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a program on the emulated board of a core."""
    board = BOARDS[core]
    if board == "microbit":
        arguments = (*_LARGER_MICROBIT, *arguments)
    return (
        *("qemu-system-arm", "-M", board, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", *arguments, "-kernel"),
    )


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
_PAINTED = 8192  # bytes of stack whose use is seen
_WORD = np.dtype("<i4")


def compile_c(folder: Path, text: str, compiler: Sequence[str], cases: int, *sources: str) -> Path:
    """Compile a program of one's own that runs `CASES` cases, and return it."""
    source, program = folder / "program.c", folder / "program"
    source.write_text(text)
    includes = [f"-I{path}" for path in INCLUDES]
    subprocess.run(
        [*compiler, f"-DCASES={cases}", *includes, str(source), *sources, "-o", str(program)], check=True
    )
    return program


def check_headers(command: Sequence[str], names: Sequence[str], folder: Path) -> None:
    """Assert that kernels' headers compile without a warning, in any order and twice each."""
    source = folder / "all.c"
    source.write_text("".join(f'#include "{name}.h"\n' for name in (*names, *reversed(names))))
    includes = [f"-I{path}" for path in INCLUDES]
    for optimise in ("-O0", "-O2"):
        done = subprocess.run(
            [*command, optimise, *WARNINGS, *includes, "-c", str(source), "-o", str(folder / "all.o")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Case:
    """One call of a kernel.

    Args:
        symbol: the C function.
        lowered: constants, literals, loop and scratch of the call.
        inputs: the activation inputs, in operator order.
        output: shape and dtype of the output.
        overlap: (input, bytes): place this input so many bytes above the output (negative: below) in
            one buffer. None: every buffer on its own.
        header: the file that declares the function, where not `<symbol>.h`.
    """

    symbol: str
    lowered: Lowered
    inputs: tuple[Array, ...]
    output: tuple[tuple[int, ...], str]
    overlap: tuple[int, int] | None = None
    input_array: bool = False
    header: str = ""

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
        headers = sorted({case.header or f"{case.symbol}.h" for case in cases})
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

    def check_stack(self, cases: Sequence[Case]) -> None:
        """Assert that each kernel's stack is bounded, and that no case, just run on a board, took more.

        The board must have been compiled for by `board_compiler`.
        """
        graph = CallGraph(self.program, self.folder.glob("*.su"))
        bounds = []
        for number in range(len(self.wrappers)):
            bound = graph.bound("compute", indirect={"compute": (f"call_{number}",)})
            assert bound.bytes is not None, bound.problems
            bounds.append(bound.bytes)
        used = np.fromfile(self.folder / "stack.bin", _WORD).tolist()
        assert 0 < max(used) < _PAINTED
        for number, (case, most) in enumerate(zip(cases, used, strict=True)):
            wrapper = self.wrappers[number if self.specialise else case.signature]
            assert most <= bounds[wrapper], (case.symbol, most, bounds[wrapper])


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
    includes = "\n".join(f'#include "{header}"' for header in headers)
    table = ", ".join(f"call_{i}" for i in range(len(bodies)))
    return (
        _DRIVER.replace("@INCLUDES@", includes)
        .replace("@WRAPPERS@", "\n".join(bodies))
        .replace("@TABLE@", table)
        .replace("@PAINTED@", str(_PAINTED))
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

/* One case: a kernel and what it is called with. */
struct call {
    wrapper kernel;
    void *inputs[16];
    size_t input_bytes[16];
    void *constants[12];
    int32_t loop[10];
    int32_t literals[32];
    int32_t input_count, constant_count, overlap_input;
    size_t output_bytes, scratch_bytes, shared_bytes;
    uint8_t *output, *scratch, *shared;
    int8_t *pad;
    const int8_t **rows;
};

static void prepare(FILE *cases, struct call *c)
{
    size_t constant_bytes;
    int32_t overlap_bytes, literal_count;

    memset(c, 0, sizeof *c);
    c->kernel = wrappers[word(cases)];
    c->output_bytes = (size_t)word(cases);
    c->scratch_bytes = (size_t)word(cases);
    c->overlap_input = word(cases);
    overlap_bytes = word(cases);
    c->scratch = c->scratch_bytes > 0 ? allocate_guarded(c->scratch_bytes) : NULL;
    for (int i = 0; i < 10; ++i) {
        c->loop[i] = word(cases);
    }
    literal_count = word(cases);
    for (int32_t i = 0; i < literal_count; ++i) {
        c->literals[i] = word(cases);
    }
    c->input_count = word(cases);
    c->constant_count = word(cases);
    for (int32_t i = 0; i < c->input_count; ++i) {
        c->inputs[i] = block(cases, &c->input_bytes[i]);
    }
    for (int32_t i = 0; i < c->constant_count; ++i) {
        c->constants[i] = block(cases, &constant_bytes);
    }
    if (c->overlap_input < 0) {
        c->output = allocate_guarded(c->output_bytes);
    } else {
        const size_t above = overlap_bytes > 0 ? (size_t)overlap_bytes : 0;
        const size_t below = overlap_bytes < 0 ? (size_t)-overlap_bytes : 0;
        const size_t end_in = above + c->input_bytes[c->overlap_input];
        const size_t end_out = below + c->output_bytes;
        c->shared_bytes = end_in > end_out ? end_in : end_out;
        c->shared = allocate_guarded(c->shared_bytes);
        memcpy(c->shared + above, c->inputs[c->overlap_input], c->input_bytes[c->overlap_input]);
        free(c->inputs[c->overlap_input]);
        c->inputs[c->overlap_input] = c->shared + above;
        c->output = c->shared + below;
    }
    if (c->loop[0] != 0) {
        c->rows = allocate((size_t)((c->loop[8] - 1) * c->loop[1] + c->loop[0]) * sizeof *c->rows);
        if (c->loop[7] != INT32_MIN) {
            c->pad = allocate((size_t)c->loop[5]);
            memset(c->pad, c->loop[7], (size_t)c->loop[5]);
        }
    }
}

static void finish(FILE *outputs, struct call *c)
{
    if (fwrite(c->output, 1, c->output_bytes, outputs) != c->output_bytes) {
        fail("cannot write outputs.bin");
    }
    for (int32_t i = 0; i < c->input_count; ++i) {
        if (i != c->overlap_input) {
            free(c->inputs[i]);
        }
    }
    for (int32_t i = 0; i < c->constant_count; ++i) {
        free(c->constants[i]);
    }
    if (c->shared != NULL) {
        free_guarded(c->shared, c->shared_bytes);
    } else {
        free_guarded(c->output, c->output_bytes);
    }
    if (c->scratch != NULL) {
        free_guarded(c->scratch, c->scratch_bytes);
    }
    free(c->rows);
    free(c->pad);
}

/* The whole output, with the loop over its rows, as generated code has it. */
static __attribute__((noinline, noclone)) void compute(const struct call *c)
{
    if (c->loop[0] == 0) {
        c->kernel(NULL, (const void *const *)c->inputs, c->output, 0, (const void *const *)c->constants,
                  c->scratch, c->literals);
        return;
    }
    const int32_t in_rows = c->loop[4], in_row_bytes = c->loop[5], out_rows = c->loop[6], step = c->loop[8];
    const int32_t pointers = (step - 1) * c->loop[1] + c->loop[0];
    for (int32_t r = 0; r < out_rows; r += step) {
        const int32_t upscale = c->loop[9] > 0 ? c->loop[9] : 1;
        const int32_t scaled = r * c->loop[1] - c->loop[3] + 1024 * upscale;
        const int32_t rest = out_rows - r < step ? out_rows - r : step;
        for (int32_t k = 0; k < pointers; ++k) {
            const int32_t row = scaled / upscale - 1024 + k * c->loop[2];
            const int8_t *x = (const int8_t *)c->inputs[0];
            c->rows[k] = row < 0 || row >= in_rows ? c->pad : x + row * in_row_bytes;
        }
        c->kernel(c->rows, NULL, c->output + (size_t)r * (c->output_bytes / (size_t)out_rows),
                  c->loop[9] > 0 ? scaled % upscale : rest, (const void *const *)c->constants, c->scratch,
                  c->literals);
    }
}

/* What the profiler's plugin takes for the borders of a layer (count_portable.py). Not alike: GCC would
 * make them one. */
static __attribute__((noinline)) void count_begin(void)
{
    __asm__ volatile("" : : "i"(0));
}

static __attribute__((noinline)) void count_end(void)
{
    __asm__ volatile("" : : "i"(1));
}

/* Stack below the caller's, painted before a kernel runs and looked at afterwards (Cortex-M). */
#if defined(__arm__)
enum { PAINTED = @PAINTED@ };

static inline __attribute__((always_inline)) volatile uint8_t *stack_end(void)
{
    volatile uint8_t *end;
    __asm__ volatile("mov %0, sp" : "=r"(end));
    return end;
}

static inline __attribute__((always_inline)) void paint(void)
{
    volatile uint8_t *const end = stack_end();
    for (int32_t i = 1; i <= PAINTED; ++i) {
        end[-i] = 0xA5;
    }
}

static inline __attribute__((always_inline)) int32_t used(void)
{
    const volatile uint8_t *const end = stack_end();
    int32_t bytes = PAINTED;
    while (bytes > 0 && end[-bytes] == 0xA5) {
        --bytes;
    }
    return bytes;
}
#else
static void paint(void)
{
}

static int32_t used(void)
{
    return 0;
}
#endif

static __attribute__((noinline)) void run_cases(FILE *cases, FILE *outputs, FILE *stack)
{
    const int32_t count = word(cases);
    for (int32_t i = 0; i < count; ++i) {
        static struct call c;
        int32_t bytes;
        prepare(cases, &c);
        paint();
        count_begin();
        compute(&c);
        count_end();
        bytes = used();
        if (fwrite(&bytes, sizeof bytes, 1, stack) != 1) {
            fail("cannot write stack.bin");
        }
        finish(outputs, &c);
    }
}

int main(void)
{
    FILE *cases = fopen("cases.bin", "rb");
    FILE *outputs = fopen("outputs.bin", "wb");
    FILE *stack = fopen("stack.bin", "wb");
    if (cases == NULL || outputs == NULL || stack == NULL) {
        fail("cannot open cases.bin, outputs.bin or stack.bin");
    }
    run_cases(cases, outputs, stack);
    fclose(cases);
    if (fclose(outputs) != 0 || fclose(stack) != 0) {
        fail("cannot write outputs.bin or stack.bin");
    }
    return 0;
}
"""
