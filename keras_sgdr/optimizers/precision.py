"""Hyperparameters in the precision of the variable that they update."""

from __future__ import annotations

from typing import Any

from keras import ops

__all__ = ["exactly"]


def exactly(number: Any, dtype: Any) -> Any:
    """A number, variable or tensor as a tensor of this type, a Python float without a detour through float32."""
    # Not `ops.cast`: on TensorFlow that makes a Python float a float32 on its way to float64.
    return ops.convert_to_tensor(number, dtype)
