"""Makes the architectures that people bring, as small int8 files: run with TensorFlow, in a folder.

python tests/architectures/networks.py FOLDER [NAME ...]

The networks are untrained; batch normalisation has random statistics, so that what it folds into differs
from channel to channel. Every kind of block is as its paper has it; there are fewer, and narrower ones.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

Node = keras.KerasTensor
SAMPLES = 8


def image(height: int, width: int | None = None, channels: int = 3, name: str = "image") -> Node:
    return keras.Input((height, width or height, channels), batch_size=1, name=name)


def sequence(steps: int, features: int) -> Node:
    return keras.Input((steps, features), batch_size=1, name="sequence")


def convolution(
    x: Node,
    channels: int,
    kernel: int = 3,
    stride: int = 1,
    activation: str | None = "relu6",
    **options: object,
) -> Node:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, **options)(x)
    return normalised(x, activation)


def depthwise(x: Node, kernel: int = 3, stride: int = 1, activation: str | None = "relu6") -> Node:
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)(x)
    return normalised(x, activation)


def normalised(x: Node, activation: str | None) -> Node:
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


def classifier(x: Node, classes: int = 10) -> Node:
    return layers.Dense(classes, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def gate(x: Node, reduced: int) -> Node:
    """Squeeze-and-excite with a hard sigmoid."""
    channels = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(reduced, 1, activation="relu")(y)
    y = layers.Conv2D(channels, 1, activation="hard_sigmoid")(y)
    return layers.Multiply()([x, y])


def bottleneck(
    x: Node,
    channels: int,
    expansion: int,
    kernel: int = 3,
    stride: int = 1,
    activation: str = "relu6",
    reduced: int = 0,
) -> Node:
    """An inverted residual block."""
    y = convolution(x, expansion * x.shape[-1], 1, activation=activation) if expansion > 1 else x
    y = depthwise(y, kernel, stride, activation)
    y = gate(y, reduced) if reduced else y
    y = convolution(y, channels, 1, activation=None)
    return layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y


# Image classifiers


def mobilenet_v1() -> keras.Model:
    x = inputs = image(48)
    x = convolution(x, 8, 3, 2)
    for channels, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)):
        x = convolution(depthwise(x, 3, stride), channels, 1)
    return keras.Model(inputs, classifier(x))


def mobilenet_v2() -> keras.Model:
    x = inputs = image(48)
    x = bottleneck(convolution(x, 16, 3, 2), 8, 1)
    for channels, stride in ((12, 2), (12, 1), (16, 2), (16, 1), (24, 2)):
        x = bottleneck(x, channels, 6, 3, stride)
    return keras.Model(inputs, classifier(convolution(x, 96, 1)))


def mobilenet_v3_small() -> keras.Model:
    x = inputs = image(48)
    x = convolution(layers.Rescaling(2.0, -1.0)(x), 16, 3, 2, "hard_swish")
    x = bottleneck(x, 16, 1, 3, 2, "relu", reduced=8)
    x = bottleneck(x, 24, 4, 3, 2, "relu")
    x = bottleneck(x, 24, 3, 3, 1, "relu")
    x = bottleneck(x, 40, 4, 5, 2, "hard_swish", reduced=24)
    x = bottleneck(x, 40, 6, 5, 1, "hard_swish", reduced=64)
    x = gate(convolution(x, 96, 1, activation="hard_swish"), 24)
    x = layers.Conv2D(128, 1, activation="hard_swish")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Flatten()(layers.Conv2D(10, 1)(layers.Dropout(0.2)(x)))
    return keras.Model(inputs, layers.Softmax()(x))


def efficientnet_lite0() -> keras.Model:
    x = inputs = image(96)
    x = bottleneck(convolution(x, 16, 3, 2), 8, 1)
    for channels, kernel, stride in ((12, 3, 2), (12, 3, 1), (20, 5, 2), (20, 5, 1), (32, 3, 2), (48, 5, 2)):
        x = bottleneck(x, channels, 6, kernel, stride)
    return keras.Model(inputs, classifier(convolution(x, 96, 1)))


def ghostnet() -> keras.Model:
    def ghost(x: Node, channels: int, activation: str | None) -> Node:
        """Half of the channels, and as many made of them by a cheap depthwise convolution."""
        y = convolution(x, channels // 2, 1, activation=activation)
        return layers.Concatenate()([y, depthwise(y, 3, 1, activation)])

    def block(x: Node, hidden: int, channels: int, stride: int, reduced: int) -> Node:
        y = ghost(x, hidden, "relu")
        y = depthwise(y, 3, stride, None) if stride > 1 else y
        y = gate(y, reduced) if reduced else y
        y = ghost(y, channels, None)
        if stride > 1 or x.shape[-1] != channels:
            x = convolution(depthwise(x, 3, stride, None), channels, 1, activation=None)
        return layers.Add()([x, y])

    x = inputs = image(48)
    x = convolution(x, 8, 3, 2, "relu")
    for hidden, channels, stride, reduced in ((8, 8, 1, 0), (24, 12, 2, 0), (36, 12, 1, 8), (36, 20, 2, 12)):
        x = block(x, hidden, channels, stride, reduced)
    return keras.Model(inputs, classifier(x))


def shufflenet() -> keras.Model:
    """ShuffleNetV2: channels cut in two, one half computed, the halves shuffled together."""

    def shuffle(x: Node) -> Node:
        h, w, c = x.shape[1:]
        x = layers.Reshape((h, w, 2, c // 2))(x)
        return layers.Reshape((h, w, c))(layers.Permute((1, 2, 4, 3))(x))

    def unit(x: Node) -> Node:
        left, right = keras.ops.split(x, 2, axis=-1)
        channels = right.shape[-1]
        right = depthwise(convolution(right, channels, 1, activation="relu"), 3, 1, None)
        return shuffle(layers.Concatenate()([left, convolution(right, channels, 1, activation="relu")]))

    def down(x: Node, channels: int) -> Node:
        left = convolution(depthwise(x, 3, 2, None), channels // 2, 1, activation="relu")
        right = depthwise(convolution(x, channels // 2, 1, activation="relu"), 3, 2, None)
        right = convolution(right, channels // 2, 1, activation="relu")
        return shuffle(layers.Concatenate()([left, right]))

    x = inputs = image(48)
    x = layers.MaxPooling2D(3, 2, padding="same")(convolution(x, 12, 3, 2, "relu"))
    x = unit(unit(down(x, 24)))
    return keras.Model(inputs, classifier(unit(down(x, 48))))


def shufflenet_grouped() -> keras.Model:
    """ShuffleNetV1: grouped pointwise convolutions with a shuffle between."""
    x = inputs = image(32)
    x = convolution(x, 24, 3, 2, "relu")
    y = convolution(x, 24, 1, activation="relu", groups=3)
    y = layers.Reshape((16, 16, 24))(layers.Permute((1, 2, 4, 3))(layers.Reshape((16, 16, 3, 8))(y)))
    y = convolution(depthwise(y, 3, 1, None), 24, 1, activation=None, groups=3)
    return keras.Model(inputs, classifier(layers.ReLU()(layers.Add()([x, y]))))


def resnet() -> keras.Model:
    x = inputs = image(32)
    x = convolution(x, 8, activation="relu")
    for channels, stride in ((8, 1), (16, 2), (24, 2)):
        y = convolution(convolution(x, channels, 3, stride, "relu"), channels, activation=None)
        x = x if stride == 1 else convolution(x, channels, 1, stride, None)
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, classifier(x))


def densenet() -> keras.Model:
    """Batch normalisation before the convolutions, where nothing can fold it away."""
    x = inputs = image(32)
    x = convolution(x, 8, 3, 2, None)
    for block in range(2):
        for _ in range(3):
            y = convolution(normalised(x, "relu"), 16, 1, activation="relu")
            x = layers.Concatenate()([x, layers.Conv2D(6, 3, padding="same", use_bias=False)(y)])
        if block == 0:
            x = layers.AveragePooling2D(2)(convolution(normalised(x, "relu"), 12, 1, activation=None))
    return keras.Model(inputs, classifier(normalised(x, "relu")))


# Images to images and boxes


def unet() -> keras.Model:
    x = inputs = image(32)
    skips = []
    for channels in (8, 12):
        x = convolution(convolution(x, channels, activation="relu"), channels, activation="relu")
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = convolution(x, 16, activation="relu")
    for channels, skip in zip((12, 8), reversed(skips), strict=True):
        x = layers.Conv2DTranspose(channels, 2 if channels == 12 else 3, 2, padding="same")(x)
        x = convolution(layers.Concatenate()([x, skip]), channels, activation="relu")
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))


def ssd() -> keras.Model:
    """Classes and boxes of two scales, joined; the boxes are decoded where they are used."""
    x = inputs = image(48)
    x = convolution(x, 8, 3, 2)
    for channels in (16, 24):
        x = convolution(depthwise(x, 3, 2), channels, 1)
    scales = [x, convolution(convolution(x, 12, 1), 32, 3, 2)]
    scores, boxes = [], []
    for scale in scales:
        cells = scale.shape[1] * scale.shape[2]
        head = layers.Conv2D(3 * 5, 3, padding="same")(scale)
        scores.append(layers.Reshape((cells * 3, 5))(head))
        boxes.append(layers.Reshape((cells * 3, 4))(layers.Conv2D(3 * 4, 3, padding="same")(scale)))
    joined = layers.Activation("sigmoid")(layers.Concatenate(axis=1)(scores))
    return keras.Model(inputs, [joined, layers.Concatenate(axis=1)(boxes)])


def yolo() -> keras.Model:
    """Leaky rectifiers, a head at two scales, the coarse one upsampled into the fine one."""
    activation = layers.LeakyReLU
    x = inputs = image(48)
    for channels in (8, 12):
        x = activation(negative_slope=0.1)(convolution(x, channels, 3, 1, None))
        x = layers.MaxPooling2D()(x)
    fine = activation(negative_slope=0.1)(convolution(x, 16, 3, 1, None))
    coarse = activation(negative_slope=0.1)(convolution(layers.MaxPooling2D()(fine), 24, 3, 1, None))
    up = layers.UpSampling2D()(convolution(coarse, 12, 1))
    heads = [coarse, layers.Concatenate()([up, fine])]
    return keras.Model(inputs, [layers.Conv2D(3 * 7, 1)(head) for head in heads])


def yolo_decoded() -> keras.Model:
    """YOLOv5-like: focus slices, SiLU, a spatial pyramid, boxes decoded in the network."""
    x = inputs = image(32)
    x = layers.Concatenate()([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)])
    x = convolution(convolution(x, 12, activation="silu"), 16, 3, 2, "silu")
    x = layers.Concatenate()([x, *(layers.MaxPooling2D(k, 1, padding="same")(x) for k in (3, 5))])
    x = layers.Reshape((64, 3, 7))(layers.Conv2D(3 * 7, 1)(x))
    y = layers.Activation("sigmoid")(x)
    grid = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(1, 64, 1, 2).astype(np.float32)
    centre = (y[..., :2] * 2.0 + (grid - 0.5)) / 8.0
    size = (y[..., 2:4] * 2.0) * (y[..., 2:4] * 2.0) * 0.25
    outputs = layers.Concatenate()([centre, size, y[..., 4:]])
    return keras.Model(inputs, layers.Reshape((192, 7))(outputs))


def segmentation() -> keras.Model:
    """DeepLab-like: dilated convolutions, pooling over the image, bilinear upsampling."""
    x = inputs = image(32)
    x = convolution(x, 12, 3, 2)
    branches = [convolution(x, 8, 3, 1, dilation_rate=rate) for rate in (1, 2, 4)]
    pooled = convolution(layers.GlobalAveragePooling2D(keepdims=True)(x), 8, 1)
    branches.append(layers.UpSampling2D(16, interpolation="bilinear")(pooled))
    x = layers.Conv2D(4, 1)(layers.Concatenate()(branches))
    return keras.Model(inputs, layers.UpSampling2D(2, interpolation="bilinear")(x))


def superresolution() -> keras.Model:
    """Subpixel convolution (ESPCN), with the image's residual."""
    x = inputs = image(16, channels=1)
    y = layers.Conv2D(8, 5, padding="same", activation="tanh")(x)
    y = layers.Conv2D(4, 3, padding="same")(y)
    y = keras.layers.Lambda(lambda v: tf.nn.depth_to_space(v, 2))(y)
    return keras.Model(inputs, layers.Add()([y, layers.UpSampling2D()(x)]))


