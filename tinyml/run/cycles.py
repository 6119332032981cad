"""Estimated cycles of executed code: every straight run of instructions is priced once per core.

A price is made from published timings and says nothing of memory: zero wait states, no contention. It is
an estimate. How far such prices are from silicon is in tinyml/report/latency.json (`calibration`).

Sources:
    Cortex-M0: Arm DDI 0432C, table 3-1. Cortex-M0+: Arm DDI 0484C, table 3-1, also NXP UM10601, table
        "Cortex M0+ instruction summary".
    Cortex-M3: Arm DDI 0337E, 18.2 and 18.3. Cortex-M4: Arm 100166, table 3-1 and 3.3.3 (load and store
        timings); J. Lenz (jnk0le), "pipeline cycle test", measured on an STM32F407, agrees.
    Cortex-M7: Arm publishes no timings. Pairing and latencies as Arm gave them to LLVM
        (ARMScheduleM7.td), confirmed and refined by measurements on an STM32H743 (jnk0le, cortex_m7.md)
        and an STM32H730 (M. Owen, quinapalus.com/cm7cycles.html).
    Cortex-M33: measured on an RP2350 (jnk0le, cortex_m33.md); the latencies of Armv8-M scalar
        instructions as Arm gave them to LLVM for the M55, whose scalar pipeline is alike.
    Cortex-M55: ARMScheduleM55.td in LLVM, written from Arm's software optimisation guide: the beats of
        Helium instructions, their four pipes and which 16-bit instructions issue together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tinyml.run.disassembly import Instruction, Kind


@dataclass(frozen=True, slots=True)
class Price:
    """Cycles of one run of instructions.

    Args:
        cycles: where what follows is the instruction behind it, or its last instruction always leaves.
        jumped: cycles on top where the last instruction's condition makes it leave.
        mispredicted: cycles on top where a branch predictor was wrong.
    """

    cycles: float
    jumped: float = 0.0
    mispredicted: float = 0.0

    def total(self, count: int, jumped: int) -> float:
        """Return the cycles of `count` executions, `jumped` of which did not go straight on.

        A predictor is taken to know the direction a branch takes more often, and only that.
        """
        wrong = min(jumped, count - jumped)
        return count * self.cycles + jumped * self.jumped + wrong * self.mispredicted


class Core(Protocol):
    """A core's timings."""

    def price(self, block: Sequence[Instruction]) -> Price:
        """Return the price of a straight run of instructions, in program order."""


@dataclass(frozen=True, slots=True)
class ScalarCore:
    """A core that issues one instruction after the other: Armv6-M, Cortex-M3 and M4.

    Args:
        refill: cycles that a taken branch waits for its target (P of the manuals; 1 to 3 on M3 and M4, by
            alignment and speculation. 1 or 3 instead of 2 moves kws, vww96, resnet8 and ad01 by 1.3 % at
            most, address stalls by 0.2 %).
        call: the same for BL.
        register_jump: the same for BX and BLX.
        pipelined: whether a load right behind a load, and a store right behind a load, take one cycle.
        address_stall: cycles lost where an address is made of the result of the instruction before.
        multiply, long_multiply, long_accumulate, divide: cycles.
    """

    refill: int
    call: int
    register_jump: int
    pipelined: bool = False
    address_stall: int = 0
    multiply: int = 1
    accumulate: int = 1
    long_multiply: int = 1
    long_accumulate: int = 1
    divide: int = 7  # 2 to 12: as many as the quotient has bits, roughly

    def price(self, block: Sequence[Instruction]) -> Price:
        """Return the price of a straight run of instructions, in program order."""
        cycles = jumped = 0.0
        before: Instruction | None = None
        for instruction in block:
            if instruction.kind is Kind.BRANCH:
                refill = {"bl": self.call, "bx": self.register_jump, "blx": self.register_jump}.get(
                    instruction.name, self.refill
                )
                if instruction.name in ("tbb", "tbh"):
                    refill += 1
                cycles += 1
                if instruction.conditional:
                    jumped = refill
                else:
                    cycles += refill
            else:
                cycles += self._cycles(instruction, before)
                if "pc" in instruction.writes:
                    cycles += self.refill
            before = instruction
        return Price(cycles, jumped)

    def _cycles(self, instruction: Instruction, before: Instruction | None) -> int:
        if instruction.kind in (Kind.LOAD, Kind.STORE):
            return self._access(instruction, before)
        name = instruction.name
        if name in ("sdiv", "udiv"):
            return self.divide
        if name in ("mla", "mls"):
            return self.accumulate
        if name == "mul":
            return self.multiply
        if name in ("smull", "umull"):
            return self.long_multiply
        if name in ("smlal", "umlal"):
            return self.long_accumulate
        if name == "vmov" or not name.startswith("v"):
            return 1
        return {"vdiv": 14, "vsqrt": 14, "vmla": 3, "vmls": 3, "vfma": 3}.get(name.split(".")[0], 1)

    def _access(self, instruction: Instruction, before: Instruction | None) -> int:
        stall = 0
        if before is not None and before.kind not in (Kind.LOAD, Kind.STORE, Kind.BRANCH):
            stall = self.address_stall if before.writes & instruction.address_reads else 0
        name = instruction.name
        if "{" in instruction.text or name in ("ldrd", "strd"):
            return 1 + instruction.registers + stall
        if not self.pipelined:
            return 2
        behind_load = (
            before is not None
            and before.kind is Kind.LOAD
            and before.registers == 1
            and not before.writes & instruction.address_reads
        )
        if behind_load:
            return 1
        if instruction.kind is Kind.STORE:
            return (1 if instruction.offset is not None else 2) + stall
        return 2 + stall


