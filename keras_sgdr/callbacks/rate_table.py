"""The learning rate of one `fit`: a look-up in a table of that run's updates, inside the compiled step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sgdr.schedules import Schedule
from keras_sgdr.schedules.exact import FloatArray

__all__ = ["RateTable", "cycle_lengths", "look_up", "rate_as_written"]


@keras.saving.register_keras_serializable("keras_sgdr")
class RateTable:
    """The learning rate of an optimizer during one `fit`: a look-up in the table of that run's updates.

    Called without arguments, as Keras calls an optimizer's callable learning rate, inside the compiled step or outside.
    The optimizer's own learning rate stays with it, and is what is saved and restored: a model saved during `fit`
    loads with the float rate and the state it had.

    Args:
        name: What the optimizer calls it.
        variable: The optimizer's learning rate variable, which is replaced for the length of the `fit`.
        counter: The variable that counts batches.
        size: Number of rates in the table.
        counts_batches: Whether the position moves on with the counter, or stays where it was placed.
    """

    def __init__(self, name: str, variable: Any, counter: Any, size: int, *, counts_batches: bool) -> None:
        self.name = name
        self.variable = variable
        self.counter = counter
        self.size = size
        self.counts_batches = counts_batches
        # Called with name and value when something sets the learning rate; raises where that may not be.
        self.refuse: Callable[[str, float], None] = lambda name, value: None
        # The counter's value in this step where the variable does not hold it: see `loss_scaling.count_batches`.
        self.count: Any = None
        self._placed: int | None = None
        self._table = keras.Variable(
            np.zeros(size), dtype=variable.dtype, trainable=False, autocast=False, name="rates"
        )
        self._offset = keras.Variable(0, dtype=counter.dtype, trainable=False, name="offset")

    def __call__(self) -> Any:
        """The learning rate at the present position, a scalar tensor."""
        position = ops.convert_to_tensor(self._offset)
        if self.counts_batches:
            position = position + ops.convert_to_tensor(self.counter if self.count is None else self.count)
        return look_up(self._table, position)

    def fill(self, rates: FloatArray) -> None:
        """Put rates into the table, shape `(size,)` at most; the last one holds on."""
        self._table.assign(np.pad(rates, (0, self.size - len(rates)), mode="edge"))
        self._rates = ops.convert_to_numpy(self._table)
        self._placed = None

    def place(self, position: int) -> bool:
        """Let the next batch have the rate at `position`. Returns whether a step compiled before would miss it."""
        offset = position - self._counted()
        moved = offset != self._placed
        self._placed = offset
        self._offset.assign(offset)
        return moved

    def finish_epoch(self, end: int) -> tuple[int, float]:
        """After an epoch: the position reached, `end` at most, and the last batch's rate, which is held from now on."""
        assert self._placed is not None
        counted = self._counted()
        # On TensorFlow the counter may also count the attempt that finds the data at its end.
        reached = min(self._placed + (counted if self.counts_batches else 1), end)
        last = max(reached - 1, 0)
        self._offset.assign(last - counted)
        return reached, float(self._rates[last])

    def _counted(self) -> int:
        return int(ops.convert_to_numpy(self.counter)) if self.counts_batches else 0

    def assign(self, value: float) -> None:
        """Called by `optimizer.learning_rate = value`."""
        self.refuse(self.name, value)
        self.variable.assign(value)

    def get_config(self) -> dict[str, float]:
        return {"learning_rate": rate_as_written(self.variable)}

    @classmethod
    def from_config(
        cls, config: dict[str, float]
    ) -> float:  # What a file saved during `fit` gives back: the plain rate.
        return config["learning_rate"]


def look_up(table: Any, position: Any) -> Any:
    """A table's value at a position, a scalar tensor; before the first the first, after the last the last."""
    position = ops.clip(position, 0, table.shape[0] - 1)
    # `ops.take` would care for negative positions once more, at twice the cost.
    return ops.reshape(ops.slice(ops.convert_to_tensor(table), ops.reshape(position, (1,)), (1,)), ())


def rate_as_written(variable: Any) -> float:
    """A learning rate variable's value as it was written: the shortest number that rounds to the variable's."""
    return float(str(ops.convert_to_numpy(variable)[()]))


def cycle_lengths(schedule: Schedule, updates: range, steps_per_epoch: int) -> FloatArray:
    """`T_i` (epochs) of the cycle of each update, by which `AdamWR` normalises its decay, shape `(len(updates),)`.

    Outside the cycles it is the length of the next cycle, after the last one that of the last, and NaN where the
    schedule has no cycles.
    """
    lengths = np.full(len(updates), np.nan)
    for cycle, part in schedule.split(updates, steps_per_epoch):
        nearest = cycle or next(schedule.cycles_from(part.start, steps_per_epoch), None)
        if nearest is None:
            for nearest in schedule.cycles(steps_per_epoch):  # noqa: B007  # To the last.
                pass
        if nearest is not None:
            lengths[part.start - updates.start : part.stop - updates.start] = float(nearest.length)
    return lengths
