"""Prices of instruction sequences follow the cores' published timings."""

from __future__ import annotations

import pytest

from tinyml.run.cycles import CORES, Price
from tinyml.run.disassembly import Instruction, Kind, decode


def block(*lines: str) -> list[Instruction]:
    """Decode "mnemonic operands" lines; ".n" makes an instruction 16 bits wide, everything else is 32."""
    instructions, address = [], 0
    for line in lines:
        mnemonic, _, operands = line.partition(" ")
        size = 2 if mnemonic.endswith(".n") else 4
        instructions.append(decode(address, size, mnemonic, operands))
        address += size
    return instructions


def price(core: str, *lines: str) -> Price:
    return CORES[core].price(block(*lines))


@pytest.mark.parametrize(
    ("line", "name", "kind", "writes", "reads"),
    [
        ("adds.n r0, #1", "add", Kind.ALU, {"r0", "flags"}, {"r0"}),
        ("addne.w r0, r1, r2", "add", Kind.ALU, {"r0"}, {"r0", "r1", "r2", "flags"}),
        ("cmp.n r0, r1", "cmp", Kind.ALU, {"flags"}, {"r0", "r1"}),
        ("movs.n r0, r1", "mov", Kind.ALU, {"r0", "flags"}, {"r1"}),
        ("movt r0, #4096", "movt", Kind.ALU, {"r0"}, {"r0"}),
        ("lsls.n r0, r1, #3", "lsl", Kind.ALU, {"r0", "flags"}, {"r1"}),
        ("muls.n r0, r1, r0", "mul", Kind.MAC, {"r0", "flags"}, {"r0", "r1"}),
        ("smlad r0, r1, r2, r3", "smlad", Kind.MAC, {"r0"}, {"r1", "r2"}),
        ("smull r0, r1, r2, r3", "smull", Kind.MAC, {"r0", "r1"}, {"r2", "r3"}),
        ("smmlar r0, r1, r2, r3", "smmlar", Kind.MAC, {"r0"}, {"r1", "r2"}),
        ("sxtb16 r0, r1, ror #8", "sxtb16", Kind.MAC, {"r0"}, set()),
        ("sxtb.w r0, r1", "sxtb", Kind.ALU, {"r0"}, {"r1"}),
        ("ssat r0, #8, r1, asr #2", "ssat", Kind.MAC, {"r0"}, set()),
        ("ldr.w r0, [r1], #4", "ldr", Kind.LOAD, {"r0", "r1"}, set()),
        ("ldrd r0, r1, [r2, #8]", "ldrd", Kind.LOAD, {"r0", "r1"}, set()),
        ("ldmia.w r0!, {r4, r5, r6-r8}", "ldmia", Kind.LOAD, {"r0", "r4", "r5", "r6", "r7", "r8"}, set()),
        ("pop.n {r4, pc}", "pop", Kind.LOAD, {"r4", "pc", "sp"}, set()),
        ("strb.w r0, [r1, r2]", "strb", Kind.STORE, set(), set()),
        ("push.n {r4, lr}", "push", Kind.STORE, {"sp"}, set()),
        ("bls.n 1234", "b", Kind.BRANCH, set(), {"flags"}),
        ("bl 1234", "bl", Kind.BRANCH, set(), set()),
        ("bx lr", "bx", Kind.BRANCH, set(), {"lr"}),
        ("cbnz r3, 1234", "cbnz", Kind.BRANCH, set(), {"r3"}),
        ("le lr, 1234", "le", Kind.BRANCH, set(), {"lr"}),
        ("csinc r0, r1, r2, cc", "csinc", Kind.ALU, {"r0"}, {"r1", "r2", "flags"}),
        ("bics.n r0, r1", "bic", Kind.ALU, {"r0", "flags"}, {"r0", "r1"}),
        ("ittt ne", "ittt", Kind.OTHER, set(), {"flags"}),
        ("vldrb.8 q0, [r0], #16", "vldrb", Kind.LOAD, {"q0", "r0"}, set()),
        ("vmlava.s8 r2, q0, q1", "vmlava", Kind.MAC, {"r2"}, {"q0", "q1"}),
        ("vmlalva.s16 r2, r3, q0, q1", "vmlalva", Kind.MAC, {"r2", "r3"}, {"q0", "q1"}),
        ("vmla.s32 q0, q1, r2", "vmla", Kind.MAC, {"q0"}, {"q0", "q1", "r2"}),
        ("wlstp.8 lr, r3, 1234", "wlstp", Kind.BRANCH, set(), {"lr", "r3"}),
        ("vadd.i32 q0, q1, q2", "vadd", Kind.MAC, {"q0"}, {"q1", "q2"}),
        ("vstrb.8 q0, [r0]", "vstrb", Kind.STORE, set(), set()),
    ],
)
def test_instructions_are_understood(
    line: str, name: str, kind: Kind, writes: set[str], reads: set[str]
) -> None:
    (instruction,) = block(line)
    assert (instruction.name, instruction.kind) == (name, kind)
    assert instruction.writes == writes
    assert instruction.reads == reads


