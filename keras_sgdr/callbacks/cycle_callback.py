"""Callbacks that act when a cycle is complete."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sgdr.callbacks.position import cycles_of, ends_in
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.callbacks.surroundings import companions
from keras_sgdr.cycles import Cycle

__all__ = ["CycleCallback", "CycleEnd"]


class CycleEnd(NamedTuple):
    """A cycle whose last update has been applied."""

    cycle: Cycle
    epoch: int
    """The epoch that holds its last update, from 0."""
    batches: int | None
    """Updates of that epoch until then; None where the steps of an epoch are unknown."""


class CycleCallback(keras.callbacks.Callback):
    """Base of callbacks that think in cycles: `on_cycle_end` is called after the last update of each.

    A cycle that ends with an epoch is told of in `on_epoch_end`, with that epoch's metrics, validation among them. One
    that ends inside an epoch is told of before the restart's first update, with the running means of the training
    metrics. A cycle that an epoch cut short does not complete is not told of.

    Args:
        sgdr: The `SGDR` callback whose cycles are followed; None finds it among the callbacks of the `fit`.

    Raises:
        ValueError: When `fit` begins, if it has no such `SGDR`, or a cycle of it ends in the midst of an execution of
            several batches.
    """

    def __init__(self, sgdr: SGDR | None = None) -> None:
        super().__init__()
        self._given = sgdr
        self._ends: list[CycleEnd] = []

    def on_cycle_end(self, end: CycleEnd, logs: dict[str, float]) -> None:
        """Called when a cycle is complete.

        Args:
            end: Which, and where.
            logs: Metrics by name, those that are one number.
        """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        found = [one for one in companions(self) if isinstance(one, SGDR) and self._given in (None, one)]
        if not found:
            which = "one" if self._given is None else "the one that was passed"
            raise ValueError(
                f"`{type(self).__name__}` follows the cycles of an `SGDR` callback. Received: a `fit` without {which}. "
                "Add `SGDR(...)` to the callbacks."
            )
        self._followed = found[0]
        self._ends = []
        self._begins = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        steps = self._followed.rates_per_epoch
        # A rate held through the epoch restarts with an epoch, wherever the schedule does.
        self._batches = self.params.get("steps") if steps == 1 else steps
        self._together = int(getattr(self.model, "steps_per_execution", None) or 1)
        self._begun = 0
        self._ends = self._ends_of(epoch)
        if self._begins and self._together > 1:
            # All of them now: not after hours of training.
            for later in range(epoch, int(self.params["epochs"])):
                self._refuse_torn_executions(self._ends_of(later))
        self._begins = False

    def _ends_of(self, epoch: int) -> list[CycleEnd]:
        steps = self._followed.rates_per_epoch
        complete = [
            (cycle, updates.stop - epoch * steps)
            for cycle, updates in cycles_of(self._followed.schedule, epoch, steps)
            if cycle.index >= 0 and ends_in(cycle, epoch, steps)
        ]
        return [CycleEnd(cycle, epoch, self._batches if at == steps else at) for cycle, at in complete]

    def _refuse_torn_executions(self, ends: list[CycleEnd]) -> None:
        for end in ends:
            if end.batches != self._batches and end.batches is not None and end.batches % self._together:
                raise ValueError(
                    f"A cycle that ends inside an epoch must end between two executions. Received: steps_per_execution="
                    f"{self._together}, and cycle {end.cycle.index + 1} ends after batch {end.batches} of epoch "
                    f"{end.epoch + 1}. Compile with steps_per_execution=1, or choose cycles of whole epochs."
                )

    # Not at the end of a batch: that would forbid Keras to leave the batches' ends to another thread.
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = batch
        while self._ends and self._ends[0].batches == batch:
            self.on_cycle_end(self._ends.pop(0), self._running_means())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for end in self._completed():
            self.on_cycle_end(end, _scalars(logs or {}))
        self._ends = []

    def _completed(self) -> list[CycleEnd]:
        """The cycles that the epoch's last batch completed, if it was run."""
        run = self._batches is None or self._begun + self._together >= self._batches
        return [end for end in self._ends if run and end.batches == self._batches]

    def _running_means(self) -> dict[str, float]:
        return _scalars(self.model.get_metrics_result())


def _scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are one number; some are one a class."""
    arrays = {name: np.asarray(ops.convert_to_numpy(value)) for name, value in metrics.items()}
    return {name: float(array.reshape(())) for name, array in arrays.items() if array.size == 1}
