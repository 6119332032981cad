"""Offsets: where each buffer lies, so that the arena is as small as can be found.

Two buffers that are live together need a gap: `gap[u][v]` bytes from u's start to v's start where u
lies first. It is u's size, except where u is an output that may lie on its dying input v, or an input
under an output computed from its last row to its first. So an offset x of v is forbidden by a placed u
in the open interval (off_u − gap[v][u], off_u + gap[u][v]).

Best fit with several orders comes first. Where it leaves gaps, a search below a given height: every
block keeps the offsets that are still free to it, the block with the fewest is placed next, and blocks that
have been in the way come earlier after a restart. That is asked for the lower bound, then by bisection. Few
blocks are searched exactly.

Sources: forward checking and weights of variables (Boussemart et al., Boosting Systematic Search by Weighting
Constraints, ECAI 2004); branch and bound over canonical solutions as in MiniMalloc (Moffitt, ASPLOS 2023),
here with gaps that may be smaller than the lower buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinyml.planner.lifetimes import TENSOR_ALIGNMENT, Lifetimes, align, shared_bytes
from tinyml.planner.plan import BufferKind

PROBES = 6
"""Heights that are searched at most, from the lower bound to what best fit has found."""

TRIES = 4000
"""Offsets that a search below one height tries at most (some hundredths of a second)."""

FEW_BLOCKS = 16
"""Blocks, at most, whose offsets are searched exactly."""

EFFORT = 50_000
"""Blocks that branch and bound looks at before it keeps what it has (a tenth of a second)."""

_NEAR = 5
"""Blocks, at most, that are thought to come between one and the next, when offsets for it are listed."""

_OFFSETS = 24
"""Offsets, at most, that are tried for a block."""


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
            offsets, height = self._searched(offsets, height, target)
        if height > target and len(self.blocks) <= FEW_BLOCKS:
            offsets = self._branch_and_bound(offsets, height, target)
        return tuple(offsets)

    def _searched(self, offsets: list[int], height: int, target: int) -> tuple[list[int], int]:
        """Improve a solution by searches below heights from the target on."""
        search = _Below(self)
        failed, probe = target - 1, target
        for _ in range(PROBES):
            found = search.solve(probe)
            if found is not None:
                offsets, height = found, self._height(found)
            else:
                failed = probe
            probe = align((failed + height) // 2, TENSOR_ALIGNMENT)
            if not failed < probe < height:
                break
        return offsets, height

    def _height(self, offsets: Sequence[int]) -> int:
        return max(offset + block.size_bytes for offset, block in zip(offsets, self.blocks, strict=True))

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
        best: tuple[list[int], int] | None = None
        for key in keys:
            offsets, height = self._fit(sorted(range(len(blocks)), key=key))
            if best is None or height < best[1]:
                best = offsets, height
            if height <= target:
                break
        assert best is not None
        return best

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
                height = self._height(best)
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


_Free = list[tuple[int, int]]
"""Offsets that a block may take: closed intervals, rising."""


class _Below:
    """A search for offsets below a height.

    A block is placed at the ends of an interval that is free to it, or as far from them as blocks not placed
    yet take, in the fullest stage of its life. `weight` counts how often a block had no offset left.
    """

    def __init__(self, placer: _Placer) -> None:
        self.blocks = placer.blocks
        self.lifetimes = placer.lifetimes
        self.neighbours = placer.neighbours
        self.at = placer.at
        self.weight = [1.0] * len(self.blocks)
        stage_bytes = self.lifetimes.stage_bytes
        self.fullest = [
            max(range(block.first, block.last + 1), key=stage_bytes.__getitem__) for block in self.blocks
        ]

    def solve(self, height: int) -> list[int] | None:
        """Return offsets below a height, None where none are found."""
        left, limit = TRIES, 2 * len(self.blocks)
        while left > 0:
            found, tried = self._descend(height, min(limit, left))
            if found is not None or tried < min(limit, left):
                return found
            left -= tried
            limit += limit // 2
        return None

    def _descend(self, height: int, limit: int) -> tuple[list[int] | None, int]:
        """Search until so many offsets have been tried; return how many were."""
        blocks, weight = self.blocks, self.weight
        self.placed = placed = [-1] * len(blocks)
        self.free: list[_Free] = [
            [(0, (height - block.size_bytes) // block.alignment * block.alignment)] for block in blocks
        ]
        self.room = [_room(free) for free in self.free]
        waiting = set(range(len(blocks)))
        # One frame per placed block: (block, offsets not tried yet, what was free to others).
        stack: list[tuple[int, list[int], list[tuple[int, _Free]]]] = []
        v, candidates, tried = -1, [-1], 0
        while True:
            if v < 0:
                v = min(waiting, key=lambda i: (self.room[i] / weight[i], -blocks[i].size_bytes, i))
                candidates = self._candidates(v)
            if not candidates:
                if not stack:
                    return None, tried
                v, candidates, taken = stack.pop()
                self._give_back(taken)
                placed[v] = -1
                waiting.add(v)
                continue
            if tried == limit:
                return None, tried
            tried += 1
            placed[v] = candidates.pop()
            taken, stuck = self._take(v)
            if stuck < 0:
                stuck = self._crowded(v, height)
            if stuck >= 0:
                weight[stuck] += 1
                weight[v] += 0.5
                self._give_back(taken)
                placed[v] = -1
                continue
            stack.append((v, candidates, taken))
            waiting.discard(v)
            if not waiting:
                return placed, tried
            v = -1

    def _take(self, v: int) -> tuple[list[tuple[int, _Free]], int]:
        """Take from all others what block v forbids; return what they had, and one that has nothing left."""
        x = self.placed[v]
        taken: list[tuple[int, _Free]] = []
        for u, before, after in self.neighbours[v]:
            low, high = x - after, x + before  # offsets between them are forbidden to u
            free = self.free[u]
            if self.placed[u] >= 0 or low >= high or free[-1][1] <= low or free[0][0] >= high:
                continue
            step = self.blocks[u].alignment
            left: _Free = []
            for first, last in free:
                if first <= low:
                    left.append((first, min(last, low // step * step)))
                if last >= high:
                    left.append((max(first, align(high, step)), last))
            # Intervals that lie outside as a whole meet one of the conditions, or both if it is one offset.
            left = [(first, last) for first, last in dict.fromkeys(left) if first <= last]
            taken.append((u, free))
            self.free[u], self.room[u] = left, _room(left)
            if not left:
                return taken, u
        return taken, -1

    def _give_back(self, taken: Sequence[tuple[int, _Free]]) -> None:
        for u, free in taken:
            self.free[u], self.room[u] = free, _room(free)

    def _crowded(self, v: int, height: int) -> int:
        """Return a block that cannot be placed any more, as a stage of v has too few bytes left; else −1."""
        blocks, placed = self.blocks, self.placed
        for stage in range(blocks[v].first, blocks[v].last + 1):
            live = self.at[stage]
            waiting = [i for i in live if placed[i] < 0]
            if not waiting:
                continue
            need = sum(blocks[i].size_bytes for i in waiting)
            for output, source in self.lifetimes.distances:
                if blocks[output].first == stage and (placed[output] < 0 or placed[source] < 0):
                    shared = blocks[output].size_bytes - self.lifetimes.sharing(output, source)
                    need -= max(min(shared, blocks[source].size_bytes), 0)
            end = 0
            for first, last in sorted((placed[i], placed[i] + blocks[i].size_bytes) for i in live):
                if first >= 0 and last > end:
                    need += last - max(first, end)
                    end = last
            if need > height:
                return max(waiting, key=lambda i: blocks[i].size_bytes)
        return -1

    def _candidates(self, v: int) -> list[int]:
        """Offsets to try for a block, the most promising last."""
        size, step = self.blocks[v].size_bytes, self.blocks[v].alignment
        below, above = {0}, {0}  # bytes that blocks not placed yet may take there
        near = [
            (before, after, self.blocks[u].size_bytes)
            for u, before, after in self.neighbours[v]
            if self.placed[u] < 0 and self.blocks[u].first <= self.fullest[v] <= self.blocks[u].last
        ]
        for before, after, other in near[:_NEAR]:
            if after > 0:
                below |= {more + after for more in below}
            if before + other > size:
                above |= {more + before + other - size for more in above}
        found: dict[int, tuple[bool, int]] = {}
        for first, last in self.free[v]:
            for x in (
                *(align(first + more, step) for more in below),
                *((last - m) // step * step for m in above),
            ):
                if first <= x <= last:
                    key = x not in (first, last), last - first
                    found[x] = min(found.get(x, key), key)
        return sorted(found, key=lambda x: (found[x], x), reverse=True)[-_OFFSETS:]


def _room(free: _Free) -> int:
    return sum(last - first + TENSOR_ALIGNMENT for first, last in free)