def test_operands_that_pass_another_stage_are_told_apart() -> None:
    shifted, multiply, load, store = block(
        "add.w r0, r1, r2, lsl #3", "mla r0, r1, r2, r3", "ldr.w r0, [r1, r2, lsl #2]", "str.w r0, [r1, #4]"
    )
    assert (shifted.reads, shifted.shift_reads) == ({"r1"}, {"r2"})
    assert (multiply.reads, multiply.accumulates) == ({"r1", "r2"}, {"r3"})
    assert (load.address_reads, load.offset) == ({"r1", "r2"}, None)
    across, then, alone = block("vmlava.s8 r2, q0, q1", "vmlavat.s8 r2, q0, q1", "vmlav.s8 r2, q0, q1")
    assert across.accumulates == then.accumulates == {"r2"}
    assert alone.accumulates == frozenset()
    assert (store.data_reads, store.address_reads, store.offset) == ({"r0"}, {"r1"}, 4)


@pytest.mark.parametrize(
    ("lines", "cycles"),
    [
        (["add r0, r1", "mul r0, r1, r2", "smlad r0, r1, r2, r3", "mla r0, r1, r2, r3"], 4),
        (["ldr r0, [r1]"], 2),
        (["ldr r0, [r1]", "ldr r2, [r1, #4]", "ldr r3, [r1, #8]"], 4),  # loads follow in a pipeline
        (["ldr r0, [r1]", "ldr r2, [r0]"], 4),  # unless the address is what was loaded
        (["ldr r0, [r1]", "str r0, [r2]"], 3),
        (["str r0, [r2]", "ldr r1, [r2, #4]"], 3),
        (["str r0, [r1, r2]"], 2),
        (["add r1, r1, #4", "ldr r0, [r1]"], 4),  # no way from the ALU to the address
        (["add r1, r1, #4", "nop", "ldr r0, [r1]"], 4),
        (["ldrd r0, r1, [r2]"], 3),
        (["ldmia r0!, {r1, r2, r3, r4}"], 5),
        (["pop {r4, r5, pc}"], 6),
        (["b 0"], 3),
    ],
)
def test_cortex_m4(lines: list[str], cycles: int) -> None:
    assert price("cortex-m4", *lines) == Price(cycles)


def test_a_conditional_branch_costs_more_where_it_is_taken() -> None:
    loop = price("cortex-m4", "subs r0, r0, #1", "bne 0")
    assert loop == Price(2, 2)
    assert loop.total(10, 9) == 10 * 2 + 9 * 2
    assert price("cortex-m0", "subs.n r0, r0, #1", "bne.n 0") == Price(2, 2)
    assert price("cortex-m0plus", "subs.n r0, r0, #1", "bne.n 0") == Price(2, 1)
    # a predictor knows the usual direction: of 10 turns it misses the last
    assert price("cortex-m7", "subs r0, r0, #1", "bne 0").total(10, 9) == 10 * 1 + 7
    assert price("cortex-m33", "subs.n r0, r0, #1", "bne.n 0") == Price(1, 1)
    assert price("cortex-m33", "subs r0, r0, #1", "bne 0") == Price(2, 1)


