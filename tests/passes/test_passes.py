"""Each pass does what it says, and no pass changes an output byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.shared_models import shared_models
from tests.tflite_builder import ModelBuilder
from tinyml import passes, reference
from tinyml.errors import ModelError, UnsupportedOp
from tinyml.graph import Array, DType, Graph, OpKind, Pads, ReduceAttrs, WindowAttrs
from tinyml.kernels.registry import Isa
from tinyml.oracle import Oracle, float_inputs, int8_edges
from tinyml.readers import read_model
from tinyml.select import select


def _kinds(graph: Graph) -> list[str]:
    return [op.kind.value for op in graph.ops]


def _samples(graph: Graph, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in int8_edges(graph).inputs]


def run_passes(builder: ModelBuilder, tmp_path: Path) -> Graph:
    """Run all passes; outputs and every surviving tensor must equal LiteRT's."""
    path = builder.save(tmp_path / "m.tflite")
    graph = read_model(path)
    rewritten = passes.run(graph)
    samples = _samples(graph)
    oracle = Oracle(path)
    expected = oracle.run_int8(graph, samples)
    values = reference.run(rewritten, dict(zip(rewritten.inputs, samples, strict=True)))
    assert len(rewritten.outputs) == len(expected)
    for index, output in zip(rewritten.outputs, expected, strict=True):
        np.testing.assert_array_equal(values[index], output, strict=True)
    for op in rewritten.ops:
        source = rewritten.source_index[op.outputs[0]]
        if source >= 0:
            value = rewritten.tensors[op.outputs[0]].of_file(oracle.tensor(source))
            np.testing.assert_array_equal(
                values[op.outputs[0]].reshape(-1), value.reshape(-1), err_msg=str(op)
            )
    check_form(rewritten)
    return rewritten


def check_form(graph: Graph) -> None:
    """What the planner relies on."""
    available = set(graph.inputs) | {i for i, t in enumerate(graph.tensors) if t.data is not None}
    for op in graph.ops:
        assert all(i in available for i in op.inputs if i >= 0)
        assert not available.intersection(op.outputs)
        available.update(op.outputs)
    used = {t for op in graph.ops for t in (*op.inputs, *op.outputs)} | set(graph.inputs) | set(graph.outputs)
    assert used - {-1} == set(range(len(graph.tensors)))
    assert len(graph.source_index) == len(graph.tensors)
    kept = [s for s in graph.source_index if s >= 0]
    assert len(set(kept)) == len(kept)


def test_strip_edges(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 5, 5, 3), dtype="float32")
    q = b.quantize(x, 0.1, 4)
    b.output(b.dequantize(b.conv2d(q, 4)), b.max_pool(q))
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["CONV_2D", "MAX_POOL_2D"]
    assert {graph.tensors[i].dtype for i in (*graph.inputs, *graph.outputs)} == {DType.INT8}


def test_float_edges_stay(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 5, 5, 3), dtype="float32")
    b.output(b.dequantize(b.conv2d(b.quantize(x, 0.1, 4), 4)))
    path = b.save(tmp_path / "m.tflite")
    graph = passes.run(read_model(path), edges="float")
    assert _kinds(graph) == ["QUANTIZE", "CONV_2D", "DEQUANTIZE"]
    values = float_inputs(graph, _samples(graph))
    (expected,) = Oracle(path).run(values)
    result = reference.run(graph, dict(zip(graph.inputs, values, strict=True)))[graph.outputs[0]]
    np.testing.assert_array_equal(result, expected, strict=True)


def test_input_quantised_in_two_ways(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 4), dtype="float32")
    b.output(b.add(b.quantize(x, 0.1, 0), b.quantize(x, 0.2, 0)))
    graph = read_model(b.save(tmp_path / "m.tflite"))
    with pytest.raises(ModelError, match="2 different ways"):
        passes.run(graph)
    assert len(passes.run(graph, edges="float").ops) == 3


