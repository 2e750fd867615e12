"""Where cycles begin, decided in integers: among positions in epochs, and on the grid of updates.

Never with a logarithm and never by adding floats, so that no restart comes an update early or late however long the
run.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from keras_sgdr._checks import integer, invalid, require
from keras_sgdr.schedules.base import MOST_CYCLES, Cycle
from keras_sgdr.schedules.exact import MOST_UPDATES, FloatArray, IntArray, nearest

__all__ = ["Boundaries", "CycleGrid", "periods"]

# With T_mult < 1 the cycles of an endless run shrink to nothing at T_0 / (1 - T_mult) epochs. Cycles shorter than this,
# which no data set's update resolves, are not run; the rate rests at the last eta_min from there on.
SHORTEST_CYCLE = 1e-6
# The exact starts of cycles have as many bits as their number times those of T_mult, so that to walk past `n` of them
# costs the square of `n` times these bits. More than this would take longer than a second.
MOST_WORK = 2 * 10**9

# First update of a cycle, and `scale`, `offset` and `length` of `CycleGrid`.
Layout = list[tuple[int, float, float, float]]
# A position in epochs as integers: `(start, length, denominator)` of a cycle, the first two over the third.
Span = tuple[int, int, int]


@dataclass(frozen=True)
class Boundaries:
    """Where each cycle begins and ends, in epochs.

    Attributes:
        T_0: Length of the first cycle.
        T_mult: Factor from one cycle's length to the next.
        warmup: Epochs before the first cycle.
        cycle_limit: The number of cycles, None without end.
    """

    T_0: Fraction
    T_mult: Fraction
    warmup: Fraction
    cycle_limit: int | None

    @cached_property
    def n_cycles(self) -> int | None:
        """The number of cycles that are run, or None without end."""
        T_0, T_mult = float(self.T_0), float(self.T_mult)
        if T_mult >= 1:
            return self.cycle_limit
        limit = self.cycle_limit or math.inf
        beyond = 1
        while T_0 * T_mult**beyond >= SHORTEST_CYCLE:
            beyond *= 2
        run = bisect.bisect_left(range(beyond), True, lo=1, key=lambda index: T_0 * T_mult**index < SHORTEST_CYCLE)
        return int(min(run, limit))

    def spans(self) -> Iterator[Span]:
        """Start and length of each cycle, in epochs; goes on after the last.

        Without reducing the fractions: the greatest common divisors would cost more than all the rest.

        Raises:
            ValueError: At more cycles than can be walked past in a second or two.
        """
        most = 2 * MOST_CYCLES
        if self.T_mult != 1:
            most = min(most, math.isqrt(MOST_WORK // max(self.T_mult.as_integer_ratio()).bit_length()))
        denominator = math.lcm(self.T_0.denominator, self.warmup.denominator)
        start, length = int(self.warmup * denominator), int(self.T_0 * denominator)
        for _ in range(most):
            yield start, length, denominator
            start = (start + length) * self.T_mult.denominator
            length *= self.T_mult.numerator
            denominator *= self.T_mult.denominator
        raise invalid(
            f"A run must lie in the first {most} cycles, where their factor is as here.",
            f"T_0={float(self.T_0):g}, T_mult={float(self.T_mult)!r}",
            "Choose longer cycles, or simpler fractions for `T_0` and `T_mult`.",
        )

    def cycles_from(self, update: int, steps_per_epoch: int) -> Iterator[Cycle]:
        """The cycles that are not over before an update, in order.

        Raises:
            ValueError: If one of the two is no such number.
        """
        integer("update", update, "Pass the number of an update, from 0.", least=0)
        integer("steps_per_epoch", steps_per_epoch, "Pass the updates in an epoch.")
        return self._cycles_from(int(update), int(steps_per_epoch))

    def _cycles_from(self, update: int, steps_per_epoch: int) -> Iterator[Cycle]:
        if self.T_mult == 1:  # No need to walk past each of them.
            index = max((update - self.warmup * steps_per_epoch) // (self.T_0 * steps_per_epoch), 0)
            while self.n_cycles is None or index < self.n_cycles:
                yield Cycle.of(index, self.warmup + index * self.T_0, self.T_0, steps_per_epoch)
                index += 1
            return
        for index, span in enumerate(itertools.islice(self.spans(), self.n_cycles)):
            start, length, denominator = span
            if (start + length) * steps_per_epoch > update * denominator:
                yield Cycle.of(index, Fraction(start, denominator), Fraction(length, denominator), steps_per_epoch)

    def cycle(self, index: int) -> Cycle:
        """The cycle of this number, at an update an epoch."""
        if self.T_mult == 1:
            return Cycle.of(index, self.warmup + index * self.T_0, self.T_0, 1)
        start, length, denominator = next(itertools.islice(self.spans(), index, None))
        return Cycle.of(index, Fraction(start, denominator), Fraction(length, denominator), 1)

    def ends(self) -> Iterator[tuple[int, int]]:
        """The epochs after which each cycle is over, as quotients of integers."""
        for start, length, denominator in itertools.islice(self.spans(), self.n_cycles):
            yield start + length, denominator

    def locate(self, t: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Index, start and length (epochs) of the cycle of each position.

        During warmup the index is -1, the start 0 and the length that of the warmup; after the last cycle the index is
        the number of cycles and the length infinite.
        """
        ahead = self.spans()
        start, length, denominator = next(ahead)
        if self.T_mult == 1:
            index, starts = periods(t, start, length, denominator)
            rule = f"A position must lie in the first {MOST_UPDATES} cycles, where a float64 tells one from the next."
            valid = bool(index.max(initial=0.0) < MOST_UPDATES)
            require(valid, rule, "t", float(t.max(initial=0.0)), "Pass an earlier position.")
            index = index.astype(np.int64)
            lengths = np.full(t.shape, length / denominator)
            if self.n_cycles is not None:
                starts = np.where(index > self.n_cycles, (start + self.n_cycles * length) / denominator, starts)
                index = np.minimum(index, self.n_cycles)
        else:
            top = float(t.max(initial=0.0))
            spans = [(start / denominator, length / denominator)]
            while spans[-1][0] <= top and (self.n_cycles is None or len(spans) <= self.n_cycles):
                start, length, denominator = next(ahead)
                spans.append((nearest(start, denominator), nearest(length, denominator)))
            begins, all_lengths = np.array(spans).T
            index = np.maximum(np.searchsorted(begins, t, side="right") - 1, 0)
            starts, lengths = begins[index], all_lengths[index]
        if self.n_cycles is not None:
            lengths = np.where(index >= self.n_cycles, np.inf, lengths)
        warmup = float(self.warmup)
        before = t < warmup
        return np.where(before, -1, index), np.where(before, 0.0, starts), np.where(before, warmup, lengths)

    def layout(self, steps_per_epoch: int, updates: int, inclusive: bool) -> tuple[Layout, int | None, int | None]:
        """The cycles of the first `updates` updates on their grid: layout, `stop` and `period` of a `CycleGrid`.

        Raises:
            ValueError: If they are too many.
        """
        T_0 = self.T_0 * steps_per_epoch
        stop: int | None = None
        period: int | None = None
        if self.T_mult == 1 and T_0.numerator < updates:
            # The layout repeats after as many cycles as the denominator says.
            period = T_0.numerator
            if self.n_cycles is not None:
                stop = math.ceil(self.warmup * steps_per_epoch + self.n_cycles * T_0)
        layout: Layout = []
        begun = ((_first_update(span, steps_per_epoch), span) for span in self.spans())
        for (first, span), (following, _) in itertools.pairwise(begun):
            if period is not None:
                if len(layout) == T_0.denominator:
                    break
            elif layout:
                if first >= updates:
                    break
                if len(layout) == self.n_cycles:
                    stop = first
                    break
            last = following - 1 if inclusive else None
            layout.append((first, *_place(span, steps_per_epoch, first, last)))
        return layout, stop, period


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

    def locate(self, k: IntArray) -> tuple[FloatArray, IntArray]:
        """Of the updates `k`, an integer array of any shape: `T_cur / T_i`, and the place of their cycle in `eta_max`.

        Updates of warmup, and those after the last cycle, are given numbers of no account.
        """
        r = np.maximum(k - self.origin, 0)
        if self.period is None:
            number = j = np.searchsorted(self.first, r, side="right") - 1
        else:
            block, r = np.divmod(r, self.period)
            j = np.searchsorted(self.first, r, side="right") - 1 if len(self.first) > 1 else np.zeros_like(r)
            number = np.minimum(block * len(self.first) + j, len(self.eta_max) - 1)
        return ((r - self.first[j]) * self.scale[j] + self.offset[j]) / self.length[j], number