# Sound, sensors, sequences


def ds_cnn() -> keras.Model:
    x = inputs = image(49, 10, 1)
    x = layers.Conv2D(16, (10, 4), (2, 2), padding="same", use_bias=False)(x)
    x = layers.Dropout(0.2)(normalised(x, "relu"))
    for _ in range(3):
        x = convolution(depthwise(x, activation="relu"), 16, 1, activation="relu")
    x = layers.AveragePooling2D((25, 5))(x)
    return keras.Model(inputs, layers.Dense(12, activation="softmax")(layers.Flatten()(x)))


def cnn_1d() -> keras.Model:
    x = inputs = sequence(128, 3)
    for channels in (8, 12, 16):
        x = layers.Conv1D(channels, 5, strides=2, padding="same", use_bias=False)(x)
        x = layers.PReLU(shared_axes=[1], alpha_initializer="random_normal")(layers.BatchNormalization()(x))
    x = layers.MaxPooling1D(2)(layers.SeparableConv1D(16, 3, activation="relu6")(x))
    return keras.Model(inputs, layers.Dense(6)(layers.GlobalMaxPooling1D()(x)))


def crnn(recurrent: Callable[[Node], Node]) -> keras.Model:
    x = inputs = image(16, 24, 1)
    x = layers.MaxPooling2D()(convolution(x, 8, activation="relu"))
    x = layers.MaxPooling2D((2, 2))(convolution(x, 12, activation="relu"))
    x = layers.Reshape((6, 48))(layers.Permute((2, 1, 3))(x))
    return keras.Model(inputs, layers.Dense(11, activation="softmax")(recurrent(x)))


