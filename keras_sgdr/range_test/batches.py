"""The batches of a range test: of arrays or of whatever yields them, handed to the training step as `fit` does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_sgdr._checks import invalid, require
from keras_sgdr._executions import build_metrics
from keras_sgdr._model_state import method_replaced

__all__ = ["Batch", "build", "given_as_in_fit", "repeated", "shuffled"]

# What `fit` would hand to the training step: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
Batch: TypeAlias = Any


def repeated(batches: Any) -> Iterator[Any]:
    """The batches, begun again whenever they end."""
    if isinstance(batches, np.ndarray) or keras.ops.is_tensor(batches):
        raise invalid(
            "`data` must be a tuple of arrays, or batches.",
            f"one array of shape {tuple(batches.shape)}",
            "Pass `(x, y)`, or `(x,)` to a model whose loss needs no targets.",
        )
    while True:
        batch = None
        for batch in batches:
            yield _as_arrays(batch)
        if batch is None:
            raise invalid(
                "`data` must be batches that last for all updates, or can be begun again.",
                f"data={batches!r}, which has no more",
                "Pass arrays, a list or a data set, or fewer `updates`.",
            )


def shuffled(arrays: tuple[Any, ...], batch_size: int, seed: int) -> Iterator[Any]:
    """Batches of arrays, in a new order at every pass; samples too few for a batch are left out of a pass."""
    x, y, weight = keras.tree.map_structure(_sliceable, keras.utils.unpack_x_y_sample_weight(_as_arrays(arrays)))
    arrays = keras.utils.pack_x_y_sample_weight(x, y, weight)
    sizes = sorted({len(array) for array in keras.tree.flatten(arrays) if array is not None})
    rule = "`data` must be arrays of equally many samples, at least 1."
    fix = "Pass `(x, y)` or `(x, y, sample_weight)`; a list, not a tuple, of batches."
    require(len(sizes) == 1 and sizes[0] > 0, rule, "samples", sizes, fix)
    random = np.random.default_rng(seed)
    size = min(batch_size, sizes[0])
    while True:
        order = random.permutation(sizes[0])
        for begin in range(0, sizes[0] - size + 1, size):
            chosen = order[begin : begin + size]
            yield keras.tree.map_structure(lambda array, i=chosen: None if array is None else array[i], arrays)


def _as_arrays(batch: Any) -> Batch:
    """A batch in arrays that the backend takes, whichever framework's they were."""
    return keras.tree.map_structure(_as_array, tuple(batch) if isinstance(batch, list) else batch)


def _as_array(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, np.ndarray) or keras.ops.is_tensor(leaf):
        return leaf
    rule = "`data` must hold arrays, as that of `fit` must."
    fix = "Pass `np.array(...)`; of strings `np.array(texts, dtype=object)`."
    require(hasattr(leaf, "shape"), rule, f"a {type(leaf).__name__}", leaf, fix)
    return keras.ops.convert_to_numpy(leaf)


def _as_tensor(leaf: Any) -> Any:
    return leaf if leaf is None or keras.ops.is_tensor(leaf) else keras.ops.convert_to_tensor(leaf)


def _sliceable(leaf: Any) -> Any:
    """In NumPy, and floats in Keras's own type: so `fit` casts those of arrays, and of arrays alone."""
    if leaf is None:
        return None
    array = leaf if isinstance(leaf, np.ndarray) else keras.ops.convert_to_numpy(leaf)
    return array.astype(keras.config.floatx(), copy=False) if np.issubdtype(array.dtype, np.floating) else array


def build(model: Any, batch: Batch) -> None:
    """Create the model's weights, which are to be put back."""
    if getattr(model, "built", True):
        return
    x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
    if type(model).call is not keras.Model.call:
        model(keras.tree.map_structure(keras.ops.convert_to_tensor, x))
    else:  # Its training step calls models within it.
        rule = "The layers of a model without `call` must be built before a range test."
        unbuilt = [layer.name for layer in model.layers if not layer.built]
        require(not unbuilt, rule, "not built", unbuilt, "Begin each with a `keras.Input`, or call its `build`.")


@contextlib.contextmanager
def given_as_in_fit(model: Any) -> Iterator[Callable[[Batch], float]]:
    """Yields what trains on a batch and returns its loss, before the update that this makes.

    `train_on_batch` always hands a triple to the training step.
    """
    own = model.train_step
    parts: int | None = None

    def train_step(*state_and_data: Any) -> Any:
        *state, data = state_and_data  # The state on JAX alone.
        data = keras.tree.map_structure(_as_tensor, data)
        return own(*state, data[0] if parts is None else data[:parts])

    def train(batch: Batch) -> float:
        nonlocal parts
        parts = len(batch) if isinstance(batch, tuple) else None
        model.reset_metrics()  # Of which the loss is one, a running mean.
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        if y is not None:
            build_metrics(model, y)
        logs = model.train_on_batch(x, y, sample_weight, return_dict=True)
        rule = 'The model\'s `train_step` must return its loss under the name of "loss".'
        require("loss" in logs, rule, "train_step's keys", sorted(logs), "Add it to what `train_step` returns.")
        return float(logs["loss"])

    with method_replaced(model, "train_step", train_step):
        yield train
