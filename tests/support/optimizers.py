"""Optimizers of the kinds that the callback has to deal with, new at each call."""

from __future__ import annotations

from typing import Any

import keras

from tests.support.probe import RATE


def sgd() -> Any:
    return keras.optimizers.SGD(RATE, momentum=0.9)


def scaled() -> Any:
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))


def several() -> Any:
    first, second = keras.optimizers.SGD(0.01, momentum=0.9), keras.optimizers.Adam(0.01)
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(first, {".*bias": second}))
