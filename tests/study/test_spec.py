"""What a study may be asked to train, and the weights with which its runs begin."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import ArrayLike

from keras_sgdr import Schedule, StepDecay, WarmRestarts
from keras_sgdr.schedules import Cycle
from keras_sgdr.study import TUNED, compared_schedules, tuning_schedules
from tests.support.study_nets import EPOCHS, STEPS, compiled, image_study, point_model, point_study, points


class Halving(Schedule):
    """A schedule of a user's own: half the rate in every cycle of an epoch."""

    def __init__(self, peak: float) -> None:
        self.peak = peak

    def __call__(self, t: ArrayLike) -> Any:
        return self.peak / 2 ** np.floor(t)

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        return (Cycle.of(i, Fraction(i), Fraction(1), steps_per_epoch) for i in itertools.count())


class Scalar(Halving):
    def __call__(self, t: ArrayLike) -> Any:
        return self.peak


def test_default_schedules_begin_alike_and_fill_the_budget(tmp_path: Path) -> None:
    assert point_study(tmp_path, eta_max=0.2).spec.schedules == compared_schedules(0.2, EPOCHS)
    assert list(compared_schedules(0.1, 100)) == ["step decay (60, 0.1)", "SGDR (10, 2)", "one cosine", "constant"]
    assert next(iter(compared_schedules(0.1, 30))) == "step decay (18, 0.1)"
    assert [schedule.cycle_ends(30) for schedule in compared_schedules(0.1, 30).values()] == [[], [3, 9, 21], [30], []]
    for schedule in compared_schedules(0.1, 30).values():
        assert schedule(0.0) == 0.1
    assert compared_schedules(0.1, 9, T_0=3, T_mult=2)["SGDR (3, 2)"].cycle_ends(9) == [3, 9]


def test_tuned_schedules_are_the_papers_unless_others_are_given() -> None:
    tuned = tuning_schedules(0.1)
    assert list(tuned) == ["SGDR (1, 2)", "SGDR (10, 2)", "SGDR (50, 1)", "SGDR (100, 1)", "SGDR (200, 1)"]
    assert tuned["SGDR (1, 2)"].cycle_ends(31) == [1, 3, 7, 15, 31]
    assert len(TUNED) == len(tuned)
    assert tuning_schedules(0.2, [(2.5, 1)]) == {"SGDR (2.5, 1)": WarmRestarts(2.5, 1, 0.2)}


def test_lengths_that_depend_on_fit_are_those_of_the_studys_epochs(tmp_path: Path) -> None:
    study = point_study(tmp_path, schedules={"three": WarmRestarts(T_mult=1, eta_max=0.1)})
    assert study.spec.schedules["three"].cycle_ends(EPOCHS) == [1, 2, 3]
    assert study.spec.schedule_settings("three")["config"]["T_0"] == 1