def _first_update(span: Span, steps_per_epoch: int) -> int:
    """The first update in a cycle, or after it where it holds none."""
    return -(-span[0] * steps_per_epoch // span[2])


def _place(span: Span, steps_per_epoch: int, first: int, last: int | None) -> tuple[float, float, float]:
    """The numbers that give `T_cur / T_i` from a cycle's first update on: see `CycleGrid`.

    Where its last update is given, the fraction is 1 there.
    """
    start, length, scale = span[0] * steps_per_epoch, span[1] * steps_per_epoch, span[2]
    offset = first * scale - start
    if last is not None:
        if last <= first:
            return 1.0, 0.0, 1.0
        length = (last - first) * scale + offset
    if max(length, scale) < 2**53:
        return float(scale), float(offset), float(length)
    return 1.0, offset / scale, nearest(length, scale)


def periods(t: FloatArray, start: int, length: int, denominator: int) -> tuple[FloatArray, FloatArray]:
    """Which period holds each position, a whole number, and where it begins; periods follow one another without a gap.

    A period's begin is the float nearest to the exact one, and belongs to it. Positions before the first are in it.
    Beyond 2**53 periods their number is rounded.

    Args:
        t: Positions in epochs.
        start: Begin of the first period, in parts of an epoch.
        length: Length of a period, in parts of an epoch.
        denominator: Parts of an epoch.
    """
    with np.errstate(over="ignore"):
        rounded = np.maximum(np.floor((t - start / denominator) / (length / denominator)), 0)
    index = np.where(rounded < 2**53, rounded, 0.0)
    fits = max(start + length * (int(index.max(initial=0)) + 2), denominator) < 2**53

    def begin(i: FloatArray) -> FloatArray:
        # Python's integers where float64 does not hold the product.
        exactly = i if fits else i.astype(np.int64).astype(object)
        return np.asarray((start + exactly * length) / denominator, np.float64)

    # The quotient of rounded numbers may be one off.
    index -= (begin(index) > t) & (index > 0)
    index += begin(index + 1) <= t
    return np.where(rounded < 2**53, index, rounded), begin(index)
