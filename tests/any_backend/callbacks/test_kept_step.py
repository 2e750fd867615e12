"""The compiled step is kept from one `fit` to the next, for as long as Keras keeps its own."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, StepDecay
from keras_sgdr.optimizers import AdamWR
from tests.support.optimizers import scaled, several
from tests.support.probe import (
    BACKEND,
    CONSTANT,
    RATE,
    STEPS,
    Probe,
    Raise,
    data,
    fit,
    gradient_is_target,
    planned,
    sgdr,
    unknown_length,
)
from tests.support.small_model import assert_equal, small_model, train, values


class Counting(keras.Sequential):
    """Counts how often its training step is traced."""

    traces = 0

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        self.traces += 1
        return super().train_step(*args, **kwargs)


def counting(optimizer: Any = None, **compiling: Any) -> Any:
    """As `probe` has it."""
    model = Counting([keras.Input((1,)), Probe(STEPS, name="probe")])
    model.compile(optimizer or keras.optimizers.SGD(RATE), loss=gradient_is_target, **compiling)
    return model


@pytest.mark.skipif(BACKEND == "torch", reason="Nothing is compiled.")
@pytest.mark.parametrize("compiling", [{}, {"steps_per_execution": STEPS}], ids=str)
def test_a_step_is_traced_once_for_all_fits(compiling: dict[str, Any]) -> None:
    model = counting(**compiling)
    np.testing.assert_array_equal(fit(model, sgdr(), epochs=7), planned(7))
    np.testing.assert_array_equal(fit(model, sgdr()), planned())
    np.testing.assert_array_equal(fit(model, sgdr(eta_max=0.3, eta_min=0.01)), planned(eta_max=0.3, eta_min=0.01))
    np.testing.assert_array_equal(fit(model, sgdr(per="epoch")), np.repeat(planned(steps=1), STEPS))
    np.testing.assert_array_equal(fit(model, sgdr(), epochs=7, initial_epoch=2), planned(7, first=2))
    decay = SGDR(schedule=StepDecay(0.2, 2))
    np.testing.assert_array_equal(fit(model, decay), np.repeat([0.2, 0.2, 0.02], STEPS).astype("float32"))
    assert model.traces == 1


def test_without_the_callback_keras_has_its_own() -> None:
    model = counting()
    for _ in range(2):
        np.testing.assert_array_equal(fit(model), CONSTANT)
        np.testing.assert_array_equal(fit(model, sgdr()), planned())
    if BACKEND != "torch":
        assert model.traces == 2


@pytest.mark.tensorflow
@pytest.mark.parametrize(("callbacks", "traces"), [([sgdr()], 1), ([], 2)])
def test_a_step_is_not_traced_again_for_the_optimizers_variables(callbacks: list[Any], traces: int) -> None:
    model = counting(keras.optimizers.SGD(RATE, momentum=0.9))
    fit(model, *callbacks)
    assert model.traces == traces


class Subclassed(keras.Model):
    """Makes its layers when it is called, also where `build` was called before."""

    def __init__(self) -> None:
        super().__init__()
        self.probe = Probe(STEPS, name="probe")

    def build(self, shape: Any) -> None:
        self.built = True

    def call(self, x: Any) -> Any:
        return self.probe(x)


@pytest.mark.parametrize("built", [True, False])
def test_the_optimizer_is_built_where_keras_would(built: bool) -> None:
    """Not for the variables that a model has before all its layers are built."""
    model = Subclassed()
    if built:
        model.build((None, 1))
    model.compile(keras.optimizers.SGD(RATE), loss=gradient_is_target)
    np.testing.assert_array_equal(fit(model, sgdr(), batches=data()), planned())


def test_a_longer_fit() -> None:
    model = counting()
    np.testing.assert_array_equal(fit(model, sgdr()), planned())
    np.testing.assert_array_equal(fit(model, sgdr(), epochs=7), planned(7))
    np.testing.assert_array_equal(fit(model, sgdr()), planned())


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_known_and_unknown_steps() -> None:
    model = counting()
    held = np.repeat(planned(steps=1), STEPS)
    for _ in range(2):
        np.testing.assert_array_equal(fit(model, sgdr(per="epoch"), batches=unknown_length()), held)
        np.testing.assert_array_equal(fit(model, sgdr()), planned())


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_compiled_anew(error: type[BaseException] | None) -> None:
    """Another loss and another optimizer, also after a `fit` that was left by an exception."""
    model = counting()
    fit(model, sgdr())
    if error is not None:
        with pytest.raises(error):
            fit(model, sgdr(), Raise("on_train_batch_end", error))
    model.compile(keras.optimizers.SGD(0.25), loss=lambda y, prediction: 2 * y * prediction)
    np.testing.assert_array_equal(fit(model, sgdr()), 2 * planned(eta_max=0.25))
    np.testing.assert_array_equal(fit(model), 2 * np.full(3 * STEPS, 0.25, "float32"))
    # The same optimizer, with which the tables would fit.
    model.compile(model.optimizer, loss=gradient_is_target)
    np.testing.assert_array_equal(fit(model, sgdr()), planned(eta_max=0.25))


def adamwr() -> Any:
    return AdamWR(0.01, 0.05)


@pytest.mark.parametrize("optimizer", [adamwr, scaled, several], ids=lambda make: make.__name__)
def test_weights_are_those_of_a_step_compiled_anew(optimizer: Any) -> None:
    trained = []
    for anew in (False, True):
        model = small_model(optimizer())
        train(model, sgdr())
        if anew:
            model.make_train_function(force=True)
        train(model, sgdr(T_0=2, T_mult=1), epochs=2)
        trained.append(values([*model.variables, *model.optimizer.variables]))
    assert_equal(*trained)


def test_nothing_outlives_the_model() -> None:
    model = counting()
    fit(model, sgdr())
    alive = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert alive() is None
