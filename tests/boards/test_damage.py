"""Damaged board files: one BoardError that names the file, or a board, whatever the damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyml import boards, resources
from tinyml.errors import BoardError

FILES = sorted(resources.boards_dir().glob("*.json"))
WILD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**32, 2**63, 2**64, 10**400, 0.5, 1e308, float("inf"), float("nan")]),
    st.sampled_from(
        ["", "..", "/etc/passwd", "../../x", "$(reboot)", '";', "0x", "1G", "-1", "\0", "*/", "x" * 5000]
    ),
    st.text(max_size=8),
)
VALUES = st.recursive(
    WILD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def survives(text: str | bytes, folder: Path) -> None:
    file = folder / "mine.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    message = ""
    try:
        board = boards.load(file)
        assert board.sram_bytes is None or board.sram_bytes >= 0
    except BoardError as error:
        message = str(error)
    assert not message or "mine.json" in message
    assert len(message) < 20_000


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, inner in items for p in places(inner, (*path, key)))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wrong_values_anywhere(data: st.DataObject, tmp_path: Path) -> None:
    manifest = json.loads(data.draw(st.sampled_from(FILES)).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(manifest)))
        if not path:
            manifest = data.draw(VALUES)
            continue
        inner = manifest
        for key in path[:-1]:
            inner = inner[key]
        match data.draw(st.sampled_from(("change", "remove", "rename"))):
            case "change":
                inner[path[-1]] = data.draw(VALUES)
            case "remove":
                del inner[path[-1]]
            case _ if isinstance(inner, dict):
                inner[data.draw(st.text(max_size=6))] = inner.pop(path[-1])
    survives(json.dumps(manifest), tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_text(data: st.DataObject, tmp_path: Path) -> None:
    text = bytearray(data.draw(st.sampled_from(FILES)).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=4))
        if not text:
            break
    survives(bytes(text), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"tinyml": ' + "[" * 900 + "]" * 900 + "}",
        '{"name": ' + "9" * 5000 + "}",
        '{"tinyml": {"extends": "mine"}}',
        '{"tinyml": {"extends": "../mine.json"}}',
        '{"tinyml": {"extends": "/dev/zero"}}',
    ],
    ids=["deep lists", "deep objects", "nested", "long number", "itself", "path to itself", "device"],
)
def test_files_made_to_hurt(text: str, tmp_path: Path) -> None:
    survives(text, tmp_path)
