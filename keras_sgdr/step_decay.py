"""Step decay: the baseline that SGDR is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from keras_sgdr.arguments import (
    Epochs,
    FloatArray,
    IntArray,
    exact,
    is_epochs,
    is_number,
    positions,
    require,
    to_json,
    updates_of_fit,
)
from keras_sgdr.cycles import Cycle
from keras_sgdr.grid import periods

__all__ = ["StepDecay"]


@dataclass(frozen=True)
class StepDecay:
    """Step decay: `eta * gamma ** floor(t / step_size)`.

    It never restarts, so it is one cycle without end: `cycle_ends` is empty.

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
        require(
            is_number(self.eta) and self.eta > 0,
            "`eta` must be a finite positive number.",
            "eta",
            self.eta,
            "Pass a learning rate, such as eta=0.1.",
        )
        require(
            is_epochs(self.step_size) and exact(self.step_size) > 0,
            "`step_size` must be a positive number of epochs.",
            "step_size",
            self.step_size,
            "Pass the epochs between two drops, such as step_size=60.",
        )
        require(
            is_number(self.gamma) and 0 < self.gamma <= 1,
            "`gamma` must be a number above 0, at most 1.",
            "gamma",
            self.gamma,
            "Pass the factor of a drop, such as gamma=0.1.",
        )

    def __call__(self, t: ArrayLike) -> Any:
        """The learning rate `t` epochs into training: a float for a float, else a float64 array of the shape of `t`.

        Raises:
            ValueError: If a position is negative, infinite or NaN.
        """
        step = exact(self.step_size)
        drops, _ = periods(positions(t), 0, step.numerator, step.denominator)
        rates = self._rates(drops)
        return float(rates) if np.ndim(t) == 0 else rates

    def _rates(self, drops: IntArray) -> FloatArray:
        return float(self.eta) * np.float_power(float(self.gamma), drops)

    def learning_rates(self, epochs: int, steps_per_epoch: int, initial_epoch: int = 0) -> FloatArray:
        """The learning rate of every update of `fit(epochs=..., initial_epoch=...)`, without training.

        Returns:
            float64, shape `((epochs - initial_epoch) * steps_per_epoch,)`.

        Raises:
            ValueError: If `epochs` is less than `initial_epoch`, that negative, or `steps_per_epoch` not positive.
        """
        updates = updates_of_fit(epochs, steps_per_epoch, initial_epoch)
        step = exact(self.step_size) * int(steps_per_epoch)
        # Python's integers where 64 bits would overflow.
        kind = np.int64 if max(updates.stop * step.denominator, step.numerator) < 2**63 else object
        drops = np.arange(updates.start, updates.stop).astype(kind) * step.denominator // step.numerator
        return self._rates(drops.astype(np.int64))

    def cycle_at(self, t: float) -> Cycle:
        """The one cycle without end."""
        return Cycle(0, 0.0, math.inf, float(positions(t)))

    def cycle_ends(self, epochs: float) -> list[float]:
        """No cycle ends."""
        return []

    def epochs_for(self, cycles: int) -> int:
        """Step decay has no cycles to complete.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"Step decay never completes a cycle. Received: cycles={cycles}. Ask a `WarmRestarts`, or pass epochs."
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments, as JSON can hold them."""
        return {"eta": float(self.eta), "step_size": to_json(self.step_size), "gamma": float(self.gamma)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)
