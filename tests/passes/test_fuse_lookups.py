"""Tables of several operators, activations that a layer does itself: what is left, and no byte changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.passes.test_passes import run_passes
from tests.tflite_builder import ModelBuilder
from tinyml.graph import Graph, LookupAttrs


def _titles(graph: Graph) -> list[str]:
    return [op.title for op in graph.ops]


def _scalar(b: ModelBuilder, value: int, scale: float = 0.05, zero_point: int = 0) -> int:
    return b.constant(np.array([value], np.int8), scale, zero_point)


def test_a_chain_of_activations_is_one_table(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 16, 16, 3))
    y = b.unary("TANH", b.unary("LEAKY_RELU", x, None, None, "LeakyReluOptions", Alpha=0.2), 1 / 128, 0)
    b.output(b.quantize(b.quantize(y, 1 / 64, 5), 1 / 50, 3))
    graph = run_passes(b, tmp_path)
    assert _titles(graph) == ["LEAKY_RELU+TANH+QUANTIZE+QUANTIZE"]


def test_hard_swish_in_pieces_is_one_table(tmp_path: Path) -> None:
    """x * relu6(x + 3) / 6, as Keras writes it."""
    b = ModelBuilder(2)
    x = b.conv2d(b.input((1, 9, 8, 3)), 7)
    scale = b.tensors[x].scale[0]
    shifted = b.add(x, _scalar(b, 60), "relu6", max(scale, 6 / 255), -128)
    b.output(b.mul(b.mul(x, shifted), _scalar(b, 21, 1 / 128)))
    graph = run_passes(b, tmp_path)
    assert _titles(graph) == ["CONV_2D", "ADD+MUL+MUL"]


def test_factors_of_different_tensors_stay(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    x, y = b.input((1, 4, 4, 3), 0.05), b.input((1, 4, 4, 3), 0.05)
    b.output(b.mul(b.unary("LOGISTIC", x, 1 / 256, -128), y))
    assert _titles(run_passes(b, tmp_path)) == ["LOGISTIC", "MUL"]


def test_a_shared_activation_is_not_computed_in_two_tables(tmp_path: Path) -> None:
    b = ModelBuilder(4)
    x = b.input((1, 4, 4, 3))
    y = b.unary("TANH", x, 1 / 128, 0)
    b.output(b.unary("ABS", y), b.unary("EXP", y, 0.02, 0))
    assert sorted(_titles(run_passes(b, tmp_path))) == ["ABS", "EXP", "TANH"]


def test_a_constant_per_channel_stays(tmp_path: Path) -> None:
    b = ModelBuilder(5)
    x = b.input((1, 4, 4, 3))
    b.output(b.mul(x, b.constant(np.array([3, 4, 5], np.int8), 0.05, 0)))
    assert _titles(run_passes(b, tmp_path)) == ["MUL"]


def test_a_choice_by_a_comparison_is_one_table(tmp_path: Path) -> None:
    """where(x > 1, x, 0)."""
    b = ModelBuilder(6)
    x = b.input((1, 300), 0.05, 3)
    condition = b.relation("LOGICAL_NOT", b.relation("LESS_EQUAL", x, _scalar(b, 20)))
    b.output(b.select(condition, x, b.constant(np.full((1, 300), 3, np.int8), 0.05, 3)))
    graph = run_passes(b, tmp_path)
    assert _titles(graph) == ["LESS_EQUAL+LOGICAL_NOT+SELECT"]
    assert isinstance(graph.ops[0].attrs, LookupAttrs)
    assert len(set(graph.ops[0].attrs.table)) > 100


@pytest.mark.parametrize("layer", ["conv", "add", "sub"])
@pytest.mark.parametrize("name", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_an_activation_at_the_same_scale_goes_into_the_layer(layer: str, name: str, tmp_path: Path) -> None:
    b = ModelBuilder(7)
    x = b.input((1, 6, 6, 4))
    if layer == "conv":
        y = b.conv2d(x, 5, out_zero_point=-20, out_scale=0.3)
    elif layer == "add":
        y = b.add(x, b.input((1, 6, 6, 4)), out_zero_point=7)
    else:
        y = b.binary("SUB", x, b.input((1, 6, 6, 4)), None, 3, "SubOptions")
    b.output(b.unary(name, y, b.tensors[y].scale[0], b.tensors[y].zero_point[0]))
    assert len(run_passes(b, tmp_path).ops) == 1


def test_an_activation_at_another_scale_stays(tmp_path: Path) -> None:
    b = ModelBuilder(8)
    y = b.conv2d(b.input((1, 6, 6, 4)), 5)
    b.output(b.unary("RELU6", y, 6 / 255, -128))
    assert _titles(run_passes(b, tmp_path)) == ["CONV_2D", "RELU6"]


def test_an_activation_goes_before_one_that_the_layer_has(tmp_path: Path) -> None:
    """RELU6 after RELU is RELU6."""
    b = ModelBuilder(9)
    y = b.conv2d(b.input((1, 6, 6, 4)), 5, activation="relu", out_zero_point=-20, out_scale=0.3)
    b.output(b.unary("RELU6", y, b.tensors[y].scale[0], -20))
    assert _titles(run_passes(b, tmp_path)) == ["CONV_2D"]


def test_channels_fold_through_tables_and_differences(tmp_path: Path) -> None:
    b = ModelBuilder(10)
    x = b.input((1, 5, 5, 4))
    weights = b.rng.integers(-127, 128, (8, 1, 1, 4)).astype(np.int8)
    weights[4:] = 0
    a, c = (b.conv2d(x, 8, 1, weights=weights) for _ in range(2))
    y = b.unary("HARD_SWISH", b.binary("SUB", a, c, None, None, "SubOptions"))
    b.output(b.conv2d(y, 3, 1))
    graph = run_passes(b, tmp_path)
    assert graph.folded_channels == 8
    assert [graph.tensors[op.outputs[0]].shape[3] for op in graph.ops] == [4, 4, 4, 4, 3]


def test_random_elementwise_networks_keep_every_byte(tmp_path: Path) -> None:
    fused = 0
    for seed in range(40):
        b = ModelBuilder(seed)
        pool = [b.input((1, 7, 5, 3), 0.04) for _ in range(2)]
        for _ in range(int(b.rng.integers(2, 9))):
            pool.append(_random_step(b, pool))
        read = {t for op in b.operators for t in op.inputs}
        b.output(*(t for t in pool[2:] if t not in read))
        graph = run_passes(b, tmp_path)
        fused += len(b.operators) - len(graph.ops)
    assert fused > 40


def _random_step(b: ModelBuilder, pool: list[int]) -> int:
    x, y = (int(b.rng.choice(pool[-3:])) for _ in range(2))
    constant = _scalar(b, int(b.rng.integers(-128, 128)), 0.04, int(b.rng.integers(-128, 128)))
    other = constant if b.rng.random() < 0.5 else y
    match int(b.rng.integers(9)):
        case 0:
            return b.unary("TANH", x, 1 / 100, 0)
        case 1:
            return b.unary("LOGISTIC", x, 1 / 256, -128)
        case 2:
            return b.unary("RELU6", x, 0.04)
        case 3:
            return b.add(x, other)
        case 4:
            return b.mul(x, other)
        case 5:
            return b.binary("MAXIMUM", other, x, 0.04)
        case 6:
            return b.binary("SUB", other, x, 0.05, None, "SubOptions")
        case 7:
            return b.select(b.relation("GREATER", x, other), x, y)
        case _:
            return b.quantize(x)
