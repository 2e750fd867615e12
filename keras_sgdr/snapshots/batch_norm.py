"""Statistics of BatchNorm taken anew, for weights that were averaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

__all__ = ["estimate_statistics"]


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
