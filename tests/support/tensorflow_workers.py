"""One of two workers of TensorFlow: `python -m tests.support.tensorflow_workers FOLDER INDEX PORTS`.

A loop of its own calls the callbacks: Keras 3 has no `fit` that several workers run. Prints what the worker knows of
the snapshots at the end, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, index: int, ports: list[str]) -> None:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    import keras

    from keras_sgdr import SGDR
    from keras_sgdr.callbacks import SnapshotCheckpoint
    from tests.support.small_model import small_model
    from tests.support.snapshots import Judge

    with strategy.scope():
        model: Any = small_model(keras.optimizers.SGD(0.1))
    keeper = SnapshotCheckpoint(folder / "snapshots", keep=("best", 2))
    # Each worker has validated on other data, and would keep others.
    judge = Judge([1, 4, 3, 2] if index == 0 else [4, 1, 2, 3])
    callbacks = keras.callbacks.CallbackList([SGDR(1, 1), judge, keeper], model=model, epochs=4, steps=3)

    def apply() -> None:
        """An update as SGDR sees it: Keras's own training fails with two workers."""
        keras.ops.convert_to_tensor(model.optimizer.learning_rate)
        model.optimizer.iterations.assign_add(1)

    callbacks.on_train_begin()
    for epoch in range(4):
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            apply()
            callbacks.on_train_batch_end(batch)
        callbacks.on_epoch_end(epoch, {"loss": 1.0})
    callbacks.on_train_end()
    print(json.dumps({"cycles": [(each.cycle, each.metrics["val_loss"]) for each in keeper._manifest.snapshots]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","))
