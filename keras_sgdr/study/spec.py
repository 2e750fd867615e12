"""What a study trains, as plain data: the model, the samples, the schedules and the seeds; and how each run begins."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import integer, invalid, is_integer, require
from keras_sgdr.data.samples import Array, order_and_draws
from keras_sgdr.schedules import Schedule

__all__ = ["METRICS", "Spec", "fingerprint_of", "values_of"]

# What is measured after each epoch, by Keras's names.
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
MOST_SEEDS = 100_000


class Spec:
    """What a study trains. For the arguments and their attributes see `Study`.

    Attributes:
        data: `(x, y), (x_val, y_val)` as NumPy arrays, floats in Keras's default precision.
        schedules: By name, as they are run: a `T_0=None` is resolved by the epochs.
        seeds: In ascending order.
        token: Differs from study to study: a process that trains runs knows by it that it has built this model.
    """

    def __init__(
        self,
        model_fn: Callable[[], keras.Model],
        data: Any,
        schedules: Mapping[str, Schedule],
        *,
        seeds: int | Sequence[int],
        epochs: int,
        batch_size: int,
        initialize: Callable[[keras.Model, int], Any] | None = None,
        augment: Callable[[Any, Any], Any] | None = None,
        prepare: Callable[[Any], Any] | None = None,
        frozen: bool = False,
        keep_outputs: bool = False,
    ) -> None:
        integer("epochs", epochs, "Pass the epochs of a run, such as epochs=100.")
        integer("batch_size", batch_size, "Pass the samples in a batch, such as batch_size=32.")
        require(callable(model_fn), "`model_fn` must be a function.", "model_fn", model_fn, "Let it return a model.")
        for name, value in (("initialize", initialize), ("augment", augment), ("prepare", prepare)):
            valid = value is None or callable(value)
            require(valid, f"`{name}` must be a function or None.", name, value, "Leave it out for none.")
        rule = "A frozen backbone sees each sample once, as it is, and a seed draws new weights for the head alone."
        both, fix = (initialize, augment), "Leave both out, or train all of the model: frozen=False."
        require(not frozen or (initialize is None and augment is None), rule, "(initialize, augment)", both, fix)
        self.model_fn, self.initialize, self.augment, self.prepare = model_fn, initialize, augment, prepare
        rule = "The outputs of heads that are trained together are not kept."
        require(not (frozen and keep_outputs), rule, "keep_outputs", keep_outputs, "Leave it out, or frozen=False.")
        self.epochs, self.batch_size = int(epochs), int(batch_size)
        self.frozen, self.keep_outputs = bool(frozen), bool(keep_outputs)
        self.data = _arrays_of(data)
        self.seeds = _list_of(seeds)
        rule = "`schedules` must be a dict of schedules by name, at least one."
        valid = isinstance(schedules, Mapping) and all(isinstance(name, str) and name for name in schedules)
        fix = 'Pass {"SGDR (10, 2)": WarmRestarts(10, 2, eta_max=0.01)} or the like.'
        require(valid and len(schedules) > 0, rule, "schedules", schedules, fix)
        self.schedules = {name: self._resolved(name, schedule) for name, schedule in schedules.items()}
        self.token = uuid.uuid4().hex

    @property
    def steps(self) -> int:
        """Updates in an epoch; the last batch may be smaller."""
        return -(-len(self.data[0][0]) // self.batch_size)

    def batches(self, seed: int, epoch: int) -> tuple[Array, Array]:
        """The order of the training samples in an epoch (from 0), and the random numbers behind crops and flips.

        Returns:
            int32 of shape `(samples,)` and float32 of shape `(samples, DRAWS)`, the same under every schedule.
        """
        return order_and_draws(seed, epoch, len(self.data[0][0]))

    def ends_of_cycles(self, name: str) -> list[int]:
        """Epochs with whose last update a cycle of the schedule ends."""
        stops = (cycle.stop for cycle in self.schedules[name].cycles(self.steps))
        within = itertools.takewhile(lambda stop: stop <= self.epochs * self.steps, stops)
        return [stop // self.steps for stop in within if stop % self.steps == 0]

    def kept_epochs(self, name: str) -> set[int]:
        """Epochs after which the outputs of a run under this schedule are kept: ends of cycles, and the last."""
        return {*self.ends_of_cycles(name), self.epochs} if self.keep_outputs else set()

    def build(self, seed: int) -> keras.Model:
        """A model with the weights from which the seed's runs begin. Raises as `initial_weights` does."""
        weights = self.initial_weights(seed)
        model = self._made(seed)
        for variable, value in zip(model.variables, weights, strict=True):
            variable.assign(value)
        return model

    def initial_weights(self, seed: int) -> list[Array]:
        """The values of `model.variables` from which the seed's runs begin, the same under every schedule.

        They are drawn on the processor, so that they are the same with a GPU as without: the last bits of random
        numbers differ between the two, and on PyTorch all of them. Sets the global random seed.

        Raises:
            ValueError: If the model is not one that a study can train, or its weights are no function of the seed.
        """
        before: list[Array] | None = None
        # Twice, to see that the seed decides; more often only where another thread, such as one of Dask's, has drawn
        # from the process's random numbers meanwhile.
        for _ in range(4):
            with keras.device("cpu"):
                weights = values_of(self._made(seed).variables)
            if before is not None and all(map(np.array_equal, before, weights)):
                return weights
            before = weights
        raise invalid(
            "`model_fn` and `initialize` must make the same weights whenever they are called with a seed.",
            f"model_fn={self.model_fn!r} and initialize={self.initialize!r}, whose weights differ with seed {seed}",
            "Take all random numbers from Keras's seed, or from the one that `initialize` is given.",
        )

    def _made(self, seed: int) -> keras.Model:
        """What `model_fn` and `initialize` make after the seed."""
        keras.utils.set_random_seed(seed)
        model = self.model_fn()
        _check_model(model)
        if self.initialize is not None:
            self.initialize(model, seed)
        return model

    def schedule_settings(self, name: str) -> dict[str, Any]:
        """What identifies a schedule, as JSON: its class and arguments, or its rates where it does not tell these."""
        schedule: Any = self.schedules[name]
        if hasattr(schedule, "get_config"):
            settings = {"config": schedule.get_config()}
        else:
            rates = schedule.learning_rates(self.epochs, self.steps).astype(np.float32)
            settings = {"rates": hashlib.sha256(rates.tobytes()).hexdigest()[:16]}
        return json.loads(json.dumps({"class": type(schedule).__name__, **settings}))

    @cached_property
    def shared(self) -> dict[str, Any]:
        """What all runs of the study have in common, as JSON."""
        digest = hashlib.sha256()
        for array in (array for split in self.data for array in split):
            digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "data": digest.hexdigest()[:16],
            "backend": keras.config.backend(),
            "frozen": self.frozen,
            "keep_outputs": self.keep_outputs,
        }

    def _resolved(self, name: str, schedule: Any) -> Schedule:
        """The schedule as it is run, once it has been seen to give every rate."""
        received = f"schedules[{name!r}]"
        fix = "Derive it from `Schedule`, or take `WarmRestarts` or `StepDecay`."
        require(isinstance(schedule, Schedule), "A schedule must be a `keras_sgdr.Schedule`.", received, schedule, fix)
        try:
            # With two rates of the optimizer, to see whether that decides.
            resolved, other = (schedule.for_fit(self.epochs, rate) for rate in (1.0, 2.0))
            rates, others = (each.learning_rates(self.epochs, self.steps) for each in (resolved, other))
            next(iter(resolved.cycles(self.steps)), None)
        except Exception as error:
            rule = f"A schedule must give the rates of {self.epochs} epochs of {self.steps} updates."
            raise invalid(rule, f"{received}={schedule!r}, which raises: {error}", "Pass one that does.") from error
        fix = "Pass `eta_max`, such as eta_max=0.01."
        rule = "The schedules of a study must not depend on the optimizer's learning rate, which is replaced."
        require(np.array_equal(rates, others), rule, received, schedule, fix)
        return resolved


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
    """Copies of the values of variables."""
    # A compiled step may free the memory that it is given, or overwrite it.
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _check_model(model: Any) -> None:
    """Raise unless a study can train the model."""
    if not isinstance(model, keras.Model) or not model.built or getattr(model, "optimizer", None) is None:
        rule = "`model_fn` must return a model that is built and compiled."
        raise invalid(rule, repr(model), "Begin it with a `keras.Input` and call `model.compile(...)`.")
    optimizer = model.optimizer
    if any(hasattr(optimizer, name) for name in ("inner_optimizer", "optimizers", "cycle_updates")):
        rule = "A study sets the learning rate of one plain optimizer, by its count of updates."
        fix = "Compile with one such as `keras.optimizers.SGD`, and train in float32 or mixed_bfloat16, which need no "
        raise invalid(rule, type(optimizer).__name__, fix + "loss scaling.")


