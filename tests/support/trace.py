"""Reading what every update did to a weight, inside the compiled step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tests.support.probe import STEPS, Array, Sized, gradient_is_target


@keras.saving.register_keras_serializable("tests")
class Traced(Sized):
    """`w * x` for a scalar `w`, 1 at first, that writes down at each batch what `w` was before its update."""

    def build(self, _: Any) -> None:
        self.w = self.add_weight(shape=(), initializer="ones", name="w", autocast=False)
        self.seen = self.add_weight(shape=(self.size,), initializer="zeros", name="seen", trainable=False)
        # "int" as Keras counts updates: TensorFlow keeps int32 in the host's memory, which XLA cannot read on a GPU.
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="int", name="count", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            seen, count, w = map(ops.convert_to_tensor, (self.seen, self.count, self.w))
            here = ops.equal(ops.arange(self.size, dtype=self.count.dtype), count)
            self.seen.assign(ops.where(here, ops.cast(w, seen.dtype), seen))
            self.count.assign(count + 1)
        return ops.cast(self.w, x.dtype) * x


def traced(optimizer: Any, updates: int, **compiling: Any) -> Any:
    """A compiled model of one weight, traced for so many updates."""
    model = keras.Sequential([keras.Input((1,)), Traced(updates, name="traced")])
    model.compile(optimizer, loss=gradient_is_target, **compiling)
    return model


def weights(
    model: Any, *callbacks: Any, epochs: int, steps: int = STEPS, gradient: float = 0.0, **fitting: Any
) -> Array:
    """The weight before the first update of `fit` and after each, in float64.

    Args:
        model: A `traced` one.
        *callbacks: Those of `fit`.
        epochs: Epochs to train.
        steps: Updates in an epoch.
        gradient: That of every batch.
        **fitting: Other arguments of `fit`.
    """
    layer = model.layers[-1]
    first = int(ops.convert_to_numpy(layer.count))
    x = np.full((steps, 1), gradient, "float32")
    model.fit(x, np.ones_like(x), batch_size=1, epochs=epochs, verbose=0, callbacks=list(callbacks), **fitting)
    last = int(ops.convert_to_numpy(layer.count))
    seen = ops.convert_to_numpy(layer.seen)[first:last]
    return np.append(seen, ops.convert_to_numpy(layer.w)).astype("float64")


def decays(path: Array) -> Array:
    """The fraction of the weight that each update took, where there was no gradient."""
    return 1 - path[1:] / path[:-1]
