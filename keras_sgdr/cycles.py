"""The learning rate as a function of epochs: SGDR's cycles, and step decay as the baseline.

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
from numbers import Rational, Real
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Cycle", "CycleGrid", "Schedule", "StepDecay", "WarmRestarts"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Epochs = float | Fraction | str

# With T_mult < 1 the cycles of an endless run shrink to nothing at T_0 / (1 - T_mult) epochs. Cycles shorter than this,
# which no data set's update resolves, are not run; the rate rests at the last eta_min from there on.
SHORTEST_CYCLE = 1e-6


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


def exact(value: Epochs) -> Fraction:
    """The number that is meant: the simplest fraction that rounds to the float.

    `0.1` means one tenth and `1 / 3` one third, so a cycle of `T_0=0.1` epochs at ten updates an epoch is one update.
    Floats with no such fraction of a denominator up to a million stand for their own binary value.
    """
    if isinstance(value, str | Rational):
        return Fraction(value)
    simple = Fraction(float(value)).limit_denominator(1_000_000)
    return simple if float(simple) == float(value) else Fraction(float(value))


def _tidy(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)


def _require(valid: bool, rule: str, name: str, value: object, fix: str) -> None:
    if not valid:
        raise ValueError(f"{rule} Received: {name}={value!r}. {fix}")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real | str):
        return False
    try:
        return math.isfinite(float(Fraction(value)) if isinstance(value, str) else float(value))
    except (ValueError, ZeroDivisionError):
        return False


def _positive(value: object) -> bool:
    return _is_number(value) and exact(value) > 0  # type: ignore[arg-type]


def _updates(epochs: int, steps_per_epoch: int, initial_epoch: int) -> range:
    """The updates of a `fit`, counted from the first of epoch 0."""
    for name, value, least in (
        ("initial_epoch", initial_epoch, 0),
        ("epochs", epochs, initial_epoch),
        ("steps_per_epoch", steps_per_epoch, 1),
    ):
        _require(
            isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least,
            f"`{name}` must be an integer, at least {least}.",
            name,
            value,
            "Pass the numbers that `fit` will run.",
        )
    return range(int(initial_epoch * steps_per_epoch), int(epochs * steps_per_epoch))


@dataclass(frozen=True)
class CycleGrid:
    """The cycles laid on the grid of updates: what is needed to find the rate of an update with integers alone.

    Update `k >= origin` belongs to the last cycle `j` with `first[j] <= r`, where `r = k - origin`; it has run the
    fraction `((r - first[j]) * scale[j] + offset[j]) / length[j]` of its cycle. The three are integers where float64
    holds them, so that the quotient is the rounded exact one. `eta_max` and `eta_min` are those of each cycle.

    Attributes:
        origin: First update after warmup.
        stop: First update after the last cycle, or None if the cycles go on.
        period: If the layout repeats (`T_mult=1`), the updates after which it does: then `r` is taken modulo
            `period`, and `eta_max`, `eta_min` are indexed by the running number of the cycle, the last entry holding
            on.
        warmup: Updates of warmup; a fraction where warmup ends between two updates.
    """

    origin: int
    stop: int | None
    period: int | None
    warmup: Fraction
    first: IntArray
    scale: FloatArray
    offset: FloatArray
    length: FloatArray
    eta_max: FloatArray
    eta_min: FloatArray

    def rates(self, k: IntArray) -> FloatArray:
        """Learning rates of the updates `k`, an integer array of any shape."""
        r = np.maximum(k - self.origin, 0)
        number: IntArray | int
        if self.period is None:
            j = np.searchsorted(self.first, r, side="right") - 1
            number = j
        else:
            block, r = np.divmod(r, self.period)
            j = np.searchsorted(self.first, r, side="right") - 1 if len(self.first) > 1 else np.zeros_like(r)
            number = np.minimum(block * len(self.first) + j, len(self.eta_max) - 1)
        x = ((r - self.first[j]) * self.scale[j] + self.offset[j]) / self.length[j]
        rates = anneal(x, self.eta_max[number], self.eta_min[number])
        if self.stop is not None:
            rates = np.where(k >= self.stop, self.eta_min[-1], rates)
        if self.origin:
            rise = k * float(self.warmup.denominator) / float(self.warmup.numerator)
            peak, floor = self.eta_max[0], self.eta_min[0]
            rates = np.where(k < self.origin, floor + (peak - floor) * rise, rates)
        return rates


def anneal(x: ArrayLike, eta_max: ArrayLike, eta_min: ArrayLike) -> FloatArray:
    """Equation (5) of the paper, `x = T_cur / T_i`; exactly `eta_max` at `x = 0`, exactly `eta_min` at `x = 1`."""
    x, eta_max, eta_min = np.asarray(x, np.float64), np.asarray(eta_max), np.asarray(eta_min)
    rates = eta_min + 0.5 * (eta_max - eta_min) * (1 + np.cos(np.pi * x))
    # eta_min + (eta_max - eta_min) can miss eta_max by one unit in the last place.
    return np.where(x == 0, eta_max, rates)


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
        eta_max_decay: Factor on `eta_max` at each restart. Not together with a list.
        eta_min_decay: Factor on `eta_min` at each restart. Not together with a list. The floor never exceeds the peak:
            where decay would bring `eta_max` below `eta_min`, both are `eta_max`.
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
        _require(
            _positive(self.T_0),
            "`T_0` must be a positive number of epochs.",
            "T_0",
            self.T_0,
            "Pass the length of the first cycle, such as T_0=10.",
        )
        _require(
            _positive(self.T_mult),
            "`T_mult` must be a positive number.",
            "T_mult",
            self.T_mult,
            "Pass T_mult=1 for cycles of one length, T_mult=2 to double each.",
        )
        _require(
            _is_number(self.warmup) and exact(self.warmup) >= 0,
            "`warmup` must be a number of epochs, 0 or more.",
            "warmup",
            self.warmup,
            "Pass warmup=0 for none.",
        )
        _require(
            self.cycles is None or (isinstance(self.cycles, int | np.integer) and self.cycles > 0),
            "`cycles` must be a positive integer or None.",
            "cycles",
            self.cycles,
            "Pass the number of cycles to run, or None to go on for ever.",
        )
        _require(
            self.end in ("exclusive", "inclusive"),
            '`end` must be "exclusive" or "inclusive".',
            "end",
            self.end,
            "Pass one of the two.",
        )
        for name in ("eta_max", "eta_min"):
            self._check_rates(name)
        for i, (peak, floor) in enumerate(zip(*self._longest(), strict=True)):
            _require(
                floor <= peak,
                f"`eta_min` must not exceed `eta_max`, in cycle {i} either.",
                "(eta_min, eta_max)",
                (floor, peak),
                "Lower `eta_min` or raise `eta_max`.",
            )

    def _check_rates(self, name: str) -> None:
        value, decay = getattr(self, name), getattr(self, f"{name}_decay")
        _require(
            _is_number(decay) and not isinstance(decay, str) and decay > 0,
            f"`{name}_decay` must be a positive number.",
            f"{name}_decay",
            decay,
            f"Pass {name}_decay=1 for no decay.",
        )
        if not isinstance(value, str) and isinstance(value, Sequence | np.ndarray):
            object.__setattr__(self, name, tuple(value))
            at_most = self.cycles or math.inf
            _require(
                1 <= len(value) <= at_most,
                f"A list for `{name}` must have one rate a cycle: at least 1"
                + (f", at most cycles={self.cycles}." if self.cycles else "."),
                name,
                value,
                "The last rate holds on for the cycles after it.",
            )
            _require(
                decay == 1,
                f"A list for `{name}` already says every cycle's rate, so `{name}_decay` must be 1.",
                f"{name}_decay",
                decay,
                f"Pass a number for `{name}`, or leave out `{name}_decay`.",
            )
        positive = name == "eta_max"
        for rate in self._sequence(name):
            valid = _is_number(rate) and not isinstance(rate, str) and (rate > 0 if positive else rate >= 0)
            _require(
                valid,
                f"`{name}` must be a finite {'positive' if positive else 'non-negative'} number, or a list of such.",
                name,
                value,
                "Pass a learning rate, such as eta_max=0.1." if positive else "Pass eta_min=0 to anneal to nothing.",
            )

    def _sequence(self, name: str) -> tuple[Any, ...]:
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)

    def _longest(self) -> tuple[list[float], list[float]]:
        """`eta_max` and `eta_min` of the cycles that lists tell apart, before any decay."""
        peaks, floors = self._sequence("eta_max"), self._sequence("eta_min")
        length = max(len(peaks), len(floors))
        return (
            [float(peaks[min(i, len(peaks) - 1)]) for i in range(length)],
            [float(floors[min(i, len(floors) - 1)]) for i in range(length)],
        )

    @cached_property
    def _last(self) -> int | None:
        """The number of cycles that are run, or None without end."""
        if exact(self.T_mult) >= 1:
            return self.cycles
        T_0, T_mult = float(exact(self.T_0)), float(exact(self.T_mult))
        limit = self.cycles or math.inf
        run = 1
        while run < limit and T_0 * T_mult**run >= SHORTEST_CYCLE:
            run += 1
        return run

    def _spans(self) -> Iterator[tuple[int, int, int]]:
        """Start and length of each cycle as integers over a common denominator: `(start, length, denominator)` in
        epochs.

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

    def _peaks(self, count: int) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the first cycles, as many as differ, at most `count`; the last entry holds on."""
        peaks, floors = self._longest()
        decay_max, decay_min = float(self.eta_max_decay), float(self.eta_min_decay)
        if decay_max != 1 or decay_min != 1:
            last = len(peaks) - 1
            listed, (peaks, floors) = (peaks, floors), ([], [])
            for i in range(max(count, 1)):
                peak, floor = listed[0][min(i, last)] * decay_max**i, listed[1][min(i, last)] * decay_min**i
                if i > last and (peak, floor) == (peaks[-1], floors[-1]):
                    break  # Decayed to nothing.
                peaks.append(peak)
                floors.append(floor)
        eta_max = np.array(peaks, np.float64)
        return eta_max, np.minimum(np.array(floors, np.float64), eta_max)

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, else a float64 array of the shape of `t`.

        Raises:
            ValueError: If a position is negative or NaN.
        """
        positions = np.asarray(t, np.float64)
        index, start, length = self._locate(positions)
        peaks, floors = self._peaks(int(index.max(initial=0)) + 1)
        number = np.clip(index, 0, len(peaks) - 1)
        if self._last is not None:
            number = np.minimum(number, self._last - 1)
        with np.errstate(invalid="ignore"):
            x = np.clip((positions - start) / length, 0.0, 1.0)
        rates = anneal(x, peaks[number], floors[number])
        rates = np.where(index < 0, floors[0] + (peaks[0] - floors[0]) * x, rates)
        if self._last is not None:
            rates = np.where(index >= self._last, floors[number], rates)
        return float(rates) if np.ndim(t) == 0 else rates

    def _locate(self, t: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Index, start and length of the cycle of each position. A boundary is the float nearest to the exact one."""
        if not np.all(t >= 0):
            raise ValueError(
                f"A position must be a number of epochs, 0 or more. Received: t={t!r}. Positions count from the start."
            )
        top = float(t.max(initial=0.0))
        warmup = float(exact(self.warmup))
        if exact(self.T_mult) == 1:
            start, length, denominator = next(self._spans())

            def begin(i: IntArray) -> FloatArray:
                return (start + i * length) / denominator

            index = np.maximum((t - warmup) // (length / denominator), 0).astype(np.int64)
            index -= begin(index) > t
            index += begin(index + 1) <= t
            if self._last is not None:
                index = np.minimum(index, self._last)
            starts, lengths = begin(index), np.full(t.shape, length / denominator)
        else:
            ahead = self._spans()
            spans = [next(ahead)]
            while spans[-1][0] / spans[-1][2] <= top and (self._last is None or len(spans) <= self._last):
                spans.append(next(ahead))
            begins = np.array([start / denominator for start, _, denominator in spans])
            index = np.searchsorted(begins, t, side="right") - 1
            starts = begins[index]
            lengths = np.array([length / denominator for _, length, denominator in spans])[index]
        before = t < warmup
        index = np.where(before, -1, index)
        starts = np.where(before, 0.0, starts)
        lengths = np.where(before, warmup, lengths)
        if self._last is not None:
            lengths = np.where(index >= self._last, np.inf, lengths)
        return index, starts, lengths

    def cycle_at(self, t: float) -> Cycle:
        """Index, start, length and `T_cur` (epochs) of the cycle that holds the position of `t` epochs."""
        index, start, length = self._locate(np.asarray(t, np.float64))
        return Cycle(int(index), float(start), float(length), float(t) - float(start))

    def cycle_ends(self, epochs: float) -> list[float]:
        """The epochs after which a cycle is complete, up to and with `epochs`: `[10, 30, 70]` for `(10, 2)` and 100."""
        return [_tidy(end) for end in itertools.takewhile(lambda end: end <= epochs, self._ends())]

    def epochs_for(self, cycles: int) -> int:
        """How many epochs must run to complete so many cycles, warmup included; rounded up where a cycle ends inside
        one.

        Raises:
            ValueError: If `cycles` is not positive, or more than the schedule runs.
        """
        _require(
            isinstance(cycles, int | np.integer) and 0 < cycles <= (self._last or math.inf),
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
        updates = _updates(epochs, steps_per_epoch, initial_epoch)
        grid = self.on_grid(steps_per_epoch, updates.stop)
        rates = np.empty(len(updates), np.float64)
        for begin in range(0, len(updates), _BLOCK):
            block = updates[begin : begin + _BLOCK]
            rates[begin : begin + _BLOCK] = grid.rates(np.arange(block.start, block.stop))
        return rates

    def on_grid(self, steps_per_epoch: int, updates: int) -> CycleGrid:
        """The cycles of the first `updates` updates at `steps_per_epoch` updates an epoch."""
        warmup = exact(self.warmup) * steps_per_epoch
        origin = math.ceil(warmup)
        T_0 = exact(self.T_0) * steps_per_epoch
        stop: int | None = None
        period: int | None = None
        spans: list[tuple[int, int, int]] = []
        if exact(self.T_mult) == 1:
            # The layout repeats after as many cycles as the denominator says.
            period = T_0.numerator
            spans = list(itertools.islice(self._spans(), T_0.denominator + 1))
            count = math.ceil(updates / T_0) + 1
            if self._last is not None:
                stop = math.ceil(warmup + self._last * T_0)
                count = min(count, self._last)
        else:
            for span in self._spans():
                spans.append(span)
                first_update = -(-span[0] * steps_per_epoch // span[2])
                if self._last is not None and len(spans) > self._last:
                    stop = first_update
                    break
                if first_update >= max(updates, 1) and len(spans) > 1:
                    break
            count = len(spans) - 1
        layout = [self._lay(this, following, steps_per_epoch) for this, following in itertools.pairwise(spans)]
        first = np.array([lay[0] for lay in layout], np.int64)
        scale, offset, length = np.array([lay[1:] for lay in layout], np.float64).T
        eta_max, eta_min = self._peaks(count)
        if period is None:
            number = np.minimum(np.arange(count), len(eta_max) - 1)
            eta_max, eta_min = eta_max[number], eta_min[number]
        return CycleGrid(origin, stop, period, warmup, first - origin, scale, offset, length, eta_max, eta_min)

    def _lay(
        self, span: tuple[int, int, int], following: tuple[int, int, int], n: int
    ) -> tuple[int, float, float, float]:
        """First update of a cycle, and the numbers that give `T_cur / T_i` from there on (see `CycleGrid`)."""
        start, length, scale = span[0] * n, span[1] * n, span[2]
        first = -(-start // scale)
        last = -(-following[0] * n // following[2]) - 1
        offset = first * scale - start
        if self.end == "inclusive":
            if last <= first:
                return first, 0.0, 0.0, 1.0
            length = (last - first) * scale + offset
        if length.bit_length() < 256:
            divisor = math.gcd(scale, offset, length)
            scale, offset, length = scale // divisor, offset // divisor, length // divisor
        if max(length, scale) < 2**53:
            return first, float(scale), float(offset), float(length)
        return first, 1.0, offset / scale, length / scale

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        config = asdict(self)
        for name in ("T_0", "T_mult", "warmup"):
            value = exact(config[name])
            config[name] = float(value) if exact(float(value)) == value else str(value)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


_BLOCK = 1 << 15  # updates evaluated at a time, so that the temporaries stay in the processor's cache


@dataclass(frozen=True)
class StepDecay:
    """Step decay, the baseline that SGDR is compared with: `eta * gamma ** floor(t / step_size)`.

    It never restarts, so it is one cycle without end: `cycle_ends` is empty.

    Args:
        eta: Learning rate of the first epochs.
        step_size: Epochs between two drops.
        gamma: Factor of each drop.

    Raises:
        ValueError: If a value is out of range.
    """

    eta: float
    step_size: Epochs = 60
    gamma: float = 0.1

    def __post_init__(self) -> None:
        for name, fix in (
            ("eta", "Pass a learning rate, such as eta=0.1."),
            ("step_size", "Pass the epochs between two drops, such as step_size=60."),
            ("gamma", "Pass the factor of a drop, such as gamma=0.1."),
        ):
            value = getattr(self, name)
            _require(_positive(value), f"`{name}` must be a finite positive number.", name, value, fix)

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, else a float64 array of the shape of `t`."""
        positions = np.asarray(t, np.float64)
        if not np.all(positions >= 0):
            raise ValueError(
                f"A position must be a number of epochs, 0 or more. Received: t={t!r}. Positions count from the start."
            )
        step = exact(self.step_size)
        drops = (positions // float(step)).astype(np.int64)
        drops += (drops + 1) * step.numerator / step.denominator <= positions
        rates = self._rates(drops)
        return float(rates) if np.ndim(t) == 0 else rates

    def _rates(self, drops: IntArray) -> FloatArray:
        table = [float(self.eta) * float(self.gamma) ** i for i in range(int(drops.max(initial=0)) + 1)]
        return np.array(table, np.float64)[drops]

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """The learning rate of every update, float64, shape `((epochs - initial_epoch) * steps_per_epoch,)`."""
        updates = _updates(epochs, steps_per_epoch, initial_epoch)
        step = exact(self.step_size) * steps_per_epoch
        return self._rates(np.arange(updates.start, updates.stop) * step.denominator // step.numerator)

    def cycle_at(self, t: float) -> Cycle:
        """The one cycle without end."""
        return Cycle(0, 0.0, math.inf, float(t))

    def cycle_ends(self, epochs: float) -> list[float]:
        """No cycle ends."""
        return []

    def epochs_for(self, cycles: int) -> int:
        """Step decay has no cycles to complete.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"Step decay never completes a cycle. Received: cycles={cycles}. Ask a `WarmRestarts`, or pass epochs."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
