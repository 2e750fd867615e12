"""Models whose training step is not Keras's own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import ops

from tests.support.probe import BACKEND, RATE, STEPS, Array, Probe, gradient_is_target


def _once(base: Any, arguments: tuple[Any, ...], times: int) -> Any:
    """Keras's step, so many times, on the same batch."""
    if BACKEND == "jax":
        state, data = arguments
        for _ in range(times):
            logs, state = base(state, data)
        return logs, state
    for _ in range(times):
        logs = base(*arguments)
    return logs


class Repeating(keras.Sequential):
    """Applies the optimizer `times` times per batch."""

    times = 2

    def train_step(self, *arguments: Any) -> Any:
        return _once(super().train_step, arguments, self.times)


class EverySecond(keras.Sequential):
    """Applies the optimizer in batches of odd numbers only; the input of the probe is the number of the batch."""

    def train_step(self, *arguments: Any) -> Any:
        base, (x, *_) = super().train_step, arguments[-1]
        is_odd = ops.equal(ops.reshape(x, (-1,))[0] % 2, 1)
        if BACKEND == "torch":
            return base(*arguments) if bool(is_odd) else {"loss": 0.0}
        if BACKEND == "tensorflow":
            import tensorflow as tf

            return tf.cond(is_odd, lambda: base(*arguments), lambda: {"loss": tf.constant(0.0)})
        import jax

        logs, after = base(*arguments)
        return logs, jax.tree.map(lambda new, old: ops.where(is_odd, new, old), after, arguments[0])


class ByItself(keras.Sequential):
    """Trained by an optimizer of its own, as a GAN is; that of `compile` makes no update."""

    def compile(self, optimizer: Any, **compiling: Any) -> None:
        super().compile(**compiling)
        self.d_optimizer = optimizer

    def train_step(self, data: Any) -> Any:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            self.d_optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}
        import torch

        self.zero_grad()
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        loss.backward()
        with torch.no_grad():
            self.d_optimizer.apply([each.value.grad for each in self.trainable_weights], self.trainable_weights)
        return {"loss": loss}


def custom(kind: type, optimizer: Any = None, *, steps: int = STEPS, **compiling: Any) -> Any:
    """A compiled probe with the training step of a class."""
    model = kind([keras.Input((1,)), Probe(steps, name="probe")])
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss=gradient_is_target, **compiling)
    return model


def moved(rates: Array, steps: int, per_batch: Fraction) -> Array:
    """By how much each batch moves its weight, where updates have these rates, `per_batch` in each (or in odd ones)."""
    epochs = np.split(rates.astype("float32"), len(rates) // max(int(steps * per_batch), 1))
    applied = np.zeros((len(epochs), steps), "float32")
    for row, updates in zip(applied, epochs, strict=True):
        if per_batch < 1:
            row[1::2] = updates
        else:
            for rate in updates.reshape(steps, -1).T:
                row += rate  # One after another, in float32, as the weight is moved.
    return applied.ravel()
