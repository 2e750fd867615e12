"""A model's weights: saved without the optimizer, loaded into a model that they fit, and BatchNorm's of an average."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import invalid
from keras_sgdr.snapshots.data_sets import input_batches, text_as_arrays
from keras_sgdr.snapshots.snapshot import Snapshot, SnapshotError

__all__ = [
    "architecture",
    "estimate_statistics",
    "has_finite_weights",
    "load_weights",
    "put_average",
    "save_weights",
    "weights_alone",
]


@contextlib.contextmanager
def weights_alone(model: Any) -> Iterator[Any]:
    """A model whose files hold no optimizer: its state is as large again, and prediction does not use it."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        yield model
        return
    model.optimizer = None
    try:
        yield model
    finally:
        model.optimizer = optimizer


def architecture(model: Any) -> str:
    """Digest of the shapes of a model's weights, in order; without those of LoRA, which Keras saves inside the kernels.

    Keras loads a file that holds more weights than the model without an error.
    """
    low_rank = {id(variable) for layer in model._flatten_layers() for variable in _low_rank_variables(layer)}
    return _digest(variable for variable in model.weights if id(variable) not in low_rank)


def has_finite_weights(model: Any) -> bool:
    """Whether all variables of a model are finite."""
    arrays = (ops.convert_to_numpy(each) for each in model.variables if keras.backend.is_float_dtype(each.dtype))
    return all(bool(np.isfinite(array.astype("float32")).all()) for array in arrays)


def save_weights(model: Any, path: str) -> None:
    """Save a model's weights without its optimizer.

    Raises:
        OSError: If there is no room for them.
    """
    if hasattr(os, "posix_fallocate"):
        # On a full disk HDF5 may end the process in place of raising, so the room is taken before: that of the values,
        # and a few kilobytes for each variable and each layer.
        size = sum(_size(each) for each in model.variables) + 8192 * len([*model.variables, *model._flatten_layers()])
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    with weights_alone(model):
        model.save_weights(path)


def load_weights(model: Any, path: Path, snapshot: Snapshot) -> None:
    """Load a snapshot's file, as `model.load_weights` does.

    Raises:
        ValueError: If the model is not built.
        SnapshotError: If the file holds other weights than the model has, or Keras cannot read it.
    """
    # Files of earlier versions were listed with the shapes of LoRA's.
    if snapshot.architecture not in (architecture(model), _digest(model.weights)):
        unbuilt = [layer.name for layer in model._flatten_layers() if not layer.built]
        if unbuilt:
            raise invalid(
                "A model must be built before weights are loaded into it.",
                f"{model.name!r}, in which {', '.join(unbuilt)} {'is' if len(unbuilt) == 1 else 'are'} not built",
                "Call it once on a batch of data, or `model.build(...)` with the shape of its inputs.",
            )
        raise SnapshotError(
            f"The model must be of the architecture that was trained. Received: {str(path)!r}, whose weights "
            f"have other shapes than those of {model.name!r}. Pass the model that the snapshots are of."
        )
    try:
        if (values := _bytes_of_arrays(path)) > (size := path.stat().st_size):
            raise ValueError(f"its {size} bytes say that they are {values} of arrays, which Keras does not pack.")
        with weights_alone(model):
            model.load_weights(path)
    except Exception as error:  # Keras raises whatever it comes upon in a file.
        raise SnapshotError(
            f"A snapshot must be a file that Keras can read. Received: {str(path)!r}, which it cannot: "
            f"{type(error).__name__}: {error} Restore the file from a copy, or leave its cycle out."
        ) from error


def put_average(model: Any, weights: list[Any], x: Any, batch_size: int) -> None:
    """Put an average of weights, as of `model.get_weights`, into a model.

    Args:
        model: The model.
        weights: The average.
        x: Data from which the statistics of every trainable BatchNorm are taken anew; None keeps their average.
        batch_size: Samples in a batch of arrays.
    """
    model.set_weights(weights)
    if x is not None:
        estimate_statistics(model, input_batches(text_as_arrays(x), batch_size))


def estimate_statistics(model: Any, batches: Iterable[Any]) -> None:
    """Put the means over all batches in place of BatchNorm's moving statistics; frozen layers keep theirs.

    Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", arXiv 1803.05407, section 3.2.

    Args:
        model: The model.
        batches: Its inputs.
    """
    # Private, but `layers` holds no layers of layers.
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    momenta = [layer.momentum for layer in layers]
    try:
        for index, inputs in enumerate(batches if layers else ()):
            for layer in layers:
                layer.momentum = index / (index + 1)  # The moving mean is then that over all batches so far.
            model(keras.tree.map_structure(ops.convert_to_tensor, inputs), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _size(variable: Any) -> int:
    """Bytes of a variable's values, by the bits that its type names."""
    bits = re.search(r"\d+", str(variable.dtype))
    return math.prod(variable.shape) * (int(bits.group()) // 8 if bits else 1)


def _bytes_of_arrays(path: Path) -> int:
    """Bytes that the arrays in a file say they have: of what is not stored, HDF5 makes zeros."""
    sizes: list[int] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(math.prod(item.shape or ()) * item.dtype.itemsize)

    with h5py.File(path) as file:
        file.visititems(note)
    return sum(sizes)


def _low_rank_variables(layer: Any) -> list[Any]:
    """The variables that `enable_lora` has added to a layer."""
    if not getattr(layer, "lora_enabled", False):
        return []
    named = {name: value for name, value in vars(layer).items() if name.lstrip("_").startswith("lora_")}
    return [value for value in named.values() if isinstance(value, keras.Variable)]


def _digest(variables: Iterable[Any]) -> str:
    shapes = [tuple(variable.shape) for variable in variables]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]
