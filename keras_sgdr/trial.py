"""Training a model for a trial: on whatever batches, by a copy of its optimizer, leaving no trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_sgdr.arguments import require
from keras_sgdr.batches import as_array

__all__ = ["batches_without_end", "copy_of_optimizer", "lent", "random_numbers_kept"]


def batches_without_end(data: Any, batch_size: int, seed: int) -> Iterator[tuple[Any, Any, Any]]:
    """Batches `x, y, sample_weight` in NumPy's arrays, None for what is missing.

    Args:
        data: A tuple of arrays, or an iterable of batches, which is begun again when it ends.
        batch_size: Samples in a batch, of arrays.
        seed: Of the order of arrays.

    Raises:
        ValueError: If the arrays differ in length, or the batches cannot be begun again.
    """
    return map(_as_arrays, _shuffled(data, batch_size, seed) if isinstance(data, tuple) else _repeated(data))


def copy_of_optimizer(model: Any, rate: float) -> Any:
    """An optimizer with the settings and the state of the model's, and a float rate; `AdamWR` without its decay.

    Raises:
        ValueError: If the model is not compiled, or has several optimizers.
    """
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            "`find_learning_rate` trains the model, so it must be compiled. "
            f"Received: model={getattr(model, 'name', model)!r} without an optimizer. Call `model.compile(...)`."
        )
    # Lets `SGDR` leave the model if an exception has ended the `fit` before: see `callbacks/installation.py`.
    model.make_train_function()
    outer = model.optimizer
    inner = getattr(outer, "inner_optimizer", outer)
    if hasattr(inner, "optimizers"):
        raise ValueError(
            "`find_learning_rate` sweeps the one rate of one optimizer. "
            f"Received: {type(inner).__name__}. Compile with a single optimizer for the test."
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
            for to, of in zip(_state(copy), _state(outer), strict=True):
                to.assign(_value(of))
    return copy


def _state(optimizer: Any) -> list[Any]:
    """The optimizer's variables but for its rate, which a schedule does not have among them."""
    rate = optimizer.learning_rate
    return [variable for variable in optimizer.variables if variable is not rate]


def _value(variable: Any) -> Any:
    # Copied: a compiled step may overwrite the array that it is given, or free it, and with it what shares its memory.
    return np.array(keras.ops.convert_to_numpy(variable))


@contextlib.contextmanager
def lent(model: Any, optimizer: Any) -> Iterator[None]:
    """Let the model train with another optimizer, and leave it as it was."""
    own = model.optimizer
    # The own optimizer's too: after a moving average has been put into the weights they share arrays on JAX, which the
    # compiled step frees. By identity: a metric may be both the model's and a layer's.
    everything = (*model.variables, *model.metrics_variables, *own.variables)
    variables = {id(variable): variable for variable in everything}.values()
    values = [_value(variable) for variable in variables]
    model.optimizer, model.train_function = optimizer, None
    try:
        yield
    finally:
        model.optimizer, model.train_function = own, None
        if hasattr(model, "_jax_state"):
            model._jax_state = None  # As `fit` leaves it: of a step that was interrupted, it would be written back.
        model.reset_metrics()  # Those too that have come into being.
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def random_numbers_kept() -> Iterator[None]:
    """Leave PyTorch's global random numbers as they were: on its backend, dropout draws from them."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def _repeated(data: Iterable[Any]) -> Iterator[Any]:
    """The batches, over and over."""
    while True:
        batch = None
        for batch in data:
            yield batch
        if batch is None:
            raise ValueError(
                "`data` must be batches that last for all updates, or can be begun again. "
                f"Received: data={data!r}, which has no more. Pass arrays, a list or a data set, or fewer `updates`."
            )


def _shuffled(arrays: tuple[Any, ...], batch_size: int, seed: int) -> Iterator[Any]:
    """Batches of arrays, over and over, in a new order each time; a rest too small for a batch is left out."""
    arrays = _as_arrays(arrays)
    sizes = sorted({len(array) for array in keras.tree.flatten(arrays) if array is not None})
    require(
        len(sizes) == 1 and sizes[0] > 0,
        "`data` must be arrays of equally many samples, at least 1.",
        "samples",
        sizes,
        "Pass `(x, y)` or `(x, y, sample_weight)`; a list, not a tuple, of batches.",
    )
    random = np.random.default_rng(seed)
    size = min(batch_size, sizes[0])
    while True:
        order = random.permutation(sizes[0])
        for begin in range(0, sizes[0] - size + 1, size):
            chosen = order[begin : begin + size]
            yield tuple(
                None if part is None else keras.tree.map_structure(lambda array, i=chosen: array[i], part)
                for part in arrays
            )


def _as_arrays(batch: Any) -> tuple[Any, Any, Any]:
    """`x, y, sample_weight` in NumPy's arrays, whichever framework's they were; None for what is missing."""

    parts = keras.utils.unpack_x_y_sample_weight(batch)
    x, y, weight = (None if part is None else keras.tree.map_structure(as_array, part) for part in parts)
    return x, y, weight
