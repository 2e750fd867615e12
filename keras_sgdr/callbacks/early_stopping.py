"""Patience counted in cycles."""

from __future__ import annotations

import math
from typing import Any

from keras_sgdr._checks import at_least, integer, warn
from keras_sgdr.callbacks.cycle_callback import CycleCallback, CycleEnd
from keras_sgdr.callbacks.fit_context import print_line
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.snapshots import Mode, higher_is_better, processes_of, require_whole_weights

__all__ = ["CycleEarlyStopping"]


class CycleEarlyStopping(CycleCallback):
    """Stops when the ends of cycles no longer improve, and restores the weights of the best of them.

    A metric is judged at the end of each cycle only: within one it rises after the restart, which says nothing. Where
    it has stopped the training, the model has the weights of the best cycle end afterwards, and `last_weights` those
    that it had. A training that was not stopped, or that an exception has ended, keeps its weights.

    Args:
        monitor: Metric to judge by.
        patience: Cycles without improvement after which training stops.
        min_delta: Change that counts as an improvement, at least 0.
        mode: `"min"`, `"max"`, or `"auto"` to go by the metric's name.
        restore_best_weights: Whether to restore the weights of the best cycle end where it has stopped the training.
        sgdr: The `SGDR` callback whose cycles are followed; None finds it among the callbacks of the `fit`.
        verbose: 1 prints a line when it stops and when it restores.

    Attributes:
        best_cycle: Number of the best cycle, from 1; None before the first end.
        best: The metric at its end.
        stopped_cycle: Number of the cycle after which training was stopped; None if it was not.
        last_weights: After training, the weights (as of `model.get_weights`) that were replaced by the best; None
            where none were.

    Raises:
        ValueError: At construction, for a value out of range. A cycle's end without the metric (validation metrics are
            missing where it is inside an epoch) is a warning: it is not judged.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 1,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best_weights: bool = True,
        *,
        sgdr: SGDR | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(sgdr)
        integer("patience", patience, "Pass patience=1 to stop after the first cycle that does not improve.")
        at_least("min_delta", min_delta, 0, "Pass the change that counts as an improvement.")
        self._sign = -1 if higher_is_better(monitor, mode) else 1
        self.monitor, self.patience, self.min_delta = monitor, int(patience), min_delta
        self.restore_best_weights = self.takes_weights = restore_best_weights
        self.verbose = verbose
        self._reset()

    def _reset(self) -> None:
        self.best_cycle: int | None = None
        self.best = math.nan
        self.stopped_cycle: int | None = None
        self.last_weights: list[Any] | None = None
        self._best_weights: list[Any] | None = None
        self._waited = 0
        self._warned = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if self.restore_best_weights:
            require_whole_weights(self.model)
        self._processes = processes_of(self.model)
        self._reset()

    def on_cycle_end(self, end: CycleEnd, logs: dict[str, Any]) -> None:
        number = end.cycle.index + 1
        # Of several processes, each of which may have validated on other data, one judges: all are to stop, or none.
        found = self._processes.by_one(lambda: float(logs[self.monitor]) if self.monitor in logs else None)
        if found is None:
            if not self._warned:
                self._warned = True
                # A warning: an error would end a training that has come this far.
                warn(
                    "`monitor` must be a metric of a cycle's end.",
                    f"monitor={self.monitor!r}, which cycle {number} lacks, so it is not judged",
                    f"Pass one that it has: {', '.join(logs) or 'none'}; metrics that begin with val_ need "
                    "`validation_data`.",
                )
            return
        value = float(found)
        better = self._sign * (self.best - value) > self.min_delta or math.isnan(self.best)
        if better and not math.isnan(value):
            self.best, self.best_cycle = value, number
            if self.restore_best_weights:
                self._best_weights = self.weights_of(end)
            self._waited = 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_cycle = number
            self.model.stop_training = True
            if self.verbose:
                print_line(
                    f"Epoch {end.epoch + 1}: stopped, {self._waited} cycles without improvement of {self.monitor} on "
                    f"{self.best:.4g} of cycle {self.best_cycle}"
                )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._best_weights is not None and self.stopped_cycle is not None:
            self.last_weights = self.model.get_weights()
            self.model.set_weights(self._best_weights)
            if self.verbose:
                print_line(f"Weights of the end of cycle {self.best_cycle} restored.")
        self._best_weights = None
