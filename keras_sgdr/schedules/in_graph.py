"""SGDR's learning rate inside the compiled train step: the formula of `warm_restarts.py` in the graph."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_sgdr._checks import integer, require, whole
from keras_sgdr._text import call_of
from keras_sgdr.schedules.exact import Epochs, check_precision
from keras_sgdr.schedules.peaks import Rates
from keras_sgdr.schedules.step_decay import StepDecay
from keras_sgdr.schedules.warm_restarts import WarmRestarts, rates_of_updates

__all__ = ["SGDRSchedule"]

_PACKAGE = "keras_sgdr"
# The cycles are laid out for so many updates; after them, only `T_mult=1` restarts again.
_HORIZON = 1 << 24
# Rates that an eager step evaluates at a time: some tens of microseconds, once in so many steps.
_BLOCK = 1 << 10

for _schedule in (WarmRestarts, StepDecay):
    keras.saving.register_keras_serializable(_PACKAGE)(_schedule)


@keras.saving.register_keras_serializable(_PACKAGE)
class SGDRSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """SGDR as a learning rate schedule: cosine annealing with warm restarts, equation (5) of arXiv 1608.03983.

    The position is the optimizer's own counter of batches. On the TensorFlow and PyTorch backends the rate is
    evaluated in float64 with integer boundaries and equals `numpy.float32(WarmRestarts(...)(t))`; on JAX, in float32,
    it lies within 8 units in the last place of `eta_max`. At a restart it is exactly `eta_max` everywhere. An eager
    step of PyTorch on the CPU looks it up among NumPy's, at less cost than that of computing it. Where the epoch
    begins late, is run again, or steps are skipped, only the `SGDR` callback keeps position: a schedule knows nothing
    but the count.

    Example:

    >>> rate = SGDRSchedule(T_0=10, T_mult=2, eta_max=0.1, steps_per_epoch=61)
    >>> model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss="mse")

    Args:
        T_0, T_mult, eta_max, eta_min, eta_max_decay, eta_min_decay, warmup, cycle_limit, end: See `WarmRestarts`. `T_0`
            and `eta_max` must be given: only `SGDR` knows the epochs of `fit` and the optimizer's own rate.
        steps_per_epoch: Batches in an epoch.
        name: Name of the schedule.

    Raises:
        ValueError: If a value is out of range (see `WarmRestarts`) or of `keras.config.floatx()`, `T_0` or `eta_max` is
            missing, `steps_per_epoch` is not a positive integer, or the cycles are too many.
    """

    def __init__(
        self,
        T_0: Epochs | None = None,
        T_mult: Epochs = 2,
        eta_max: Rates | None = None,
        eta_min: Rates = 0.0,
        *,
        steps_per_epoch: float,
        eta_max_decay: float = 1.0,
        eta_min_decay: float = 1.0,
        warmup: Epochs = 0.0,
        cycle_limit: int | None = None,
        end: Literal["exclusive", "inclusive"] = "exclusive",
        name: str = "SGDRSchedule",
    ) -> None:
        super().__init__()
        for argument, value in (("T_0", T_0), ("eta_max", eta_max)):
            rule = f"`SGDRSchedule` must be given `{argument}`: it knows neither the epochs of `fit` nor another rate."
            require(value is not None, rule, argument, value, "Pass a number, or use the `SGDR` callback.")
        self.restarts = WarmRestarts(
            T_0,
            T_mult,
            eta_max,
            eta_min,
            eta_max_decay=eta_max_decay,
            eta_min_decay=eta_min_decay,
            warmup=warmup,
            cycle_limit=cycle_limit,
            end=end,
        )
        steps: Any = whole(steps_per_epoch)
        integer("steps_per_epoch", steps, "Pass the number of batches in an epoch.")
        self.steps_per_epoch = int(steps)
        require(isinstance(name, str) and name != "", "`name` must be a string.", "name", name, "Leave it out.")
        self.name = name
        self._grid = self.restarts.on_grid(self.steps_per_epoch, _HORIZON)
        check_precision(self._grid.eta_max, keras.config.floatx())
        self._block: tuple[int | None, list[float]] = (None, [])  # Its number, and its rates.

    def __call__(self, step: Any) -> Any:
        """The learning rate of update `step` (from 0), a scalar tensor of `keras.config.floatx()`."""
        update = _as_integer(step)
        if update is not None:
            return ops.convert_to_tensor(self._looked_up(update), dtype=keras.config.floatx())
        grid = self._grid
        with keras.name_scope(self.name):
            whole, real = _kinds()
            k = ops.cast(step, whole)
            after_warmup = ops.maximum(k - grid.origin, 0) if grid.origin else k
            r = after_warmup if grid.period is None else after_warmup % grid.period
            j = _constant(0, whole)
            if len(grid.first) > 1:
                place = ops.searchsorted(_constant(grid.first, whole), ops.reshape(r, (1,)), side="right")
                j = ops.cast(ops.reshape(place, ()), whole) - 1
            number = j
            if grid.period is not None and len(grid.eta_max) > 1:
                number = ops.minimum(after_warmup // grid.period * len(grid.first) + j, len(grid.eta_max) - 1)

            def of_cycle(values: NDArray[Any], index: Any, kind: str = real) -> Any:
                # Each operation costs time in every step, so what is the same in all cycles is not looked up.
                same = bool(np.all(values == values[0]))
                return _constant(values[0], kind) if same else ops.take(_constant(values, kind), index)

            eta_max, eta_min = of_cycle(grid.eta_max, number), of_cycle(grid.eta_min, number)
            run = r - of_cycle(grid.first, j, whole)
            scale, offset, length = (of_cycle(part, j) for part in (grid.scale, grid.offset, grid.length))
            x = (ops.cast(run, real) * scale + offset) / length
            rate = eta_min + 0.5 * (eta_max - eta_min) * (1 + ops.cos(np.pi * x))
            rate = ops.where(x == 0, eta_max, rate)
            if grid.stop is not None and grid.stop <= np.iinfo(whole).max:
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

    def _looked_up(self, update: int) -> float:
        number, rates = self._block
        if update // _BLOCK != number:
            number = update // _BLOCK
            rates = rates_of_updates(self._grid, number * _BLOCK + np.arange(_BLOCK)).tolist()
            self._block = number, rates  # At once: another thread may be reading.
        return rates[update % _BLOCK]

    def __repr__(self) -> str:
        return call_of(self, {name: getattr(self.restarts, name) for name in self.restarts.get_config()})

    def get_config(self) -> dict[str, Any]:
        return {**self.restarts.get_config(), "steps_per_epoch": self.steps_per_epoch, "name": self.name}


def _as_integer(step: Any) -> int | None:
    """The step as a number, where an eager step can read it at no cost; None where its rate is to be computed in ops.

    PyTorch's step is eager, and each of its operations costs time. On another device than the CPU, reading the counter
    would make the step wait for that device.
    """
    if keras.config.backend() != "torch":
        return None
    import torch

    value = step.value if isinstance(step, keras.Variable) else step
    # Not a subclass: it may stand for a tensor that is being traced.
    plain = type(value) is torch.Tensor or type(value) is torch.nn.Parameter
    if not plain or value.device.type != "cpu" or value.ndim:
        return None
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return None
    try:
        return int(value)
    except RuntimeError:  # A tensor that is being traced or mapped over, without its type saying so.
        return None


def _kinds() -> tuple[str, str]:
    """The integer and real types to compute in."""
    # On JAX Keras takes a cosine in float32 whatever it is given, and 64-bit numbers are off unless enabled.
    return ("int32", "float32") if keras.config.backend() == "jax" else ("int64", "float64")


def _constant(value: Any, kind: str) -> Any:
    # From a NumPy value: Keras rounds a Python float to float32 on the way to a float64 tensor.
    return ops.convert_to_tensor(np.asarray(value, kind))
