"""Folding channels: what goes and what stays, and that no surviving byte changes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.passes.test_passes import check_form, run_passes
from tests.shared_models import shared_models
from tests.tflite_builder import ModelBuilder
from tinyml import boards, build, passes, reference
from tinyml.graph import Array, Graph, OpKind
from tinyml.passes.fold_channels import layer_macs
from tinyml.passes.ranges import channel_ranges
from tinyml.readers import read_model
from tinyml.run.host import HostTarget, build_host_library
from tinyml.verify import verify


def _weights(b: ModelBuilder, shape: tuple[int, ...], dead: list[int], axis: int = 0) -> Array:
    """Random weights, zero at some indices of the output channels' axis."""
    weights = b.rng.integers(-127, 128, shape).astype(np.int8)
    weights[(slice(None),) * axis + (dead,)] = 0
    return weights


def _set_bias(b: ModelBuilder, y: int, values: dict[int, int]) -> None:
    """Set biases of the layer that writes y, by channel."""
    index = next(op.inputs[2] for op in b.operators if op.outputs == [y])
    bias = np.frombuffer(b.tensors[index].data or b"", np.int32).copy()
    for channel, value in values.items():
        bias[channel] = value
    b.tensors[index].data = bias.tobytes()


def _value_of_dead_channels(b: ModelBuilder, y: int, dead: list[int], value: str) -> None:
    """Let channels without weights hold the zero point, or some other value inside a RELU's range."""
    _set_bias(b, y, dict.fromkeys(dead, 0 if value == "zero point" else 150_000))


def _widths(graph: Graph) -> list[int]:
    return [graph.tensors[op.outputs[0]].shape[-1] for op in graph.ops]


def _dead_layer(b: ModelBuilder, x: int, out_c: int, dead: list[int], value: str = "any") -> int:
    """A pointwise convolution with channels that have no weights."""
    y = b.conv2d(x, out_c, 1, weights=_weights(b, (out_c, 1, 1, b.shape(x)[3]), dead))
    if value != "any":
        _value_of_dead_channels(b, y, dead, value)
    return y


