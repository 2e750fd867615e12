"""The SGDR callback: the learning rate of every batch of `fit`, restarts included, laid down in tables."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from keras_sgdr._checks import integer, invalid, one_of, require
from keras_sgdr.callbacks.fit_context import refuse_other_rate_setters
from keras_sgdr.callbacks.optimizer_swap import OptimizerSwap, Slot
from keras_sgdr.callbacks.rate_table import cycle_lengths
from keras_sgdr.schedules import Cycle, Schedule, WarmRestarts
from keras_sgdr.schedules.exact import Epochs, FloatArray
from keras_sgdr.schedules.peaks import Rates
from keras_sgdr.snapshots import Manifest, Snapshot

__all__ = ["SGDR"]

_TABLE = 1 << 20  # Rates held at a time, so that a `fit` of any number of epochs needs a few megabytes.


@keras.saving.register_keras_serializable("keras_sgdr")
class SGDR(keras.callbacks.Callback):
    """Stochastic gradient descent with warm restarts, in `fit`.

    Every batch is applied at the learning rate of equation (5) of arXiv 1608.03983 at its position in epochs,
    rounded to the optimizer's precision, under any `steps_per_execution`, on every backend. The rates are looked up
    inside the compiled step; no Python runs per batch. The position follows the epoch that Keras announces, so
    `initial_epoch`, a second `fit` and a restored run continue where they should. When `fit` ends, the optimizer has
    its own learning rate again.

    Logs `learning_rate`, the rate of the epoch's last update (with several optimizers also `learning_rate_<name>`).
    Callbacks that read it from the logs, such as `CSVLogger`, belong after this one.

    Example:

    >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    >>> sgdr = SGDR(T_0=10, T_mult=2)
    >>> history = model.fit(x, y, epochs=70, callbacks=[sgdr])
    >>> [(row["last_epoch"], row["loss"]) for row in sgdr.cycles]

    Args:
        T_0: Length of the first cycle in epochs; may be a fraction. None: the epochs of `fit` hold `cycle_limit`
            cycles exactly, three where there is no limit.
        T_mult: Factor from one cycle's length to the next.
        eta_max: Learning rate at every restart, or a list with one for each cycle. None takes the optimizer's own
            rate; with a `MultiOptimizer`, each optimizer's own.
        eta_min: Learning rate that a cycle anneals to, or a list with one for each cycle.
        eta_max_decay: Factor on `eta_max` at each restart.
        eta_min_decay: Factor on `eta_min` at each restart.
        warmup: Epochs of linear rise before the first cycle.
        cycle_limit: Number of cycles, after which `eta_min` is held.
        end: `"exclusive"` or `"inclusive"`; see `WarmRestarts`.
        per: `"batch"`, or `"epoch"` to hold through each epoch the rate at its start.
        steps_per_epoch: Batches in an epoch, needed only where Keras does not know it.
        schedule: A `Schedule`, such as a `StepDecay` or one of `WarmRestarts.plan`, in place of all the values above
            but `per` and `steps_per_epoch`. `SGDR(...)` is `SGDR(schedule=WarmRestarts(...))`.
        verbose: 1 prints a line at each restart.

    Attributes:
        cycles: During and after training a dict for each cycle that was run: `index`, `first_epoch`, `last_epoch`
            (from 0, as in `history.epoch`), `length` (epochs), `first_rate`, `last_rate` (of the updates that were
            run, of the first optimizer; before rounding to its precision), `complete` (whether its last update was
            run), and the metrics of its last epoch. Updates that belong to no cycle, as in warmup, have index -1,
            no length and are never complete.

    Raises:
        ValueError: At construction, for a value out of range. When `fit` begins, before anything has changed, if the
            steps per epoch are unknown, another callback sets the learning rate, the model is not compiled, or the
            optimizer has no float learning rate.
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
        steps_per_epoch: int | None = None,
        schedule: Schedule | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        one_of("per", per, ("batch", "epoch"))
        integer("steps_per_epoch", steps_per_epoch, "Pass the number of batches in an epoch, or None.", optional=True)
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
            rule = "`schedule` must be a `keras_sgdr.Schedule`."
            fix = "Pass a `WarmRestarts`, a `StepDecay`, or an instance of a subclass of your own."
            require(isinstance(schedule, Schedule), rule, "schedule", schedule, fix)
            extra = [name for name, value in options.items() if not np.array_equal(value, _DEFAULTS[name])]
            rule = f"`schedule` takes the place of the values of the cycles, such as {', '.join(extra)}."
            require(not extra, rule, "schedule", schedule, "Leave out one of the two.")
        self._given = schedule
        self._schedule: Any = WarmRestarts(**options) if schedule is None else schedule
        self.per = per
        self.steps_per_epoch = steps_per_epoch
        self.verbose = verbose
        self.cycles: list[dict[str, Any]] = []
        self.snapshot_folder: Path | None = None  # Set by `SnapshotCheckpoint`.
        self._schedules = [self._schedule]
        self._swap: OptimizerSwap | None = None
        self._steps: int | None = None

    @property
    def schedule(self) -> Schedule:
        """The schedule; during and after training that of the `fit`, of the first optimizer where there are several."""
        return self._schedules[0]

    @property
    def rates_per_epoch(self) -> int:
        """During and after training: rates in an epoch, one for each batch, or 1 where it is held through the epoch."""
        return (self._steps or 1) if self.per == "batch" else 1

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._swap is not None:
            self._swap.remove()
        refuse_other_rate_setters(self)
        self._steps = self._known_steps()
        self._epochs = int(self.params["epochs"])
        swap = OptimizerSwap(self.model)
        if self._steps is None and any(slot.name == "cycle_updates" for slot in swap.slots):
            raise invalid(
                "`AdamWR` normalises its decay by the updates of a cycle, so `SGDR` needs the number of batches in an "
                "epoch, and Keras does not know it for this data.",
                "steps_per_epoch=None",
                "Pass `steps_per_epoch` to `SGDR` or to `fit`.",
            )
        self._schedules = [self._schedule.for_fit(self._epochs, rate) for rate in swap.rates]
        self._warn_of_mid_cycle()
        self.cycles = []
        self._window = range(0)
        self._window_epochs = min(max(_TABLE // (self._steps or 1), 1), max(self._epochs, 1))
        swap.install(self._window_epochs * (self._steps or 1), counts_batches=self._steps is not None)
        self._swap = swap

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        swap = self._installed
        if epoch not in self._window:
            self._window = range(epoch, max(min(epoch + self._window_epochs, self._epochs), epoch + 1))
            self._rates = self._rates_of(self.schedule)
            swap.fill(self._values_of)
        swap.place((epoch - self._window.start) * (self._steps or 1))
        if self.verbose:
            for cycle, updates in self._cycles_of(epoch):
                if cycle is not None and updates.start == cycle.first:
                    print(
                        f"Epoch {epoch + 1}: warm restart, cycle {cycle.index + 1} of {float(cycle.length):g} epochs, "
                        f"learning rate from {self._rate(updates.start):.4g}"
                    )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        steps = self._steps or 1
        place, rates = self._installed.finish_epoch((epoch + 1 - self._window.start) * steps)
        logs = {} if logs is None else logs
        logs["learning_rate"] = rates[0][1]
        if len(rates) > 1:
            logs.update({f"learning_rate_{name}": rate for name, rate in rates})
        self._record(epoch, logs, self._window.start * steps + place)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._installed.remove()
        self._swap = None

    @property
    def _installed(self) -> OptimizerSwap:
        if self._swap is None:
            rule = "`SGDR` acts between the begin and the end of a training."
            raise RuntimeError(f"{rule} Received: an epoch outside one. In a loop of your own call `on_train_begin()`.")
        return self._swap

    def _known_steps(self) -> int | None:
        """Batches in an epoch, None where they need not be known."""
        known = self.params.get("steps")
        if known is None and self.steps_per_epoch is None and self.per == "batch":
            raise invalid(
                "`SGDR` needs the number of batches in an epoch, and Keras does not know it for this data.",
                "steps_per_epoch=None",
                'Pass `steps_per_epoch` to `SGDR` or to `fit`, or use `SGDR(per="epoch")`.',
            )
        if known is not None and self.steps_per_epoch not in (None, known):
            raise invalid(
                "`steps_per_epoch` must be what `fit` runs.",
                f"steps_per_epoch={self.steps_per_epoch}, while `fit` runs {known}",
                "Leave it out: Keras knows it for this data.",
            )
        steps = self.steps_per_epoch if known is None else known
        return None if steps is None else int(steps)

    def _values_of(self, slot: Slot) -> FloatArray:
        """What the table of a slot holds: the rates of the window's batches, or the updates in the cycle of each."""
        schedule = self._schedules[slot.number]
        if slot.name == "learning_rate":
            return self._rates_of(schedule)
        assert self._steps is not None
        steps = self.rates_per_epoch
        lengths = cycle_lengths(schedule, range(self._window.start * steps, self._window.stop * steps), steps)
        # A cycle shorter than an update, where there is one, decays as one of an update.
        batches = np.maximum(np.where(np.isnan(lengths), self._epochs, lengths) * self._steps, 1)
        return np.repeat(batches, self._steps // steps) / (slot.optimizer.gradient_accumulation_steps or 1)

    def _rates_of(self, schedule: Schedule) -> FloatArray:
        """The rate of each of the window's batches; of its epochs where the steps are unknown."""
        rates = schedule.learning_rates(self._window.stop, self.rates_per_epoch, self._window.start)
        return np.repeat(rates, (self._steps or 1) // self.rates_per_epoch)

    def _cycles_of(self, epoch: int) -> Iterator[tuple[Cycle | None, range]]:
        """The cycles that have updates in an epoch, and those updates, counted from the first of epoch 0."""
        steps = self._steps or 1
        return self.schedule.split(range(epoch * steps, (epoch + 1) * steps), steps)

    def _rate(self, update: int) -> float:
        return float(self._rates[update - self._window.start * (self._steps or 1)])

    def _record(self, epoch: int, logs: dict[str, Any], reached: int) -> None:
        metrics = {name: value for name, value in logs.items() if not name.startswith("learning_rate")}
        for cycle, updates in self._cycles_of(epoch):
            run = range(updates.start, min(updates.stop, reached))
            if not run:
                break
            index = -1 if cycle is None else cycle.index
            if not self.cycles or self.cycles[-1]["index"] != index:
                self.cycles.append(
                    {
                        "index": index,
                        "first_epoch": epoch,
                        "last_epoch": epoch,
                        "length": None if cycle is None else float(cycle.length),
                        "first_rate": self._rate(run[0]),
                    }
                )
            complete = cycle is not None and run.stop == cycle.stop
            self.cycles[-1].update(last_epoch=epoch, last_rate=self._rate(run[-1]), complete=complete, **metrics)

    def _warn_of_mid_cycle(self) -> None:
        cycle = next(self.schedule.cycles_from(self._epochs), None)
        if cycle is not None and cycle.start < self._epochs:
            warnings.warn(
                f"`epochs={self._epochs}` ends training in mid-cycle, where the learning rate has not come down. That "
                f"cycle lasts from {float(cycle.start):g} to {float(cycle.end):g} epochs. Train for as many, or leave "
                "out `T_0`, so that the cycles fill the epochs.",
                stacklevel=2,
            )

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

    def get_config(self) -> dict[str, Any]:
        options = {"per": self.per, "steps_per_epoch": self.steps_per_epoch, "verbose": self.verbose}
        given = {"schedule": keras.saving.serialize_keras_object(self._given)} if self._given is not None else None
        return {**(given or self._schedule.get_config()), **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SGDR:
        config = dict(config)
        if "schedule" in config:
            config["schedule"] = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**config)


_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(SGDR.__init__).parameters.items()}
