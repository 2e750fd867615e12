"""Step decay: the baseline that SGDR is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from keras_sgdr._checks import between, positive
from keras_sgdr.schedules import exact
from keras_sgdr.schedules.base import Cycle, Schedule
from keras_sgdr.schedules.exact import Epochs, FloatArray
from keras_sgdr.schedules.grid import periods

__all__ = ["StepDecay"]


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Step decay: `eta * gamma ** floor(t / step_size)`.

    It never restarts, so it has no cycles.

    Example:

    >>> StepDecay(eta=0.5, step_size=30, gamma=0.5)([0.0, 29.9, 30.0])
    array([0.5 , 0.5 , 0.25])

    Args:
        eta: Learning rate of the first epochs.
        step_size: Epochs between two drops; a fraction is allowed.
        gamma: Factor of each drop, at most 1.

    Raises:
        ValueError: If a value is out of range.
    """

    eta: float
    step_size: Epochs = 60
    gamma: float = 0.1

    def __post_init__(self) -> None:
        positive("eta", self.eta, "Pass a learning rate, such as eta=0.1.")
        exact.check_fraction("step_size", self.step_size, "Pass the epochs between two drops, such as step_size=60.")
        between("gamma", self.gamma, "(0, 1]", "Pass the factor of a drop, such as gamma=0.1.")

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, else a float64 array of the shape of `t`.

        Raises:
            ValueError: If a position is negative, infinite or NaN.
        """
        step = exact.to_fraction(self.step_size)
        drops, _ = periods(exact.positions(t), 0, step.numerator, step.denominator)
        rates = self._rates(drops)
        return float(rates) if np.ndim(t) == 0 else rates

    def _rates(self, drops: FloatArray) -> FloatArray:
        return float(self.eta) * np.float_power(float(self.gamma), drops)

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """See `Schedule.learning_rates`. The drops are counted in integers."""
        updates = exact.updates_of_fit(epochs, steps_per_epoch, initial_epoch)
        step = exact.to_fraction(self.step_size) * int(steps_per_epoch)
        k = np.arange(updates.start, updates.stop)
        if max(updates.stop * step.denominator, step.numerator) < 2**63:
            return self._rates((k * step.denominator // step.numerator).astype(np.float64))
        with np.errstate(over="ignore", invalid="ignore"):  # Of steps that are shorter than any update.
            quotients = k / exact.nearest(step.numerator, step.denominator)
            drops = np.floor(quotients)
            # Three times rounded, so only one as near as this to an integer can be on its other side.
            doubtful = np.abs(quotients - np.rint(quotients)) <= 1e-15 * quotients
        drops[doubtful] = [update * step.denominator // step.numerator for update in k[doubtful].tolist()]
        return self._rates(drops)

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        """None: it never restarts."""
        return iter(())

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        return {"eta": float(self.eta), "step_size": exact.to_json(self.step_size), "gamma": float(self.gamma)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
