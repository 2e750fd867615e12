"""Every proposal ends exactly at the budget."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sgdr import WarmRestarts
from keras_sgdr.schedules import Plan

WARMUPS: Any = st.sampled_from([0, 0.1, "1/3", 2])


@settings(max_examples=200, deadline=None)
@given(st.integers(3, 2000), st.none() | st.integers(1, 40), WARMUPS)
def test_every_proposal_ends_exactly_at_the_budget(epochs: int, n_cycles: int | None, warmup: Any) -> None:
    plan = WarmRestarts.plan(epochs, n_cycles, warmup=warmup)
    assert plan
    before = Fraction(warmup).limit_denominator(10)
    for proposal in plan:
        # By hand, in fractions: a rounded end may hide a wrong length.
        lengths = lengths_of(proposal)
        assert before + sum(lengths) == epochs
        ends = proposal.cycle_ends(epochs)
        assert (len(ends), ends[-1]) == (proposal.cycle_limit, epochs)
        assert proposal.epochs_for(len(ends)) == epochs
        assert n_cycles in (None, proposal.cycle_limit)
        if n_cycles is None:
            assert all(length >= min(Fraction(1), epochs - before) for length in lengths)
    shapes = [(proposal.T_0, proposal.T_mult) for proposal in plan]
    assert len(set(shapes)) == len(shapes)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.none() | st.integers(1, 12))
def test_whole_epochs_come_first_then_the_factors_of_the_paper(epochs: int, n_cycles: int | None) -> None:
    plan = WarmRestarts.plan(epochs, n_cycles)
    whole = [all(length.denominator == 1 for length in lengths_of(proposal)) for proposal in plan]
    assert whole == sorted(whole, reverse=True)
    for group in (True, False):
        factors = [proposal.T_mult for proposal, is_whole in zip(plan, whole, strict=True) if is_whole == group]
        papers = [factor in (1, 2) for factor in factors]
        assert papers == sorted(papers, reverse=True)
        assert all(papers) or group
    # Cycles that double or repeat and end on whole epochs are never missed.
    for number in range(1, 9) if n_cycles is None else [n_cycles]:
        for T_mult, parts in ((2, 2**number - 1), (1, number)):
            if epochs % parts == 0:
                proposed = [
                    (proposal.T_0, is_whole)
                    for proposal, is_whole in zip(plan, whole, strict=True)
                    if proposal.cycle_limit == number
                ]
                assert (Fraction(epochs, parts), True) in proposed, T_mult


def lengths_of(proposal: WarmRestarts) -> list[Fraction]:
    """The lengths of its cycles in epochs."""
    assert proposal.T_0 is not None
    assert proposal.cycle_limit is not None
    return [Fraction(proposal.T_0) * Fraction(proposal.T_mult) ** i for i in range(proposal.cycle_limit)]


def test_known_budgets() -> None:
    def shapes(plan: Plan) -> list[tuple[str, str, int | None]]:
        return [(str(proposal.T_0), str(proposal.T_mult), proposal.cycle_limit) for proposal in plan]

    assert shapes(WarmRestarts.plan(70, 3)) == [("10", "2", 3), ("70/3", "1", 3)]
    assert shapes(WarmRestarts.plan(100, 4)) == [("25", "1", 4), ("20/3", "2", 4)]
    assert shapes(WarmRestarts.plan(80, 4)) == [("20", "1", 4), ("2", "3", 4), ("16/3", "2", 4)]
    assert shapes(WarmRestarts.plan(65, 4))[0] == ("8", "3/2", 4)
    assert shapes(WarmRestarts.plan(1)) == [("1", "1", 1)]
    assert shapes(WarmRestarts.plan(2, 4)) == [("2/15", "2", 4), ("1/2", "1", 4)]
    assert shapes(WarmRestarts.plan(75, 3, warmup=5))[0] == ("10", "2", 3)
    assert WarmRestarts.plan(75, 3, warmup=5)[0].cycle_ends(75) == [15, 35, 75]


def test_a_proposal_is_the_schedule_that_one_would_write() -> None:
    proposal = WarmRestarts.plan(75, 3, warmup=5)[0]
    assert proposal == WarmRestarts(10, 2, warmup=5, cycle_limit=3)
    # Relative to its peak, until `fit` brings the rate.
    assert proposal(5.0) == 1.0
    assert proposal.for_fit(75, 0.2) == WarmRestarts(10, 2, 0.2, warmup=5, cycle_limit=3)


def test_table() -> None:
    assert str(WarmRestarts.plan(100, 4)) == (
        "T_0   T_mult  cycles  ends after epoch         whole epochs\n"
        "25    1       4       25, 50, 75, 100          yes\n"
        "20/3  2       4       6.6667, 20, 46.667, 100"
    )
    # Of many ends the first and the last.
    assert "30   1       40      30, 60, 90, 120, 150, 180, ..., 1200" in str(WarmRestarts.plan(1200, 40))
    # Lengths are exact, in fractions all of them.
    assert [row[:2] for row in WarmRestarts.plan(65, 4).rows] == [("8", "3/2"), ("13/3", "2"), ("65/4", "1")]


def test_order_is_said_where_numbers_of_cycles_differ() -> None:
    order = "Order: whole epochs first, then T_mult (2, 1, others), then the fewest cycles."
    assert str(WarmRestarts.plan(70)).splitlines()[-1] == order
    assert "Order" not in str(WarmRestarts.plan(70, 3))


def test_cycles_shorter_than_an_epoch_have_a_remark() -> None:
    *_, first, second, remark = str(WarmRestarts.plan(20, 5)).splitlines()
    assert (first.split()[0], second) == (
        "4",
        "20/31  2       5       0.64516, 1.9355, 4.5161, 9.6774, 20  T_0 below 1",
    )
    assert remark == "Cycles shorter than an epoch end without a validation: take fewer of them."
    assert "below 1" not in str(WarmRestarts.plan(20, 3))


@pytest.mark.parametrize("epochs", [1, 7, 71, 200, 9999])
@pytest.mark.parametrize("n_cycles", [None, 8, 40])
def test_table_fits_80_columns(epochs: int, n_cycles: int | None) -> None:
    assert max(map(len, str(WarmRestarts.plan(epochs, n_cycles)).splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"epochs": 0},
            "`epochs` must be a positive integer. Received: epochs=0. Pass the epochs that `fit` will run.",
        ),
        ({"epochs": 1.5}, "`epochs` must be a positive integer. Received: epochs=1.5."),
        ({"epochs": 10, "n_cycles": 0}, "`n_cycles` must be a positive integer or None. Received: n_cycles=0."),
        ({"epochs": 10, "n_cycles": True}, "Received: n_cycles=True."),
        ({"epochs": 10, "warmup": 10}, "leave some of the budget of 10 epochs to the cycles. Received: warmup=10."),
        ({"epochs": 10, "warmup": -1}, "`warmup` must be a number of epochs, 0 or more"),
        ({"epochs": 10, "warmup": "soon"}, "Received: warmup='soon'. Pass warmup=0 for none."),
        (
            {"epochs": 10, "n_cycles": 10**12},
            "`n_cycles` in 10 epochs must leave each at least 0.001 epochs. Received: n_cycles=1000000000000. "
            "Pass at most n_cycles=10000, or more epochs.",
        ),
    ],
    ids=str,
)
def test_budgets_that_cannot_be_met(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        WarmRestarts.plan(**arguments)
