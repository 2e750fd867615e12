"""Every proposal ends exactly at the budget."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sgdr import WarmRestarts
from keras_sgdr.planning import Plan
from keras_sgdr.plotting import plot_learning_rate

WARMUPS: Any = st.sampled_from([0, 0.1, "1/3", 2])


@settings(max_examples=200, deadline=None)
@given(st.integers(3, 2000), st.none() | st.integers(1, 40), WARMUPS)
def test_every_proposal_ends_exactly_at_the_budget(epochs: int, cycles: int | None, warmup: Any) -> None:
    plan = WarmRestarts.plan(epochs, cycles, warmup=warmup)
    assert plan
    before = Fraction(warmup).limit_denominator(10)
    for proposal in plan:
        # By hand, in fractions: a rounded end may hide a wrong length.
        lengths = [proposal.T_0 * proposal.T_mult**i for i in range(proposal.cycles)]
        assert before + sum(lengths) == epochs
        restarts = proposal.restarts(0.1)
        ends = restarts.cycle_ends(epochs)
        assert (len(ends), ends[-1]) == (proposal.cycles, epochs)
        assert ends == proposal.ends
        assert restarts.epochs_for(proposal.cycles) == epochs
        # Training that goes on begins with a restart.
        assert restarts(float(epochs)) == 0.1
        assert proposal.whole == all(Fraction(end).denominator == 1 for end in ends)
        assert cycles in (None, proposal.cycles)
        if cycles is None:
            assert all(length >= min(Fraction(1), epochs - before) for length in lengths)
    shapes = [(proposal.T_0, proposal.T_mult) for proposal in plan]
    assert len(set(shapes)) == len(shapes)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.none() | st.integers(1, 12))
def test_whole_epochs_come_first_then_the_factors_of_the_paper(epochs: int, cycles: int | None) -> None:
    plan = WarmRestarts.plan(epochs, cycles)
    whole = [proposal.whole for proposal in plan]
    assert whole == sorted(whole, reverse=True)
    for group in (True, False):
        factors = [proposal.T_mult for proposal in plan if proposal.whole == group]
        papers = [factor in (1, 2) for factor in factors]
        assert papers == sorted(papers, reverse=True)
        assert all(papers) or group
    # Cycles that double or repeat and end on whole epochs are never missed.
    for number in range(1, 9) if cycles is None else [cycles]:
        for T_mult, parts in ((2, 2**number - 1), (1, number)):
            if epochs % parts == 0:
                found = [(proposal.T_0, proposal.whole) for proposal in plan if proposal.cycles == number]
                assert (Fraction(epochs, parts), True) in found, T_mult


def test_known_budgets() -> None:
    def shapes(plan: Plan) -> list[tuple[str, str, int]]:
        return [(str(proposal.T_0), str(proposal.T_mult), proposal.cycles) for proposal in plan]

    assert shapes(WarmRestarts.plan(70, 3)) == [("10", "2", 3), ("70/3", "1", 3)]
    assert shapes(WarmRestarts.plan(100, 4)) == [("25", "1", 4), ("20/3", "2", 4)]
    assert shapes(WarmRestarts.plan(80, 4)) == [("20", "1", 4), ("2", "3", 4), ("16/3", "2", 4)]
    assert shapes(WarmRestarts.plan(65, 4))[0] == ("8", "3/2", 4)
    assert shapes(WarmRestarts.plan(1)) == [("1", "1", 1)]
    assert shapes(WarmRestarts.plan(2, 4)) == [("2/15", "2", 4), ("1/2", "1", 4)]
    assert shapes(WarmRestarts.plan(75, 3, warmup=5))[0] == ("10", "2", 3)
    assert WarmRestarts.plan(75, 3, warmup=5)[0].ends == [15, 35, 75]


def test_schedule_of_a_proposal_is_what_one_would_write() -> None:
    restarts = WarmRestarts.plan(75, 3, warmup=5)[0].restarts(0.2, 0.01, eta_max_decay=0.5, end="inclusive")
    written = WarmRestarts(10, 2, 0.2, 0.01, warmup=5, eta_max_decay=0.5, end="inclusive")
    assert restarts == written
    np.testing.assert_array_equal(restarts.learning_rates(75, 7), written.learning_rates(75, 7))


def test_table() -> None:
    assert str(WarmRestarts.plan(100, 4)) == (
        "T_0   T_mult  cycles  ends after epoch         whole epochs\n"
        "25    1       4       25, 50, 75, 100          yes\n"
        "20/3  2       4       6.6667, 20, 46.667, 100"
    )
    # Of many ends the first and the last.
    assert "30   1       40      30, 60, 90, 120, 150, 180, 210, ..., 1200" in str(WarmRestarts.plan(1200, 40))
    assert str(WarmRestarts.plan(5, 2)[0]) == "T_0=2, T_mult=1.5"


def test_proposals_are_drawn_under_their_names() -> None:
    mpl.use("Agg")
    plan = WarmRestarts.plan(70, 3)
    ax = plot_learning_rate({str(proposal): proposal.restarts(0.1) for proposal in plan}, 70)
    assert [line.get_label() for line in ax.lines] == ["T_0=10, T_mult=2", "T_0=70/3, T_mult=1"]
    assert all(np.asarray(line.get_ydata())[-1] < 1e-5 for line in ax.lines)
    plt.close("all")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"epochs": 0},
            "`epochs` must be a positive integer. Received: epochs=0. Pass the epochs that `fit` will run.",
        ),
        ({"epochs": 1.5}, "`epochs` must be a positive integer. Received: epochs=1.5."),
        ({"epochs": 10, "cycles": 0}, "`cycles` must be a positive integer or None. Received: cycles=0."),
        ({"epochs": 10, "cycles": True}, "Received: cycles=True."),
        ({"epochs": 10, "warmup": 10}, "leave some of the budget of 10 to the cycles. Received: warmup=10."),
        ({"epochs": 10, "warmup": -1}, "`warmup` must be a number of epochs, 0 or more"),
        ({"epochs": 10, "warmup": "soon"}, "Received: warmup='soon'. Pass warmup=0 for none."),
        (
            {"epochs": 10, "cycles": 10**12},
            "`cycles` in 10 epochs must leave each at least 0.001 epochs. Received: cycles=1000000000000. "
            "Pass at most cycles=10000, or more epochs.",
        ),
    ],
    ids=str,
)
def test_budgets_that_cannot_be_met(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        WarmRestarts.plan(**arguments)
