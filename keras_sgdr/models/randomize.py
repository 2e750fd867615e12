"""New random weights for the modules nearest a model's output, which are then trained from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_sgdr._checks import integer, invalid, is_integer, require

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
    """Give the `n` modules nearest the output new weights, from their own initialisers. Other weights stay.

    Modules are the leaf layers with weights: convolutions, BatchNorms (whose moving statistics are reset too) and dense
    layers, however deeply nested. Nearest is last in `model.layers`, which in a functional model is ordered by the
    longest path to the output. The k-th module from the output gets the same weights whatever `n`.

    Args:
        model: A built model. Its weights are changed in place.
        n: Number of modules.
        seed: Seed of the new weights.

    Returns:
        Names of the modules, starting at the output.

    Raises:
        ValueError: If the model has fewer than `n` modules, or is not built.
    """
    modules = list(_modules(model))[::-1]
    kinds = "convolutions, BatchNorms and dense layers"
    rule = f"`n` must be a positive integer, at most the model's {len(modules)} {kinds}."
    require(is_integer(n) and n <= len(modules), rule, "n", n, "Pass the number of modules to randomise.")
    integer("seed", seed, "Pass a seed such as seed=0.", least=0)
    for place, layer in enumerate(modules[:n]):
        if not layer.built:
            rule = "The model must be built, or there are no weights to replace."
            raise invalid(rule, f"layer {layer.name!r} without weights", "Begin the model with a `keras.Input`.")
        _randomize(layer, np.random.default_rng((seed, place)))
    return [layer.name for layer in modules[:n]]


def _modules(layer: Any) -> Iterator[Any]:
    """The leaf modules of a layer, starting at the input."""
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