@pytest.mark.parametrize("value", ["zero point", "other"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_channels_without_weights_fold_into_the_next_bias(kernel: int, value: str, tmp_path: Path) -> None:
    b = ModelBuilder(1)
    x = _dead_layer(b, b.input((1, 5, 6, 3)), 8, [1, 2, 4, 7], value)
    b.output(b.conv2d(x, 5, kernel, padding="VALID"))
    graph = run_passes(b, tmp_path)
    assert _widths(graph) == [4, 5]
    assert graph.tensors[graph.ops[0].outputs[0]].channels == (0, 3, 5, 6)
    assert graph.folded_channels == 4
    outputs = (7 - kernel) * (6 - kernel)
    assert graph.folded_macs == 4 * 3 * 30 + 5 * 4 * kernel**2 * outputs
    source = read_model(tmp_path / "m.tflite")
    macs = [sum(layer_macs(g, op) for op in g.ops) for g in (source, graph)]
    assert macs[0] - macs[1] == graph.folded_macs


@pytest.mark.parametrize(("value", "width"), [("zero point", 4), ("other", 8)])
def test_a_padded_convolution_folds_the_zero_point_only(value: str, width: int, tmp_path: Path) -> None:
    b = ModelBuilder(2)
    x = _dead_layer(b, b.input((1, 5, 6, 3)), 8, [1, 2, 4, 7], value)
    b.output(b.conv2d(x, 5, 3))
    assert _widths(run_passes(b, tmp_path)) == [width, 5]


def test_taps_that_never_fall_outside_may_meet_any_value(tmp_path: Path) -> None:
    b = ModelBuilder(3)
    x = _dead_layer(b, b.input((1, 5, 6, 3)), 6, [1, 2], "other")
    weights = _weights(b, (5, 3, 3, 6), [])
    weights[:, :, :, [1, 2]] = 0
    weights[:, 1, 1, [1, 2]] = 77  # the middle is always inside
    b.output(b.conv2d(x, 5, 3, weights=weights))
    assert _widths(run_passes(b, tmp_path)) == [4, 5]


@pytest.mark.parametrize("depth_multiplier", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("value", "padding", "folds"),
    [("zero point", "SAME", True), ("other", "VALID", True), ("other", "SAME", False)],
)
def test_constants_through_a_depthwise_convolution(
    value: str, padding: str, folds: bool, stride: int, depth_multiplier: int, tmp_path: Path
) -> None:
    b = ModelBuilder(4)
    x = _dead_layer(b, b.input((1, 7, 6, 3)), 8, [0, 1, 5, 6], value)
    y = b.depthwise(x, depth_multiplier, 3, stride=stride, padding=padding)
    b.output(b.conv2d(y, 3, 1))
    width = 4 if folds else 8
    assert _widths(run_passes(b, tmp_path)) == [width, width * depth_multiplier, 3]


def test_a_clamp_makes_border_and_middle_equal(tmp_path: Path) -> None:
    """The value is not the zero point, and padding cuts taps off; the activation hides the difference."""
    b = ModelBuilder(5)
    x = _dead_layer(b, b.input((1, 7, 6, 3)), 8, [0, 1, 5, 6], "other")
    y = b.depthwise(x, 1, 3, activation="relu6", out_scale=6 / 255, out_zero_point=-128)
    _set_bias(b, y, {0: -(1 << 28), 1: 1 << 28, 5: 1 << 28, 6: -(1 << 28)})
    b.output(b.conv2d(y, 3, 1))
    assert _widths(run_passes(b, tmp_path)) == [4, 4, 3]


def test_channels_that_a_clamp_makes_constant(tmp_path: Path) -> None:
    b = ModelBuilder(6)
    y = b.conv2d(
        b.input((1, 5, 6, 3)), 6, 3, activation="relu", bias=True, out_scale=0.05, out_zero_point=-128
    )
    _set_bias(b, y, {0: -(1 << 24), 3: -(1 << 24)})
    b.output(b.conv2d(y, 5, 3))
    assert _widths(run_passes(b, tmp_path)) == [4, 5]


def test_a_sum_that_wraps_is_not_taken_for_constant(tmp_path: Path) -> None:
    """Near the end of int32 accumulators wrap to the other sign: order is lost, and so is the proof."""
    b = ModelBuilder(6)
    y = b.conv2d(b.input((1, 5, 6, 3)), 6, 3, activation="relu", out_scale=0.05, out_zero_point=-128)
    _set_bias(b, y, {0: -(2**31), 3: 2**31 - 1})
    b.output(b.max_pool(y))
    graph = read_model(b.save(tmp_path / "m.tflite"))
    assert not channel_ranges(graph)[graph.ops[0].outputs[0]].constant.any()


def test_channels_that_nobody_reads_go(tmp_path: Path) -> None:
    """Live channels of the first layer meet depthwise channels without weights, which are constant."""
    b = ModelBuilder(7)
    x = b.conv2d(b.input((1, 5, 6, 3)), 8, 3)
    y = b.depthwise(x, 1, 3, weights=_weights(b, (1, 3, 3, 8), [2, 3, 6, 7], 3))
    b.output(b.conv2d(y, 3, 1))
    assert _widths(run_passes(b, tmp_path)) == [4, 4, 3]


def test_a_residual_keeps_the_channels_of_its_live_branch(tmp_path: Path) -> None:
    b = ModelBuilder(8)
    x = b.input((1, 5, 6, 3))
    p, q = _dead_layer(b, x, 8, [0, 1, 2, 3]), _dead_layer(b, x, 8, [2, 3, 4, 5])
    b.output(b.conv2d(b.add(p, q), 3, 1))
    graph = run_passes(b, tmp_path)
    assert _widths(graph) == [6, 6, 6, 3]
    assert all(graph.tensors[op.outputs[0]].channels == (0, 1, 4, 5, 6, 7) for op in graph.ops[:3])


@pytest.mark.parametrize("operator", ["add", "mul"])
def test_constant_operands_are_cut_too(operator: str, tmp_path: Path) -> None:
    b = ModelBuilder(9)
    x = _dead_layer(b, b.input((1, 5, 6, 3)), 8, [0, 4, 6, 7])
    c = b.constant(b.rng.integers(-128, 128, 8).astype(np.int8), 0.05, 3)
    b.output(b.conv2d(getattr(b, operator)(c, x), 3, 1))
    graph = run_passes(b, tmp_path)
    assert _widths(graph) == [4, 4, 3]
    assert graph.tensors[graph.ops[1].inputs[0]].shape == (4,)


def test_multiplying_by_the_zero_point_is_constant(tmp_path: Path) -> None:
    """The partner's channels are live, but nobody can see them."""
    b = ModelBuilder(9)
    x = b.conv2d(b.input((1, 5, 6, 3)), 6, 1)
    c = b.constant(np.array([3, 3, 40, 41, 42, 43], np.int8), 0.05, 3)
    b.output(b.conv2d(b.mul(x, c), 3, 1))
    assert _widths(run_passes(b, tmp_path)) == [4, 4, 3]


def test_a_constant_gate_needs_no_branch(tmp_path: Path) -> None:
    """Squeeze and excite whose gate does not depend on anything: MUL by a constant is left."""
    b = ModelBuilder(10)
    x = b.conv2d(b.input((1, 5, 6, 3)), 4, 3)
    squeezed = b.conv2d(b.mean(x, [1, 2], True), 2, 1)
    gate = b.conv2d(squeezed, 4, 1, weights=np.zeros((4, 1, 1, 2), np.int8))
    b.output(b.mul(x, gate))
    graph = run_passes(b, tmp_path)
    assert [op.kind for op in graph.ops] == [OpKind.CONV_2D, OpKind.MUL]
    assert graph.folded_channels == 6
    assert graph.folded_macs == 4 * 2 + 2 * 4


@pytest.mark.parametrize(
    "between", ["average_pool", "max_pool", "resize_nearest", "quantize", "pad", "transpose", "mean"]
)
def test_per_channel_operators_pass_the_fold_on(between: str, tmp_path: Path) -> None:
    b = ModelBuilder(11)
    x = _dead_layer(b, b.input((1, 6, 6, 3)), 8, [0, 1, 2, 7], "zero point")
    arguments = {
        "resize_nearest": ((7, 9),),
        "pad": ([(0, 0), (1, 2), (0, 1), (0, 0)],),
        "transpose": ((0, 2, 1, 3),),
        "mean": ([1], True),
    }.get(between, ())
    y = getattr(b, between)(x, *arguments)
    b.output(b.max_pool(b.conv2d(y, 4, 1)) if between != "mean" else b.conv2d(y, 4, 1))
    graph = run_passes(b, tmp_path)
    assert _widths(graph)[:2] == [4, 4]


@pytest.mark.parametrize("flatten", ["reshape", "implicit", "mean"])
def test_dense_layers_fold_too(flatten: str, tmp_path: Path) -> None:
    b = ModelBuilder(12)
    x = _dead_layer(b, b.input((1, 2, 3, 5)), 8, [0, 2, 5, 6])
    if flatten == "reshape":
        x = b.reshape(x, (1, 48))
    elif flatten == "mean":
        x = b.mean(b.mean(x, [1]), [1])
    y = b.fully_connected(x, 12, weights=_weights(b, (12, b.shape(x)[-1]), [0, 1, 6, 7]), activation="relu")
    b.output(b.fully_connected(y, 3, per_channel=True))
    graph = run_passes(b, tmp_path)
    assert graph.tensors[graph.ops[0].outputs[0]].shape[-1] == 4
    assert _widths(graph)[-2:] == [8, 3]


def test_what_mixes_channels_keeps_them(tmp_path: Path) -> None:
    for mix in ("transpose", "mean", "softmax", "pad", "groups", "reshape", "output"):
        b = ModelBuilder(13)
        x = _dead_layer(b, b.input((1, 4, 4, 3)), 8, [0, 1, 2, 7])
        if mix == "groups":
            y = b.conv2d(x, 4, 1, groups=2)
        elif mix == "output":
            y = b.conv2d(x, 4, 1)
            b.output(x)
        else:
            arguments = {
                "transpose": ((0, 3, 1, 2),),
                "mean": ([3],),
                "pad": ([(0, 0), (0, 0), (0, 0), (0, 3)],),
                "reshape": ((1, 4, 8, 4),),
            }.get(mix, ())
            y = getattr(b, mix)(x, *arguments)
        b.output(y)
        assert _widths(run_passes(b, tmp_path))[0] == 8, mix


def test_a_bias_without_room_keeps_its_channels(tmp_path: Path) -> None:
    b = ModelBuilder(14)
    x = _dead_layer(b, b.input((1, 4, 4, 3)), 8, [0, 1, 2, 7], "other")
    y = b.conv2d(x, 5, 1, weights=np.full((5, 1, 1, 8), 100, np.int8))
    _set_bias(b, y, {3: 2**31 - 200_000})  # less than 256 times the weights
    b.output(y)
    assert _widths(run_passes(b, tmp_path)) == [8, 5]


def test_a_layer_without_bias_gets_one(tmp_path: Path) -> None:
    b = ModelBuilder(15)
    x = _dead_layer(b, b.input((1, 4, 4, 3)), 8, [0, 1, 2, 7], "other")
    b.output(b.fully_connected(b.mean(x, [1, 2]), 5, bias=False))
    graph = run_passes(b, tmp_path)
    assert _widths(graph) == [4, 4, 5]
    assert graph.ops[2].inputs[2] >= 0


def test_widths_stay_even_and_never_zero(tmp_path: Path) -> None:
    for out_c, dead, width in (
        (8, [1, 2, 3], 6),
        (9, [*range(8)], 2),
        (8, [*range(8)], 2),
        (3, [0, 1, 2], 2),
    ):
        b = ModelBuilder(16)
        b.output(b.conv2d(_dead_layer(b, b.input((1, 4, 4, 3)), out_c, dead), 5, 1))
        assert _widths(run_passes(b, tmp_path)) == [width, 5]


@st.composite
def _networks(draw: st.DrawFn) -> ModelBuilder:
    """Networks with zero channels, zero columns, extreme biases, branches and every per-channel operator."""
    b = ModelBuilder(draw(st.integers(0, 2**32 - 1)))
    rng = b.rng
    maps = [b.input((1, int(rng.integers(2, 7)), int(rng.integers(2, 7)), int(rng.integers(1, 6))))]
    flat: list[int] = []

    def sparse(shape: tuple[int, ...]) -> Array:
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        for axis in {0, len(shape) - 1}:
            gone = rng.random(shape[axis]) < rng.choice([0, 0.3, 0.8])
            weights[(slice(None),) * axis + (gone,)] = 0
        return weights

    def shift_biases(y: int) -> int:
        channels = b.shape(y)[-1]
        spread = int(rng.choice([0, 10**5, 10**7, 2**31 - 1]))
        chosen = np.flatnonzero(rng.random(channels) < 0.4)
        _set_bias(b, y, {int(c): int(rng.integers(-spread, spread + 1)) for c in chosen})
        return y

    window = {
        "padding": st.sampled_from(["SAME", "SAME", "VALID"]),
        "activation": st.sampled_from(["none", "relu", "relu6", "relu_n1_to_1"]),
        "stride": st.sampled_from([1, 1, 2]),
    }
    for _ in range(draw(st.integers(1, 8))):
        x = int(rng.choice(maps[-3:]))
        _, height, width, channels = b.shape(x)
        options = {name: draw(values) for name, values in window.items()}
        if min(height, width) < 3:
            options["padding"] = "SAME"
        kinds = ["conv", "conv", "depthwise", "depthwise", "add", "mul", "pool", "pad", "quantize"]
        kind = draw(st.sampled_from([*kinds, "gate", "resize"]))
        if kind == "conv":
            k, out_c = int(rng.choice([1, 3])), int(rng.integers(1, 10))
            y = shift_biases(b.conv2d(x, out_c, k, weights=sparse((out_c, k, k, channels)), **options))
        elif kind == "depthwise":
            times = 1 if channels > 10 else int(rng.integers(1, 3))
            w = sparse((1, 3, 3, channels * times))
            y = shift_biases(b.depthwise(x, times, 3, weights=w, **options))
        elif kind in ("add", "mul"):
            partners = [t for t in maps if b.shape(t) == b.shape(x)]
            values = rng.choice([-128, 3, 127], channels).astype(np.int8)
            other = int(rng.choice(partners)) if rng.integers(0, 3) else b.constant(values, 0.02, 3)
            y = getattr(b, kind)(x, other, activation=options["activation"])
        elif kind == "pool":
            y = getattr(b, str(rng.choice(["average_pool", "max_pool"])))(x, 2, stride=1, padding="SAME")
        elif kind == "pad":
            y = b.pad(x, [(0, 0), (1, 0), (0, 1), (0, int(rng.integers(0, 2)))])
        elif kind == "quantize":
            y = b.quantize(x)
        elif kind == "resize":
            y = b.resize_nearest(x, (height + 1, width))
        else:
            gate = b.conv2d(b.mean(x, [1, 2], True), channels, 1, weights=sparse((channels, 1, 1, channels)))
            y = b.mul(x, shift_biases(gate))
        maps.append(y)
    x = maps[-1]
    if rng.integers(0, 2):
        x = b.reshape(x, (1, int(np.prod(b.shape(x)))))
        flat.append(shift_biases(b.fully_connected(x, 6, weights=sparse((6, b.shape(x)[1])))))
        flat.append(b.fully_connected(flat[-1], 3))
    consumed = {i for op in b.operators for i in op.inputs}
    for t in [*maps[1:], *flat]:
        if t not in consumed:
            b.output(t)
    return b


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(_networks(), st.integers(0, 100))
def test_random_networks(tmp_path_factory: pytest.TempPathFactory, b: ModelBuilder, seed: int) -> None:
    """Outputs and all surviving channels keep their bytes, and no value leaves its proved range."""
    path = tmp_path_factory.mktemp("fold") / "m.tflite"
    source = read_model(b.save(path))
    graph = passes.run(source)
    check_form(graph)
    event(f"{min(graph.folded_channels, 20) // 5 * 5} or more channels folded")
    ranges = channel_ranges(source)
    rng = np.random.default_rng(seed)
    for low, high in ((-128, 128), (-128, -127), (127, 128)):
        (x,) = (rng.integers(low, high, source.tensors[t].shape).astype(np.int8) for t in source.inputs)
        before = reference.run(source, {source.inputs[0]: x})
        after = reference.run(graph, {graph.inputs[0]: x})
        for t, value in before.items():
            rows = value.reshape(-1, value.shape[-1])
            assert (rows >= ranges[t].low).all()
            assert (rows <= ranges[t].high).all()
        for old, new in zip(source.outputs, graph.outputs, strict=True):
            np.testing.assert_array_equal(after[new], before[old], strict=True)
        by_source = dict(zip(source.source_index, range(len(source.tensors)), strict=True))
        for t, value in after.items():
            if graph.source_index[t] >= 0:
                old_value = before[by_source[graph.source_index[t]]]
                np.testing.assert_array_equal(value, graph.tensors[t].of_file(old_value), strict=True)


@pytest.mark.parametrize("path", shared_models("vww96"))
def test_vww96_folds_all_its_constant_channels(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """971 channels without weights, and what they make constant: half of the work."""
    compiled = build.compile_model(path, boards.load("host"))
    report = compiled.report()
    assert report.macs == sum(layer_macs(compiled.graph, op) for op in compiled.graph.ops)
    assert report.macs + report.folded.macs == 7_489_664
    assert report.macs < 3_750_000
    with build.open_target(compiled, tmp_path) as target:
        assert verify(path, target, samples=4).mismatched_samples == 0
    module = sys.modules["tinyml.passes.fold_channels"]
    monkeypatch.setattr(module, "_EVEN", 1)
    monkeypatch.setattr(module, "_FOURS", 1)
    source = read_model(path)
    constant = {t: r.constant for t, r in channel_ranges(source).items() if source.tensors[t].data is None}
    graph = passes.run(source)
    for t, tensor in enumerate(graph.tensors):
        if tensor.data is None and t not in graph.outputs and graph.source_index[t] >= 0:
            old = source.source_index.index(graph.source_index[t])
            assert not tensor.of_file(constant[old]).any(), tensor.name


@pytest.fixture(scope="module")
def dead_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    b = ModelBuilder(17)
    x = _dead_layer(b, b.input((1, 7, 6, 3)), 12, [0, 1, 5, 6, 9, 10], "zero point")
    y = b.depthwise(x, 1, 3, stride=2)
    b.output(b.fully_connected(b.reshape(b.conv2d(y, 4, 1), (1, 48)), 5))
    return b.save(tmp_path_factory.mktemp("dead") / "dead.tflite")


def test_generated_code_of_a_folded_network(dead_model: Path, tmp_path: Path) -> None:
    compiled = build.compile_model(dead_model, boards.load("host"))
    assert compiled.report().folded.channels == 12
    with build.open_target(compiled, tmp_path) as target:
        assert verify(dead_model, target, samples=12).mismatched_samples == 0


@pytest.mark.parametrize("op", [0, 1])
def test_a_difference_in_a_folded_layer_is_named(dead_model: Path, tmp_path: Path, op: int) -> None:
    """By the file's channel: the third of those left, of 12."""
    compiled = build.compile_model(dead_model, boards.load("host"))
    graph = compiled.graph
    tensor = graph.ops[op].outputs[0]
    assert graph.tensors[tensor].channels == (2, 3, 4, 7, 8, 11)
    build.generate(compiled, tmp_path)
    source = tmp_path / "lib" / "dead" / "src" / "dead.c"
    at = compiled.plan.buffer_of(tensor).offset + 2
    end = f"TM_LAYER_END({op});"
    assert source.read_text().count(end) == 1
    source.write_text(source.read_text().replace(end, f"a[{at}] = (int8_t)(a[{at}] ^ -128); {end}"))
    with HostTarget(build_host_library(tmp_path, "dead", tmp_path / "dead.so"), "dead") as target:
        mismatch = verify(dead_model, target, samples=8).first_mismatch
    assert mismatch is not None
    assert mismatch.layer is not None
    assert mismatch.layer_difference is not None
    assert mismatch.layer.index == op
    assert mismatch.layer_difference.element == (0, 0, 0, 4)