def _arrays_of(data: Any) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    shapes: Any
    try:
        splits = [tuple(np.asarray(array) for array in split) for split in data]
        shapes = [tuple(array.shape for array in split) for split in splits]
        valid = [len(split) for split in splits] == [2, 2] and all(len(x) == len(y) > 0 for x, y in splits)
    except (TypeError, ValueError):
        shapes, valid = type(data).__name__, False
    rule = "`data` must be `(x, y), (x_val, y_val)`: arrays, with a label for each sample, at least one of either."
    require(valid, rule, "shapes of data", shapes, "Pass what `ants_bees.load_data()` returns, or arrays like it.")
    floats = keras.config.floatx()
    train, val = ((x.astype(floats) if x.dtype.kind == "f" else x, y) for x, y in splits)
    return train, val


def _list_of(seeds: Any) -> list[int]:
    values = seeds.tolist() if isinstance(seeds, np.ndarray) else seeds
    if is_integer(seeds):
        values = range(min(int(seeds), MOST_SEEDS + 1))
    valid = isinstance(values, Sequence) and 0 < len(values) <= MOST_SEEDS
    valid = valid and all(is_integer(seed, 0) and seed < 2**32 for seed in values) and len(set(values)) == len(values)
    rule = "`seeds` must be a positive integer, or a list of different seeds, each from 0 to 2**32 - 1."
    rule += f" There must be at most {MOST_SEEDS}."
    require(valid, rule, "seeds", seeds, "Pass seeds=20 for the seeds 0 to 19.")
    return sorted(int(seed) for seed in values)
