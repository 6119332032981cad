"""Orders and offsets against exhaustive search on tiny instances."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planner.networks import lower, random_graph
from tinyml.planner.lifetimes import Flow, Lifetime, Lifetimes, shared_bytes
from tinyml.planner.order import peak_bytes, search_order
from tinyml.planner.place import find_offsets
from tinyml.planner.plan import BufferKind

bounded = settings(max_examples=150, deadline=None, derandomize=True)


def _instance(seed: int, blocks: int) -> Lifetimes:
    """Random buffers; some outputs may lie on inputs that die when they are born, as along a chain."""
    rng = random.Random(seed)
    stages = rng.randint(2, 3 + blocks // 2)
    made = []
    for i in range(blocks):
        first = rng.randrange(stages) if rng.random() < 0.4 else i * stages // blocks
        last = min(first + rng.choice((0, 1, 1, 1, 2, 4)), stages - 1)
        made.append(Lifetime(str(i), BufferKind.TENSOR, (i,), 4 * rng.randint(1, 5), 4, first, last))
    distances: dict[tuple[int, int], int] = {}
    live = [0] * stages
    for stage in range(stages):
        live[stage] = sum(b.size_bytes for b in made if b.first <= stage <= b.last)
        born = [i for i, b in enumerate(made) if b.first == stage]
        output = rng.choice(born) if born else -1
        dying = [i for i, b in enumerate(made) if b.last == stage and i != output and (i not in born)]
        if born and dying:
            taken = rng.sample(dying, rng.randint(1, len(dying)))
            for i in taken:
                distances[output, i] = min(4 * rng.randint(-2, 5), made[output].size_bytes)
            live[stage] -= shared_bytes(
                made[output].size_bytes, [(distances[output, i], made[i].size_bytes) for i in taken]
            )
    return Lifetimes(tuple(made), distances, tuple(live))


def _allowed(lifetimes: Lifetimes, offsets: dict[int, int], a: int, b: int) -> bool:
    u, v = lifetimes.blocks[a], lifetimes.blocks[b]
    if u.first > v.last or v.first > u.last:
        return True
    if offsets[a] + u.size_bytes <= offsets[b] or offsets[b] + v.size_bytes <= offsets[a]:
        return True
    return any(
        offsets[o] + lifetimes.distances[o, i] <= offsets[i]
        for o, i in ((a, b), (b, a))
        if (o, i) in lifetimes.distances
    )


def _optimum(lifetimes: Lifetimes) -> int:
    """Smallest arena over all offsets that are multiples of 4."""

    def fits(height: int, offsets: dict[int, int]) -> bool:
        i = len(offsets)
        if i == len(lifetimes.blocks):
            return True
        for x in range(0, height - lifetimes.blocks[i].size_bytes + 1, 4):
            offsets[i] = x
            if all(_allowed(lifetimes, offsets, i, j) for j in range(i)) and fits(height, offsets):
                return True
            del offsets[i]
        offsets.pop(i, None)
        return False

    return next(height for height in itertools.count(lifetimes.lower_bound_bytes, 4) if fits(height, {}))


@given(st.integers(0, 2**32), st.integers(1, 6))
@bounded
def test_the_arena_is_the_optimum(seed: int, blocks: int) -> None:
    lifetimes = _instance(seed, blocks)
    offsets = dict(enumerate(find_offsets(lifetimes)))
    assert all(_allowed(lifetimes, offsets, a, b) for a, b in itertools.combinations(offsets, 2))
    assert max(offsets[i] + b.size_bytes for i, b in enumerate(lifetimes.blocks)) == _optimum(lifetimes)


@given(st.integers(0, 2**32))
@settings(bounded, max_examples=30)
def test_large_instances_are_valid_and_bounded(seed: int) -> None:
    lifetimes = _instance(seed, 40)
    offsets = dict(enumerate(find_offsets(lifetimes)))
    assert all(x >= 0 and x % 4 == 0 for x in offsets.values())
    assert all(_allowed(lifetimes, offsets, a, b) for a, b in itertools.combinations(offsets, 2))
    height = max(offsets[i] + b.size_bytes for i, b in enumerate(lifetimes.blocks))
    assert lifetimes.lower_bound_bytes <= height <= sum(b.size_bytes for b in lifetimes.blocks)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(-4, 12), st.integers(1, 6)), max_size=3))
@bounded
def test_shared_bytes_is_the_most_that_can_overlap(output: int, dying: list[tuple[int, int]]) -> None:
    clipped = [(min(distance, output), size) for distance, size in dying]
    best = 0
    for starts in itertools.product(*(range(distance, output + 14) for distance, _ in clipped)):
        ranges = [set(range(s, s + size)) for s, (_, size) in zip(starts, clipped, strict=True)]
        if sum(map(len, ranges)) == len(set().union(*ranges)):
            best = max(best, len(set().union(*ranges) & set(range(output))))
    assert shared_bytes(output, clipped) == best


@given(st.integers(0, 2**32), st.integers(1, 7))
@bounded
def test_the_order_is_the_optimum(seed: int, steps: int) -> None:
    """Against every topological order of the network."""
    graph = random_graph(random.Random(seed), steps)
    flow = Flow.of(graph, lower(graph, seed))

    def orders(done: tuple[int, ...]) -> list[tuple[int, ...]]:
        if len(done) == len(flow.nodes):
            return [done]
        ready = [n for n, needs in enumerate(flow.predecessors) if n not in done and needs <= set(done)]
        return [order for n in ready for order in orders((*done, n))]

    best = min(Lifetimes.of(graph, flow, order).lower_bound_bytes for order in orders(()))
    found = search_order(flow)
    assert Lifetimes.of(graph, flow, found).lower_bound_bytes == best
    if flow.nodes:
        assert peak_bytes(flow, found) == best


@pytest.mark.parametrize("seed", range(8))
def test_the_beam_gives_an_executable_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(random.Random(seed), 25)
    flow = Flow.of(graph, lower(graph, seed))
    exact = peak_bytes(flow, search_order(flow))
    monkeypatch.setattr("tinyml.planner.order.EFFORT", 0)
    order = search_order(flow)
    assert sorted(order) == list(range(len(flow.nodes)))
    position = {node: i for i, node in enumerate(order)}
    assert all(position[p] < position[n] for n in order for p in flow.predecessors[n])
    assert exact <= peak_bytes(flow, order) <= peak_bytes(flow, range(len(flow.nodes)))
