"""What a run reports: log files, a row for each cycle, a line at each restart."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sgdr import SGDR, CycleEarlyStopping, StepDecay, WarmRestarts
from tests.support.probe import EPOCHS, STEPS, fit, planned, probe, sgdr
from tests.support.small_model import small_model, train


def last_rates(epochs: int = EPOCHS, steps: int = STEPS) -> list[float]:
    return [float(rate) for rate in planned(epochs, steps)[steps - 1 :: steps]]


def test_csv_logger(tmp_path: Path) -> None:
    fit(probe(), sgdr(), keras.callbacks.CSVLogger(str(tmp_path / "log.csv")))
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == last_rates()


class TestCycles:
    def test_rows(self) -> None:
        callback = sgdr()
        history = train(small_model("sgd"), callback, validation_data=(np.ones((2, 3)), np.ones((2, 1)))).history
        # epoch  0 | 1 2
        # cycle  0 | 1 1
        restarts = WarmRestarts(1, 2, 0.01)
        rates = restarts.learning_rates(EPOCHS, 3)
        expected = [
            {"index": 0, "first_epoch": 0, "last_epoch": 0, "length": 1.0, "first_rate": 0.01, "last_rate": rates[2]},
            {"index": 1, "first_epoch": 1, "last_epoch": 2, "length": 2.0, "first_rate": 0.01, "last_rate": rates[8]},
        ]
        for row in expected:
            row |= {"complete": True} | {name: history[name][row["last_epoch"]] for name in ("loss", "val_loss")}
        assert callback.cycles == expected

    def test_initial_epoch_in_mid_cycle(self) -> None:
        callback = sgdr()
        fit(probe(), callback, initial_epoch=2)
        (row,) = callback.cycles
        assert (row["index"], row["first_epoch"], row["last_epoch"], row["complete"]) == (1, 2, 2, True)
        assert row["first_rate"] == pytest.approx(0.05, rel=1e-15)  # Half a cycle, but for the rounding of the cosine.

    @pytest.mark.filterwarnings("ignore:.*mid-cycle:UserWarning", "ignore:Early stopping must outwait:UserWarning")
    def test_early_stopping_leaves_a_cycle_incomplete(self) -> None:
        callback = sgdr()
        stop = keras.callbacks.EarlyStopping(monitor="loss", patience=1, mode="max")
        history = train(small_model("sgd"), callback, stop, epochs=7)
        assert history.epoch == [0, 1]
        assert [(row["index"], row["last_epoch"], row["complete"]) for row in callback.cycles] == [
            (0, 0, True),
            (1, 1, False),
        ]
        assert callback.cycles[1]["loss"] == history.history["loss"][1]

    def test_cycles_that_end_inside_an_epoch(self) -> None:
        callback = SGDR(T_0=1.5, T_mult=1)
        fit(probe(steps=4), callback)
        # update  0 1 2 3 | 4 5 6 7 | 8 9 10 11
        # cycle   0 0 0 0 | 0 0 1 1 | 1 1 1  1
        assert [(row["first_epoch"], row["last_epoch"], row["complete"]) for row in callback.cycles] == [
            (0, 1, True),
            (1, 2, True),
        ]
        rates = WarmRestarts(1.5, 1, 0.1).learning_rates(3, 4)
        assert [row["first_rate"] for row in callback.cycles] == [rates[0], rates[6]] == [0.1, 0.1]
        assert [row["last_rate"] for row in callback.cycles] == [rates[5], rates[11]]
        # What was measured at the end of the second epoch is of the second cycle.
        assert ["loss" in row for row in callback.cycles] == [False, True]
        first, second = str(callback.cycles).splitlines()[1:]
        assert len(first.split()) < len(second.split())

    @pytest.mark.parametrize("T_0", [Fraction(1, 2), Fraction(1, 3), Fraction(1, 7), Fraction(2, 7), Fraction(7, 10)])
    def test_fractions_are_complete_at_their_ends(self, T_0: Fraction) -> None:
        epochs = T_0.numerator
        callback = SGDR(T_0=float(T_0), T_mult=1)
        history = train(small_model("sgd"), callback, epochs=epochs)
        rows = callback.cycles
        # Of cycles shorter than an update only those that have one are rows.
        updates = [int(Fraction(update, 3) / T_0) for update in range(3 * epochs)]
        assert [row["index"] for row in rows] == sorted(set(updates))
        assert all(row["complete"] for row in rows)
        # Those whose last update is an epoch's last have its metrics.
        last, following = updates[2::3], [*updates[3::3], None]
        losses = zip(last, history.history["loss"], following, strict=True)
        ended = {cycle: loss for cycle, loss, after in losses if cycle != after}
        assert {row["index"]: row["loss"] for row in rows if "loss" in row} == ended

    def test_warmup_is_a_row_of_its_own(self) -> None:
        callback = sgdr(warmup=1)
        fit(probe(), callback, epochs=2)
        rows = [(row["index"], row["first_epoch"], row["length"], row["complete"]) for row in callback.cycles]
        assert rows == [(-1, 0, None, False), (0, 1, 1, True)]
        assert callback.cycles[0]["first_rate"] == 0

    def test_updates_after_the_last_cycle_are_no_warmup(self) -> None:
        callback = sgdr(warmup=1, cycle_limit=1)
        fit(probe(), callback, epochs=3)
        assert [line.split()[0] for line in str(callback.cycles).splitlines()] == ["cycle", "warmup", "1", "none"]

    def test_second_fit_begins_a_new_list(self) -> None:
        model, callback = probe(), sgdr()
        fit(model, callback)
        first = callback.cycles
        fit(model, callback, epochs=1)
        assert [len(first), len(callback.cycles)] == [2, 1]

    def test_step_decay_has_no_cycles(self) -> None:
        callback = SGDR(schedule=StepDecay(0.1, step_size=1))
        fit(probe(), callback)
        (row,) = callback.cycles
        assert (row["index"], row["last_epoch"], row["complete"]) == (-1, 2, False)


def test_a_line_at_each_restart(capsys: pytest.CaptureFixture[str]) -> None:
    fit(probe(), SGDR(1, 2, 0.5, eta_max_decay=0.5, warmup=1, cycle_limit=2, verbose=1), epochs=5)
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: warm restart, cycle 1 of 1 epochs, learning rate from 0.5",
        "Epoch 3: warm restart, cycle 2 of 2 epochs, learning rate from 0.25",
    ]


def test_a_line_where_a_restart_lies_inside_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    fit(probe(), SGDR(1.5, 1, verbose=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Epoch 1", "Epoch 2"]


def test_no_line_without_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    fit(probe(), sgdr(), epochs=1)
    assert capsys.readouterr().out == ""


def test_lines_go_to_the_log_where_keras_is_told_to_log(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", logger="absl"):
            fit(probe(), sgdr(verbose=1), CycleEarlyStopping("loss", min_delta=1e9, verbose=1))
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == ""
    lines = [record.getMessage() for record in caplog.records if record.name == "absl"]
    assert lines[0] == "Epoch 1: warm restart, cycle 1 of 1 epochs, learning rate from 0.1"
    assert any("stopped, 1 cycles without improvement" in line for line in lines)
