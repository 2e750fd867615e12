"""One training under `SGDR`: what the tables hold in each epoch, what was applied of it, and the record of that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Literal

import keras
import numpy as np

from keras_sgdr._checks import invalid
from keras_sgdr._text import CycleRows
from keras_sgdr.callbacks.cycle_record import CycleRecord
from keras_sgdr.callbacks.step.groups import Multipliers
from keras_sgdr.callbacks.step.optimizer_swap import OptimizerSwap
from keras_sgdr.callbacks.step.rate_table import cycle_lengths
from keras_sgdr.callbacks.step.slots import Slot, slots_of
from keras_sgdr.callbacks.step.update_count import batches_run, refuse_count, refuse_length
from keras_sgdr.schedules import Cycle, Schedule
from keras_sgdr.schedules.exact import FloatArray, check_precision

__all__ = ["Training"]

_TABLE = 1 << 20  # Rates held at a time, so that a `fit` of any number of epochs needs a few megabytes.


class Training:
    """A training from its begin to its end. Making one changes nothing.

    An update's position is counted on a grid, finer than batches where there are several updates in each: entry `k` of
    an epoch of the table is the rate at the `stride * k`-th of the epoch's `grid` positions.

    Args:
        model: The model.
        optimizer: The optimizer or the optimizers whose rate is set; None for the model's own.
        schedule: Their schedule, before it knows the `fit`.
        epochs: Epochs at whose end the training ends.
        steps: Batches in an epoch, None where they are unknown.
        per: Whether each update has a rate of its own, or each epoch.
        per_batch: Updates per batch.
        steps_from_fit: Whether Keras told the number of batches, not the user.
        may_run_out: Whether the data may end before an epoch has all its batches.
        multipliers: Of the rates of groups of variables.

    Attributes:
        schedules: That of each optimizer.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        schedule: Schedule,
        *,
        epochs: int,
        steps: int | None,
        per: Literal["batch", "epoch"],
        per_batch: Fraction,
        steps_from_fit: bool,
        may_run_out: bool,
        multipliers: Multipliers | None = None,
    ) -> None:
        self._model, self._multipliers = model, multipliers
        self._swap = OptimizerSwap(model, slots_of(model, optimizer), self._keep_applied, multipliers)
        if steps is None and any(slot.name == "cycle_updates" for slot in self._swap.slots):
            raise invalid(
                "`AdamWR` normalises its decay by the updates of a cycle, so `SGDR` needs the number of batches in an "
                "epoch, and Keras does not know it for this data.",
                "steps_per_epoch=None",
                "Pass `steps_per_epoch` to `SGDR` or to `fit`.",
            )
        self.schedules = [schedule.for_fit(epochs, rate) for rate in self._swap.rates]
        self._epochs, self._steps, self._per_batch = epochs, steps, per_batch
        self._steps_from_fit, self._may_run_out = steps_from_fit, may_run_out
        self._holds = per == "epoch"
        # Rates that are held are looked up anew in each epoch, however many updates it has.
        self._stride = 1 if self._holds else per_batch.denominator
        self.grid = 1 if self._holds or steps is None else per_batch.numerator * steps
        self._entries = -(-self.grid // self._stride)
        self._record = CycleRecord(self.schedules[0], (steps or 1) if self._holds else self.grid, self._stride)
        self._window = range(0)
        self._window_epochs = 1 if self._holds else min(max(_TABLE // self._entries, 1), max(epochs, 1))
        self._applied: list[FloatArray] = []
        self._epoch: int | None = None
        self._epochs_run = 0
        self._logged: dict[str, float] = {}
        self._ended: list[int] | None = None

    def install(self) -> None:
        """Let the optimizers read their rates from tables."""
        self._swap.install(self._window_epochs * self._entries)

    def change(self, change: Callable[[], None]) -> None:
        """Between two epochs, change the model and its optimizer. The training goes on with what they are then."""
        self._swap.check()
        self._check_between()
        self._swap.remove()
        change()
        self._swap = OptimizerSwap(self._model, self._swap.slots, self._keep_applied, self._multipliers)
        self._window, self._ended = range(0), None
        self.install()

    def end(self) -> None:
        """Give the optimizers their own rates back, if nothing else has set them."""
        self._swap.check()
        self.remove()

    def remove(self) -> None:
        """Give the optimizers their own rates back."""
        self._swap.remove()

    def make_way(self) -> None:
        """End it for the next one of the same callback, unless its `fit` goes on.

        Raises:
            ValueError: If it does.
        """
        if self._swap.goes_on:
            rule = "An `SGDR` serves one training at a time."
            raise invalid(rule, "a training within another", "Make one for each.")
        self.remove()

    @property
    def rows(self) -> CycleRows:
        """A dict for each cycle that was run; see `SGDR.cycles`."""
        return self._record.rows

    @property
    def is_live(self) -> bool:
        """Whether the optimizers read their rates from its tables."""
        return bool(self._swap.tables)

    def begin_epoch(self, epoch: int) -> None:
        """Let the next update be the epoch's first."""
        self._swap.check()
        self._check_between()
        if epoch not in self._window:
            self._window = range(epoch, max(min(epoch + self._window_epochs, self._epochs), epoch + 1))
            self._rates = self._rates_of(self.schedules[0])
            self._swap.fill(self._values_of)
        self._swap.check_own_values()
        self._swap.begin_epoch(self._first_entry(epoch))
        self._epoch = epoch

    def restarts(self, epoch: int) -> Iterator[tuple[Cycle, float]]:
        """The cycles that begin in an epoch, and the rate of each one's first update."""
        for cycle, update in self._record.begun_in(epoch):
            yield cycle, self._rate(epoch, update)

    def end_epoch(self, metrics: dict[str, Any]) -> dict[str, float]:
        """Close the epoch. Returns the rates of its last update, as they are logged.

        Raises:
            ValueError: If what was run is not what the schedule was made for.
        """
        assert self._epoch is not None
        epoch, swap = self._epoch, self._swap
        swap.check()
        swap.check_own_values()
        swap.check_reading()
        counts = swap.updates()
        batches = self._check_count(epoch, counts)
        updates = self._updates(counts[0])
        last = max(self._first_entry(epoch) + (0 if self._holds else updates - 1), 0)
        swap.end_epoch(last)
        self._ended = counts
        fraction = 1 if self._steps is None else Fraction(min(batches, self._steps), self._steps)
        self._record.add(epoch, fraction, None if self._holds else updates, metrics, lambda i: self._rate(epoch, i))
        self._keep_applied(updates)
        self._epochs_run += 1
        if updates or not self._logged:
            self._logged = self._rates_at(last)
        if not batches:
            # Keras on JAX puts back the state of the epoch before, and with it what the tables held then.
            self._window = range(0)
        return self._logged

    def _rates_at(self, entry: int) -> dict[str, float]:
        """That of the first optimizer, and where there are several, of each, and of each group of its variables."""
        swap = self._swap
        rates = [(slot, table) for slot, table in zip(swap.slots, swap.tables, strict=True) if slot.is_rate]
        logged = {"learning_rate": float(rates[0][1].entries(entry, entry + 1)[0])}
        for slot, table in rates:
            name = f"learning_rate_{slot.optimizer.name}" if len(rates) > 1 else "learning_rate"
            logged[name] = float(table.entries(entry, entry + 1)[0])
            for group, multiplier in swap.groups[slot.number].names.items() if swap.groups else ():
                logged[f"{name}_{group}"] = float(table.entries(entry, entry + 1, multiplier)[0])
        return logged

    def batches_run(self) -> int:
        """Batches of the present epoch that were run, 0 where the updates fit no number of batches."""
        return self._batches(self._swap.updates()[0], short=True) or 0

    @property
    def rates(self) -> FloatArray:
        """What was applied, update by update."""
        applied = [*self._applied, *self._present()]
        return np.concatenate(applied) if applied else np.zeros(0)

    @property
    def rates_of_last_epoch(self) -> FloatArray:
        """Those of the epoch that `end_epoch` closed."""
        return self._applied[-1]

    @property
    def updates_per_epoch(self) -> int:
        """Updates in an epoch, rounded up; 1 where the number of its batches is unknown."""
        return math.ceil((self._steps or 1) * self._per_batch)

    # What the tables hold.

    def _first_entry(self, epoch: int) -> int:
        return (epoch - self._window.start) * self._entries

    def _rates_of(self, schedule: Schedule) -> FloatArray:
        """The entries of the window's epochs."""
        rates = schedule.learning_rates(self._window.stop, self.grid, self._window.start)
        return rates.reshape(-1, self.grid)[:, :: self._stride].ravel()

    def _values_of(self, slot: Slot) -> FloatArray:
        """What the table of a slot holds: the rates of the window's updates, or the updates in the cycle of each."""
        schedule = self.schedules[slot.number]
        if slot.is_rate:
            rates = self._rates_of(schedule)
            multipliers = self._swap.groups[slot.number].shape.multipliers if self._swap.groups else (1.0,)
            try:
                for multiplier in multipliers:
                    check_precision(multiplier * rates, keras.backend.standardize_dtype(slot.variable.dtype))
            except ValueError:
                self.remove()
                raise
            return rates
        assert self._steps is not None
        positions = range(self._window.start * self.grid, self._window.stop * self.grid)
        lengths = cycle_lengths(schedule, positions, self.grid).reshape(-1, self.grid)[:, :: self._stride].ravel()
        # A cycle shorter than an update, where there is one, decays as one of an update.
        updates = np.where(np.isnan(lengths), self._epochs, lengths) * self._steps * float(self._per_batch)
        return np.maximum(updates, 1) / (slot.optimizer.gradient_accumulation_steps or 1)

    def _rate(self, epoch: int, update: int) -> float:
        """Before rounding, of the first optimizer."""
        return float(self._rates[self._first_entry(epoch) + (0 if self._holds else update)])

    # What was run.

    def _batches(self, updates: int, *, short: bool) -> int | None:
        return batches_run(updates, self._swap.step, self._per_batch, self._steps, short=short)

    def _check_between(self) -> None:
        """Check that no update was made since the last epoch ended."""
        for slot, before, now in zip(self._swap.slots, self._ended or [], self._swap.updates(), strict=False):
            if now > before:
                raise invalid(
                    "Between two epochs there is no learning rate for an update.",
                    f"{now - before} updates of the optimizer {slot.optimizer.name!r} between them",
                    "Make them inside an epoch, or with another optimizer.",
                )

    def _check_count(self, epoch: int, counts: list[int]) -> int:
        """The batches that were run, if they and the updates are those that the schedule was made for."""
        swap, steps, step = self._swap, self._steps, self._swap.step
        # An execution that has found fewer batches is told from a step that makes fewer updates by the epoch before.
        batches = self._batches(counts[0], short=self._epochs_run > 0)
        executed = step.batches if step is not None and step.batches else (steps or 0)
        if steps is not None and step is not None and steps < executed < steps + step.last:
            executed = steps  # The last execution had room for more.
        if not getattr(self._model, "trainable_variables", True):
            return executed  # Keras makes no updates then.
        for slot, updates in zip(swap.slots, counts, strict=True):
            fits = batches is not None and batches == batches_run(updates, step, self._per_batch, batches, short=False)
            fits &= bool(updates) or not swap.by_hand
            if executed and not fits:
                is_several = step is not None and step.last > 1
                refuse_count(slot.optimizer.name, updates, executed, self._per_batch, epoch, is_several=is_several)
        batches = executed if batches is None else batches
        stopped = bool(getattr(self._model, "stop_training", False)) or self._may_run_out
        if steps is not None and not self._holds and (batches > steps or (batches < steps and not stopped)):
            refuse_length(batches, steps, epoch, from_fit=self._steps_from_fit)
        return batches

    def _updates(self, counted: int) -> int:
        """Updates of the epoch, without an attempt that found no data."""
        batches = self._batches(counted, short=True)
        return counted if batches is None else min(counted, math.ceil(batches * self._per_batch))

    def _present(self, updates: int | None = None) -> list[FloatArray]:
        """The rates of the present epoch that were applied so far, if there is one."""
        if self._epoch is None:
            return []
        table, first = self._swap.tables[0], self._first_entry(self._epoch)
        updates = self._updates(self._swap.updates()[0]) if updates is None else updates
        return [np.repeat(table.entries(0, 1), updates) if self._holds else table.entries(first, first + updates)]

    def _keep_applied(self, updates: int | None = None) -> None:
        self._applied += self._present(updates)
        self._epoch = None
