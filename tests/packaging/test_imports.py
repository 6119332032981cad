"""Imports follow the arrows of docs/architecture.md, and the first half of the way stays light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tinyml"

# Each part may import only from parts that stand before it.
ORDER = (
    "errors",
    "files",
    "resources",
    "graph",
    "access",
    "boards",
    "numerics",
    "aliases",
    "readers",
    "reference",
    "passes",
    "kernels",
    "select",
    "planner",
    "emit",
    "report",
    "toolchain",
    "oracle",
    "oracle_onnx",
    "run",
    "build",
    "verify",
    "infer",
    "tune",
    "quantize",
    "cli",
    "__main__",
)
LIGHT = ORDER[: ORDER.index("emit") + 1]  # what inspect, plan and generate stand on
LIGHT_PACKAGES = {"numpy", "flatbuffers", "tflite", "jinja2", "jsonschema"}
# Loaded for a model that needs them, and named by an error where they are missing.
OPTIONAL_PACKAGES = {
    "onnx": {"readers", "oracle_onnx"},
    "google": {"readers"},
    "onnxruntime": {"oracle_onnx"},
}
# The only places that may import the heavy ones.
OWNERS = {
    "ai_edge_litert": {"oracle"},
    "cffi": {"run"},
    "serial": {"run", "toolchain"},
    "elftools": {"toolchain", "run"},
    "platformio": {"toolchain"},
    "SCons": {"toolchain"},
    "click": {"cli"},
    "rich": {"cli", "report"},
    "tensorflow": {"quantize"},
    "keras": {"quantize"},
    "sklearn": set(),
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute module) of every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            if node.module == "tinyml":  # from tinyml import boards
                for alias in node.names:
                    yield node.lineno, f"tinyml.{alias.name}"
            else:
                yield node.lineno, node.module


def test_every_part_has_a_place_in_the_order() -> None:
    assert {part(path) for path in modules()} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_backwards(path: Path) -> None:
    own = part(path)
    for line, module in imported(path):
        names = module.split(".")
        if names[0] == "tinyml":
            if len(names) == 1 or names[1] == "__version__":
                continue
            assert own != "__init__", f"{path}:{line}: the package itself imports nothing"
            assert names[1] in ORDER, f"{path}:{line}: {module}"
            assert ORDER.index(names[1]) <= ORDER.index(own), f"{path}:{line}: {own} imports {module}"
        elif names[0] in OPTIONAL_PACKAGES:
            assert own in OPTIONAL_PACKAGES[names[0]], f"{path}:{line}: {own} imports {module}"
            continue
        elif names[0] in OWNERS:
            assert own in OWNERS[names[0]], f"{path}:{line}: {own} imports {module}"
        elif names[0] not in sys.stdlib_module_names:
            assert names[0] in LIGHT_PACKAGES, f"{path}:{line}: {module} is in no list of this test"
        if own in LIGHT and names[0] != "tinyml" and names[0] not in sys.stdlib_module_names:
            assert names[0] in LIGHT_PACKAGES, f"{path}:{line}: {own} must work without {module}"


def test_one_file_imports_tensorflow_and_nothing_of_ours() -> None:
    """It runs in a process of its own, where `tinyml` need not be importable."""
    packages = {path: {module.split(".")[0] for _, module in imported(path)} for path in modules()}
    (worker,) = (path for path, names in packages.items() if names & {"tensorflow", "keras"})
    assert worker == PACKAGE / "quantize" / "worker.py"
    assert "tinyml" not in packages[worker]


@pytest.mark.parametrize(
    "arguments",
    [["inspect"], ["plan", "--board", "stm32f746"], ["generate", "--board", "stm32f746", "-o", "out"]],
    ids=lambda arguments: arguments[0],
)
def test_the_light_commands_load_nothing_heavy(
    arguments: list[str], digits_model: Path, tmp_path: Path
) -> None:
    """What the syntax trees cannot show: what is loaded in fact."""
    script = (
        "import json, sys\n"
        "from tinyml.cli.app import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "-q", str(digits_model)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/nonexistent"},  # no compiler either
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "numpy" in loaded
    heavy = {name for name, owners in OWNERS.items() if not owners & {"cli", "report"}} | set(
        OPTIONAL_PACKAGES
    )
    assert loaded & heavy == set()
