"""One of two processes of JAX: `python -m tests.support.jax_processes FOLDER INDEX PORT`.

Prints what the process knows of the snapshots at the end, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jax


def main(folder: Path, index: int, port: str) -> None:
    # Before Keras, which asks for the devices.
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, index, initialization_timeout=60)
    import keras

    from keras_sgdr import SGDR
    from keras_sgdr.callbacks import SnapshotCheckpoint
    from tests.support.small_model import small_data, small_model, train
    from tests.support.snapshots import Judge

    keeper = SnapshotCheckpoint(folder / "snapshots", keep=("best", 2))
    # Each process has validated on other data, and would keep others.
    judge = Judge([1, 4, 3, 2] if index == 0 else [4, 1, 2, 3])
    model = small_model(keras.optimizers.SGD(0.1))
    train(model, SGDR(1, 1), judge, keeper, epochs=4, validation_data=small_data())
    print(json.dumps({"cycles": [(each.cycle, each.metrics["val_loss"]) for each in keeper._manifest.snapshots]}))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
