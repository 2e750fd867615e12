"""Errors say the rule, what was received and the fix, and change nothing; a warning names the ends of cycles."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, SGDRSchedule, StepDecay
from tests.support.probe import RATE, STEPS, Array, data, fit, planned, probe, sgdr, unknown_length
from tests.support.small_model import assert_equal, small_model, train, values


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"T_0": 0}, "`T_0` must be a positive number of epochs. Received: T_0=0."),
        ({"T_0": -1}, "`T_0` must be a positive number of epochs. Received: T_0=-1."),
        ({"T_mult": 0}, "`T_mult` must be a positive number. Received: T_mult=0."),
        ({"T_mult": -2}, "`T_mult` must be a positive number. Received: T_mult=-2."),
        ({"eta_max": 0.0}, "Received: eta_max=0.0. Pass a learning rate, such as eta_max=0.1."),
        ({"eta_max": -0.1}, "Received: eta_max=-0.1."),
        ({"eta_max": float("nan")}, "Received: eta_max=nan."),
        ({"eta_max": float("inf")}, "Received: eta_max=inf."),
        ({"eta_min": -0.1}, "Received: eta_min=-0.1."),
        ({"eta_min": float("nan")}, "Received: eta_min=nan."),
        ({"eta_max": 0.1, "eta_min": 0.2}, "`eta_min` must not exceed `eta_max`"),
        ({"eta_max": []}, "Received: eta_max=[]."),
        ({"eta_max": [0.1, 0.2, 0.3], "cycle_limit": 2}, "at most cycle_limit=2. Received: eta_max=[0.1, 0.2, 0.3]."),
        ({"eta_min": [0.1, 0.2, 0.3], "cycle_limit": 2}, "at most cycle_limit=2. Received: eta_min=[0.1, 0.2, 0.3]."),
        ({"eta_max_decay": 0}, "`eta_max_decay` must be a number in (0, 1]. Received: eta_max_decay=0."),
        ({"warmup": -1}, "`warmup` must be a number of epochs, 0 or more. Received: warmup=-1."),
        ({"cycle_limit": 0}, "Received: cycle_limit=0."),
        ({"T_0": "1e-400"}, "`T_0` must be a positive number of epochs. Received: T_0='1e-400'."),
        ({"schedule": "abc"}, "`schedule` must be a `keras_sgdr.Schedule`. Received: schedule='abc'."),
        ({"end": "open"}, '`end` must be "exclusive" or "inclusive". Received: end=\'open\'.'),
        ({"per": "step"}, '`per` must be "batch" or "epoch". Received: per=\'step\'. Pass one of them.'),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` must be a positive integer or None. Received: steps_per_epoch=0."),
        ({"steps_per_epoch": True}, "Received: steps_per_epoch=True. Pass the number of batches in an epoch"),
        ({"steps_per_epoch": np.inf}, "Received: steps_per_epoch=inf. Pass the number of batches in an epoch"),
        ({"steps_per_epoch": 2.5}, "Received: steps_per_epoch=2.5. Pass the number of batches in an epoch"),
        (
            {"schedule": StepDecay(0.1), "T_0": 5, "eta_max": 0.3},
            "`schedule` takes the place of the values of the cycles, such as T_0, eta_max. Received: schedule=",
        ),
    ],
    ids=str,
)
def test_at_construction(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SGDR(**options)


def state(model: Any) -> tuple[list[Array], Any]:
    optimizer = model.optimizer
    names = [set(vars(model)), set(vars(optimizer)), [id(variable) for variable in optimizer.variables]]
    return values(model.weights + optimizer.variables), [*names, optimizer.get_config(), id(optimizer)]


def refused(model: Any, message: str, *callbacks: Any, **fitting: Any) -> None:
    """`fit` raises the error and leaves the model, of which a `fit` has been before, as it was."""
    before = fit(model, epochs=1)
    arrays, names = state(model)
    with pytest.raises(ValueError, match=re.escape(message)):
        fit(model, *callbacks, **fitting)
    assert_equal(state(model)[0], arrays)
    assert state(model)[1] == names
    np.testing.assert_array_equal(fit(model, epochs=1), before)


@pytest.mark.parametrize("steps", [np.ceil(6.5), np.float32(STEPS), float(STEPS)])
def test_a_whole_float_is_a_number_of_steps(steps: Any) -> None:
    np.testing.assert_array_equal(fit(probe(), sgdr(steps_per_epoch=steps)), planned())


def endless() -> Any:
    while True:
        yield from zip(*(part[:, None] for part in data()), strict=True)


class TestWhenFitBegins:
    def test_unknown_steps(self) -> None:
        message = (
            "`SGDR` needs the number of batches in an epoch, and Keras does not know it for this data. "
            "Received: steps_per_epoch=None. Pass `steps_per_epoch` to `SGDR` or to `fit`"
        )
        refused(probe(), message, sgdr(), batches=unknown_length())
        refused(probe(), message, sgdr(), batches=endless(), shuffle=None)

    def test_other_steps_than_keras_knows(self) -> None:
        message = f"Received: steps_per_epoch=8, while `fit` runs {STEPS}. Leave it out: Keras knows it for this data."
        refused(probe(), message, sgdr(steps_per_epoch=8))

    @pytest.mark.parametrize(
        "other",
        [
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
            keras.callbacks.ReduceLROnPlateau(monitor="loss"),
            SGDR(1, 1),
        ],
        ids=lambda other: type(other).__name__,
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_another_callback_that_sets_the_rate(self, other: Any, first: bool) -> None:
        kind = type(other).__name__
        name = "another `SGDR`" if kind == "SGDR" else kind
        message = f"Only one callback may set the learning rate. Received: `SGDR` and {name}. Leave out one"
        refused(probe(), message, *((sgdr(), other) if first else (other, sgdr())))

    def test_the_same_callback_twice(self) -> None:
        callback = sgdr()
        message = "A callback must be listed once. Received: the same `SGDR` twice. Leave out one of the two."
        refused(probe(), message, callback, callback)

    @pytest.mark.parametrize("rate", [1e39, 1e-46])
    def test_a_rate_beyond_the_optimizers_precision(self, rate: float) -> None:
        message = f"must be within the optimizer's float32. Received: highest rate={rate}. Pass another `eta_max`."
        refused(probe(), message, sgdr(eta_max=rate))
        refused(probe(), message, SGDR(schedule=StepDecay(rate)))

    def test_own_rate_below_eta_min(self) -> None:
        refused(probe(), "`eta_min` must not exceed `eta_max`", sgdr(eta_min=0.5))

    def test_own_rate_of_zero(self) -> None:
        refused(probe(keras.optimizers.SGD(0.0)), "Received: eta_max=0.0.", sgdr())

    def test_schedule_in_the_optimizer(self) -> None:
        message = (
            "learning rate is a float, which it replaces during `fit`. Received: SGD with learning_rate=SGDRSchedule("
        )
        refused(probe(keras.optimizers.SGD(SGDRSchedule(1, 1, 0.1, steps_per_epoch=STEPS))), message, sgdr())

    def test_schedule_in_one_of_several_optimizers(self) -> None:
        first, second = (
            keras.optimizers.SGD(0.1),
            keras.optimizers.SGD(SGDRSchedule(1, 1, 0.1, steps_per_epoch=STEPS)),
        )
        optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(first, {".*": second}))
        refused(probe(optimizer), "Received: SGD with learning_rate=SGDRSchedule(", sgdr())
        assert float(values([first.learning_rate])[0]) == np.float32(RATE)


@pytest.mark.tensorflow
def test_optimizers_that_are_chosen_once_the_model_is_built() -> None:
    """On the other backends `fit` builds the model before it calls a callback."""
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: keras.optimizers.SGD(RATE))
    model = probe(optimizer, built=False)
    with pytest.raises(ValueError, match=r"model is built\. Received: model='.*', not built\. Begin it with"):
        fit(model, sgdr())
    model.build((None, 1))
    np.testing.assert_array_equal(fit(model, sgdr()), planned())


@pytest.mark.parametrize("optimizer", [None, "without"])
def test_model_without_a_rate(optimizer: str | None) -> None:
    """`fit` itself refuses a model that is not compiled; a loop of one's own does not."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="plain")
    if optimizer:
        model.optimizer = RateFree()
        message = "learning rate is a float, which it replaces during `fit`. Received: RateFree"
    else:
        message = "the model must be compiled. Received: model='plain' without an optimizer. Call `model.compile(...)`."
    callback = sgdr()
    callback.set_model(model)
    callback.set_params({"epochs": 3, "steps": 7})
    with pytest.raises(ValueError, match=re.escape(message)):
        callback.on_train_begin()
    with pytest.raises(RuntimeError, match="acts between the begin and the end of a training"):
        callback.on_epoch_begin(0)


