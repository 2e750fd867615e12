"""New random weights for the modules nearest a model's output, so that they are learnt again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_sgdr.arguments import is_integer, require

__all__ = ["randomize_modules"]

_KINDS = (
    layers.Dense,
    layers.BatchNormalization,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)


def randomize_modules(model: keras.Model, n: int = 40, seed: int = 0) -> list[str]:
    """Give the `n` modules nearest the output new weights, from their own initialisers; the rest keeps its own.

    Modules are the leaf layers that learn: convolutions, BatchNorms (whose running statistics begin anew too) and dense
    layers, in whatever models they are nested. Nearest is last in `model.layers`, which in a functional model is in
    the order of the longest way to the output. The k-th from the output gets the same weights whatever `n`.

    Args:
        model: A model that is built. Its weights are changed in place.
        n: Number of modules.
        seed: Of the new weights.

    Returns:
        Names of the modules, from the output on.

    Raises:
        ValueError: If the model has less than `n` of them, or is not built.
    """
    found = list(_modules(model))[::-1]
    require(
        is_integer(n) and n <= len(found),
        f"`n` must be a positive integer, at most the model's {len(found)} convolutions, BatchNorms and dense layers.",
        "n",
        n,
        "Pass how many of them are to be learnt again.",
    )
    for place, layer in enumerate(found[:n]):
        if not layer.built:
            raise ValueError(
                "The model must be built, or there are no weights to replace. "
                f"Received: layer {layer.name!r} without weights. Begin the model with a `keras.Input`."
            )
        _randomize(layer, np.random.default_rng((seed, place)))
    return [layer.name for layer in found[:n]]


def _modules(layer: Any) -> Iterator[Any]:
    """The leaf modules in a layer, from the input on."""
    if isinstance(layer, _KINDS):
        yield layer
    else:
        for inner in getattr(layer, "layers", None) or ([layer.layer] if isinstance(layer, layers.Wrapper) else []):
            yield from _modules(inner)


def _randomize(layer: Any, random: np.random.Generator) -> None:
    config = layer.get_config()
    for name, initializer in config.items():
        if name.endswith("_initializer") and "seed" in initializer["config"]:
            config[name] = {**initializer, "config": {**initializer["config"], "seed": int(random.integers(2**31))}}
    copy = type(layer).from_config(config)
    copy.build(layer.get_build_config()["input_shape"])
    for old, new in zip(layer.weights, copy.weights, strict=True):
        old.assign(new)
