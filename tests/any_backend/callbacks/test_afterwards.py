"""The optimizer after `fit`, and files saved after and during it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr.callbacks.step.rate_table import RateTable
from tests.support.optimizers import scaled, several, sgd
from tests.support.probe import RATE, STEPS, fit, planned, probe, sgdr
from tests.support.small_model import assert_equal, small_data, small_model, train, values

OPTIMIZERS = pytest.mark.parametrize("optimizer", [sgd, scaled, several], ids=lambda make: make.__name__)


def inner(optimizer: Any) -> list[Any]:
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(optimizer, "optimizers", [optimizer]))


@OPTIMIZERS
def test_the_optimizer_is_as_before(optimizer: Any) -> None:
    model = small_model(optimizer())
    train(model, epochs=1)  # What any `fit` leaves behind is there before.

    def state() -> Any:
        every = [model, model.optimizer, *inner(model.optimizer)]
        variables = [id(variable) for variable in model.optimizer.variables]
        return variables, [set(vars(one)) for one in every], model.optimizer.get_config()

    before, rates = state(), [one.learning_rate for one in inner(model.optimizer)]
    train(model, sgdr())
    assert state() == before
    for one, rate in zip(inner(model.optimizer), rates, strict=True):
        assert one.learning_rate is rate
        assert type(one.get_config()["learning_rate"]) is float


@OPTIMIZERS
def test_state_that_is_not_the_rate_goes_on(optimizer: Any) -> None:
    """`iterations` and momenta are those of an ordinary run; the idle counter of loss scaling is idle again."""
    model, ordinary = small_model(optimizer()), small_model(optimizer())
    train(model, sgdr())
    train(ordinary)
    for one, other in zip(model.optimizer.variables, ordinary.optimizer.variables, strict=True):
        assert (one.name.split("_")[-1], one.shape, one.dtype) == (other.name.split("_")[-1], other.shape, other.dtype)
        if one.dtype.startswith("int"):
            assert int(one) == int(other)
    assert int(model.optimizer.iterations) == 9


@pytest.mark.slow
@pytest.mark.parametrize("when", ["during", "after"])
def test_a_file_of_fit_loads_without_the_package(tmp_path: Path, when: str) -> None:
    model = small_model(sgd())
    path = str(tmp_path / "model.keras")
    train(model, sgdr(), *([keras.callbacks.ModelCheckpoint(path)] if when == "during" else []))
    if when == "after":
        model.save(path)
    code = f"""
import sys
sys.modules["keras_sgdr"] = None
import keras
model = keras.models.load_model({path!r})
assert abs(model.optimizer.get_config()["learning_rate"] - 0.1) < 1e-8
assert int(model.optimizer.iterations) == 9
model.fit(keras.ops.ones((2, 3)), keras.ops.ones((2, 1)), verbose=0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=300, check=True)


@pytest.mark.parametrize(
    ("optimizer", "whole", "save_freq"),
    [
        # Each optimizer and each way of saving once; all pairs in `make test-all`.
        pytest.param(make, *saving, marks=[] if i == j else [pytest.mark.slow], id=f"{make.__name__}-{saving}")
        for i, make in enumerate((sgd, scaled, several))
        for j, saving in enumerate([(True, "epoch"), (True, 3), (False, "epoch")])
    ],
)
def test_saved_during_fit(tmp_path: Path, optimizer: Any, whole: bool, save_freq: Any) -> None:
    """Training from the file at the end of epoch 1 on gives the uninterrupted run, to the last bit."""
    path = str(tmp_path / "{epoch}.keras") if whole else str(tmp_path / "{epoch}.weights.h5")
    states: list[Any] = []

    class Remember(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            states.append(values(self.model.weights) + values(self.model.optimizer.variables))

    through = small_model(optimizer())
    # 3 batches an epoch, so `save_freq=3` saves at the last batch of each, while the epoch is still on.
    saving = keras.callbacks.ModelCheckpoint(path, save_weights_only=not whole, save_freq=save_freq)
    train(through, sgdr(), saving, Remember())
    if whole:
        loaded = keras.models.load_model(path.format(epoch=1))
    else:
        loaded = small_model(optimizer())
        loaded.optimizer.build(loaded.trainable_variables)
        loaded.load_weights(path.format(epoch=1))
    assert_equal(values(loaded.weights) + values(loaded.optimizer.variables), states[0])
    assert [one.get_config()["learning_rate"] for one in inner(loaded.optimizer)] == [
        one.get_config()["learning_rate"] for one in inner(through.optimizer)
    ]
    train(loaded, sgdr(), initial_epoch=1)
    assert_equal(values(loaded.weights), values(through.weights))
    assert_equal(values(loaded.optimizer.variables), values(through.optimizer.variables))


def test_file_of_mid_fit_holds_the_own_rate(tmp_path: Path) -> None:
    """Trained on without the callback, it has the constant rate it was compiled with."""
    model = probe()
    fit(model, sgdr(), keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras")), epochs=1)
    loaded = keras.models.load_model(tmp_path / "1.keras")
    np.testing.assert_array_equal(fit(loaded, epochs=1), np.full(STEPS, RATE, "float32"))


@OPTIMIZERS
def test_the_config_during_fit_holds_the_own_rate(tmp_path: Path, optimizer: Any) -> None:
    """As a float, so that a file of mid-`fit` loads where this package is not installed, and loggers can read it."""
    model = small_model(optimizer())
    train(model, epochs=1)
    outside, seen = model.optimizer.get_config(), []

    class Look(keras.callbacks.Callback):
        def look(self, *_: Any, **__: Any) -> None:
            seen.append(self.model.optimizer.get_config())
            self.model.save(tmp_path / "model.keras")
            with zipfile.ZipFile(tmp_path / "model.keras") as file:
                assert b"sgdr" not in file.read("config.json").lower()

        on_train_begin = on_epoch_begin = on_train_batch_end = on_epoch_end = look

    train(model, Look(), sgdr(), Look(), epochs=1)
    assert len(seen) == 2 * (3 + 3)
    assert all(config == outside for config in seen)


def test_evaluate_predict_and_train_on_batch_after_fit() -> None:
    model = small_model(sgd())
    train(model, sgdr())
    x, y = small_data()
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    assert not any(isinstance(value, RateTable) for value in vars(model.optimizer).values())


def test_compiled_anew_with_the_same_optimizer() -> None:
    model = probe()
    fit(model, sgdr(), epochs=1)
    model.compile(model.optimizer, loss=model.loss)
    np.testing.assert_array_equal(fit(model, sgdr()), planned())
