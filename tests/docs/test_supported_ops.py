"""docs/supported-ops.md is what tools/supported_ops.py writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tinyml.readers.operators import READERS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("supported_ops", ROOT / "tools" / "supported_ops.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    text = tool.PAGE.read_text(encoding="utf-8")
    assert text == tool.page(), f"run {tool.COMMAND}"
    assert all(f"\n### {name}\n" in text for name in READERS)