def crnn_lstm() -> keras.Model:
    return crnn(layers.LSTM(12, unroll=True, return_sequences=True))


def crnn_gru() -> keras.Model:
    return crnn(layers.GRU(12, unroll=True, return_sequences=True))


def crnn_bidirectional() -> keras.Model:
    return crnn(layers.Bidirectional(layers.GRU(8, unroll=True)))


def autoencoder() -> keras.Model:
    x = inputs = keras.Input((64,), batch_size=1, name="spectrum")
    for units in (32, 32, 8, 32, 32):
        x = normalised(layers.Dense(units)(x), "relu")
    return keras.Model(inputs, layers.Dense(64)(x))


def tcn() -> keras.Model:
    x = inputs = sequence(40, 8)
    for dilation in (1, 2, 4):
        y = layers.Conv1D(12, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        y = layers.Conv1D(12, 3, padding="causal", dilation_rate=dilation, activation="relu")(y)
        x = layers.Conv1D(12, 1)(x) if x.shape[-1] != 12 else x
        x = layers.ReLU()(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(5)(x[:, -1]))


# Attention


def transformer() -> keras.Model:
    """An encoder: multi-head attention, layer normalisation behind the sums, GELU."""
    x = inputs = sequence(12, 10)
    places = np.random.default_rng(0).normal(0, 0.2, (1, 12, 16)).astype(np.float32)
    x = layers.Dense(16)(x) + places
    for _ in range(2):
        y = layers.MultiHeadAttention(4, 4)(x, x)
        x = layers.LayerNormalization(epsilon=1e-3)(layers.Add()([x, y]))
        y = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-3)(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def vision_transformer() -> keras.Model:
    """Patches by a strided convolution, normalisation before, the other GELU."""
    x = inputs = image(24)
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 6, 6)(x))
    y = layers.LayerNormalization(epsilon=1e-3)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    y = layers.Dense(32)(layers.LayerNormalization(epsilon=1e-3)(x))
    y = layers.Dense(16)(layers.Activation(lambda v: keras.activations.gelu(v, approximate=True))(y))
    x = layers.LayerNormalization(epsilon=1e-3)(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def mlp_mixer() -> keras.Model:
    x = inputs = image(24)
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 6, 6)(x))
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-3)(x))
        y = layers.Dense(16)(layers.Dense(24, activation="gelu")(y))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.LayerNormalization(epsilon=1e-3)(x)
        x = layers.Add()([x, layers.Dense(12)(layers.Dense(24, activation="gelu")(y))])
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


