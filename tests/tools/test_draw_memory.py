"""The drawings of docs/memory.md are those of today's planner, and say what is true."""

from __future__ import annotations

import importlib
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

from tinyml import boards
from tinyml.build import Planning, compile_model
from tinyml.planner.stream import row_op, stream_stage


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch, repo_root: Path) -> ModuleType:
    monkeypatch.syspath_prepend(repo_root / "tools")
    monkeypatch.delitem(sys.modules, "draw_memory", raising=False)
    return importlib.import_module("draw_memory")


def test_committed_drawings_are_up_to_date(draw: ModuleType, repo_root: Path) -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in draw.IMAGES.glob("*.svg")}
    drawn = draw.drawings()
    assert committed.keys() == drawn.keys()
    stale = [name for name in drawn if drawn[name] != committed[name]]
    assert not stale, "run: python tools/draw_memory.py"
    page = (repo_root / "docs" / "memory.md").read_text(encoding="utf-8")
    for name in drawn:
        assert f"images/{name}" in page
        ElementTree.fromstring(drawn[name])


def test_example_rings_are_as_large_as_the_planner_makes_them(draw: ModuleType, digits_model: Path) -> None:
    """The digits network's residual block, by the drawing's rules and by the planner's."""
    compiled = compile_model(digits_model, boards.load("host"), Planning(schedule="stream"))
    graph = compiled.graph
    ops = [row_op(graph, compiled.selections[i], single_rows=True) for i in range(6)]
    stage = stream_stage([op for op in ops if op is not None])
    names = {op.output: f"op {op.op}" for op in stage.ops}
    layers = []
    for op in stage.ops:
        (row_map, *_) = [row_map for tensor, row_map in op.reads()]
        layers.append(
            draw.Layer(
                names[op.output],
                tuple(names[t] for t in op.inputs if t in names),
                kernel=row_map.hi - row_map.lo + 1,
                stride=row_map.mul,
                pad=-row_map.lo,
            )
        )
    stream = draw.Stream(layers, {names[op.output]: op.access.rows for op in stage.ops})
    assert len(layers) == 6
    for op in stage.ops[:-1]:
        assert stream.ring(names[op.output]) == stage.ring_rows[op.output]


def test_all_strips_but_the_last_have_one_width_and_cover_everything(draw: ModuleType) -> None:
    for width in range(3, 40):
        for count in range(1, width + 1):
            parts = draw.strips(width, count)
            assert len({len(part) for part in parts[:-1]}) <= 1
            assert 0 < len(parts[-1]) <= len(parts[0])
            assert set().union(*parts) == set(range(width))


def test_the_best_placement_meets_the_bound_and_nothing_meets(draw: ModuleType) -> None:
    for order in ((0, 1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1, 0)):
        found = draw.lowest(order)
        for i in found:
            for j in found:
                a, b = draw.BLOCKS[i], draw.BLOCKS[j]
                if i < j and a[0] <= b[1] and b[0] <= a[1]:
                    assert found[i] + a[2] <= found[j] or found[j] + b[2] <= found[i]
    assert "largest first: 15 KB" in draw.offsets()
    assert "branch and bound: 12 KB" in draw.offsets()
