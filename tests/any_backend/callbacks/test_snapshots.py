"""Snapshots in real fits: which, when, of which weights, and what a killed process leaves."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import MANIFEST, Manifest
from tests.support.probe import fit, probe, sgdr, unknown_length
from tests.support.small_model import assert_equal, small_data, small_model, train, values
from tests.support.snapshots import Judge, loaded, warned


class AfterBatch(keras.callbacks.Callback):
    """The weights before every batch and after the last, read beside the callback under test."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[list[Any]] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.weights.append(self.model.get_weights())

    def on_train_end(self, logs: Any = None) -> None:
        self.weights.append(self.model.get_weights())


def test_every_cycle_end_is_saved_with_all_its_numbers(tmp_path: Path) -> None:
    callback, after = sgdr(), AfterBatch()
    history = train(
        small_model(keras.optimizers.SGD(0.1)),
        SnapshotCheckpoint(tmp_path / "new"),
        callback,
        after,
        epochs=7,
        validation_data=small_data(),
    )
    manifest = Manifest.read(tmp_path / "new")
    assert [one.file for one in manifest.snapshots] == [
        "cycle-001_epoch-0001.weights.h5",
        "cycle-002_epoch-0003.weights.h5",
        "cycle-003_epoch-0007.weights.h5",
    ]
    assert [(one.cycle, one.epoch, one.update, one.keras) for one in manifest.snapshots] == [
        (1, 1, 3, keras.__version__),
        (2, 3, 9, keras.__version__),
        (3, 7, 21, keras.__version__),
    ]
    assert [one.rate for one in manifest.snapshots] == [row["last_rate"] for row in callback.cycles]
    for number, one in enumerate(manifest.snapshots):
        assert set(one.metrics) == {"loss", "val_loss"}
        assert all(value == history.history[name][int(one.epoch) - 1] for name, value in one.metrics.items())
        assert one.update is not None
        assert_equal(loaded(manifest, number), after.weights[one.update])


def test_a_cycle_that_ends_inside_an_epoch_is_saved_there(tmp_path: Path) -> None:
    after = AfterBatch()
    train(small_model(keras.optimizers.SGD(0.1)), SGDR("2/3", 1), SnapshotCheckpoint(tmp_path), after, epochs=2)
    manifest = Manifest.read(tmp_path)
    assert [one.update for one in manifest.snapshots] == [2, 4, 6]
    assert [one.epoch for one in manifest.snapshots] == pytest.approx([2 / 3, 4 / 3, 2])
    assert [one.file[:20] for one in manifest.snapshots] == [
        "cycle-001_epoch-0001",
        "cycle-002_epoch-0002",
        "cycle-003_epoch-0002",
    ]
    for number, one in enumerate(manifest.snapshots):
        assert one.update is not None
        assert math.isfinite(one.metrics["loss"])
        assert_equal(loaded(manifest, number), after.weights[one.update])


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_unknown_steps_leave_the_update_open(tmp_path: Path) -> None:
    fit(probe(), sgdr(per="epoch"), SnapshotCheckpoint(tmp_path), batches=unknown_length())
    assert [(one.epoch, one.update) for one in Manifest.read(tmp_path).snapshots] == [(1, None), (3, None)]


class Interrupt(keras.callbacks.Callback):
    def __init__(self, hook: str, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch
        setattr(self, hook, self.interrupt)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.now = epoch

    def interrupt(self, *_: Any, **__: Any) -> None:
        if self.now == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("hook", "epoch", "cycles"), [("on_test_end", 2, 2), ("on_train_batch_begin", 3, 2)])
def test_an_interrupted_fit_has_saved_the_cycles_that_were_complete(
    tmp_path: Path, hook: str, epoch: int, cycles: int
) -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    with pytest.raises(KeyboardInterrupt):
        train(
            model,
            sgdr(),
            SnapshotCheckpoint(tmp_path),
            Interrupt(hook, epoch),
            epochs=7,
            validation_data=small_data(),
        )
    manifest = Manifest.read(tmp_path)
    assert len(manifest.snapshots) == cycles
    assert manifest.path(manifest.snapshots[-1]).is_file()


