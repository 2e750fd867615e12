"""A model's state, put back after use: its variables, and PyTorch's random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

__all__ = ["random_state_restored", "value_of", "variables_restored"]


@contextlib.contextmanager
def variables_restored(model: Any, *others: Any) -> Iterator[None]:
    """Put back the values of all variables of a model at the end, after an error too.

    Args:
        model: The model.
        *others: Variables of its metrics or its optimizer, which are to be put back as well.
    """
    # By identity: a metric may be both the model's and a layer's.
    variables = {id(variable): variable for variable in (*model.variables, *others)}.values()
    values = [value_of(variable) for variable in variables]
    try:
        yield
    finally:
        if hasattr(model, "_jax_state"):
            model._jax_state = None  # As Keras leaves it: that of an interrupted step would be written back.
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def random_state_restored() -> Iterator[None]:
    """Put back PyTorch's global random state: on its backend, dropout draws from it."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def value_of(variable: Any) -> Any:
    """A variable's value in an array of its own."""
    # Copied: a compiled step may overwrite the array that it is given, or free it, and with it what shares its memory.
    return np.array(keras.ops.convert_to_numpy(variable))
