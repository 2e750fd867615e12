"""A model's weights as they are in a file: saved without the optimizer, and loaded into a model that they fit."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras

from keras_sgdr._checks import invalid
from keras_sgdr.snapshots.manifest import Snapshot, SnapshotError

__all__ = ["architecture", "load_weights", "weights_alone"]


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


def load_weights(model: Any, path: Path, snapshot: Snapshot) -> None:
    """Load a snapshot's file, as `model.load_weights` does.

    Raises:
        ValueError: If the model is not built.
        SnapshotError: If the file holds other weights than the model has.
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
    with weights_alone(model):
        model.load_weights(path)


def _low_rank_variables(layer: Any) -> list[Any]:
    """The variables that `enable_lora` has added to a layer."""
    if not getattr(layer, "lora_enabled", False):
        return []
    named = {name: value for name, value in vars(layer).items() if name.lstrip("_").startswith("lora_")}
    return [value for value in named.values() if isinstance(value, keras.Variable)]


def _digest(variables: Iterable[Any]) -> str:
    shapes = [tuple(variable.shape) for variable in variables]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:16]
