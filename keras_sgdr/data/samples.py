"""Samples in the device's memory or beside it, and batches of the inputs that are computed from them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_sgdr.data.augment import DRAWS

__all__ = [
    "Array",
    "EpochArrays",
    "Samples",
    "batches_of_epochs",
    "dataset_of_epochs",
    "order_and_draws",
    "prefetched",
]

Array: TypeAlias = np.ndarray[Any, Any]
EpochArrays: TypeAlias = Callable[[int], tuple[Array, ...]]


def order_and_draws(seed: int, epoch: int, samples: int, rows: int | None = None) -> tuple[Array, Array]:
    """The order of the samples and the random numbers of an epoch: a function of the seed and the epoch alone.

    Args:
        seed: The run's.
        epoch: From 0.
        samples: Training samples.
        rows: Length of the order. Where it is longer than `samples`, it goes on as it begins. None: `samples`.

    Returns:
        int32 of shape `(rows,)`, of which the first `samples` are a permutation, and float32 of shape `(rows, DRAWS)`,
        uniform on [0, 1), a row for each sample in that order.
    """
    generator = np.random.default_rng((seed, epoch))
    rows = samples if rows is None else rows
    order = np.resize(generator.permutation(samples), rows)
    return order.astype("int32"), generator.random((rows, DRAWS), "float32")


class Samples:
    """A function of samples by their number, compiled where the backend compiles.

    Args:
        samples: Array of shape `(N, ...)`, kept in its own dtype: images as uint8.
        transform: Maps a batch of samples, and what else the object is called with, to the inputs of a model. Of
            Keras operations, without state.
        on_device: Whether the samples are in the device's memory, where they are picked; otherwise they are picked by
            the processor. On TensorFlow they always are in the device's.
    """

    def __init__(self, samples: Array, transform: Callable[..., Any], *, on_device: bool = True) -> None:
        self._backend = keras.config.backend()
        self._on_device = on_device or self._backend == "tensorflow"
        self._samples: Any = samples

        def picked(held: Any, index: Any, *others: Any) -> Any:
            return transform(ops.take(held, index, axis=0), *others)

        self._function: Any = picked if on_device else transform
        if self._backend == "tensorflow":
            import tensorflow as tf

            # A variable: only of variables has TensorFlow a kernel that picks uint8 on a GPU.
            self._samples = tf.Variable(samples, trainable=False)

            def gathered(held: Any, index: Any, *others: Any) -> Any:
                return transform(tf.gather(held, index), *others)

            self._function = tf.function(gathered, autograph=False, reduce_retracing=True)
        elif on_device:
            self._samples = ops.convert_to_tensor(samples, dtype=samples.dtype.name)
        if self._backend == "jax":
            import jax

            self._function = jax.jit(self._function)

    def __call__(self, index: Any, *others: Any) -> Any:
        """A model's inputs for the samples of these numbers.

        Args:
            index: int32 of shape `(batch,)`.
            *others: What `transform` takes beside the samples, a row for each.
        """
        arrays = (self._samples, index, *others) if self._on_device else (self._samples[index], *others)
        if self._backend != "torch":
            return self._function(*arrays)
        import torch

        with torch.no_grad():
            return self._function(*map(ops.convert_to_tensor, arrays))


def batches_of_epochs(
    epoch_arrays: EpochArrays, epochs: int, batch_size: int, samples: Samples | None = None
) -> Iterator[Any]:
    """Batches `inputs, labels` of all epochs one after another, for `fit(steps_per_epoch=...)`.

    The last batch of an epoch may be smaller, so that no batch holds samples of two epochs.

    Args:
        epoch_arrays: Returns an epoch's inputs and, last, its labels, a row per sample, in the order of training.
        epochs: Number of epochs.
        batch_size: Samples in a batch.
        samples: Called with a batch of inputs, of which it makes the model's. None: they are the model's, as a tuple.
    """
    for epoch in range(epochs):
        *inputs, labels = epoch_arrays(epoch)
        for begin in range(0, len(labels), batch_size):
            rows = [array[begin : begin + batch_size] for array in inputs]
            yield tuple(rows) if samples is None else samples(*rows), labels[begin : begin + batch_size]


def dataset_of_epochs(
    epoch_arrays: EpochArrays, epochs: int | None, batch_size: int, samples: Samples | None = None
) -> Any:
    """The same as a `tf.data.Dataset`, which calls `epoch_arrays` when an epoch begins.

    With `samples`, the inputs of an epoch are made in one call, in the device's memory.

    Args:
        epoch_arrays: See `batches_of_epochs`.
        epochs: Number of epochs. None: each iteration of the data set is one epoch, the next.
        batch_size: Samples in a batch.
        samples: See `batches_of_epochs`.
    """
    import tensorflow as tf

    count = itertools.count()

    def arrays_of(epoch: int) -> tuple[Array, ...]:
        *inputs, labels = epoch_arrays(epoch)
        if samples is not None:
            inputs = [samples(*inputs).numpy()]
        return *inputs, labels

    first = arrays_of(0)
    rows = len(first[-1])

    @tf.autograph.experimental.do_not_convert
    def epoch_batches(epoch: Any) -> Any:
        # Python runs once per epoch; TensorFlow cuts what it returns into batches.
        called = tf.numpy_function(
            lambda epoch: arrays_of(next(count) if epochs is None else int(epoch)),
            [epoch],
            [array.dtype for array in first],
        )
        *inputs, labels = map(tf.ensure_shape, called, [array.shape for array in first])
        # Where no sample is lost, a static batch size lets XLA compile a single shape.
        whole = rows % batch_size == 0
        parts = tuple(inputs) if samples is None else inputs[0]
        return tf.data.Dataset.from_tensor_slices((parts, labels)).batch(batch_size, drop_remainder=whole)

    data = tf.data.Dataset.range(epochs or 1).flat_map(epoch_batches)
    return prefetched(data, (epochs or 1) * -(-rows // batch_size))


def prefetched(data: Any, steps: int) -> Any:
    """A `tf.data.Dataset` of `steps` batches, of which two are made ahead, without a thread that tunes it.

    `fit` makes an iterator for each epoch, and the one before waits, as it is deleted, for that thread to end. Now and
    then the thread misses its call and sleeps on, 10 seconds, while nothing is computed.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2).with_options(options)
