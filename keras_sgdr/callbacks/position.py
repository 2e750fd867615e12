"""Which cycles an epoch of `fit` holds."""

from __future__ import annotations

import math
from collections.abc import Iterator

from keras_sgdr.cycles import Cycle, Schedule

__all__ = ["cycles_of", "ends_in", "updates_before"]


def cycles_of(schedule: Schedule, epoch: int, steps: int) -> Iterator[tuple[Cycle, range]]:
    """The cycles that have updates in an epoch, and those updates, counted from the first of epoch 0.

    Args:
        schedule: The schedule.
        epoch: Number of the epoch, from 0.
        steps: Updates in an epoch.
    """
    t = float(epoch)
    index = None
    while t < epoch + 1:
        cycle = schedule.cycle_at(t)
        end = cycle.start + cycle.length
        if cycle.index != index:
            index = cycle.index
            first, stop = (updates_before(min(max(at, epoch), epoch + 1), steps) for at in (cycle.start, end))
            if stop > first:
                yield cycle, range(first, stop)
        t = max(end, math.nextafter(t, math.inf))


def ends_in(cycle: Cycle, epoch: int, steps: int) -> bool:
    """Whether the last update of a cycle that has updates in this epoch is one of them."""
    return not math.isinf(cycle.length) and updates_before(cycle.start + cycle.length, steps) <= (epoch + 1) * steps


def updates_before(t: float, steps: int) -> int:
    """The updates before the position of `t` epochs."""
    # Restarts lie on an update or at least a millionth of one away: see `arguments.exact`.
    return math.ceil(t * steps - 1e-7)
