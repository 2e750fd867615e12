"""Arguments of which each gave an error from inside, NaN or no end: now refused by a rule, or right."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, SGDRSchedule, StepDecay, WarmRestarts, find_learning_rate
from keras_sgdr.data import ants_bees, batches, center_crop, drawn_insects, random_resized_crop_flip
from keras_sgdr.models import load_state_dict, randomize_modules, resnet
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from keras_sgdr.plotting import plot_history, plot_learning_rate
from keras_sgdr.study import compared_schedules, tuning_schedules

IMAGES, LABELS = np.zeros((3, 8, 8, 3), "uint8"), np.zeros(3, "int64")
DATA = (np.ones((4, 3)), np.ones(4)), (np.ones((4, 3)), np.ones(4))
BATCHES: dict[str, Any] = {"batch_size": 2, "image_size": 8, "training": True}
HUGE = 10**5000
# Of no type that is asked for.
NONE: Any = None
THREE: Any = 3
LIST: Any = [0.5]


def model() -> Any:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    made.compile("sgd", "mse")
    return made


def rate_test(**options: Any) -> object:
    return find_learning_rate(model(), (np.ones((8, 3)), np.ones((8, 2))), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WarmRestarts(HUGE), "Received: T_0=a value of type int with too many digits to be written."),
        (lambda: WarmRestarts("1" * 5000), f"Received: T_0='{'1' * 499}.... Pass the length"),
        (lambda: WarmRestarts("1e999999999"), "number of epochs. Received: T_0='1e999999999'."),
        (lambda: WarmRestarts(1, "1e-999999999"), "positive number. Received: T_mult='1e-999999999'."),
        (lambda: WarmRestarts(1)("now"), "A position must be a finite number of epochs, 0 or more. Received: t='now'."),
        (lambda: WarmRestarts(1).cycle_at(LIST), "There must be one position, not several. Received: t=[0.5]."),
        (lambda: WarmRestarts(1).cycle_ends(LIST), "There must be one position, not several. Received: t=[0.5]."),
        (lambda: WarmRestarts(1).cycles(NONE), "`steps_per_epoch` must be a positive integer. Received"),
        (lambda: WarmRestarts(1).cycles_from(-1), "`update` must be an integer, 0 or more. Received: update=-1."),
        (
            lambda: SGDRSchedule(1, eta_max=0.1, steps_per_epoch=1, name=THREE),
            "`name` must be a string. Received: name=3.",
        ),
        (lambda: SGDR(updates_per_batch=1e39), "`updates_per_batch` must be at most 1000. Received: updates_per"),
        (lambda: SGDR(steps_per_epoch=2**53), "`steps_per_epoch` must be at most 40000000. Received: steps_per_epoch="),
        (
            lambda: AdamWR(beta_1=1 - 1e-12),
            "`beta_1` must be below 1 and not lost in the optimizer's float32. Received",
        ),
        (
            lambda: AdamWR(beta_2=1 - 1e-12),
            "`beta_2` must be below 1 and not lost in the optimizer's float32. Received",
        ),
        (lambda: AdamWR(epsilon=1e-46), "`epsilon` must be finite and not lost in the optimizer's float32. Received"),
        (lambda: AdamWR(lambda_norm=1e39), "`lambda_norm` must be finite and not lost in the optimizer's float32."),
        (lambda: PyTorchSGD(1e39), "`learning_rate` must be finite and not lost in the optimizer's float32. Received"),
        (lambda: PyTorchSGD(momentum=1e39), "`momentum` must be finite and not lost in the optimizer's float32."),
        (lambda: rate_test(seed=-1), "`seed` must be an integer, 0 or more. Received: seed=-1."),
        (lambda: rate_test(updates=10**30), "`updates` must be at most 40000000. Received: updates=1000"),
        (lambda: compared_schedules(0.1, 2**63), "`epochs` must be at most 9007199254740992. Received: epochs="),
        (lambda: compared_schedules(0.1, 9, "x"), "`T_0` must be a positive number of epochs. Received: T_0='x'."),
        (
            lambda: tuning_schedules(0.1, LIST),
            "Each of `settings` must be a pair `(T_0, T_mult)`. Received: settings=[0.5].",
        ),
        (
            lambda: tuning_schedules(0.1, THREE),
            "Each of `settings` must be a pair `(T_0, T_mult)`. Received: settings=3.",
        ),
        (
            lambda: load_state_dict(model(), THREE),
            "`weights` must be the path of a file, or a mapping from names to arrays.",
        ),
        (lambda: randomize_modules(model(), 1, -1), "`seed` must be an integer, 0 or more. Received: seed=-1."),
        (lambda: resnet(NONE), "`depth` must be 50, 101 or 152. Received: depth=None."),
        (lambda: resnet(50, classes=0), "`classes` must be a positive integer. Received: classes=0."),
        (lambda: resnet(50, classes=10**30), "`classes` must be at most 1000000. Received: classes=1000"),
        (lambda: resnet(50, input_shape=NONE), "`input_shape` must be `(height, width, channels)`, positive"),
        (lambda: ants_bees.find(THREE), "`path` must be the path of a folder. Received: path=3."),
        (
            lambda: ants_bees.load_or_draw(image_size=0),
            "`image_size` must be a positive integer. Received: image_size=0",
        ),
        (lambda: drawn_insects(-1), "`n_train` must be an integer, 0 or more. Received: n_train=-1."),
        (lambda: drawn_insects(1, 10**30), "`n_val` must be at most 1000000. Received: n_val=1000"),
        (lambda: drawn_insects(1, 1, 10**30), "`image_size` must be at most 65535. Received: image_size=1000"),
        (lambda: drawn_insects(1, 1, seed=-1), "`seed` must be an integer, 0 or more. Received: seed=-1."),
        (lambda: batches(IMAGES[0], LABELS, **BATCHES), "`x` must be an array of images, `(N, height, width, 3)`"),
        (lambda: batches(IMAGES, LABELS[:2], **BATCHES), "Received: shapes=[(3, 8, 8, 3), (2,)]."),
        (
            lambda: batches(IMAGES, LABELS, **BATCHES, seed=-1),
            "`seed` must be an integer, 0 or more. Received: seed=-1.",
        ),
        (
            lambda: center_crop(IMAGES[0], 4),
            "`images` must be of shape `(N, height, width, channels)`. Received: shape",
        ),
        (lambda: center_crop(IMAGES, NONE), "`size` must be a positive integer. Received: size=None."),
        (lambda: random_resized_crop_flip(IMAGES, 4, -1), "`seed` must be an integer, 0 or more. Received: seed=-1."),
        (
            lambda: random_resized_crop_flip(IMAGES, 4, 0, (1, 0.5)),
            "`scale` must be two positive numbers, in ascending",
        ),
        (
            lambda: random_resized_crop_flip(IMAGES, 4, 0, ratio=THREE),
            "`ratio` must be two positive numbers, in ascending",
        ),
        (lambda: plot_learning_rate({}, 9), "`schedules` must be a schedule, or a dict of schedules by name, at least"),
        (
            lambda: plot_learning_rate(NONE, 9),
            "`schedules` must be a schedule, or a dict of schedules by name, at least",
        ),
        (lambda: plot_history(LIST), "`history` must be what `fit` returned, or a dict. Received: history=[0.5]."),
        (lambda: plot_history({"loss": [1]}, metrics="loss"), "`metrics` must be names of entries of the history"),
        (
            lambda: plot_history({"loss": [1]}, metrics=["loss"], cycle_ends=THREE),
            "`cycle_ends` must be a list of epochs.",
        ),
    ],
)
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_the_cycle_of_a_late_position() -> None:
    cycle = WarmRestarts(1e-9, 1).cycle_at(0.5)
    assert cycle is not None
    assert cycle.index == 500_000_000
    with pytest.raises(ValueError, match="A position must lie in the first 9007199254740992 cycles"):
        WarmRestarts("1/3", 1).cycle_at(1e30)


def test_a_plan_of_numpy_integers() -> None:
    numbers: Any = np.int64(30), np.int64(2)
    assert WarmRestarts.plan(*numbers, warmup=1e-46)


def test_a_rise_shorter_than_an_update() -> None:
    for warmup in (1e-320, Fraction(1, 3**660), Fraction(10**400 + 1, 3 * 10**400)):
        rates = WarmRestarts(1, 1, 0.1, 0.01, warmup=warmup).learning_rates(2, 2)
        assert rates[0] == 0.01
        assert np.isfinite(rates).all()


def test_steps_shorter_than_an_update() -> None:
    assert StepDecay(0.1, 5e-324).learning_rates(1, 3).tolist() == [0.1, 0.0, 0.0]


@pytest.mark.parametrize("decays", [(0.5, 1.0), (1.0, 0.5), (0.9, 0.5)])
def test_rates_are_laid_out_up_to_where_they_stay(decays: tuple[float, float]) -> None:
    schedule = WarmRestarts(1, 1, 0.1, 0.01, eta_max_decay=decays[0], eta_min_decay=decays[1])
    grid = schedule.on_grid(1, 1 << 24)
    assert len(grid.eta_max) < 10_000
    i = np.arange(len(grid.eta_max) + 5)
    expected = schedule._peaks.of(i)
    for ours, theirs in zip((grid.eta_max, grid.eta_min), expected, strict=True):
        np.testing.assert_array_equal(ours[np.minimum(i, len(ours) - 1)], theirs)


def test_settings_of_numpy_are_json() -> None:
    numbers: Any = {"momentum": np.float32(0.5), "nesterov": np.bool_(True), "weight_decay": np.int64(0)}
    steps: Any = np.int64(3)
    for made in (SGDR(steps_per_epoch=steps), PyTorchSGD(**numbers)):
        json.dumps(made.get_config())


def test_schedules_of_a_study_by_their_fractions() -> None:
    assert list(tuning_schedules(0.1, [("1/3", Fraction(3, 2)), (10, 2)])) == ["SGDR (1/3, 1.5)", "SGDR (10, 2)"]


def test_a_batch_of_more_images_than_there_are() -> None:
    for training in (True, False):
        data = batches(IMAGES, LABELS, batch_size=2**63, image_size=8, training=training, one_shape=True)
        assert len(data) == 1


def test_the_model_of_a_command_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from keras_sgdr.cli import main

    np.savez(tmp_path / "data.npz", x=np.ones((2, 3)), y=np.ones(2))
    (tmp_path / "model.keras").write_text("This is none.")
    words = ["ensemble", str(tmp_path), "--model", str(tmp_path / "model.keras"), "--data", str(tmp_path / "data.npz")]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert f"must be a whole .keras file, of classes that Keras knows. Received: {tmp_path / 'model.keras'}:" in printed
