"""Patience in cycles, judged at their ends alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import pytest

from keras_sgdr import SGDR
from keras_sgdr.callbacks import CycleEarlyStopping
from tests.support.small_model import assert_equal, small_model, train, values


class Judge(keras.callbacks.Callback):
    """Puts a metric into the logs, and keeps the weights of each epoch's end."""

    def __init__(self, metrics: Sequence[float]) -> None:
        super().__init__()
        self.metrics = metrics
        self.weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_loss"] = self.metrics[epoch]
        self.weights.append(values(self.model.weights))


def run(stopping: CycleEarlyStopping, metrics: Sequence[float], *, T_0: int = 1) -> tuple[Any, Judge]:
    judge, model = Judge(metrics), small_model(keras.optimizers.SGD(0.1))
    train(model, SGDR(T_0, 1), judge, stopping, epochs=len(metrics))
    return model, judge


def test_stops_after_a_cycle_without_improvement_and_restores_the_best() -> None:
    stopping = CycleEarlyStopping()
    model, judge = run(stopping, [3, 2, 2.5, 1])
    assert (stopping.best, stopping.best_cycle, stopping.stopped_cycle) == (2, 2, 3)
    assert len(judge.weights) == 3
    assert_equal(values(model.weights), judge.weights[1])
    # Unsaved work is not lost.
    assert stopping.last_weights is not None
    assert_equal(stopping.last_weights, judge.weights[2])


def test_judges_at_the_ends_of_cycles_alone() -> None:
    # timeline   | 9 3 | 9 2 | 9 2.5 |: epochs within a cycle are worse and prove nothing.
    stopping = CycleEarlyStopping()
    model, judge = run(stopping, [9, 3, 9, 2, 1, 2.5, 0, 0], T_0=2)
    assert (stopping.best_cycle, stopping.stopped_cycle, len(judge.weights)) == (2, 3, 6)
    assert_equal(values(model.weights), judge.weights[3])


def test_patience_and_min_delta() -> None:
    stopping = CycleEarlyStopping(patience=2, min_delta=0.5)
    _, judge = run(stopping, [3, 2.6, 2.4, 2.2, 2.1, 9])
    # 2.4 improves 3 by more than 0.5; 2.2 and 2.1 do not improve 2.4 by as much.
    assert (stopping.best_cycle, stopping.stopped_cycle, len(judge.weights)) == (3, 5, 5)


def test_more_is_better_where_mode_says_so() -> None:
    stopping = CycleEarlyStopping(mode="max")
    run(stopping, [1, 2, 3, 1])
    assert (stopping.best_cycle, stopping.stopped_cycle) == (3, 4)


def test_a_run_that_ends_with_its_best_cycle_keeps_its_weights() -> None:
    stopping = CycleEarlyStopping()
    model, judge = run(stopping, [3, 2, 1])
    assert (stopping.stopped_cycle, stopping.last_weights) == (None, None)
    assert_equal(values(model.weights), judge.weights[-1])


@pytest.mark.filterwarnings("ignore:`epochs=3` ends training in mid-cycle")
def test_a_run_that_was_not_stopped_keeps_its_weights() -> None:
    stopping = CycleEarlyStopping()
    model, judge = run(stopping, [3, 2, 1], T_0=2)
    assert stopping.best_cycle == 1
    assert stopping.last_weights is None
    assert_equal(values(model.weights), judge.weights[2])


def test_without_restoring_a_run_that_was_stopped_keeps_its_weights() -> None:
    stopping = CycleEarlyStopping(restore_best_weights=False)
    model, judge = run(stopping, [1, 2, 0])
    assert (stopping.stopped_cycle, stopping.last_weights) == (2, None)
    assert_equal(values(model.weights), judge.weights[1])


def test_not_a_number_is_no_improvement() -> None:
    stopping = CycleEarlyStopping(patience=2)
    run(stopping, [float("nan"), 2, float("nan"), float("nan"), 1])
    assert (stopping.best_cycle, stopping.stopped_cycle) == (2, 4)


def test_a_second_fit_begins_anew() -> None:
    stopping = CycleEarlyStopping()
    run(stopping, [1, 2])
    run(stopping, [5, 4, 6])
    assert (stopping.best_cycle, stopping.stopped_cycle) == (2, 3)


def test_cycles_without_the_metric_are_not_judged_and_said_so_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=UserWarning)
        train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1), CycleEarlyStopping(), epochs=2)
    assert [str(one.message).split(", so")[0] for one in caught] == [
        "`monitor` must be a metric of a cycle's end. Received: monitor='val_loss', which cycle 1 lacks"
    ]


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    run(CycleEarlyStopping(verbose=1), [1, 2])
    assert capsys.readouterr().out == (
        "Epoch 2: stopped, 1 cycles without improvement of val_loss on 1 of cycle 1\n"
        "Weights of the end of cycle 1 restored.\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, r"`patience` must be a positive integer. Received: patience=0. Pass patience=1"),
        ({"min_delta": -1}, r"`min_delta` must be a finite number, 0 or more. Received: min_delta=-1"),
        ({"monitor": "score"}, r"must tell whether more is better"),
    ],
)
def test_a_wrong_argument_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CycleEarlyStopping(**options)


def test_a_fit_without_sgdr_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`CycleEarlyStopping` follows the cycles of an `SGDR` callback"):
        train(small_model(keras.optimizers.SGD(0.1)), CycleEarlyStopping())
