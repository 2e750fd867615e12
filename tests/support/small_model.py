"""An ordinary small model and its training, and the comparison of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tests.support.probe import EPOCHS, Array


def small_model(optimizer: Any, **compiling: Any) -> Any:
    """An ordinary model, of Keras's own layers, the same at every call."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse", **compiling)
    return model


def trained_embedding(optimizer: Any) -> list[Array]:
    """The weights of a model whose first layer has sparse gradients, after three updates."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((2,), dtype="int32"), keras.layers.Embedding(5, 3), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    model.fit(np.array([[0, 1], [1, 2]]), np.ones((2, 1)), epochs=3, batch_size=2, verbose=0)
    return values(model.weights)


def small_data(samples: int = 12) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return random.normal(size=(samples, 3)).astype("float32"), random.normal(size=(samples, 1)).astype("float32")


def train(model: Any, *callbacks: Any, epochs: int = EPOCHS, **fitting: Any) -> Any:
    """`fit` of a `small_model`, 3 batches an epoch in a fixed order. Returns the history."""
    options: dict[str, Any] = {"epochs": epochs, "batch_size": 4, "shuffle": False, "verbose": 0, **fitting}
    return model.fit(*small_data(), callbacks=list(callbacks), **options)


def values(variables: Sequence[Any]) -> list[Array]:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assert_equal(ours: Sequence[Array], theirs: Sequence[Array]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
