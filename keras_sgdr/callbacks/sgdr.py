"""The SGDR callback."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import keras
import numpy as np

from keras_sgdr.arguments import Epochs, FloatArray
from keras_sgdr.callbacks.cycle_lengths import cycle_lengths
from keras_sgdr.callbacks.installation import Installation
from keras_sgdr.callbacks.position import cycles_of, ends_in
from keras_sgdr.callbacks.surroundings import refuse_companions
from keras_sgdr.cycles import Cycle, Schedule, WarmRestarts
from keras_sgdr.snapshots import Manifest, Mode, Snapshot

__all__ = ["SGDR"]


class Snapshots(Protocol):
    """What `SGDR` knows of a `SnapshotCheckpoint`."""

    monitor: str
    mode: Mode

    @property
    def manifest(self) -> Manifest: ...


_TABLE = 1 << 20  # rates held at a time, so that a `fit` of any number of epochs needs a few megabytes


@keras.saving.register_keras_serializable("keras_sgdr")
class SGDR(keras.callbacks.Callback):
    """Stochastic gradient descent with warm restarts, in `fit`.

    Every batch is applied with the learning rate of equation (5) of arXiv 1608.03983 at its position in epochs,
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
        T_0: Length of the first cycle in epochs; may be a fraction.
        T_mult: Factor from one cycle's length to the next.
        eta_max: Learning rate at every restart, or a list of one a cycle. None takes the optimizer's own rate; with a
            `MultiOptimizer`, each optimizer's own.
        eta_min: Learning rate that a cycle anneals to, or a list of one a cycle.
        eta_max_decay: Factor on `eta_max` at each restart.
        eta_min_decay: Factor on `eta_min` at each restart.
        warmup: Epochs of linear rise before the first cycle.
        cycles: Number of cycles, after which `eta_min` is held.
        end: `"exclusive"` or `"inclusive"`; see `WarmRestarts`.
        per: `"batch"`, or `"epoch"` to hold through each epoch the rate of its begin.
        steps_per_epoch: Batches an epoch, needed only where Keras does not know it.
        schedule: A `WarmRestarts`, `StepDecay` or anything with their interface, in place of all the values above
            but `per`.
        verbose: 1 prints a line at each restart.

    Attributes:
        cycles: After (and during) training a row a cycle that was run, a dict of `index`, `first_epoch`,
            `last_epoch` (from 0, as in `history.epoch`), `length` (epochs), `first_rate`, `last_rate` (of the updates
            that were run, of the first optimizer; before rounding to its precision), `complete` (False where training
            ended in mid-cycle), and the metrics of its last epoch. Warmup is a row of index -1.

    Raises:
        ValueError: At construction, for a value out of range. When `fit` begins, before anything has changed, if the
            steps per epoch are unknown, another callback sets the learning rate, the model is not compiled, or the
            optimizer has no float learning rate.
    """

    def __init__(
        self,
        T_0: Epochs = 10,
        T_mult: Epochs = 2,
        eta_max: float | Sequence[float] | None = None,
        eta_min: float | Sequence[float] = 0.0,
        *,
        eta_max_decay: float = 1.0,
        eta_min_decay: float = 1.0,
        warmup: Epochs = 0.0,
        cycles: int | None = None,
        end: Literal["exclusive", "inclusive"] = "exclusive",
        per: Literal["batch", "epoch"] = "batch",
        steps_per_epoch: int | None = None,
        schedule: Schedule | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        if per not in ("batch", "epoch"):
            raise ValueError(f'`per` must be "batch" or "epoch". Received: per={per!r}. Pass one of the two.')
        if steps_per_epoch is not None and (not isinstance(steps_per_epoch, int | np.integer) or steps_per_epoch < 1):
            raise ValueError(
                f"`steps_per_epoch` must be a positive integer or None. Received: steps_per_epoch={steps_per_epoch!r}. "
                "Pass the number of batches in an epoch, or None where Keras knows it."
            )
        self._options: dict[str, Any] = {
            "T_0": T_0,
            "T_mult": T_mult,
            "eta_max": eta_max,
            "eta_min": eta_min,
            "eta_max_decay": eta_max_decay,
            "eta_min_decay": eta_min_decay,
            "warmup": warmup,
            "cycles": cycles,
            "end": end,
        }
        self._given = schedule
        if schedule is None:
            # Validates all that can be before the optimizer's rate is known.
            floors = eta_min if isinstance(eta_min, Sequence | np.ndarray) else [eta_min]
            stand_in = max([1.0, *(f for f in floors if isinstance(f, int | float) and math.isfinite(f))])
            checked = WarmRestarts(**{**self._options, "eta_max": stand_in if eta_max is None else eta_max})
            self._options = {**checked.get_config(), "eta_max": None if eta_max is None else checked.eta_max}
        else:
            given = {name: value for name, value in self._options.items() if value != _DEFAULTS[name]}
            if given:
                raise ValueError(
                    f"`schedule` takes the place of the cycles' values. Received: schedule={schedule!r} and {given}. "
                    "Leave out one of the two."
                )
        self.per = per
        self.steps_per_epoch = steps_per_epoch
        self.verbose = verbose
        self.cycles: list[dict[str, Any]] = []
        self.snapshots: Snapshots | None = None
        self._installation: Installation | None = None
        self._steps: int | None = None

    def schedule_for(self, own_rate: float) -> Schedule:
        """The schedule of an optimizer whose own learning rate is `own_rate`."""
        if self._given is not None:
            return self._given
        eta_max = self._options["eta_max"]
        return WarmRestarts(**{**self._options, "eta_max": own_rate if eta_max is None else eta_max})

    @property
    def schedule(self) -> Schedule:
        """During and after training: the schedule, of the first optimizer where there are several."""
        return self._schedules[0]

    @property
    def rates_per_epoch(self) -> int:
        """During and after training: rates in an epoch, one a batch, or 1 where it is held through the epoch."""
        return (self._steps or 1) if self.per == "batch" else 1

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if self._installation is not None:
            self._installation.remove()
        refuse_companions(self)
        self._steps = self._steps_per_epoch()
        self._epochs = int(self.params["epochs"])
        installation = Installation(self.model)
        if self._steps is None and any(installation.follow_cycles):
            raise ValueError(
                "`AdamWR` normalises its decay by the updates of a cycle, so `SGDR` needs the number of batches in an "
                "epoch, and Keras does not know it for this data. Received: steps_per_epoch=None. "
                "Pass `steps_per_epoch` to `SGDR` or to `fit`."
            )
        self._schedules = [self.schedule_for(rate) for rate in installation.own_rates]
        self._warn_of_mid_cycle()
        self.cycles = []
        self._window = range(0)
        self._window_epochs = min(max(_TABLE // (self._steps or 1), 1), max(self._epochs, 1))
        size = self._window_epochs * (self._steps or 1)
        installation.install(size, counts_batches=self._steps is not None)
        self._installation = installation

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        installed, steps = self._installed, self._steps or 1
        if epoch not in self._window:
            self._window = range(epoch, epoch + self._window_epochs)
            tables = [self._table(schedule) for schedule in self._schedules]
            self._rates = tables[0]
            installed.fill(
                tables,
                [
                    self._batches_of_cycles(schedule) if follows else None
                    for schedule, follows in zip(self._schedules, installed.follow_cycles, strict=True)
                ],
            )
        installed.place((epoch - self._window.start) * steps)
        if self.verbose:
            for cycle, updates in self._cycles_of(epoch):
                if cycle.start >= epoch and cycle.index >= 0 and math.isfinite(cycle.length):
                    print(
                        f"Epoch {epoch + 1}: warm restart, cycle {cycle.index + 1} of {cycle.length:g} epochs, "
                        f"learning rate from {self._rates[updates.start]:.4g}"
                    )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        reached, rates = self._installed.rest((epoch + 1 - self._window.start) * (self._steps or 1))
        logs = {} if logs is None else logs
        logs["learning_rate"] = rates[0][1]
        if len(rates) > 1:
            logs.update({f"learning_rate_{name}": rate for name, rate in rates})
        self._record(epoch, logs, reached)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self._installed.remove()
        self._installation = None

    @property
    def _installed(self) -> Installation:
        if self._installation is None:
            raise RuntimeError(
                "`SGDR` acts between the begin and the end of a training. Received: an epoch outside one. "
                "In a loop of your own call `on_train_begin()` first."
            )
        return self._installation

    def _steps_per_epoch(self) -> int | None:
        known = self.params.get("steps")
        if known is None and self.steps_per_epoch is None and self.per == "batch":
            raise ValueError(
                "`SGDR` needs the number of batches in an epoch, and Keras does not know it for this data. "
                "Received: steps_per_epoch=None. Pass `steps_per_epoch` to `SGDR` or to `fit`, or use "
                '`SGDR(per="epoch")`.'
            )
        if known is not None and self.steps_per_epoch not in (None, known):
            raise ValueError(
                f"`steps_per_epoch` must be what `fit` runs. Received: steps_per_epoch={self.steps_per_epoch}, while "
                f"`fit` runs {known}. Leave it out: Keras knows it for this data."
            )
        steps = self.steps_per_epoch if known is None else known
        return None if steps is None else int(steps)

    def _table(self, schedule: Schedule) -> FloatArray:
        """The rates of the window's updates; of its epochs where the steps are unknown."""
        begin, end = self._window.start, max(min(self._window.stop, self._epochs), self._window.start + 1)
        if self.per == "batch" and self._steps is not None:
            return schedule.learning_rates(end, self._steps, begin)
        return np.repeat(schedule.learning_rates(end, 1, begin), self._steps or 1)

    def _batches_of_cycles(self, schedule: Schedule) -> FloatArray:
        """For each of the window's updates the batches of its cycle, which normalise the decay of `AdamWR`."""
        assert self._steps is not None
        epochs = range(self._window.start, max(min(self._window.stop, self._epochs), self._window.start + 1))
        held = self._steps if self.per == "epoch" else 1
        return np.repeat(cycle_lengths(schedule, epochs, self._steps // held, self._epochs), held) * self._steps

    def _cycles_of(self, epoch: int) -> Iterator[tuple[Cycle, range]]:
        """The cycles that have updates in an epoch, and those updates' places in the table."""
        steps = self._steps or 1
        origin = self._window.start * steps
        for cycle, updates in cycles_of(self._schedules[0], epoch, steps):
            yield cycle, range(updates.start - origin, updates.stop - origin)

    def _record(self, epoch: int, logs: dict[str, Any], reached: int) -> None:
        steps = self._steps or 1
        for cycle, updates in self._cycles_of(epoch):
            run = range(updates.start, min(updates.stop, reached))
            if not run:
                break
            if not self.cycles or self.cycles[-1]["index"] != cycle.index:
                self.cycles.append(
                    {
                        "index": cycle.index,
                        "first_epoch": epoch,
                        "last_epoch": epoch,
                        "length": cycle.length,
                        "first_rate": float(self._rates[run[0]]),
                    }
                )
            self.cycles[-1].update(
                {
                    "last_epoch": epoch,
                    "last_rate": float(self._rates[run[-1]]),
                    "complete": run == updates and ends_in(cycle, epoch, steps),
                    **{name: value for name, value in logs.items() if not name.startswith("learning_rate")},
                }
            )

    def _warn_of_mid_cycle(self) -> None:
        epochs = self._epochs
        cycle = self._schedules[0].cycle_at(epochs)
        if cycle.T_cur == 0 or math.isinf(cycle.length):
            return
        before = [int(end) for end in self._schedules[0].cycle_ends(epochs) if end == int(end)][-1:]
        after = []
        for _ in range(1000):
            end = cycle.start + cycle.length
            if end == int(end):
                after = [int(end)]
                break
            cycle = self._schedules[0].cycle_at(end)
            if math.isinf(cycle.length):
                break
        warnings.warn(
            f"`epochs={epochs}` ends training in mid-cycle, where the learning rate has not come down. "
            f"The nearest numbers of epochs that end a cycle: {' and '.join(map(str, before + after)) or 'none'}.",
            stacklevel=2,
        )

    def recommend(self) -> dict[str, Snapshot]:
        """The snapshots to take: `"last"`, that of the last cycle end, which the paper recommends (section 3), and
        `"best"` by the `SnapshotCheckpoint`'s `monitor`.

        Raises:
            ValueError: If no `SnapshotCheckpoint` followed this callback, nothing was saved, or a snapshot lacks the
                metric.
        """
        manifest = None if self.snapshots is None else self.snapshots.manifest
        if self.snapshots is None or manifest is None or not manifest.snapshots:
            raise ValueError(
                "`recommend` chooses among the snapshots of a `SnapshotCheckpoint`. Received: none that was saved in a "
                "`fit` of this callback. Add `SnapshotCheckpoint(...)` to the callbacks."
            )
        (last,), (best,) = manifest.last(), manifest.best(1, self.snapshots.monitor, self.snapshots.mode)
        return {"last": last, "best": best}

    def get_config(self) -> dict[str, Any]:
        own = {"per": self.per, "steps_per_epoch": self.steps_per_epoch, "verbose": self.verbose}
        if self._given is not None:
            return {"schedule": keras.saving.serialize_keras_object(self._given), **own}
        return {**self._options, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SGDR:
        config = dict(config)
        if "schedule" in config:
            config["schedule"] = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(**config)


_DEFAULTS = {name: parameter.default for name, parameter in inspect.signature(SGDR.__init__).parameters.items()}
