"""verify(): exact on a good build, and on a bad one it names the layer, element and values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.tflite_builder import ModelBuilder
from tinyml import boards, build, passes
from tinyml.errors import TargetError, UsageError
from tinyml.graph import Array, Graph
from tinyml.readers.tflite import read_model
from tinyml.run.host import HostTarget, build_host_library
from tinyml.run.target import Inference
from tinyml.verify import Dataset, VerifyReport, random_inputs, sample_inputs, verify


@pytest.fixture(scope="module")
def digits(digits_model: Path) -> build.Compiled:
    return build.compile_model(digits_model, boards.load("host"))


Broken = Callable[[str], Path]


@pytest.fixture(scope="module")
def broken(digits: build.Compiled, tmp_path_factory: pytest.TempPathFactory) -> Broken:
    """A function that builds digits with C code put in front of TM_LAYER_END(3)."""

    def build_broken(code: str) -> Path:
        folder = tmp_path_factory.mktemp("broken")
        build.generate(digits, folder)
        source = folder / "lib" / "digits" / "src" / "digits.c"
        text = source.read_text()
        assert text.count("TM_LAYER_END(3);") == 1
        source.write_text(text.replace("TM_LAYER_END(3);", code + " TM_LAYER_END(3);"))
        return build_host_library(folder, "digits", folder / "digits.so")

    return build_broken


@pytest.fixture(scope="module")
def good(broken: Broken) -> Path:
    return broken("")


def offset_of_layer(digits: build.Compiled, op: int) -> int:
    return digits.plan.buffer_of(digits.graph.ops[op].outputs[0]).offset


def test_a_good_build_is_exact(good: Path, digits_model: Path, digits_data: Path) -> None:
    seen: list[tuple[int, int]] = []
    with HostTarget(good, "digits") as target:
        report = verify(digits_model, target, progress=lambda done, total: seen.append((done, total)))
        assert report == VerifyReport(8, 0, None, None)
        assert seen == [(i + 1, 8) for i in range(8)]
        report = verify(digits_model, target, data=digits_data, samples=60)
        labels = np.load(digits_data)["y"]
    assert (report.samples, report.mismatched_samples) == (60, 0)
    assert report.accuracy == report.reference_accuracy
    assert report.accuracy is not None
    assert len(labels) >= 60
    assert report.accuracy > 0.9
    plain = json.loads(json.dumps(report.to_json()))
    assert {"samples", "mismatched_samples", "first_mismatch", "accuracy"} <= plain.keys()


def test_the_first_differing_layer_is_named(
    digits: build.Compiled, broken: Broken, digits_model: Path
) -> None:
    """One element of layer 3 is wrong: [0, 2, 5, 7], far enough to be seen at the end."""
    element = (2 * 8 + 5) * 16 + 7
    at = offset_of_layer(digits, 3) + element
    library = broken(f"a[{at}] = (int8_t)(a[{at}] ^ -128);")
    with HostTarget(library, "digits") as target:
        report = verify(digits_model, target, samples=8)
        assert report.mismatched_samples > 0
        mismatch = report.first_mismatch
        assert mismatch is not None
        assert mismatch.layer is not None
        assert mismatch.layer_difference is not None
        assert (mismatch.layer.index, mismatch.layer.op) == (3, "CONV_2D")
        assert mismatch.layer_difference.element == (0, 2, 5, 7)
        difference = mismatch.layer_difference
        assert abs(difference.expected - difference.received) == 128
        # The values are those of this very sample.
        inputs = sample_inputs(digits_model, digits.graph, data=None, seed=0, index=mismatch.sample)
        raw = np.frombuffer(target.layer_output(inputs, 3), np.int8)
        assert raw[element] == difference.received
    value = mismatch.to_json()
    assert value["layer"]["index"] == 3
    assert value["layer"]["element"] == [0, 2, 5, 7]
    text = mismatch.describe()
    assert "first differing layer 3, CONV_2D" in text
    assert f"expected {difference.expected:g}, received {difference.received:g}" in text


class Wrapped:
    """A target whose outputs or traces are tampered with."""

    def __init__(self, target: HostTarget, flip_from: int) -> None:
        self._target = target
        self._left = flip_from

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def infer(self, inputs: Sequence[Array]) -> Inference:
        result = self._target.infer(inputs)
        self._left -= 1
        if self._left >= 0:
            return result
        first = result.outputs[0].copy()
        first[-1] ^= 1
        return Inference((first, *result.outputs[1:]))


def test_a_difference_that_no_layer_shows(good: Path, digits_model: Path) -> None:
    """Outputs are damaged on the way only: the report says so, and counts every sample."""
    with HostTarget(good, "digits") as target:
        report = verify(digits_model, Wrapped(target, 2), samples=5)  # type: ignore[arg-type]
    assert report.mismatched_samples == 3
    mismatch = report.first_mismatch
    assert mismatch is not None
    assert (mismatch.sample, mismatch.output, mismatch.layer) == (2, 0, None)
    assert mismatch.difference.element == (0, 9)
    assert abs(mismatch.difference.expected - mismatch.difference.received) == 1
    assert "no layer differed" in mismatch.note


def test_a_write_outside_the_arena_is_caught(
    digits: build.Compiled, broken: Broken, digits_model: Path
) -> None:
    size = digits.plan.arena_bytes
    for at in (size, -1):
        with (
            HostTarget(broken(f"a[{at}] = 0x55;"), "digits") as target,
            pytest.raises(TargetError, match=f"wrote outside its arena of {size} bytes"),
        ):
            verify(digits_model, target, samples=1)


def test_undefined_behaviour_ends_a_sanitized_build(digits: build.Compiled, tmp_path: Path) -> None:
    """With sanitize=True a good model still runs, exactly."""
    build.generate(digits, tmp_path)
    library = build_host_library(tmp_path, "digits", tmp_path / "san.so", sanitize=True)
    with HostTarget(library, "digits") as target:
        assert verify(digits.source, target, samples=2).mismatched_samples == 0


def test_another_model_is_refused(good: Path, digits_model: Path, tmp_path: Path) -> None:
    data = bytearray(digits_model.read_bytes())
    other = tmp_path / "digits.tflite"
    other.write_bytes(bytes(data) + bytes(16))  # same network, other file
    with HostTarget(good, "digits") as target, pytest.raises(TargetError, match="runs another model: digits"):
        verify(other, target)


def test_two_targets_do_not_share_an_arena(good: Path, digits: build.Compiled) -> None:
    inputs = [sample_inputs(digits.source, digits.graph, data=None, seed=s, index=0) for s in (0, 1)]
    with HostTarget(good, "digits") as one, HostTarget(good, "digits") as two:
        before = [target.infer(x).outputs[0].tobytes() for target, x in ((one, inputs[0]), (two, inputs[1]))]
        again = [target.infer(x).outputs[0].tobytes() for target, x in ((one, inputs[0]), (two, inputs[1]))]
        assert before == again
        assert one._memory.ctypes.data != two._memory.ctypes.data


def test_a_library_that_cannot_be_loaded(tmp_path: Path, good: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"no library")
    with pytest.raises(TargetError, match="cannot be loaded"), HostTarget(tmp_path / "x.so", "digits"):
        pass
    with pytest.raises(TargetError, match="'other' cannot be loaded"), HostTarget(good, "other"):
        pass


# ---- inputs -----------------------------------------------------------------------------------------


def test_random_inputs_depend_on_seed_and_index_only(digits: build.Compiled) -> None:
    def sample(seed: int, index: int) -> Array:
        return sample_inputs(digits.source, digits.graph, data=None, seed=seed, index=index)[0]

    assert (sample(0, 3) == sample(0, 3)).all()
    assert (sample(0, 4) != sample(1, 4)).any()
    assert (sample(0, 0) != sample(0, 4)).any()
    every = np.concatenate([sample(0, i).ravel() for i in range(200)])
    assert set(range(-128, 128)) == set(every.tolist())
    assert random_inputs([], 0, 0) == []


@pytest.fixture
def graph(digits: build.Compiled) -> Graph:
    return digits.graph


def test_data_with_and_without_batch_axis(graph: Graph, tmp_path: Path) -> None:
    x = np.arange(3 * 64, dtype=np.int8).reshape(3, 8, 8, 1)
    for name, value in (("a.npy", x), ("b.npy", x[:, np.newaxis])):
        np.save(tmp_path / name, value)
        dataset = Dataset.load(tmp_path / name, graph)
        assert len(dataset) == 3
        assert dataset.labels is None
        assert (dataset.sample(2)[0] == x[2:3]).all()
        assert dataset.sample(2)[0].shape == (1, 8, 8, 1)


def test_float_data_is_quantised(graph: Graph, tmp_path: Path) -> None:
    tensor = graph.tensors[graph.inputs[0]]
    q = np.arange(-64, 64, dtype=np.int8).reshape(2, 8, 8, 1)
    real = (q.astype(np.float64) - tensor.zero_point) * tensor.scale
    np.savez(tmp_path / "f.npz", x=real, y=np.array([1, 2]), classes=np.array(["a", "b"]))
    dataset = Dataset.load(tmp_path / "f.npz", graph)
    assert (dataset.sample(0)[0] == q[:1]).all()
    np.savez(tmp_path / "g.npz", x=np.full((1, 8, 8, 1), 1e9))
    assert (Dataset.load(tmp_path / "g.npz", graph).sample(0)[0] == 127).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((2, 8, 8, 1), np.int8)}, "has no array x"),
        ({"x": np.zeros((2, 8, 9, 1), np.int8)}, "do not fit input"),
        ({"x": np.zeros((2, 64), np.int8)}, "do not fit input"),
        ({"x": np.zeros((0, 8, 8, 1), np.int8)}, "has 0 samples"),
        ({"x": np.zeros((2, 8, 8, 1), np.uint8)}, "do not fit input"),
        ({"x": np.full((2, 8, 8, 1), np.nan)}, "not finite"),
        ({"x": np.zeros((2, 8, 8, 1), np.int8), "y": np.zeros(3, int)}, "labels"),
        ({"x": np.zeros((2, 8, 8, 1), np.int8), "y": np.zeros(2)}, "labels"),
        ({"x": np.zeros((2, 8, 8, 1), np.int8), "y": np.array([0, 10])}, "labels .* are not classes"),
        ({"x": np.zeros((2, 8, 8, 1), np.int8), "y": np.array([-1, 0])}, "labels .* are not classes"),
        ({"x": np.full((2, 8, 8, 1), 1e300)}, "not finite"),
        ({"x": np.array([None, None])}, "cannot be read"),
    ],
)
def test_data_that_does_not_fit(graph: Graph, tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        Dataset.load(tmp_path / "d.npz", graph)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_edges_get_finite_values_only(tmp_path: Path, dtype: type[np.floating]) -> None:
    b = ModelBuilder(1)
    b.output(b.dequantize(b.softmax(b.quantize(b.input((1, 4), dtype="float32")))))
    graph = passes.run(read_model(b.save(tmp_path / "m.tflite")), edges="float")
    np.save(tmp_path / "x.npy", np.ones((2, 4), dtype))
    assert Dataset.load(tmp_path / "x.npy", graph).inputs[0].dtype == np.float32
    np.save(tmp_path / "x.npy", np.array([[0, 1, np.nan, 2]], dtype))
    with pytest.raises(UsageError, match="not finite"):
        Dataset.load(tmp_path / "x.npy", graph)


@pytest.mark.parametrize("board", ["host", "mps2-an386"])
def test_uint8_edges_are_compared_and_take_uint8_data(board: str, tmp_path: Path) -> None:
    """As converters write them for inference_input_type = inference_output_type = tf.uint8."""
    b = ModelBuilder(2)
    y = b.conv2d(b.quantize(b.input((1, 6, 5, 3), 0.1, 131, "uint8"), float(np.float32(0.1)), 3), 4)
    other = b.quantize(b.input((1, 4), 0.05, 9, "uint8"), 0.11, -5)
    scale, zero_point = b.tensors[y].scale[0], b.tensors[y].zero_point[0]
    b.output(b.quantize(y, scale, zero_point + 128, "uint8"), b.quantize(y, 1.7 * scale, 3, "uint8"))
    b.output(b.softmax(other))
    model = b.save(tmp_path / "m.tflite")
    rng = np.random.default_rng(1)
    data = [rng.integers(0, 256, (3, *shape), np.uint8) for shape in ((6, 5, 3), (4,))]
    np.savez(tmp_path / "d.npz", x0=data[0], x1=data[1])
    np.savez(
        tmp_path / "s.npz", **{f"x{i}": (x.astype(int) - 128).astype(np.int8) for i, x in enumerate(data)}
    )
    compiled = build.compile_model(model, boards.load(board))
    for name in ("d.npz", "s.npz"):
        assert all(x.dtype == np.int8 for x in Dataset.load(tmp_path / name, compiled.graph).inputs)
    first = Dataset.load(tmp_path / "d.npz", compiled.graph).sample(1)
    again = Dataset.load(tmp_path / "s.npz", compiled.graph).sample(1)
    assert all((x == y).all() for x, y in zip(first, again, strict=True))
    with build.open_target(compiled, tmp_path, toolchain="gcc") as target:
        assert verify(model, target, samples=8).mismatched_samples == 0
        assert verify(model, target, data=tmp_path / "d.npz").mismatched_samples == 0
        # What the board has is what LiteRT has, 128 less.
        interpreter = Interpreter(str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
        for details, x in zip(interpreter.get_input_details(), data, strict=True):
            interpreter.set_tensor(details["index"], x[1:2])
        interpreter.invoke()
        for details, raw in zip(interpreter.get_output_details(), target.infer(first).outputs, strict=True):
            value = interpreter.get_tensor(details["index"])
            offset = 128 if value.dtype == np.uint8 else 0
            got = raw.view(np.int8).reshape(value.shape).astype(int) + offset
            assert (got == value).all()


@pytest.mark.parametrize("content", [None, b"", b"not numpy", b"PK\x03\x04 half a zip", b"\x93NUMPY\x01\x00"])
def test_data_that_cannot_be_read(graph: Graph, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "d.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"d\.npz cannot be read"):
        Dataset.load(path, graph)


def test_no_samples_are_refused(good: Path, digits_model: Path) -> None:
    with HostTarget(good, "digits") as target, pytest.raises(UsageError, match="0 samples asked for"):
        verify(digits_model, target, samples=0)


@pytest.mark.hw
def test_a_real_board_computes_the_same_bytes(
    request: pytest.FixtureRequest, digits_model: Path, digits_data: Path, tmp_path: Path
) -> None:
    board = boards.load(request.config.getoption("--board"))
    compiled = build.compile_model(digits_model, board)
    with build.open_target(compiled, tmp_path, port=request.config.getoption("--port")) as target:
        report = verify(digits_model, target, data=digits_data, samples=20)
    assert report.mismatched_samples == 0
