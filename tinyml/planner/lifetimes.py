"""Lifetimes: what is stored when, and which output may lie on which input.

`Flow` is the graph as the planner sees it: operators that run code, and the storages they read and
write. Operators that only change a shape have vanished: their tensors share one storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tinyml.graph import Graph
from tinyml.planner.check import PlanError
from tinyml.planner.plan import Buffer, BufferKind, Plan, Stage

if TYPE_CHECKING:
    from tinyml.kernels.registry import Lowered
    from tinyml.select import Selection

TENSOR_ALIGNMENT = 4
SCRATCH_ALIGNMENT = 8


def align(size: int, alignment: int) -> int:
    """Round up to a multiple of `alignment`; negative numbers towards zero."""
    return -(-size // alignment) * alignment


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that hold one tensor, or several that only differ in shape (views).

    Args:
        tensors: every tensor stored here, the first written first.
        size_bytes: a multiple of TENSOR_ALIGNMENT.
        producer: the node that writes it; −1 for a model input.
        consumers: the nodes that read it.
        is_output: holds a model output, which must survive to the end.
    """

    tensors: tuple[int, ...]
    size_bytes: int
    producer: int
    consumers: tuple[int, ...]
    is_output: bool


@dataclass(frozen=True, slots=True)
class Node:
    """What one stage runs: an operator, or several streamed row by row.

    Args:
        ops: indices into Graph.ops, in execution order.
        reads: storages, each once; `distances[k]` bytes must the output start below `reads[k]` if
            both are to share memory (AccessMap.overlap_distance, rounded up to TENSOR_ALIGNMENT, at
            most the output's size).
        reverse_gap: bytes that the output must start above its one input (rounded up, at most the
            input's size) if both share memory and the rows are computed from the last to the first;
            None where the kernel cannot or has several inputs.
        rings: (tensor, bytes) of every inner tensor of a streamed stage.
        state_bytes: what a streamed stage remembers between calls.
        stage: how they are streamed; None where one operator runs alone.
        writes: the output's storage.
        scratch_bytes: a multiple of TENSOR_ALIGNMENT.
    """

    ops: tuple[int, ...]
    reads: tuple[int, ...]
    distances: tuple[int, ...]
    writes: int
    scratch_bytes: int
    reverse_gap: int | None = None
    rings: tuple[tuple[int, int], ...] = ()
    state_bytes: int = 0
    stage: Stage | None = None


