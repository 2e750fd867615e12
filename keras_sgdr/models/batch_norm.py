"""Batch normalisation by the fused kernels of TensorFlow and PyTorch, saved as Keras's own layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

__all__ = ["BatchNormalization"]


class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of images, faster.

    Keras composes it of elementary operations, each of which reads and writes the whole batch. TensorFlow and PyTorch
    have one kernel for all of them and one for their gradients. The results are the same to rounding. On JAX Keras's
    operations are used, which XLA fuses.

    So they are wherever the kernels do not fit: float64, inputs that are not `(N, height, width, channels)`, masks,
    renormalisation, statistics of several devices, no gamma or beta, and one value a channel, on PyTorch.

    For Keras it is a `keras.layers.BatchNormalization`: a saved model has no trace of this package and loads where the
    package is not installed, with Keras's own layer. `keras.models.clone_model` keeps this one.
    """

    # What `keras.saving` writes down, beside the name of the class, which is why that is Keras's too.
    __module__ = "keras.layers"

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is None and self._fits(inputs):
            batch = bool(training and self.trainable)
            backend = keras.config.backend()
            # In inference TensorFlow's kernel gains nothing, and on a GPU it has no deterministic gradient.
            if backend == "tensorflow" and batch:
                return self._tensorflow(inputs)
            if backend == "torch" and inputs.device.type != "meta":
                return self._torch(inputs, batch)
        return super().call(inputs, training=training, mask=mask)

    def _fits(self, inputs: Any) -> bool:
        return (
            len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and not self.synchronized
            and not getattr(self, "renorm", False)  # Younger than the oldest Keras that is supported.
            and self.variable_dtype == "float32"
            and self.compute_dtype in ("float32", "bfloat16", "float16")
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        )

    def _tensorflow(self, inputs: Any) -> Any:
        import tensorflow as tf

        # Not `tf.compat.v1.nn.fused_batch_norm`, which makes 1.001e-5 of an epsilon of 1e-5.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel's variance is unbiased, n / (n - 1) times Keras's. Of one value it may be 0 / 0.
        n = tf.cast(tf.size(inputs) // tf.size(mean), variance.dtype)
        variance = tf.math.multiply_no_nan(variance, (n - 1) / n)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1.0 - self.momentum))
        return outputs

    def _torch(self, inputs: Any, batch: bool) -> Any:
        import torch

        n = inputs.shape[:3].numel()
        if batch and n < 2:
            return super().call(inputs, training=True)
        mean, variance = (moving.value.detach() for moving in (self.moving_mean, self.moving_variance))
        if batch:
            # The kernel updates these in place, and takes up the unbiased variance, n / (n - 1) of Keras's.
            mean, variance = mean.clone(), variance * (n / (n - 1))
        outputs = torch.batch_norm(
            inputs.permute(0, 3, 1, 2),  # No copy: it is what PyTorch calls channels-last memory.
            self.gamma.value,
            self.beta.value,
            mean,
            variance,
            batch,
            1.0 - self.momentum,
            self.epsilon,
            torch.backends.cudnn.enabled,
        ).permute(0, 2, 3, 1)
        if batch:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance * ((n - 1) / n))
        return outputs
