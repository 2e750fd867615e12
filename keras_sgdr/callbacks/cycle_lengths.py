"""How long the cycle of each update is, for an optimizer that normalises its weight decay by that."""

from __future__ import annotations

import math

import numpy as np

from keras_sgdr.arguments import FloatArray
from keras_sgdr.callbacks.position import updates_before
from keras_sgdr.cycles import Cycle, Schedule

__all__ = ["cycle_lengths"]


def cycle_lengths(schedule: Schedule, epochs: range, steps: int, budget: int) -> FloatArray:
    """`T_i` (epochs) of the cycle of each update, shape `(len(epochs) * steps,)`.

    In warmup that of the first cycle, after the last of limited cycles that of the last, and of a schedule without
    cycles the budget.

    Args:
        schedule: The schedule.
        epochs: The epochs.
        steps: Updates in an epoch.
        budget: Epochs of the whole training.
    """
    lengths = np.empty(len(epochs) * steps, np.float64)
    origin = epochs.start * steps
    first = 0
    while first < len(lengths):
        cycle = schedule.cycle_at((origin + first) / steps)
        end = min(cycle.start + cycle.length, epochs.stop)
        stop = max(updates_before(end, steps) - origin, first + 1)
        lengths[first:stop] = _T_i(schedule, cycle, budget)
        first = stop
    return lengths


def _T_i(schedule: Schedule, cycle: Cycle, budget: int) -> float:
    if cycle.index < 0:
        return _T_i(schedule, schedule.cycle_at(cycle.start + cycle.length), budget)
    if math.isfinite(cycle.length):
        return cycle.length
    return schedule.cycle_at(math.nextafter(cycle.start, 0.0)).length if cycle.index > 0 else float(budget)
