"""The learning rate of one `fit`: a look-up in a table of that run's updates, inside the compiled step."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import keras
import numpy as np
from keras import ops

from keras_sgdr.schedules import Schedule
from keras_sgdr.schedules.exact import FloatArray

__all__ = ["ONE_GROUP", "GroupShape", "RateOfGroups", "RateTable", "cycle_lengths", "look_up", "rate_as_written"]


class GroupShape(NamedTuple):
    """Which multiple of the rate each variable of an optimizer has."""

    multipliers: tuple[float, ...]
    """The different ones; the first is 1, that of the rate itself."""
    rows: tuple[int, ...]
    """The place of each variable's among them."""


ONE_GROUP = GroupShape((1.0,), ())


class RateOfGroups:
    """What stands in place of an optimizer's learning rate variable: the rate of one group of its variables at a time.

    Attributes:
        variable: The learning rate variable.
        groups: Of the optimizer's variables.
    """

    def __init__(self, variable: Any, groups: GroupShape) -> None:
        self.variable = variable
        self.groups = groups
        self._row = 0

    @contextlib.contextmanager
    def at_row(self, row: int) -> Iterator[None]:
        """Give the rate of a group; otherwise it is that of the first."""
        self._row = row
        try:
            yield
        finally:
            self._row = 0

    def multiples(self, rates: FloatArray) -> FloatArray:
        """The rates of each group, shape `(groups, *rates.shape)`, rounded once to the variable's precision."""
        with np.errstate(over="ignore"):
            exact = np.multiply.outer(np.array(self.groups.multipliers), rates)
            return exact.astype(keras.backend.standardize_dtype(self.variable.dtype))


class RateTable(RateOfGroups):
    """What an optimizer has in place of its learning rate variable during `fit`: the entry of the update at hand.

    Called without arguments, as Keras calls an optimizer's callable learning rate. Inside the training step it gives a
    tensor, outside a variable that cannot be set. The optimizer's own variable stays where it is, and is what is saved.

    The entries lie in a ring: that of an update is at the optimizer's count of updates, modulo the size. So a step that
    was compiled once serves every `fit`, and reads nothing but ring and count. On JAX, which compiles the values of all
    variables but the model's and the optimizer's into the step, the ring is among the optimizer's: see `OptimizerSwap`.
    Where groups of variables have rates of their own, a ring of each follows the first.

    Args:
        name: What the optimizer calls it.
        variable: The optimizer's learning rate variable, which is replaced for the length of the `fit`.
        counter: The variable that counts the updates.
        size: Number of entries at least.
        groups: Of the optimizer's variables.

    Attributes:
        size: Number of entries, a power of two above the given one.
        ring: The variable that holds them.
        owner: The `OptimizerSwap` that it is in; None outside a training.
        reads: Who has read it: `"step"`, the model's train step, and `"loop"`, a step that Keras does not know.
    """

    def __init__(self, name: str, variable: Any, counter: Any, size: int, groups: GroupShape = ONE_GROUP) -> None:
        super().__init__(variable, groups)
        self.name = name
        self.counter = counter
        # With room for a `fit` of other epochs, which needs no other step then.
        self.size = 1 << max(size, 1023).bit_length()
        self.owner: Any = None
        self.held: float | None = None
        self.reads: set[str] = set()
        # The counter's value in this step where the variable does not hold it: see `compiled_step.count_batches`.
        self.count: Any = None
        zeros = np.zeros(len(groups.multipliers) * self.size)
        self.ring = keras.Variable(zeros, dtype=variable.dtype, trainable=False, autocast=False, name="rates")
        self._outside = _Rate(self)
        self._counted = 0
        self._shift: int | None = None

    def __call__(self) -> Any:
        """The present entry, a scalar."""
        if self.owner is not None and self.owner.is_in_step:
            self.reads.add("step")
            return self.entry()
        if self.owner is not None and self.owner.is_over:
            self.owner.remove()
            return self.variable
        entry = self.entry()
        if _is_symbolic(entry) or _is_applying():
            self.reads.add("loop")
            return entry
        return self._outside

    def entry(self) -> Any:
        """The present entry, a scalar tensor."""
        count = ops.convert_to_tensor(self.counter) if self.count is None else self.count
        mask: Any = self.size - 1
        first: Any = self._row * self.size
        if keras.config.backend() == "torch":
            return _at(self.ring, (count & mask) + first if first else count & mask)
        place = ops.bitwise_and(count, ops.convert_to_tensor(mask, self.counter.dtype))
        return _at(self.ring, place + ops.convert_to_tensor(first, self.counter.dtype) if first else place)

    def detach(self) -> None:
        """Leave the training that it was in. Steps that were compiled with it have the optimizer's own rate then."""
        self.owner = None
        self.show(rate_as_written(self.variable))

    def show(self, value: float) -> None:
        """Have this value for all updates, until the next `fill`."""
        self.fill(np.array([value]))
        self.place(0)

    def fill(self, entries: FloatArray) -> None:
        """Have these entries from the next `place` on, shape `(size,)` at most; the last one holds on."""
        padded = np.pad(entries, (0, self.size - len(entries)), mode="edge")
        # Beyond the variable's precision is at most what is shown before the first epoch.
        self._entries = self.multiples(padded)
        self._shift = None

    def place(self, position: int) -> None:
        """Let the next update have the entry at `position`."""
        self._counted = self._count()
        self.held = None
        shift = (self._counted - position) % self.size
        if shift != self._shift:
            self._shift = shift
            self.ring.assign(np.roll(self._entries, shift, axis=1).ravel())

    def updates(self) -> int:
        """Updates that were counted since `place`."""
        return self._count() - self._counted

    def hold(self, position: int) -> None:
        """Show the entry at `position`, outside the step, until the next `place`."""
        self.held = float(self._entries[0, position])

    def entries(self, first: int, stop: int, multiplier: float = 1.0) -> FloatArray:
        """Entries as the optimizer has them, in its precision, of the group with this multiplier."""
        row = self._entries[self.groups.multipliers.index(multiplier)]
        return np.take(row, np.arange(first, stop), mode="wrap")

    def _count(self) -> int:
        return int(ops.convert_to_numpy(self.counter))

    def assign(self, value: Any) -> None:
        """Called by `optimizer.learning_rate = value`."""
        if self.owner is not None:
            self.owner.refuse(self.name, value)
        self.variable.assign(value)