def test_input_quantised_twice_alike(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = b.input((1, 4), dtype="float32")
    b.output(b.add(b.quantize(x, 0.1, 0), b.quantize(x, 0.1, 0)))
    assert _kinds(run_passes(b, tmp_path)) == ["LOOKUP"]  # a sum of a tensor with itself


def test_nothing_to_compute(tmp_path: Path) -> None:
    b = ModelBuilder(1)
    b.output(b.dequantize(b.quantize(b.input((1, 4), dtype="float32"), 0.1, 0)))
    with pytest.raises(ModelError, match="does not depend on any operator"):
        passes.run(read_model(b.save(tmp_path / "m.tflite")))


@pytest.mark.parametrize("layer", ["conv2d", "depthwise"])
def test_padding_folds_into_convolutions(layer: str, tmp_path: Path) -> None:
    b = ModelBuilder(2)
    y = b.pad(
        b.pad(b.input((1, 6, 7, 3)), [(0, 0), (1, 0), (0, 2), (0, 0)]), [(0, 0), (0, 1), (3, 0), (0, 0)]
    )
    convolution = getattr(b, layer)
    b.output(*(convolution(y, 2, 3, stride=2, padding=p, dilation=(2, 1)) for p in ("VALID", "SAME")))
    graph = run_passes(b, tmp_path)
    assert len(graph.ops) == 2
    assert isinstance(graph.ops[0].attrs, WindowAttrs)
    assert graph.ops[0].attrs.pads == Pads(top=1, left=3, bottom=1, right=2)


@pytest.mark.parametrize("pool", ["average_pool", "max_pool"])
def test_padding_before_pooling_stays(pool: str, tmp_path: Path) -> None:
    b = ModelBuilder(2)
    y = b.pad(b.input((1, 6, 6, 3), zero_point=100), [(0, 0), (1, 1), (1, 1), (0, 0)])
    b.output(getattr(b, pool)(y, 3), b.conv2d(y, 2))
    assert "PAD" in _kinds(run_passes(b, tmp_path))


def test_padding_that_cannot_fold_stays(tmp_path: Path) -> None:
    for paddings in ([(0, 0), (1, 1), (1, 1), (0, 1)], [(0, 0), (0, 0), (0, 0), (2, 0)]):
        b = ModelBuilder(2)
        b.output(b.conv2d(b.pad(b.input((1, 6, 6, 3)), paddings), 2))
        assert _kinds(run_passes(b, tmp_path)) == ["PAD", "CONV_2D"]
    b = ModelBuilder(2)
    y = b.pad(b.input((1, 6, 6, 3)), [(0, 0), (1, 1), (1, 1), (0, 0)])
    b.output(y, b.conv2d(y, 2))
    assert _kinds(run_passes(b, tmp_path)) == ["PAD", "CONV_2D"]


def test_inverse_transposes_cancel(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    x = b.conv2d(b.input((1, 4, 5, 3)), 4)
    y = b.transpose(b.transpose(x, (0, 3, 1, 2)), (0, 2, 3, 1))
    b.output(b.conv2d(y, 2), b.add(x, y))
    assert _kinds(run_passes(b, tmp_path)) == ["CONV_2D", "CONV_2D", "LOOKUP"]  # x + x


def test_transposes_merge(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    b.output(b.transpose(b.transpose(b.input((1, 4, 5, 3)), (0, 3, 1, 2)), (0, 3, 1, 2)))
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["TRANSPOSE"]
    assert graph.ops[0].attrs.perm == (0, 2, 3, 1)


def test_transpose_of_ones_is_a_view(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    b.output(b.fully_connected(b.transpose(b.input((1, 1, 6, 4)), (0, 2, 1, 3)), 3))
    assert _kinds(run_passes(b, tmp_path)) == ["RESHAPE", "FULLY_CONNECTED"]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axes", [[1], [2, 3], [3], [1, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("perm", [(0, 3, 1, 2), (0, 2, 3, 1), (3, 2, 1, 0)])
def test_transpose_sinks_below_mean(
    perm: tuple[int, ...], axes: list[int], keep: bool, tmp_path: Path
) -> None:
    b = ModelBuilder(3)
    y = b.mean(b.transpose(b.input((1, 4, 5, 3)), perm), axes, keep)
    b.output(b.quantize(y))
    graph = run_passes(b, tmp_path)
    assert graph.ops[0].kind is OpKind.MEAN
    assert isinstance(graph.ops[0].attrs, ReduceAttrs)
    assert {perm[a] for a in axes} == set(graph.ops[0].attrs.axes)


def test_global_average_of_nchw_needs_no_transpose(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    y = b.transpose(b.conv2d(b.input((1, 4, 5, 3)), 6), (0, 3, 1, 2))
    b.output(b.fully_connected(b.mean(b.mean(y, [3]), [2]), 2))
    assert _kinds(run_passes(b, tmp_path)) == ["CONV_2D", "MEAN", "MEAN", "FULLY_CONNECTED"]


def test_constants_fold(tmp_path: Path) -> None:
    b = ModelBuilder(4)
    values = b.rng.integers(-128, 128, (1, 1, 1, 3)).astype(np.int8)
    c = b.constant(values, 0.05, 3)
    factor = b.transpose(b.pad(b.mul(c, c), [(0, 0)] * 3 + [(0, 1)]), (0, 1, 2, 3))
    b.output(b.mul(b.input((1, 3, 3, 4)), factor))
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["MUL"]
    assert graph.tensors[graph.ops[0].inputs[1]].data is not None


def test_noops_vanish_and_outputs_keep_their_names(tmp_path: Path) -> None:
    b = ModelBuilder(5)
    x = b.input((1, 4, 4, 2))
    y = b.add(x, b.input((1, 4, 4, 2)))
    same = b.quantize(y, b.tensors[y].scale[0], b.tensors[y].zero_point[0])
    z = b.reshape(b.pad(same, [(0, 0)] * 4), (1, 4, 4, 2))
    b.tensors[z].name = "scores"
    b.output(z)
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["ADD"]
    assert graph.tensors[graph.outputs[0]].name == "scores"


def test_reshapes_join(tmp_path: Path) -> None:
    b = ModelBuilder(5)
    y = b.reshape(b.reshape(b.input((1, 4, 4, 2)), (16, 2)), (1, 32))
    b.output(b.fully_connected(y, 3))
    assert _kinds(run_passes(b, tmp_path)) == ["RESHAPE", "FULLY_CONNECTED"]


def test_view_of_an_input_as_output_stays(tmp_path: Path) -> None:
    b = ModelBuilder(5)
    x = b.input((1, 4))
    b.output(b.reshape(x, (1, 4)), b.add(x, b.input((1, 4))))
    assert _kinds(run_passes(b, tmp_path)) == ["RESHAPE", "ADD"]


def test_unused_operators_go_and_unused_inputs_stay(tmp_path: Path) -> None:
    b = ModelBuilder(6)
    x, spare = b.input((1, 4, 4, 2)), b.input((1, 3))
    b.add(spare, spare)
    b.conv2d(x, 3)
    b.output(b.max_pool(x))
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["MAX_POOL_2D"]
    assert len(graph.inputs) == 2


def test_two_means_stay_two(tmp_path: Path) -> None:
    """Each rounds, so that one MEAN over both axes would give other bytes."""
    b = ModelBuilder(7)
    b.output(b.mean(b.mean(b.input((1, 5, 7, 30)), [2]), [1]))
    assert _kinds(run_passes(b, tmp_path)) == ["MEAN", "MEAN"]


def random_network(seed: int) -> ModelBuilder:
    """Return a random network of everything passes touch, with branches and several outputs."""
    b = ModelBuilder(seed)
    rng = b.rng
    shape = (1, int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 6)))
    float_edge = bool(rng.integers(0, 2))
    tensors = [b.quantize(b.input(shape, dtype="float32"), 0.05) if float_edge else b.input(shape)]
    for _ in range(int(rng.integers(3, 14))):
        x = int(rng.choice(tensors[-4:]))
        s = b.shape(x)
        choices = ["add", "mul", "transpose", "transpose", "reshape", "quantize", "mean", "pad"]
        if len(s) == 4 and s[0] == 1 and max(s) < 40:
            choices += ["pad_hw", "pad_hw", "conv", "depthwise", "pool", "conv", "resize"]
        kind = str(rng.choice(choices))
        if len(s) == 0 or np.prod(s) > 20000:
            continue
        if kind in ("add", "mul"):
            partners = [t for t in tensors if b.shape(t) == s]
            other = (
                int(rng.choice(partners))
                if rng.integers(0, 2)
                else b.constant(rng.integers(-128, 128, s[-1:]).astype(np.int8), 0.02, 3)
            )
            y = getattr(b, kind)(x, other)
        elif kind == "transpose":
            y = b.transpose(x, [int(p) for p in rng.permutation(len(s))])
        elif kind == "reshape":
            y = b.reshape(x, [s, (1, *s) if len(s) < 4 else s, s[::-1]][int(rng.integers(0, 3))])
        elif kind == "quantize":
            keep = rng.integers(0, 2)
            y = b.quantize(x, *((b.tensors[x].scale[0], b.tensors[x].zero_point[0]) if keep else ()))
        elif kind == "mean":
            y = b.mean(x, [int(rng.integers(0, len(s)))], bool(rng.integers(0, 2)))
        elif kind == "pad":
            y = b.pad(x, [(0, int(rng.integers(0, 2))) for _ in s[:-1]] + [(0, 0)])
        elif kind == "pad_hw":
            y = b.pad(x, [(0, 0), (1, int(rng.integers(0, 3))), (int(rng.integers(0, 2)), 1), (0, 0)])
        elif kind == "conv":
            y = b.conv2d(x, int(rng.integers(1, 7)), int(rng.integers(1, 4)), stride=int(rng.integers(1, 3)))
        elif kind == "depthwise":
            y = b.depthwise(x, 1, 3, padding="VALID" if min(s[1:3]) > 2 else "SAME")
        elif kind == "resize":
            y = b.resize_nearest(x, (s[1] + 1, s[2]))
        else:
            y = b.average_pool(x, 2, stride=1, padding="SAME")
        tensors.append(y)
    consumed = {i for op in b.operators for i in op.inputs}
    ends = [t for t in tensors[1:] if t not in consumed] or [tensors[-1]]
    spare = [t for t in tensors[1:] if t in consumed and rng.integers(0, 6) == 0]
    for t in (*ends[: max(1, len(ends) - 1)], *spare):
        b.output(b.dequantize(t) if rng.integers(0, 3) == 0 else t)
    return b


@pytest.mark.parametrize("seed", range(150))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    run_passes(random_network(seed), tmp_path)


@pytest.mark.parametrize(
    "path", shared_models("kws", "vww96", "resnet8", "ad01", "mcunet_vww", "mcunet_det", "mcunetv2_large")
)
def test_real_models_keep_no_data_movement(path: Path) -> None:
    """Padding and transposes cost a copy each; the reference tests compare the bytes."""
    graph = passes.run(read_model(path))
    check_form(graph)
    assert not {"PAD", "TRANSPOSE", "QUANTIZE", "DEQUANTIZE"}.intersection(_kinds(graph))


def test_float_functions_between_quantised_layers_become_tables(tmp_path: Path) -> None:
    b = ModelBuilder(9)
    x = b.input((1, 2, 4, 3), 0.05, 7)

    def function(name: str, x: int) -> int:
        return b._op(name, [x], b.tensor(b.shape(x), "float32"))

    negative = b.quantize(function("NEG", b.dequantize(x)), 0.031, -5)
    flat = b._op(
        "RESHAPE", [b.dequantize(x), b.constant(np.array([2, 12], np.int32))], b.tensor((2, 12), "float32")
    )
    wave = b.quantize(function("COS", function("SIN", flat)), 1 / 128, 3)
    b.output(negative, b.fully_connected(wave, 5))
    graph = run_passes(b, tmp_path)
    assert _kinds(graph) == ["LOOKUP", "RESHAPE", "LOOKUP", "FULLY_CONNECTED"]


def test_a_float_function_at_an_edge_is_refused(tmp_path: Path) -> None:
    b = ModelBuilder(9)
    x = b.input((1, 2, 4, 3), 0.05, 7)
    y = b.tensor(b.shape(x), "float32")
    b.output(b._op("SIN", [b.dequantize(x)], y))
    path = b.save(tmp_path / "m.tflite")
    for edges in ("int8", "float"):
        graph = passes.run(read_model(path), edges=edges)
        with pytest.raises(UnsupportedOp, match=r"SIN.*between quantised layers"):
            select(graph, [Isa.C])
