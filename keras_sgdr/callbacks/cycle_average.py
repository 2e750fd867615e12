"""The average of the weights at the ends of cycles, while training."""

from __future__ import annotations

import math
from typing import Any

import keras

from keras_sgdr._checks import integer, require, warn
from keras_sgdr._model_state import random_state_restored, variables_restored
from keras_sgdr.callbacks.cycle_callback import CycleCallback, CycleEnd
from keras_sgdr.callbacks.early_stopping import CycleEarlyStopping
from keras_sgdr.callbacks.fit_context import other_callbacks, postponed, print_line
from keras_sgdr.callbacks.sgdr import SGDR
from keras_sgdr.snapshots import Mode, higher_is_better, put_average, require_whole_weights

__all__ = ["CycleAverage"]


class CycleAverage(CycleCallback):
    """Averages the weights of the ends of cycles, and puts the average into the model when training ends.

    This is stochastic weight averaging with cyclical rates (arXiv 1803.05407): one model, for the cost of one. The sum
    is kept in memory, in float64; integers, such as counts, are those of the last cycle. Where `fit` validates, the
    average is evaluated on the same data in each epoch in which a cycle ends, and logged as `average_val_loss` and so
    on, beside `val_loss`, that of the weights as they are.

    What is averaged is what is validated: with `keras.callbacks.SwapEMAWeights` the moving averages. Its place in the
    list of callbacks does not matter; it acts last when training ends, after early stopping has restored what it has.

    Example:

    >>> average = CycleAverage(monitor="val_loss", data=x)
    >>> model.fit(x, y, epochs=70, validation_split=0.1, callbacks=[SGDR(T_0=10, T_mult=2), average])
    >>> average.is_in_model

    Args:
        monitor: A metric of the validation: the average is put into the model where it is better by it than the weights
            of the last cycle's end, or than those that early stopping by it has restored. None: always.
        mode: `"min"`, `"max"`, or `"auto"` to go by the metric's name.
        data: Training inputs, arrays or batches, from which the statistics of every trainable BatchNorm are taken anew,
            before each evaluation and at the end; see `SnapshotEnsemble.average_weights`. None keeps their average,
            which is not the statistics of the average.
        batch_size: Samples in a batch of arrays.
        sgdr: The `SGDR` callback whose cycles are followed; None finds it among the callbacks of the `fit`.
        verbose: 1 prints a line when training ends.

    Attributes:
        n_cycles: Cycle ends that were averaged.
        is_in_model: Whether the model has the average, after training.
        last_weights: After training, the weights (as of `model.get_weights`) that the average has replaced; None where
            it has not.

    Raises:
        ValueError: At construction, for a value out of range.
    """

    takes_weights = True

    def __init__(
        self,
        monitor: str | None = None,
        mode: Mode = "auto",
        *,
        data: Any = None,
        batch_size: int = 32,
        sgdr: SGDR | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(sgdr)
        valid = monitor is None or (isinstance(monitor, str) and monitor.startswith("val_"))
        rule = "`monitor` must be None or a metric of the validation, which the average is evaluated on."
        require(valid, rule, "monitor", monitor, 'Pass one that begins with "val_", such as "val_loss".')
        self._sign = -1 if monitor is not None and higher_is_better(monitor, mode) else 1
        integer("batch_size", batch_size, "Pass the number of samples in a batch.")
        self.monitor, self.mode = monitor, mode
        self.data, self.batch_size = data, batch_size
        self.verbose = verbose
        self._reset()

    def _reset(self) -> None:
        self.n_cycles = self._n_evaluated = 0
        self.is_in_model = False
        self.last_weights: list[Any] | None = None
        self._sums: list[Any] = []
        self._last: list[Any] = []
        self._of_average, self._of_last = math.nan, math.nan

    @property
    def weights(self) -> list[Any]:
        """The average of what was seen so far, as of `model.get_weights`; [] before the first end of a cycle."""
        # Not by NumPy, to which bfloat16 is no float.
        are_floats = [keras.backend.is_float_dtype(str(last.dtype)) for last in self._last]
        return [
            (total / self.n_cycles).astype(last.dtype) if is_float else last
            for total, last, is_float in zip(self._sums, self._last, are_floats, strict=True)
        ]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        require_whole_weights(self.model)
        self._reset()

    def on_cycle_end(self, end: CycleEnd, logs: dict[str, float]) -> None:
        self._last = self.weights_of(end)
        new = [weight.astype("float64") for weight in self._last]
        self._sums = [total + weight for total, weight in zip(self._sums, new, strict=True)] if self._sums else new
        self.n_cycles += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        super().on_epoch_end(epoch, logs)
        # Of `fit`'s own validation.
        if self.n_cycles > self._n_evaluated and getattr(self.model, "_eval_epoch_iterator", None) is not None:
            self._n_evaluated = self.n_cycles
            scores = self._evaluate()
            logs.update({f"average_val_{name}": score for name, score in scores.items()})
            if self.monitor is not None:
                self._of_average = float(scores.get(self.monitor.removeprefix("val_"), math.nan))
                self._of_last = float(logs.get(self.monitor, math.nan))

    def _evaluate(self) -> dict[str, Any]:
        with random_state_restored(), variables_restored(self.model):
            self._put_in()
            scores: dict[str, Any] = self.model.evaluate(return_dict=True, verbose=0, _use_cached_eval_dataset=True)
            return scores

    def _put_in(self) -> None:
        put_average(self.model, self.weights, self.data, self.batch_size)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if postponed(self):
            return
        if not self.n_cycles:
            self.warn_of_no_cycle("an average")
            return
        if self.monitor is not None and not self._is_better():
            return
        self.last_weights = self.model.get_weights()
        with random_state_restored():
            self._put_in()
        self.is_in_model = True
        if self.verbose:
            print_line(f"The average of {self.n_cycles} cycle ends is in the model.")

    def _is_better(self) -> bool:
        restored = [each.best for each in other_callbacks(self) if _has_restored(each) and each.monitor == self.monitor]
        present = float(restored[0]) if restored else self._of_last
        if math.isnan(self._of_average) or math.isnan(present):
            # A warning: an error would end a training that has come this far.
            warn(
                "`monitor` must be a metric of the validation in the epoch of the last cycle's end.",
                f"monitor={self.monitor!r}, which it lacks, so the average, in `weights`, is not put into the model",
                "Pass `validation_data` to `fit`, or monitor=None.",
            )
            return False
        better = self._sign * (present - self._of_average) > 0
        if self.verbose and not better:
            print_line(f"The average has {self.monitor} {self._of_average:.4g}, the model {present:.4g}, and is kept.")
        return better


def _has_restored(callback: Any) -> bool:
    """Whether it has put the best weights into the model."""
    if isinstance(callback, CycleEarlyStopping):
        return callback.last_weights is not None
    is_early_stopping = isinstance(callback, keras.callbacks.EarlyStopping)
    return is_early_stopping and callback.restore_best_weights and callback.best_weights is not None
