"""Where the cycles of SGDR begin and end, counted in updates, in exact arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Cycle", "Cycles"]

# With T_mult < 1 the cycles have a limit point; those shorter than this many epochs are not run.
SHORTEST_CYCLE = 1e-6


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
        if T_mult < 1:
            count = 1
            while count < self._count and T_0 * T_mult**count >= SHORTEST_CYCLE:
                count += 1
            self._count = count

    def at(self, step: int) -> Cycle:
        """The cycle of update `step`: the first one also during warmup, the last one also after its end."""
        # Where the search begins is all that `_latest` decides, never what it finds.
        cycle = self._latest if step >= self._latest.first else self._first
        if step >= cycle.stop and self._growth == 1:
            # Equal cycles: no need to walk past each of them.
            index = int(min((step - self._first.start) // cycle.length, self._count - 1))
            cycle = Cycle.of(index, self._first.start + index * cycle.length, cycle.length)
        while step >= cycle.stop and cycle.index + 1 < self._count:
            cycle = Cycle.of(cycle.index + 1, cycle.start + cycle.length, cycle.length * self._growth)
        self._latest = cycle
        return cycle
