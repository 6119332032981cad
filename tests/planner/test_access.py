"""AccessMap.overlap_distance against a byte-by-byte search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyml.access import AccessMap, RowMap


def _safe(access: AccessMap, i: int, distance: int) -> bool:
    """Walk the steps, the output `distance` below the input: is every byte read before it is lost?"""
    row_map = access.inputs[i]
    assert row_map is not None
    input_at = distance
    for first, end in access.steps():
        written = range(first * access.row_bytes, end * access.row_bytes)
        for row in range(end if access.buffered else first, access.rows):
            for source in range(row_map.first(row), row_map.last(row) + 1):
                start = input_at + source * row_map.row_bytes
                if start < written.stop and written.start < start + row_map.row_bytes:
                    return False
    return True


@st.composite
def _maps(draw: st.DrawFn) -> AccessMap:
    mul = draw(st.integers(0, 3))
    lo = draw(st.integers(-4, 3))
    row_map = RowMap(
        rows=draw(st.integers(1, 12)),
        row_bytes=draw(st.integers(1, 6)),
        mul=mul,
        lo=lo,
        hi=lo + draw(st.integers(0, 6)),
    )
    return AccessMap(
        rows=draw(st.integers(1, 12)),
        row_bytes=draw(st.integers(1, 6)),
        inputs=(row_map,),
        granule=draw(st.integers(1, 14)),
        buffered=draw(st.booleans()),
    )


@given(_maps())
def test_distance_is_the_maximum_over_all_steps(access: AccessMap) -> None:
    row_map = access.inputs[0]
    assert row_map is not None
    distances = [
        end * access.row_bytes - needed
        for first, end in access.steps()
        if (needed := access.needed_from(0, (first, end))) is not None
    ]
    assert access.overlap_distance(0) == max(distances, default=-row_map.rows * row_map.row_bytes)


@given(_maps(), st.integers(0, 8))
def test_placements_at_the_distance_or_further_are_safe(access: AccessMap, further: int) -> None:
    assert _safe(access, 0, access.overlap_distance(0) + further)


@given(_maps(), st.integers(0, 5))
def test_a_mirrored_map_is_the_last_row_first(access: AccessMap, further: int) -> None:
    """What is safe in the mirror image is safe for rows computed from the last to the first."""
    (row_map,), (mirrored,) = access.inputs, access.mirrored().inputs
    assert row_map is not None
    assert mirrored is not None
    for r in range(access.rows):
        rows = set(range(row_map.first(r), row_map.last(r) + 1))
        back = access.rows - 1 - r
        seen = range(mirrored.first(back), mirrored.last(back) + 1)
        assert {row_map.rows - 1 - row for row in seen} == rows
    assert access.mirrored().mirrored() == access
    assert _safe(access.mirrored(), 0, access.mirrored().overlap_distance(0) + further)


def test_steps_bottom_up_are_the_mirror_image_of_steps() -> None:
    access = AccessMap(7, 2, (RowMap(7, 2),), granule=3)
    assert access.steps() == [(0, 3), (3, 6), (6, 7)]
    assert access.steps_bottom_up() == [(4, 7), (1, 4), (0, 1)]


@pytest.mark.parametrize(
    ("access", "distance"),
    [
        # 3x3, same size, 10 rows of 8 bytes: row r needs row r-1, so output must start 2 rows below ...
        (AccessMap(10, 8, (RowMap(10, 8, 1, -1, 1),)), 16),
        # ... but for a kernel that holds back each row until it has read what the row needs, 1 row
        (AccessMap(10, 8, (RowMap(10, 8, 1, -1, 1),), buffered=True), 8),
        # 1x1 that shrinks the channels to half: only the first row is in the way
        (AccessMap(10, 4, (RowMap(10, 8),)), 4),
        (AccessMap(10, 4, (RowMap(10, 8),), buffered=True), -4),
        # 1x1 that doubles them
        (AccessMap(10, 16, (RowMap(10, 8),)), 88),
        # elementwise and in place
        (AccessMap(100, 1, (RowMap(100, 1),), granule=4, buffered=True), 0),
        # everything is read for every row
        (AccessMap(3, 4, (None,)), 12),
        # in one step, from a kernel that reads all before it writes
        (AccessMap(1, 12, (None,), buffered=True), 0),
    ],
)
def test_known_distances(access: AccessMap, distance: int) -> None:
    assert access.overlap_distance(0) == distance


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_one_byte_less_is_not_safe_for_images(buffered: bool, stride: int) -> None:
    """The distance is tight where rows are not skipped at the image's end."""
    access = AccessMap(8, 6, (RowMap(8 * stride, 6, stride, -1, 1),), buffered=buffered)
    distance = access.overlap_distance(0)
    assert _safe(access, 0, distance)
    assert not _safe(access, 0, distance - 1)


def test_long_maps_are_not_walked() -> None:
    rows = 10**9  # a walk over the steps would not end
    assert AccessMap(rows, 1, (RowMap(rows, 1),), buffered=True).overlap_distance(0) == 0