def test_a_schedule_without_a_configuration_is_known_by_its_rates(tmp_path: Path) -> None:
    study = point_study(tmp_path, schedules={"a": Halving(0.1), "b": Halving(0.1), "c": Halving(0.2)})
    first, same, other = (study.spec.schedule_settings(name) for name in "abc")
    assert first == same != other
    assert first["class"] == "Halving"


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (0.1, r"A schedule must be a `keras_sgdr\.Schedule`\. Received: schedules\['x'\]=0\.1\. Derive it from"),
        (
            WarmRestarts(1, 2),
            r"must not depend on the optimizer's learning rate, .* Received: schedules\['x'\]=WarmRestarts\(.*"
            r"Pass `eta_max`, such as",
        ),
        (
            WarmRestarts(eta_max=0.1, warmup=EPOCHS),
            r"must give the rates of 3 epochs of 3 updates\. Received: schedules\['x'\]=.* raises: `warmup` must leave",
        ),
        (Scalar(0.1), r"must give the rates of 3 epochs of 3 updates\. .* raises: A schedule must return a rate for"),
        (Halving(np.inf), r"must give the rates of 3 epochs .* raises: A schedule must return finite rates"),
    ],
    ids=["no schedule", "no peak", "no room", "one rate", "infinite"],
)
def test_a_schedule_that_cannot_be_run_is_refused_at_construction(schedule: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        point_study(tmp_path, schedules={"fine": StepDecay(0.1), "x": schedule})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"`epochs` must be a positive integer. Received: epochs=0."),
        ({"epochs": 0, "schedules": {"a": StepDecay(0.1)}}, r"`epochs` must be a positive integer. Received: epochs=0"),
        ({"batch_size": 1.5}, r"`batch_size` must be a positive integer. Received: batch_size=1.5."),
        ({"seeds": 0}, r"`seeds` must be a positive integer, or a list of different seeds, .* Received: seeds=0."),
        ({"seeds": [1, 1]}, r"`seeds` must be .* Received: seeds=\[1, 1\]. Pass seeds=20"),
        ({"schedules": {}}, r"`schedules` must be a dict of schedules by name, at least one. Received: schedules={}."),
        ({"schedules": [StepDecay(0.1)]}, r"`schedules` must be a dict of schedules by name"),
        ({"data": points()[0]}, r"`data` must be `\(x, y\), \(x_val, y_val\)`: arrays, .* Received: shapes of data="),
        (
            {"data": ((np.zeros((3, 2)), np.zeros(2)), points()[1])},
            r"with a label for each sample, .*=\[\(\(3, 2\), \(2,\)\)",
        ),
        (
            {"frozen": True, "initialize": print},
            r"A frozen backbone .* Received: \(initialize, augment\)=\(<built-in function print>, None\)\. Leave both",
        ),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        point_study(tmp_path, **options)


def unbuilt_model() -> Any:
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", loss="mse")
    return model


def scaled_model() -> Any:
    model = point_model()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), loss=model.loss)
    return model


@pytest.mark.parametrize(
    ("model_fn", "message"),
    [
        (unbuilt_model, r"`model_fn` must return a model that is built and compiled. Received: .* Begin it with a"),
        (lambda: "model", r"`model_fn` must return a model that is built and compiled. Received: 'model'"),
        (scaled_model, r"learning rate of one plain optimizer, .* Received: LossScaleOptimizer. Compile with one"),
    ],
)
def test_the_model_must_be_one_that_a_study_can_train(model_fn: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        point_study(tmp_path, model_fn=model_fn).run(progress=False)


def test_weights_must_be_a_function_of_the_seed(tmp_path: Path) -> None:
    unseeded = np.random.default_rng(0)

    def initialize(model: Any, seed: int) -> None:
        model.weights[0].assign(unseeded.normal(size=model.weights[0].shape))

    with pytest.raises(
        ValueError, match=r"must make the same weights whenever .* with seed 0. Take all random numbers"
    ):
        point_study(tmp_path, initialize=initialize).run(progress=False)


def test_random_numbers_that_another_thread_draws_meanwhile_change_no_weights(tmp_path: Path) -> None:
    calls: list[int] = []

    def disturbed() -> Any:
        calls.append(len(calls))
        if len(calls) == 1:
            random.random()  # As another thread might.
        return point_model()

    disturbed_weights = point_study(tmp_path, model_fn=disturbed).spec.initial_weights(3)
    for weights, expected in zip(disturbed_weights, point_study(tmp_path).spec.initial_weights(3), strict=True):
        np.testing.assert_array_equal(weights, expected)
    assert len(calls) == 3


def test_crops_need_a_fixed_side(tmp_path: Path) -> None:
    def model_fn() -> Any:
        return compiled([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])

    with pytest.raises(ValueError, match=r"so it must be square and fixed. .* Build it with a size, or pass `augment`"):
        image_study(tmp_path, model_fn=model_fn).run(progress=False)


def test_an_epoch_has_as_many_updates_as_batches(tmp_path: Path) -> None:
    assert point_study(tmp_path).spec.steps == STEPS
