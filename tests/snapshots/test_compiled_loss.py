"""What a loss says of a model's outputs, in any form in which it may be given, and in any version of Keras."""

from __future__ import annotations

import functools
from typing import Any

import keras
import pytest

from keras_sgdr.snapshots.compiled_loss import gives_logits, kind_of

losses = keras.losses
CROSS_ENTROPIES = (
    losses.BinaryCrossentropy,
    losses.BinaryFocalCrossentropy,
    losses.CategoricalCrossentropy,
    losses.CategoricalFocalCrossentropy,
    losses.SparseCategoricalCrossentropy,
)


class Derived(keras.losses.SparseCategoricalCrossentropy):
    """A user's."""


class Silent(keras.losses.Loss):
    """Does not keep what it was given, as Keras 3.16 keeps no attribute of it."""

    def __init__(self, from_logits: bool = False) -> None:
        super().__init__()
        self.from_logits_of_old = from_logits

    def call(self, labels: Any, outputs: Any) -> Any:
        return outputs


class Configured(Silent):
    """Says it in its configuration only."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits_of_old}


def of_keras(loss: type) -> Any:
    """The class as if Keras had it."""
    return type("SparseCategoricalCrossentropy", (loss,), {"__module__": "keras.src.losses.losses"})


def wrapped(function: Any, **settings: Any) -> Any:
    """A function as Keras itself wraps it."""
    return type(losses.MeanSquaredError()).__mro__[1](function, **settings)


def own_function(labels: Any, outputs: Any) -> Any:
    return outputs


@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
@pytest.mark.parametrize("logits", [True, False])
def test_without_the_attribute_keras_losses_tell(cross_entropy: Any, logits: bool) -> None:
    """Keras 3.16 has it no longer."""
    loss = cross_entropy(from_logits=logits)
    vars(loss).pop("from_logits", None)
    assert not hasattr(loss, "from_logits")
    assert gives_logits(loss, "model") is logits


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("mse", False),
        ("binary_crossentropy", False),
        ("SparseCategoricalCrossentropy", False),
        (losses.Huber(), False),
        (losses.CTC(), True),
        ("ctc", True),
        (losses.categorical_crossentropy, False),
        (functools.partial(losses.categorical_crossentropy, from_logits=True), True),
        (Derived(from_logits=True), True),
        (Derived(), False),
        (of_keras(Configured)(True), True),
        (Configured(False), False),
        (wrapped(losses.binary_crossentropy, from_logits=True), True),
        (wrapped(losses.binary_crossentropy), False),
    ],
)
def test_losses_that_tell(loss: Any, logits: bool) -> None:
    assert gives_logits(loss, "model") is logits


@pytest.mark.parametrize(
    "loss",
    [None, own_function, Silent(True), of_keras(Silent)(True), wrapped(own_function), functools.partial(own_function)],
)
def test_losses_that_do_not_tell_are_refused(loss: Any) -> None:
    rule = "must know whether the model gives logits. Received: model='model', compiled with loss=.*which does not tell"
    with pytest.raises(ValueError, match=rf"{rule}. Pass from_logits=True"):
        gives_logits(loss, "model")


@pytest.mark.parametrize(
    ("loss", "kind"),
    [
        ("sparse_categorical_crossentropy", "exclusive"),
        (losses.CategoricalFocalCrossentropy(), "exclusive"),
        (functools.partial(losses.categorical_crossentropy, from_logits=True), "exclusive"),
        (Derived(), "exclusive"),
        (losses.BinaryFocalCrossentropy(), "binary"),
        ("binary_crossentropy", "binary"),
        (losses.MeanSquaredError(), "other"),
        ("categorical_hinge", "other"),
        (own_function, "other"),
        (None, "other"),
    ],
)
def test_what_an_output_predicts(loss: Any, kind: str) -> None:
    assert kind_of(loss) == kind
