"""`python -m tests.small_network SCRIPT ...` runs an example with a small network in place of the ResNet.

A ResNet takes half a minute to build and to compile; the test of the fine-tuning example has the real one.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

import keras

from examples import finetune_ants_bees


def small_network(depth: int, weights: Any = None, *, classes: int, input_shape: Any, preprocess: bool) -> keras.Model:
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
    setattr(finetune_ants_bees, "resnet", small_network)  # noqa: B010  # A name that it imports, which mypy lets no one set.
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
