from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr.data import batches, drawn_insects

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def insects() -> tuple[Array, Array]:
    """Ten images, labelled by their number."""
    return drawn_insects(10, 0, image_size=40)[0][0], np.arange(10)


def epochs(data: Any, count: int = 1) -> list[list[tuple[Array, Array]]]:
    """What `fit` reads from a data set in so many epochs."""
    result = []
    for _ in range(count):
        result.append([(np.asarray(images), np.asarray(labels)) for images, labels in data])
        if isinstance(data, keras.utils.PyDataset):
            data.on_epoch_end()
    return result


def test_validation_batches_come_in_order_from_the_centre(insects: tuple[Array, Array]) -> None:
    x, y = insects
    data = batches(x, y, batch_size=4, image_size=32, training=False)
    assert len(data) == 3
    (epoch,) = epochs(data)
    assert [images.shape for images, _ in epoch] == [(4, 32, 32, 3), (4, 32, 32, 3), (2, 32, 32, 3)]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in epoch]), y)
    images = np.concatenate([images for images, _ in epoch])
    np.testing.assert_array_equal(images, x[:, 4:36, 4:36].astype("float32"), strict=True)


def test_training_batches_are_shuffled_and_cropped_anew_in_each_epoch(insects: tuple[Array, Array]) -> None:
    # The first channel is the image's number; the others are ramps, which tell where the crop was.
    y = insects[1]
    x = np.zeros((10, 40, 40, 3), "uint8")
    x[..., 0] = y[:, None, None]
    x[..., 1] = np.arange(40)
    x[..., 2] = np.arange(40)[:, None]
    data = batches(x, y, batch_size=4, image_size=32, training=True, seed=1)
    assert len(data) == 3
    first, second = epochs(data, 2)
    orders = [np.concatenate([labels for _, labels in epoch]) for epoch in (first, second)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), y)
        assert order.tolist() != y.tolist()
    assert orders[0].tolist() != orders[1].tolist()
    crops = [
        np.concatenate([images for images, _ in epoch])[np.argsort(order)]
        for epoch, order in zip((first, second), orders, strict=True)
    ]
    for crop in crops:
        assert crop.shape == (10, 32, 32, 3)
        assert crop.dtype == np.float32
        # Weights of a bilinear mean add to 1 up to float32's rounding.
        np.testing.assert_allclose(crop[..., 0], np.broadcast_to(y[:, None, None], (10, 32, 32)), rtol=1e-5)
    assert len(np.unique(np.concatenate(crops)[..., 1:], axis=0)) == 20


def test_same_seed_same_batches(insects: tuple[Array, Array]) -> None:
    def train(seed: int) -> list[tuple[Array, Array]]:
        data = batches(*insects, batch_size=4, image_size=32, training=True, seed=seed)
        return [batch for epoch in epochs(data, 2) for batch in epoch]

    first = train(5)
    for (images, labels), (images_again, labels_again) in zip(first, train(5), strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(first[0][0], train(6)[0][0])


def test_batches_of_equal_size_have_a_static_shape(insects: tuple[Array, Array]) -> None:
    data = batches(*insects, batch_size=5, image_size=24, training=True)
    assert len(data) == 2
    if keras.backend.backend() == "tensorflow":
        assert data.element_spec[0].shape == (5, 24, 24, 3)
        assert data.cardinality() == 2


def test_fit_and_evaluate_take_them(insects: tuple[Array, Array]) -> None:
    x, y = insects
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    training = batches(x, y, batch_size=4, image_size=32, training=True)
    validation = batches(x, y, batch_size=4, image_size=32, training=False)
    history = model.fit(training, validation_data=validation, epochs=2, shuffle=False, verbose=0)
    assert len(history.history["val_loss"]) == 2
    assert model.predict(validation, verbose=0).shape == (10, 1)
