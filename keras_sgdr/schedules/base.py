"""What a learning rate schedule is: a function of the position in epochs, and the cycles that it runs in."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_sgdr._checks import integer, require
from keras_sgdr._text import call_of
from keras_sgdr.schedules.exact import FloatArray, nearest, position, tidy, updates_of_fit

__all__ = ["MOST_CYCLES", "Cycle", "Schedule"]

MOST_CYCLES = 100_000  # That are counted at once, in about a second.


@dataclass(frozen=True, slots=True, repr=False)
class Cycle:
    """A cycle (the paper's run): from a restart to the next."""

    index: int
    """Counted from 0."""
    start: Fraction
    """Where it begins, in epochs, exact."""
    length: Fraction
    """`T_i`, in epochs, exact."""
    first: int
    """Its first update, counted from the first of epoch 0."""
    stop: int
    """The first update after it; equal to `first` where the cycle lies between two updates."""

    @classmethod
    def of(cls, index: int, start: Fraction, length: Fraction, steps_per_epoch: int) -> Cycle:
        """The cycle that begins at `start` and lasts `length` epochs, at so many updates an epoch."""
        end = start + length
        return cls(index, start, length, math.ceil(start * steps_per_epoch), math.ceil(end * steps_per_epoch))

    @property
    def end(self) -> Fraction:
        """Where it ends, in epochs, exact."""
        return self.start + self.length

    def __repr__(self) -> str:
        return call_of(self)


class Schedule(ABC):
    """A learning rate schedule, for `SGDR(schedule=...)`, the plots and the study.

    A schedule of your own defines `__call__` and `cycles`; everything else follows from the two.

    Example:

    ```python
    class Triangle(Schedule):
        # Falls from 0.1 to 0 in each epoch, in a straight line.
        def __call__(self, t):
            return 0.1 * (1 - np.asarray(t) % 1)

        def cycles(self, steps_per_epoch=1):
            for i in itertools.count():
                yield Cycle.of(i, Fraction(i), Fraction(1), steps_per_epoch)
    ```
    """

    @abstractmethod
    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, an array for an array."""

    @abstractmethod
    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        """The cycles one after another, without end or until the last; none where the schedule never restarts.

        Before the first cycle, between two and after the last there may be updates that belong to none.

        Args:
            steps_per_epoch: Updates in an epoch.
        """

    def for_fit(self, epochs: int, learning_rate: float) -> Schedule:
        """The schedule of one `fit`, once the number of its epochs and the optimizer's own rate are known."""
        del epochs, learning_rate
        return self

    def cycles_from(self, update: int, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        """The cycles that are not over before an update, in order."""
        return itertools.dropwhile(lambda cycle: cycle.stop <= update, self.cycles(steps_per_epoch))

    def split(self, updates: range, steps_per_epoch: int) -> Iterator[tuple[Cycle | None, range]]:
        """Divide consecutive updates among the cycles; with None those that belong to none."""
        at = updates.start
        for cycle in self.cycles_from(at, steps_per_epoch):
            first, stop = min(max(cycle.first, at), updates.stop), min(cycle.stop, updates.stop)
            if at < first:
                yield None, range(at, first)
            if first < stop:
                yield cycle, range(first, stop)
            at = max(first, stop)
            if at == updates.stop:
                return
        if at < updates.stop:
            yield None, range(at, updates.stop)

    def cycle_at(self, t: float) -> Cycle | None:
        """The cycle that holds the position of `t` epochs; None before the first, and after the last.

        Raises:
            ValueError: If the position is negative, infinite or NaN.
        """
        at = position(t)
        for cycle in self.cycles_from(math.floor(at)):
            if at < nearest(*cycle.end.as_integer_ratio()):
                return cycle if at >= nearest(*cycle.start.as_integer_ratio()) else None
        return None

    def cycle_ends(self, epochs: float) -> list[float]:
        """The epochs after which a cycle is complete, up to and with `epochs`: `[10, 30, 70]` for `(10, 2)` and 100.

        Raises:
            ValueError: If `epochs` is negative, infinite or NaN, or the ends are too many to be listed.
        """
        most = position(epochs)
        ends = itertools.takewhile(lambda end: end <= most, (tidy(*end) for end in self._ends()))
        listed = list(itertools.islice(ends, MOST_CYCLES + 1))
        rule = f"At most {MOST_CYCLES} ends of cycles are listed."
        require(len(listed) <= MOST_CYCLES, rule, "epochs", epochs, "Pass fewer epochs.")
        return listed

    def epochs_for(self, n_cycles: int) -> int:
        """How many epochs must run to complete so many cycles, what comes before the first included.

        Rounded up where a cycle ends inside an epoch.

        Raises:
            ValueError: If `n_cycles` is not positive, more than the schedule runs, or more than can be counted.
        """
        fix = "Pass how many cycles to complete."
        integer("n_cycles", n_cycles, fix)
        require(n_cycles <= MOST_CYCLES, f"`n_cycles` must be at most {MOST_CYCLES}.", "n_cycles", n_cycles, fix)
        run, end = 0, (0, 1)
        for run, end in enumerate(itertools.islice(self._ends(), int(n_cycles)), 1):  # noqa: B007  # To the last.
            pass
        rule = f"`n_cycles` must be at most {run}, the number of cycles that are run."
        require(run == n_cycles, rule, "n_cycles", n_cycles, fix)
        return -(-end[0] // end[1])

    def _ends(self) -> Iterator[tuple[int, int]]:
        """Where the cycles end, in epochs, exact, each as a quotient of integers."""
        return (cycle.end.as_integer_ratio() for cycle in self.cycles())

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """The learning rate of every update of `fit(epochs=..., initial_epoch=...)`, without training.

        Returns:
            float64, shape `((epochs - initial_epoch) * steps_per_epoch,)`.

        Raises:
            ValueError: If `epochs` is less than `initial_epoch`, that negative, `steps_per_epoch` not positive, or they
                are too many.
        """
        updates = updates_of_fit(epochs, steps_per_epoch, initial_epoch)
        rates = np.asarray(self(np.arange(updates.start, updates.stop) / int(steps_per_epoch)), np.float64)
        rule = "A schedule must return a rate for every position of an array."
        fix = "Compute with NumPy in `__call__`, element by element."
        require(rates.shape == (len(updates),), rule, "shape", rates.shape, fix)
        valid = bool(np.all(np.isfinite(rates) & (rates >= 0)))
        rule = "A schedule must return finite rates, 0 or more."
        require(valid, rule, "schedule", self, "Look at its `learning_rates(...)`.")
        return rates
