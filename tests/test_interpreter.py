"""What objects print in the interpreter."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import (
    SGDR,
    CycleCallback,
    CycleEarlyStopping,
    SGDRSchedule,
    SnapshotCheckpoint,
    SnapshotEnsemble,
    StepDecay,
    WarmRestarts,
    find_learning_rate,
)
from keras_sgdr.optimizers import AdamWR, PyTorchSGD
from keras_sgdr.study import compared_schedules
from tests.support.small_model import train
from tests.support.snapshots import model, warned
from tests.support.study_nets import point_study


class Mine(CycleCallback):
    """Of a user, with an argument that it keeps under another name."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.kept = path


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: SGDR(), "SGDR()"),
        (lambda: SGDR(10, eta_max=[0.1, 0.05], warmup=0.5), "SGDR(T_0=10, eta_max=(0.1, 0.05), warmup=0.5)"),
        (lambda: SGDR(schedule=StepDecay(0.1), per="epoch"), "SGDR(per='epoch', schedule=StepDecay(eta=0.1, "),
        (lambda: SGDRSchedule(10, 2, 0.1, steps_per_epoch=5), "SGDRSchedule(T_0=10, eta_max=0.1, steps_per_epoch=5)"),
        (lambda: WarmRestarts(10), "WarmRestarts(T_0=10)"),
        (lambda: WarmRestarts.plan(70, 3), "(WarmRestarts(T_0=10, cycle_limit=3), WarmRestarts(T_0=Fraction(70, 3), "),
        (lambda: next(iter(WarmRestarts(10).cycles(3))), "Cycle(index=0, start=0, length=10, first=0, stop=30)"),
        (lambda: CycleEarlyStopping(patience=2), "CycleEarlyStopping(patience=2)"),
        (lambda: SnapshotCheckpoint("/runs", keep=3), "SnapshotCheckpoint(directory='/runs', keep=('last', 3))"),
        (lambda: Mine("a"), "Mine()"),
        (lambda: AdamWR(0.1), "AdamWR(learning_rate=0.1)"),
        (lambda: AdamWR(0.1, 0.05), "AdamWR(learning_rate=0.1, lambda_norm=0.05)"),
        (lambda: PyTorchSGD(0.1, momentum=0.5), "PyTorchSGD(learning_rate=0.1, momentum=0.5)"),
    ],
)
def test_what_differs_from_the_defaults_is_shown(made: Any, text: str) -> None:
    assert repr(made()).startswith(text)


def test_ensembles_and_studies_say_what_they_are_of(tmp_path: Path) -> None:
    trained = model()
    train(trained, SGDR(1, 1), SnapshotCheckpoint(tmp_path))
    members = SnapshotEnsemble.load(tmp_path, trained)
    assert repr(members) == f"<SnapshotEnsemble of the cycles [1, 2, 3] in {str(tmp_path)!r}>"
    study = point_study(tmp_path / "runs")
    assert repr(study) == f"<Study of 4 schedules, 2 seeds, 3 epochs, in {str(tmp_path / 'runs')!r}>"


def test_the_cycles_print_as_a_table_that_counts_from_1() -> None:
    callback = SGDR(1, 2, eta_max=0.5)
    assert warned(model(), callback, epochs=2)[0].startswith("`epochs=2` ends training in mid-cycle")
    lines = str(callback.cycles).splitlines()
    assert lines[0].split() == ["cycle", "epochs", "rate", "from", "to", "loss"]
    assert [line.split()[:5] for line in lines[1:]] == [
        ["1", "1", "0.5", "0.125", lines[1].split()[4]],
        ["2", "2", "(cut)", "0.5", lines[2].split()[4]],
    ]
    assert callback.cycles[0]["first_epoch"] == 0
    assert str(SGDR().cycles) == "no cycle has begun"


def test_arguments_in_the_order_of_the_schedule_are_questioned() -> None:
    with pytest.warns(UserWarning, match=r"T_0=0.1, less than half an epoch, .*pass SGDR\(T_0=10, eta_max=0.1"):
        SGDR(0.1, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SGDR(0.5, 10)
        SGDR(0.1, 2)


def test_cycles_of_a_study_follow_its_budget() -> None:
    ends = {
        epochs: compared_schedules(0.1, epochs)[name].cycle_ends(epochs)
        for epochs, name in ((5, "SGDR (1, 2)"), (30, "SGDR (3, 2)"), (100, "SGDR (10, 2)"))
    }
    assert ends == {5: [1, 3], 30: [3, 9, 21], 100: [10, 30, 70]}


def test_data_without_targets_are_refused_by_name() -> None:
    trained = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    trained.compile("sgd", "mse")
    message = r"`data` must be a tuple of arrays, or batches. Received: one array of shape \(8, 3\). Pass `\(x, y\)`"
    with pytest.raises(ValueError, match=message):
        find_learning_rate(trained, np.ones((8, 3), "float32"))


def test_early_stopping_without_validation_data_warns_once() -> None:
    (message,) = warned(model(), SGDR(1, 1), CycleEarlyStopping(), epochs=3)
    assert "metrics that begin with val_ need `validation_data`" in message