# Text: token ids in


WORDS, TOKENS = 50, 12


def tokens() -> Node:
    return keras.Input((TOKENS,), batch_size=1, dtype="int32", name="tokens")


def text_convolution() -> keras.Model:
    inputs = tokens()
    x = layers.Conv1D(12, 3, activation="relu")(layers.Embedding(WORDS, 16)(inputs))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.GlobalMaxPooling1D()(x)))


def text_average() -> keras.Model:
    """The mean of the words' vectors; the padding, words of number 0, counts for nothing."""
    inputs = tokens()
    x = layers.Embedding(WORDS, 16)(inputs)
    words = keras.ops.cast(keras.ops.not_equal(inputs, 0), "float32")
    x = layers.GlobalAveragePooling1D()(layers.Multiply()([x, keras.ops.expand_dims(words, -1)]))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Dense(16, activation="relu")(x)))


def text_transformer() -> keras.Model:
    """An encoder of tokens and their places, which looks at the first one."""
    inputs = tokens()
    places = layers.Embedding(TOKENS, 16)(keras.ops.expand_dims(keras.ops.arange(TOKENS), 0))
    x = layers.Add()([layers.Embedding(WORDS, 16)(inputs), places])
    x = layers.LayerNormalization(epsilon=1e-3)(layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)]))
    y = layers.Dense(16)(layers.Dense(32, activation="gelu")(x))
    x = layers.LayerNormalization(epsilon=1e-3)(layers.Add()([x, y]))
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x[:, 0]))


