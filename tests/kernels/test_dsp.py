"""The DSP kernels against the reference: emulated instructions on the host, real ones in QEMU."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import dsp_program
import pytest
from dsp_program import BOARDS, Case, conv_case, dense_case

from tinyml.graph import Activation, Pads

SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SAME3 = Pads(1, 1, 1, 1)


def pointwise_cases() -> list[Case]:
    symbol = "tm_conv2d_1x1_s8_dsp"
    shapes = [
        # pixels by all remainders of 4; channels around every multiple of 4 and 8, odd and single
        ((1, 1, 1), 1),
        ((1, 2, 3), 2),
        ((1, 3, 4), 5),
        ((2, 2, 5), 3),
        ((1, 5, 8), 8),
        ((3, 2, 12), 7),
        ((1, 7, 16), 1),
        ((2, 4, 17), 18),
        ((3, 3, 20), 6),
        ((5, 2, 24), 9),
        ((1, 11, 28), 4),
        ((2, 6, 31), 11),
        ((5, 5, 64), 16),
    ]
    cases = [conv_case(symbol, in_shape=s, out_c=c, seed=i) for i, (s, c) in enumerate(shapes)]
    for i, shifts in enumerate([(2, 12), (1, 1), (13, 31), (1, 20), (0, 0), (-6, 0), (-2, 15)]):
        cases.append(conv_case(symbol, in_shape=(2, 3, 9), out_c=5, shifts=shifts, seed=100 + i))
    for i, activation in enumerate([Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1]):
        for form in [(4, 8), (1, 14), (-1, 8)]:
            cases.append(
                conv_case(
                    symbol, in_shape=(3, 3, 6), out_c=6, activation=activation, shifts=form, seed=200 + i
                )
            )
    cases.append(conv_case(symbol, in_shape=(2, 3, 8), out_c=4, zero_points=(-128, 127), seed=300))
    cases.append(conv_case(symbol, in_shape=(2, 3, 8), out_c=4, zero_points=(127, -128), seed=301))
    return cases


def conv_cases() -> list[Case]:
    symbol = "tm_conv2d_s8_dsp"
    geometries = [
        dict(in_shape=(5, 5, 1), out_c=3, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(6, 9, 3), out_c=8, kernel=(3, 3), stride=(2, 2), pads=Pads(0, 0, 1, 1)),
        dict(in_shape=(7, 8, 4), out_c=5, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(7, 13, 8), out_c=4, kernel=(3, 3), stride=(2, 2), pads=Pads(1, 1, 0, 0)),
        dict(in_shape=(9, 6, 1), out_c=6, kernel=(5, 4), stride=(2, 2), pads=Pads(2, 1, 2, 1)),
        dict(in_shape=(8, 8, 8), out_c=6, kernel=(1, 1), stride=(2, 2)),
        dict(in_shape=(4, 12, 2), out_c=3, kernel=(2, 5), stride=(1, 3), pads=Pads(0, 3, 1, 1)),
        dict(in_shape=(9, 11, 4), out_c=2, kernel=(3, 3), dilation=(2, 3), pads=Pads(2, 3, 2, 3)),
        dict(in_shape=(9, 15, 4), out_c=2, kernel=(2, 2), dilation=(1, 2), stride=(2, 1)),
        dict(in_shape=(9, 11, 3), out_c=2, kernel=(3, 2), dilation=(2, 4), pads=Pads(1, 4, 3, 0)),
        dict(in_shape=(1, 1, 5), out_c=4, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(2, 3, 4), out_c=4, kernel=(5, 7), pads=Pads(2, 6, 2, 6)),
        dict(in_shape=(3, 17, 12), out_c=7, kernel=(1, 3), pads=Pads(0, 1, 0, 1)),
        dict(in_shape=(6, 4, 6), out_c=3, kernel=(3, 1), pads=Pads(1, 0, 1, 0)),
        dict(in_shape=(8, 8, 16), out_c=16, kernel=(3, 3), pads=SAME3),
        dict(in_shape=(3, 2, 7), out_c=1, kernel=(2, 2)),
    ]
    cases = [conv_case(symbol, seed=i, **geometry) for i, geometry in enumerate(geometries)]
    for i, shifts in enumerate([(1, 16), (-3, 5)]):
        cases.append(
            conv_case(
                symbol, in_shape=(4, 6, 4), out_c=3, kernel=(3, 3), pads=SAME3, shifts=shifts, seed=50 + i
            )
        )
    for i, activation in enumerate([Activation.RELU, Activation.RELU6]):
        cases.append(
            conv_case(
                symbol,
                in_shape=(4, 6, 3),
                out_c=4,
                kernel=(3, 3),
                pads=SAME3,
                activation=activation,
                seed=60 + i,
            )
        )
    return cases


def depthwise_cases() -> list[Case]:
    def case(symbol: str, seed: int, channels: int, **geometry: Any) -> Case:
        shape = geometry.pop("in_shape")
        return conv_case(
            symbol, in_shape=(*shape, channels), out_c=channels, depthwise=True, seed=seed, **geometry
        )

    cases = []
    for i, width in enumerate([1, 2, 3, 4, 5, 6, 9, 16]):  # every tail of the pair loops
        for stride in [(1, 1), (2, 2), (1, 2)]:
            cases.append(
                case(
                    "tm_dwconv2d_3x3_s8_dsp",
                    i,
                    [1, 4, 6, 3, 8, 2, 7, 5][i],
                    in_shape=(4, width),
                    kernel=(3, 3),
                    stride=stride,
                    pads=SAME3,
                )
            )
    for i, pads in enumerate(
        [Pads(), Pads(0, 0, 1, 1), Pads(2, 2, 0, 1), Pads(0, 5, 0, 7), Pads(1, 0, 1, 2)]
    ):
        for stride in [(1, 1), (2, 2)]:
            cases.append(
                case(
                    "tm_dwconv2d_3x3_s8_dsp",
                    20 + i,
                    5,
                    in_shape=(5, 7),
                    kernel=(3, 3),
                    stride=stride,
                    pads=pads,
                )
            )
    for i, shifts in enumerate([(2, 12), (1, 31), (13, 22), (0, 4), (-5, -1)]):
        for stride in [(1, 1), (2, 2)]:
            for symbol in ["tm_dwconv2d_3x3_s8_dsp", "tm_dwconv2d_s8_dsp", "tm_dwconv2d_taps_s8_dsp"]:
                cases.append(
                    case(
                        symbol,
                        40 + i,
                        4,
                        in_shape=(4, 6),
                        kernel=(3, 3),
                        stride=stride,
                        pads=SAME3,
                        shifts=shifts,
                        dilation=(2, 1),
                        activation=Activation.RELU6,
                    )
                )
    kernels = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 4), (4, 3), (5, 5), (7, 7), (1, 6), (3, 9)]
    for i, kernel in enumerate(kernels):
        for width in (3, 6, 9, 12):
            for stride in [(1, 1), (2, 2)]:
                pads = Pads(kernel[0] // 2, kernel[1] // 2, kernel[0] - 1, kernel[1] - 1)
                cases.append(
                    case(
                        "tm_dwconv2d_s8_dsp",
                        60 + i,
                        [3, 4, 9][(i + width) % 3],
                        in_shape=(5, width),
                        kernel=kernel,
                        stride=stride,
                        pads=pads,
                    )
                )
    for i, (kernel, stride, dilation) in enumerate(
        [
            ((3, 3), (1, 1), (2, 2)),
            ((3, 3), (3, 3), (1, 1)),
            ((2, 5), (1, 4), (1, 1)),
            ((3, 2), (2, 1), (1, 3)),
            ((1, 1), (5, 5), (1, 1)),
            ((5, 5), (2, 2), (2, 2)),
        ]
    ):
        for channels in (1, 4, 6):
            cases.append(
                case(
                    "tm_dwconv2d_taps_s8_dsp",
                    90 + i,
                    channels,
                    in_shape=(9, 10),
                    kernel=kernel,
                    stride=stride,
                    dilation=dilation,
                    pads=Pads(2, 2, 1, 3),
                )
            )
    return cases


def dense_cases() -> list[Case]:
    shapes = [(1, 1), (2, 3), (3, 4), (4, 5), (5, 8), (8, 9), (16, 7), (17, 12), (40, 4), (64, 10), (131, 6)]
    cases = [dense_case(in_c=k, out_c=n, seed=i) for i, (k, n) in enumerate(shapes)]
    for i, shift in enumerate([-4, -1, 0, 1, 2, 12, 22, 23, 24, 31]):  # the short form's bounds
        for per_output in (False, True):
            cases.append(
                dense_case(in_c=14, out_c=6, shifts=(shift, shift), per_output=per_output, seed=20 + i)
            )
    cases.append(dense_case(batches=3, in_c=9, out_c=7, shifts=(4, 8), per_output=True, seed=50))
    for i, activation in enumerate(Activation):
        cases.append(dense_case(batches=2, in_c=12, out_c=9, activation=activation, seed=60 + i))
    cases.append(dense_case(in_c=12, out_c=9, zero_points=(127, -128), shifts=(2, 2), seed=70))
    return cases


def all_cases() -> list[Case]:
    return [*pointwise_cases(), *conv_cases(), *depthwise_cases(), *dense_cases()]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dsp") / "cases.c"
    dsp_program.write_program(all_cases(), path)
    return path


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_emulated_instructions_on_the_host(source: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    program = dsp_program.host_program(source, compiler, SANITIZE)
    result = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "flags", [(), ("-DTM_NO_ASM",), ("-O0", "-Wno-error")], ids=["asm", "intrinsics", "O0"]
)
@pytest.mark.parametrize("board", BOARDS)
def test_real_instructions_in_the_emulator(source: Path, board: str, flags: tuple[str, ...]) -> None:
    program = dsp_program.board_program(source, board, flags=flags)
    result = dsp_program.run_board(program, board)
    assert result.returncode == 0, result.stderr


def test_the_instructions_are_there(source: Path) -> None:
    program = dsp_program.board_program(source, "mps2-an386")
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(program)], capture_output=True, text=True, check=True
    ).stdout
    for mnemonic in [
        "smlad",
        "smlabt",
        "smlatb",
        "smmla",
        "smmlar",
        "smmlsr",
        "sxtb16",
        "pkhbt",
        "pkhtb",
        "ssat",
    ]:
        assert re.search(rf"\t{mnemonic}\b", listing), mnemonic


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    case = dense_case(in_c=8, out_c=4)
    path = tmp_path / "cases.c"
    dsp_program.write_program([case], path)
    text, changed = re.subn(
        r"(case_0_want\[\][^{]*\{)(-?\d+)", lambda m: f"{m[1]}{int(m[2]) ^ 1}", path.read_text()
    )
    assert changed == 1
    path.write_text(text)
    program = dsp_program.host_program(path, "gcc", ())
    result = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"{case.name}: wrong output" in result.stdout
