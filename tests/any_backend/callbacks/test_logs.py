"""The rates that a run reports in its history and to other callbacks."""

from __future__ import annotations

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


@pytest.mark.tensorflow
def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    fit(probe(), sgdr(), keras.callbacks.TensorBoard(str(tmp_path), write_graph=False))
    events = EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    rates = [float(make_ndarray(event.tensor_proto)) for event in events.Tensors("epoch_learning_rate")]
    assert rates == last_rates()


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("per", ["batch", "epoch"])
def test_steps_that_only_the_callback_knows(per: str) -> None:
    model, callback = probe(), sgdr(per=per, steps_per_epoch=STEPS)
    applied = fit(model, callback, batches=unknown_length())
    assert model.history.history["learning_rate"] == [float(rate) for rate in applied[STEPS - 1 :: STEPS]]
    assert [(row["last_epoch"], row["complete"]) for row in callback.cycles] == [(0, True), (2, True)]
