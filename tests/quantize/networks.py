"""Makes the networks and images that the tests of `tinyml quantize` need: run with TensorFlow, in a folder.

python tests/quantize/networks.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

CLASSES = 3
SAMPLES = 30


def sequential(shape: tuple[int | None, ...], *inner: layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(shape, name="image"), *inner])


def classifier(batch: int | None) -> keras.Model:
    """A network with the layers that everything here reads; the class is the brightest colour."""
    image = keras.Input((8, 8, 3), batch_size=batch, name="image")
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(image))
    x = layers.ReLU()(x)
    x = layers.Add()([x, layers.Conv2D(8, 1)(layers.DepthwiseConv2D(3, padding="same")(x))])
    # Beside the untrained network, the mean colours: so that labels mean something.
    x = layers.GlobalAveragePooling2D()(x)
    colours = layers.GlobalAveragePooling2D()(image)
    outputs = layers.Add()([layers.Dense(CLASSES)(x), layers.Dense(CLASSES, name="colours")(colours)])
    model = keras.Model(image, layers.Softmax()(outputs))
    model.get_layer("colours").set_weights([40 * np.eye(3, CLASSES), np.zeros(CLASSES)])
    return model


def wide(batch: int | None) -> keras.Model:
    """A network with the layers that run on int16 activations."""
    image = keras.Input((12, 12, 3), batch_size=batch, name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.Add()([x, layers.LeakyReLU(negative_slope=0.1)(layers.DepthwiseConv2D(3, padding="same")(x))])
    x = layers.Conv2D(8, 3, strides=2, activation="relu6")(layers.MaxPooling2D()(x))
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    gate = layers.Activation("sigmoid")(x)
    x = layers.Concatenate()([layers.Multiply()([gate, layers.Activation("tanh")(x)]), gate])
    x = layers.Subtract()([layers.AveragePooling2D(2, strides=1)(x), layers.MaxPooling2D(2, strides=1)(x)])
    x = layers.ZeroPadding2D(1)(x[:, 1:, 1:, :])
    x = layers.Concatenate()([layers.Dense(12)(layers.Flatten()(x)), layers.GlobalAveragePooling2D()(x)])
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def loops() -> bytes:
    """Two recurrent layers that are not unrolled, as a float file."""
    recurrent = layers.LSTM(5, return_sequences=True), layers.GRU(4)
    model = keras.Sequential([keras.Input((6, 4), batch_size=1), *recurrent, layers.Dense(2)])
    function = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, 6, 4), name="x"))
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())


def two_inputs() -> keras.Model:
    """Inputs that sort differently from how they are listed, and two outputs."""
    small, large = keras.Input((4,), name="small"), keras.Input((4,), name="large")
    x = layers.Add()([layers.Dense(4)(small), layers.Dense(4)(large)])
    return keras.Model([small, large], [layers.Dense(3)(x), layers.Dense(2)(x)])


def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [N,8,8,3] and the colour that is brightest in each [N]."""
    y = np.arange(SAMPLES) % CLASSES
    x = rng.integers(0, 200, (SAMPLES, 8, 8, 3))
    x[np.arange(SAMPLES), :, :, y] += 55
    return x.astype(np.uint8), y


def main() -> None:
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = classifier(None)
    model.save(folder / "net.keras")
    model.export(folder / "net_saved", verbose=False)
    single = classifier(1)
    single.set_weights(model.get_weights())
    single.export(folder / "single_saved", verbose=False)
    x, y = pictures(rng)
    real = (x / 255).astype(np.float32)
    np.savez(folder / "float.npz", x=real, y=y)
    np.savez(folder / "pixels.npz", x=x, y=y)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        (folder / "images" / "rgb"[label]).mkdir(parents=True, exist_ok=True)
        (folder / "images" / "rgb"[label] / f"{i:02}.png").write_bytes(tf.io.encode_png(image).numpy())
    (folder / "other").mkdir()
    large = np.repeat(np.repeat(x[0], 2, 0), 3, 1)
    (folder / "other" / "large.JPG").write_bytes(tf.io.encode_jpeg(large).numpy())

    # What TensorFlow's own converter makes of the same samples in the same order.
    def convert(saved: str, **attributes: object) -> bytes:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / saved))
        for name, value in attributes.items():
            setattr(converter, name, value)
        return bytes(converter.convert())

    samples = [[image[np.newaxis]] for image in real]
    (folder / "net.tflite").write_bytes(convert("net_saved"))
    for saved in ("net_saved", "single_saved"):
        flat = convert(
            saved,
            optimizations=[tf.lite.Optimize.DEFAULT],
            representative_dataset=lambda: iter(samples),
            inference_input_type=tf.int8,
            inference_output_type=tf.int8,
        )
        (folder / f"{saved}.tflite").write_bytes(flat)
    x = rng.normal(size=(SAMPLES, 12, 12, 3)).astype(np.float32)
    np.savez(folder / "wide.npz", x=x)
    wide(1).export(folder / "wide_saved", verbose=False)
    flat = convert(
        "wide_saved",
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: iter([[image[np.newaxis]] for image in x]),
        target_spec=tf.lite.TargetSpec(
            supported_ops=[tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
        ),
        inference_input_type=tf.int16,
        inference_output_type=tf.int16,
    )
    (folder / "wide_saved.tflite").write_bytes(flat)
    sequential((8, 8, 3), layers.RandomFlip(), layers.Rescaling(1 / 255), layers.Conv2D(4, 3)).save(
        folder / "rescaling.keras"
    )
    sequential((None, None, 3), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()).save(
        folder / "open.keras"
    )
    sequential((6, 4), layers.GRU(3), layers.Dense(2)).save(folder / "recurrent.keras")
    sequential((6, 4), layers.GRU(3), layers.Dense(2)).export(folder / "recurrent_saved", verbose=False)
    (folder / "loops.tflite").write_bytes(loops())
    sequential((8, 8, 3), layers.Lambda(lambda x: 2 * x)).save(folder / "lambda.keras")
    two_inputs().save(folder / "two.keras")
    cumulated = keras.Input((4, 4))
    keras.Model(cumulated, keras.ops.cumsum(layers.Dense(4)(cumulated), axis=1)).save(folder / "cumsum.keras")
    values = rng.random((SAMPLES, 4)).astype(np.float32)
    np.savez(folder / "two.npz", large=100 * values, small=values[::-1])
    np.savez(folder / "sequence.npz", x=rng.random((SAMPLES, 6, 4)).astype(np.float32))
    np.savez(folder / "matrix.npz", x=rng.random((SAMPLES, 4, 4)).astype(np.float32))


if __name__ == "__main__":
    main()
