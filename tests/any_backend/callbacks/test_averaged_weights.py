"""Beside Keras's `SwapEMAWeights`: what was validated is what is saved, and what is restored (keras PR#18978)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from keras_sgdr import SGDR, CycleEarlyStopping
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import Manifest
from tests.support.small_model import assert_equal, small_data, small_model, train, values
from tests.support.snapshots import Judge, loaded

EPOCHS = 3


def averaging(**options: Any) -> Any:
    return small_model(keras.optimizers.SGD(0.3, use_ema=True, ema_momentum=0.9), **options)


def in_order(first: bool, callback: Any, swap: Any) -> list[Any]:
    return [callback, swap] if first else [swap, callback]


@pytest.mark.parametrize("swap_on_epoch", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_what_was_validated_is_saved(tmp_path: Path, first: bool, swap_on_epoch: bool) -> None:
    x, y = small_data()
    callbacks = in_order(first, SnapshotCheckpoint(tmp_path), keras.callbacks.SwapEMAWeights(swap_on_epoch))
    train(averaging(), SGDR(1, 1), *callbacks, epochs=EPOCHS, validation_data=(x, y))
    manifest = Manifest.read(tmp_path)
    assert len(manifest.snapshots) == EPOCHS
    model = averaging()
    for number, snapshot in enumerate(manifest.snapshots):
        model.set_weights(loaded(manifest, number))
        assert snapshot.metrics["val_loss"] == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)
    # The control: without the averages it is another model's.
    train(averaging(), SGDR(1, 1), SnapshotCheckpoint(tmp_path / "raw"), epochs=EPOCHS, validation_data=(x, y))
    raw = Manifest.read(tmp_path / "raw").snapshots
    assert abs(raw[-1].metrics["val_loss"] / manifest.snapshots[-1].metrics["val_loss"] - 1) > 1e-3


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_without_validation_either_order_saves_the_same(tmp_path: Path, swap_on_epoch: bool) -> None:
    trained = []
    for first in (True, False):
        folder = tmp_path / str(first)
        callbacks = in_order(first, SnapshotCheckpoint(folder), keras.callbacks.SwapEMAWeights(swap_on_epoch))
        model = averaging()
        train(model, SGDR(1, 1), *callbacks, epochs=EPOCHS)
        trained.append(values(model.weights))
    assert_equal(*trained)
    manifests = [Manifest.read(tmp_path / str(first)) for first in (True, False)]
    for number in range(EPOCHS):
        assert_equal(*(loaded(manifest, number) for manifest in manifests))


@pytest.mark.parametrize("first", [True, False])
def test_what_was_validated_is_restored(first: bool) -> None:
    x, y = small_data()

    class Remember(keras.callbacks.Callback):
        weights: Any = None

        def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.weights = self.weights or self.model.get_weights()

    best = Remember()
    model = averaging()
    stopping = CycleEarlyStopping()
    # The first cycle is said to be the best.
    callbacks = in_order(first, stopping, keras.callbacks.SwapEMAWeights())
    judge = Judge([1, 2, 3])
    train(model, SGDR(1, 1), judge, *callbacks, best, epochs=EPOCHS, validation_data=(x, y))
    assert stopping.stopped_cycle == 2
    assert_equal(model.get_weights(), best.weights)


def test_an_evaluation_outside_a_training_saves_nothing(tmp_path: Path) -> None:
    model = averaging()
    callbacks = [SnapshotCheckpoint(tmp_path), CycleEarlyStopping()]
    model.evaluate(*small_data(), verbose=0, callbacks=callbacks)
    assert list(tmp_path.iterdir()) == []
    train(model, SGDR(1, 1), *callbacks, epochs=1, validation_data=small_data())
    before = (tmp_path / "snapshots.json").read_bytes()
    model.evaluate(*small_data(), verbose=0, callbacks=callbacks)
    assert (tmp_path / "snapshots.json").read_bytes() == before
