"""Under `MirroredStrategy` on two logical CPU devices, which must be made before TensorFlow does anything.

`python -m tests.support.mirrored FILE` writes the applied rates of each case into an `.npz` file.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sgdr.optimizers import AdamWR
from tests.support.probe import EPOCHS, RATE, STEPS, Array, data, fit, probe, sgdr, two_probes


def sgd(rate: float = RATE) -> Any:
    return keras.optimizers.SGD(rate)


def choosing() -> Any:
    first, second = sgd(0.1), sgd(0.3)
    return keras.optimizers.MultiOptimizer(lambda variable: first if variable.path.startswith("first") else second)


def decayed() -> Array:
    """A weight of 1 after a `fit` without gradients under AdamWR, plain and inside loss scaling."""
    x = np.zeros((2 * STEPS, 1), "float32")
    found = []
    for optimizer in (AdamWR(0.01, 0.5), keras.optimizers.LossScaleOptimizer(AdamWR(0.01, 0.5))):
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((1,)), dense])
        model.compile(optimizer, loss="mse")
        model.fit(x, x, batch_size=2, epochs=EPOCHS, verbose=0, callbacks=[sgdr()])
        found.append(model.get_weights()[0].item())
    return np.array(found)


SKIPPING = [np.inf if i == 2 else 1.0 for i in range(STEPS)]
# One batch an execution: TensorFlow 2.21 refuses several under this strategy, with or without a callback.
CASES: dict[str, Any] = {
    "one": lambda: fit(probe(sgd()), sgdr(), batches=data(batch_size=4), batch_size=4),
    "an epoch": lambda: fit(probe(sgd()), sgdr(per="epoch"), batches=data(batch_size=4), batch_size=4),
    "skipping": lambda: fit(
        probe(keras.optimizers.LossScaleOptimizer(sgd())),
        sgdr(),
        batches=data(batch_size=4, gradients=SKIPPING),
        batch_size=4,
    ),
    "two optimizers": lambda: fit(two_probes(choosing()), sgdr(), batches=data(batch_size=4), batch_size=4),
    "AdamWR": decayed,
}


def main(path: str) -> None:
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    applied = {}
    for name, case in CASES.items():
        with strategy.scope():
            applied[name] = case()
    np.savez(path, replicas=strategy.num_replicas_in_sync, **applied)


if __name__ == "__main__":
    main(sys.argv[1])
