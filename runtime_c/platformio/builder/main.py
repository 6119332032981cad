"""SCons script of the tinyml platform: compile, link, convert, upload."""

import json
import os
import sys
from os.path import join

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
platform = env.PioPlatform()
board = env.BoardConfig()
sys.path.insert(0, platform.get_dir())
import board_files  # noqa: E402
import rp2040_checksum  # noqa: E402

with open(board.manifest_path) as file:
    manifest = json.load(file)
if "extends" in manifest["tinyml"]:
    sys.stderr.write("Error: %s extends another board; resolve it with `tinyml generate`\n" % board.id)
    env.Exit(1)

generated = env.subst(join("$BUILD_DIR", "generated"))
board_files.write_files(board.id, manifest, generated)
arch = board_files.arch_flags(manifest)
# Relative to where SCons runs: a flag is not quoted, and a project's folder may have spaces in its name.
link_map = os.path.relpath(env.subst(join("$BUILD_DIR", "firmware.map")), env.subst("$PROJECT_DIR"))

env.Replace(
    AR="arm-none-eabi-gcc-ar",
    AS="arm-none-eabi-gcc",
    CC="arm-none-eabi-gcc",
    CXX="arm-none-eabi-g++",
    LINK="arm-none-eabi-gcc",
    OBJCOPY="arm-none-eabi-objcopy",
    RANLIB="arm-none-eabi-gcc-ranlib",
    SIZETOOL="arm-none-eabi-size",
    ARFLAGS=["rcD"],
    PROGNAME="firmware",
    PROGSUFFIX=".elf",
    SIZEPROGREGEXP=r"^(?:\.boot2|\.isr_vector|\.text|\.ARM\.\w+|\.data)\s+(\d+).*",
    SIZEDATAREGEXP=r"^(?:\.stack|\.data|\.bss|\.noinit)\s+(\d+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPRINTCMD="$SIZETOOL -B -d $SOURCES",
)
env.Append(
    ASFLAGS=arch,
    ASPPFLAGS=["-x", "assembler-with-cpp"],
    CCFLAGS=board_files.compiler_flags(manifest, env.subst("$PROJECT_DIR")),
    CFLAGS=board_files.CFLAGS,
    CXXFLAGS=board_files.CXXFLAGS,
    CPPPATH=[generated],
    LINKFLAGS=arch + board_files.LINKFLAGS + ["-Wl,-Map," + link_map],
    BUILDERS=dict(
        ElfToBin=Builder(
            action=env.VerboseAction("$OBJCOPY -O binary $SOURCES $TARGET", "Building $TARGET"), suffix=".bin"
        ),
        ElfToHex=Builder(
            action=env.VerboseAction("$OBJCOPY -O ihex $SOURCES $TARGET", "Building $TARGET"), suffix=".hex"
        ),
    ),
)
if not board.get("build.ldscript", ""):
    env.Replace(LDSCRIPT_PATH=join(generated, "memory.ld"))

# PlatformIO's own size check reads these; the board file states the sizes once, per memory.
memory = manifest["tinyml"]["memory"]
for key, names in (("maximum_size", "flash"), ("maximum_ram_size", "ram")):
    board.update("upload." + key, sum(memory[name]["size"] for name in manifest["tinyml"][names]))

if "nobuild" in COMMAND_LINE_TARGETS:
    elf = join("$BUILD_DIR", "firmware.elf")
    images = [join("$BUILD_DIR", "firmware.bin"), join("$BUILD_DIR", "firmware.hex")]
else:
    elf = env.BuildProgram()
    env.Depends(elf, env.File(join(generated, "memory.ld")))
    if board_files.needs_boot2(manifest):
        env.AddPostAction(
            elf,
            env.VerboseAction(lambda target, source, env: rp2040_checksum.patch(str(target[0])), "Checksum $TARGET"),
        )
    images = [env.ElfToBin(join("$BUILD_DIR", "firmware"), elf), env.ElfToHex(join("$BUILD_DIR", "firmware"), elf)]
    env.Depends(images, "checkprogsize")
AlwaysBuild(env.Alias("nobuild", images))
buildprog = env.Alias("buildprog", images)
AlwaysBuild(env.Alias("size", elf, env.VerboseAction("$SIZEPRINTCMD", "Size $SOURCE")))


def fixed_port():
    """Return the TCP port of a socket:// upload or monitor port, or 0 for any free one."""
    for port in (env.subst("$UPLOAD_PORT"), env.GetProjectOption("monitor_port", "")):
        if port and port.startswith("socket://"):
            return int(port.rsplit(":", 1)[1])
    return 0


protocol = env.subst("$UPLOAD_PROTOCOL") or board.get("upload.protocol", "")
if protocol == "qemu":
    env.Replace(
        UPLOADER=join(platform.get_dir(), "qemu_upload.py"),
        UPLOADCMD='"$PYTHONEXE" "$UPLOADER" --board "%s" --elf "$SOURCE" --state "$BUILD_DIR" --port %d'
        % (board.manifest_path, fixed_port()),
    )
elif protocol in ("stlink", "openocd", "cmsis-dap"):
    interface = {"stlink": "interface/stlink.cfg", "cmsis-dap": "interface/cmsis-dap.cfg"}.get(
        protocol, board.get("debug.openocd_interface", "interface/stlink.cfg")
    )
    package = platform.get_package_dir("tool-openocd") or ""
    scripts = ' -s "%s"' % join(package, "openocd", "scripts") if os.path.isdir(package) else ""
    env.Replace(
        UPLOADER="openocd",
        UPLOADCMD='$UPLOADER%s -f %s -f target/%s.cfg -c "program {$SOURCE} verify reset exit"'
        % (scripts, interface, board.get("debug.openocd_target")),
    )
elif protocol != "custom":  # platformio.ini's upload_command is the core's own business
    sys.stderr.write("Warning: upload protocol '%s' is unknown\n" % protocol)
env.AddPlatformTarget("upload", elf, [env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")], "Upload")

Default([buildprog])
