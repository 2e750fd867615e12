"""Studies so small that a run takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sgdr.study import Study

Array = np.ndarray[Any, Any]

SAMPLES, VALIDATION, EPOCHS, BATCH = 10, 6, 3, 4
STEPS = 3  # The last batch of an epoch has two samples.
SMALL: dict[str, Any] = {"seeds": 2, "epochs": EPOCHS, "batch_size": BATCH, "eta_max": 0.1}


def images(seed: int = 0) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    random = np.random.default_rng(seed)
    sizes = ((SAMPLES, 9), (VALIDATION, 8))
    splits = [(random.integers(0, 256, (n, side, side, 3), "uint8"), np.arange(n) % 2) for n, side in sizes]
    return splits[0], splits[1]


def points() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    random = np.random.default_rng(0)
    splits = [(random.normal(size=(n, 4)).astype("float32"), np.arange(n) % 2) for n in (SAMPLES, VALIDATION)]
    return splits[0], splits[1]


def compiled(layers: list[Any], run_eagerly: bool = False) -> Any:
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    jit_compile = keras.config.backend() == "jax" and not run_eagerly
    model.compile(keras.optimizers.SGD(momentum=0.9), loss=loss, jit_compile=jit_compile, run_eagerly=run_eagerly)
    return model


def image_model(dropout: float = 0.2) -> Any:
    """With all that a run must reset: weights, BatchNorm's statistics, the state of a dropout."""
    return compiled(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(2),
        ]
    )


def point_model(**head: Any) -> Any:
    """A dense layer, run eagerly: tracing would take longer than the few updates that it trains."""
    return compiled([keras.Input((4,)), keras.layers.Dense(2, **head)], run_eagerly=True)


def point_study(folder: Path, **options: Any) -> Study:
    return Study(**{"model_fn": point_model, "data": points(), "folder": folder, **SMALL, **options})


def image_study(folder: Path, **options: Any) -> Study:
    return Study(**{"model_fn": image_model, "data": images(), "folder": folder, **SMALL, **options})
