"""docs/supported-ops.md is what tools/supported_ops.py writes."""

from __future__ import annotations

from tests.tools.load import load_tool
from tinyml.readers.operators import READERS


def test_the_page_is_up_to_date() -> None:
    tool = load_tool("supported_ops")
    text = tool.PAGE.read_text(encoding="utf-8")
    assert text == tool.page(), f"run {tool.COMMAND}"
    assert all(f"\n### {name}\n" in text for name in READERS)
