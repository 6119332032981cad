"""Sizes per symbol and stack bounds, on programs small enough to know the answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.boards.conftest import make_project
from tinyml import boards
from tinyml.errors import ToolchainError
from tinyml.toolchain import gcc
from tinyml.toolchain.result import BuildResult
from tinyml.toolchain.sizes import section_sizes
from tinyml.toolchain.stack import CallGraph, StackBound, stack_bound

pytestmark = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="arm-none-eabi-gcc is not installed"
)

MODEL = """
#include <stdint.h>
#include "net.h"
static uint8_t state[40];
__attribute__((noinline)) static int leaf(int x)
{
    volatile int8_t room[200];
    room[x & 127] = (int8_t)x;
    return room[(x + 1) & 127] + state[x & 31];
}
__attribute__((noinline)) int shallow(int x) { return leaf(x) + 1; }
int deep(int x)
{
    volatile int8_t room[400];
    room[x & 255] = (int8_t)x;
    state[x & 31] = (uint8_t)x;
    const int y = shallow(x);
    return y + room[y & 255] + net_weights[x & 63];
}
int loop(int x)
{
    volatile int y[4] = {x, x, x, x};
    const int below = x == 0 ? 0 : loop(x - 1);
    return below + y[below & 3];
}
int pointer(int (*f)(int), int x) { volatile int y = x; return f(x) + y; }
int calls_pointer(int x) { volatile int y = x; return pointer(deep, x) + y; }
int grows(int n) { volatile char room[n]; room[n - 1] = 1; return leaf(room[n - 1]) + room[0]; }
int divides(int64_t a, int64_t b) { return (int)(a / b); }
int multiplies(double a, double b) { return (int)(a * b); }
__attribute__((naked, noinline)) int assembly(int x __attribute__((unused)))
{
    __asm__ volatile("push {r4-r7, lr}\\n sub sp, #44\\n ldr r1, 1f\\n mov pc, r1\\n .align 2\\n"
                     "1: .word 2f\\n 2: add sp, #44\\n pop {r4-r7, pc}\\n");
}
__attribute__((noinline)) int pushes(int x)
{
    __asm__ volatile("push {r4-r7}\\n sub sp, #100\\n add sp, #100\\n pop {r4-r7}\\n" : "+r"(x));
    return x;
}
__attribute__((noipa)) static int twin(int x)
{
    volatile int8_t room[300];
    room[x & 127] = (int8_t)x;
    return room[(x + 1) & 127];
}
int calls_heavy(int x) { return twin(x) + 1; }
"""
MAIN = """
#include "net.h"
#include <stdint.h>
#include "tm_port.h"
volatile int sink;
__attribute__((noipa)) static int twin(int x) { return shallow(x) + 1; }
__attribute__((noinline)) int calls_light(int x) { return twin(x) + 1; }
int main(void)
{
    tm_port_init();
    sink = deep(sink) + loop(sink) + calls_pointer(sink) + grows(sink) + divides(sink, sink);
    sink += multiplies(sink, sink) + assembly(sink) + pushes(sink) + calls_heavy(sink) + calls_light(sink);
    return sink;
}
"""
HEADER = """
#include <stdint.h>
extern const int8_t net_weights[1000];
int deep(int x);
int shallow(int x);
int loop(int x);
int pointer(int (*f)(int), int x) __attribute__((noipa));
int calls_pointer(int x);
int grows(int n);
int divides(int64_t a, int64_t b);
int multiplies(double a, double b);
int assembly(int x);
int pushes(int x);
int calls_heavy(int x);
int calls_light(int x);
"""


@pytest.fixture(scope="module", params=["mps2-an386", "microbit"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    project = make_project(tmp_path_factory.mktemp("measure") / "net")
    (project / "include" / "net.h").write_text(HEADER)
    (project / "src" / "net.c").write_text(MODEL)
    (project / "src" / "net_weights.c").write_text(
        '#include "net.h"\nconst int8_t net_weights[1000] = {1, 2, 3};\n'
    )
    (project / "src" / "main.c").write_text(MAIN)
    return gcc.build(project, boards.load(request.param))


def test_every_symbol_is_counted_once_and_of_its_kind(built: BuildResult) -> None:
    sizes = section_sizes(built.elf)
    symbols = {s.name: s for s in sizes.symbols}
    assert symbols["net_weights"].kind == "weights"
    assert sizes.weights_bytes == symbols["net_weights"].flash_bytes == 1000
    assert (symbols["deep"].kind, symbols["deep"].ram_bytes) == ("model", 0)
    assert (symbols["state"].kind, symbols["state"].flash_bytes, symbols["state"].ram_bytes) == (
        "model",
        0,
        40,
    )
    assert symbols["main"].kind == "runtime"
    assert symbols["tm_port_init"].kind == "runtime"
    assert symbols["memset"].kind == "library"
    assert symbols["tm_vectors"].flash_bytes >= 4 * (16 + 32)
    # The image is the .bin; what no symbol names (padding, literals of the library) is little.
    assert sizes.flash_bytes == built.bin.stat().st_size
    named = sum(s.flash_bytes for s in sizes.symbols)
    assert sizes.flash_bytes - 256 < named <= sizes.flash_bytes
    assert sizes.code_bytes == sizes.flash_bytes - 1000
    assert sum(s.ram_bytes for s in sizes.symbols) <= sizes.static_bytes


def test_the_stack_bound_is_the_sum_along_the_deepest_path(built: BuildResult) -> None:
    frames = {
        line.split("\t")[0].rsplit(":", 1)[1]: int(line.split("\t")[1])
        for file in built.stack_usage
        if "net" in file.name
        for line in file.read_text().splitlines()
    }
    assert frames["leaf"] >= 200
    bound = stack_bound(built.elf, built.stack_usage, "deep")
    assert bound.path == ("deep", "shallow", "leaf")
    assert bound.bytes == frames["deep"] + frames["shallow"] + frames["leaf"]
    assert bound.problems == ()


def test_what_cannot_be_bounded_is_named(built: BuildResult) -> None:
    loop = stack_bound(built.elf, built.stack_usage, "loop")
    assert loop.bytes is None
    assert loop.problems == ("recursion: loop -> loop",)
    pointer = stack_bound(built.elf, built.stack_usage, "calls_pointer")
    assert pointer.bytes is None
    assert pointer.problems == ("pointer calls through a pointer",)
    resolved = stack_bound(built.elf, built.stack_usage, "calls_pointer", indirect={"pointer": ("deep",)})
    deep = stack_bound(built.elf, built.stack_usage, "deep")
    assert resolved.bytes is not None
    assert deep.bytes is not None
    assert resolved.bytes > deep.bytes
    assert resolved.path[-3:] == deep.path
    grows = stack_bound(built.elf, built.stack_usage, "grows")
    assert grows.bytes is None
    assert "not known before it runs" in grows.problems[0]
    with pytest.raises(ToolchainError, match="no function 'nothing'"):
        stack_bound(built.elf, built.stack_usage, "nothing")


def test_library_functions_are_scanned(built: BuildResult) -> None:
    for name in ("divides", "multiplies"):  # the second calls subroutines inside itself
        bound = stack_bound(built.elf, built.stack_usage, name)
        assert bound.bytes is not None, bound.problems
        assert bound.bytes >= 24


def test_what_assembly_pushes_counts_and_its_jumps_are_no_calls(built: BuildResult) -> None:
    graph = CallGraph(built.elf, built.stack_usage)
    assert graph.bound("assembly") == StackBound(5 * 4 + 44, ("assembly",))
    assert graph.bound("pushes") == StackBound(4 * 4 + 100, ("pushes",))


def test_a_name_that_two_files_have_is_the_heavier_of_both(built: BuildResult) -> None:
    graph = CallGraph(built.elf, built.stack_usage)
    assert "twin" in graph.bound("calls_light").path
    assert graph.frame("twin") >= 300
    heavy, light = graph.bound("calls_heavy"), graph.bound("calls_light")
    assert heavy.bytes is not None
    assert light.bytes is not None
    assert min(heavy.bytes, light.bytes) >= 300 + 200  # either may be the one that calls leaf()


def test_a_file_that_is_no_firmware_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "firmware.elf"
    wrong.write_text("not an ELF file")
    with pytest.raises(ToolchainError, match="cannot be read"):
        section_sizes(wrong)
    with pytest.raises(ToolchainError, match="cannot be read"):
        section_sizes(tmp_path / "absent")
