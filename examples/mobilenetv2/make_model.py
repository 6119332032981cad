"""Make a MobileNetV2 with int8 inputs and outputs, untrained, for measuring memory and instructions.

    pip install -e '.[train]'
    python examples/mobilenetv2/make_model.py --width 0.35 --size 144 --classes 10 -o small.tflite
    python examples/mobilenetv2/make_model.py --width 1.0 --size 224 --classes 1000 -o large.tflite

The architecture is Keras's own (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
CVPR 2018). Weights are random, so that nothing has to be downloaded; the arena and the instructions do not
depend on them. Batch normalisation takes the statistics of the calibration images and the classifier is
scaled to tell them apart, so that every layer uses its int8 range as a trained one would: equal outputs prove
little where all of them are the zero point.
"""

from __future__ import annotations

import argparse
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

SEED = 1
IMAGES = 8
LOGIT_SPREAD = 3.0  # standard deviation of the classifier's outputs before softmax


def calibration_images(size: int) -> np.ndarray:
    """Return IMAGES smooth pictures with a little noise, float32 [N,size,size,3] in -1..1.

    A gradient in a random direction, a few discs of random colours, noise: content on every scale, as
    photographs have it.
    """
    rng = np.random.default_rng(SEED)
    y, x = np.mgrid[0:size, 0:size] / size
    images = np.empty((IMAGES, size, size, 3), np.float32)
    for image in images:
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)
        image[...] = slope[..., np.newaxis] * rng.uniform(-1.5, 1.5, 3)
        for _ in range(6):
            cx, cy, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.3)
            image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = rng.uniform(-1, 1, 3)
        image += rng.normal(0, 0.1, image.shape)
    return images.clip(-1, 1)


def build_model(width: float, size: int, classes: int, images: np.ndarray) -> keras.Model:
    """Return the network with seeded weights and batch normalisation that fits the images."""
    model = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=width, weights=None, classes=classes
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the next batch's statistics replace the moving ones
    model(images, training=True)
    classifier = model.get_layer("predictions")
    features = keras.Model(model.input, classifier.input)(images, training=False)
    kernel, bias = classifier.get_weights()
    classifier.set_weights([kernel * LOGIT_SPREAD / np.std(features @ kernel), bias])
    return model


def quantise(model: keras.Model, images: np.ndarray) -> bytes:
    """Post-training quantisation: int8 weights per channel, int8 activations, int8 in and out."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--width", type=float, required=True, help="width multiplier, 0.35 to 1.4")
    parser.add_argument("--size", type=int, required=True, help="height and width of the RGB image")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    images = calibration_images(arguments.size)
    model = build_model(arguments.width, arguments.size, arguments.classes, images)
    flat = quantise(model, images)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(flat)
    print(f"{arguments.output}: {model.count_params():,} parameters, {len(flat):,} bytes")


if __name__ == "__main__":
    main()
