"""The samples of a run: their order and random numbers in each epoch, and the samples themselves on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_sgdr._checks import invalid
from keras_sgdr.data.augment import DRAWS, center_crop, resized_crop_flip

__all__ = ["Array", "CachedSamples", "batches_of_epochs", "crops", "dataset_of_epochs", "order_and_draws"]

Array: TypeAlias = np.ndarray[Any, Any]
Augment: TypeAlias = Callable[[Any, Any], Any]
EpochArrays: TypeAlias = Callable[[int], tuple[Array, ...]]


def order_and_draws(seed: int, epoch: int, samples: int) -> tuple[Array, Array]:
    """The order of the samples and the random numbers of an epoch: a function of the seed and the epoch alone.

    Args:
        seed: The run's.
        epoch: From 0.
        samples: Training samples.

    Returns:
        int32 of shape `(samples,)`, a permutation, and float32 of shape `(samples, DRAWS)`, uniform on [0, 1), a row
        for each sample in that order.
    """
    generator = np.random.default_rng((seed, epoch))
    return generator.permutation(samples).astype("int32"), generator.random((samples, DRAWS), "float32")


def batches_of_epochs(epoch_arrays: EpochArrays, epochs: int, batch_size: int) -> Iterator[Any]:
    """Batches `(input, ...), labels` of all epochs one after another, for `fit(steps_per_epoch=...)`.

    The last batch of an epoch may be smaller, so that no batch holds samples of two epochs.

    Args:
        epoch_arrays: Returns an epoch's inputs and, last, its labels, a row per sample, in the order of training.
        epochs: Number of epochs.
        batch_size: Samples in a batch.
    """
    for epoch in range(epochs):
        *inputs, labels = epoch_arrays(epoch)
        for begin in range(0, len(labels), batch_size):
            part = slice(begin, begin + batch_size)
            yield tuple(array[part] for array in inputs), labels[part]


def dataset_of_epochs(epoch_arrays: EpochArrays, epochs: int, batch_size: int) -> Any:
    """The same as a `tf.data.Dataset`, which calls `epoch_arrays` when an epoch begins, anew in each iteration."""
    import tensorflow as tf

    first = epoch_arrays(0)
    samples = len(first[-1])

    @tf.autograph.experimental.do_not_convert
    def epoch_batches(epoch: Any) -> Any:
        # Python runs once per epoch; TensorFlow cuts what it returns into batches.
        called = tf.numpy_function(lambda epoch: epoch_arrays(int(epoch)), [epoch], [array.dtype for array in first])
        *inputs, labels = map(tf.ensure_shape, called, [array.shape for array in first])
        # Where no sample is lost, a static batch size lets XLA compile a single shape.
        whole = samples % batch_size == 0
        return tf.data.Dataset.from_tensor_slices((tuple(inputs), labels)).batch(batch_size, drop_remainder=whole)

    data = tf.data.Dataset.range(epochs).flat_map(epoch_batches)
    return data.apply(tf.data.experimental.assert_cardinality(epochs * -(-samples // batch_size))).prefetch(2)


@keras.saving.register_keras_serializable("keras_sgdr")
class CachedSamples(keras.layers.Layer):
    """Samples by their index, from variables on the device: augmented in training, prepared in validation.

    Args:
        train: Training samples.
        val: Validation samples.
        augment: Maps a batch of training samples and its random numbers to the model's inputs.
        prepare: Maps a batch of validation samples to the model's inputs.
    """

    def __init__(self, train: Array, val: Array, augment: Augment, prepare: Callable[[Any], Any]) -> None:
        super().__init__(name="cached_samples", dtype="float32", trainable=False)
        self._train, self._val = (
            keras.Variable(samples, dtype=samples.dtype, trainable=False, autocast=False, name=name)
            for samples, name in ((train, "train_samples"), (val, "val_samples"))
        )
        self._augment, self._prepare = augment, prepare

    def call(self, index: Any, draws: Any, training: bool = False) -> Any:
        if training:
            return self._augment(ops.take(self._train, index, axis=0), draws)
        return self._prepare(ops.take(self._val, index, axis=0))


def crops(shape: tuple[int | None, ...], samples: Array) -> tuple[Augment, Callable[[Any], Any]]:
    """The default `augment` and `prepare` of a study.

    Images (batches with four axes) are cropped at random, resized to the side of the model's input and mirrored in
    training, and cropped to their centre in validation. Other samples stay as they are.

    Args:
        shape: Of the model's input, the batch first.
        samples: The training samples.

    Raises:
        ValueError: If the samples are images and the model's input is not square, or of no fixed size.
    """
    if samples.ndim != 4:
        return (lambda batch, draws: batch), (lambda batch: batch)
    side = shape[1]
    if side is None or shape[2] != side:
        rule = "Crops have the side of the model's input, so it must be square and fixed."
        fix = "Build it with a size, or pass `augment` and `prepare`."
        raise invalid(rule, f"a model with input_shape={shape}", fix)
    return (lambda batch, draws: resized_crop_flip(batch, side, draws)), (lambda batch: center_crop(batch, side))
