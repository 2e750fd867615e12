"""The learning rate as a function of epochs: SGDR's cycles.

Positions are counted in epochs: update `k` (from 0) of a run with `n` updates an epoch is at `t = k / n`. Where a
cycle begins is decided in exact arithmetic (`fractions.Fraction`, integers), never with a logarithm and never by
adding floats, so that no restart comes an update early or late however long the run. Only numpy is needed here.

Reference: Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv 1608.03983,
equation (5).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from keras_sgdr.arguments import (
    Epochs,
    FloatArray,
    IntArray,
    exact,
    is_epochs,
    is_integer,
    is_number,
    positions,
    require,
    to_json,
    updates_of_fit,
)
from keras_sgdr.grid import CycleGrid, Span, anneal, first_update, lay, periods

if TYPE_CHECKING:
    from keras_sgdr.planning import Plan

__all__ = ["Cycle", "Epochs", "FloatArray", "Schedule", "WarmRestarts"]

# With T_mult < 1 the cycles of an endless run shrink to nothing at T_0 / (1 - T_mult) epochs. Cycles shorter than this,
# which no data set's update resolves, are not run; the rate rests at the last eta_min from there on.
SHORTEST_CYCLE = 1e-6

_BLOCK = 1 << 15  # Updates evaluated at a time, so that the temporaries stay in the processor's cache.


class Cycle(NamedTuple):
    """Where a position lies among the cycles; lengths in epochs.

    During warmup `index` is -1 and the cycle is the warmup itself; after the last of a limited number of cycles `index`
    is that number and `length` infinite.
    """

    index: int  # type: ignore[assignment]  # Hides `tuple.index`, which no one wants of a cycle.
    start: float
    length: float
    T_cur: float


class Schedule(Protocol):
    """What `SGDR(schedule=...)`, the plots and the study ask of a schedule."""

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, an array for an array."""

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """The learning rate of every update, shape `((epochs - initial_epoch) * steps_per_epoch,)`."""

    def cycle_at(self, t: float) -> Cycle:
        """The cycle that holds the position of `t` epochs."""

    def cycle_ends(self, epochs: float) -> list[float]:
        """The epochs, up to `epochs`, after which a cycle is complete."""