def volume() -> keras.Model:
    """What LiteRT has only in float."""
    inputs = keras.Input((5, 6, 6, 2), batch_size=1, name="volume")
    return keras.Model(inputs, layers.Conv3D(4, 3, activation="relu")(inputs))


# Several inputs and outputs


def multi_input() -> keras.Model:
    picture, sensors = image(16), keras.Input((6,), batch_size=1, name="sensors")
    x = layers.GlobalAveragePooling2D()(convolution(convolution(picture, 8), 12, 3, 2))
    x = layers.Concatenate()([x, layers.Dense(8, activation="relu")(sensors)])
    return keras.Model([picture, sensors], layers.Dense(3)(x))


def multi_output() -> keras.Model:
    x = inputs = image(16)
    x = convolution(x, 8)
    mask = layers.Conv2D(1, 1, activation="sigmoid")(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, [mask, layers.Dense(4, activation="softmax")(pooled), layers.Dense(2)(pooled)])


def siamese() -> keras.Model:
    """Two images through the same layers, and the distance of what they become."""
    shared = keras.Sequential(
        [layers.Conv2D(8, 3, 2, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(8)]
    )
    first, second = image(16, name="first"), image(16, name="second")
    difference = keras.ops.abs(layers.Subtract()([shared(first), shared(second)]))
    return keras.Model([first, second], layers.Dense(1, activation="sigmoid")(difference))


# Recurrent layers that are not unrolled. TensorFlow's calibrator crashes on their loops, so that they come
# from training with fake quantisation, whose ranges the converter takes.


def rounded(x: tf.Tensor, limit: float, low: float | None = None) -> tf.Tensor:
    """Round to int8 numbers between -limit and limit, or `low` and limit."""
    return tf.quantization.fake_quant_with_min_max_args(x, -limit if low is None else low, limit * 127 / 128)


class QuantisedDense(layers.Layer):
    """A dense layer whose weights and outputs are rounded."""

    def __init__(self, units: int, limit: float) -> None:
        super().__init__()
        self.units, self.limit = units, limit

    def build(self, shape: tuple[int, ...]) -> None:
        self.weight = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_normal")
        self.bias = self.add_weight(shape=(self.units,), initializer="random_normal")
        super().build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        weight = tf.quantization.fake_quant_with_min_max_args(self.weight, -1.0, 1.0, narrow_range=True)
        return rounded(tf.matmul(x, weight) + self.bias, self.limit)


class QuantisedCell(layers.Layer):
    """The cell of a GRU (its reset behind the product) or of an LSTM."""

    def __init__(self, units: int, lstm: bool, limit: float) -> None:
        super().__init__()
        self.units, self.lstm, self.limit = units, lstm, limit
        self.state_size = [units, units] if lstm else [units]
        self.output_size = units
        self.of_input, self.of_state = (QuantisedDense((4 if lstm else 3) * units, 4.0) for _ in range(2))

    def build(self, shape: tuple[int, ...]) -> None:
        self.of_input.build(shape)
        self.of_state.build((1, self.units))
        super().build(shape)

    def call(self, x: tf.Tensor, states: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        parts = 4 if self.lstm else 3
        hidden = rounded(states[0], 1.0)
        inputs, recurrent = (
            tf.split(layer(value), parts, -1)
            for layer, value in ((self.of_input, rounded(x, self.limit)), (self.of_state, hidden))
        )

        def gate(i: int) -> tf.Tensor:
            return rounded(tf.sigmoid(rounded(inputs[i] + recurrent[i], 6.0)), 1.0, 0.0)

        if self.lstm:
            kept = rounded(gate(1) * rounded(states[1], 3.0), 3.0)
            new = rounded(gate(0) * rounded(tf.tanh(rounded(inputs[2] + recurrent[2], 6.0)), 1.0), 1.0)
            cell = rounded(kept + new, 3.0)
            hidden = rounded(gate(3) * rounded(tf.tanh(cell), 1.0), 1.0)
            return hidden, [hidden, cell]
        reset = rounded(gate(1) * recurrent[2], 4.0)
        candidate = rounded(tf.tanh(rounded(inputs[2] + reset, 6.0)), 1.0)
        update = gate(0)
        kept = rounded(update * hidden, 1.0)
        hidden = rounded(kept + rounded(rounded(1.0 - update, 1.0, 0.0) * candidate, 1.0), 1.0)
        return hidden, [hidden]


class Rounded(layers.Layer):
    """Rounds its input."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return rounded(x, self.limit)


def looped_file(*, lstm: bool, sequences: bool) -> bytes:
    """Two recurrent layers over twenty steps, each a loop in the file."""
    x = inputs = sequence(20, 6)
    x = layers.RNN(QuantisedCell(10, lstm, 3.0), return_sequences=True)(Rounded(3.0)(x))
    x = layers.RNN(QuantisedCell(8, lstm, 1.0), return_sequences=sequences, go_backwards=True)(
        Rounded(1.0)(x)
    )
    x = layers.Reshape((20, 8))(x) if sequences else x
    model = keras.Model(inputs, QuantisedDense(5, 4.0)(Rounded(1.0)(x)))
    function = tf.function(lambda x: model(x)).get_concrete_function(
        tf.TensorSpec((1, 20, 6), name="sequence")
    )
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


class StreamingSpotter(tf.Module):
    """A keyword spotter that takes one frame of features and keeps the last ones of every layer."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(3)
        sizes = [(10, 3, 16), (16, 3, 16)]
        self.windows = [tf.Variable(tf.zeros((1, k - 1, 1, i))) for i, k, _ in sizes]
        self.kernels = [rng.normal(0, (2 / (i * k)) ** 0.5, (k, 1, i, o)) for i, k, o in sizes]
        self.dense = rng.normal(0, 0.25, (16, 4)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 1, 1, 10), tf.float32, name="frame")])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        for window, kernel in zip(self.windows, self.kernels, strict=True):
            joined = tf.concat([window, x], 1)
            window.assign(joined[:, 1:])
            x = tf.nn.relu(tf.nn.conv2d(joined, kernel.astype(np.float32), 1, "VALID"))
        return tf.matmul(tf.reshape(x, (1, 16)), self.dense)


