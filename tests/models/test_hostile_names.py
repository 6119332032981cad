"""Names that would end comments, strings, tags and commands: every output stays what it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.kernels.harness import WARNINGS
from tests.tflite_builder import ModelBuilder
from tinyml import boards
from tinyml.build import Planning, build, compile_model, open_target
from tinyml.cli.app import cli
from tinyml.verify import verify

NAMES = (
    'quote"; system("reboot"); //',
    "comment */ int evil = 1; /* and // more \\",
    "line\nbreak\r\n#include <evil.h>\u2028",
    "trigraph ??/ ??' ??> end ??/\n",
    "%s%n%d {0} {{ 7*7 }} {% raw %} ${HOME} $(reboot) `reboot` #{x}",
    "../../../etc/passwd\0hidden",
    "</script><script>alert(1)</script><!-- & <b>[red]x[/red]",
    "\x1b[2J\x1b]0;title\x07 \u202egnirts \ud83d\ude00 ﬀ",
    "| cell | `code` [link](javascript:alert(1)) ![x](y)",
    "long" * 5000,
)
STEM = "x\"*? '$(reboot)`%s${HOME}??'<script>\n[red]\x1b[2J;#{{7*7}}-ü"
OUTPUTS = ("*.c", "*.h", "*.md", "*.ini", "*.json", "*.html", "*.ld", "*.cpp", "*.txt")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of images whose every tensor has such a name, in a file that has one."""
    b = ModelBuilder(4)
    x = b.input((1, 8, 8, 3))
    for _ in range(4):
        x = b.depthwise(b.conv2d(x, 6, activation="relu"))
    b.output(b.softmax(b.fully_connected(b.mean(x, [1, 2]), 5)), b.unary("HARD_SWISH", x))
    for i, record in enumerate(b.tensors):
        record.name = NAMES[i % len(NAMES)].encode("utf-8", "replace").decode()
    return b.save(tmp_path_factory.mktemp("hostile") / f"{STEM}.tflite")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attributes)


def _harmless(text: str) -> None:
    """No control characters, nor any that turn the direction of text."""
    strange = {c for c in text if (ord(c) < 32 and c not in "\n\t") or ord(c) == 127 or c in "\u202e\u2028"}
    assert not strange, strange


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_what_is_written_is_valid(model: Path, compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    out = tmp_path / "out"
    compiled = compile_model(model, boards.load("mps2-an386"), Planning(schedule="stream"))
    build(compiled, out, toolchain="gcc")
    assert compiled.graph.name.isidentifier()
    assert compiled.graph.name.isascii()
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert all(out in file.parents for file in written)
    assert not [f for f in written if set(str(f.relative_to(out))) & set("\"'*?$`%<>\n[]\x1b;#{}() ")]
    for pattern in OUTPUTS:
        for file in out.rglob(pattern):
            text = file.read_text("utf-8")
            _harmless(text)
            assert "<script>alert" not in text, file
            if pattern in ("*.c", "*.h", "*.cpp", "*.ini"):
                assert not {"reboot)", "${HOME}", "%s%n", "??/"} & {w for w in text.split() if w}, file
                assert "7*7" not in text
    sources = out / "lib" / compiled.graph.name / "src"
    # -std=c11 replaces trigraphs, and says so.
    command = [compiler, "-std=c11", "-Wtrigraphs", "-Wformat=2", *WARNINGS, "-fsyntax-only", f"-I{sources}"]
    done = subprocess.run(
        [*command, *map(str, sources.glob("*.c"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    json.loads((out / "report.json").read_text())
    json.loads((out / "plan.json").read_text())
    tags = _Tags()
    tags.feed((out / "report.html").read_text("utf-8"))
    assert not {"red", "img", "iframe", "object"} & tags.seen


def test_it_runs_and_is_compared(model: Path, tmp_path: Path) -> None:
    compiled = compile_model(model, boards.load("host"))
    with open_target(compiled, tmp_path, toolchain="gcc") as target:
        assert verify(model, target, samples=2).mismatched_samples == 0


@pytest.mark.parametrize("verb", ["inspect", "plan", "verify"])
def test_a_terminal_and_json_show_text(model: Path, verb: str) -> None:
    arguments = [verb, *(() if verb == "inspect" else ("--board", "host")), str(model)]
    result = CliRunner().invoke(cli, arguments, color=False)
    assert result.exit_code == 0, result.output
    _harmless(result.output)
    assert "\x1b" not in result.output
    result = CliRunner().invoke(cli, [arguments[0], "--json", *arguments[1:]])
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)


def test_errors_show_text(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / model.name
    data = model.read_bytes()
    damaged.write_bytes(data[: len(data) // 2])
    for arguments in (
        ["inspect", str(damaged)],
        ["inspect", str(damaged) + "x"],
        ["plan", "--board", STEM, str(model)],
    ):
        result = CliRunner().invoke(cli, arguments, color=False)
        assert result.exit_code != 0
        _harmless(result.output.replace("\r\n", "\n"))
