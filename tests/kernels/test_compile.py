"""Every kernel header compiles alone, without a warning, as C and as C++, for hosts and for boards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kernels.harness import RISCV_ISA, ROOT, WARNINGS
from tinyml.kernels import KERNELS
from tinyml.kernels.registry import Isa, Kernel

COMPILERS = {
    "gcc": ("gcc", "-std=c11", "-x", "c"),
    "g++": ("g++", "-std=c++11", "-x", "c++"),
    "clang": ("clang", "-std=c11", "-x", "c"),
    "clang++": ("clang++", "-std=c++11", "-x", "c++"),
    "arm M0+": ("arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-std=c11", "-x", "c"),
    "arm M4 C++": ("arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", "-std=c++11", "-x", "c++"),
    "RV32IMC": ("riscv64-unknown-elf-gcc", *RISCV_ISA, "-std=c11", "-x", "c"),
}
PORTABLE = [kernel for kernel in KERNELS if kernel.isa is Isa.C]


@pytest.mark.parametrize("optimise", ["-O0", "-O3"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_portable_kernels_compile_clean(compiler: str, optimise: str, tmp_path: Path) -> None:
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    source = tmp_path / "all.c"
    # Twice each: the guards must hold; and no order of inclusion may matter.
    headers = [kernel.symbol for kernel in PORTABLE]
    source.write_text("".join(f'#include "{name}.h"\n' for name in (*headers, *reversed(headers))) + _USES)
    includes = [f"-I{ROOT / 'runtime_c' / folder}" for folder in ("include", "kernels")]
    done = subprocess.run(
        [
            *command,
            optimise,
            *WARNINGS,
            "-Wundef",
            "-Wcast-align",
            *includes,
            "-c",
            str(source),
            "-o",
            str(tmp_path / "all.o"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


_USES = """
void use(const int8_t *const *rows, const int8_t *x, int8_t *y, const int32_t *b, const int8_t *s);
void use(const int8_t *const *rows, const int8_t *x, int8_t *y, const int32_t *b, const int8_t *s)
{
    tm_conv2d_s8_c(rows, y, x, b, b, s, 8, 3, 4, 8, 1, 3, 3, 2, 1, 0, -128, -128, -128, 127);
    tm_dwconv2d_s8_c(rows, y, x, b, b, s, 8, 8, 8, 8, 3, 3, 1, 1, 1, -128, -128, -128, 127);
    tm_avg_pool2d_s8_c(rows, y, 8, 8, 8, 3, 3, 1, 1, -128, 127);
    tm_softmax_s8_c(x, y, 1, 10, 1 << 30, 22, -200);
}
"""


@pytest.mark.parametrize("kernel", PORTABLE, ids=lambda kernel: kernel.symbol)
def test_each_header_stands_alone(kernel: Kernel, tmp_path: Path) -> None:
    source = tmp_path / "one.c"
    source.write_text(f'#include "{kernel.symbol}.h"\n')
    includes = [f"-I{ROOT / 'runtime_c' / folder}" for folder in ("include", "kernels")]
    done = subprocess.run(
        ["gcc", "-std=c11", "-fsyntax-only", *WARNINGS, *includes, str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_integer_kernels_use_no_float(tmp_path: Path) -> None:
    """Float would pull in the soft-float library on cores without an FPU."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    source, assembly = tmp_path / "all.c", tmp_path / "all.s"
    integer = [kernel.symbol for kernel in PORTABLE if "f32" not in kernel.symbol]
    source.write_text("".join(f'#include "{name}.h"\n' for name in integer) + _USES)
    includes = [f"-I{ROOT / 'runtime_c' / folder}" for folder in ("include", "kernels")]
    subprocess.run(
        [
            "arm-none-eabi-gcc",
            "-mcpu=cortex-m0plus",
            "-mthumb",
            "-O2",
            *includes,
            "-S",
            str(source),
            "-o",
            str(assembly),
        ],
        check=True,
    )
    calls = {line.split()[-1] for line in assembly.read_text().splitlines() if "__aeabi_" in line}
    assert not {
        call for call in calls if call.startswith(("__aeabi_f", "__aeabi_d", "__aeabi_i2f", "__aeabi_i2d"))
    }
