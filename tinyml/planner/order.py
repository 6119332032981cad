"""Operator order: the sequence of nodes whose fullest moment holds the fewest bytes.

Search over downsets (sets of executed nodes closed under predecessors): the bytes live after a
downset do not depend on the order inside it, so two orders of the same nodes are one state, and the
better peak dominates.

Source: dynamic programming over downsets as in Serenity (Ahn et al., MLSys 2020), here best first
with a lower bound and with forced moves.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from tinyml.planner.lifetimes import Flow, shared_bytes, sharing_distance

EFFORT = 40_000
"""Moves that the exact search weighs before it gives way to the beam (some tenths of a second)."""

BEAM = 32
"""States kept per depth by the beam."""


@dataclass(frozen=True, slots=True)
class _State:
    """A set of executed nodes: the bytes it leaves live and the best known way to get there."""

    done: int  # bit mask over nodes
    ready: tuple[int, ...]  # nodes not yet executed whose predecessors all are
    live_bytes: int
    peak_bytes: int
    path: tuple[int, ...]


class _Search:
    """Costs of a flow's states."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        nodes, storages = flow.nodes, flow.storages
        self.needs = [sum(1 << p for p in predecessors) for predecessors in flow.predecessors]
        self.readers = [sum(1 << c for c in storage.consumers) for storage in storages]
        self.writers = [sum(1 << p for p in storage.producers) for storage in storages]
        self.kept = [bool(storage.consumers) or storage.is_output for storage in storages]
        # Per node and input it reads: (distance in bounds, size), were the input to die. What it also writes
        # to does not die.
        self.sharing = [
            {
                s: (
                    sharing_distance(
                        distance, node.reverse_gap, storages[s].size_bytes, storages[node.writes].size_bytes
                    ),
                    storages[s].size_bytes,
                )
                for s, distance in zip(node.reads, node.distances, strict=True)
                if s != node.writes
            }
            for node in nodes
        ]
        self.all_done = (1 << len(nodes)) - 1
        self.effort = 0  # moves weighed so far
        # An input that nobody reads is live during the first stage only (Lifetimes.of).
        self.unread_bytes = sum(
            storage.size_bytes
            for s, storage in enumerate(storages)
            if not storage.producers and not self.kept[s]
        )

    def start(self) -> _State:
        storages = self.flow.storages
        live = sum(storage.size_bytes for storage in storages if not storage.producers) - self.unread_bytes
        ready = tuple(n for n, needs in enumerate(self.needs) if not needs)
        return _State(0, ready, live, 0, ())

    def weigh(self, state: _State, index: int) -> tuple[int, int]:
        """Return the peak so far and the live bytes after executing one ready node."""
        self.effort += 1
        node, storages = self.flow.nodes[index], self.flow.storages
        pending = ~(state.done | 1 << index)
        # The first of several that write to one storage brings all of it to life.
        output = 0 if self.writers[node.writes] & state.done else storages[node.writes].size_bytes
        dying = [
            pair
            for s, pair in self.sharing[index].items()
            if not (self.readers[s] | self.writers[s]) & pending and not storages[s].is_output
        ]
        needed = state.live_bytes + output + node.scratch_bytes - shared_bytes(output, dying)
        if not state.done:
            needed += self.unread_bytes
        live = state.live_bytes - sum(size for _, size in dying)
        return max(state.peak_bytes, needed), live + output if self.kept[node.writes] else live

    def run(self, state: _State, index: int) -> _State:
        """Execute one ready node."""
        peak, live = self.weigh(state, index)
        done = state.done | 1 << index
        woken = (n for n in self.flow.successors[index] if not self.needs[n] & ~done)
        ready = (*(n for n in state.ready if n != index), *sorted(woken))
        return _State(done, ready, live, peak, (*state.path, index))

    def settle(self, state: _State) -> _State:
        """Execute every node that can only help: it sets no new peak and leaves no more bytes live.

        Moving such a node forward lowers the live bytes of every later state (its inputs are freed
        earlier and inputs it shares become free for their other readers), so some best order of the
        rest starts with it.
        """
        moved = True
        while moved:
            moved = False
            for index in state.ready:
                peak, live = self.weigh(state, index)
                if (peak == state.peak_bytes and live <= state.live_bytes) or len(state.ready) == 1:
                    state, moved = self.run(state, index), True
                    break
        return state

    def floor(self) -> int:
        """Bytes that no order can go below: each node alone with what it reads and writes."""
        storages = self.flow.storages
        bound = sum(storage.size_bytes for storage in storages if not storage.producers)
        for node, inputs in zip(self.flow.nodes, self.sharing, strict=True):
            output = storages[node.writes].size_bytes
            dying = [pair for s, pair in inputs.items() if not storages[s].is_output]
            alone = sum(size for _, size in inputs.values()) + output + node.scratch_bytes
            bound = max(bound, alone - shared_bytes(output, dying))
        return bound


def peak_bytes(flow: Flow, order: Sequence[int]) -> int:
    """Return the bytes live at the fullest moment of an order, best overlap taken."""
    search = _Search(flow)
    state = search.start()
    for index in order:
        state = search.run(state, index)
    return state.peak_bytes if order else search.floor()


def search_order(flow: Flow) -> tuple[int, ...]:
    """Return node indices in the order of the smallest peak found; never worse than file order.

    Exact where the search ends within EFFORT (any chain, any network with a few branches);
    otherwise the better of file order and a beam. Deterministic.
    """
    search = _Search(flow)
    file_order = tuple(range(len(flow.nodes)))
    limit = peak_bytes(flow, file_order)
    floor = search.floor()
    if limit <= floor:
        return file_order
    found = _best_first(search, floor, limit)
    return file_order if found is None else found.path


def _best_first(search: _Search, floor: int, limit: int) -> _State | None:
    """Find a complete state with a peak below `limit`, or None."""
    start = search.start()
    start = search.settle(_State(start.done, start.ready, start.live_bytes, floor, start.path))
    heap = [(start.peak_bytes, -start.done.bit_count(), 0, start)]
    best = {start.done: start.peak_bytes}
    pushed = 0
    while heap:
        if search.effort > EFFORT:
            return _beam(search, start, limit)
        _, _, _, state = heapq.heappop(heap)
        if state.peak_bytes >= limit:
            return None
        if state.done == search.all_done:
            return state
        if state.peak_bytes > best[state.done]:
            continue
        for index in state.ready:
            after = search.settle(search.run(state, index))
            if after.peak_bytes < min(best.get(after.done, limit), limit):
                best[after.done] = after.peak_bytes
                pushed += 1
                heapq.heappush(heap, (after.peak_bytes, -after.done.bit_count(), pushed, after))
    return None


def _beam(search: _Search, start: _State, limit: int) -> _State | None:
    """Like `_best_first`, keeping only the BEAM best states per number of moves."""
    states = [start]
    found: _State | None = None
    while states:
        unique: dict[int, _State] = {}
        for state in states:
            for index in state.ready:
                after = search.run(state, index)
                known = unique.get(after.done)
                if after.peak_bytes < limit and (known is None or after.peak_bytes < known.peak_bytes):
                    unique[after.done] = after
        states = []
        for state in sorted(unique.values(), key=lambda s: (s.peak_bytes, s.live_bytes, s.done))[:BEAM]:
            settled = search.settle(state)
            if settled.done != search.all_done:
                states.append(settled)
            elif settled.peak_bytes < limit:
                found, limit = settled, settled.peak_bytes
    return found
