"""What random one-operator models share: a builder with draws."""

from __future__ import annotations

import numpy as np

from tests.tflite_builder import ModelBuilder
from tinyml.graph import Array, DType, Tensor

ACTIVATIONS = ("none", "relu", "relu6", "relu_n1_to_1")


class Case(ModelBuilder):
    """A builder with the draws that cases share.

    `limits` holds [low, high) of inputs, by name, that may not take any value of their type (indices).
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.limits: dict[str, tuple[int, int]] = {}

    def values(self, rng: np.random.Generator, tensor: Tensor) -> Array:
        """Return random values of a model input: its whole range, or what `limits` allows it."""
        if tensor.dtype is DType.FLOAT32:
            return rng.normal(0, 20, tensor.shape).astype(np.float32)
        if tensor.dtype is DType.BOOL:
            return rng.integers(0, 2, tensor.shape).astype(np.bool_)
        info = np.iinfo(tensor.dtype.value)
        low, high = self.limits.get(tensor.name, (info.min, info.max + 1))
        return rng.integers(low, high, tensor.shape).astype(tensor.dtype.value)

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
