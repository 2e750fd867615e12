"""AdamW's numbers, chosen so that both frameworks compute with the same ones.

PyTorch divides by `sqrt(v / (1 - b2^t)) + eps`, Keras by `(sqrt(v) + eps) / sqrt(1 - b2^t)`: they agree if Keras's
epsilon is PyTorch's times `sqrt(1 - b2^t)`. That depends on `t`, so a fixed epsilon fits one update: here the first.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["BETAS", "epsilon"]

# Rounded to float32, as Keras on TensorFlow rounds them; the same for its epsilon.
BETAS = (float(np.float32(0.9)), float(np.float32(0.999)))
_KERAS_EPSILON = float(np.float32(1e-6))


def epsilon(side: Literal["keras", "torch"], *, mapped: bool) -> float:
    """The epsilon for a side; not mapped, Keras gets PyTorch's."""
    torch_epsilon = _KERAS_EPSILON / (1 - BETAS[1]) ** 0.5
    return _KERAS_EPSILON if side == "keras" and mapped else torch_epsilon
