"""Offsets: where each buffer lies, so that the arena is as small as can be found.

Two buffers that are live together need a gap: `gap[u][v]` bytes from u's start to v's start where u
lies first. It is u's size, except where u is an output that may lie on its dying input v, or an input
under an output computed from its last row to its first. So an offset x of v is forbidden by a placed u
in the open interval (off_u − gap[v][u], off_u + gap[u][v]).

Sources: best fit with several orders, then branch and bound over canonical solutions as in MiniMalloc
(Moffitt, ASPLOS 2023), here with gaps that may be smaller than the lower buffer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tinyml.planner.lifetimes import Lifetimes, align, shared_bytes
from tinyml.planner.plan import BufferKind

REPAIRS = 300
"""Best-fit passes after the fixed orders."""

EFFORT = 50_000
"""Blocks that branch and bound looks at before it keeps what it has (a tenth of a second)."""


def find_offsets(lifetimes: Lifetimes) -> tuple[int, ...]:
    """Return an offset per block. Deterministic; stops at the lower bound.

    Every offset is a multiple of its block's alignment and not negative.
    """
    return _Placer(lifetimes).solve()


class _Placer:
    def __init__(self, lifetimes: Lifetimes) -> None:
        self.blocks = blocks = lifetimes.blocks
        self.lifetimes = lifetimes
        # neighbours[v]: (u, gap v before u, gap u before v) for every u live together with v
        self.neighbours: list[list[tuple[int, int, int]]] = [[] for _ in blocks]
        at: list[list[int]] = [[] for _ in lifetimes.stage_bytes]
        for index, block in enumerate(blocks):
            for stage in range(block.first, block.last + 1):
                at[stage].append(index)
        self.at = at
        pairs = {(u, v) for members in at for u in members for v in members if u != v}
        for u, v in sorted(pairs):
            self.neighbours[u].append((v, lifetimes.gap(u, v), lifetimes.gap(v, u)))

    def solve(self) -> tuple[int, ...]:
        if not self.blocks:
            return ()
        target = self.lifetimes.lower_bound_bytes
        offsets, height = self._seed(target)
        if height > target:
            offsets = self._branch_and_bound(offsets, height, target)
        return tuple(offsets)

    # -- best fit ------------------------------------------------------------------------------

    def _fit(self, order: Sequence[int]) -> tuple[list[int], int]:
        """Place the blocks in this order, each at the lowest offset that none forbids."""
        offsets = [-1] * len(self.blocks)
        height = 0
        for v in order:
            block = self.blocks[v]
            forbidden = sorted(
                (offsets[u] - before, offsets[u] + after)
                for u, before, after in self.neighbours[v]
                if offsets[u] >= 0 and before + after > 0
            )
            x = 0
            for low, high in forbidden:
                if low >= x:  # this and all further intervals, open at their ends, lie above x
                    break
                x = max(x, align(high, block.alignment))
            offsets[v] = x
            height = max(height, x + block.size_bytes)
        return offsets, height

    def _seed(self, target: int) -> tuple[list[int], int]:
        blocks, stage_bytes = self.blocks, self.lifetimes.stage_bytes

        def pressure(i: int) -> int:
            return max(stage_bytes[blocks[i].first : blocks[i].last + 1])

        def scratch(i: int) -> int:
            return int(blocks[i].kind is not BufferKind.TENSOR)

        # Later blocks first, so that outputs take the low addresses below their inputs.
        keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
            lambda i: (-pressure(i), scratch(i), -blocks[i].first, -blocks[i].last, -blocks[i].size_bytes),
            lambda i: (-blocks[i].size_bytes, -blocks[i].first, -blocks[i].last),
            lambda i: (-pressure(i), -blocks[i].size_bytes, -blocks[i].first, -blocks[i].last),
            lambda i: (-blocks[i].first, -blocks[i].last, scratch(i), -blocks[i].size_bytes),
            lambda i: (blocks[i].first, scratch(i), -blocks[i].last, -blocks[i].size_bytes),
            # All tensors before any ring: a chain of stages walks down through one place.
            lambda i: (scratch(i), -blocks[i].first, -blocks[i].last, -blocks[i].size_bytes),
            lambda i: (scratch(i), -pressure(i), -blocks[i].first, -blocks[i].last, -blocks[i].size_bytes),
        )
        best: tuple[int, list[int], list[int]] | None = None
        for key in keys:
            order = sorted(range(len(blocks)), key=key)
            offsets, height = self._fit(order)
            if best is None or height < best[0]:
                best = height, order, offsets
            if height <= target:
                break
        assert best is not None
        height, order, offsets = best
        return (offsets, height) if height <= target else self._repair(order, offsets, height, target)

    def _repair(
        self, order: list[int], offsets: list[int], height: int, target: int
    ) -> tuple[list[int], int]:
        """Move a block that carries the top one to an earlier place in the order; keep what is no worse.

        Random moves from a fixed seed. Source: the hill climb of Arm's Vela.
        """
        rng = random.Random(0)
        for _ in range(REPAIRS):
            position = rng.choice(self._culprits(order, offsets, height))
            moved = list(order)
            moved.insert(rng.randrange(position + 1), moved.pop(position))
            new_offsets, new_height = self._fit(moved)
            if new_height <= height:
                order, offsets, height = moved, new_offsets, new_height
            if height <= target:
                break
        return offsets, height

    def _culprits(self, order: Sequence[int], offsets: Sequence[int], height: int) -> list[int]:
        """Positions in the order of the blocks at the top and of those that they rest on."""
        todo = [i for i in order if offsets[i] + self.blocks[i].size_bytes == height]
        found = set(todo)
        while todo:
            v = todo.pop()
            for u, _, after in self.neighbours[v]:
                if offsets[u] + after == offsets[v] and u not in found:
                    found.add(u)
                    todo.append(u)
        return [position for position, i in enumerate(order) if i in found]

    # -- branch and bound ----------------------------------------------------------------------

    def _branch_and_bound(self, offsets: list[int], height: int, target: int) -> list[int]:
        """Improve a solution: place blocks by rising offset, each as low as those below it allow.

        Every solution pushed down as far as it goes is made of such steps (gaps below zero are taken
        as zero here). Cut: a block that would leave room below itself for another one; a stage whose
        blocks still to come cannot end below the best height.
        """
        blocks = self.blocks
        lows = [0] * len(blocks)  # lowest offset that the placed blocks allow
        placed = [-1] * len(blocks)
        best = list(offsets)
        # One frame per placed block: (block, changed lows to restore, candidates not tried yet).
        stack: list[tuple[int, list[tuple[int, int]], list[int]]] = []
        candidates = self._candidates(lows, placed, 0, height)
        effort = EFFORT
        while True:
            if not candidates:
                if not stack:
                    return best
                v, restore, candidates = stack.pop()
                placed[v] = -1
                for u, low in restore:
                    lows[u] = low
                continue
            v = candidates.pop()
            effort -= len(blocks) - len(stack)
            if effort < 0:
                return best
            x = align(lows[v], blocks[v].alignment)
            if x + blocks[v].size_bytes >= height:
                continue
            placed[v] = x
            restore = []
            for u, before, _ in self.neighbours[v]:
                low = x + max(before, 0)
                if placed[u] < 0 and low > lows[u]:
                    restore.append((u, lows[u]))
                    lows[u] = low
            stack.append((v, restore, candidates))
            if len(stack) == len(blocks):
                best = list(placed)
                height = max(offset + block.size_bytes for offset, block in zip(best, blocks, strict=True))
                if height <= target:
                    return best
                candidates = []
            elif self._stage_bound(v, lows, placed) >= height:
                candidates = []
            else:
                candidates = self._candidates(lows, placed, x, height)

    def _candidates(self, lows: list[int], placed: list[int], floor: int, height: int) -> list[int]:
        """Blocks that may come next, the most promising last."""
        waiting = [i for i, offset in enumerate(placed) if offset < 0]
        room = height
        for i in waiting:
            low = align(lows[i], self.blocks[i].alignment)
            end = low + self.blocks[i].size_bytes
            if end >= height or (end <= floor and low < floor):
                return []
            room = min(room, end)
        return sorted(
            (
                i
                for i in waiting
                if floor <= lows[i] < room or floor <= align(lows[i], self.blocks[i].alignment) < room
            ),
            key=lambda i: (-lows[i], self.blocks[i].size_bytes, self.blocks[i].first),
        )

    def _stage_bound(self, v: int, lows: list[int], placed: list[int]) -> int:
        """Height that the blocks still to come need in the stages of v."""
        blocks = self.blocks
        bound = 0
        for stage in range(blocks[v].first, blocks[v].last + 1):
            waiting = [i for i in self.at[stage] if placed[i] < 0]
            if not waiting:
                continue
            total = sum(blocks[i].size_bytes for i in waiting)
            for output in waiting:
                if blocks[output].first == stage:
                    dying = [
                        (self.lifetimes.sharing(output, i), blocks[i].size_bytes)
                        for i in waiting
                        if (output, i) in self.lifetimes.distances
                    ]
                    total -= shared_bytes(blocks[output].size_bytes, dying)
            bound = max(bound, min(lows[i] for i in waiting) + total)
        return bound
