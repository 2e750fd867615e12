"""Callbacks that act when a cycle is complete."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import invalid, warn
from keras_sgdr._text import call_of
from keras_sgdr.callbacks.fit_context import other_callbacks
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.schedules import Cycle

__all__ = ["CycleCallback", "CycleEnd"]

# Looked at before the first batch, so that this takes no time however many epochs there are. Where cycles are of one
# length, their ends in an epoch repeat after as many as the denominator of `T_0` says; where they grow, few come later.
MOST_ENDS = 1000


class CycleEnd(NamedTuple):
    """A cycle whose last update has been applied."""

    cycle: Cycle
    epoch: int
    """The epoch that holds its last update, from 0."""
    batches: int | None
    """Updates of that epoch until then; None where the steps of an epoch are unknown."""


class CycleCallback(keras.callbacks.Callback):
    """Base class of callbacks that act at the end of a cycle: `on_cycle_end` is called after the last update of each.

    Where a cycle ends with an epoch, it is called in `on_epoch_end`, with that epoch's metrics, validation among them.
    Where it ends inside an epoch, it is called before the first update after the restart, with the running means of
    the training metrics. It is not called for a cycle that an epoch cut short does not complete.

    Args:
        sgdr: The `SGDR` callback whose cycles are followed; None finds it among the callbacks of the `fit`.

    Raises:
        ValueError: When `fit` begins, if it has no such `SGDR`, or a cycle of it ends inside an execution of several
            batches. At the end of an epoch, if a loop of the user's has not called `on_train_batch_begin` where a cycle
            ended inside it.
    """

    # Whether `weights_of` is to be called: what is validated must be copied for it then.
    takes_weights = False

    def __init__(self, sgdr: SGDR | None = None) -> None:
        super().__init__()
        self._given = sgdr
        self._ends: list[CycleEnd] = []

    def __repr__(self) -> str:
        return call_of(self, {"sgdr": self._given})

    def on_cycle_end(self, end: CycleEnd, logs: dict[str, float]) -> None:
        """Called when a cycle is complete.

        Args:
            end: Which, and where.
            logs: Metrics by name, those that are one number.
        """

    def warn_of_no_cycle(self, missing: str) -> None:
        """Warn, when training ends, of what there is none of because no cycle was completed."""
        warn(
            f"A training must complete a cycle to have {missing}.",
            f"none that was completed, of {self._sgdr!r}",
            "`T_0` is in epochs, not in steps: pass one that is no longer than the training, or leave it out.",
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        candidates = [each for each in other_callbacks(self) if isinstance(each, SGDR) and self._given in (None, each)]
        if not candidates:
            raise invalid(
                f"`{type(self).__name__}` follows the cycles of an `SGDR` callback.",
                f"a `fit` without {'one' if self._given is None else 'the one that was passed'}",
                "Add `SGDR(...)` to the callbacks.",
            )
        self._sgdr = candidates[0]
        self._ends = []
        self._is_first_epoch = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches = self.params.get("steps") or self._sgdr.steps_per_epoch
        self._steps_per_execution = int(getattr(self.model, "steps_per_execution", None) or 1)
        self._ends = self._ends_of(epoch)
        self._validated: list[Any] | None = None
        if self._is_first_epoch and self._steps_per_execution > 1:
            # Now: not after hours of training.
            epochs = int(self.params["epochs"])
            later = itertools.takewhile(lambda end: end.epoch < epochs, self._ends_from(epoch))
            self._refuse_ends_inside_executions(itertools.islice(later, MOST_ENDS))
        self._is_first_epoch = False

    def _ends_of(self, epoch: int) -> list[CycleEnd]:
        """The cycles whose last update is in an epoch."""
        return list(itertools.takewhile(lambda end: end.epoch == epoch, self._ends_from(epoch)))

    def _ends_from(self, epoch: int) -> Iterator[CycleEnd]:
        """The cycles whose last update is in an epoch or later."""
        steps, n = self._sgdr.rates_per_epoch, self._batches
        for cycle in self._sgdr.schedule.cycles_from(epoch * steps, steps):
            if cycle.first < cycle.stop:
                at = (cycle.stop - 1) // steps
                # A rate held through the epoch restarts with an epoch, wherever the schedule does.
                batches = None if n is None else math.ceil((cycle.stop - at * steps) * n / steps)
                yield CycleEnd(cycle, at, batches)

    def _refuse_ends_inside_executions(self, ends: Iterable[CycleEnd]) -> None:
        for end in ends:
            if end.batches != self._batches and end.batches is not None and end.batches % self._steps_per_execution:
                raise invalid(
                    "A cycle that ends inside an epoch must end between two executions.",
                    f"steps_per_execution={self._steps_per_execution}, and cycle {end.cycle.index + 1} ends after "
                    f"batch {end.batches} of epoch {end.epoch + 1}",
                    "Compile with steps_per_execution=1, or choose cycles of whole epochs.",
                )

    # Not at the end of a batch: that would forbid Keras to leave the batches' ends to another thread.
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        while self._ends and self._ends[0].batches == batch:
            self.on_cycle_end(self._ends.pop(0), self._running_means())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for end in self._completed():
            self.on_cycle_end(end, _scalars(logs or {}))
        self._ends = []

    # Not in `on_test_begin`: callbacks that are called after this one may put other weights into the model.
    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.takes_weights and self._ends and self._validated is None and self._completed():
            self._validated = self.model.get_weights()

    def weights_of(self, end: CycleEnd) -> list[Any]:
        """The weights of a cycle's end, as of `model.get_weights`: those that were validated, where they were."""
        if self._validated is not None:
            return self._validated
        with self.as_epochs_end(end):
            weights: list[Any] = self.model.get_weights()
            return weights

    @contextlib.contextmanager
    def as_epochs_end(self, end: CycleEnd) -> Iterator[None]:
        """The weights that the model has once all callbacks have ended the epoch, a later one that swaps them too."""
        swaps = [each for each in other_callbacks(self) if isinstance(each, keras.callbacks.SwapEMAWeights)]
        if end.batches != self._batches:
            swaps = []  # It is inside the epoch.
        # Those that are called before this one have swapped them.
        later = [each for each in swaps if each.swap_on_epoch and not getattr(each, "_ema_weights_in_model", True)]
        for swap in later:
            swap.on_test_begin()
        try:
            yield
        finally:
            for swap in later:
                swap.on_test_end()

    def _completed(self) -> list[CycleEnd]:
        """The cycles whose last update was run since `on_cycle_end` was called last.

        Raises:
            ValueError: If one was followed by updates of the next, so that what it ended with is lost.
        """
        run = self._sgdr.batches_run
        ends = [end for end in self._ends if end.batches is None or end.batches <= run]
        for end in ends:
            if end.batches is not None and end.batches < run:
                raise invalid(
                    "A cycle that ends inside an epoch must be seen before the next one begins.",
                    f"cycle {end.cycle.index + 1}, which ended after batch {end.batches} of the {run} of epoch "
                    f"{end.epoch + 1}, without `on_train_batch_begin` after it",
                    "In a loop of your own call `callbacks.on_train_batch_begin(batch)` before each batch.",
                )
        return ends

    def _running_means(self) -> dict[str, float]:
        return _scalars(self.model.get_metrics_result())


def _scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are one number; some have one for each class."""
    arrays = {name: np.asarray(ops.convert_to_numpy(value)) for name, value in metrics.items()}
    return {name: float(array.reshape(())) for name, array in arrays.items() if array.size == 1}
