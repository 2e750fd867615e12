"""An ensemble as one model of Keras's own layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_sgdr.snapshots.outputs import Outputs

__all__ = ["as_one_model"]


def as_one_model(model: Any, names: Iterable[str], shares: Sequence[float], given: Outputs) -> Any:
    """A model that holds the members, and gives the weighted mean of what they give.

    Args:
        model: A functional or sequential model.
        names: Names of the members; when each is taken, the model must have that member's weights.
        shares: Their shares in the mean.
        given: What the model's outputs are.
    """
    # A sequential model has an `input` only once it was called.
    tensors = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), tensors
    )
    members = []
    for share, name in zip(shares, names, strict=True):
        member = keras.models.clone_model(model)
        member.name = name
        member.set_weights(model.get_weights())
        outputs = member(inputs)
        members.append([_part(*each, share, name) for each in _labelled(outputs, given)])
    means = [
        keras.layers.Add(dtype="float32", name=f"mean{number}")(parts) if len(parts) > 1 else parts[0]
        for (number, _, _), *parts in zip(_labelled(outputs, given), *members, strict=True)
    ]
    return keras.Model(inputs, keras.tree.pack_sequence_as(outputs, means), name="snapshot_ensemble")


def _labelled(outputs: Any, given: Outputs) -> list[tuple[str, Any, str | None]]:
    """A number for its layers' names where there are several, of each output; the output; and its activation."""
    leaves = keras.tree.flatten(outputs)
    numbers = [""] if len(leaves) == 1 else [f"_{number}" for number in range(len(leaves))]
    return list(zip(numbers, leaves, given.activations(outputs), strict=True))


def _part(number: str, output: Any, activation: str | None, share: float, name: str) -> Any:
    if activation:
        output = keras.layers.Activation(activation, dtype="float32", name=f"{name}{number}_{activation}")(output)
    return keras.layers.Rescaling(share, dtype="float32", name=f"{name}{number}_share")(output)
