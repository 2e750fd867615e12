"""Sentences that follow from the numbers, and claim no more."""

from __future__ import annotations

import math

from keras_sgdr.study.results import conclusions, statistics
from keras_sgdr.study.results.report import summarize
from tests.support.synthetic_table import table

STEPS = [[2.0, 1.8, 1.0, 2.0], [2.5, 1.9, 1.5, 1.0], [2.2, 2.0, 1.1, 1.5]]
# Lower after 2 epochs, higher after 3, not told apart after 1 and 4.
CYCLES = [[2.1, 0.8, 2.0, 1.9], [2.4, 1.0, 2.6, 1.2], [2.2, 0.9, 2.1, 1.5]]
CONSTANT = [[2.0, 1.8, 3.0, 4.0], [2.5, 1.9, 3.5, 3.1], [2.2, 2.0, 3.1, 3.5]]
ENDS = {"cycles": [1, 2, 3, 4]}


def test_every_end_of_a_cycle_is_told_and_who_is_ahead() -> None:
    results = table({"steps": STEPS, "cycles": CYCLES, "constant": CONSTANT}, ENDS)
    ahead, against = summarize(results).headline.split(". ")
    assert ahead == (
        "After 4 epochs, steps has the lowest mean validation loss (1.500); the 95 % t interval of the difference to "
        "steps excludes 0 for constant (higher)"
    )
    assert "its validation loss is after 4 epochs not told apart (+0.033" in against
    assert against.endswith(
        "at earlier ends of its cycles not told apart after 1 epochs, lower after 2 epochs, higher after 3 epochs."
    )
    paired = statistics.differences(results, own_ends=True)
    assert conclusions.excluding_zero(paired, "steps") == (
        "Told apart from steps: cycles after 2 and 3 epochs; constant after 4 epochs"
    )
    assert conclusions.best_epoch(results, "val_loss") == (
        "The best mean validation loss is that of cycles, after 2 epochs"
    )
    assert conclusions.restarts(results) == "cycles restarts after 1, 2 and 3 epochs"


def test_of_an_accuracy_the_highest_is_ahead() -> None:
    results = table({"steps": STEPS, "constant": CONSTANT}, {})
    assert (
        conclusions.ahead(results, "val_accuracy") == "After 4 epochs, steps has the highest mean validation accuracy"
    )


def test_what_diverged_is_not_ahead() -> None:
    diverged = [[*run[:3], math.nan] for run in CYCLES[:1]] + [[0.1] * 4, [0.1] * 4]
    results = table({"steps": STEPS, "cycles": diverged}, {})
    assert conclusions.ahead(results, "val_loss") == "After 4 epochs, steps has the lowest mean validation loss"


def test_a_long_list_is_cut() -> None:
    assert conclusions.and_so_on(["1"]) == "1"
    assert conclusions.and_so_on(map(str, range(1, 10))) == "1, 2, 3, 4, ... and 9"


def test_a_target_that_tells_nothing_has_no_table() -> None:
    results = table({"steps": STEPS, "cycles": CYCLES}, ENDS)
    for target, is_told in ((0.1, False), (3.0, False), (1.0, True)):
        told = [each.title for each in summarize(results, target=target).tables if each.title.startswith("Epochs to")]
        assert bool(told) == is_told
