"""One model, built and traced once in a process, that trains one run after another."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_sgdr.cycles import Schedule
from keras_sgdr.data.augment import DRAWS
from keras_sgdr.schedules import look_up
from keras_sgdr.study.inputs import Array, CachedSamples, batches_of_epochs, crops, dataset_of_epochs

if TYPE_CHECKING:
    from keras_sgdr.study.study import Study

__all__ = ["METRICS", "VALIDATION_BATCH", "TableRate", "Trainer", "check_model", "fingerprint_of", "values_of"]

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
# Samples at a time in validation, at least: without gradients they need little memory.
VALIDATION_BATCH = 32


class TableRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each update from a table, a variable among the optimizer's own.

    There JAX, which compiles all other variables' values into the step, hands it to the step as an argument.

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
    """The model of a study with its samples on the device. A run is a `fit`; the next one retraces nothing.

    Args:
        study: The study.

    Attributes:
        fingerprint: Digest of what `model_fn` and `initialize` make: weights at seed 0, optimizer, loss.

    Raises:
        ValueError: If the model is not one that a study can train.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        inner = study.build(0)
        self.fingerprint = fingerprint_of(inner)
        (x, _), (x_val, y_val) = study.data
        augment, prepare = study.augment, study.prepare
        if augment is None or prepare is None:
            cropped, centred = crops(inner.input_shape, x)
            augment, prepare = augment or cropped, prepare or centred
        index, draws = keras.Input((), dtype="int32"), keras.Input((DRAWS,), dtype="float32")
        self._model = keras.Model((index, draws), inner(CachedSamples(x, x_val, augment, prepare)(index, draws)))
        self._optimizer = inner.optimizer
        rate = TableRate(self._optimizer, (study.epochs * study.steps,))
        self._optimizer.learning_rate = rate
        self._table = rate.table
        self._model.compile(
            self._optimizer,
            loss=inner.loss,
            metrics=["accuracy"],
            jit_compile=inner.jit_compile,
            # Keras runs no more than one there.
            steps_per_execution=1 if keras.config.backend() == "torch" else study.steps,
        )
        self._optimizer.build(self._model.trainable_variables)
        self._fresh = values_of(self._optimizer.variables)
        self._weights = inner.variables
        self._initial = 0, values_of(inner.variables)
        self._seed = 0
        self._data: Any = None
        self._val: Any = (np.arange(len(x_val), dtype="int32"), np.zeros((len(x_val), DRAWS), "float32")), y_val
        if keras.config.backend() == "tensorflow":
            import tensorflow as tf

            # Made once: making data sets takes longer than a short epoch.
            self._data = dataset_of_epochs(self._epoch_arrays, study.epochs, study.batch_size)
            self._val = tf.data.Dataset.from_tensor_slices(self._val).batch(self._validation_batch)

    @property
    def _validation_batch(self) -> int:
        return max(self._study.batch_size, VALIDATION_BATCH)

    def _epoch_arrays(self, epoch: int) -> tuple[Array, Array, Array]:
        order, draws = self._study.batches(self._seed, epoch)
        return order, draws, self._study.data[0][1][order]

    def run(self, schedule: Schedule, seed: int) -> tuple[dict[str, list[float]], float]:
        """Train from the seed's weights.

        Returns:
            By metric the values of the epochs, and the seconds that the run took.
        """
        began = time.perf_counter()
        _assign(self._weights, self._initial_weights(seed))
        _assign(self._optimizer.variables, self._fresh)
        self._table.assign(schedule.learning_rates(self._study.epochs, self._study.steps))
        history = self.fit(seed)
        return {name: [float(value) for value in history[name]] for name in METRICS}, time.perf_counter() - began

    def fit(self, seed: int) -> dict[str, list[Any]]:
        """Train on the seed's batches, from the weights and with the rates that there are. Returns Keras's history."""
        study = self._study
        self._seed = seed
        # Only when training begins: to build the metrics, the first `fit` runs the model, and with it dropout, which on
        # PyTorch draws from the global random numbers.
        seeded = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: keras.utils.set_random_seed(seed))
        return self._model.fit(
            self._data or batches_of_epochs(self._epoch_arrays, study.epochs, study.batch_size),
            epochs=study.epochs,
            steps_per_epoch=study.steps,
            validation_data=self._val,
            validation_batch_size=None if self._data else self._validation_batch,
            callbacks=[seeded],
            shuffle=False,
            verbose=0,
        ).history

    def _initial_weights(self, seed: int) -> list[Array]:
        # Of the last seed: its schedules come one after the other.
        if self._initial[0] != seed:
            self._initial = seed, self._study.initial_weights(seed)
        return self._initial[1]


def check_model(model: Any) -> None:
    """Raise unless a study can train the model."""
    if not isinstance(model, keras.Model) or not model.built or getattr(model, "optimizer", None) is None:
        raise ValueError(
            "`model_fn` must return a model that is built and compiled. "
            f"Received: {model!r}. Begin it with a `keras.Input` and call `model.compile(...)`."
        )
    optimizer = model.optimizer
    if hasattr(optimizer, "inner_optimizer") or hasattr(optimizer, "optimizers") or hasattr(optimizer, "cycle_updates"):
        raise ValueError(
            "A study sets the learning rate of one plain optimizer, by its count of updates. "
            f"Received: {type(optimizer).__name__}. Compile with one such as `keras.optimizers.SGD`, and train in "
            "float32 or mixed_bfloat16, which need no loss scaling."
        )


def fingerprint_of(model: Any) -> str:
    """Digest of a model's weights, optimizer and loss."""
    config = {
        name: value for name, value in model.optimizer.get_config().items() if name not in ("learning_rate", "name")
    }
    loss = model.loss.get_config() if hasattr(model.loss, "get_config") else getattr(model.loss, "__name__", model.loss)
    text = json.dumps([type(model.optimizer).__name__, config, type(model.loss).__name__, loss], default=str)
    digest = hashlib.sha256(text.encode())
    for value in values_of(model.weights):
        digest.update(repr(value.shape).encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def values_of(variables: list[Any]) -> list[Array]:
    """The values of variables, for later."""
    # Copied: a compiled step may free the memory that it is given, or overwrite it.
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: list[Any], values: list[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