def test_cores_without_a_pipeline_for_loads() -> None:
    loads = ["ldr.n r0, [r1, #0]", "ldr.n r2, [r1, #4]"]
    assert price("cortex-m0", *loads) == price("cortex-m0plus", *loads) == Price(4)
    assert price("cortex-m0", "bl 0") == Price(4)
    assert price("cortex-m0plus", "bl 0") == Price(3)
    assert price("cortex-m3", "smull r0, r1, r2, r3") == Price(4)


@pytest.mark.parametrize(
    ("lines", "cycles"),
    [
        (["add r0, r1", "eor r2, r3", "add r4, r5", "eor r6, r7"], 2),  # two at a time
        (["eor r0, r1", "eor r2, r0"], 2),  # but not with the other's result
        (["add r0, r1", "eor r2, r0"], 1),  # unless that is a plain sum: there is an early and a late ALU
        (["smlad r0, r1, r2, r0", "smlad r3, r4, r5, r3"], 2),  # one multiplier
        (["smlad r0, r1, r2, r0", "ldr r3, [r4]"], 1),
        (["smlad r0, r1, r2, r0", "str r3, [r4]"], 2),
        (["smlad r0, r1, r2, r0", "smlad r0, r3, r4, r0", "smlad r0, r5, r6, r0"], 3),  # sums follow at once
        (["mul r0, r1, r2", "eor r3, r0"], 3),
        (["ldr r0, [r1]", "smlad r2, r0, r3, r2"], 3),
        (["ldr r0, [r1]", "eor r2, r0, r3"], 2),
        (["ldrb r0, [r1]", "eor r2, r0, r3"], 3),
        (["ldr r0, [r1]", "ldr r2, [r1, #4]"], 1),  # an even and an odd word
        (["ldr r0, [r1]", "ldr r2, [r1, #8]"], 2),
        (["str r0, [r1]", "str r2, [r1, #4]"], 2),
        (["ldr r0, [r1]", "str r0, [r2]"], 1),
        (["sxtb16 r0, r1", "add r2, r3"], 1),
        (["add r2, r3", "sxtb16 r0, r1"], 2),  # SIMD issues in the older place only
        (["add r0, r1, r2, lsl #2", "add r3, r4, r5, lsl #2"], 2),  # one shifter
        (["ldrd r0, r1, [r2]", "add r3, r4"], 2),
        (["ldmia r0!, {r1, r2, r3, r4}"], 2),
    ],
)
def test_cortex_m7(lines: list[str], cycles: int) -> None:
    assert price("cortex-m7", *lines).cycles == cycles


@pytest.mark.parametrize(
    ("lines", "cycles"),
    [
        (["ldr r0, [r1]", "eor r2, r0"], 3),
        (["ldr r0, [r1]", "smlad r2, r3, r4, r0"], 2),
        (["smlad r0, r1, r2, r0", "smlad r0, r3, r4, r0"], 2),
        (["add r0, r1", "eor r2, r3"], 2),
        (["ldmia r0!, {r1, r2, r3, r4}"], 4),
    ],
)
def test_cortex_m33(lines: list[str], cycles: int) -> None:
    assert price("cortex-m33", *lines).cycles == cycles


@pytest.mark.parametrize(
    ("lines", "cycles"),
    [
        (["vldrb.8 q0, [r0]", "vldrb.8 q1, [r1]"], 3),  # each takes the pipe for two beats
        (["vldrb.8 q0, [r0]", "vadd.i8 q1, q1, q0"], 2),  # another pipe: the second beats overlap
        (["vldrb.8 q0, [r0]", "vmlava.s8 r2, q0, q1", "vldrb.8 q2, [r1]", "vmlava.s8 r3, q2, q1"], 4),
        (["adds.n r0, #1", "ldr.n r1, [r2, #0]"], 1),
        (["adds.w r0, #1", "ldr.w r1, [r2, #0]"], 2),
        (["adds r0, r1", "le lr, 0"], 1),
    ],
)
def test_cortex_m55(lines: list[str], cycles: int) -> None:
    assert price("cortex-m55", *lines).cycles == cycles
