"""Train the digits network of this example and quantise it to int8.

Writes `digits.tflite` (int8 in, int8 out) and `digits_test.npz` (held-out images as the network's
int8 input, with their labels) beside this file. Needs the `train` extra:

    pip install -e '.[train]'
    python examples/digits/train.py

The data are scikit-learn's handwritten digits: 1,797 grey images of 8x8 pixels with values 0 to 16
(Alpaydin and Kaynak, UCI repository, 1998). They ship with scikit-learn; nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path

# Before TensorFlow is imported: one thread and no reordered sums, so that the same versions on
# the same kind of machine write the same bytes.
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 1
TEST_SHARE = 0.2
EPOCHS = 60
BATCH = 32
HERE = Path(__file__).parent


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return train images, test images, train labels, test labels; images float32 [N,8,8,1] in 0..1."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    return tuple(
        train_test_split(
            images, digits.target, test_size=TEST_SHARE, stratify=digits.target, random_state=SEED
        )
    )


def conv_bn(x: keras.KerasTensor, layer: layers.Layer, *, relu: bool = True) -> keras.KerasTensor:
    """Apply a convolution and its batch normalisation, which the converter folds into it."""
    x = layers.BatchNormalization()(layer(x))
    return layers.ReLU()(x) if relu else x


def build_model() -> keras.Model:
    """A small network with the building blocks of larger ones.

    A 3x3 stem, an inverted residual block (expand, depthwise, project, add), a depthwise-separable
    block with stride 2, global average pooling and a dense layer with softmax.
    """
    image = keras.Input((8, 8, 1), name="image")
    x = conv_bn(image, layers.Conv2D(16, 3, padding="same", use_bias=False))

    shortcut = x
    x = conv_bn(x, layers.Conv2D(32, 1, use_bias=False))
    x = conv_bn(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
    x = conv_bn(x, layers.Conv2D(16, 1, use_bias=False), relu=False)
    x = layers.Add()([shortcut, x])

    x = conv_bn(x, layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False))
    x = conv_bn(x, layers.Conv2D(32, 1, use_bias=False))

    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="digit")(x), name="digits")


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move each image by up to one pixel in each direction: the only augmentation."""
    moved = np.zeros_like(images)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for i, (dy, dx) in enumerate(rng.integers(0, 3, (len(images), 2))):
        moved[i] = padded[i, dy : dy + 8, dx : dx + 8]
    return moved


def train(x: np.ndarray, y: np.ndarray) -> keras.Model:
    """Train on shifted images and return the model."""
    model = build_model()
    steps = EPOCHS * -(-len(x) // BATCH)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    rng = np.random.default_rng(SEED)
    for _ in range(EPOCHS):
        model.fit(shifted(x, rng), y, batch_size=BATCH, epochs=1, verbose=0)
    return model


def quantise(model: keras.Model, calibration: np.ndarray) -> bytes:
    """Post-training quantisation: int8 weights per channel, int8 activations, int8 in and out."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def int8_accuracy(model: bytes, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the images as the model's int8 input, and how many the reference interpreter gets right."""
    interpreter = tf.lite.Interpreter(
        model_content=model,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = source["quantization"]
    quantised = np.clip(np.round(images / scale) + zero_point, -128, 127).astype(np.int8)
    right = 0
    for image, label in zip(quantised, labels, strict=True):
        interpreter.set_tensor(source["index"], image[np.newaxis])
        interpreter.invoke()
        right += int(interpreter.get_tensor(target["index"]).argmax() == label)
    return quantised, right


def main() -> None:
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    x_train, x_test, y_train, y_test = load()
    model = train(x_train, y_train)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)

    flat = quantise(model, x_train)
    x_int8, right = int8_accuracy(flat, x_test, y_test)
    (HERE / "digits.tflite").write_bytes(flat)
    np.savez_compressed(HERE / "digits_test.npz", x=x_int8, y=y_test.astype(np.uint8))
    print(f"parameters      {model.count_params():,}")
    print(f"digits.tflite   {len(flat):,} bytes")
    print(f"float32         {accuracy * len(y_test):.0f} of {len(y_test)} test images right")
    print(f"int8            {right} of {len(y_test)} test images right")


if __name__ == "__main__":
    main()
