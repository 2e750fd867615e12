"""The learning rate range test: one short sweep of the rate that shows how high `eta_max` may be.

Reference: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, arXiv 1506.01186, section 3.3;
here the rate rises exponentially, so that every decade gets as many updates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from keras_sgdr._checks import integer, is_number, positive, require
from keras_sgdr._model_state import random_state_restored
from keras_sgdr.callbacks.step.groups import Multipliers, check_multipliers
from keras_sgdr.range_test.batches import Batch, build, given_as_in_fit, repeated, shuffled
from keras_sgdr.range_test.swept_optimizer import SweptOptimizer, optimizers_replaced
from keras_sgdr.schedules.exact import MOST_RATES, FloatArray

__all__ = ["RangeTest", "find_learning_rate"]

# Batches in which an optimizer makes an update, if it trains the model; a generator's may wait for some of a critic's.
_PATIENCE = 20


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """Losses over the learning rate, and the rates that they suggest; a summary when printed.

    The smoothed loss is an exponential mean over updates of rising rates, so it lags behind them. Its rate is the
    same mean of the logarithm of the rates: where the loss is a straight line over the logarithm of the rate, the
    smoothed curve lies on that line.

    Attributes:
        rates: Learning rate of each update that was run, float64, shape `(n,)`.
        losses: Loss of each update's batch, before that update, float64, shape `(n,)`; all finite.
        smoothed_rates: Rate of each smoothed loss, float64, shape `(n,)`.
        smoothed_losses: Exponential mean of the losses, corrected for its bias, float64, shape `(n,)`.
        suggested: An `eta_max`: where the smoothed loss falls steepest over the logarithm of the rate, the first
            quarter of its fall left aside. There an update by a given factor of the rate gains most. None if the loss
            did not fall by three times the standard error of its fall.
        suggested_tenth: Another: a tenth of the rate at which the smoothed loss is lowest. That rate itself is at the
            edge of divergence, where gains and losses balance; a factor of ten is the customary distance from it.
            None if the loss did not fall.
        stopped: `"diverged"`: the smoothed loss rose above its lowest by as much as the loss was at first.
            `"not finite"`: the next loss was NaN or infinite. `"end"`: the sweep reached its `eta_max`.
    """

    rates: FloatArray
    losses: FloatArray
    smoothed_rates: FloatArray
    smoothed_losses: FloatArray
    suggested: float | None
    suggested_tenth: float | None
    stopped: Literal["diverged", "not finite", "end"]

    def __str__(self) -> str:
        ends = {
            "diverged": "where the loss diverged",
            "not finite": "where the loss was no longer finite",
            "end": "where the sweep ended",
        }
        lines = [
            f"Learning rate range test: {len(self.rates)} updates, from {self.rates[0]:.2g} to {self.rates[-1]:.2g}, "
            f"{ends[self.stopped]}."
        ]
        if self.suggested is None or self.suggested_tenth is None:
            lines.append(
                "The loss did not fall by more than its noise: nothing to suggest. Sweep other rates, or more updates."
            )
        else:
            lines += [
                "Two values of eta_max:",
                f"  suggested        {self.suggested:<8.2g} where the loss falls steepest",
                f"  suggested_tenth  {self.suggested_tenth:<8.2g} a tenth of the rate of the lowest loss: steadier",
            ]
            if self.stopped == "end":
                lines.append("The loss did not diverge: sweep to a higher rate to see where it does.")
        return "\n".join(lines)

    # What an interpreter and a notebook show.
    __repr__ = __str__


def find_learning_rate(
    model: Any,
    data: Any,
    *,
    optimizer: Any = None,
    rate_multipliers: Multipliers | None = None,
    eta_min: float = 1e-6,
    eta_max: float = 10.0,
    updates: int = 100,
    batch_size: int = 32,
    smoothing: float = 0.9,
    seed: int = 0,
) -> RangeTest:
    """Train for a few updates at rates that rise exponentially, and suggest an `eta_max` for `SGDR`.

    The model is left as it was, whatever happens: an exception in the data, Ctrl-C, a loss that is NaN. The updates are
    made by a copy of the optimizer, which begins in its state; the optimizer itself takes no part, be it built or
    not, have it a float or a schedule as its rate. So it is with all optimizers that the model holds. All optimizers
    of a `MultiOptimizer` get the swept rate, as under `SGDR(eta_max=...)`. Weights,
    BatchNorm statistics, seeds and metrics are put back. The next `fit` compiles its step anew. What Keras builds in a
    first `fit` is built here: the weights of a model that was not, and its metrics. Building them, that `fit` would
    have drawn from the global random numbers too, so that one which shuffles by these has another order than it would
    have had.

    Example:

    >>> model.compile(keras.optimizers.SGD(momentum=0.9), loss="sparse_categorical_crossentropy")
    >>> result = find_learning_rate(model, (x, y))
    >>> print(result)
    >>> keras_sgdr.plotting.plot_range_test(result)
    >>> model.fit(x, y, epochs=70, callbacks=[SGDR(T_0=10, T_mult=2, eta_max=result.suggested)])

    Args:
        model: A compiled model.
        data: A tuple of arrays `(x, y)` or `(x, y, sample_weight)`, shuffled here and cut into batches, all of
            `batch_size`. Or batches of such: a `tf.data.Dataset`, a `PyDataset`, a loader, a list; begun again when
            they end. The training step is handed what `fit` would hand it.
        optimizer: Which of several optimizers is swept, of a model whose own training step uses them: the object, an
            attribute of the model, or one inside of such, as of `model.optimizer.optimizers`. The others train at their
            own rates. None: `model.optimizer`.
        rate_multipliers: As for `SGDR`: groups of layers have multiples of the swept rate, and 0 freezes. What is
            suggested is then the `eta_max` for `SGDR` with the same.
        eta_min: Rate of the first update.
        eta_max: Rate of the last update, if the loss does not diverge before.
        updates: Number of updates, at most.
        batch_size: Samples in a batch, of arrays.
        smoothing: Share of the exponential mean that each loss leaves to those before: a mean over about
            `1 / (1 - smoothing)` updates.
        seed: Of the order of arrays.

    Returns:
        Rates, losses and suggestions.

    Raises:
        ValueError: If an argument is out of range, the model is not compiled, a pattern of `rate_multipliers` matches
            nothing, the optimizer cannot hold the rates, the data are no arrays or do not last, the optimizer makes no
            update or not at the rate that was set, or the very first loss is not finite.
    """
    check_multipliers(rate_multipliers)
    _check(eta_min, eta_max, updates, batch_size, smoothing, seed)
    eta_min, eta_max, smoothing = float(eta_min), float(eta_max), float(smoothing)
    batches = shuffled(data, batch_size, seed) if isinstance(data, tuple) else repeated(data)
    with random_state_restored():
        first = next(batches)
        build(model, first)
        rates = np.geomspace(eta_min, eta_max, updates)
        replaced = optimizers_replaced(model, optimizer, rates, rate_multipliers)
        with replaced as swept, given_as_in_fit(model) as train:
            return _sweep(train, swept, itertools.chain([first], batches), rates, smoothing)


def _sweep(
    train: Callable[[Batch], Any], swept: SweptOptimizer, batches: Iterable[Batch], rates: FloatArray, smoothing: float
) -> RangeTest:
    window = _window(smoothing)
    losses: list[float] = []
    points: list[FloatArray] = []  # Smoothed log rate and loss.
    mean, lowest = np.zeros(2), math.inf
    stopped: Literal["diverged", "not finite", "end"] = "end"
    for rate, batch in zip(rates.tolist(), batches, strict=False):
        swept.set(rate)
        loss = train(batch)
        swept.check_rate(rate)
        if len(losses) + 1 == _PATIENCE:
            swept.check_updates(_PATIENCE)
        if not math.isfinite(loss):
            stopped = "not finite"
            break
        losses.append(loss)
        mean += (1 - smoothing) * (np.array([math.log(rate), loss]) - mean)
        points.append(mean / (1 - smoothing ** len(losses)))
        lowest = min(lowest, points[-1][1])
        if len(losses) > window and points[-1][1] > lowest + abs(np.mean(losses[:window])):
            stopped = "diverged"
            break
    if len(losses) < _PATIENCE:
        swept.check_updates(len(losses) + 1)
    require(bool(losses), "The first loss must be finite.", "loss", loss, "Look at the data, the loss and the weights.")
    log_rates, smoothed = np.array(points).T
    suggestions = _suggestions(log_rates, smoothed, np.array(losses), window)
    return RangeTest(rates[: len(losses)], np.array(losses), np.exp(log_rates), smoothed, *suggestions, stopped)


def _check(eta_min: float, eta_max: float, updates: int, batch_size: int, smoothing: float, seed: int) -> None:
    positive("eta_min", eta_min, "Pass the rate to begin with, such as eta_min=1e-6.")
    rule = "`eta_max` must be a finite number above `eta_min`."
    fix = "Pass a rate at which training diverges, such as eta_max=10."
    require(is_number(eta_max) and eta_max > eta_min, rule, "eta_max", eta_max, fix)
    integer(
        "updates", updates, "Pass as many updates as you have time for, such as updates=100.", least=20, most=MOST_RATES
    )
    integer("batch_size", batch_size, "Pass the number of samples in a batch, such as batch_size=32.")
    integer("seed", seed, "Pass a seed such as seed=0.", least=0)
    valid = is_number(smoothing) and 0 <= smoothing < 1 and 2 * _window(smoothing) <= updates
    rule = f"`smoothing` must be a number in [0, 1), with `1 / (1 - smoothing)` at most half of updates={updates}."
    require(valid, rule, "smoothing", smoothing, "Pass smoothing=0.9, or more updates.")


def _window(smoothing: float) -> int:
    """Updates that the exponential mean is about."""
    return round(1 / (1 - smoothing))


def _suggestions(
    log_rates: FloatArray, smoothed: FloatArray, losses: FloatArray, window: int
) -> tuple[float | None, float | None]:
    """`suggested` and `suggested_tenth`.

    The first few smoothed losses are means of hardly any batches, so they are left aside. The slope at a point is that
    between the points half a window before and after it: from one update to the next there is more noise than fall.
    The steepest is sought after the last point that has less than a quarter of the fall behind it: before, where the
    loss is flat, there are many slopes of noise, of which one may be the steepest.
    """
    half = max(window // 2, 1)
    lowest = window + int(np.argmin(smoothed[window:])) if len(smoothed) > window else 0
    if lowest < window + half:
        return None, None
    # Of one batch's loss, from its differences: a steady fall does not count as noise.
    noise = float(np.std(np.diff(losses[: lowest + 1]))) / math.sqrt(2)
    # Of the fall, from a plain mean to an exponential one. The lowest is one of many, hence three of these errors.
    error = noise * math.sqrt(1 / window + 1 / (2 * window - 1))
    beginning = np.mean(losses[:window])
    fall = beginning - smoothed[lowest]
    if not fall > 3 * error:
        return None, None
    falls_from = 1 + np.flatnonzero(smoothed[:lowest] > beginning - fall / 4).max(initial=window - 1)
    centres = np.arange(min(falls_from, lowest - half), lowest - half + 1)
    before, after = centres - half, centres + half
    slopes = (smoothed[after] - smoothed[before]) / (log_rates[after] - log_rates[before])
    steepest = centres[np.argmin(slopes)]
    return math.exp(log_rates[steepest]), math.exp(log_rates[lowest]) / 10
