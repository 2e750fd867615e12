"""One of two processes of JAX: `python -m tests.support.jax_processes FOLDER INDEX PORT`.

Prints what the process knows of the snapshots at the end, as JSON, and why others are refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax


def main(folder: Path, index: int, port: str) -> None:
    # Before Keras, which asks for the devices.
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, index, initialization_timeout=60)
    import keras

    from keras_sgdr import SGDR
    from keras_sgdr.callbacks import CycleEarlyStopping, SnapshotCheckpoint
    from tests.support.small_model import small_data, small_model, train
    from tests.support.snapshots import Judge

    keeper = SnapshotCheckpoint(folder / "snapshots", keep=("best", 2))
    # Each process has validated on other data, and would keep others.
    judge = Judge([1, 4, 3, 2] if index == 0 else [4, 1, 2, 3])
    model = small_model(keras.optimizers.SGD(0.1))
    train(model, SGDR(1, 1), judge, keeper, epochs=4, validation_data=small_data())
    described: dict[str, Any] = {
        "cycles": [(each.cycle, each.metrics["val_loss"]) for each in keeper._manifest.snapshots]
    }

    keras.utils.clear_session()  # So that the layers have their first names again.
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), keras.distribution.list_devices())
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*dense/kernel"] = (None, "model")
    parallel = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch", auto_shard_dataset=False)
    keras.distribution.set_distribution(parallel)
    divided = small_model(keras.optimizers.SGD(0.1))
    for callback in (SnapshotCheckpoint(folder / "divided"), CycleEarlyStopping()):
        try:
            train(divided, SGDR(1, 1), callback, epochs=1)
        except ValueError as error:
            described[type(callback).__name__] = str(error)
    print(json.dumps(described))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
