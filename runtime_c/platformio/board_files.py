"""What a build derives from a board file: compiler flags, linker script, board_config.h.

Used by builder/main.py (PlatformIO) and by `tinyml build --toolchain gcc`, so that both give the same
binary. It needs nothing but the standard library, since a generated project carries a copy.
`manifest` is always the resolved board file (boards/<id>.json), as a dict.
"""

import re
from pathlib import Path

# The constant-array loops of kernels must stay loops: GCC would turn them into calls of memset and memcpy.
COMMON_CCFLAGS = [
    "-O2",
    "-fomit-frame-pointer",
    "-fno-tree-loop-distribute-patterns",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fstack-usage",
    "-g",
    "-Wall",
    "-Wextra",
    "-Wconversion",
]
CFLAGS = ["-std=c11"]
CXXFLAGS = ["-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"]
LINKFLAGS = [
    "-nostartfiles",
    "--specs=nano.specs",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
]
# -mslow-flash-data keeps constants out of literal pools behind every function; it needs MOVW/MOVT.
SLOW_FLASH_CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m85")


def arch_flags(manifest):
    """Return the flags that compiler and linker must agree on."""
    build = manifest["build"]
    flags = ["-mthumb", "-mcpu=" + build["cpu"], "-mfloat-abi=" + build["float_abi"]]
    if build["float_abi"] == "hard":
        flags.append("-mfpu=" + build.get("fpu", "auto"))
    return flags


def compiler_flags(manifest, project_dir):
    """Return arch and code generation flags; paths in the output are relative to the project."""
    flags = arch_flags(manifest) + COMMON_CCFLAGS
    if manifest["build"]["cpu"] in SLOW_FLASH_CORES:
        flags.append("-mslow-flash-data")
    if manifest["build"]["cpu"] == "cortex-m7":
        flags.append("-DTM_DUAL_ISSUE=1")
    return flags + ["-ffile-prefix-map=%s=." % project_dir]


def _run(manifest, key):
    memory = manifest["tinyml"]["memory"]
    names = manifest["tinyml"][key]
    origin = int(memory[names[0]]["origin"], 16)
    return origin, sum(memory[name]["size"] for name in names)


def linker_script(manifest):
    """Return memory.ld: sections.ld with the board's two regions and its stack's size."""
    flash, ram = _run(manifest, "flash"), _run(manifest, "ram")
    text = (Path(__file__).parent / "sections.ld").read_text()
    values = {
        # Numbers, not linker symbols: those would stand in the image's symbol table like addresses.
        "@FLASH_ORIGIN@": "0x%08X" % flash[0],
        "@FLASH_BYTES@": "%d" % flash[1],
        "@RAM_ORIGIN@": "0x%08X" % ram[0],
        "@RAM_BYTES@": "%d" % ram[1],
        "@STACK_BYTES@": "%d" % manifest["tinyml"]["reserve"]["stack"],
        "@BOOT2_BYTES@": "256" if needs_boot2(manifest) else "0",
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def needs_boot2(manifest):
    """Whether flash starts with the 256-byte second boot stage of the RP2040."""
    return manifest["tinyml"]["clock"]["family"] == "rp2040"


def _pin(name):
    """Return (port, pin): PA9 is (0, 9), P1.03 is (1, 3), GP0 is (0, 0)."""
    if match := re.fullmatch(r"P([A-K])(\d+)", name):
        return ord(match[1]) - ord("A"), int(match[2])
    if match := re.fullmatch(r"P(\d)\.(\d+)", name):
        return int(match[1]), int(match[2])
    return 0, int(name.removeprefix("GP"))


def board_config(board_id, manifest):
    """Return board_config.h: the board file's facts as macros."""
    own, build = manifest["tinyml"], manifest["build"]
    clock, uart = own["clock"], own["uart"]
    lines = [
        ("TM_BOARD_ID", '"%s"' % board_id),
        ("TM_CORE_" + build["cpu"].upper().replace("-", "_"), "1"),
        ("TM_CLOCK_" + clock["family"].upper(), "1"),
        ("TM_CLOCK_HZ", build["f_cpu"].rstrip("L") + "UL"),
        ("TM_FLASH_WAIT_STATES", "%dUL" % clock["flash_wait_states"]),
        ("TM_CYCLES_" + own["cycle_counter"].upper(), "1"),
        ("TM_UART_" + uart["kind"].upper(), "1"),
        ("TM_UART_BASE", uart["base"] + "UL"),
        ("TM_UART_IRQ", "%dUL" % uart["irq"][0]),
        ("TM_UART_BAUD", "%dUL" % uart["baud"]),
    ]
    if len(uart["irq"]) > 1:
        lines.append(("TM_UART_IRQ2", "%dUL" % uart["irq"][1]))
    if "source" in clock:
        lines.append(("TM_CLOCK_SOURCE_" + clock["source"].upper(), "1"))
        lines.append(("TM_CLOCK_SOURCE_HZ", "%dUL" % clock["source_hz"]))
    for name, value in clock.get("pll", {}).items():
        lines.append(("TM_PLL_" + name.upper(), "%dUL" % value))
    for name in ("ahb", "apb1", "apb2"):
        if name in clock:
            lines.append(("TM_%s_DIV" % name.upper(), "%dUL" % clock[name]))
    if "bus" in uart:
        lines.append(("TM_UART_APB_DIV", "TM_%s_DIV" % uart["bus"].upper()))
    if "enable" in uart:
        lines.append(("TM_UART_ENABLE_REGISTER", uart["enable"]["register"] + "UL"))
        lines.append(("TM_UART_ENABLE_BIT", "%dUL" % uart["enable"]["bit"]))
    if "af" in uart:
        lines.append(("TM_UART_AF", "%dUL" % uart["af"]))
    for name in ("tx", "rx"):
        if name in uart:
            port, pin = _pin(uart[name])
            lines.append(("TM_UART_%s_PORT" % name.upper(), "%dUL" % port))
            lines.append(("TM_UART_%s_PIN" % name.upper(), "%dUL" % pin))
    return (
        "/* From boards/%s.json. Do not edit. */\n" % board_id
        + "#ifndef TM_BOARD_CONFIG_H\n#define TM_BOARD_CONFIG_H\n"
        + "".join("#define %s %s\n" % line for line in lines)
        + "#endif\n"
    )


def write_if_changed(path, text):
    """Write a file; leave it, and what depends on it, alone where it already says so."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def write_files(board_id, manifest, folder):
    """Write memory.ld and board_config.h into `folder`."""
    write_if_changed(Path(folder) / "memory.ld", linker_script(manifest))
    write_if_changed(Path(folder) / "board_config.h", board_config(board_id, manifest))
