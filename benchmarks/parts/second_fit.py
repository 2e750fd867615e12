"""A second `fit` of the same model with a new `SGDR`, beside a second `fit` without: nothing is to be compiled anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from benchmarks.turns import seconds_of, take_turns
from keras_sgdr import SGDR
from keras_sgdr.models import resnet

__all__ = ["rows"]

MOST = 1.05
SIDE, SMALL = 64, 8  # In pixels.


def dense(shape: tuple[int, ...]) -> Any:
    """A model for where it only has to run."""
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2)])


def fits(x: Any, y: Any, batch: int, epochs: int, callbacks: Callable[[], list[Any]]) -> Callable[[], float]:
    """A model in a function that trains it once more and returns the seconds."""
    model = resnet(50, None, classes=2, input_shape=x.shape[1:]) if x.shape[1] > SMALL else dense(x.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # As examples/finetune_ants_bees.py does on a CPU: XLA's code for it is slower, and TensorFlow alone can do without.
    jit = False if keras.backend.backend() == "tensorflow" else "auto"
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss, jit_compile=jit)

    return lambda: seconds_of(lambda: model.fit(x, y, batch, epochs, callbacks=callbacks(), verbose=0))


def rows(settings: Settings) -> Iterator[Row]:
    """A row of the job's backend."""
    backend = keras.backend.backend()
    side, batch, batches = SMALL if settings.small else SIDE, 8, 4
    x = np.random.default_rng(0).uniform(0, 255, (batch * batches, side, side, 3)).astype("float32")
    y = np.arange(len(x)) % 2
    turns = {
        "SGDR": fits(x, y, batch, 2, lambda: [SGDR(1, 1)]),
        "none": fits(x, y, batch, 2, list),
    }
    first = {name: fit() for name, fit in turns.items()}
    seconds = take_turns(turns, settings.rounds, settings.seconds)
    network = "a dense network" if settings.small else "ResNet-50"
    label = f"{network}, {side} px, batch {batch}, {batches} batches, 2 epochs"
    yield ratio(
        f"second `fit` with a new SGDR, {backend}",
        "second `fit` without",
        seconds["SGDR"],
        seconds["none"],
        MOST,
        note=label,
    )
    yield ratio(
        f"first `fit` with SGDR, {backend}", "first `fit` without", [first["SGDR"]], [first["none"]], note=label
    )
