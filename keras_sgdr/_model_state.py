"""A model's state, put back after use: its variables, its optimizer, and PyTorch's random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import invalid

__all__ = ["copy_of_optimizer", "optimizer_replaced", "random_state_restored", "variables_restored"]


@contextlib.contextmanager
def variables_restored(model: Any, *others: Any) -> Iterator[None]:
    """Put back the values of all variables of a model at the end, after an error too.

    Args:
        model: The model.
        *others: Variables of its metrics or its optimizer, which are to be put back as well.
    """
    # By identity: a metric may be both the model's and a layer's.
    variables = {id(variable): variable for variable in (*model.variables, *others)}.values()
    values = [_value(variable) for variable in variables]
    try:
        yield
    finally:
        if hasattr(model, "_jax_state"):
            model._jax_state = None  # As Keras leaves it: that of an interrupted step would be written back.
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def optimizer_replaced(model: Any, optimizer: Any) -> Iterator[None]:
    """Let the model train with another optimizer, then put back its own, and all variables."""
    original = model.optimizer
    # The original's variables too: after a moving average has been put into the weights they share arrays on JAX, which
    # the compiled step frees.
    with variables_restored(model, *model.metrics_variables, *original.variables):
        model.optimizer, model.train_function = optimizer, None
        try:
            yield
        finally:
            model.optimizer, model.train_function = original, None
            model.reset_metrics()  # Those too that training has created.


@contextlib.contextmanager
def random_state_restored() -> Iterator[None]:
    """Put back PyTorch's global random state: on its backend, dropout draws from it."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def copy_of_optimizer(model: Any, rate: float) -> Any:
    """An optimizer with the settings and the state of the model's, and a float rate; `AdamWR` without its decay.

    Raises:
        ValueError: If the model is not compiled, or has several optimizers.
    """
    if getattr(model, "optimizer", None) is None:
        raise invalid(
            "`find_learning_rate` trains the model, so it must be compiled.",
            f"model={getattr(model, 'name', model)!r} without an optimizer",
            "Call `model.compile(...)`.",
        )
    # An `SGDR` that an exception in `fit` has left in the model leaves it here: see `callbacks/optimizer_swap.py`.
    model.make_train_function()
    outer = model.optimizer
    inner = getattr(outer, "inner_optimizer", outer)
    if hasattr(inner, "optimizers"):
        raise invalid(
            "`find_learning_rate` sweeps the one rate of one optimizer.",
            type(inner).__name__,
            "Compile with a single optimizer for the test.",
        )
    strategy = getattr(model, "distribute_strategy", None)
    with strategy.scope() if strategy is not None else contextlib.nullcontext():
        config = {**inner.get_config(), "learning_rate": rate}
        if "lambda_norm" in config:
            config["lambda_norm"] = 0.0  # Of `AdamWR`: normalised by the length of a cycle, and there is none.
        copy = type(inner).from_config(config)
        # Set by `exclude_from_weight_decay`, and not part of the configuration.
        excluded = {name: value for name, value in vars(inner).items() if name.startswith("_exclude_from_weight_decay")}
        vars(copy).update(excluded)
        if inner is not outer:
            settings = {name: value for name, value in outer.get_config().items() if name != "inner_optimizer"}
            copy = type(outer)(copy, **settings)
        if outer.built:
            copy.build(model.trainable_variables)
            for target, source in zip(_state(copy), _state(outer), strict=True):
                target.assign(_value(source))
    return copy


def _state(optimizer: Any) -> list[Any]:
    """The optimizer's variables but for its rate, which a schedule does not have among them."""
    rate = optimizer.learning_rate
    return [variable for variable in optimizer.variables if variable is not rate]


def _value(variable: Any) -> Any:
    # Copied: a compiled step may overwrite the array that it is given, or free it, and with it what shares its memory.
    return np.array(keras.ops.convert_to_numpy(variable))
