"""Batches for `model.fit`: a `tf.data.Dataset` on TensorFlow, a `keras.utils.PyDataset` elsewhere."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sgdr.data.augment import DRAWS, center_crop, resized_crop_flip

__all__ = ["batches"]

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def batches(
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    *,
    batch_size: int,
    image_size: int,
    training: bool,
    seed: int = 0,
) -> Any:
    """Batches of images for `fit`, `evaluate` and `predict`.

    In training, the images are shuffled anew in each epoch, and each is cropped, resized and mirrored at random
    (`random_resized_crop_flip`). Otherwise they come in order, cropped to the centre. The last batch of an epoch may be
    smaller. On the same backend, the same seed gives the same batches. Pass `shuffle=False` to `fit`: Keras would
    shuffle the order of a PyDataset's batches with Python's own random numbers, and warns that it does not shuffle a
    `tf.data.Dataset`.

    Example:

    >>> training = batches(x, y, batch_size=16, image_size=224, training=True)
    >>> model.fit(training, epochs=14, shuffle=False)

    Args:
        x: uint8 RGB images of shape `(N, height, width, 3)`, kept in memory. A side of about 8/7 of `image_size` keeps
            the margin that a central crop cuts off at the usual 256 to 224 pixels.
        y: Labels of shape `(N,)`.
        batch_size: Number of images in a batch.
        image_size: Side of the square images of a batch, in pixels.
        training: Whether to shuffle and to augment.
        seed: Seed of the order and of the crops.

    Returns:
        A `tf.data.Dataset` of known cardinality on the TensorFlow backend, else a `keras.utils.PyDataset`; `len` of
        either is the number of batches. A batch is a pair: float32 RGB in 0..255, of shape
        `(batch, image_size, image_size, 3)`, and labels.
    """
    make = _tf_dataset if keras.backend.backend() == "tensorflow" else _Batches
    return make((x, y), batch_size, image_size, seed if training else None)


def _tf_dataset(arrays: Arrays, batch_size: int, image_size: int, seed: int | None) -> Any:
    """The data set on TensorFlow; without a seed for validation."""
    import tensorflow as tf

    count = len(arrays[0])
    data = tf.data.Dataset.from_tensor_slices(arrays)
    if seed is not None:
        data = data.shuffle(count, seed=seed)
    # Where no image is lost by it, a static batch size lets XLA compile one shape.
    data = data.batch(batch_size, drop_remainder=count % batch_size == 0)
    if seed is not None:
        # Each batch has its own seed: the crops depend neither on prefetching nor on the number of parallel calls.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

        def augment(batch: tuple[Any, Any], batch_seed: Any) -> tuple[Any, Any]:
            images, labels = batch
            draws = tf.random.stateless_uniform((tf.shape(images)[0], DRAWS), batch_seed)
            return resized_crop_flip(images, image_size, draws), labels

        data = tf.data.Dataset.zip(data, seeds).map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        data = data.map(lambda images, labels: (center_crop(images, image_size), labels))
    return data.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size))).prefetch(tf.data.AUTOTUNE)


class _Batches(keras.utils.PyDataset):
    """The data set on JAX and PyTorch; without a seed for validation."""

    def __init__(self, arrays: Arrays, batch_size: int, image_size: int, seed: int | None) -> None:
        super().__init__()
        self._x, self._y = arrays
        self._batch_size, self._image_size = batch_size, image_size
        self._seed, self._epoch = seed, 0
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self._x) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        if not 0 <= index < len(self):  # Ends a `for` loop over the data set.
            raise IndexError(index)
        numbers = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        images = self._x[numbers]
        if self._seed is not None:
            generator = np.random.default_rng((self._seed, self._epoch, index))
            draws = generator.random((len(numbers), DRAWS), "float32")
            cropped = resized_crop_flip(images, self._image_size, keras.ops.convert_to_tensor(draws))
        else:
            cropped = center_crop(images, self._image_size)
        return keras.ops.convert_to_numpy(cropped), self._y[numbers]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self._order = np.arange(len(self._x))
        if self._seed is not None:
            np.random.default_rng((self._seed, self._epoch)).shuffle(self._order)
