"""Where the cycles of SGDR begin and end, counted in updates, in exact arithmetic."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from fractions import Fraction

from torch_reference._checks import require

__all__ = ["Cycle", "Cycles"]

# With T_mult < 1 the cycles have a limit point; those shorter than this many epochs are not run.
SHORTEST_CYCLE = 1e-6
# The exact starts of cycles have as many bits as their number times those of T_mult, so that to walk past `n` of them
# costs the square of `n` times these bits. With more than this it would take longer than a second.
MOST_WORK = 3 * 10**9


def exact(number: float) -> Fraction:
    """The simplest fraction that rounds to `number`: 0.1 means 1/10, not 3602879701896397/2**55."""
    number = float(number)
    simple = Fraction(number).limit_denominator(10**6)
    return simple if float(simple) == number else Fraction(number)


@dataclass(frozen=True)
class Cycle:
    """One run between two restarts: the updates `first <= k < stop`, those with `start <= k < start +
    length`.

    Attributes:
        index: Counted from 0.
        start: Where the cycle begins, in updates, a fraction where that is between two of them.
        length: In updates.
        first: Its first update.
        stop: The first update after it; equal to `first` where the cycle lies between two updates.
    """

    index: int
    start: Fraction
    length: Fraction
    first: int
    stop: int

    @classmethod
    def of(cls, index: int, start: Fraction, length: Fraction) -> Cycle:
        return cls(index, start, length, math.ceil(start), math.ceil(start + length))


class Cycles:
    """The sequence of cycles; finds the one of any update without a logarithm.

    Args:
        T_0: Length of the first cycle, in epochs.
        T_mult: Ratio of the lengths of two successive cycles.
        warmup: Epochs before the first cycle.
        cycle_limit: How many cycles there are; None for no end.
        steps_per_epoch: Updates in an epoch.
    """

    def __init__(self, T_0: float, T_mult: float, warmup: float, cycle_limit: int | None, steps_per_epoch: int) -> None:
        self._growth = exact(T_mult)
        self._first = Cycle.of(0, exact(warmup) * steps_per_epoch, exact(T_0) * steps_per_epoch)
        self._latest = self._first
        self._count: float = math.inf if cycle_limit is None else cycle_limit
        self._most = math.isqrt(MOST_WORK // max(self._growth.as_integer_ratio()).bit_length())
        if T_mult < 1:
            self._count = min(self._count, _cycles_that_are_run(T_0, T_mult))

    def at(self, step: int) -> Cycle:
        """The cycle of update `step`: the first one also during warmup, the last one also after its end.

        Raises:
            ValueError: If there are too many cycles before it to be walked past.
        """
        # Where the search begins is all that `_latest` decides, never what it finds.
        cycle = self._latest if step >= self._latest.first else self._first
        if step < cycle.stop or cycle.index + 1 >= self._count:
            self._latest = cycle
            return cycle
        if self._growth == 1:
            # Equal cycles: no need to walk past each of them.
            index = int(min((step - self._first.start) // cycle.length, self._count - 1))
            self._latest = Cycle.of(index, self._first.start + index * cycle.length, cycle.length)
            return self._latest
        # In integers over one denominator: to reduce the fractions would cost more than all the rest.
        index, denominator = cycle.index, math.lcm(cycle.start.denominator, cycle.length.denominator)
        start, length = int(cycle.start * denominator), int(cycle.length * denominator)
        while step * denominator >= start + length and index + 1 < self._count:
            index += 1
            rule = f"An update must lie in the first {self._most} cycles, where T_mult is {self._growth}."
            require(index < self._most, rule, f"step={step}", "Choose longer cycles, or a T_mult that is simpler.")
            start = (start + length) * self._growth.denominator
            length *= self._growth.numerator
            denominator *= self._growth.denominator
        self._latest = Cycle.of(index, Fraction(start, denominator), Fraction(length, denominator))
        return self._latest


def _cycles_that_are_run(T_0: float, T_mult: float) -> int:
    """The number of cycles, the first and those of `SHORTEST_CYCLE` or more, where they become shorter."""
    beyond = 1
    while T_0 * T_mult**beyond >= SHORTEST_CYCLE:
        beyond *= 2
    return bisect.bisect_left(range(beyond), True, lo=1, key=lambda index: T_0 * T_mult**index < SHORTEST_CYCLE)
