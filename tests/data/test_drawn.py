from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr.data import batches, drawn_insects


def test_shapes_and_labels_are_those_of_the_real_set() -> None:
    (x_train, y_train), (x_val, y_val) = drawn_insects(7, 4, image_size=48)
    assert x_train.shape == (7, 48, 48, 3)
    assert x_val.shape == (4, 48, 48, 3)
    assert x_train.dtype == x_val.dtype == np.uint8
    assert y_train.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert y_val.tolist() == [0, 0, 1, 1]
    (x_train, _), (x_val, _) = drawn_insects(image_size=8)
    assert (len(x_train), len(x_val)) == (244, 153)


def test_same_seed_same_images() -> None:
    def draw(seed: int) -> np.ndarray[Any, Any]:
        return drawn_insects(3, 3, 32, seed)[0][0]

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_colour_alone_tells_better_than_chance_but_not_all() -> None:
    (x_train, y_train), (x_val, y_val) = drawn_insects(400, 400, image_size=32)

    def features(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        pixels = images.reshape(len(images), -1, 3) / 255
        moments = [pixels.mean(1), pixels.std(1), np.quantile(pixels, 0.05, 1), np.quantile(pixels, 0.95, 1)]
        return np.concatenate([*moments, np.ones((len(images), 1))], 1)

    weights = np.linalg.lstsq(features(x_train), 2.0 * y_train - 1, rcond=None)[0]
    accuracy = ((features(x_val) @ weights > 0) == y_val).mean()
    # Four standard errors (2.5 points at 400 images) above chance; and far from solved.
    assert 0.6 < accuracy < 0.9


@pytest.mark.slow
def test_a_network_learns_them() -> None:
    (x_train, y_train), (x_val, y_val) = drawn_insects(400, 200, image_size=36)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Rescaling(1 / 64, -2)]
    for filters in (16, 32, 64):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, decay_steps=200)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(
        batches(x_train, y_train, batch_size=20, image_size=32, training=True), epochs=10, shuffle=False, verbose=0
    )
    results = model.evaluate(
        batches(x_val, y_val, batch_size=50, image_size=32, training=False), verbose=0, return_dict=True
    )
    # Chance is 0.5, with a standard error of 0.035. Three seeds gave, on every backend, 0.875 to 0.96.
    assert results["accuracy"] > 0.75
