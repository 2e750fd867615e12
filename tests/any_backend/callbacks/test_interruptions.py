"""After an exception or Ctrl-C in `fit`, of which Keras tells no callback."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDRSchedule
from tests.support.probe import CONSTANT, RATE, STEPS, Array, Raise, data, fit, planned, probe, sgdr
from tests.support.small_model import assert_equal, small_model, train, values


class Broken(keras.utils.PyDataset):
    """Breaks at its fifth batch."""

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, i: int) -> tuple[Array, Array]:
        if i == 4:
            raise OSError("stop here")
        return np.full((1, 1), i, "float32"), np.ones((1, 1), "float32")


def interrupted(model: Any, place: str, *callbacks: Any, error: type[BaseException] = KeyboardInterrupt) -> None:
    callbacks = callbacks or (sgdr(),)
    if place == "data":
        # TensorFlow wraps the error.
        with pytest.raises(Exception, match="stop here"):
            fit(model, *callbacks, batches=Broken())
        return
    validation: dict[str, Any] = {"validation_data": data()} if place.startswith("on_test") else {}
    with pytest.raises(error, match="stop here"):
        fit(model, *callbacks, Raise(place, error), **validation)


@pytest.mark.parametrize(
    "place",
    # Where Keras leaves the model in another state each; the others in `make test-all`.
    [
        *("on_epoch_begin", "on_train_batch_end", "on_test_batch_end", "data"),
        *(pytest.param(hook, marks=pytest.mark.slow) for hook in ("on_train_begin", "on_epoch_end", "on_train_end")),
    ],
)
def test_next_fits(place: str) -> None:
    """With and without the callback, each after an interruption."""
    model = probe()
    interrupted(model, place)
    np.testing.assert_array_equal(fit(model), CONSTANT)
    interrupted(model, place)
    np.testing.assert_array_equal(fit(model, sgdr()), planned())
    assert type(model.optimizer.learning_rate) is type(probe().optimizer.learning_rate)
    assert "make_train_function" not in vars(model)


@pytest.mark.parametrize("hook", ["on_train_batch_end"])
def test_setting_the_rate(hook: str) -> None:
    model = probe()
    interrupted(model, hook)
    model.optimizer.learning_rate = 0.3
    np.testing.assert_array_equal(fit(model), np.full(3 * STEPS, 0.3, "float32"))
    interrupted(model, hook)
    model.optimizer.learning_rate = 0.2
    np.testing.assert_array_equal(fit(model, sgdr()), planned(eta_max=0.2))


def test_the_same_callback_again() -> None:
    model, callback = probe(), sgdr()
    interrupted(model, "on_train_batch_end", callback, error=RuntimeError)
    np.testing.assert_array_equal(fit(model, callback), planned())


def test_the_same_callback_with_another_model() -> None:
    model, other, callback = probe(), probe(), sgdr()
    interrupted(model, "on_epoch_end", callback)
    np.testing.assert_array_equal(fit(other, callback), planned())
    np.testing.assert_array_equal(fit(model), CONSTANT)


def test_loss_scaling() -> None:
    model = probe(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE)))
    interrupted(model, "on_train_batch_end")
    np.testing.assert_array_equal(fit(model, sgdr()), planned())
    interrupted(model, "on_train_batch_end")
    np.testing.assert_array_equal(fit(model), CONSTANT)
    assert not {"apply", "stateless_apply"} & set(vars(model.optimizer))


def test_setting_the_rates_of_several_optimizers() -> None:
    first, second = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)
    model = small_model(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(first, {".*bias": second})))
    with pytest.raises(KeyboardInterrupt):
        train(model, sgdr(), Raise("on_epoch_end"))
    first.learning_rate = 0.3
    assert [float(rate) for rate in values([first.learning_rate, second.learning_rate])] == pytest.approx([0.3, 0.2])
    train(model, sgdr())


def test_setting_a_schedule() -> None:
    model = probe()
    interrupted(model, "on_epoch_end")
    schedule = SGDRSchedule(1, 2, 0.2, steps_per_epoch=STEPS)
    model.optimizer.learning_rate = schedule
    model.optimizer.iterations.assign(0)
    # 8 units in the last place of eta_max, the schedule's own promise for JAX with 32-bit numbers.
    np.testing.assert_allclose(fit(model), planned(eta_max=0.2), rtol=0, atol=8 * np.spacing(np.float32(0.2)))
    assert model.optimizer.learning_rate.shape == ()
    assert "learning_rate" not in [variable.name for variable in model.optimizer.variables]


def test_compiled_anew() -> None:
    model = probe()
    interrupted(model, "on_epoch_end")
    model.compile(model.optimizer, loss=model.loss)
    np.testing.assert_array_equal(fit(model, sgdr()), planned())
    interrupted(model, "on_epoch_end")
    before = model.optimizer
    model.compile(keras.optimizers.SGD(0.2), loss=model.loss)
    np.testing.assert_array_equal(fit(model, sgdr()), planned(eta_max=0.2))
    assert float(values([before.learning_rate])[0]) == np.float32(RATE)


def test_train_on_batch_has_the_own_rate() -> None:
    model = probe()
    interrupted(model, "on_epoch_end")
    before = values(model.weights)
    model.train_on_batch(*(part[:1] for part in data()))
    assert_equal([before[0] - values(model.weights)[0]], [np.eye(1, STEPS, dtype="float32")[0] * np.float32(RATE)])
