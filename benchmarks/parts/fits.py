"""The small `fit` that shows what a learning rate costs: a dense network, whose step is mostly overhead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from benchmarks.race import Runner

__all__ = ["EPOCHS", "ETA_MAX", "dense_runner"]

ETA_MAX = 0.1
EPOCHS = 150  # Of a `fit`: cycles of 10, 20, 40 and 80. More than there are rounds.


def dense_runner(
    rate: Any,
    callbacks: Sequence[Any],
    steps: int,
    steps_per_execution: int = 1,
    *,
    initial_epoch: int = 0,
    epochs: int = EPOCHS,
    prepare: Callable[[Any], object] = lambda model: None,
) -> Runner:
    """A `fit` on the same batch of noise again and again.

    Args:
        rate: Learning rate of the optimizer, SGD with momentum.
        callbacks: The callbacks under test.
        steps: Batches in an epoch.
        steps_per_execution: Batches in a call of the compiled step.
        initial_epoch: Index of the first epoch.
        epochs: Epochs at whose end the `fit` would end.
        prepare: Called with the model before `fit`.
    """
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32, 32)).astype("float32"), generator.integers(0, 10, 32)
    hidden = [keras.layers.Dense(64, "relu", name=name) for name in ("first", "second")]
    model = keras.Sequential([keras.Input((32,)), *hidden, keras.layers.Dense(10, name="head")])
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_execution,
    )
    prepare(model)
    data: dict[str, Any] = {"x": np.tile(x, (steps, 1)), "y": np.tile(y, steps), "batch_size": len(x)}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Costs less than slices of an array, and so hides less of the rest.
        data = {"x": tf.data.Dataset.from_tensors((x, y)).repeat(steps)}
    options = {"epochs": epochs, "initial_epoch": initial_epoch, "shuffle": False, "verbose": 0}
    return Runner(lambda all_: model.fit(**data, **options, callbacks=all_), callbacks)
