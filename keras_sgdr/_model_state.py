"""A model put back after use: its variables, PyTorch's random numbers, and the optimizers that it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

__all__ = [
    "method_replaced",
    "optimizers_held",
    "optimizers_in",
    "random_state_restored",
    "value_of",
    "variables_restored",
]


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
def method_replaced(owner: Any, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of one instance, and at the end put back what the instance had of its own, if anything."""
    # Not by `setattr`, which Keras uses to keep track of what an optimizer or a model holds.
    attributes = vars(owner)
    own = {name: attributes[name]} if name in attributes else {}
    attributes[name] = method
    try:
        yield
    finally:
        attributes.pop(name, None)
        attributes.update(own)


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


def optimizers_held(owner: Any) -> dict[str, Any]:
    """The attributes of a model or an optimizer that hold optimizers: one, or a list, tuple or dictionary of them."""
    return {
        name: value
        for name, value in vars(owner).items()
        # What begins so is TensorFlow's, a list of what a checkpoint holds.
        if not name.startswith("_self_") and next(optimizers_in(value), None) is not None
    }


def optimizers_in(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Place and optimizer, of each in a value."""
    if isinstance(value, keras.optimizers.Optimizer):
        yield place, value
    elif isinstance(value, list | tuple | dict):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from optimizers_in(part, f"{place}[{key!r}]")
