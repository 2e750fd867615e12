"""SGDR's learning rate as a function of epochs: cosine annealing with warm restarts.

Positions are counted in epochs: update `k` (from 0) of a run with `n` updates an epoch is at `t = k / n`. Only numpy is
needed here.

Reference: Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv 1608.03983,
equation (5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from keras_sgdr._checks import integer, one_of, require
from keras_sgdr._text import call_of
from keras_sgdr.schedules import planning
from keras_sgdr.schedules.base import Cycle, Schedule
from keras_sgdr.schedules.exact import (
    MOST_UPDATES,
    Epochs,
    FloatArray,
    IntArray,
    check_fraction,
    position,
    positions,
    to_fraction,
    to_json,
    updates_of_fit,
)
from keras_sgdr.schedules.grid import Boundaries, CycleGrid
from keras_sgdr.schedules.peaks import Peaks, Rates, check_rates

__all__ = ["Plan", "WarmRestarts"]

# Where neither T_0 nor a number of cycles is given: the number that `fit` is divided into.
CYCLES_OF_A_FIT = 3
_MOST_BITS = 10_000  # Of the first length of such cycles, a fraction that is written to files.
_BLOCK = 1 << 15  # Updates evaluated at a time, so that the temporaries stay in the processor's cache.


def cosine_annealing(x: ArrayLike, eta_max: ArrayLike, eta_min: ArrayLike) -> FloatArray:
    """Equation (5) of the paper, `x = T_cur / T_i`; exactly `eta_max` at `x = 0`, exactly `eta_min` at `x = 1`."""
    x, eta_max, eta_min = np.asarray(x, np.float64), np.asarray(eta_max), np.asarray(eta_min)
    rates = eta_min + 0.5 * (eta_max - eta_min) * (1 + np.cos(np.pi * x))
    # eta_min + (eta_max - eta_min) can miss eta_max by one unit in the last place.
    return np.where(x == 0, eta_max, rates)


def rates_of_updates(grid: CycleGrid, k: IntArray) -> FloatArray:
    """Learning rates of the updates `k`, an integer array of any shape."""
    x, number = grid.locate(k)
    rates = cosine_annealing(x, grid.eta_max[number], grid.eta_min[number])
    if grid.stop is not None:
        rates = np.where(k >= grid.stop, grid.eta_min[-1], rates)
    if grid.origin:
        rise = k * float(grid.warmup.denominator) / float(grid.warmup.numerator)
        peak, floor = grid.eta_max[0], grid.eta_min[0]
        rates = np.where(k < grid.origin, floor + (peak - floor) * rise, rates)
    return rates


@dataclass(frozen=True, repr=False)
class WarmRestarts(Schedule):
    """SGDR: cosine annealing with warm restarts.

    In cycle `i`, which begins at `t_i` and lasts `T_i` epochs,

        eta(t) = eta_min_i + 1/2 (eta_max_i - eta_min_i) (1 + cos(pi T_cur / T_i)),   T_cur = t - t_i,

    and `T_(i+1) = T_mult * T_i` (equation (5) and section 3 of the paper).

    Example:

    >>> restarts = WarmRestarts(T_0=10, T_mult=2, eta_max=0.1)
    >>> restarts(0.0), restarts(10.0)
    (0.1, 0.1)
    >>> restarts.cycle_ends(100)
    [10, 30, 70]
    >>> restarts.learning_rates(epochs=30, steps_per_epoch=61).shape
    (1830,)

    Args:
        T_0: Length of the first cycle in epochs; a fraction is allowed (`0.5`, `Fraction(1, 3)`, `"1/3"`). None: the
            epochs of `fit` hold `cycle_limit` cycles exactly, three where there is no limit; only `SGDR` knows them.
        T_mult: Factor from one cycle's length to the next; may be a fraction or below 1. Below 1 the cycles of an
            endless run end at `T_0 / (1 - T_mult)` epochs, and `eta_min` is held after it.
        eta_max: Learning rate at every restart, or a list with one for each cycle, of which the last holds on. None:
            under `SGDR` the optimizer's own rate; otherwise 1, so that the schedule gives multiples of the peak, where
            `eta_min` is 0.
        eta_min: Learning rate that a cycle anneals to, or a list with one for each cycle, of which the last holds on.
        eta_max_decay: Factor on `eta_max` at each restart, at most 1. Not together with a list.
        eta_min_decay: Factor on `eta_min` at each restart, at most 1. Not together with a list. The floor never
            exceeds the peak: where decay would bring `eta_max` below `eta_min`, both are `eta_max`.
        warmup: Epochs of linear rise from `eta_min` to `eta_max` before the first cycle, and before no other.
        cycle_limit: After so many cycles the last `eta_min` is held; None goes on for ever.
        end: `"exclusive"`: `T_cur` runs over `[0, T_i)`, as in PyTorch and Keras, and the last update of a cycle is
            a little above `eta_min`. `"inclusive"`: the last update of a cycle is exactly `eta_min` (a cycle of one
            update runs it at `eta_max`). The two differ on a grid of updates only: `restarts(t)` is the curve
            between them, the same for both.

    Raises:
        ValueError: If a value is out of range; the message says the rule, what was received and the fix.
    """

    T_0: Epochs | None = None
    T_mult: Epochs = 2
    eta_max: Rates | None = None
    eta_min: Rates = 0.0
    eta_max_decay: float = field(default=1.0, kw_only=True)
    eta_min_decay: float = field(default=1.0, kw_only=True)
    warmup: Epochs = field(default=0.0, kw_only=True)
    cycle_limit: int | None = field(default=None, kw_only=True)
    end: Literal["exclusive", "inclusive"] = field(default="exclusive", kw_only=True)

    def __post_init__(self) -> None:
        if self.T_0 is not None:
            check_fraction("T_0", self.T_0, "Pass the length of the first cycle, such as T_0=10.")
        check_fraction("T_mult", self.T_mult, "Pass T_mult=1 for equal cycles, T_mult=2 to double each.", unit="")
        check_fraction("warmup", self.warmup, "Pass warmup=0 for none.", zero=True)
        integer("cycle_limit", self.cycle_limit, "Pass the number of cycles, or None for no end.", optional=True)
        limit = None if self.cycle_limit is None else int(self.cycle_limit)
        rule, fix = f"`cycle_limit` must be at most {MOST_UPDATES}.", "Pass None for no end."
        require(limit is None or limit <= MOST_UPDATES, rule, "cycle_limit", limit, fix)
        object.__setattr__(self, "cycle_limit", limit)
        one_of("end", self.end, ("exclusive", "inclusive"))
        for name in ("eta_max", "eta_min"):
            value, decay = getattr(self, name), getattr(self, f"{name}_decay")
            rates = check_rates(name, 1.0 if value is None and name == "eta_max" else value, decay, limit)
            object.__setattr__(self, name, None if value is None else rates)
            object.__setattr__(self, f"{name}_decay", float(decay))
        if self.eta_max is not None:
            self._peaks.check()

    def for_fit(self, epochs: int, learning_rate: float) -> Self:
        """The schedule of one `fit`: `T_0=None` from the number of its epochs, `eta_max=None` the optimizer's rate.

        Args:
            epochs: Of the `fit`.
            learning_rate: The optimizer's own.

        Raises:
            ValueError: If `warmup` leaves no epoch to the cycles, `eta_min` exceeds the optimizer's rate, or the cycles
                that fill the epochs are too many.
        """
        integer("epochs", epochs, "Pass the epochs of `fit`.")
        changes: dict[str, Any] = {}
        if self.eta_max is None:
            changes["eta_max"] = learning_rate
        if self.T_0 is None:
            budget = int(epochs) - to_fraction(self.warmup)
            rule = f"`warmup` must leave some of the {epochs} epochs of `fit` to the cycles."
            require(budget > 0, rule, "warmup", self.warmup, "Train for more epochs, or pass `T_0`.")
            n_cycles, T_mult = self.cycle_limit or CYCLES_OF_A_FIT, to_fraction(self.T_mult)
            most = _MOST_BITS // max(max(T_mult.as_integer_ratio()).bit_length() - 1, 1)
            rule = f"`cycle_limit` must be at most {most}, where cycles of this T_mult fill the epochs of `fit`."
            require(n_cycles <= most or T_mult == 1, rule, "cycle_limit", self.cycle_limit, "Pass `T_0`.")
            changes["T_0"] = planning.first_length(budget, n_cycles, T_mult)
        return replace(self, **changes)

    @cached_property
    def _peaks(self) -> Peaks:
        return Peaks(self.eta_max, self.eta_min, self.eta_max_decay, self.eta_min_decay)

    @cached_property
    def _boundaries(self) -> Boundaries:
        rule = "`T_0` must be a number outside `fit`, where there are no epochs that the cycles could fill."
        require(self.T_0 is not None, rule, "T_0", self.T_0, "Pass the length of the first cycle, such as T_0=10.")
        assert self.T_0 is not None
        return Boundaries(to_fraction(self.T_0), to_fraction(self.T_mult), to_fraction(self.warmup), self.cycle_limit)

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, else a float64 array of the shape of `t`.

        Raises:
            ValueError: If a position is negative, infinite or NaN, or after too many cycles.
        """
        at = positions(t)
        last = self._boundaries.n_cycles
        index, start, length = self._boundaries.locate(at)
        number = np.maximum(index, 0)
        if last is not None:
            number = np.minimum(number, last - 1)
        peaks, floors = self._peaks.of(number)
        x = np.clip((at - start) / length, 0.0, 1.0)
        rates = cosine_annealing(x, peaks, floors)
        rates = np.where(index < 0, floors + (peaks - floors) * x, rates)
        if last is not None:
            rates = np.where(index >= last, floors, rates)
        return float(rates) if np.ndim(t) == 0 else rates

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        """The cycles one after another, up to the last of a limited number."""
        return self._boundaries.cycles_from(0, steps_per_epoch)

    def cycles_from(self, update: int, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        """See `Schedule.cycles_from`."""
        return self._boundaries.cycles_from(update, steps_per_epoch)

    def cycle_at(self, t: float) -> Cycle | None:
        """See `Schedule.cycle_at`. Not by walking past all cycles before it."""
        index = int(self._boundaries.locate(np.array(position(t)))[0])
        is_run = index >= 0 and (self._boundaries.n_cycles is None or index < self._boundaries.n_cycles)
        return self._boundaries.cycle(index) if is_run else None

    def __repr__(self) -> str:
        return call_of(self)

    def _ends(self) -> Iterator[tuple[int, int]]:
        return self._boundaries.ends()

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """See `Schedule.learning_rates`. Each position in its cycle is a quotient of integers."""
        updates = updates_of_fit(epochs, steps_per_epoch, initial_epoch)
        grid = self.on_grid(steps_per_epoch, updates.stop)
        rates = np.empty(len(updates), np.float64)
        for begin in range(0, len(updates), _BLOCK):
            block = updates[begin : begin + _BLOCK]
            rates[begin : begin + _BLOCK] = rates_of_updates(grid, np.arange(block.start, block.stop))
        return rates

    def on_grid(self, steps_per_epoch: int, updates: int) -> CycleGrid:
        """The cycles of the first `updates` updates at `steps_per_epoch` updates an epoch.

        Raises:
            ValueError: If they are too many, or come too late.
        """
        n, boundaries = int(steps_per_epoch), self._boundaries
        warmup = boundaries.warmup * n
        origin = math.ceil(warmup)
        rule = f"`warmup` must end within {MOST_UPDATES} updates."
        require(origin <= MOST_UPDATES, rule, "warmup", self.warmup, "Pass the epochs of the rise.")
        layout, stop, period = boundaries.layout(n, updates, self.end == "inclusive")
        first = np.array([first for first, *_ in layout], np.int64) - origin
        scale, offset, length = np.array([numbers for _, *numbers in layout], np.float64).T
        if period is None:
            eta_max, eta_min = self._peaks.of(np.arange(len(layout)))
        else:
            count = math.ceil(updates / (boundaries.T_0 * n)) + 1
            eta_max, eta_min = self._peaks.differing(min(count, boundaries.n_cycles or count))
        # As float64 holds both of its integers. Of a rise that is shorter than an update only the begin is run.
        warmup = warmup.limit_denominator(MOST_UPDATES // max(origin, 1)) or Fraction(origin)
        return CycleGrid(origin, stop, period, warmup, first, scale, offset, length, eta_max, eta_min)

    @classmethod
    def plan(cls, epochs: int, n_cycles: int | None = None, *, warmup: Epochs = 0.0) -> Plan:
        """Propose cycles of which the last ends exactly at the budget, in exact arithmetic.

        >>> print(WarmRestarts.plan(epochs=70, n_cycles=3))
        T_0   T_mult  cycles  ends after epoch    whole epochs
        10    2       3       10, 30, 70          yes
        70/3  1       3       23.333, 46.667, 70

        Args:
            epochs: The budget, the epochs that `fit` will run.
            n_cycles: Number of cycles to fit in; None for all of 1 to 8 that last at least an epoch each.
            warmup: Epochs of the budget that come before the first cycle.

        Returns:
            A tuple of schedules, each for `SGDR(schedule=...)`. First those whose cycles all end on whole epochs, and
            among these the paper's factors 2 and 1; a few other factors only where they end so.

        Raises:
            ValueError: If no such cycles fit into the budget, or an argument is out of range.
        """
        proposals = planning.propose(epochs, n_cycles, warmup)
        return Plan(cls(p.T_0, p.T_mult, warmup=p.warmup, cycle_limit=p.cycle_limit) for p in proposals)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        lengths = {"T_0": self.T_0, "T_mult": self.T_mult, "warmup": self.warmup}
        return {**asdict(self), **{name: None if value is None else to_json(value) for name, value in lengths.items()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


class Plan(tuple[WarmRestarts, ...]):
    """What `WarmRestarts.plan` proposes, in the order of preference; a table when printed."""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table's rows: `T_0`, `T_mult`, the number of cycles, their ends, and whether these are whole epochs."""
        return [planning.row(schedule._boundaries) for schedule in self]

    def __str__(self) -> str:
        return planning.table([schedule._boundaries for schedule in self])
