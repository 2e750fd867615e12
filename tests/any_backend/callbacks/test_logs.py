"""The rates that a run reports in its history and to other callbacks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.probe import EPOCHS, STEPS, fit, planned, probe, sgdr, unknown_length


def last_rates(epochs: int = EPOCHS, steps: int = STEPS) -> list[float]:
    return [float(rate) for rate in planned(epochs, steps)[steps - 1 :: steps]]


def test_history_holds_the_rate_of_the_last_update() -> None:
    model = probe()
    fit(model, sgdr())
    rates = model.history.history["learning_rate"]
    assert rates == last_rates()
    assert all(type(rate) is float for rate in rates)


def test_history_of_an_epoch_that_stops_inside() -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 3

    model, callback = probe(), sgdr()
    applied = fit(model, callback, Stop())
    expected = planned(1)
    assert model.history.history["learning_rate"] == [float(expected[3])]
    np.testing.assert_array_equal(applied[:4], expected[:4])
    (row,) = callback.cycles
    assert row["last_rate"] == pytest.approx(expected[3], rel=1e-7)  # Half a unit in float32.
    assert not row["complete"]


def test_callbacks_that_read_the_optimizer_between_epochs() -> None:
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    fit(probe(), sgdr(), Look())
    assert seen == last_rates()


@pytest.mark.parametrize("first", [True, False])
def test_the_order_of_the_callbacks_does_not_matter(tmp_path: Path, first: bool) -> None:
    """Loggers find the rate in the logs, and in the optimizer that of the last update, before `SGDR` or after it."""
    seen: dict[str, list[float]] = {"logs": [], "optimizer": []}

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen["logs"].append(logs["learning_rate"])
            seen["optimizer"].append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    table = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    files = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}-{learning_rate:.6f}.keras"))
    others, callback = [table, files, Look()], sgdr()
    fit(probe(), *([callback, *others] if first else [*others, callback]))
    assert seen["logs"] == seen["optimizer"] == last_rates()
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["learning_rate"]) for row in rows] == last_rates()
    names = [f"{epoch}-{rate:.6f}" for epoch, rate in enumerate(last_rates(), 1)]
    assert sorted(path.stem for path in tmp_path.glob("*.keras")) == names


def test_each_callback_is_called_once(tmp_path: Path) -> None:
    """Although `SGDR` goes to the front of the list while that is gone through."""
    calls: list[str] = []

    class Counts(keras.callbacks.Callback):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def on_train_begin(self, logs: Any = None) -> None:
            calls.append(self.name)

    fit(probe(), Counts("a"), Counts("b"), sgdr(), Counts("c"), Counts("d"), epochs=1)
    assert calls == ["a", "b", "c", "d"]


@pytest.mark.tensorflow
@pytest.mark.parametrize("first", [True, False])
def test_tensorboard(tmp_path: Path, first: bool) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    board = keras.callbacks.TensorBoard(str(tmp_path), write_graph=False)
    callback = sgdr()
    fit(probe(), *([callback, board] if first else [board, callback]), initial_epoch=1)
    events = EventAccumulator(str(tmp_path / "train"), size_guidance={"tensors": 0})
    events.Reload()

    def written(tag: str) -> list[tuple[int, float]]:
        return [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]

    assert written("epoch_learning_rate") == list(enumerate(last_rates()))[1:]
    # The rate of every update, by its number.
    assert written("batch_learning_rate") == [(i, float(rate)) for i, rate in enumerate(planned())][STEPS:]


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("per", ["batch", "epoch"])
def test_steps_that_only_the_callback_knows(per: str) -> None:
    model, callback = probe(), sgdr(per=per, steps_per_epoch=STEPS)
    applied = fit(model, callback, batches=unknown_length())
    assert model.history.history["learning_rate"] == [float(rate) for rate in applied[STEPS - 1 :: STEPS]]
    assert [(row["last_epoch"], row["complete"]) for row in callback.cycles] == [(0, True), (2, True)]
