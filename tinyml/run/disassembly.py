"""A firmware's instructions as a cycle model needs them: from objdump's text to kinds and registers."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tinyml.errors import ToolchainError
from tinyml.toolchain.programs import ARM_GCC_INSTALL, require


class Kind(StrEnum):
    """Classes of instructions, as profiles show them."""

    LOAD = "load"
    STORE = "store"
    MAC = "mac_simd"  # multiplications and what the DSP extension or Helium adds
    ALU = "alu"
    BRANCH = "branch"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One Thumb instruction.

    Args:
        address: of its first byte.
        size: 2 or 4 bytes.
        name: the mnemonic without width, condition and the S of flags.
        kind: its class.
        writes: registers it writes, "flags" among them.
        reads: registers it needs when it executes.
        address_reads: registers its memory address is made of.
        shift_reads: registers that pass the shifter before they are used (`add r0, r1, r2, lsl #3`).
        accumulates: registers a multiply-accumulate only adds to.
        data_reads: registers that a store writes to memory.
        base_update: the base register of a pre- or post-indexed access, else "".
        offset: the address's immediate offset in bytes, None where it is a register.
        registers: how many registers a load or store moves.
        conditional: executed under a condition (a branch, or inside an IT block).
        text: the operands as objdump prints them.
    """

    address: int
    size: int
    name: str
    kind: Kind
    writes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    address_reads: frozenset[str] = frozenset()
    shift_reads: frozenset[str] = frozenset()
    accumulates: frozenset[str] = frozenset()
    data_reads: frozenset[str] = frozenset()
    base_update: str = ""
    offset: int | None = 0
    registers: int = 0
    conditional: bool = False
    text: str = ""

    @property
    def is_vector(self) -> bool:
        """Whether Helium executes it."""
        return self.name[0] == "v" and "q" in self.text


_CONDITIONS = ("eq", "ne", "cs", "cc", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
_CONDITION = "|".join(_CONDITIONS)
_BRANCH = re.compile(rf"(?:(b|bx|bl|blx)({_CONDITION})?|cbn?z|tb[bh]|le|letp|wls\w*|dls\w*)")
_LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{4} ?){1,2})\s*\t(\S*)(?:\t(.*))?$")
_REGISTER = re.compile(r"\b(r1?\d|sl|fp|ip|sp|lr|pc|q[0-7]|[sd][12]?\d|s30|s31)\b")
_SHIFTED = re.compile(r"(\w+), (?:lsl|lsr|asr|ror) #\d+$|(\w+), rrx$")
_LOADS = re.compile(r"ldr(?:b|h|sb|sh|d|ex|exb|exh)?|lda\w*|v?ldm\w*|v?pop|vldr\w*|vld[24]\w*")
_STORES = re.compile(r"str(?:b|h|d|ex|exb|exh)?|stl\w*|v?stm\w*|v?push|vstr\w*|vst[24]\w*")
_MULTIPLIES = re.compile(
    r"mul|ml[as]|[su]mull|[su]mlal\w*|umaal|sm(?:ul|la|lal|lsl)[bt][bt]|sm(?:ul|la)w[bt]|smm(?:ul|la|ls)r?|sm[lu][as]l?dx?|smlsld?x?"
)
_LONG = re.compile(r"[su]m(?:ull|lal\w*|lsldx?)|umaal")
_SIMD = re.compile(
    r"[su]xta?b16|[su]xta[bh]|pkh(?:bt|tb)|(?:[su]h?|u?q|sh|uh)(?:add|sub)(?:8|16)|(?:[su]h?|u?q)(?:asx|sax)"
    r"|q(?:d?add|d?sub)|[su]sat(?:16)?|usada?8|sel|[su]bfx16"
)
_COMPARES = ("cmp", "cmn", "tst", "teq")
_ONE_SOURCE = re.compile(
    r"movw?|mvn|[su]xt[bh]|[su]xtb16|rev(?:16|sh)?|rbit|clz|rrx|adr|vmov\w*|vmvn|vdup|vneg|vabs"
)
_KEEPS = re.compile(
    r"movt|bf[ic]|vml\w*|vqr?dml\w*|vpsel|vmovn?[bt]?|vsl[il]|vsri|vq?r?shrn[bt]|vqmovu?n[bt]|vshlc|vfm\w*"
)
# Helium operations across a vector, into one or two core registers; and those that add to them.
_ACROSS = re.compile(r"vr?ml[as]\w*|vaddl?va?[te]?|vabav[te]?|v(?:max|min)a?v[te]?")
_ACROSS_ADDING = re.compile(r"vr?ml[as]\w*vax?[te]?|vaddl?va[te]?|vabav[te]?|v(?:max|min)a?v[te]?")
_PLAIN = re.compile(
    r"adc|addw?|subw?|adr|and|bf[ic]|bic|cl[sz]|cm[np]|eor|ls[lr]|asr|mov[tw]?|mvn|neg|or[nr]|rbit|rev(?:16|sh)?"
    r"|ror|rrx|rsb|sbc|[su]bfx|[su]div|teq|tst|it[te]{0,3}|nop|[su]xt[bh]|mrs|msr|cs(?:el|inc|inv|neg)|cset|csetm"
    r"|svc|bkpt|udf|[di][sm]b"
)


