"""Every operator against LiteRT's reference kernels, byte for byte, over random legal shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import ModelBuilder
from tinyml import reference
from tinyml.graph import DType
from tinyml.oracle import Oracle
from tinyml.readers import read_model

SEEDS = 200
ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


class Case(ModelBuilder):
    """A builder with the draws that cases share."""

    def below(self, low: int, high: int) -> int:
        """Return an integer in [low, high)."""
        return int(self.rng.integers(low, high))

    def flip(self) -> bool:
        return bool(self.below(0, 2))

    def pick(self, *options: object) -> object:
        return options[self.below(0, len(options))]

    def pair(self, high: int) -> tuple[int, int]:
        return self.below(1, high), self.below(1, high)

    def sizes(self, rank: int, high: int = 8) -> tuple[int, ...]:
        return tuple(self.below(1, high) for _ in range(rank))

    def log_scale(self, low: float, high: float, base: float = 1.0) -> float:
        """Return a float32 scale, uniform in its decimal logarithm."""
        return float(np.float32(base * 10.0 ** self.rng.uniform(low, high)))

    def image(self, channels: int | None = None) -> int:
        height, width = self.below(1, 12), self.below(1, 12)
        return self.input((1, height, width, channels or self.below(1, 20)), self.log_scale(-3, 0))

    def window(self, x: int, dilated: bool = True) -> dict[str, object]:
        """Return kernel, stride, dilation and padding that fit the image."""
        kernel, dilation = self.pair(6), self.pair(4) if dilated else (1, 1)
        image = self.shape(x)[1:3]
        fits = all((k - 1) * d < n for k, d, n in zip(kernel, dilation, image, strict=True))
        window = {
            "kernel": kernel,
            "stride": self.pair(4),
            "padding": "VALID" if fits and self.flip() else "SAME",
            "activation": self.pick(*ACTIVATIONS),
        }
        return window | ({"dilation": dilation} if dilated else {})

    def layer(self) -> dict[str, object]:
        """Return keywords of layers with weights; sometimes a far-off output scale (left shifts)."""
        return {
            "per_channel": self.flip(),
            "out_scale": self.log_scale(-5, 2) if self.below(0, 4) == 0 else None,
        }


def conv2d(c: Case) -> int:
    groups = c.below(1, 4) if c.below(0, 3) == 0 else 1
    x = c.image(groups * c.below(1, 8))
    return c.conv2d(x, groups * c.below(1, 8), groups=groups, **c.window(x), **c.layer())


def depthwise(c: Case) -> int:
    x = c.image()
    return c.depthwise(x, c.below(1, 4), bias=c.flip(), **c.window(x), **c.layer())


def fully_connected(c: Case) -> int:
    x = c.input((*c.sizes(c.below(1, 4), 5), c.below(1, 300)), c.log_scale(-4, 0))
    return c.fully_connected(
        x,
        c.below(1, 20),
        bias=c.flip(),
        keep_num_dims=c.flip(),
        activation=c.pick(*ACTIVATIONS),
        per_channel=c.flip(),
        # Beyond 2^31 the sums have no defined result, so the scale stays within reach.
        out_scale=c.log_scale(-2, 2) if c.below(0, 4) == 0 else None,
    )


def _operands(c: Case) -> tuple[int, int]:
    """Return two tensors that broadcast: equal, scalars, channels, or ones anywhere."""
    full = c.sizes(c.below(1, 6))
    other = c.pick(full, full, (1,), full[-1:], tuple(1 if c.flip() else n for n in full))
    shapes = (full, other) if c.flip() else (other, full)
    a = c.input(shapes[0], c.log_scale(-4, 1))
    scale = c.log_scale(-2, 2, c.tensors[a].scale[0])
    kind = c.below(0, 6)
    if kind == 0:
        return a, a
    if kind < 3:
        return a, c.constant(c.rng.integers(-128, 128, shapes[1]).astype(np.int8), scale, c.below(-128, 128))
    return a, c.input(shapes[1], scale)


def add(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(-3, 2, c.tensors[a].scale[0] + c.tensors[b].scale[0]) if c.flip() else None
    return c.add(a, b, c.pick(*ACTIVATIONS), scale)


def mul(c: Case) -> int:
    a, b = _operands(c)
    scale = c.log_scale(-2, 3, c.tensors[a].scale[0] * c.tensors[b].scale[0])
    # Below 6/2^31 LiteRT refuses, because RELU6's limit does not fit 32 bits.
    return c.mul(a, b, c.pick(*ACTIVATIONS), max(scale, 1e-8))


def mean(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 5), 10), c.log_scale(-4, 1))
    rank = len(c.shape(x))
    axes = [a - rank * c.flip() for a in range(rank) if c.flip()] or [-1]
    if rank == 4 and c.flip():  # the two axes for which TFLite once had code of its own
        axes = c.pick([1, 2], [2, 1], [-3, -2])
    if c.below(0, 8) == 0:
        axes = [*axes, axes[0]]
    scale = c.log_scale(-2, 4, c.tensors[x].scale[0]) if c.flip() else None
    return c.mean(x, axes, c.flip(), scale, c.below(-128, 128) if c.flip() else None)


def softmax(c: Case) -> int:
    # LiteRT aborts on 512 or more nearly equal inputs, so rows stay shorter.
    x = c.input((*c.sizes(c.below(0, 3), 5), c.below(1, 300)), c.log_scale(-4, 1))
    return c.softmax(x, c.log_scale(-1, 1) if c.flip() else 1.0)


def average_pool(c: Case) -> int:
    x = c.image()
    return c.average_pool(x, **c.window(x, dilated=False))


def max_pool(c: Case) -> int:
    x = c.image()
    return c.max_pool(x, **c.window(x, dilated=False))


def resize_nearest(c: Case) -> int:
    mode = c.pick({}, {"align_corners": True}, {"half_pixel_centers": True})
    return c.resize_nearest(c.image(), c.pair(30), **mode)


def pad(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 5)))
    return c.pad(x, [(c.below(0, 3), c.below(0, 3)) for _ in c.shape(x)])


def transpose(c: Case) -> int:
    x = c.input(c.sizes(c.below(1, 6), 6))
    return c.transpose(x, [int(p) for p in c.rng.permutation(len(c.shape(x)))])


def reshape(c: Case) -> int:
    x = c.input(c.sizes(4))
    a, b, d, e = c.shape(x)
    return c.reshape(x, c.pick((a * b, d * e), (e, d, b, a), (a * b * d * e,), (1, a, b, d * e)))


def requantize(c: Case) -> int:
    x = c.input(c.sizes(2, 20), c.log_scale(-4, 1))
    return c.quantize(x, c.log_scale(-4, 4, c.tensors[x].scale[0]))


def float_edges(c: Case) -> int:
    return c.dequantize(c.quantize(c.input(c.sizes(2, 20), dtype="float32"), c.log_scale(-2, 1)))


CASES: tuple[Callable[[Case], int], ...] = (
    conv2d,
    depthwise,
    fully_connected,
    add,
    mul,
    mean,
    softmax,
    average_pool,
    max_pool,
    resize_nearest,
    pad,
    transpose,
    reshape,
    requantize,
    float_edges,
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_equals_litert(case: Callable[[Case], int], tmp_path: Path) -> None:
    distinct = 0
    for seed in range(SEEDS):
        builder = Case(seed)
        builder.output(case(builder))
        path = builder.save(tmp_path / "case.tflite")
        graph = read_model(path)
        rng = np.random.default_rng(seed)
        inputs = [
            rng.normal(0, 20, t.shape).astype(np.float32)
            if t.dtype is DType.FLOAT32
            else rng.integers(-128, 128, t.shape).astype(np.int8)
            for t in (graph.tensors[i] for i in graph.inputs)
        ]
        oracle = Oracle(path)
        oracle.run(inputs)
        values = reference.run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        for op in graph.ops:
            expected = oracle.tensor(graph.source_index[op.outputs[0]])
            np.testing.assert_array_equal(
                values[op.outputs[0]], expected, err_msg=f"seed {seed}: {op} {graph.tensors}", strict=True
            )
            distinct = max(distinct, len(np.unique(expected)))
    assert distinct > 20  # the comparison is not between saturated outputs
