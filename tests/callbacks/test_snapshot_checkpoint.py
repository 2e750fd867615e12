"""SnapshotCheckpoint: which snapshots it keeps, in which folders, what it refuses, and what a killed process leaves."""

from __future__ import annotations

import contextlib
import re
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import Manifest, SnapshotError
from tests.support.probe import Raise, sgdr
from tests.support.small_model import assert_equal, small_data, small_model, train, values
from tests.support.snapshots import At, Judge, loaded, warned, whole_files


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_rate_held_through_the_epoch_ends_its_cycles_with_epochs(tmp_path: Path) -> None:
    train(small_model(keras.optimizers.SGD(0.1)), SGDR(1.5, 1, per="epoch"), SnapshotCheckpoint(tmp_path), epochs=3)
    found = Manifest.read(tmp_path).snapshots
    assert [(one.epoch, one.update) for one in found] == [(2, 6), (3, 9)]


def test_warmup_is_no_cycle(tmp_path: Path) -> None:
    train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1, warmup=1), SnapshotCheckpoint(tmp_path), epochs=3)
    assert [(one.cycle, one.epoch) for one in Manifest.read(tmp_path).snapshots] == [(1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("keep", "kept"), [(None, [1, 2, 3, 4]), (2, [3, 4]), (("last", 1), [4]), (("best", 2), [2, 4])]
)
def test_keep(tmp_path: Path, keep: Any, kept: list[int]) -> None:
    keeper = SnapshotCheckpoint(tmp_path, keep=keep)
    train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1), Judge([3, 1, 4, 2]), keeper, epochs=4)
    assert [one.cycle for one in Manifest.read(tmp_path).snapshots] == kept
    assert sorted(int(path.name[6:9]) for path in tmp_path.glob("*.h5")) == kept


def test_without_the_metric_every_snapshot_is_kept_and_said_so(tmp_path: Path) -> None:
    said = warned(small_model(keras.optimizers.SGD(0.1)), sgdr(), SnapshotCheckpoint(tmp_path, keep=("best", 1)))
    assert said
    assert all(re.search(r"monitor='val_loss', which none has.*Every snapshot is kept", one) for one in said)
    assert [one.cycle for one in Manifest.read(tmp_path).snapshots] == [1, 2]


def test_what_keep_dropped_does_not_come_back(tmp_path: Path) -> None:
    model, judge = small_model(keras.optimizers.SGD(0.1)), Judge([1, 2, 3, 0])
    train(model, SGDR(1, 1), judge, SnapshotCheckpoint(tmp_path, keep=("best", 1)), epochs=3)
    keeper = SnapshotCheckpoint(tmp_path, keep=("best", 1), resume=True)
    train(model, SGDR(1, 1), judge, keeper, epochs=4, initial_epoch=3)
    assert [(one.cycle, one.metrics["val_loss"]) for one in Manifest.read(tmp_path).snapshots] == [(4, 0)]


def test_metrics_that_are_several_numbers_are_left_out(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=[keras.metrics.F1Score(threshold=0.5), "mae"])
    x, y = small_data()[0], np.eye(2)[np.arange(12) % 2]
    callbacks = [SGDR("1/2", 1), SnapshotCheckpoint(tmp_path)]
    model.fit(x, y, batch_size=3, epochs=1, validation_data=(x, y), verbose=0, callbacks=callbacks)
    inside, whole = Manifest.read(tmp_path).snapshots
    assert set(inside.metrics) == {"loss", "mae"}
    assert set(whole.metrics) == {"loss", "mae", "val_loss", "val_mae"}


def test_another_run_is_refused_before_it_trains(tmp_path: Path) -> None:
    train(small_model(keras.optimizers.SGD(0.1)), sgdr(), SnapshotCheckpoint(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = small_model(keras.optimizers.SGD(0.1))
    weights = values(model.weights)
    with pytest.raises(
        ValueError, match=r"belongs to one run. Received: directory=.*Pass another folder, or resume=True"
    ):
        train(model, sgdr(), SnapshotCheckpoint(tmp_path))
    with pytest.raises(ValueError, match=r"must be of one schedule. Received: WarmRestarts\(T_0=.*Pass another folder"):
        train(model, SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True))
    assert_equal(values(model.weights), weights)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("saved_before", [False, True])
def test_a_run_from_the_first_epoch_replaces_another_as_a_whole(tmp_path: Path, saved_before: bool) -> None:
    """As a script with `BackupAndRestore` that is run again after its training came to its end."""
    train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=3)
    before = [loaded(Manifest.read(tmp_path), cycle) for cycle in range(3)]
    # Stopped before the first snapshot, or after it: no folder has snapshots of both.
    stop = At("on_epoch_begin", 1 if saved_before else 0, interrupt)
    message = (
        r"With `resume=True` the folder is that of the run that goes on\. Received: a run from its first epoch, while "
        r"'.*' has snapshots of one up to epoch 3, which its first snapshot will replace\. To keep them, stop it"
    )
    rerun = small_model(keras.optimizers.SGD(0.1))
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(KeyboardInterrupt):
        warnings.filterwarnings("always", category=UserWarning)
        train(rerun, SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True), stop, epochs=3)
    assert [bool(re.match(message, str(each.message))) for each in caught] == [True]
    manifest = Manifest.read(tmp_path)
    assert [each.cycle for each in manifest.snapshots] == ([1] if saved_before else [1, 2, 3])
    assert whole_files(tmp_path) == sorted(path.name for path in tmp_path.glob("*.h5"))
    for number, weights in enumerate([values(rerun.weights)] if saved_before else before):
        assert_equal(loaded(manifest, number), weights)