def disassemble(elf: Path) -> dict[int, Instruction]:
    """Return {address: instruction} of a firmware's code.

    Raises:
        ToolchainError: objdump is missing or does not understand the file.
    """
    program = require("arm-none-eabi-objdump", ARM_GCC_INSTALL)
    # Helium is decoded only where it is asked for; to older cores' code the newest architecture is no harm.
    done = subprocess.run(
        [program, "-d", "-marmv8.1-m.main", str(elf)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ToolchainError(
            f"{elf.name} cannot be disassembled", where=str(elf), expected=done.stderr.strip()
        )
    instructions = {}
    for line in done.stdout.splitlines():
        match = _LINE.match(line)
        if match and not match[3].startswith("."):  # not data between functions
            size = 4 if len(match[2].split()) == 2 else 2
            address = int(match[1], 16)
            mnemonic, operands = match[3], match[4] or ""
            if not mnemonic:  # one that this objdump does not know
                mnemonic, operands = _undefined(match[2])
            instructions[address] = decode(address, size, mnemonic, operands)
    return instructions


def _undefined(code: str) -> tuple[str, str]:
    """Return mnemonic and operands of an instruction that objdump 2.40 calls undefined: CINC and its kin."""
    words = [int(word, 16) for word in code.split()]
    if len(words) == 2 and words[0] >> 4 == 0xEA5 and words[1] >> 15:
        return "csinc", f"r{words[1] >> 8 & 15}, r{words[0] & 15}, r{words[1] & 15}, al"
    return "udf", ""


def decode(address: int, size: int, mnemonic: str, operands: str) -> Instruction:
    """Return one instruction from objdump's mnemonic and operands."""
    text = re.split(r"\s*[;@<]", operands)[0].strip()
    mnemonic = mnemonic.removesuffix(".n").removesuffix(".w")
    if branch := _BRANCH.fullmatch(mnemonic.partition(".")[0]):
        return _branch(address, size, branch, text)
    name, conditional, flags = _base(mnemonic)
    registers = _REGISTER.findall(text)
    extra = (
        frozenset(["flags"])
        if conditional or name in ("adc", "sbc", "sel", "csel", "csinc", "csinv", "csneg")
        else frozenset()
    )
    if name.split(".")[0] and (_LOADS.fullmatch(name.split(".")[0]) or _STORES.fullmatch(name.split(".")[0])):
        return _access(address, size, name, text, conditional)
    if re.match(r"it[te]*$", name) or name in (
        "nop",
        "isb",
        "dsb",
        "dmb",
        "mrs",
        "msr",
        "svc",
        "bkpt",
        "udf",
        "vpst",
    ):
        needed = frozenset(["flags"]) if name.startswith("it") else frozenset[str]()
        return Instruction(address, size, name, Kind.OTHER, reads=needed, conditional=conditional, text=text)
    stem = name.split(".")[0]
    if _MULTIPLIES.fullmatch(stem):
        long = _LONG.fullmatch(stem)
        outputs = registers[: 2 if long else 1]
        inputs = registers[2:4] if long else registers[1:3] if len(registers) > 2 else registers[:2]
        adds = registers[3:4] if not long else outputs if not stem.endswith("mull") else []
        return Instruction(
            address,
            size,
            stem,
            Kind.MAC,
            frozenset(outputs) | _if(flags),
            frozenset(inputs) | extra,
            accumulates=frozenset(adds),
            conditional=conditional,
            text=text,
        )
    writes: frozenset[str] = frozenset() if stem in _COMPARES else frozenset(registers[:1])
    reads = registers if stem in _COMPARES else registers[1:]
    if stem not in _COMPARES and (
        conditional or _KEEPS.fullmatch(stem) or (text.count(",") == 1 and not _ONE_SOURCE.fullmatch(stem))
    ):
        reads = registers
    shifted = _SHIFTED.search(text)
    inline = (
        frozenset(g for g in shifted.groups() if g)
        if shifted and stem not in ("mov", "movs")
        else frozenset()
    )
    vector = stem.startswith("v")
    accumulates = frozenset[str]()
    if vector and _ACROSS.fullmatch(stem) and not registers[0].startswith("q"):
        writes = frozenset(r for r in registers if not r.startswith("q"))
        accumulates = writes if _ACROSS_ADDING.fullmatch(stem) else frozenset()
        reads = [r for r in registers if r.startswith("q")]
    if vector:
        kind = Kind.MAC if "q" in text else Kind.OTHER
    else:
        kind = Kind.MAC if _SIMD.fullmatch(stem) else Kind.ALU
    return Instruction(
        address,
        size,
        stem,
        kind,
        writes | _if(flags or stem in _COMPARES),
        (frozenset(reads) - inline) | extra,
        shift_reads=inline,
        accumulates=accumulates,
        conditional=conditional,
        text=text,
    )


def _if(flags: bool) -> frozenset[str]:
    return frozenset(["flags"]) if flags else frozenset()


def _base(mnemonic: str) -> tuple[str, bool, bool]:
    """Return (name, whether conditional, whether it sets flags) of a mnemonic such as "addsne"."""

    def known(name: str) -> bool:
        stem = name.split(".")[0]
        patterns = (_PLAIN, _LOADS, _STORES, _MULTIPLIES, _SIMD)
        return any(pattern.fullmatch(stem) for pattern in patterns)

    if mnemonic.startswith("v") or known(mnemonic):
        return mnemonic, False, False
    if mnemonic.endswith("s") and known(mnemonic[:-1]):
        return mnemonic[:-1], False, True
    head, _, tail = mnemonic.partition(".")
    if head[-2:] in _CONDITIONS and known(head[:-2]):
        return head[:-2] + ("." + tail if tail else ""), True, False
    if head[-2:] in _CONDITIONS and head[-3:-2] == "s" and known(head[:-3]):
        return head[:-3], True, True
    return mnemonic, False, False


def _branch(address: int, size: int, match: re.Match[str], text: str) -> Instruction:
    name = match[1] or match[0]
    conditional = bool(match[2]) or name.startswith(("cb", "le", "wls"))
    reads = frozenset(_REGISTER.findall(text)) if name not in ("b", "bl") else frozenset[str]()
    if match[2]:
        reads |= {"flags"}
    return Instruction(address, size, name, Kind.BRANCH, reads=reads, conditional=conditional, text=text)


def _access(address: int, size: int, name: str, text: str, conditional: bool) -> Instruction:
    stem = name.split(".")[0]
    load = _LOADS.fullmatch(stem) is not None
    kind = Kind.LOAD if load else Kind.STORE
    extra = frozenset(["flags"]) if conditional else frozenset[str]()
    if ("{" in text and not stem.startswith(("vld", "vst"))) or stem.startswith(("vldm", "vstm")):
        listed, base = _register_list(text), _REGISTER.findall(text.split("{")[0])
        update = (base[0] if base and "!" in text else "") if base else "sp"
        return Instruction(
            address,
            size,
            stem,
            kind,
            frozenset(listed if load else ()) | ({update} if update else set()),
            extra,
            frozenset(base or ["sp"]),
            data_reads=frozenset(() if load else listed),
            base_update=update,
            registers=len(listed),
            conditional=conditional,
            text=text,
        )
    moved, _, place = text.partition("[")
    inside, _, behind = place.partition("]")
    data = _REGISTER.findall(moved)
    parts = [part.strip() for part in inside.split(",")]
    update = parts[0] if behind.strip() else ""
    offset: int | None = None
    if len(parts) == 1 or parts[1].startswith("#"):
        offset = int(parts[1][1:], 0) if len(parts) > 1 else 0
    return Instruction(
        address,
        size,
        stem,
        kind,
        frozenset(data if load else ()) | ({update} if update else set()),
        extra,
        frozenset(_REGISTER.findall(inside)),
        data_reads=frozenset(() if load else data),
        base_update=update,
        offset=offset,
        registers=max(len(data), 1),
        conditional=conditional,
        text=text,
    )


def _register_list(text: str) -> list[str]:
    """Return the registers of "r0!, {r4, r5-r8, pc}", ranges spelt out."""
    names = []
    for part in text[text.index("{") + 1 : text.index("}")].split(","):
        first, _, last = part.strip().partition("-")
        if last and first[0] == last[0] and first[1:].isdigit() and last[1:].isdigit():
            names += [f"{first[0]}{i}" for i in range(int(first[1:]), int(last[1:]) + 1)]
        else:
            names += [first] + ([last] if last else [])
    return names
