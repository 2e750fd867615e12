"""Optimizers with a memory: the weights are those of a loop that sets the rate before each batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import WarmRestarts
from tests.support.probe import EPOCHS, Array, sgdr
from tests.support.small_model import assert_equal, small_data, small_model, train, values

OPTIMIZERS = pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.Adam(0.1),
        lambda: keras.optimizers.AdamW(0.1, weight_decay=0.3),
        lambda: keras.optimizers.SGD(0.1, weight_decay=0.3, use_ema=True, ema_overwrite_frequency=4),
    ],
    ids=["momentum", "Adam", "AdamW", "EMA"],
)


def set_before_each_batch(model: Any, rates: Array) -> None:
    x, y = small_data()
    for k, rate in enumerate(rates):
        model.optimizer.learning_rate = float(rate)
        batch = slice(4 * (k % 3), 4 * (k % 3) + 4)
        model.train_on_batch(x[batch], y[batch])


@OPTIMIZERS
def test_weights_of_a_loop_that_sets_the_rate(optimizer: Any) -> None:
    model, loop = small_model(optimizer()), small_model(optimizer())
    train(model, sgdr())
    set_before_each_batch(loop, WarmRestarts(1, 2, 0.1).learning_rates(EPOCHS, 3))
    loop.optimizer.finalize_variable_values(loop.trainable_weights)  # As `fit` does; it matters to EMA alone.
    assert_equal(values(model.weights), values(loop.weights))


def test_weights_of_learning_rate_scheduler() -> None:
    model, ordinary = (small_model(keras.optimizers.AdamW(0.1, weight_decay=0.3)) for _ in range(2))
    restarts = WarmRestarts(1, 2, 0.1)
    train(model, sgdr(per="epoch"))
    train(ordinary, keras.callbacks.LearningRateScheduler(lambda epoch, rate: restarts(float(epoch))))
    assert_equal(values(model.weights), values(ordinary.weights))


def test_weight_decay_follows_the_rate() -> None:
    """With no gradient each update shrinks a weight by the factor `1 - rate * weight_decay`."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.5), loss="mse")
    x = np.zeros((3, 1), "float32")
    model.fit(x, x, batch_size=1, epochs=EPOCHS, verbose=0, callbacks=[sgdr()])
    rates = WarmRestarts(1, 2, 0.1).learning_rates(EPOCHS, 3)
    # Nine products in float32.
    assert float(model.get_weights()[0].item()) == pytest.approx(np.prod(1 - 0.5 * rates), rel=9 * 2.0**-23)
