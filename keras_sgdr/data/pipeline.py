"""Batches for `model.fit`: a `tf.data.Dataset` on TensorFlow, a `keras.utils.PyDataset` elsewhere."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_sgdr._checks import integer, require
from keras_sgdr._executions import has_accelerator
from keras_sgdr.data.augment import DRAWS, center_crop, resized_crop_flip
from keras_sgdr.data.drawn import check_side
from keras_sgdr.data.samples import (
    Array,
    EpochArrays,
    Samples,
    dataset_of_epochs,
    order_and_draws,
    prefetched,
)

__all__ = ["batches"]

# A gibibyte: what images, and their crops of an epoch, may take of the device's memory unless the user says so.
MOST_BYTES = 2**30
# Batches that TensorFlow's processor crops at a time.
PARALLEL = 4


def batches(
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    *,
    batch_size: int,
    image_size: int,
    training: bool,
    seed: int = 0,
    one_shape: bool = False,
    on_device: bool | None = None,
) -> Any:
    """Batches of images for `fit`, `evaluate` and `predict`.

    In training, the images are shuffled anew in each epoch, and each is cropped, resized and mirrored at random
    (`random_resized_crop_flip`). Otherwise they come in order, cropped to the centre. On the same backend, the same
    seed gives the same batches. Pass `shuffle=False` to `fit`: Keras would shuffle the order of a PyDataset's batches
    with Python's own random numbers, and warns that it does not shuffle a `tf.data.Dataset`.

    On a GPU the images stay in the device's memory as they are, and are cropped there: on JAX and PyTorch a batch never
    leaves it; on TensorFlow an epoch is cropped in one call, and its batches pass through the processor, from which a
    model there takes all data sets.

    Example:

    >>> training = batches(x, y, batch_size=16, image_size=224, training=True)
    >>> model.fit(training, epochs=14, shuffle=False)

    Args:
        x: uint8 RGB images of shape `(N, height, width, 3)`. A side of about 8/7 of `image_size` keeps the margin that
            a central crop cuts off at the usual 256 to 224 pixels.
        y: Labels of shape `(N,)`.
        batch_size: Number of images in a batch; the last of an epoch may have fewer.
        image_size: Side of the square images of a batch, in pixels.
        training: Whether to shuffle and to augment.
        seed: Seed of the order and of the crops.
        one_shape: Whether all batches are to have one shape, so that XLA compiles one step, not two. In training the
            last batch is filled up with further crops of some of the images. Otherwise the batches have the
            largest size up to `batch_size` that divides the images evenly, unless that were less than half of it.
        on_device: Whether the images are kept in the device's memory. None: on a GPU, if they, and on TensorFlow their
            crops of an epoch, take at most a gibibyte; a warning tells where they do not. Otherwise each batch is
            copied to the device, and TensorFlow crops several at a time on the processor.

    Returns:
        A `tf.data.Dataset` of known cardinality on the TensorFlow backend, else a `keras.utils.PyDataset`; `len` of
        either is the number of batches. A batch is a pair: float32 RGB in 0..255, of shape
        `(batch, image_size, image_size, 3)`, and labels.

    Raises:
        ValueError: If a number is out of range, or `x` and `y` are no images with a label each.
    """
    integer("batch_size", batch_size, "Pass the number of images in a batch, such as batch_size=16.")
    check_side("image_size", image_size)
    integer("seed", seed, "Pass a seed such as seed=0.", least=0)
    shapes = [np.shape(array) for array in (x, y)]
    valid = isinstance(x, np.ndarray) and x.dtype.kind in "uif" and x.ndim == 4 and shapes[1][:1] == (len(x),) != (0,)
    rule = "`x` must be an array of images, `(N, height, width, 3)`, with N labels `y`, at least one."
    require(valid, rule, "shapes", shapes, "Pass what `ants_bees.load_data()` returns, or arrays like it.")
    rows, batch_size = len(x), min(int(batch_size), len(x))
    if one_shape and training:
        rows = -(-len(x) // batch_size) * batch_size
    elif one_shape:
        even = (size for size in range(batch_size, (batch_size - 1) // 2, -1) if len(x) % size == 0)
        batch_size = next(even, batch_size)
    is_tensorflow = keras.backend.backend() == "tensorflow"
    if on_device is None:
        crops = 4 * rows * image_size**2 * x.shape[-1] if is_tensorflow else 0
        on_device = _fits(x.nbytes + crops)
    if is_tensorflow and not on_device:
        return _tf_dataset((x, y), batch_size, image_size, seed if training else None, rows)

    def epoch_arrays(epoch: int) -> tuple[Array, ...]:
        if not training:
            return np.arange(len(x), dtype="int32"), y
        order, draws = order_and_draws(seed, epoch, len(x), rows)
        return order, draws, y[order]

    def cropped(images: Any, *draws: Any) -> Any:
        return resized_crop_flip(images, image_size, *draws) if training else center_crop(images, image_size)

    samples = Samples(x, cropped, on_device=on_device)
    if is_tensorflow:
        return dataset_of_epochs(epoch_arrays, None, batch_size, samples)
    return _Batches(epoch_arrays, batch_size, samples)


def _fits(size: int) -> bool:
    """Whether images that take so many bytes are to be in the device's memory."""
    if not has_accelerator():
        return False
    if size > MOST_BYTES:
        warnings.warn(
            f"{size / 2**30:.1f} GiB of images stay out of the device's memory; each batch is copied to it. Pass "
            "on_device=True if it has room for them, on_device=False if not.",
            stacklevel=3,
        )
    return size <= MOST_BYTES


