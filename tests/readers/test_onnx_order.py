"""The algebra of orders in memory, against numpy's own transposes and reshapes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyml.readers.onnx.order import Order, channels_last, move, permutation, plain, transpose, transposed

SHAPES = st.lists(st.sampled_from([1, 1, 2, 3, 4, 6]), min_size=1, max_size=5).map(tuple)


def permutations(rank: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.permutations(range(rank)).map(tuple)


def memory(values: np.ndarray, order: Order) -> np.ndarray:
    """Return a value's elements as an order lays them out."""
    return values.reshape(order.dims).transpose(order.order).reshape(-1)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


@given(st.data())
def test_a_transposed_tensor_has_the_order_it_says(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    perm = data.draw(permutations(len(shape)))
    values = numbered(shape)
    order = transposed(shape, perm)
    np.testing.assert_array_equal(memory(values, order), values.transpose(perm).reshape(-1))
    found = permutation(order, shape)
    assert found is not None
    np.testing.assert_array_equal(values.transpose(found).reshape(-1), values.transpose(perm).reshape(-1))


@given(st.data())
def test_equal_memory_is_an_equal_order(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    first, second = (transposed(shape, data.draw(permutations(len(shape)))) for _ in range(2))
    values = numbered(shape)
    assert (first == second) == np.array_equal(memory(values, first), memory(values, second))


@given(st.data())
@settings(max_examples=300)
def test_moving_and_transposing_keep_every_element(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    values = numbered(shape)
    order = transposed(shape, data.draw(permutations(len(shape))))
    held = memory(values, order)
    # Seen in another shape, and transposed there.
    factors = [2] * (math.prod(shape).bit_length() - 1)
    size = math.prod(shape)
    other: list[int] = []
    for factor in data.draw(st.permutations([*factors, 3, 3, 1])):
        if size % factor == 0:
            other.append(factor)
            size //= factor
    other.append(size)
    seen = tuple(other)
    perm = data.draw(permutations(len(seen)))
    turned = transpose(order, seen, perm)
    if turned is not None:
        expected = values.reshape(seen).transpose(perm)
        np.testing.assert_array_equal(memory(expected, turned), held)
    # Moved to the order of a transposed tensor of the other shape.
    target = transposed(seen, perm)
    step = move(order, target)
    if step is None:
        assert order != plain(shape)
        assert target != plain(seen)
        return
    moved = held.reshape(step[0]).transpose(step[1]).reshape(-1)
    np.testing.assert_array_equal(moved, values.reshape(seen).transpose(perm).reshape(-1))


def test_channels_last_is_preferred_only_where_it_is_meant() -> None:
    assert channels_last(4) == (0, 2, 3, 1)
    assert channels_last(2) == (0, 1)
    assert permutation(transposed((1, 8, 4, 4), (0, 2, 3, 1)), (1, 8, 4, 4)) == (0, 2, 3, 1)
    assert permutation(plain((1, 8, 1, 1)), (1, 8, 1, 1)) == (0, 1, 2, 3)
    # Two dimensions swapped inside one of the shape's.
    assert permutation(transposed((1, 2, 3, 4), (0, 2, 1, 3)), (1, 6, 4)) is None
    assert transpose(transposed((1, 2, 3), (0, 2, 1)), (3, 2), (1, 0)) is None
