"""One process of a distributed training: `python -m tests.support.distributed FOLDER NUMBER SCRIPT`.

Runs a script of the guide in the folder, with an optimizer that records its rates, and trains on with what the script
has made. Prints what the process has seen, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
from typing import Any
from unittest import mock

import keras

from keras_sgdr import SGDR, CycleEarlyStopping, SnapshotCheckpoint, SnapshotEnsemble, find_learning_rate
from tests.support.recording import RecordingSGD
from tests.support.small_model import values
from tests.support.snapshots import Judge


def main(folder: str, number: int, script: str) -> None:
    os.chdir(folder)
    backend, processes = keras.config.backend(), int(os.environ["WORLD_SIZE"])
    if backend == "tensorflow" and processes == 1:
        import tensorflow as tf

        (device,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    if backend == "jax" and processes > 1:
        meeting = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        keras.distribution.initialize(meeting, processes, number)
    with training_goes_on():
        with mock.patch.object(keras.optimizers, "SGD", RecordingSGD):
            names = runpy.run_path(script)
        report = seen(names, number, processes)
    print(json.dumps(report))


@contextlib.contextmanager
def training_goes_on() -> Any:
    """Let a script leave the processes of PyTorch connected."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch.distributed

    with mock.patch.object(torch.distributed, "destroy_process_group"):
        yield
    torch.distributed.destroy_process_group()


def seen(names: dict[str, Any], number: int, processes: int) -> dict[str, Any]:
    """What the script has done, and what comes after it: a resumed run, a refused one, one that is stopped."""
    model, x, y = names["model"], names["x"], names["y"]

    def fit(callbacks: list[Any], epochs: int, initial_epoch: int = 0) -> None:
        model.fit(x, y, batch_size=64, initial_epoch=initial_epoch, epochs=epochs, callbacks=callbacks, verbose=0)

    train = names.get("train", fit)
    sgdr, keeper = SGDR(T_0=2, T_mult=2), SnapshotCheckpoint("snapshots", resume=True)
    train([sgdr, keeper], epochs=14, initial_epoch=6)
    report: dict[str, Any] = {
        "rates": [*names["sgdr"].rates.tolist(), *sgdr.rates.tolist()],
        "applied": model.optimizer.applied_by_device,
        "cycles": [each.cycle for each in keeper._manifest.snapshots],
        "weights": [each.tolist() for each in values(model.weights)],
    }
    if processes == 1 or keras.config.backend() != "jax":  # There Keras's own `predict` fails.
        report["predicted"] = SnapshotEnsemble.load("snapshots", model).predict(x).tolist()
    try:
        train([SGDR(T_0=2, T_mult=2), SnapshotCheckpoint("snapshots")], epochs=2)
    except ValueError as error:
        report["refused"] = str(error)

    # Each process has measured otherwise, and would stop elsewhere and keep another cycle.
    judge = Judge([1, 2, 3, 4] if number == 0 else [4, 3, 2, 1], "loss")
    stopping = CycleEarlyStopping("loss")
    keeper = SnapshotCheckpoint("stopped", monitor="loss", keep=("best", 1))
    train([SGDR(T_0=1, T_mult=1), judge, stopping, keeper], epochs=4)
    report |= {"stopped": stopping.stopped_cycle, "kept": [each.cycle for each in keeper._manifest.snapshots]}
    report["after stop"] = [each.tolist() for each in values(model.weights)]
    if keras.config.backend() == "jax":
        report["divided"] = [each.path for each in model.weights if not each.value.is_fully_replicated]
    if "train" not in names:
        report |= fitted(model, x, y, fit, number)
    return report


def fitted(model: Any, x: Any, y: Any, fit: Any, number: int) -> dict[str, Any]:
    """What needs Keras's own training: a range test, and a training that is broken off and restored."""
    before = values(model.weights)
    found = find_learning_rate(model, (x, y), eta_max=1e-3, updates=20, smoothing=0.5, batch_size=64)
    same = all((one == other).all() for one, other in zip(before, values(model.weights), strict=True))
    restored = [SGDR(T_0=1, T_mult=1), SnapshotCheckpoint("restored", resume=True)]
    backup = keras.callbacks.BackupAndRestore(f"backup-{number}")
    with contextlib.suppress(KeyboardInterrupt):
        fit([*restored, backup, Stop()], epochs=4)
    made = updates(model)
    fit([restored[0], SnapshotCheckpoint("restored", resume=True), backup], epochs=4)
    return {"losses": found.losses.tolist(), "same": same, "after": updates(model) - made}


def updates(model: Any) -> int:
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


class Stop(keras.callbacks.Callback):
    """Breaks off in the third epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
