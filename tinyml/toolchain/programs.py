"""The programs that builds and runs call, and the commands that install them on Debian."""

from __future__ import annotations

import shutil

from tinyml.errors import ToolchainError

ARM_GCC_INSTALL = "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
HOST_GCC_INSTALL = "sudo apt-get install gcc libc6-dev"
OPENOCD_INSTALL = "sudo apt-get install openocd"
QEMU_INSTALL = "sudo apt-get install qemu-system-arm"


def require(program: str, install: str) -> str:
    """Return the path of a program.

    Args:
        program: its name.
        install: the command that installs it.

    Raises:
        ToolchainError: it is not on PATH.
    """
    path = shutil.which(program)
    if path is None:
        raise ToolchainError(
            f"{program} is not installed", expected="it must be on PATH", hint=f"install it with: {install}"
        )
    return path
