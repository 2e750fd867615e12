"""Position follows the epoch: late starts, second fits, killed runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.probe import BACKEND, EPOCHS, RATE, STEPS, Applied, data, fit, planned, probe, sgdr
from tests.support.small_model import assert_equal, small_model, train, values

pytestmark = pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning")
EVERY = 3  # batches in an epoch of the runs that are killed at each batch


def test_initial_epoch() -> None:
    np.testing.assert_array_equal(fit(probe(), sgdr(), epochs=7, initial_epoch=5), planned(7, first=5))


@pytest.mark.parametrize("steps_per_execution", [1] if BACKEND == "torch" else [1, STEPS])
def test_second_fit(steps_per_execution: int) -> None:
    model, callback = probe(steps_per_execution=steps_per_execution), sgdr()
    np.testing.assert_array_equal(fit(model, callback, epochs=1), planned(1))
    np.testing.assert_array_equal(fit(model, callback), planned())
    np.testing.assert_array_equal(fit(model, sgdr(eta_max=0.3), initial_epoch=1), planned(eta_max=0.3, first=1))
    np.testing.assert_array_equal(fit(model), np.full(3 * STEPS, RATE, "float32"))
    model.optimizer.learning_rate = 0.2
    np.testing.assert_array_equal(fit(model, callback), planned(eta_max=0.2))


def test_epochs_beyond_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table holds a window of epochs and moves on."""
    monkeypatch.setattr("keras_sgdr.callbacks.training._TABLE", 2 * STEPS)
    np.testing.assert_array_equal(fit(probe(), sgdr(), epochs=7), planned(7))
    np.testing.assert_array_equal(fit(probe(), sgdr(), epochs=7, initial_epoch=2), planned(7, first=2))


def test_early_stopping_and_on() -> None:
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    model = probe()
    np.testing.assert_array_equal(fit(model, sgdr(), Stop()), planned(2))
    np.testing.assert_array_equal(fit(model, sgdr(), initial_epoch=2), planned(first=2))


class Kill(keras.callbacks.Callback):
    """Ends the run after a batch (from 0) of an epoch (from 0)."""

    def __init__(self, epoch: int, batch: int, how: str = "raise") -> None:
        super().__init__()
        self.at, self.how = (epoch, batch), how

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == self.at:
            if self.how == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise InterruptedError


def backup(folder: Path, save_freq: Any) -> keras.callbacks.Callback:
    return keras.callbacks.BackupAndRestore(str(folder / "backup"), save_freq=save_freq)


def sgd(scaled: bool) -> Any:
    optimizer = keras.optimizers.SGD(RATE)
    return keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer


@pytest.mark.parametrize(
    ("epoch", "batch"),
    [
        # The first batch, one inside and the last; all others only in `make test-all`.
        pytest.param(epoch, batch, marks=[] if (epoch, batch) in ((0, 0), (1, 1), (2, 2)) else [pytest.mark.slow])
        for epoch in range(3)
        for batch in range(EVERY)
    ],
)
@pytest.mark.parametrize(("save_freq", "scaled", "first"), [("epoch", False, True), (2, True, False)])
def test_killed_and_resumed(tmp_path: Path, save_freq: Any, scaled: bool, first: bool, epoch: int, batch: int) -> None:
    """Whether `SGDR` stands before `BackupAndRestore` (`first`) or after it."""

    def callbacks() -> list[keras.callbacks.Callback]:
        two = [sgdr(), backup(tmp_path, save_freq)]
        return two if first else two[::-1]

    killed, applied = probe(sgd(scaled), steps=EVERY), Applied()
    x, y = data(EVERY)
    with pytest.raises(InterruptedError):
        killed.fit(x, y, 1, EPOCHS, verbose=0, shuffle=False, callbacks=[applied, *callbacks(), Kill(epoch, batch)])
    applied.read()
    done = planned(steps=EVERY)
    done[epoch * EVERY + batch + 1 :] = 0
    np.testing.assert_array_equal(applied.rates, done[: (epoch + 1) * EVERY])

    resumed = Applied()
    probe(sgd(scaled), steps=EVERY).fit(x, y, 1, EPOCHS, verbose=0, shuffle=False, callbacks=[*callbacks(), resumed])
    # Keras runs the epoch of the last save again, from its begin.
    updates = epoch * EVERY + batch + 1
    begin = epoch if save_freq == "epoch" else max(updates // save_freq * save_freq - 1, 0) // EVERY
    assert next(iter(resumed.epochs)) == begin
    np.testing.assert_array_equal(resumed.rates, planned(steps=EVERY, first=begin))


def test_resumed_at_an_epoch_ends_with_the_weights_of_a_run_that_was_never_killed(tmp_path: Path) -> None:
    def optimizer() -> Any:
        return keras.optimizers.AdamW(0.05, weight_decay=0.1)

    whole = small_model(optimizer())
    train(whole, sgdr())
    killed = small_model(optimizer())
    with pytest.raises(InterruptedError):
        train(killed, sgdr(), backup(tmp_path, "epoch"), Kill(2, 1))
    resumed = small_model(optimizer())
    train(resumed, sgdr(), backup(tmp_path, "epoch"))
    assert_equal(values(resumed.weights), values(whole.weights))
    assert_equal(values(resumed.optimizer.variables), values(whole.optimizer.variables))


def killed_for_real(folder: Path) -> None:
    """What the process of the test below does."""
    fit(probe(), sgdr(), backup(folder, 2), Kill(1, 4, "SIGKILL"))


@pytest.mark.slow
def test_sigkill(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from {__name__} import *; killed_for_real(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL
    np.testing.assert_array_equal(fit(probe(), sgdr(), backup(tmp_path, 2)), planned(first=1))
