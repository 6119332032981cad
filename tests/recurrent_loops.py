"""GRU and LSTM as converters lower them where they are not unrolled: WHILE, with counters and lists.

The subgraphs are those that TensorFlow 2.21 writes for Keras layers (two counters, GATHER of a row, the list
taken apart with SLICE and joined again with CONCATENATION), in int8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.tflite_builder import ModelBuilder

_INT = np.int32


@dataclass(frozen=True)
class Layer:
    """A recurrent layer.

    Args:
        kind: gru, lstm, or rnn for a dense layer of the row and one of the state.
        units: of it.
        returns: "state" for the last one, "sequence" for all of them in a list, "cell" for what an LSTM
            remembers besides.
        writes: how a list is written: "join" or DYNAMIC_UPDATE_SLICE ("update").
        reads: how a row is read: GATHER, or SLICE and RESHAPE.
        floats: what is remembered is float between two steps, as where a network was trained quantised.
        converted: with floats: the sequence is float as well, and lists and sequences are quantised as a
            whole, as where a network was quantised after training.
        backwards: the last row first.
        counted_down: the first counter counts down to 0, by GREATER.
    """

    kind: str = "gru"
    units: int = 4
    returns: str = "state"
    writes: str = "join"
    reads: str = "gather"
    floats: bool = False
    backwards: bool = False
    counted_down: bool = False
    converted: bool = False


def recurrent(b: ModelBuilder, x: int, layer: Layer) -> int:
    """Add a layer over [steps, 1, features]; returns [1, units], or [steps, 1, units]."""
    steps, _, features = b.shape(x)
    size = (1, layer.units)
    kept = {"h": (1 / 128, 0)} | ({"c": (b.random_scale(0.004), 5)} if layer.kind == "lstm" else {})
    kept = {name: (float(np.float32(scale)), point) for name, (scale, point) in kept.items()}
    listed = layer.returns == "sequence"
    first = steps if layer.counted_down else 0
    quant = (b.tensors[x].scale[0], b.tensors[x].zero_point[0])
    if layer.converted:
        x = b.dequantize(x)

    def remembered(g: ModelBuilder, name: str, shape: tuple[int, ...], data: bool) -> int:
        scale, point = kept[name]
        values = np.zeros(shape, np.float32) if layer.floats else np.full(shape, point, np.int8)
        quant = () if layer.floats else (scale, point)
        if data:
            return g.constant(values, *quant)
        return g.tensor(shape, "float32" if layer.floats else "int8", *quant)

    def values(g: ModelBuilder, *, data: bool) -> list[int]:
        """Return the tensors that a loop, its condition and its body have as values."""
        found = []
        for start in (first, 0):
            found.append(g.constant(np.array(start, _INT)) if data else g.tensor((), "int32"))
        found += [remembered(g, "h", (steps, *size), data)] if listed else []
        found += [remembered(g, name, size, data) for name in kept]
        if not data:
            found.append(
                g.tensor(b.shape(x), b.tensors[x].dtype, b.tensors[x].scale, b.tensors[x].zero_point)
            )
            g.inputs = [*found]
        return found

    condition = ModelBuilder()
    counter, step, *_ = values(condition, data=False)
    bounds = [
        condition.constant(np.array(bound, _INT)) for bound in (0 if layer.counted_down else steps, steps)
    ]
    near = condition.relation("GREATER" if layer.counted_down else "LESS", counter, bounds[0])
    condition.output(condition.relation("LOGICAL_AND", near, condition.relation("LESS", step, bounds[1])))

    g = ModelBuilder(int(b.rng.integers(1 << 30)))
    counter, step, *states, rows = values(g, data=False)
    sequence = g.quantize(rows, *quant) if layer.converted else rows
    one, minus = (g.constant(np.array(n, _INT)) for n in (1, -1))
    add = {"table": "AddOptions", "FusedActivationFunction": 0}
    counted = g.tensor((), "int32")
    g.raw_op("ADD", [counter, minus if layer.counted_down else one], [counted], **add)
    following = g.tensor((), "int32")
    g.raw_op("ADD", [step, one], [following], **add)
    at = step
    if layer.backwards:
        at = g.tensor((), "int32")
        last = g.constant(np.array(steps - 1, _INT))
        g.raw_op("SUB", [last, step], [at], "SubOptions", FusedActivationFunction=0)

    def vector(first: int, others: list[int]) -> int:
        """Return [first, *others] as a tensor."""
        row = g._op("RESHAPE", [first, g.constant(np.array([1], _INT))], g.tensor((1,), "int32"))
        rest = g.constant(np.array(others, _INT))
        joined = g.tensor((1 + len(others),), "int32")
        return g._op("CONCATENATION", [row, rest], joined, "ConcatenationOptions", Axis=0)

    if layer.reads == "gather":
        row = g.gather(sequence, at)
    else:
        row = g.tensor((1, 1, features), "int8", *quant)
        g.raw_op("SLICE", [sequence, vector(at, [0, 0]), g.constant(np.array([1, -1, -1], _INT))], [row])
        row = g.reshape(row, (1, features))
    items = [states.pop(0)] if listed else []
    old = dict(zip(kept, states, strict=True))
    if layer.floats:
        old = {name: g.quantize(old[name], *kept[name]) for name in kept}
    new = {"gru": _gru, "lstm": _lstm, "rnn": _rnn}[layer.kind](g, row, old, kept)
    outgoing = {name: g.dequantize(new[name]) if layer.floats else new[name] for name in kept}
    if listed:
        scale, point = kept["h"]
        item = g._op(
            "RESHAPE",
            [new["h"], g.constant(np.array([1, *size], _INT))],
            g.tensor((1, *size), "int8", scale, point),
        )
        items = [_written(g, layer, items[0], item, at, vector, (scale, point))]
    g.outputs = [counted, following, *items, *outgoing.values(), rows]
    loop = b.while_loop([*values(b, data=True), x], condition, g)
    result = loop[3] if layer.returns == "cell" else loop[2]
    return b.quantize(result, *kept["c" if layer.returns == "cell" else "h"]) if layer.floats else result


def _written(
    g: ModelBuilder, layer: Layer, whole: int, item: int, at: int, vector: object, quant: tuple[float, int]
) -> int:
    """Put a row into a list."""
    shape = g.shape(whole)
    inner = g.quantize(whole, *quant) if layer.floats and layer.writes == "update" else whole
    if layer.writes == "update":
        joined = g.tensor(shape, "int8", *quant)
        g.raw_op("DYNAMIC_UPDATE_SLICE", [inner, item, vector(at, [0, 0])], [joined])
        return g.dequantize(joined) if layer.floats else joined
    whole = g.quantize(whole, *quant) if layer.converted else whole
    dtype = g.tensors[whole].dtype
    after = g.tensor((), "int32")
    one = g.constant(np.array(1, _INT))
    g.raw_op("ADD", [at, one], [after], "AddOptions", FusedActivationFunction=0)
    zeros, rest = (g.constant(np.array(v, _INT)) for v in ([0, 0, 0], [-1, -1, -1]))
    parts = [g.tensor((1, *shape[1:]), dtype, *(() if dtype == "float32" else quant)) for _ in range(2)]
    g.raw_op("SLICE", [whole, zeros, vector(at, [-1, -1])], [parts[0]])
    g.raw_op("SLICE", [whole, vector(after, [0, 0]), rest], [parts[1]])
    quantised = [g.quantize(part, *quant) for part in parts] if dtype == "float32" else parts
    for part in (*parts, *quantised):
        g.tensors[part].signature = (-1, *shape[1:])  # as many rows as there are
    parts = quantised
    joined = g.tensor(shape, "int8", *quant)
    g.raw_op("CONCATENATION", [parts[0], item, parts[1]], [joined], "ConcatenationOptions", Axis=0)
    return g.dequantize(joined) if layer.floats else joined


def _gates(g: ModelBuilder, x: int, count: int, units: int) -> list[int]:
    """Return dense layers of x, one beside the other; all have one scale."""
    wide = g.fully_connected(x, count * units, out_scale=g.random_scale(0.05), out_zero_point=3)
    return g.split(wide, count, 1)


def _rnn(g: ModelBuilder, x: int, old: dict[str, int], kept: dict[str, tuple[float, int]]) -> dict[str, int]:
    units = g.shape(old["h"])[1]
    both = g.add(*(g.fully_connected(one, units, out_scale=0.05) for one in (x, old["h"])))
    return {"h": g.unary("TANH", both, *kept["h"])}


def _gru(g: ModelBuilder, x: int, old: dict[str, int], kept: dict[str, tuple[float, int]]) -> dict[str, int]:
    units = g.shape(old["h"])[1]
    x_z, x_r, x_h = _gates(g, x, 3, units)
    h_z, h_r, h_h = _gates(g, old["h"], 3, units)
    z = g.unary("LOGISTIC", g.add(x_z, h_z), 1 / 256, -128)
    r = g.unary("LOGISTIC", g.add(x_r, h_r), 1 / 256, -128)
    candidate = g.unary("TANH", g.add(x_h, g.mul(r, h_h)), 1 / 128, 0)
    one = g.constant(np.array(127, np.int8), 1 / 255, -128)
    rest = g.binary("SUB", one, z, 1 / 256, -128, "SubOptions", FusedActivationFunction=0)
    return {"h": g.add(g.mul(z, old["h"]), g.mul(rest, candidate), "none", *kept["h"])}


def _lstm(g: ModelBuilder, x: int, old: dict[str, int], kept: dict[str, tuple[float, int]]) -> dict[str, int]:
    units = g.shape(old["h"])[1]
    from_x, from_h = (_gates(g, source, 4, units) for source in (x, old["h"]))
    i, f, c, o = (g.add(a, b) for a, b in zip(from_x, from_h, strict=True))
    i, f, o = (g.unary("LOGISTIC", gate, 1 / 256, -128) for gate in (i, f, o))
    new = g.mul(i, g.unary("TANH", c, 1 / 128, 0))
    cell = g.add(g.mul(f, old["c"]), new, "none", *kept["c"])
    return {"h": g.mul(o, g.unary("TANH", cell, 1 / 128, 0), "none", *kept["h"]), "c": cell}
