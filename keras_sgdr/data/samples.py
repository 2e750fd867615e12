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
    "has_accelerator",
    "order_and_draws",
]

Array: TypeAlias = np.ndarray[Any, Any]
EpochArrays: TypeAlias = Callable[[int], tuple[Array, ...]]


def has_accelerator() -> bool:
    """Whether the backend computes on another device than the processor."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return bool(jax.default_backend() != "cpu")
    return str(ops.zeros(()).device) != "cpu"


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
            the processor.

    Attributes:
        on_device: The argument.
    """

    def __init__(self, samples: Array, transform: Callable[..., Any], *, on_device: bool) -> None:
        self.on_device = on_device
        self._backend = keras.config.backend()
        self._samples: Any = samples
        if on_device and self._backend != "tensorflow":
            self._samples = ops.convert_to_tensor(samples, dtype=samples.dtype.name)

        def picked(held: Any, index: Any, *others: Any) -> Any:
            return transform(ops.take(held, index, axis=0), *others)

        function: Any = picked if on_device else transform
        if self._backend == "tensorflow":
            import tensorflow as tf

            # A variable: only of variables has TensorFlow a kernel that picks uint8 on a GPU.
            with tf.device(None if on_device else "CPU"):
                self._samples = tf.Variable(samples, trainable=False)

            def gathered(held: Any, index: Any, *others: Any) -> Any:
                return transform(tf.gather(held, index), *others)

            function = tf.function(gathered, autograph=False, reduce_retracing=True)
        elif self._backend == "jax":
            import jax

            function = jax.jit(function)
        self._function = function

    def __call__(self, index: Any, *others: Any) -> Any:
        """A model's inputs for the samples of these numbers.

        Args:
            index: int32 of shape `(batch,)`.
            *others: What `transform` takes beside the samples, a row for each.
        """
        if self._backend == "tensorflow":
            return self._function(self._samples, index, *others)
        arrays = (self._samples, index, *others) if self.on_device else (self._samples[index], *others)
        if self._backend == "jax":
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

    From samples in the device's memory the inputs of an epoch are made in one call there; from others in the data set's
    `map`, which runs on the processor, several batches at a time.

    Args:
        epoch_arrays: See `batches_of_epochs`.
        epochs: Number of epochs. None: each iteration of the data set is one epoch, the next.
        batch_size: Samples in a batch.
        samples: See `batches_of_epochs`.
    """
    import tensorflow as tf

    by_epoch = samples is not None and samples.on_device
    count = itertools.count()

    def arrays_of(epoch: int) -> tuple[Array, ...]:
        *inputs, labels = epoch_arrays(epoch)
        if samples is not None and by_epoch:
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
        parts = inputs[0] if by_epoch else tuple(inputs)
        return tf.data.Dataset.from_tensor_slices((parts, labels)).batch(batch_size, drop_remainder=whole)

    data = tf.data.Dataset.range(epochs or 1).flat_map(epoch_batches)
    if samples is not None and not by_epoch:
        data = data.map(lambda inputs, labels: (samples(*inputs), labels), num_parallel_calls=tf.data.AUTOTUNE)
    steps = (epochs or 1) * -(-rows // batch_size)
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
