"""The SGDR callback: the learning rate of every batch of `fit`, restarts included, laid down in tables."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_sgdr._checks import integer, invalid, one_of, whole
from keras_sgdr._text import CycleRows, call_of
from keras_sgdr.callbacks.fit_context import (
    check_schedule,
    fits_steps,
    known_steps,
    move_to_front,
    other_callbacks,
    print_line,
    question_order,
    refuse_other_rate_setters,
    warn_of_early_stopping,
    warn_of_mid_cycle,
    write_rates,
)
from keras_sgdr.callbacks.step.groups import Multipliers, check_multipliers
from keras_sgdr.callbacks.step.slots import check_optimizers
from keras_sgdr.callbacks.training import Training
from keras_sgdr.callbacks.unfreezing import Unfreeze, Unfreezing, check_unfreeze
from keras_sgdr.schedules import Schedule, WarmRestarts
from keras_sgdr.schedules.exact import MOST_RATES, Epochs, FloatArray, check_fraction, to_fraction, to_json
from keras_sgdr.schedules.peaks import Rates
from keras_sgdr.snapshots import Manifest, Snapshot

__all__ = ["SGDR"]


@keras.saving.register_keras_serializable("keras_sgdr")
class SGDR(keras.callbacks.Callback):
    """Stochastic gradient descent with warm restarts, in `fit`.

    Every update is made at the learning rate of equation (5) of arXiv 1608.03983 at its position in epochs, rounded to
    the optimizer's precision, under any `steps_per_execution`, on every backend. The rates are looked up inside the
    compiled step. The position follows the epoch that Keras announces, so `initial_epoch`, a second `fit` and a
    restored run continue where they should. When `fit` ends, the optimizer has its own learning rate again.

    What is logged is what was applied: the optimizer's own count of updates is held against the batches at the end of
    each epoch, and `fit` stops with an error where the two do not agree, or where something else sets the rate.

    Logs `learning_rate`, the rate of the epoch's last update (with several optimizers also `learning_rate_<name>`, with
    `rate_multipliers` also `learning_rate_<pattern>`), before other callbacks read the logs. A `TensorBoard` callback
    gets the rate of every update too, as `batch_learning_rate`.

    Example:

    >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    >>> sgdr = SGDR(T_0=10, T_mult=2)
    >>> history = model.fit(x, y, epochs=70, callbacks=[sgdr])
    >>> [(row["last_epoch"], row["loss"]) for row in sgdr.cycles]

    In a loop of your own, let a `keras.callbacks.CallbackList` call its hooks. A step that you compile must be compiled
    after `on_train_begin`. On JAX, take `optimizer.variables` after `on_epoch_begin`, and assign them before its end.

    Args:
        T_0: Length of the first cycle in epochs; may be a fraction. None: the epochs of `fit` hold `cycle_limit`
            cycles exactly, three where there is no limit.
        T_mult: Factor from one cycle's length to the next.
        eta_max: Learning rate at every restart, or a list with one for each cycle. None takes the optimizer's own
            rate; with several optimizers, each one's own.
        eta_min: Learning rate that a cycle anneals to, or a list with one for each cycle.
        eta_max_decay: Factor on `eta_max` at each restart.
        eta_min_decay: Factor on `eta_min` at each restart.
        warmup: Epochs of linear rise before the first cycle.
        cycle_limit: Number of cycles, after which `eta_min` is held.
        end: `"exclusive"` or `"inclusive"`; see `WarmRestarts`.
        per: `"batch"`, or `"epoch"` to hold through each epoch the rate at its start.
        steps_per_epoch: Batches in an epoch, needed only where Keras does not know it.
        updates_per_batch: How often the training step applies the optimizer: 2 for twice per batch, `Fraction(1, 2)`
            for every second batch. (Not for `gradient_accumulation_steps`: the optimizer is given every batch then.)
        rate_multipliers: For layers with rates of their own, multiples of the schedule's: a dictionary such as
            `{"head": 1.0, "conv5": 0.3, "*": 0.1}`, or a function of a variable that returns its multiplier. A pattern
            is the name of a layer, or the beginning of several, up to a `_`; `*` stands for anything. The first that
            matches counts, and what none matches has 1. What has 0 is neither updated nor decayed.
        unfreeze: Layers that become trainable at a restart, such as `{1: "conv5", 2: "*"}`: those of the pattern (or of
            a list of some) at the first restart, and so on. The training step is compiled anew then, and the optimizer
            takes up their variables, and keeps what it knows of the others. A `fit` with an `initial_epoch` begins with
            what the restarts before it have unfrozen.
        optimizer: The optimizer whose rate is set, or a list of them; None for that of `compile`.
        schedule: A `Schedule`, such as a `StepDecay` or one of `WarmRestarts.plan`, in place of all the values from
            `T_0` to `end`. `SGDR(...)` is `SGDR(schedule=WarmRestarts(...))`.
        verbose: 1 prints a line at each restart.

    Raises:
        ValueError: At construction, for a value out of range. When training begins, before anything has changed, if the
            steps per epoch are unknown, another callback sets the rate, the model is not compiled, the optimizer has no
            float rate of its own, or cannot hold the schedule's. At the end of an epoch whose updates or batches are
            not as many as the schedule was made for. Whenever something else sets the rate.
    """

    def __init__(
        self,
        T_0: Epochs | None = None,
        T_mult: Epochs = 2,
        eta_max: Rates | None = None,
        eta_min: Rates = 0.0,
        *,
        eta_max_decay: float = 1.0,
        eta_min_decay: float = 1.0,
        warmup: Epochs = 0.0,
        cycle_limit: int | None = None,
        end: Literal["exclusive", "inclusive"] = "exclusive",
        per: Literal["batch", "epoch"] = "batch",
        steps_per_epoch: float | None = None,
        updates_per_batch: Epochs = 1,
        rate_multipliers: Multipliers | None = None,
        unfreeze: Unfreeze | None = None,
        optimizer: Any = None,
        schedule: Schedule | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        question_order(T_0, T_mult, eta_max)
        one_of("per", per, ("batch", "epoch"))
        steps: Any = whole(steps_per_epoch)
        integer("steps_per_epoch", steps, "Pass the number of batches in an epoch.", most=MOST_RATES, optional=True)
        fix = "Pass how often the training step applies the optimizer, such as 2 or Fraction(1, 2)."
        check_fraction("updates_per_batch", updates_per_batch, fix, unit="", most=1000)
        check_multipliers(rate_multipliers)
        check_unfreeze(unfreeze)
        check_optimizers(optimizer)
        options: dict[str, Any] = {
            "T_0": T_0,
            "T_mult": T_mult,
            "eta_max": eta_max,
            "eta_min": eta_min,
            "eta_max_decay": eta_max_decay,
            "eta_min_decay": eta_min_decay,
            "warmup": warmup,
            "cycle_limit": cycle_limit,
            "end": end,
        }
        if schedule is not None:
            check_schedule(schedule, [name for name in options if not np.array_equal(options[name], _DEFAULTS[name])])
        self._given = schedule
        self._schedule: Any = WarmRestarts(**options) if schedule is None else schedule
        self.per = per
        self.steps_per_epoch = None if steps is None else int(steps)
        self.updates_per_batch = to_fraction(updates_per_batch)
        self.rate_multipliers = rate_multipliers
        self.unfreeze = unfreeze
        self.optimizer = optimizer
        self.verbose = verbose
        self.snapshot_folder: Path | None = None  # Set by `SnapshotCheckpoint`.
        self._training: Training | None = None
        self._unfreezing: Unfreezing | None = None

    @property
    def schedule(self) -> Schedule:
        """The schedule; during and after training that of the `fit`, of the first optimizer where there are several."""
        return self._schedule if self._training is None else self._training.schedules[0]

    @property
    def cycles(self) -> CycleRows:
        """During and after training a dict for each cycle that was run, with rates of the first optimizer."""
        return CycleRows() if self._training is None else self._training.rows

    @property
    def rates(self) -> FloatArray:
        """During and after training the learning rate of each update that was made, in order, shape `(updates,)`. In
        the precision of the optimizer, of the first where there are several; also after an exception.
        """
        return np.zeros(0) if self._training is None else self._training.rates

    @property
    def rates_per_epoch(self) -> int:
        """During and after training: positions in an epoch that have a rate, 1 where it is held through the epoch."""
        return 1 if self._training is None else self._training.grid

    @property
    def batches_run(self) -> int:
        """During training: the batches of the present epoch that were run."""
        return self._live.batches_run()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._training is not None:
            self._training.make_way()
        self._training = self._unfreezing = None
        refuse_other_rate_setters(self)
        steps, from_fit = known_steps(self.params, self.steps_per_epoch, self.per)
        epochs = int(self.params["epochs"])
        if epochs < 1:
            return
        training = Training(
            self.model,
            self.optimizer,
            self._schedule,
            epochs=epochs,
            steps=steps,
            per=self.per,
            per_batch=self.updates_per_batch,
            steps_from_fit=from_fit,
            may_run_out=fits_steps(self.model) is not None,
            multipliers=self.rate_multipliers,
        )
        if self.unfreeze is not None:
            self._unfreezing = Unfreezing(self.unfreeze, self.model, self.optimizer, training.schedules[0])
        warn_of_mid_cycle(training.schedules[0], epochs)
        warn_of_early_stopping(self, training.schedules[0], epochs)
        self._training = training
        training.install()
        move_to_front(self)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        training = self._live
        if self._unfreezing is not None and (due := self._unfreezing.due(epoch)):
            unfreeze = self._unfreezing.unfreeze
            training.change(lambda: unfreeze(due))
            if self.verbose:
                print_line(f"Epoch {epoch + 1}: trainable from here: {', '.join(due)}")
        training.begin_epoch(epoch)
        if self.verbose:
            for cycle, rate in training.restarts(epoch):
                begun = f"cycle {cycle.index + 1} of {float(cycle.length):g} epochs, learning rate from {rate:.4g}"
                print_line(f"Epoch {epoch + 1}: warm restart, {begun}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        training = self._live
        metrics = {name: value for name, value in logs.items() if not name.startswith("learning_rate")}
        logs.update(training.end_epoch(metrics))
        boards = [each for each in other_callbacks(self) if isinstance(each, keras.callbacks.TensorBoard)]
        for board in boards:
            write_rates(board, training.rates_of_last_epoch, epoch * training.updates_per_epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._training is not None:
            self._live.end()

    @property
    def _live(self) -> Training:
        if self._training is None or not self._training.is_live:
            rule = "`SGDR` acts between the begin and the end of a training."
            raise RuntimeError(f"{rule} Received: an epoch outside one. In a loop of your own call `on_train_begin()`.")
        return self._training

    def recommend(self) -> dict[str, Snapshot]:
        """The snapshots to take: `"last"`, that of the last cycle end, which the paper recommends (section 3), and
        `"best"` by the `monitor` of the `SnapshotCheckpoint`.

        Raises:
            ValueError: If no `SnapshotCheckpoint` followed this callback, nothing was saved, or a snapshot lacks the
                metric.
        """
        manifest = None if self.snapshot_folder is None else Manifest.read(self.snapshot_folder)
        if manifest is None or not manifest.snapshots:
            raise invalid(
                "`recommend` chooses among the snapshots of a `SnapshotCheckpoint`.",
                "none that was saved in a `fit` of this callback",
                "Add `SnapshotCheckpoint(...)` to the callbacks.",
            )
        (last,), (best,) = manifest.last(), manifest.best()
        return {"last": last, "best": best}

    def __repr__(self) -> str:
        names = self._schedule.get_config() if self._given is None else ()
        return call_of(self, {"schedule": self._given, **{name: getattr(self._schedule, name) for name in names}})

    def get_config(self) -> dict[str, Any]:
        """The arguments, without `optimizer`: it belongs to a model."""
        options = {
            "per": self.per,
            "steps_per_epoch": self.steps_per_epoch,
            "updates_per_batch": to_json(self.updates_per_batch),
            "rate_multipliers": keras.saving.serialize_keras_object(self.rate_multipliers),
            "unfreeze": None if self.unfreeze is None else [[each, self.unfreeze[each]] for each in self.unfreeze],
            "verbose": self.verbose,
        }
        given = {"schedule": keras.saving.serialize_keras_object(self._given)} if self._given is not None else None
        return {**(given or self._schedule.get_config()), **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SGDR:
        config = dict(config)
        config["rate_multipliers"] = keras.saving.deserialize_keras_object(config.get("rate_multipliers"))
        config["unfreeze"] = dict(config["unfreeze"]) if config.get("unfreeze") else None
        if "schedule" in config:
            config["schedule"] = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**config)


_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(SGDR.__init__).parameters.items()}