def test_an_epoch_cut_short_completes_no_cycle(tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 1

    said = warned(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1), SnapshotCheckpoint(tmp_path), Stop(), epochs=2)
    pattern = r"A training must complete a cycle .* Received: none .* of SGDR\(T_0=1, .* `T_0` is in epochs"
    assert [bool(re.match(pattern, each)) for each in said] == [True]
    assert Manifest.read(tmp_path).snapshots == []


def test_a_diverged_cycle_is_not_saved_and_said_so(tmp_path: Path) -> None:
    class Diverge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                self.model.set_weights([np.full_like(one, np.inf) for one in self.model.get_weights()])

    model = small_model(keras.optimizers.SGD(0.1))
    (said,) = warned(model, SGDR(1, 1), Diverge(), SnapshotCheckpoint(tmp_path), epochs=2)
    assert said == "Cycle 2 ended in epoch 2 with loss=nan: its snapshot is not saved."
    assert [one.cycle for one in Manifest.read(tmp_path).snapshots] == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cycle-001_epoch-0001.weights.h5", MANIFEST]


def test_a_cycle_whose_validation_diverges_is_taken_back(tmp_path: Path) -> None:
    model, keeper = small_model(keras.optimizers.SGD(0.1)), SnapshotCheckpoint(tmp_path)
    judge = Judge([1, float("nan"), 2])
    (said,) = warned(model, SGDR(1, 1), judge, keeper, epochs=3, validation_data=small_data())
    assert said == "Cycle 2 ended in epoch 2 with val_loss=nan: its snapshot is not saved."
    assert [one.cycle for one in Manifest.read(tmp_path).snapshots] == [1, 3]
    assert len(list(tmp_path.glob("*.h5"))) == 2


def test_a_rerun_that_diverges_leaves_the_earlier_snapshot_alone(tmp_path: Path) -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    train(model, SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=2, validation_data=small_data())
    before = Manifest.read(tmp_path).snapshots
    model.set_weights([np.full_like(one, np.inf) for one in model.get_weights()])
    keeper = SnapshotCheckpoint(tmp_path, resume=True)
    (said,) = warned(model, SGDR(1, 1), keeper, epochs=2, initial_epoch=1, validation_data=small_data())
    assert said.startswith("Cycle 2 ended in epoch 2 with ")
    assert Manifest.read(tmp_path).snapshots == before


@pytest.mark.tensorflow
def test_a_cycle_that_ends_inside_an_execution_is_refused(tmp_path: Path) -> None:
    model = small_model(keras.optimizers.SGD(0.1), steps_per_execution=3)
    weights = values(model.weights)
    # In the fourth epoch, and refused before the first.
    with pytest.raises(
        ValueError, match=r"must end between two executions. Received: .*_execution=3.*batch 2 of epoch 4"
    ):
        train(model, SGDR("11/3", 1), SnapshotCheckpoint(tmp_path), epochs=11)
    assert_equal(values(model.weights), weights)
    train(model, SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=2)
    assert [one.update for one in Manifest.read(tmp_path).snapshots] == [3, 6]


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning")
@pytest.mark.parametrize(("T_0", "T_mult"), [(1, 1), ("3/2", 1), (10, 2), ("7/3", 1)])
def test_a_training_of_any_length_begins_at_once(tmp_path: Path, T_0: Any, T_mult: Any) -> None:
    class Began(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt("begun")

    model = small_model(keras.optimizers.SGD(0.1), steps_per_execution=6)
    began = time.perf_counter()
    # 12 batches an epoch, of which a third is no whole number of executions.
    error, message = (ValueError, "between two executions") if T_0 == "7/3" else (KeyboardInterrupt, "begun")
    with pytest.raises(error, match=message):
        train(model, SGDR(T_0, T_mult), SnapshotCheckpoint(tmp_path), Began(), epochs=10**6, batch_size=1)
    assert time.perf_counter() - began < 2
