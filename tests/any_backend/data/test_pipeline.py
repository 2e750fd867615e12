from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_sgdr.data import batches, drawn_insects, pipeline

Array = np.ndarray[Any, Any]
BACKEND = keras.config.backend()


@pytest.fixture(scope="module")
def insects() -> tuple[Array, Array]:
    """Ten images, labelled by their number."""
    return drawn_insects(10, 0, image_size=40)[0][0], np.arange(10)


def epochs(data: Any, count: int = 1) -> list[list[tuple[Array, Array]]]:
    """What `fit` reads from a data set in so many epochs."""
    result = []
    for _ in range(count):
        result.append([(ops.convert_to_numpy(images), ops.convert_to_numpy(labels)) for images, labels in data])
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


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data")
def test_an_iterator_ends_at_once(insects: tuple[Array, Array]) -> None:
    # The thread that tunes a data set holds up, for ten seconds now and then, whoever deletes its iterator.
    for on_device in (False, True):
        data = batches(*insects, batch_size=5, image_size=16, training=True, on_device=on_device)
        assert data.options().autotune.enabled is False


def test_images_on_the_device_give_the_same_batches(insects: tuple[Array, Array]) -> None:
    """On TensorFlow an epoch is cropped in one call, elsewhere the images are picked on the device."""
    # The processor of TensorFlow shuffles by itself, in another order.
    for training in [False] if BACKEND == "tensorflow" else [True, False]:
        kept, copied = (
            epochs(batches(*insects, batch_size=4, image_size=32, training=training, seed=3, on_device=on_device), 3)
            for on_device in (True, False)
        )
        for epoch, same in zip(kept, copied, strict=True):
            for (images, labels), (images_again, labels_again) in zip(epoch, same, strict=True):
                np.testing.assert_array_equal(labels, labels_again, strict=True)
                # Sums over a box, in another order.
                np.testing.assert_allclose(images, images_again, rtol=1e-5, atol=1e-3)
        assert training != np.array_equal(kept[0][0][0], kept[1][0][0])


@pytest.mark.parametrize("on_device", [True, False])
def test_one_shape(insects: tuple[Array, Array], on_device: bool) -> None:
    data = batches(*insects, batch_size=4, image_size=24, training=True, seed=3, one_shape=True, on_device=on_device)
    assert len(data) == 3
    (epoch,) = epochs(data)
    assert [images.shape for images, _ in epoch] == [(4, 24, 24, 3)] * 3
    labels = np.concatenate([labels for _, labels in epoch])
    np.testing.assert_array_equal(np.sort(labels[:10]), np.arange(10))
    # Two of them again, in other crops.
    images = np.concatenate([images for images, _ in epoch])
    for number in (10, 11):
        (first,) = np.flatnonzero(labels[:10] == labels[number])
        assert not np.isclose(images[number], images[first]).all()
    # Of as many batches as without it, and the other images are cropped alike.
    (plain,) = epochs(batches(*insects, batch_size=4, image_size=24, training=True, seed=3, on_device=on_device))
    for (cropped, _), (again, _) in zip(plain[:2], epoch, strict=False):
        np.testing.assert_allclose(again, cropped, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [2] * 5), (8, [5, 5]), (9, [5, 5]), (10, [10]), (64, [10])])
def test_one_shape_in_validation(insects: tuple[Array, Array], batch_size: int, sizes: list[int]) -> None:
    """The largest size that divides ten images, unless that were less than half of it."""
    data = batches(*insects, batch_size=batch_size, image_size=24, training=False, one_shape=True)
    assert [len(images) for images, _ in data] == sizes
    assert len(data) == len(sizes)
    seven = batches(*(part[:7] for part in insects), batch_size=4, image_size=24, training=False, one_shape=True)
    assert [len(images) for images, _ in seven] == [4, 3]


def test_the_choice_is_told(insects: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: Any = {"batch_size": 4, "image_size": 24, "training": True}
    monkeypatch.setattr(pipeline, "has_accelerator", lambda: True)
    batches(*insects, **arguments)
    monkeypatch.setattr(pipeline, "MOST_BYTES", 10)
    with pytest.warns(UserWarning, match="GiB of images stay out of the device's memory.*on_device=True"):
        batches(*insects, **arguments)
    batches(*insects, **arguments, on_device=False)


@pytest.mark.parametrize("name", ["batch_size", "image_size"])
def test_sizes_are_checked(insects: tuple[Array, Array], name: str) -> None:
    arguments: Any = {"batch_size": 4, "image_size": 24, "training": True, name: 0}
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}=0\. Pass the"):
        batches(*insects, **arguments)


def test_fit_and_evaluate_take_them(insects: tuple[Array, Array]) -> None:
    x, y = insects
    model = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    training = batches(x, y, batch_size=4, image_size=32, training=True)
    validation = batches(x, y, batch_size=4, image_size=32, training=False)
    history = model.fit(training, validation_data=validation, epochs=2, shuffle=False, verbose=0)
    assert len(history.history["val_loss"]) == 2
    assert model.predict(validation, verbose=0).shape == (10, 1)


@pytest.mark.tensorflow
def test_functions_are_not_converted(
    insects: tuple[Array, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    # Autograph writes what it has converted into files there.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for training in (True, False):
        batches(*insects, batch_size=4, image_size=32, training=training, on_device=False)
    assert not list(tmp_path.iterdir())
    tf.data.Dataset.range(2).map(lambda index: index + 1 if index else index)  # The control.
    assert list(tmp_path.glob("*autograph*"))
