"""The training of a study's runs: one model, built and compiled once in a process, trains one run after another."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr._executions import build_metrics, one_call_an_execution
from keras_sgdr.callbacks.step.rate_table import look_up
from keras_sgdr.data.samples import Array, Samples, batches_of_epochs, dataset_of_epochs, prefetched
from keras_sgdr.snapshots.outputs import Outputs as ModelOutputs
from keras_sgdr.study.crops import crops
from keras_sgdr.study.spec import METRICS, Spec, fingerprint_of, values_of
from keras_sgdr.study.store import Outputs, Progress

__all__ = ["VALIDATION_BATCH", "Log", "TableSchedule", "Trainer"]

# Samples at a time in validation, at least: without gradients they need little memory.
VALIDATION_BATCH = 32
# Between two ends of epochs at which a run is kept: it takes as long as a short epoch.
SECONDS_BETWEEN_SAVES = 30.0


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
        build_metrics(self._model, spec.data[0][1])
        with one_call_an_execution(self._model):
            self._model.make_train_function()
        self._fresh = values_of(self._optimizer.variables)
        self._weights = self._model.variables
        self._initial = 0, values_of(self._weights)
        self._seed = self._first_epoch = 0
        self._augment, self._inputs = augment, Samples(x, augment)
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
        order, draws = self._spec.batches(self._seed, self._first_epoch + epoch)
        return order, draws, self._spec.data[0][1][order]

    def run(
        self,
        name: str,
        seed: int,
        begin: Progress | None = None,
        *,
        keep: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Progress:
        """Train from the seed's weights.

        Args:
            name: Of the schedule.
            seed: Of weights, batches and crops.
            begin: Where an earlier call was stopped, to go on there.
            keep: Called with what there is of the run as each epoch ends: with its variables now and then, and when it
                is stopped.
            stop: Whether to stop, asked as each epoch ends.

        Returns:
            The run, of fewer epochs than the study's if it was stopped.
        """
        begin = self.reset(name, seed, begin)
        log = Log(self._spec, name, begin, outputs=self.outputs, variables=self.variables, keep=keep)

        def on_epoch_end(epoch: int, logs: Any) -> None:
            self._model.stop_training = log.end_epoch(logs, stop=stop())

        self.fit(seed, begin.epochs, keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end))
        return log.progress()

    def reset(self, name: str, seed: int, begin: Progress | None) -> Progress:
        """Give the model and its optimizer the values with which a run begins, or goes on. Returns where that is."""
        spec = self._spec
        _assign(self._weights, self._initial_weights(seed))
        _assign(self._optimizer.variables, self._fresh)
        self._table.assign(spec.schedules[name].learning_rates(spec.epochs, spec.steps))
        if begin is None:
            return Progress({metric: [] for metric in METRICS})
        _assign([*self._weights, *self._optimizer.variables], begin.variables)
        return begin

    def fit(self, seed: int, first_epoch: int = 0, *callbacks: keras.callbacks.Callback) -> None:
        """Train on the seed's batches, from an epoch (from 0) on, with the model's present weights and rates."""
        spec = self._spec
        self._seed, self._first_epoch = seed, first_epoch
        self._model.fit(
            self._data or batches_of_epochs(self._epoch_arrays, spec.epochs, spec.batch_size, self._inputs),
            epochs=spec.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=spec.steps,
            validation_data=self._val,
            validation_batch_size=None if self._data else self._validation_batch,
            # Only there: elsewhere dropout's state is among the variables, and TensorFlow would optimise its graphs
            # anew at each seed that is set, for seconds.
            callbacks=[*([_Seeds(seed)] if keras.config.backend() == "torch" else []), *callbacks],
            shuffle=False,
            verbose=0,
        )

    def variables(self) -> list[Array]:
        """Values of the model's and the optimizer's variables."""
        return values_of([*self._weights, *self._optimizer.variables])

    def outputs(self) -> Array:
        """What the model makes of the validation samples, as `taken`."""
        samples = self._val if self._data else self._val[0]
        size = None if self._data else self._validation_batch
        return self.taken(self._model.predict(samples, batch_size=size, verbose=0))

    def taken(self, outputs: Any) -> Array:
        """The model's outputs, probabilities where they are logits."""
        return np.asarray(ModelOutputs(self._model, None).probabilities(outputs), np.float32)

    def _initial_weights(self, seed: int) -> list[Array]:
        # Of the last seed: its schedules come one after the other.
        if self._initial[0] != seed:
            self._initial = seed, self._spec.initial_weights(seed)
        return self._initial[1]


class _Seeds(keras.callbacks.Callback):
    """Sets the global random seed for each epoch, from which dropout draws on PyTorch, wherever a run begins."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed, self._epoch = seed, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Not as the epoch begins: in the first of a `fit`, Keras runs the model then, to build the metrics.
        if batch == 0:
            keras.utils.set_random_seed(int(np.random.SeedSequence((self._seed, self._epoch)).generate_state(1)[0]))


class Log:
    """Collects what a run gives, epoch by epoch, and keeps it.

    Args:
        spec: What is trained.
        name: Of the schedule.
        begin: What there is of the run.
        outputs: Returns what the model makes of the validation samples.
        variables: Returns the values of the model's and the optimizer's variables.
        keep: See `Trainer.run`.
    """

    def __init__(
        self,
        spec: Spec,
        name: str,
        begin: Progress,
        *,
        outputs: Callable[[], Array],
        variables: Callable[[], list[Array]],
        keep: Callable[[Progress], None] | None,
    ) -> None:
        self._epochs, self._kept_epochs = spec.epochs, spec.kept_epochs(name)
        self._take_outputs, self._take_variables, self._keep = outputs, variables, keep
        self._metrics = {metric: list(values) for metric, values in begin.metrics.items()}
        self._outputs: Outputs = dict(begin.outputs)
        self._saved = time.perf_counter()
        self._began = self._saved - begin.seconds

    def end_epoch(self, metrics: Mapping[str, Any], *, stop: bool) -> bool:
        """Take the metrics of an epoch that has ended. Returns whether to stop: not after the last."""
        for name, values in self._metrics.items():
            values.append(float(metrics[name]))
        epoch = self.progress().epochs
        if epoch in self._kept_epochs:
            self._outputs[epoch] = self._take_outputs()
        stop = stop and epoch < self._epochs
        is_due = time.perf_counter() - self._saved >= SECONDS_BETWEEN_SAVES and epoch < self._epochs
        if self._keep is not None:
            variables = self._take_variables() if stop or is_due else []
            self._keep(dataclasses.replace(self.progress(), variables=variables))
            if variables:
                self._saved = time.perf_counter()
        return stop

    def progress(self) -> Progress:
        """The run so far, without its variables."""
        return Progress(self._metrics, self._outputs, time.perf_counter() - self._began)


def _prepared(samples: Array, prepare: Callable[[Any], Any]) -> Any:
    """The model's inputs for all validation samples, in the device's memory."""
    prepared = Samples(samples, prepare)
    numbers = np.arange(len(samples), dtype="int32")
    parts = range(0, len(samples), VALIDATION_BATCH)
    return ops.concatenate([prepared(numbers[begin : begin + VALIDATION_BATCH]) for begin in parts])


def _assign(variables: list[Any], values: list[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