IMAGES = (
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_small,
    efficientnet_lite0,
    ghostnet,
    shufflenet,
    shufflenet_grouped,
    resnet,
    densenet,
    unet,
    ssd,
    yolo,
    yolo_decoded,
    segmentation,
    superresolution,
    ds_cnn,
)
OTHERS = (
    cnn_1d,
    crnn_lstm,
    crnn_gru,
    crnn_bidirectional,
    autoencoder,
    tcn,
    transformer,
    vision_transformer,
    mlp_mixer,
    text_convolution,
    text_average,
    text_transformer,
    volume,
    multi_input,
    multi_output,
    siamese,
)


def convert(converter: tf.lite.TFLiteConverter, specs: list[tf.TensorSpec], **attributes: object) -> bytes:
    """Quantise to int8 with random samples."""
    rng = np.random.default_rng(7)
    samples = [
        {
            spec.name: rng.integers(0, WORDS, spec.shape).astype(np.int32)
            if spec.dtype == tf.int32
            else rng.normal(0, 1, spec.shape).astype(np.float32)
            for spec in specs
        }
        for _ in range(SAMPLES)
    ]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(samples)
    if all(spec.dtype != tf.int32 for spec in specs):
        converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    for name, value in attributes.items():
        setattr(converter, name, value)
    return bytes(converter.convert())


