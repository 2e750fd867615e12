"""Ensembles under `MirroredStrategy` on two logical CPU devices, which must be made before TensorFlow does anything.

`python -m tests.support.mirrored_ensemble FILE` writes predictions under the strategy and without it, and losses.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sgdr import SnapshotEnsemble
from tests.support.members import FEATURES, X, Y, save_members

TARGETS = np.random.default_rng(1).uniform(size=(len(X), 3)).astype("float32")


class Batches(keras.utils.PyDataset):
    def __init__(self, samples: int, size: int) -> None:
        super().__init__()
        self.samples, self.size = samples, size

    def __len__(self) -> int:
        return -(-self.samples // self.size)

    def __getitem__(self, index: int) -> Any:
        part = slice(self.size * index, min(self.size * (index + 1), self.samples))
        return X[part], Y[part]


def network(loss: Any) -> Any:
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(3)])
    model.compile("sgd", loss, metrics=["mae"] if loss == "mse" else ["accuracy"])
    return model


def cases(strategy: Any) -> Iterator[tuple[str, int, int, Any]]:
    for samples, size in ((1, 32), (4, 32), (7, 3), (7, 2)):
        yield "arrays", samples, size, X[:samples]
        yield "tf.data", samples, size, tf.data.Dataset.from_tensor_slices((X[:samples], Y[:samples])).batch(size)
        yield (
            "distributed",
            samples,
            size,
            strategy.experimental_distribute_dataset(
                tf.data.Dataset.from_tensor_slices((X[:samples], Y[:samples])).batch(size)
            ),
        )
        yield "PyDataset", samples, size, Batches(samples, size)


def main(path: str) -> None:
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results: dict[str, Any] = {"replicas": strategy.num_replicas_in_sync}
    for name, loss in (
        ("classes", keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ("numbers", "mse"),
    ):
        with strategy.scope():
            mirrored = network(loss)
        folder = Path(tempfile.mkdtemp())
        alone = network(loss)
        save_members(folder, alone, losses=[1, 2])
        strategies = {"mirrored": strategy, "alone": tf.distribute.get_strategy()}
        ensembles = {"mirrored": SnapshotEnsemble.load(folder, mirrored), "alone": SnapshotEnsemble.load(folder, alone)}
        for where, ensemble in ensembles.items():
            for kind, samples, size, data in cases(strategies[where]) if name == "classes" else ():
                results[f"{name}/{kind}/{samples}/{size}/{where}"] = ensemble.predict(data, batch_size=size)
            y = Y if name == "classes" else TARGETS
            score = ensemble.evaluate(X[:7], y[:7])
            results[f"{name}/scores/{where}"] = np.array(list(score.values() if isinstance(score, dict) else score))
        with strategy.scope():
            score = SnapshotEnsemble.load(folder, mirrored).evaluate(X[:7], y[:7])
            results[f"{name}/scores in the scope/mirrored"] = np.array(
                list(score.values() if isinstance(score, dict) else score)
            )
            results[f"{name}/scores in the scope/alone"] = results[f"{name}/scores/alone"]
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1])
