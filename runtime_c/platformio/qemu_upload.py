"""`pio run -t upload` for an emulated board: (re)start its machine with the new firmware.

The machine starts frozen. A keeper process (this script again, detached) lets it run as soon as
somebody opens the serial port, so that the firmware's first line is not lost. DIR/emu.json says where:
{"url": "socket://127.0.0.1:N", "qmp": PATH, "pid": QEMU's}. `--stop` ends it.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Qmp:
    """QEMU's control connection."""

    def __init__(self, path, process=None, timeout_s=5.0):
        self.socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + timeout_s
        while True:
            try:
                self.socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end or (process is not None and process.poll() is not None):
                    raise SystemExit("Error: QEMU did not start")
                time.sleep(0.01)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, command):
        self.file.write(json.dumps({"execute": command}) + "\n")
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])

    def uart(self):
        """Return the serial port's description, such as "disconnected:tcp:127.0.0.1:41235,server=on"."""
        return next(c["filename"] for c in self("query-chardev") if c["label"] == "uart")


def stop(state):
    """End the machine of an earlier upload, if there is one."""
    try:
        Qmp(json.loads(state.read_text())["qmp"], timeout_s=0.2)("quit")
    except (OSError, EOFError, SystemExit, ValueError, KeyError):
        pass
    state.unlink(missing_ok=True)


def keep(path):
    """Wait for somebody at the serial port, then let the machine run."""
    qmp = Qmp(path)
    try:
        while "disconnected" in qmp.uart():
            time.sleep(0.01)
        qmp("cont")
        for _ in range(100):  # QEMU's nRF51 and CMSDK ports notice input only when its main loop wakes
            time.sleep(0.01)
            qmp("query-status")
    except (EOFError, OSError):
        pass


def start(board, elf, folder, port):
    """Start the board's machine, frozen, and its keeper."""
    emulator = json.loads(Path(board).read_text())["tinyml"]["emulator"]
    qmp = folder / "qmp.sock"
    if len(str(qmp)) > 100:  # a Unix socket's path has at most 107 characters
        qmp = Path(tempfile.mkdtemp(prefix="tinyml-qemu-")) / "qmp.sock"
    qmp.unlink(missing_ok=True)
    serial = "socket,id=uart,host=127.0.0.1,port=%d,server=on,wait=off,nodelay=on" % port
    command = [emulator["program"], "-M", emulator["machine"], "-kernel", elf, "-S"]
    command += ["-display", "none", "-nodefaults", "-chardev", serial]
    command += ["-serial", "null"] * emulator["serial_index"] + ["-serial", "chardev:uart"]
    command += ["-semihosting-config", "enable=on,target=native"]
    command += ["-qmp", "unix:%s,server=on,wait=off" % qmp, "-qmp", "unix:%s2,server=on,wait=off" % qmp]
    command += emulator["args"]
    with (folder / "emu.log").open("w") as log:
        detached = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
        process = subprocess.Popen(command, **detached)
        url = "socket://" + Qmp(qmp, process).uart().split("tcp:")[1].split(",")[0]
        (folder / "emu.json").write_text(json.dumps({"url": url, "qmp": str(qmp), "pid": process.pid}))
        subprocess.Popen([sys.executable, __file__, "--keep", "%s2" % qmp], **detached)
    print("%s runs %s, serial port %s" % (emulator["machine"], Path(elf).name, url))


def main():
    """Parse the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--board")
    parser.add_argument("--elf")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--stop", action="store_true")
    parser.add_argument("--keep")
    options = parser.parse_args()
    if options.keep:
        keep(options.keep)
        return
    folder = options.state.resolve()
    stop(folder / "emu.json")
    if not options.stop:
        start(options.board, options.elf, folder, options.port)


if __name__ == "__main__":
    main()