@dataclass(frozen=True)
class Flow:
    """Nodes in file order over storages."""

    nodes: tuple[Node, ...]
    storages: tuple[Storage, ...]

    @cached_property
    def predecessors(self) -> tuple[frozenset[int], ...]:
        """Per node, the nodes whose output it reads."""
        return tuple(
            frozenset(self.storages[s].producer for s in node.reads if self.storages[s].producer >= 0)
            for node in self.nodes
        )

    @cached_property
    def successors(self) -> tuple[frozenset[int], ...]:
        """Per node, the nodes that read its output."""
        return tuple(frozenset(self.storages[node.writes].consumers) for node in self.nodes)

    @classmethod
    def of(cls, graph: Graph, selections: Sequence[Selection]) -> Flow:
        """Build the flow of a graph.

        Raises:
            PlanError: the selections do not belong to the graph, an operator runs before its inputs
                exist, or an access map does not describe its tensors.
        """
        if [selection.op for selection in selections] != list(range(len(graph.ops))):
            raise PlanError(f"{graph.name}: one selection per operator, in order, is needed")
        members: list[list[int]] = []
        producers: list[int] = []
        storage_of: dict[int, int] = {}

        def store(tensor: int, producer: int) -> None:
            if tensor in storage_of:
                raise PlanError(f"tensor {tensor} is written twice")
            storage_of[tensor] = len(members)
            members.append([tensor])
            producers.append(producer)

        for tensor in graph.sources:
            store(tensor, -1)
        coded: list[tuple[int, tuple[int, ...]]] = []  # (op, storages it reads, with repetitions)
        for selection, op in zip(selections, graph.ops, strict=True):
            activations = graph.activations(op)
            missing = [t for t in activations if t not in storage_of]
            if missing:
                raise PlanError(
                    f"op {selection.op} {op.kind} reads tensors {missing} before they are written"
                )
            if len(op.outputs) != 1:
                raise PlanError(
                    f"op {selection.op} {op.kind} has {len(op.outputs)} outputs; access maps describe one"
                )
            if selection.lowered is not None:
                store(op.outputs[0], len(coded))
                coded.append((selection.op, tuple(storage_of[t] for t in activations)))
                continue
            if len(activations) != 1:
                raise PlanError(
                    f"op {selection.op} {op.kind} is a view of {len(activations)} tensors, not of one"
                )
            if graph.tensors[activations[0]].size_bytes != graph.tensors[op.outputs[0]].size_bytes:
                raise PlanError(f"op {selection.op} {op.kind} is a view but changes the size")
            if op.outputs[0] in storage_of:
                raise PlanError(f"tensor {op.outputs[0]} is written twice")
            storage_of[op.outputs[0]] = storage_of[activations[0]]
            members[storage_of[activations[0]]].append(op.outputs[0])

        lost = [t for t in graph.results if graph.tensors[t].data is None and t not in storage_of]
        if lost:
            raise PlanError(f"model outputs {lost} are never written")
        sizes = [align(graph.tensors[tensors[0]].size_bytes, TENSOR_ALIGNMENT) for tensors in members]
        nodes = []
        for op_index, reads in coded:
            lowered = selections[op_index].lowered
            assert lowered is not None
            access = lowered.access
            writes = storage_of[graph.ops[op_index].outputs[0]]
            if len(access.inputs) != len(reads):
                raise PlanError(
                    f"op {op_index}: the access map has {len(access.inputs)} inputs, "
                    f"the operator {len(reads)}"
                )
            distances: dict[int, int] = {}
            for i, storage in enumerate(reads):  # a tensor read twice must satisfy both maps
                distance = min(align(access.overlap_distance(i), TENSOR_ALIGNMENT), sizes[writes])
                distances[storage] = max(distances.get(storage, distance), distance)
            nodes.append(
                Node(
                    ops=(op_index,),
                    reads=tuple(distances),
                    distances=tuple(distances.values()),
                    writes=writes,
                    scratch_bytes=align(lowered.scratch_bytes, TENSOR_ALIGNMENT),
                    reverse_gap=_reverse_gap(lowered, [sizes[s] for s in reads]),
                )
            )
        outputs = {storage_of[t] for t in graph.results if t in storage_of}
        storages = tuple(
            Storage(
                tensors=tuple(tensors),
                size_bytes=sizes[s],
                producer=producers[s],
                consumers=tuple(n for n, node in enumerate(nodes) if s in node.reads),
                is_output=s in outputs,
            )
            for s, tensors in enumerate(members)
        )
        return cls(tuple(nodes), storages)


def _reverse_gap(lowered: Lowered, input_sizes: Sequence[int]) -> int | None:
    """Return Node.reverse_gap: only a loop over rows, as generated code has it, can be turned."""
    access = lowered.access
    if lowered.loop is None or lowered.batches > 1 or len(input_sizes) != 1:
        return None
    row_map = access.inputs[0]
    if row_map is None:
        return None
    # In the mirror image the output starts D below the input; counted from the front, from end to end.
    input_bytes = row_map.rows * row_map.row_bytes
    gap = input_bytes + access.mirrored().overlap_distance(0) - access.output_bytes
    return min(align(gap, TENSOR_ALIGNMENT), input_sizes[0])


def sharing_distance(distance: int, reverse_gap: int | None, input_bytes: int, output_bytes: int) -> int:
    """Return the distance that shares as many bytes as the better of both directions does.

    Args:
        distance: bytes that the output starts below the input, rows first to last.
        reverse_gap: bytes that it starts above the input, rows last to first; None where impossible.
        input_bytes: size of the dying input.
        output_bytes: size of the output.
    """
    if reverse_gap is None:
        return distance
    shared = min(max(input_bytes - max(reverse_gap, 0), 0), output_bytes)
    return min(distance, output_bytes - shared)


