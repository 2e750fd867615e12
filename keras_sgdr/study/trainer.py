"""The training of a study's runs: one model, built and compiled once in a process, trains one run after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr._executions import one_call_an_execution
from keras_sgdr.callbacks.rate_table import look_up
from keras_sgdr.data.samples import Array, Samples, batches_of_epochs, dataset_of_epochs, prefetched
from keras_sgdr.schedules import Schedule
from keras_sgdr.study.crops import crops
from keras_sgdr.study.spec import METRICS, Spec, fingerprint_of, values_of

__all__ = ["VALIDATION_BATCH", "TableSchedule", "Trainer"]

# Samples at a time in validation, at least: without gradients they need little memory.
VALIDATION_BATCH = 32


class TableSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each update from a table, which is one of the optimizer's variables.

    JAX compiles the values of all other variables into the step; these it passes as arguments.

    Args:
        optimizer: To which the table belongs.
        shape: Of the table, the updates of a run first.
    """

    def __init__(self, optimizer: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.table = optimizer.add_variable(shape, initializer="zeros", name="rates")

    def __call__(self, step: Any) -> Any:
        return look_up(self.table, step)

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("The rates of a run are part of no model's configuration.")


class Trainer:
    """The model of a study with its samples on the device. Each run is one `fit`; the later ones trace nothing anew.

    Args:
        spec: What is trained.

    Attributes:
        fingerprint: Digest of what `model_fn` and `initialize` make: weights at seed 0, optimizer, loss.

    Raises:
        ValueError: If the model is not one that a study can train.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._model = spec.build(0)
        self.fingerprint = fingerprint_of(self._model)
        (x, _), (x_val, y_val) = spec.data
        augment, prepare = spec.augment, spec.prepare
        if augment is None or prepare is None:
            cropped, centred = crops(self._model.input_shape, x)
            augment, prepare = augment or cropped, prepare or centred
        self._optimizer = self._model.optimizer
        rate = TableSchedule(self._optimizer, (spec.epochs * spec.steps,))
        self._optimizer.learning_rate = rate
        self._table = rate.table
        self._model.compile(
            self._optimizer,
            loss=self._model.loss,
            metrics=["accuracy"],
            jit_compile=self._model.jit_compile,
            run_eagerly=self._model.run_eagerly,
            # Keras runs no more than one there.
            steps_per_execution=1 if keras.config.backend() == "torch" else spec.steps,
        )
        self._optimizer.build(self._model.trainable_variables)
        with one_call_an_execution(self._model):
            self._model.make_train_function()
        self._fresh = values_of(self._optimizer.variables)
        self._weights = self._model.variables
        self._initial = 0, values_of(self._weights)
        self._seed = 0
        self._inputs = Samples(x, augment)
        # Prepared once: they are the same in every epoch.
        self._val = _prepared(x_val, prepare), y_val
        self._data: Any = None
        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            # Made once: making data sets takes longer than a short epoch.
            self._data = dataset_of_epochs(self._epoch_arrays, spec.epochs, spec.batch_size, self._inputs)
            val = tf.data.Dataset.from_tensor_slices(self._val).batch(self._validation_batch)
            self._val = prefetched(val, len(val))

    @property
    def _validation_batch(self) -> int:
        return max(self._spec.batch_size, VALIDATION_BATCH)

    def _epoch_arrays(self, epoch: int) -> tuple[Array, Array, Array]:
        order, draws = self._spec.batches(self._seed, epoch)
        return order, draws, self._spec.data[0][1][order]

    def run(self, schedule: Schedule, seed: int) -> dict[str, list[float]]:
        """Train from the seed's weights. Returns the values of each metric, one per epoch."""
        _assign(self._weights, self._initial_weights(seed))
        _assign(self._optimizer.variables, self._fresh)
        self._table.assign(schedule.learning_rates(self._spec.epochs, self._spec.steps))
        history = self.fit(seed)
        return {name: [float(value) for value in history[name]] for name in METRICS}

    def fit(self, seed: int) -> dict[str, list[Any]]:
        """Train on the seed's batches, from the model's present weights and rates. Returns Keras's history."""
        spec = self._spec
        self._seed = seed
        # Only when training begins: to build the metrics, the first `fit` runs the model, and with it dropout, which on
        # PyTorch draws from the global random numbers.
        seeded = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: keras.utils.set_random_seed(seed))
        return self._model.fit(
            self._data or batches_of_epochs(self._epoch_arrays, spec.epochs, spec.batch_size, self._inputs),
            epochs=spec.epochs,
            steps_per_epoch=spec.steps,
            validation_data=self._val,
            validation_batch_size=None if self._data else self._validation_batch,
            callbacks=[seeded],
            shuffle=False,
            verbose=0,
        ).history

    def _initial_weights(self, seed: int) -> list[Array]:
        # Of the last seed: its schedules come one after the other.
        if self._initial[0] != seed:
            self._initial = seed, self._spec.initial_weights(seed)
        return self._initial[1]


def _prepared(samples: Array, prepare: Callable[[Any], Any]) -> Any:
    """The model's inputs for all validation samples, in the device's memory."""
    prepared = Samples(samples, prepare)
    numbers = np.arange(len(samples), dtype="int32")
    parts = range(0, len(samples), VALIDATION_BATCH)
    return ops.concatenate([prepared(numbers[begin : begin + VALIDATION_BATCH]) for begin in parts])


def _assign(variables: list[Any], values: list[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