def test_a_run_that_was_stopped_in_its_first_epoch_is_run_again_without_a_word(tmp_path: Path) -> None:
    stop = keras.callbacks.LambdaCallback(on_test_begin=lambda logs: interrupt())
    for stops, cycles in (([stop], 2), ([], 3)):
        callbacks = [SGDR("1/3", 1), SnapshotCheckpoint(tmp_path, resume=True), *stops]
        with contextlib.suppress(KeyboardInterrupt):
            train(small_model(keras.optimizers.SGD(0.1)), *callbacks, epochs=1, validation_data=small_data())
        assert len(Manifest.read(tmp_path).snapshots) == cycles


def test_a_run_that_saved_nothing_does_not_block_the_folder(tmp_path: Path) -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    with pytest.raises(KeyboardInterrupt):
        train(model, sgdr(), SnapshotCheckpoint(tmp_path), Raise("on_train_batch_begin"))
    train(model, sgdr(), SnapshotCheckpoint(tmp_path))
    assert len(Manifest.read(tmp_path).snapshots) == 2


def test_snapshots_without_manifest_are_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "cycle-001_epoch-0001.weights.h5"
    file.write_text("someone's")
    with pytest.raises(ValueError, match=r"which has snapshots and no manifest. Pass another folder"):
        train(small_model(keras.optimizers.SGD(0.1)), sgdr(), SnapshotCheckpoint(tmp_path, resume=True))
    assert file.read_text() == "someone's"


def test_resumed_run_adds_its_cycles(tmp_path: Path) -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    train(model, sgdr(), SnapshotCheckpoint(tmp_path), epochs=3)
    train(model, sgdr(), SnapshotCheckpoint(tmp_path, resume=True), epochs=7, initial_epoch=3)
    assert [one.cycle for one in Manifest.read(tmp_path).snapshots] == [1, 2, 3]


def test_a_run_that_begins_at_a_cycle_end_without_snapshot_saves_it(tmp_path: Path) -> None:
    model = small_model(keras.optimizers.SGD(0.1))
    train(model, sgdr(), epochs=3)
    weights = values(model.weights)
    train(model, sgdr(), SnapshotCheckpoint(tmp_path, resume=True), epochs=7, initial_epoch=3)
    manifest = Manifest.read(tmp_path)
    assert [(one.cycle, one.update, bool(one.metrics)) for one in manifest.snapshots] == [(2, 9, False), (3, 21, True)]
    assert_equal(loaded(manifest, 0), weights)


def test_recommend(tmp_path: Path) -> None:
    callback = SGDR(1, 1)
    with pytest.raises(ValueError, match=r"`recommend` chooses among .* Add `SnapshotCheckpoint"):
        callback.recommend()
    keeper = SnapshotCheckpoint(tmp_path, monitor="val_accuracy")
    train(small_model(keras.optimizers.SGD(0.1)), callback, Judge([0.5, 0.9, 0.8], "val_accuracy"), keeper)
    assert {name: one.cycle for name, one in callback.recommend().items()} == {"last": 3, "best": 2}


def test_verbose_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(small_model(keras.optimizers.SGD(0.1)), sgdr(), SnapshotCheckpoint(tmp_path, verbose=1))
    assert re.findall(r"Epoch (\d+): end of cycle (\d+), weights saved to ", capsys.readouterr().out) == [
        ("1", "1"),
        ("3", "2"),
    ]


@pytest.mark.parametrize("keep", [0, -1, True, ("worst", 2), ("best", 0), ("best", None)])
def test_a_wrong_keep_is_refused(tmp_path: Path, keep: Any) -> None:
    with pytest.raises(ValueError, match=r"`keep` must be None, a positive integer, or a pair .* Received: keep="):
        SnapshotCheckpoint(tmp_path, keep=keep)


def test_a_metric_whose_name_does_not_tell_needs_a_mode(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'Received: monitor=\'val_score\' and mode="auto". Pass mode="min" or'):
        SnapshotCheckpoint(tmp_path, monitor="val_score")
    assert SnapshotCheckpoint(tmp_path, monitor="val_score", mode="max").mode == "max"
    with pytest.raises(ValueError, match=r'`mode` must be "auto", "min" or "max". Received: mode=\'up\''):
        SnapshotCheckpoint(tmp_path, mode="up")  # type: ignore[arg-type]


def test_the_sgdr_that_was_passed_must_take_part(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Received: a `fit` without the one that was passed. Add `SGDR\("):
        train(small_model(keras.optimizers.SGD(0.1)), sgdr(), SnapshotCheckpoint(tmp_path, sgdr()))
    callback = sgdr()
    train(small_model(keras.optimizers.SGD(0.1)), callback, SnapshotCheckpoint(tmp_path, callback))
    assert len(Manifest.read(tmp_path).snapshots) == 2


def test_a_fit_without_sgdr_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`SnapshotCheckpoint` follows the cycles of an `SGDR`.*Add `SGDR\("):
        train(small_model(keras.optimizers.SGD(0.1)), SnapshotCheckpoint(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_folder_without_manifest_is_named() -> None:
    with pytest.raises(SnapshotError, match=r"nowhere', which has none. Pass the folder that a `SnapshotCheckpoint`"):
        Manifest.read("nowhere")