@dataclass(frozen=True)
class WarmRestarts:
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
        T_0: Length of the first cycle in epochs; a fraction is allowed (`0.5`, `Fraction(1, 3)`, `"1/3"`).
        T_mult: Factor from one cycle's length to the next; may be a fraction or below 1. Below 1 the cycles of an
            endless run end at `T_0 / (1 - T_mult)` epochs, and `eta_min` is held after it.
        eta_max: Learning rate at every restart, or a list of one a cycle of which the last holds on. The default of 1
            gives the schedule relative to its peak.
        eta_min: Learning rate that a cycle anneals to, or a list of one a cycle of which the last holds on.
        eta_max_decay: Factor on `eta_max` at each restart, at most 1. Not together with a list.
        eta_min_decay: Factor on `eta_min` at each restart, at most 1. Not together with a list. The floor never
            exceeds the peak: where decay would bring `eta_max` below `eta_min`, both are `eta_max`.
        warmup: Epochs of linear rise from `eta_min` to `eta_max` before the first cycle, and before no other.
        cycles: After so many cycles the last `eta_min` is held; None goes on for ever.
        end: `"exclusive"`: `T_cur` runs over `[0, T_i)`, as in PyTorch and Keras, and the last update of a cycle is
            a little above `eta_min`. `"inclusive"`: the last update of a cycle is exactly `eta_min` (a cycle of one
            update runs it at `eta_max`). The two differ on a grid of updates only: `restarts(t)` is the curve
            between them, the same for both.

    Raises:
        ValueError: If a value is out of range; the message says the rule, what was received and the fix.
    """

    T_0: Epochs
    T_mult: Epochs = 1
    eta_max: float | Sequence[float] = 1.0
    eta_min: float | Sequence[float] = 0.0
    eta_max_decay: float = field(default=1.0, kw_only=True)
    eta_min_decay: float = field(default=1.0, kw_only=True)
    warmup: Epochs = field(default=0.0, kw_only=True)
    cycles: int | None = field(default=None, kw_only=True)
    end: Literal["exclusive", "inclusive"] = field(default="exclusive", kw_only=True)

    def __post_init__(self) -> None:
        require(
            is_epochs(self.T_0) and exact(self.T_0) > 0,
            "`T_0` must be a positive number of epochs.",
            "T_0",
            self.T_0,
            "Pass the length of the first cycle, such as T_0=10.",
        )
        require(
            is_epochs(self.T_mult) and exact(self.T_mult) > 0,
            "`T_mult` must be a positive number.",
            "T_mult",
            self.T_mult,
            "Pass T_mult=1 for cycles of one length, T_mult=2 to double each.",
        )
        require(
            is_epochs(self.warmup) and exact(self.warmup) >= 0,
            "`warmup` must be a number of epochs, 0 or more.",
            "warmup",
            self.warmup,
            "Pass warmup=0 for none.",
        )
        require(
            self.cycles is None or is_integer(self.cycles),
            "`cycles` must be a positive integer or None.",
            "cycles",
            self.cycles,
            "Pass the number of cycles to run, or None to go on for ever.",
        )
        if self.cycles is not None:
            object.__setattr__(self, "cycles", int(self.cycles))
        require(
            self.end in ("exclusive", "inclusive"),
            '`end` must be "exclusive" or "inclusive".',
            "end",
            self.end,
            "Pass one of the two.",
        )
        for name in ("eta_max", "eta_min"):
            self._check_rates(name)
        for i, (peak, floor) in enumerate(zip(*self._listed, strict=True)):
            require(
                bool(floor <= peak),
                f"`eta_min` must not exceed `eta_max`, in cycle {i} either.",
                "(eta_min, eta_max)",
                (float(floor), float(peak)),
                "Lower `eta_min` or raise `eta_max`.",
            )

    def _check_rates(self, name: str) -> None:
        value, decay = getattr(self, name), getattr(self, f"{name}_decay")
        require(
            is_number(decay) and 0 < decay <= 1,
            f"`{name}_decay` must be a number above 0, at most 1.",
            f"{name}_decay",
            decay,
            f"Pass {name}_decay=1 for no decay.",
        )
        object.__setattr__(self, f"{name}_decay", float(decay))
        if isinstance(value, np.ndarray):
            value = value.tolist()
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if listed:
            require(
                1 <= len(value) <= (self.cycles or math.inf),
                f"A list for `{name}` must have one rate a cycle: at least 1"
                + (f", at most cycles={self.cycles}." if self.cycles else "."),
                name,
                value,
                "The last rate holds on for the cycles after it.",
            )
            require(
                decay == 1,
                f"A list for `{name}` already says every cycle's rate, so `{name}_decay` must be 1.",
                f"{name}_decay",
                decay,
                f"Pass a number for `{name}`, or leave out `{name}_decay`.",
            )
        positive = name == "eta_max"
        for rate in value if listed else [value]:
            require(
                is_number(rate) and (rate > 0 if positive else rate >= 0),
                f"`{name}` must be a finite {'positive' if positive else 'non-negative'} number, or a list of such.",
                name,
                value,
                "Pass a learning rate, such as eta_max=0.1." if positive else "Pass eta_min=0 to anneal to nothing.",
            )
        object.__setattr__(self, name, tuple(map(float, value)) if listed else float(value))

    @cached_property
    def _listed(self) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the cycles that lists tell apart, before any decay."""
        peaks, floors = np.atleast_1d(self.eta_max), np.atleast_1d(self.eta_min)
        i = np.arange(max(len(peaks), len(floors)))
        return peaks[np.minimum(i, len(peaks) - 1)], floors[np.minimum(i, len(floors) - 1)]

    def _peaks(self, index: IntArray) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the cycles of these numbers."""
        peaks, floors = (rates[np.minimum(index, len(rates) - 1)] for rates in self._listed)
        if self.eta_max_decay != 1:
            peaks = peaks * np.float_power(self.eta_max_decay, index)
        if self.eta_min_decay != 1:
            floors = floors * np.float_power(self.eta_min_decay, index)
        return peaks, np.minimum(floors, peaks)

    def _differing_peaks(self, count: int) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the first `count` cycles, without those at the end that repeat the one before."""
        if self.eta_max_decay == self.eta_min_decay == 1:
            count = min(count, len(self._listed[0]))
        peaks, floors = self._peaks(np.arange(count))
        changes = np.flatnonzero((np.diff(peaks) != 0) | (np.diff(floors) != 0))
        size = int(changes[-1]) + 2 if len(changes) else 1
        return peaks[:size], floors[:size]

    @cached_property
    def _last(self) -> int | None:
        """The number of cycles that are run, or None without end."""
        T_0, T_mult = float(exact(self.T_0)), float(exact(self.T_mult))
        if T_mult >= 1:
            return self.cycles
        limit = self.cycles or math.inf
        run = 1
        while run < limit and T_0 * T_mult**run >= SHORTEST_CYCLE:
            run += 1
        return run

    def _spans(self) -> Iterator[Span]:
        """Start and length of each cycle, in epochs.

        Without reducing the fractions: the greatest common divisors would cost more than all the rest.
        """
        T_0, T_mult, warmup = exact(self.T_0), exact(self.T_mult), exact(self.warmup)
        denominator = math.lcm(T_0.denominator, warmup.denominator)
        start, length = int(warmup * denominator), int(T_0 * denominator)
        while True:
            yield start, length, denominator
            start = (start + length) * T_mult.denominator
            length *= T_mult.numerator
            denominator *= T_mult.denominator

    def _ends(self) -> Iterator[Fraction]:
        """The end of each cycle in epochs, first to last."""
        ends = ((start, denominator) for start, _, denominator in itertools.islice(self._spans(), 1, None))
        for start, denominator in itertools.islice(ends, self._last):
            yield Fraction(start, denominator)

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, else a float64 array of the shape of `t`.

        Raises:
            ValueError: If a position is negative, infinite or NaN.
        """
        at = positions(t)
        index, start, length = self._locate(at)
        number = np.maximum(index, 0)
        if self._last is not None:
            number = np.minimum(number, self._last - 1)
        peaks, floors = self._peaks(number)
        x = np.clip((at - start) / length, 0.0, 1.0)
        rates = anneal(x, peaks, floors)
        rates = np.where(index < 0, floors + (peaks - floors) * x, rates)
        if self._last is not None:
            rates = np.where(index >= self._last, floors, rates)
        return float(rates) if np.ndim(t) == 0 else rates

    def _locate(self, t: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Index, start and length of the cycle of each position, as in `Cycle`."""
        ahead = self._spans()
        spans = [next(ahead)]
        start, length, denominator = spans[0]
        if exact(self.T_mult) == 1:
            index, starts = periods(t, start, length, denominator)
            lengths = np.full(t.shape, length / denominator)
            if self._last is not None:
                starts = np.where(index > self._last, (start + self._last * length) / denominator, starts)
                index = np.minimum(index, self._last)
        else:
            top = float(t.max(initial=0.0))
            while spans[-1][0] / spans[-1][2] <= top and (self._last is None or len(spans) <= self._last):
                spans.append(next(ahead))
            begins = np.array([start / denominator for start, _, denominator in spans])
            index = np.maximum(np.searchsorted(begins, t, side="right") - 1, 0)
            starts = begins[index]
            lengths = np.array([length / denominator for _, length, denominator in spans])[index]
        if self._last is not None:
            lengths = np.where(index >= self._last, np.inf, lengths)
        warmup = float(exact(self.warmup))
        before = t < warmup
        return np.where(before, -1, index), np.where(before, 0.0, starts), np.where(before, warmup, lengths)

    def cycle_at(self, t: float) -> Cycle:
        """Index, start, length and `T_cur` (epochs) of the cycle that holds the position of `t` epochs.

        Raises:
            ValueError: If the position is negative, infinite or NaN.
        """
        index, start, length = self._locate(positions(t))
        return Cycle(int(index), float(start), float(length), float(t) - float(start))

    def cycle_ends(self, epochs: float) -> list[float]:
        """The epochs after which a cycle is complete, up to and with `epochs`: `[10, 30, 70]` for `(10, 2)` and 100.

        Raises:
            ValueError: If `epochs` is negative, infinite or NaN.
        """
        most = float(positions(epochs))
        return list(itertools.takewhile(lambda end: end <= most, map(_tidy, self._ends())))

    def epochs_for(self, cycles: int) -> int:
        """How many epochs must run to complete so many cycles, warmup included.

        Rounded up where a cycle ends inside an epoch.

        Raises:
            ValueError: If `cycles` is not positive, or more than the schedule runs.
        """
        require(
            is_integer(cycles) and cycles <= (self._last or math.inf),
            "`cycles` must be a positive integer" + (f", at most {self._last}, which are run." if self._last else "."),
            "cycles",
            cycles,
            "Pass how many cycles to complete.",
        )
        return math.ceil(next(itertools.islice(self._ends(), int(cycles) - 1, None)))

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """The learning rate of every update of `fit(epochs=..., initial_epoch=...)`, without training.

        Returns:
            float64, shape `((epochs - initial_epoch) * steps_per_epoch,)`.

        Raises:
            ValueError: If `epochs` is less than `initial_epoch`, that negative, or `steps_per_epoch` not positive.
        """
        updates = updates_of_fit(epochs, steps_per_epoch, initial_epoch)
        grid = self.on_grid(steps_per_epoch, updates.stop)
        rates = np.empty(len(updates), np.float64)
        for begin in range(0, len(updates), _BLOCK):
            block = updates[begin : begin + _BLOCK]
            rates[begin : begin + _BLOCK] = grid.rates(np.arange(block.start, block.stop))
        return rates

    def on_grid(self, steps_per_epoch: int, updates: int) -> CycleGrid:
        """The cycles of the first `updates` updates at `steps_per_epoch` updates an epoch."""
        n = int(steps_per_epoch)
        T_0, warmup = exact(self.T_0) * n, exact(self.warmup) * n
        origin = math.ceil(warmup)
        stop: int | None = None
        period: int | None = None
        if exact(self.T_mult) == 1 and T_0.numerator < updates:
            # The layout repeats after as many cycles as the denominator says.
            period = T_0.numerator
            if self._last is not None:
                stop = math.ceil(warmup + self._last * T_0)
        layout: list[tuple[int, float, float, float]] = []
        for this, following in itertools.pairwise(self._spans()):
            if period is not None:
                if len(layout) == T_0.denominator:
                    break
            elif layout:
                first = first_update(this, n)
                if first >= updates:
                    break
                if len(layout) == self._last:
                    stop = first
                    break
            layout.append(lay(this, following, n, self.end == "inclusive"))
        first_updates = np.array([first for first, *_ in layout], np.int64)
        scale, offset, length = np.array([numbers for _, *numbers in layout], np.float64).T
        if period is None:
            eta_max, eta_min = self._peaks(np.arange(len(layout)))
        else:
            count = math.ceil(updates / T_0) + 1
            eta_max, eta_min = self._differing_peaks(count if self._last is None else min(count, self._last))
        return CycleGrid(origin, stop, period, warmup, first_updates - origin, scale, offset, length, eta_max, eta_min)

    @classmethod
    def plan(cls, epochs: int, cycles: int | None = None, *, warmup: Epochs = 0.0) -> Plan:
        """Propose cycles of which the last ends exactly at the budget, in exact arithmetic.

        >>> print(WarmRestarts.plan(epochs=70, cycles=3))
        T_0   T_mult  cycles  ends after epoch    whole epochs
        10    2       3       10, 30, 70          yes
        70/3  1       3       23.333, 46.667, 70

        Args:
            epochs: The budget, the epochs that `fit` will run.
            cycles: Number of cycles to fit in; None for all of 1 to 8 that last at least an epoch each.
            warmup: Epochs of the budget that come before the first cycle.

        Returns:
            A tuple of proposals, each with `T_0`, `T_mult`, `cycles`, `ends`, `whole`, and the schedule from
            `restarts(eta_max, ...)`. First those whose cycles all end on whole epochs, and among these the paper's
            factors 2 and 1; a few other factors only where they end so.

        Raises:
            ValueError: If no such cycles fit into the budget, or an argument is out of range.
        """
        from keras_sgdr.planning import propose  # Which builds on this module.

        return propose(epochs, cycles, warmup)

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        return {**asdict(self), **{name: to_json(getattr(self, name)) for name in ("T_0", "T_mult", "warmup")}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


def _tidy(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)