class RateFree:
    """An optimizer that finds its own step length."""

    built = True


class TestDuringFit:
    class Sets(keras.callbacks.Callback):
        """A user's own decay, which sets the rate."""

        def __init__(self, hook: str) -> None:
            super().__init__()
            setattr(self, hook, lambda number, logs=None: setattr(self.model.optimizer, "learning_rate", 0.3))

    @pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
    def test_a_callback_that_sets_the_rate(self, hook: str) -> None:
        message = (
            "During `fit` only `SGDR` sets the learning rate. Received: learning_rate=0.3 from Sets. "
            "Leave out one of the two."
        )
        model = probe()
        with pytest.raises(ValueError, match=re.escape(message)):
            fit(model, sgdr(), self.Sets(hook))
        np.testing.assert_array_equal(fit(model, sgdr()), planned())
        assert float(values([model.optimizer.learning_rate])[0]) == np.float32(RATE)

    def test_a_training_step_that_sets_the_rate(self) -> None:
        class Setting(keras.Sequential):
            def train_step(self, *args: Any) -> Any:
                self.optimizer.learning_rate = 0.3
                return super().train_step(*args)

        model = Setting([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", loss="mse")
        with pytest.raises(ValueError, match=r"Received: learning_rate=0.3 from the training step\."):
            train(model, sgdr())


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        (StepDecay(0.1), "Pass a schedule as `SGDR(schedule=...)`"),
        (keras.optimizers.SGD(), "Compile the model with the optimizer, whose rate `SGDR` sets"),
    ],
)
def test_what_is_no_length_of_a_cycle(given: Any, fix: str) -> None:
    with pytest.raises(ValueError, match=rf"`T_0` is the length .* Received: T_0=.*{re.escape(fix)}"):
        SGDR(given)


