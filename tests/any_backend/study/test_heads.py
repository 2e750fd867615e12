"""Heads on a frozen backbone: trained together as they would be one by one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr.models import randomize_modules
from keras_sgdr.study import Study, heads
from tests.support.study_nets import EPOCHS, SMALL, compiled, images, point_model, points

SCHEDULES = {"SGDR (1, 2)": WarmRestarts(1, 2, 0.1), "constant": StepDecay(0.05, gamma=1)}

# On JAX every study compiles its own step, a minute for these.
pytestmark = [pytest.mark.slow] if keras.config.backend() == "jax" else []


def model_fn(optimizer: Any, loss: Any, trainable: bool, **head: Any) -> Any:
    """A convolution and a BatchNorm under a head."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(5, 3, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed=1)),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(**{"units": 3, "bias_initializer": "random_normal", **head}),
        ]
    )
    for layer in model.layers[:-1]:
        layer.trainable = trainable
    # One by one they are run eagerly: to trace a model takes longer than to train it.
    model.compile(optimizer(), loss=loss, jit_compile=False, run_eagerly=not trainable)
    return model


def same_sides() -> Any:
    (x, y), val = images()
    return (x[:, :8, :8], y), val


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: keras.optimizers.AdamW(weight_decay=0.01),
    "rmsprop": lambda: keras.optimizers.RMSprop(clipvalue=0.5),
}


def as_one_hot(data: Any) -> Any:
    return tuple((x, np.eye(3, dtype="float32")[y]) for x, y in data)


# Losses by name and as objects; labels as classes and one-hot; heads of logits and of a probability.
CASES: dict[str, tuple[str, Any, dict[str, Any], Any]] = {
    "SGD": ("momentum", keras.losses.SparseCategoricalCrossentropy(from_logits=True), {}, same_sides),
    "AdamW, one-hot": (
        "adam",
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        {"use_bias": False},
        lambda: as_one_hot(same_sides()),
    ),
    "RMSprop, one sigmoid": ("rmsprop", "binary_crossentropy", {"units": 1, "activation": "sigmoid"}, same_sides),
}


@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras's optimizers take one rate alone there.")
@pytest.mark.parametrize(
    "case", ["SGD", "AdamW, one-hot", pytest.param("RMSprop, one sigmoid", marks=pytest.mark.slow)]
)
def test_heads_trained_together_equal_those_trained_one_by_one(case: str, tmp_path: Path) -> None:
    optimizer, loss, head, data = CASES[case]
    options = {**SMALL, "schedules": SCHEDULES}
    together = Study(
        partial(model_fn, OPTIMIZERS[optimizer], loss, True, **head), data(), folder=tmp_path, frozen=True, **options
    )
    together.run(progress=False)
    one_by_one = Study(
        partial(model_fn, OPTIMIZERS[optimizer], loss, False, **head),
        data(),
        folder=tmp_path / "one",
        augment=lambda samples, draws: keras.ops.cast(samples, "float32"),
        initialize=lambda model, seed: randomize_modules(model, 1, seed),
        **options,
    )
    one_by_one.run(progress=False)
    # float32; the sums over features and samples are taken in another order.
    pd.testing.assert_frame_equal(together.results, one_by_one.results, rtol=1e-5, atol=1e-5)
    assert together.results["loss"].nunique() == len(SCHEDULES) * 2 * EPOCHS


def test_a_training_image_shows_what_a_validation_image_does(tmp_path: Path) -> None:
    """Of 16 pixels 14 are shown in validation; of the same image at 32 pixels 28, at half the size."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (2, 16, 16, 3), "uint8")
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    shown = heads._same_view(large, 16, 14)
    # Halving weighs four pixels 1, 3, 3, 1: the two that are equal, and one of either neighbour.
    weights = np.array([1, 6, 1]) / 8
    rows = np.stack([small[:, at : at + 3] for at in range(14)], axis=1)
    rows = np.tensordot(rows, weights, axes=([2], [0]))
    expected = np.stack([rows[:, :, at : at + 3] for at in range(14)], axis=2)
    expected = np.tensordot(expected, weights, axes=([3], [0]))
    inner = slice(1, -1)  # At the border there is no neighbour.
    found = keras.ops.convert_to_numpy(shown)
    np.testing.assert_allclose(found[:, inner, inner], expected[:, inner, inner], atol=1e-3)  # Of 255, in float32.
    np.testing.assert_array_equal(heads._same_view(small, 16, 14), small[:, 1:-1, 1:-1])


@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras's optimizers take one rate alone there.")
def test_more_seeds_and_schedules_are_added_to_what_is_there(tmp_path: Path) -> None:
    def study(seeds: int, schedules: Any) -> Study:
        options = {**SMALL, "seeds": seeds, "schedules": schedules}
        return Study(point_model, points(), folder=tmp_path, frozen=True, **options)

    first = study(1, {"constant": SCHEDULES["constant"]})
    first.run(progress=False)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    second = study(2, SCHEDULES)
    second.run(progress=False)
    assert len(list(tmp_path.iterdir())) == 4
    assert all((tmp_path / name).stat().st_mtime_ns == at for name, at in before.items())
    assert len(second.results) == 4 * EPOCHS


def test_the_last_layer_must_be_the_head(tmp_path: Path) -> None:
    def headless() -> Any:
        return compiled([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Activation("softmax")])

    with pytest.raises(ValueError, match="The last layer of a model with a frozen backbone must be a `Dense`, which"):
        Study(headless, points(), folder=tmp_path, frozen=True, **SMALL).run(progress=False)


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(clipnorm=1.0), keras.optimizers.Lamb()])
def test_the_optimizer_must_work_element_by_element(optimizer: Any, tmp_path: Path) -> None:
    def model_fn() -> Any:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model.compile(optimizer, loss="mse")
        return model

    with pytest.raises(ValueError, match="by an optimizer that works element by element, without clipping of norms"):
        Study(model_fn, points(), folder=tmp_path, frozen=True, **SMALL).run(progress=False)


def test_a_head_must_have_no_regularizer(tmp_path: Path) -> None:
    def regularized() -> Any:
        return compiled([keras.Input((4,)), keras.layers.Dense(2, kernel_regularizer="l2")])

    with pytest.raises(ValueError, match=r"must have neither regularizers nor constraints\. Received: last layer="):
        Study(regularized, points(), folder=tmp_path, frozen=True, **SMALL).run(progress=False)
