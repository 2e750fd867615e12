"""`python small_network.py SCRIPT ...` runs an example with a small network in place of `keras_sgdr.models.resnet`.

A ResNet takes half a minute to build and to compile; the test of the fine-tuning example trains a real one.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import keras


def small_network(depth: int, weights: Any = None, *, classes: int, input_shape: Any, preprocess: bool) -> keras.Model:
    """A convolutional network with the signature of `resnet`."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Rescaling(1 / 64, -2),
            keras.layers.Conv2D(4, 3, 2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes),
        ]
    )


if __name__ == "__main__":
    from keras_sgdr import models

    setattr(models, "resnet", small_network)  # noqa: B010  # mypy lets no one assign to a function.
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
