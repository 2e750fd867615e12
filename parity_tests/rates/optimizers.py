"""A walk down one quadratic in float64, for SGD and AdamWR in each framework's own form and in the other's.

The rates restart half way, where the two forms of momentum part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADAMWR_CASES", "CASES", "CYCLE_UPDATES", "RATES", "START", "gradient"]

Array = NDArray[np.float64]

# Keras on TensorFlow rounds hyperparameters to float32. These are float32 numbers to begin with, so that all
# compute with the same ones; EXACT_MOMENTUM is not.
MOMENTUM = float(np.float32(0.9))
DECAY = float(np.float32(0.01))
EXACT_MOMENTUM = 0.9

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": MOMENTUM},
    "nesterov": {"momentum": MOMENTUM, "nesterov": True},
    "decay": {"weight_decay": DECAY},
    "momentum_decay": {"momentum": MOMENTUM, "weight_decay": DECAY},
    "nesterov_decay": {"momentum": MOMENTUM, "nesterov": True, "weight_decay": DECAY},
    "exact_momentum": {"momentum": EXACT_MOMENTUM},
}

ADAMWR_CASES: dict[str, dict[str, Any]] = {
    "plain": {"lambda_norm": 0.0},
    "decay": {"lambda_norm": 0.05},
}

# Two cycles of 20 updates: the rate falls to near 0 and jumps back to 0.1.
RATES: list[float] = [0.05 * (1 + np.cos(np.pi * (k % 20) / 20)) for k in range(40)]

# The cycle lengths that AdamWR is given: as if the second cycle were four times as long, so that its decay is half.
CYCLE_UPDATES: list[float] = [20.0] * 20 + [80.0] * 20

_random = np.random.default_rng(0)
START: Array = _random.normal(size=(2, 3))
_TARGET: Array = _random.normal(size=(2, 3))
_CURVATURE: Array = np.geomspace(0.05, 5.0, 6).reshape(2, 3)


def gradient(weights: Array) -> Array:
    """Of the quadratic, computed in NumPy so that only the optimizers differ."""
    return _CURVATURE * (weights - _TARGET)