# How an instruction uses a register decides how many cycles after its producer it may issue.
_USES = ("alu", "shift", "address", "multiply", "accumulate", "data")


@dataclass(frozen=True, slots=True)
class PipelinedCore:
    """A core with a pipeline that results pass at different stages: Cortex-M7, M33, M55.

    Instructions issue in order, at most two at a time. A run starts with all registers ready, so that
    what one turn of a loop delays in the next is not seen.

    Args:
        latency: per class of producer, cycles until each use of _USES may issue.
        pairs: rules that forbid issuing two instructions together.
        taken: cycles that a taken branch adds.
        mispredicted: cycles of a wrong prediction; 0 without a predictor.
        transfer: registers that LDM, LDRD, PUSH and the like move per cycle.
        divide: cycles of a division, during which nothing issues.
    """

    latency: Mapping[str, tuple[int, ...]]
    pairs: PairRule
    taken: int
    mispredicted: int
    transfer: int
    divide: int

    def price(self, block: Sequence[Instruction]) -> Price:
        """Return the price of a straight run of instructions, in program order."""
        ready: dict[str, tuple[int, str]] = {}  # register: cycle of issue and class of its producer
        pipes: dict[str, int] = {}  # pipe of Helium: first cycle it is free
        now = -1  # cycle of the last issue
        free = 0  # first cycle in which anything may issue
        older: Instruction | None = None  # the one issued in `now`, where it is alone there
        for instruction in block:
            earliest = max([free, now, *self._waits(instruction, ready)])
            if older is not None and earliest <= now and self.pairs(older, instruction):
                issued, older = now, None
            else:
                issued = max(earliest, now + 1)
                older = instruction
            if instruction.is_vector:
                pipe = _pipe(instruction)
                issued = max(issued, pipes.get(pipe, 0))
                pipes[pipe] = issued + 2  # two beats of 64 bits
            now = issued
            busy = self._busy(instruction)
            if busy > 1 or instruction.name in ("ldrd", "strd") or "{" in instruction.text:
                free, older = now + busy, None
            for register in instruction.writes:
                ready[register] = (now + busy - 1, _producer(instruction, register))
        last = block[-1]
        cycles = float(max(now + 1, free))
        if last.kind is Kind.BRANCH and last.name not in ("le", "letp"):
            if last.conditional:
                return Price(cycles, self.taken, self.mispredicted)
            cycles += self.taken
        elif "pc" in last.writes:
            cycles += max(self.taken, 1)
        elif last.name in ("le", "letp"):
            cycles -= 1  # the loop's end is remembered: no instruction issues for it
        return Price(cycles)

    def _waits(self, instruction: Instruction, ready: dict[str, tuple[int, str]]) -> list[int]:
        """Return the first cycles in which each operand is there."""
        plain = "multiply" if instruction.kind is Kind.MAC and _is_multiply(instruction) else "alu"
        if _is_early(instruction):
            plain = "shift"
        waits = []
        for use, registers in (
            (plain, instruction.reads),
            ("shift", instruction.shift_reads),
            ("address", instruction.address_reads),
            ("accumulate", instruction.accumulates),
            ("data", instruction.data_reads),
        ):
            for register in registers:
                if register in ready and not (register == "flags" and instruction.kind is Kind.BRANCH):
                    issued, producer = ready[register]
                    waits.append(issued + self.latency[producer][_USES.index(use)])
        return waits

    def _busy(self, instruction: Instruction) -> int:
        if instruction.name in ("sdiv", "udiv"):
            return self.divide
        if instruction.registers > 1 and not instruction.is_vector:
            return -(-instruction.registers // self.transfer)
        return 1


class PairRule(Protocol):
    """Whether a core issues two instructions together, operands permitting."""

    def __call__(self, older: Instruction, younger: Instruction) -> bool:
        """Return True where it does."""


_EARLY = re.compile(
    r"[su]bfx|rbit|rev(?:16|sh)?|pkh(?:bt|tb)|[su]xta[bh]|[su]xtab16|[su]sat(?:16)?|qd(?:add|sub)"
)
_SIMPLE = re.compile(r"add|addw|sub|subw|mov|movw|movt|lsl|lsr|asr|ror|adr")
_SLOW = re.compile(r"[su]sat(?:16)?|u?q\w+|usada?8")
_BITS = re.compile(r"bf[ic]|[su]bfx|clz|rbit|rev(?:16|sh)?|[su]xt[bh]")
_DOUBLE = re.compile(
    r"(?:ld|st)(?:rd|m)\w*|push|pop|v?(?:ldm|stm)\w*|vpush|vpop|[su]div|mrs|msr|[di][sm]b|tb[bh]"
)


def _is_multiply(instruction: Instruction) -> bool:
    return instruction.kind is Kind.MAC and instruction.name.startswith(
        ("mul", "ml", "sm", "um", "vm", "vqr", "vrm")
    )


def _is_early(instruction: Instruction) -> bool:
    """Whether it needs its operands a cycle before others do."""
    return _EARLY.fullmatch(instruction.name) is not None or (
        "ror #" in instruction.text and instruction.kind is Kind.MAC
    )


def _producer(instruction: Instruction, register: str) -> str:
    """Return the class that decides how soon a result of an instruction can be used."""
    name = instruction.name
    if instruction.is_vector:
        return "slow" if _pipe(instruction) == "float" else "vector"
    if instruction.kind is Kind.LOAD:
        if register == instruction.base_update:
            return "simple"
        return "load" if name in ("ldr", "ldrd", "ldm", "ldmia", "ldmdb", "pop") else "narrow_load"
    if instruction.kind is Kind.STORE:
        return "simple"
    if _is_multiply(instruction):
        return "multiply"
    if _SLOW.fullmatch(name):
        return "slow"
    if instruction.kind is Kind.MAC or _BITS.fullmatch(name):
        return "simd"
    if instruction.shift_reads:
        return "shifted"
    return "simple" if _SIMPLE.fullmatch(name) else "alu"


def _pipe(instruction: Instruction) -> str:
    """Return the pipe of a Helium instruction."""
    name = instruction.name
    if instruction.kind in (Kind.LOAD, Kind.STORE):
        return "memory"
    if re.match(r"vr?ml|vq?r?d?ml|vq?r?d?mul|vmul|vaddl?v|vcmp|vpt|vfm|vcvt|vmov(?![ln])", name):
        return "float"
    return "system" if name in ("vpst", "vpnot", "vctp") else "integer"


def _m7_pairs(older: Instruction, younger: Instruction) -> bool:
    """Pairing of the Cortex-M7: one multiplication, store, shift; one SIMD operation, in the older slot."""
    both = (older, younger)
    if any(_DOUBLE.fullmatch(i.name) for i in both):
        return False
    multiplies = [_is_multiply(i) for i in both]
    stores = [i.kind is Kind.STORE for i in both]
    if all(multiplies) or all(stores) or (any(multiplies) and any(stores)):
        return False
    if older.kind is Kind.BRANCH:
        return not older.conditional or younger.kind is not Kind.BRANCH
    simd = [
        not m and (i.kind is Kind.MAC or _BITS.fullmatch(i.name) is not None)
        for i, m in zip(both, multiplies, strict=True)
    ]
    if simd[1]:
        return False
    shifts = [bool(i.shift_reads) or _is_early(i) for i in both]
    if all(shifts):
        return False
    if all(i.kind is Kind.LOAD for i in both):
        return _other_bank(older, younger)
    return not older.writes & younger.writes - {"flags"}


def _other_bank(older: Instruction, younger: Instruction) -> bool:
    """Whether two loads surely read an even and an odd word; where that is not known they wait."""
    if older.base_update or older.offset is None or younger.offset is None:
        return False
    same = older.address_reads == younger.address_reads
    return same and (older.offset // 4 - younger.offset // 4) % 2 == 1


def _m33_pairs(older: Instruction, younger: Instruction) -> bool:
    """Pairing of the Cortex-M33: a 16-bit branch or IT behind another 16-bit instruction."""
    return older.size == younger.size == 2 and (
        younger.kind is Kind.BRANCH or younger.name.startswith("it") or "nop" in (older.name, younger.name)
    )


def _m55_pairs(older: Instruction, younger: Instruction) -> bool:
    """Pairing of the Cortex-M55: two 16-bit instructions, one of them of a few simple ones."""
    if older.size != 2 or younger.size != 2:
        return False
    if younger.kind is Kind.BRANCH or younger.name.startswith("it"):
        return True

    def simple(i: Instruction) -> bool:
        immediate = "#" in i.text or i.name in ("mov", "uxtb", "uxth", "sxtb", "sxth", "nop")
        return immediate and i.name in ("add", "sub", "mov", "uxtb", "uxth", "sxtb", "sxth", "nop")

    return simple(older) or simple(younger)


# Cycles from a producer's issue to that of      alu shift address multiply accumulate data
_M7_LATENCY = {
    "simple": (0, 1, 1, 1, 0, 0),
    "alu": (1, 2, 2, 1, 0, 0),
    "shifted": (1, 2, 2, 1, 0, 0),
    "simd": (1, 2, 2, 1, 0, 0),
    "slow": (2, 3, 3, 2, 1, 1),
    "load": (1, 2, 2, 2, 1, 0),
    "narrow_load": (2, 3, 3, 2, 1, 0),
    "multiply": (2, 3, 3, 2, 1, 1),
    "vector": (3, 3, 3, 3, 3, 3),  # none on this core
}
_M33_LATENCY = {
    "simple": (1, 1, 1, 1, 1, 1),
    "alu": (1, 1, 1, 1, 1, 1),
    "shifted": (2, 2, 2, 2, 1, 1),
    "simd": (2, 2, 2, 2, 1, 1),
    "slow": (2, 2, 2, 2, 1, 1),
    "load": (2, 2, 2, 2, 1, 1),
    "narrow_load": (2, 2, 2, 2, 1, 1),
    "multiply": (2, 2, 2, 2, 1, 1),
    "vector": (1, 1, 1, 1, 1, 1),
}

CORES: dict[str, Core] = {
    # DDI 0432C: branch 3 where taken, BL 4, BX 3. The multiplier of one cycle that all known chips have.
    "cortex-m0": ScalarCore(refill=2, call=3, register_jump=2),
    "cortex-m0plus": ScalarCore(refill=1, call=2, register_jump=1),
    "cortex-m3": ScalarCore(
        2, 2, 2, True, 1, accumulate=2, long_multiply=4, long_accumulate=6
    ),  # 3 to 5 and 4 to 7, by the operands
    "cortex-m4": ScalarCore(2, 2, 2, True, 1),
    "cortex-m7": PipelinedCore(_M7_LATENCY, _m7_pairs, taken=0, mispredicted=7, transfer=2, divide=7),
    "cortex-m33": PipelinedCore(_M33_LATENCY, _m33_pairs, taken=1, mispredicted=0, transfer=1, divide=6),
    "cortex-m55": PipelinedCore(_M33_LATENCY, _m55_pairs, taken=1, mispredicted=0, transfer=1, divide=6),
}