def shared_bytes(output_bytes: int, dying: Iterable[tuple[int, int]]) -> int:
    """Most bytes of an output that can lie on inputs which die while it is written.

    Input k may start anywhere from `distance` above the output's start, and inputs may not meet each
    other: a single machine with release times, kept busy until `output_bytes`. Serving the inputs by
    distance leaves the fewest idle bytes, so the result is exact.

    Args:
        output_bytes: size of the output.
        dying: (distance, size) of each input, in bytes.
    """
    end = shared = 0
    for distance, size in sorted(dying):
        start = max(end, distance)
        if start >= output_bytes:
            break
        end = start + size
        shared += min(end, output_bytes) - start
    return shared


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer that has no offset yet; live during stages [first, last]."""

    name: str
    kind: BufferKind
    tensors: tuple[int, ...]
    size_bytes: int
    alignment: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """All buffers of an operator order.

    Args:
        blocks: the buffers.
        distances: for (output, dying input), indices into `blocks`: the bytes that the output must
            start below the input. Every other pair that is live together must be disjoint.
        stage_bytes: per stage, the fewest bytes that its live buffers can cover.
        reverse_gaps: for (dying input, output): the bytes that the output must start above the input if
            its rows are computed from the last to the first.
    """

    blocks: tuple[Lifetime, ...]
    distances: Mapping[tuple[int, int], int]
    stage_bytes: tuple[int, ...]
    reverse_gaps: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def gap(self, lower: int, upper: int) -> int:
        """Return the bytes from the start of one buffer to that of another above it, if both are live."""
        pair = (lower, upper)
        size = self.blocks[lower].size_bytes
        return self.distances.get(pair, self.reverse_gaps.get(pair, size))

    def sharing(self, output: int, source: int) -> int:
        """Return the distance to reckon with in bounds (sharing_distance) for an output and a dying input."""
        return sharing_distance(
            self.distances[output, source],
            self.reverse_gaps.get((source, output)),
            self.blocks[source].size_bytes,
            self.blocks[output].size_bytes,
        )

    @property
    def lower_bound_bytes(self) -> int:
        """No placement of this order needs a smaller arena."""
        return max(self.stage_bytes)

    @classmethod
    def of(cls, graph: Graph, flow: Flow, order: Sequence[int]) -> Lifetimes:
        """Derive the lifetimes of nodes run in this order, one stage each.

        A model without operators that run code still has one (empty) stage.
        """
        stage_of = {node: stage for stage, node in enumerate(order)}
        end = max(len(order) - 1, 0)
        blocks = []
        for storage in flow.storages:
            first = stage_of[storage.producer] if storage.producer >= 0 else 0
            last = max((stage_of[node] for node in storage.consumers), default=first)
            name = graph.tensors[storage.tensors[0]].name or f"tensor {storage.tensors[0]}"
            blocks.append(
                Lifetime(
                    name=name,
                    kind=BufferKind.TENSOR,
                    tensors=storage.tensors,
                    size_bytes=storage.size_bytes,
                    alignment=TENSOR_ALIGNMENT,
                    first=first,
                    last=end if storage.is_output else last,
                )
            )
        distances: dict[tuple[int, int], int] = {}
        reverse_gaps: dict[tuple[int, int], int] = {}
        shared = [0] * (end + 1)
        for stage, index in enumerate(order):
            node = flow.nodes[index]
            dying = []
            for s, distance in zip(node.reads, node.distances, strict=True):
                if blocks[s].last == stage and not flow.storages[s].is_output:
                    distances[node.writes, s] = distance
                    if node.reverse_gap is not None:
                        reverse_gaps[s, node.writes] = node.reverse_gap
                    size, output_size = blocks[s].size_bytes, blocks[node.writes].size_bytes
                    dying.append((sharing_distance(distance, node.reverse_gap, size, output_size), size))
            shared[stage] = shared_bytes(blocks[node.writes].size_bytes, dying)
            for tensor, size in node.rings:
                blocks.append(
                    Lifetime(
                        name=f"rows of {graph.tensors[tensor].name or f'tensor {tensor}'}",
                        kind=BufferKind.RING,
                        tensors=(tensor,),
                        size_bytes=align(size, TENSOR_ALIGNMENT),
                        alignment=TENSOR_ALIGNMENT,
                        first=stage,
                        last=stage,
                    )
                )
            op = graph.ops[node.ops[-1]]
            for kind, size in (
                (BufferKind.SCRATCH, node.scratch_bytes),
                (BufferKind.STATE, node.state_bytes),
            ):
                if size:
                    blocks.append(
                        Lifetime(
                            name=f"{kind} of {op.name or f'op {node.ops[-1]} {op.kind}'}",
                            kind=kind,
                            tensors=(),
                            size_bytes=align(size, TENSOR_ALIGNMENT),
                            alignment=SCRATCH_ALIGNMENT,
                            first=stage,
                            last=stage,
                        )
                    )
        live = [0] * (end + 1)
        for block in blocks:
            for stage in range(block.first, block.last + 1):
                live[stage] += block.size_bytes
        return cls(
            tuple(blocks),
            distances,
            tuple(total - share for total, share in zip(live, shared, strict=True)),
            reverse_gaps,
        )


def timeline(plan: Plan) -> list[tuple[Buffer, ...]]:
    """Return, per stage, the buffers live during it, lowest offset first."""
    stages = max((buffer.last for buffer in plan.buffers), default=-1) + 1
    return [
        tuple(
            sorted(
                (buffer for buffer in plan.buffers if buffer.first <= stage <= buffer.last),
                key=lambda buffer: (buffer.offset, buffer.size_bytes),
            )
        )
        for stage in range(stages)
    ]
