"""Reading the learning rates that `fit` applied, not those that were planned.

Weight `i` of the probe is moved by batch `i` of an epoch alone, its gradient is the target (1 unless said otherwise)
and plain SGD moves it by exactly the rate. The weights are set to zero when an epoch begins, so nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_sgdr import SGDR, WarmRestarts

Array = NDArray[Any]

BACKEND = keras.config.backend()
STEPS = 7
EPOCHS = 3  # SGDR(1, 2) ends a cycle after epochs 1 and 3.
RATE = 0.1

# Keras allows one batch an execution on PyTorch. The second number leaves a remainder of 2, the last is an epoch.
EXECUTIONS = [1] if BACKEND == "torch" else [1, 7, 9]
# "Compiled" on PyTorch would call for a C++ compiler, and take minutes.
COMPILED = [False] if BACKEND == "torch" else [True, False]
# What `fit` applies without the callback.
CONSTANT = np.full(3 * STEPS, RATE, "float32")


class Sized(keras.layers.Layer):
    """A layer with a size in its config."""

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("tests")
class Probe(Sized):
    """`w[i]` for an input of `i`."""

    def build(self, _: Any) -> None:
        self.w = self.add_weight(shape=(self.size,), initializer="zeros", dtype="float32", name="w", autocast=False)

    def call(self, x: Any) -> Any:
        return ops.cast(ops.take(self.w, ops.cast(x[:, 0], "int32")), self.compute_dtype)[:, None]


@keras.saving.register_keras_serializable("tests")
def gradient_is_target(y: Any, prediction: Any) -> Any:
    return y * prediction


def probe(optimizer: Any = None, *, steps: int = STEPS, built: bool = True, **compiling: Any) -> Any:
    """A compiled model whose batch `i` moves weight `i`."""
    model = keras.Sequential([*([keras.Input((1,))] if built else []), Probe(steps, name="probe")])
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss=gradient_is_target, **compiling)
    return model


def named_probes(names: Sequence[str], optimizer: Any, *, steps: int = STEPS, **compiling: Any) -> Any:
    """One of several such layers, whose batch `i` moves weight `i` of each."""
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Add()([Probe(steps, name=name)(x) for name in names]))
    model.compile(optimizer, loss=gradient_is_target, **compiling)
    return model


def two_probes(optimizer: Any) -> Any:
    return named_probes(("first", "second"), optimizer)


def data(steps: int = STEPS, batch_size: int = 1, gradients: Sequence[float] | None = None) -> tuple[Array, Array]:
    """The numbers of the batches and their gradients, the last batch one sample short where batches have several."""
    x = np.repeat(np.arange(steps, dtype="float32"), batch_size)[:, None]
    y = np.repeat(np.ones(steps) if gradients is None else np.array(gradients), batch_size)[:, None].astype("float32")
    short = slice(None, -1 if batch_size > 1 else None)
    return x[short], y[short]


def unknown_length() -> Any:
    """Batches whose number Keras learns from the end of an epoch only."""
    import tensorflow as tf  # Keras takes its data sets on every backend.

    return tf.data.Dataset.from_tensor_slices(data()).filter(lambda x, y: True).batch(1)


class Applied(keras.callbacks.Callback):
    """The applied rates of every epoch that was begun, shape `(steps,)` each; 0 where a batch moved nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[int, Array] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.read()
        self._epoch = epoch
        for weights in self._weights():
            weights.assign(np.zeros(weights.shape))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.read()

    def read(self) -> None:
        """Called also after a `fit` that was interrupted."""
        if hasattr(self, "_epoch"):
            self.epochs[self._epoch] = -np.concatenate([ops.convert_to_numpy(weights) for weights in self._weights()])

    @property
    def rates(self) -> Array:
        return np.concatenate(list(self.epochs.values()))

    def _weights(self) -> list[Any]:
        return [layer.w for layer in self.model.layers if isinstance(layer, Probe) and layer.built]


class Raise(keras.callbacks.Callback):
    """Raises at a hook, where it has a number at its second one: in the second epoch or batch."""

    def __init__(self, hook: str, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__()
        setattr(self, hook, self.strike)
        self.error = error

    def strike(self, number: Any = 1, logs: Any = None) -> None:
        if number != 0:
            raise self.error("stop here")


def fit(model: Any, *callbacks: Any, epochs: int = EPOCHS, batches: Any = None, **fitting: Any) -> Array:
    """The rates that `fit` applied, epoch after epoch."""
    applied = Applied()
    x, y = data(model.layers[-1].size) if batches is None else (batches, None)
    if isinstance(x, tuple):
        x, y = x
    options: dict[str, Any] = {"epochs": epochs, "shuffle": False, "verbose": 0, **fitting}
    if isinstance(x, np.ndarray):
        options.setdefault("batch_size", 1)
    model.fit(x, y, callbacks=[*callbacks, applied], **options)
    return applied.rates


def sgdr(**options: Any) -> SGDR:
    """The callback of most tests: cycles of 1 and 2 epochs."""
    return SGDR(**{"T_0": 1, "T_mult": 2, **options})


def planned(epochs: int = EPOCHS, steps: int = STEPS, *, first: int = 0, **options: Any) -> Array:
    """What `sgdr(**options)` promises for the epochs from `first` to `epochs`, rounded to float32."""
    restarts = WarmRestarts(**{"T_0": 1, "T_mult": 2, "eta_max": RATE, **options})
    return restarts.learning_rates(epochs, steps)[first * steps :].astype("float32")
