"""The tinyml platform. A tool that is already on PATH is used from there; only a missing one is asked
of PlatformIO's registry, so a machine with Arm GCC builds without network."""

import shutil

from platformio.public import PlatformBase

# package: (the program that stands for it, whether it serves uploads only)
ON_PATH = {
    "toolchain-gccarmnoneeabi": ("arm-none-eabi-gcc", False),
    "tool-openocd": ("openocd", True),
}


class TinymlPlatform(PlatformBase):
    def is_embedded(self):
        # Otherwise `pio test` would start the ELF on this computer.
        return True

    def configure_default_packages(self, options, targets):
        super().configure_default_packages(options, targets)
        protocol = options.get("upload_protocol", "")
        if not protocol and "board" in options:
            protocol = self.board_config(options["board"]).get("upload.protocol", "")
        uploads = any("upload" in target for target in targets) and protocol not in ("qemu", "custom")
        chosen = {spec.split("@")[0].strip().split("/")[-1] for spec in options.get("platform_packages", [])}
        for package, (program, for_upload) in ON_PATH.items():
            if package not in chosen:  # platform_packages in platformio.ini wins
                needed = uploads or not for_upload
                self.packages[package]["optional"] = not needed or shutil.which(program) is not None
