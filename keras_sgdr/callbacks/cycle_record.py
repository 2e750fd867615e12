"""The record of a training: its cycles, the rates they began and ended with, and their last metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from keras_sgdr._text import CycleRows
from keras_sgdr.schedules import Cycle, Schedule

__all__ = ["CycleRecord"]


class CycleRecord:
    """A row for each cycle that was run.

    Args:
        schedule: Of the rates.
        positions: Positions of an epoch that the cycles are told apart by.
        stride: Of these, those from one update to the next.

    Attributes:
        rows: See `SGDR.cycles`.
    """

    def __init__(self, schedule: Schedule, positions: int, stride: int) -> None:
        self._schedule, self._positions, self._stride = schedule, positions, stride
        self.rows = CycleRows()

    def _parts(self, epoch: int) -> Iterator[tuple[Cycle | None, range, int, int]]:
        """The cycles that have a part of an epoch, its positions, and its first update and that after its last."""
        begin = epoch * self._positions
        for cycle, part in self._schedule.split(range(begin, begin + self._positions), self._positions):
            first, stop = (-(-(position - begin) // self._stride) for position in (part.start, part.stop))
            yield cycle, part, first, stop

    def begun_in(self, epoch: int) -> Iterator[tuple[Cycle, int]]:
        """The cycles that begin in an epoch, and the first update of each in it."""
        for cycle, part, first, _ in self._parts(epoch):
            if cycle is not None and part.start == cycle.first:
                yield cycle, first

    def add(
        self,
        epoch: int,
        run: Fraction | int,
        updates: int | None,
        metrics: dict[str, Any],
        rate: Callable[[int], float],
    ) -> None:
        """Take up an epoch. A cycle that has ended before the epoch's end has no metrics: they are of other weights.

        Args:
            epoch: From 0.
            run: The part of the epoch that was run.
            updates: Updates of it that were made; None where the rate is held through the epoch.
            metrics: Of its end.
            rate: The rate of an update of it.
        """
        positions = int(run * self._positions)
        reached = epoch * self._positions + positions
        applied = positions if updates is None else updates
        for cycle, part, first, end in self._parts(epoch):
            stop = min(end, applied)
            if first >= stop:
                continue
            index = -1 if cycle is None else cycle.index
            if not self.rows or self.rows[-1]["index"] != index:
                length = None if cycle is None else float(cycle.length)
                begun = {"index": index, "first_epoch": epoch, "last_epoch": epoch, "length": length}
                self.rows.append({**begun, "first_rate": rate(first)})
            complete = cycle is not None and reached >= cycle.stop
            row = self.rows[-1]
            row.update(last_epoch=epoch, last_rate=rate(stop - 1), complete=complete)
            if part.stop < reached:
                for name in metrics.keys() & row.keys():
                    del row[name]
            else:
                row.update(metrics)