class _Rate(keras.Variable):
    """The learning rate during `fit` for whoever reads `optimizer.learning_rate`: like a variable, but not to be set.

    Args:
        table: Where it is looked up.
    """

    def __init__(self, table: RateTable) -> None:
        super().__init__(0.0, dtype=table.variable.dtype, trainable=False, autocast=False, name=table.name)
        self._rates = table

    @property
    def value(self) -> Any:
        held = self._rates.held
        return self._rates.entry() if held is None else ops.convert_to_tensor(held, self.dtype)

    @value.setter
    def value(self, value: Any) -> None:
        self._rates.assign(value)

    def assign(self, value: Any) -> None:
        self._rates.assign(value)

    def assign_add(self, value: Any) -> None:
        self._rates.assign(self.value + value)

    def assign_sub(self, value: Any) -> None:
        self._rates.assign(self.value - value)

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, dtype={self.dtype}, value={self.value}, set by SGDR>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "The learning rate of a `fit` under `SGDR` is part of that `fit`, and cannot be copied. Received: a copy "
            "in that `fit`, or after an exception has ended it. Copy the model and the callbacks before `fit`; after "
            "an exception call `on_train_end()` of the `SGDR` first."
        )


def look_up(table: Any, position: Any) -> Any:
    """A table's value at a position, a scalar tensor; before the first the first, after the last the last."""
    return _at(table, ops.clip(position, 0, table.shape[0] - 1))


def _at(table: Any, index: Any) -> Any:
    values = ops.convert_to_tensor(table)
    if keras.config.backend() == "torch":
        # Eager, where each of Keras's operations costs; and `values[index]` would wait for a GPU.
        return values.index_select(0, index.reshape(1)).reshape(())
    # `ops.take` would care for negative positions, at twice the cost.
    return ops.reshape(ops.slice(values, ops.reshape(index, (1,)), (1,)), ())


def rate_as_written(variable: Any) -> float:
    """A learning rate variable's value as it was written: the shortest number that rounds to the variable's."""
    return float(str(ops.convert_to_numpy(variable)[()]))


def _is_symbolic(tensor: Any) -> bool:
    """Whether a tensor stands for a value in a step that is being compiled."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return isinstance(tensor, jax.core.Tracer)
    return backend == "tensorflow" and not hasattr(tensor, "numpy")


def _is_applying() -> bool:
    """Whether an optimizer asks, for an update."""
    frame = sys._getframe(2)
    for _ in range(8):
        if frame is None or frame.f_code.co_name == "apply":
            return frame is not None
        frame = frame.f_back  # type: ignore[assignment]
    return False


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
