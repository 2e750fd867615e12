"""SnapshotCheckpoint where something goes wrong: full disks, files of others, stops at the worst moment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import Manifest, SnapshotError
from tests.support.full_disk import full_disk
from tests.support.small_model import assert_equal, small_data, train
from tests.support.snapshots import At, Judge, loaded, model, whole_files

# The working directory


def test_the_working_directory_may_change_in_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    keeper, callback = SnapshotCheckpoint("snapshots", keep=1), SGDR(1, 1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    change = At("on_epoch_end", 0, lambda: os.chdir(tmp_path))
    again = At("on_epoch_begin", 2, lambda: os.chdir("/"))
    train(model(), callback, change, again, keeper, validation_data=small_data())
    assert whole_files(tmp_path / "snapshots") == ["cycle-003_epoch-0003.weights.h5"]
    assert not list((tmp_path / "elsewhere").iterdir())
    assert [each.cycle for each in keeper.manifest.snapshots] == [3]


# A full disk


# Bytes: more than a manifest has, and less than a file of weights.
NEARLY_FULL = 4000


def test_a_snapshot_that_is_replaced_is_kept_until_the_new_one_is_whole(tmp_path: Path) -> None:
    train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=2)
    before = loaded(Manifest.read(tmp_path), 1)
    full = pytest.raises(SnapshotError, match=r"must be written whole. Received: '.*cycle-002_epoch-0002.*Make room")
    with full, full_disk(NEARLY_FULL):
        train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True), epochs=2, initial_epoch=1)
    assert len(whole_files(tmp_path)) == 2
    # Nor does the next start lose it.
    train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True), epochs=3, initial_epoch=2)
    assert len(whole_files(tmp_path)) == 3
    assert_equal(loaded(Manifest.read(tmp_path), 1), before)


@pytest.mark.filterwarnings("ignore:With `resume=True` the folder is that of:UserWarning")
def test_a_cycle_that_is_run_again_and_again_has_one_file(tmp_path: Path) -> None:
    for _ in range(3):
        train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True), epochs=2)
        assert sorted(whole_files(tmp_path)) == sorted(path.name for path in tmp_path.glob("*.h5"))
        assert len(whole_files(tmp_path)) == 2


def test_a_disk_that_is_full_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=1)
    message = (
        r"A file must be written whole. Received: '.*cycle-002_epoch-0002.weights.h5', which could not "
        r"be: .*File too large. Make room, or pass another path; what was there before is as it was."
    )
    with pytest.raises(SnapshotError, match=message), full_disk(NEARLY_FULL):
        train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True), epochs=2, initial_epoch=1)
    assert whole_files(tmp_path) == ["cycle-001_epoch-0001.weights.h5"]
    assert not list(tmp_path.glob(".unfinished*"))


# Files of others


def test_files_of_the_user_are_left_alone(tmp_path: Path) -> None:
    train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=2)
    theirs = [
        "cycle-002_epoch-0002_backup.weights.h5",
        "cycle-002_epoch-0002 (copy).weights.h5",
        "cycle-009_epoch-0009.weights.h5",
        "cycle-best_epoch-last.weights.h5",
        ".unfinished-notes.txt",
        ".unfinished-12-notes.txt",
    ]
    for name in theirs:
        shutil.copy(tmp_path / "cycle-002_epoch-0002.weights.h5", tmp_path / name)
    left = [".unfinished-12-cycle-003_epoch-0003.weights.h5", ".unfinished-12-snapshots.json"]
    for name in left:
        (tmp_path / name).write_text("")
    keeper = SnapshotCheckpoint(tmp_path, keep=1, resume=True)
    train(model(), SGDR(1, 1), keeper, epochs=3, initial_epoch=2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*theirs, "snapshots.json", "cycle-003_epoch-0003.weights.h5"}


# A stop between the end of an epoch and what is saved of it


class Stop(keras.callbacks.Callback):
    """Ends the process, as far as the training knows, at the end of an epoch: after a backup, before the snapshot."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise InterruptedError


@pytest.mark.parametrize("validated", [True, False])
def test_stopped_between_backup_and_snapshot_the_best_is_not_lost(tmp_path: Path, validated: bool) -> None:
    """Saved while it is validated, or not yet."""
    folder, losses = tmp_path / "snapshots", [3, 1, 2, 4]
    data: dict[str, Any] = {"validation_data": small_data()} if validated else {}

    def callbacks(*stops: Any) -> list[Any]:
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        return [SGDR(1, 1), Judge(losses), backup, *stops, SnapshotCheckpoint(folder, keep=("best", 1), resume=True)]

    killed = model()
    with pytest.raises(InterruptedError):
        train(killed, *callbacks(Stop(1)), epochs=4, **data)
    weights = killed.get_weights()
    train(model(), *callbacks(), epochs=4, **data)
    manifest = Manifest.read(folder)
    assert [each.cycle for each in manifest.snapshots] == [2, 3]
    assert [each.measured for each in manifest.snapshots] == [False, True]
    assert_equal(loaded(manifest, 0), weights)
    assert [each.cycle for each in manifest.best()] == [3]


def test_a_cycle_that_was_measured_and_dropped_stays_dropped(tmp_path: Path) -> None:
    callbacks = [SGDR(1, 1), Judge([1, 2, 3, 4]), SnapshotCheckpoint(tmp_path, keep=("best", 1), resume=True)]
    with pytest.raises(InterruptedError):
        train(model(), *callbacks, Stop(2), epochs=4)
    train(model(), *callbacks, epochs=4, initial_epoch=3)
    assert [each.cycle for each in Manifest.read(tmp_path).snapshots] == [1]


@pytest.mark.filterwarnings("ignore:.*val_loss=nan. its snapshot is not saved:UserWarning")
def test_a_diverged_cycle_does_not_come_back(tmp_path: Path) -> None:
    keeper = SnapshotCheckpoint(tmp_path, resume=True)
    with pytest.raises(InterruptedError):
        train(model(), SGDR(1, 1), Judge([1, np.nan, 2]), keeper, Stop(1))
    train(model(), SGDR(1, 1), keeper, initial_epoch=2)
    assert [each.cycle for each in Manifest.read(tmp_path).snapshots] == [1, 3]


# Arguments


def test_integers_of_numpy_are_integers(tmp_path: Path) -> None:
    train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, keep=np.int64(2)))  # type: ignore[arg-type]
    assert [each.cycle for each in Manifest.read(tmp_path).snapshots] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"monitor": 0}, r'`monitor` must be the name of a metric. Received: monitor=0. Pass one that .*"val_loss"'),
        ({"monitor": None, "mode": "max"}, r"`monitor` must be the name of a metric. Received: monitor=None"),
        ({"monitor": ""}, r"`monitor` must be the name of a metric. Received: monitor=''"),
        ({"directory": 3}, r"`directory` must be the path of a folder. Received: directory=3. Pass a `str`"),
        ({"directory": b"runs"}, r"`directory` must be the path of a folder. Received: directory=b'runs'"),
        ({"directory": "a\0b"}, r"`directory` must be the path of a folder. Received: directory='a\\x00b'"),
        ({"keep": (np.array([1, 2]), 2)}, r"`keep` must be None, a positive integer, or a pair .* Received: keep="),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SnapshotCheckpoint(**{"directory": tmp_path, **arguments})