def warnings_of(callback: SGDR, epochs: int, *others: Any, **fitting: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(probe(run_eagerly=True), callback, *others, epochs=epochs, **fitting)
    return [str(each.message) for each in caught if issubclass(each.category, UserWarning)]


class TestMidCycle:
    @staticmethod
    def warnings_of(callback: SGDR, epochs: int, **fitting: Any) -> list[str]:
        return [each for each in warnings_of(callback, epochs, **fitting) if "mid-cycle" in each]

    @pytest.mark.parametrize(
        ("options", "epochs", "ends"),
        [
            ({"T_0": 2, "T_mult": 2}, 5, "2 to 6 epochs"),
            ({"T_0": 10}, 1, "0 to 10 epochs (`T_0` is in epochs, not in steps)"),
            ({"T_0": 1.5, "T_mult": 1}, 4, "3 to 4.5 epochs"),
            ({"T_0": 2, "warmup": 1}, 2, "1 to 3 epochs (`T_0` is in epochs, not in steps)"),
            ({"T_0": 1, "T_mult": 2, "cycle_limit": 2}, 2, "1 to 3 epochs"),
        ],
    )
    def test_warning_names_the_ends_of_the_cycle(self, options: dict[str, Any], epochs: int, ends: str) -> None:
        (message,) = self.warnings_of(SGDR(**options), epochs)
        assert message == (
            f"`epochs={epochs}` ends training in mid-cycle, where the learning rate has not come down. "
            f"That cycle lasts from {ends}. Train for as many, or leave out `T_0`, so that the cycles fill the "
            f"epochs. To go on in another `fit`, pass it `initial_epoch={epochs}`."
        )

    @pytest.mark.parametrize(
        ("options", "epochs"),
        [
            ({"T_0": 1, "T_mult": 2}, 3),
            ({"T_0": 1.5, "T_mult": 1}, 3),
            ({"T_0": 1, "T_mult": 2, "cycle_limit": 1}, 2),
            ({}, 1),
            ({"T_mult": 1.5, "warmup": 1, "cycle_limit": 4}, 3),
            ({"T_0": 1, "warmup": 1}, 2),
            ({"schedule": StepDecay(0.1)}, 2),
        ],
    )
    def test_none_at_an_end(self, options: dict[str, Any], epochs: int) -> None:
        assert self.warnings_of(SGDR(**options), epochs) == []

    def test_cycles_that_become_shorter_come_to_an_end(self) -> None:
        (message,) = warnings_of(SGDR("2", "1/2", warmup=1), 7)
        assert message == (
            "Cycles that become shorter, as with a `T_mult` below 1, come to an end. Received: T_mult=0.5, whose last "
            "cycle ends after 5 epochs, and epochs=7, of which the rest is trained at `eta_min`. Train for 5 epochs, "
            "or pass a `T_mult` of 1 or more."
        )
        assert warnings_of(SGDR(2, 0.5), 4) == warnings_of(SGDR(2, 0.5, cycle_limit=2), 7) == []


class TestEarlyStopping:
    @pytest.mark.parametrize(("patience", "is_short"), [(3, True), (4, False)])
    def test_one_that_does_not_outwait_a_cycle(self, patience: int, is_short: bool) -> None:
        stopping = keras.callbacks.EarlyStopping("loss", patience=patience)
        said = warnings_of(SGDR(1, 2), 7, stopping)
        pattern = (
            rf"Early stopping must outwait a cycle, .*EarlyStopping\(patience={patience}\), .* a cycle of 4 epochs"
        )
        assert [bool(re.match(pattern, each)) for each in said] == [True] * is_short

    def test_with_one_cycle_there_is_no_restart(self) -> None:
        assert warnings_of(SGDR(7), 7, keras.callbacks.EarlyStopping("loss", patience=1)) == []


def test_a_warning_is_of_the_line_that_calls_fit() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SGDR(0.1, 10)
        train(small_model("sgd"), SGDR(2), epochs=1)
    lines = [Path(each.filename).name for each in caught if each.category is UserWarning]
    # `train` of `small_model.py` calls `fit`.
    assert lines == ["test_errors.py", "small_model.py"]