def keras_file(make: Callable[[], keras.Model]) -> bytes:
    model = make()
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = (w.shape for w in layer.get_weights())
            drawn = (rng.uniform(0.6, 1.4, gamma), rng.normal(0, 0.3, beta), rng.normal(0, 0.2, mean))
            layer.set_weights([*drawn, rng.uniform(0.5, 1.5, variance)])
    specs = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in model.inputs]
    return convert(tf.lite.TFLiteConverter.from_keras_model(model), specs)


def streaming_file(**attributes: object) -> bytes:
    spotter = StreamingSpotter()
    function = spotter.__call__.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], spotter)
    specs = [tf.TensorSpec((1, 1, 1, 10), tf.float32, name="frame")]
    return convert(converter, specs, experimental_enable_resource_variables=True, **attributes)


def main() -> None:
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    keras.utils.set_random_seed(1)
    files = {make.__name__: functools.partial(keras_file, make) for make in (*IMAGES, *OTHERS)}
    files["streaming"] = streaming_file
    files["streaming_int8"] = functools.partial(streaming_file, _experimental_variable_quantization=True)
    files["gru_loop"] = functools.partial(looped_file, lstm=False, sequences=False)
    files["lstm_loop"] = functools.partial(looped_file, lstm=True, sequences=True)
    for name in wanted or files:
        print(name, file=sys.stderr, flush=True)
        (folder / f"{name}.tflite").write_bytes(files[name]())


if __name__ == "__main__":
    main()