def _tf_dataset(arrays: tuple[Array, Array], batch_size: int, image_size: int, seed: int | None, rows: int) -> Any:
    """The data set that TensorFlow's processor makes; without a seed for validation."""
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(arrays)
    if seed is not None:
        data = data.shuffle(len(arrays[0]), seed=seed)
        if rows > len(arrays[0]):
            data = data.repeat().take(rows)
    # Where no image is lost by it, a static batch size lets XLA compile one shape.
    data = data.batch(batch_size, drop_remainder=rows % batch_size == 0)
    # What has neither branches nor loops need not be converted, which takes a second.
    plain = tf.autograph.experimental.do_not_convert
    if seed is not None:
        # Each batch has its own seed: the crops depend neither on prefetching nor on the number of parallel calls.
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

        @plain
        def augment(batch: tuple[Any, Any], batch_seed: Any) -> tuple[Any, Any]:
            images, labels = batch
            draws = tf.random.stateless_uniform((tf.shape(images)[0], DRAWS), batch_seed)
            return resized_crop_flip(images, image_size, draws), labels

        data = tf.data.Dataset.zip(data, seeds).map(augment, num_parallel_calls=PARALLEL)
    else:
        data = data.map(plain(lambda images, labels: (center_crop(images, image_size), labels)))
    return prefetched(data, -(-rows // batch_size))


class _Batches(keras.utils.PyDataset):
    """The data set on JAX and PyTorch."""

    def __init__(self, epoch_arrays: EpochArrays, batch_size: int, samples: Samples) -> None:
        super().__init__()
        self._epoch_arrays, self._batch_size, self._samples = epoch_arrays, batch_size, samples
        self._epoch, self._arrays = 0, epoch_arrays(0)

    def __len__(self) -> int:
        return -(-len(self._arrays[0]) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Array]:
        if not 0 <= index < len(self):  # Ends a `for` loop over the data set.
            raise IndexError(index)
        rows = slice(index * self._batch_size, (index + 1) * self._batch_size)
        *inputs, labels = (array[rows] for array in self._arrays)
        return self._samples(*inputs), labels

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._arrays = self._epoch_arrays(self._epoch)
