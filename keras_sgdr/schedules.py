"""The learning rate inside the compiled train step.

Two forms, both without Python at run time. `SGDRSchedule` evaluates the formula of `cycles.py` in the graph, for an
optimizer that is to have restarts without a callback. `FitRate` is what the `SGDR` callback puts into an optimizer for
the length of one `fit`: it looks the rate up in a table of that run's updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_sgdr.arguments import Epochs, FloatArray, is_integer, require
from keras_sgdr.cycles import WarmRestarts
from keras_sgdr.step_decay import StepDecay

__all__ = ["FitRate", "SGDRSchedule"]

_PACKAGE = "keras_sgdr"
# The cycles are laid out for so many updates; after them, only `T_mult=1` restarts again.
_HORIZON = 1 << 24
_POINTS = 64

for _schedule in (WarmRestarts, StepDecay):
    keras.saving.register_keras_serializable(_PACKAGE)(_schedule)


@keras.saving.register_keras_serializable(_PACKAGE)
class SGDRSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """SGDR as a learning rate schedule: cosine annealing with warm restarts, equation (5) of arXiv 1608.03983.

    The position is the optimizer's own counter of batches. On the TensorFlow and PyTorch backends the rate is
    evaluated in float64 with integer boundaries and equals `numpy.float32(WarmRestarts(...)(t))`; on JAX it lies within
    2 units in the last place of a float32 `eta_max`. At a restart it is exactly `eta_max` everywhere. Where the epoch
    begins late, is run again, or steps are skipped, only the `SGDR` callback keeps position: a schedule knows nothing
    but the count.

    Example:

    >>> rate = SGDRSchedule(eta_max=0.1, T_0=10, T_mult=2, steps_per_epoch=61)
    >>> model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss="mse")

    Args:
        eta_max: Learning rate at every restart, or a list of one a cycle.
        T_0: Length of the first cycle in epochs.
        T_mult: Factor from one cycle's length to the next.
        eta_min: Learning rate that a cycle anneals to, or a list of one a cycle.
        steps_per_epoch: Batches an epoch.
        eta_max_decay: Factor on `eta_max` at each restart.
        eta_min_decay: Factor on `eta_min` at each restart.
        warmup: Epochs of linear rise before the first cycle.
        cycles: Number of cycles, after which `eta_min` is held.
        end: `"exclusive"` or `"inclusive"`; see `WarmRestarts`.
        name: Name of the schedule.

    Raises:
        ValueError: If a value is out of range (see `WarmRestarts`), or `steps_per_epoch` is not a positive integer.
    """

    def __init__(
        self,
        eta_max: float | Sequence[float],
        T_0: Epochs,
        T_mult: Epochs = 1,
        eta_min: float | Sequence[float] = 0.0,
        *,
        steps_per_epoch: int,
        eta_max_decay: float = 1.0,
        eta_min_decay: float = 1.0,
        warmup: Epochs = 0.0,
        cycles: int | None = None,
        end: Literal["exclusive", "inclusive"] = "exclusive",
        name: str = "SGDRSchedule",
    ) -> None:
        super().__init__()
        self.restarts = WarmRestarts(
            T_0,
            T_mult,
            eta_max,
            eta_min,
            eta_max_decay=eta_max_decay,
            eta_min_decay=eta_min_decay,
            warmup=warmup,
            cycles=cycles,
            end=end,
        )
        require(
            is_integer(steps_per_epoch),
            "`steps_per_epoch` must be a positive integer.",
            "steps_per_epoch",
            steps_per_epoch,
            "Pass the number of batches in an epoch.",
        )
        self.steps_per_epoch = int(steps_per_epoch)
        self.name = name
        self._grid = self.restarts.on_grid(self.steps_per_epoch, _HORIZON)

    def __call__(self, step: Any) -> Any:
        """The learning rate of update `step` (from 0), a scalar tensor of `keras.config.floatx()`."""
        grid = self._grid
        with keras.name_scope(self.name):
            integer, real = _kinds()
            k = ops.cast(step, integer)
            after_warmup = ops.maximum(k - grid.origin, 0) if grid.origin else k
            r = after_warmup if grid.period is None else after_warmup % grid.period
            j = _constant(0, integer)
            if len(grid.first) > 1:
                found = ops.searchsorted(_constant(grid.first, integer), ops.reshape(r, (1,)), side="right")
                j = ops.cast(ops.reshape(found, ()), integer) - 1
            number = j
            if grid.period is not None and len(grid.eta_max) > 1:
                number = ops.minimum(after_warmup // grid.period * len(grid.first) + j, len(grid.eta_max) - 1)

            def of_cycle(values: NDArray[Any], index: Any, kind: str = real) -> Any:
                # Each operation costs time in every step, so what is the same in all cycles is not looked up.
                same = bool(np.all(values == values[0]))
                return _constant(values[0], kind) if same else ops.take(_constant(values, kind), index)

            eta_max, eta_min = of_cycle(grid.eta_max, number), of_cycle(grid.eta_min, number)
            run = r - of_cycle(grid.first, j, integer)
            if real == "float64":
                scale, offset, length = (of_cycle(part, j) for part in (grid.scale, grid.offset, grid.length))
                x = (ops.cast(run, real) * scale + offset) / length
                rate = eta_min + 0.5 * (eta_max - eta_min) * (1 + ops.cos(np.pi * x))
            else:
                length, offset = grid.length / grid.scale, grid.offset / grid.scale
                x, fall = _cosine_in_float32(
                    ops.cast(run, real), of_cycle(offset, j), lambda part: of_cycle(part(length), j)
                )
                rate = ops.where(x < 0.5, eta_max - (eta_max - eta_min) * fall, eta_min + (eta_max - eta_min) * fall)
                rate = ops.where(x == 1, eta_min, rate)
            rate = ops.where(x == 0, eta_max, rate)
            if grid.stop is not None and grid.stop <= np.iinfo(integer).max:
                rate = ops.where(k >= grid.stop, _constant(grid.eta_min[-1], real), rate)
            if grid.origin:
                rise = (
                    ops.cast(k, real)
                    * _constant(grid.warmup.denominator, real)
                    / _constant(grid.warmup.numerator, real)
                )
                peak, floor = _constant(grid.eta_max[0], real), _constant(grid.eta_min[0], real)
                rate = ops.where(k < grid.origin, floor + (peak - floor) * rise, rate)
            return ops.cast(rate, keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {**self.restarts.get_config(), "steps_per_epoch": self.steps_per_epoch, "name": self.name}


def _kinds() -> tuple[str, str]:
    """The integer and real types to compute in."""
    # On JAX Keras takes a cosine in float32 whatever it is given, and 64-bit numbers are off unless enabled.
    return ("int32", "float32") if keras.config.backend() == "jax" else ("int64", "float64")


def _constant(value: Any, kind: str) -> Any:
    # From a NumPy value: Keras rounds a Python float to float32 on the way to a float64 tensor.
    return ops.convert_to_tensor(np.asarray(value, kind))


def _cosine_in_float32(
    run: Any, offset: Any, of_length: Callable[[Callable[[FloatArray], FloatArray]], Any]
) -> tuple[Any, Any]:
    """`x = T_cur / T_i` and, of `1/2 (1 - cos(pi x))` and its complement to 1, the smaller: `x < 0.5` has the first.

    Rounding `x` itself to float32 would cost two units in the last place. So the cosine comes from a table of 64
    points, turned by the angle from the nearest point below, and that angle is found with exact products: the length
    is split into 18 leading bits and the rest.
    """
    length = of_length(lambda value: value)
    leading = of_length(_leading_bits)
    rest = of_length(lambda value: value - _leading_bits(value))
    x = (run + offset) / length
    point = ops.clip(ops.floor(x * _POINTS), 0, _POINTS - 1)
    part = point / _POINTS
    turn = np.float32(np.pi) * (run - part * leading + offset - part * rest) / length
    angles = np.pi * np.arange(_POINTS) / _POINTS
    half = np.where(angles < np.pi / 2, np.sin(angles / 2), np.cos(angles / 2)) ** 2
    index = ops.cast(point, "int32")
    cosine, sine, base = (
        ops.take(_constant(table, "float32"), index) for table in (np.cos(angles), np.sin(angles), half)
    )
    half_sine = ops.sin(turn / 2)
    change = cosine * half_sine * half_sine + 0.5 * sine * ops.sin(turn)
    return x, ops.where(x < 0.5, base + change, base - change)


def _leading_bits(value: FloatArray) -> FloatArray:
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.round(np.ldexp(mantissa, 18)), exponent - 18)


@keras.saving.register_keras_serializable(_PACKAGE)
class FitRate:
    """The learning rate of an optimizer during one `fit`: a look-up in the table of that run's updates.

    Called without arguments, as Keras calls an optimizer's callable learning rate, inside the compiled step or outside.
    The optimizer's own learning rate stays with it, and is what is saved and restored: a model saved during `fit`
    loads with the float rate and the state it had.

    Args:
        name: What the optimizer calls it.
        own: The optimizer's learning rate variable, which is replaced for the length of the `fit`.
        counter: The variable that counts batches.
        size: Number of rates in the table.
        counts_batches: Whether the position moves on with the counter, or stays where it was placed.
    """

    def __init__(self, name: str, own: Any, counter: Any, size: int, *, counts_batches: bool) -> None:
        self.name = name
        self.own = own
        self.counter = counter
        self.size = size
        self.counts_batches = counts_batches
        # Called with name and value when something sets the learning rate; raises where that may not be.
        self.refuse: Callable[[str, float], None] = lambda name, value: None
        # The counter's value in this step where the variable does not hold it: see `installation.count_batches`.
        self.count: Any = None
        self._placed: int | None = None
        self._table = keras.Variable(np.zeros(size), dtype=own.dtype, trainable=False, autocast=False, name="rates")
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

    def rest(self, end: int) -> tuple[int, float]:
        """After an epoch: the position reached, `end` at most, and the last batch's rate, shown from now on."""
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
        self.own.assign(value)

    def get_config(self) -> dict[str, float]:
        return {"learning_rate": own_rate(self.own)}

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


def own_rate(variable: Any) -> float:
    """A learning rate variable's value as it was written: the shortest number that rounds to the variable's."""
    return float(str(ops.convert_to_numpy(variable)[()]))
