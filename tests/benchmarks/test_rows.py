"""Ratios, their quartiles, and whether a goal is met."""

from __future__ import annotations

import pytest

from benchmarks.rows import Row, difference, ratio, readable


def test_a_ratio_is_that_of_two_times_of_one_round() -> None:
    """Times that grow tenfold from round to round: medians of the times would hide that ours is always half."""
    row = ratio("ours", "theirs", [1, 10, 100, 1000], [2, 20, 200, 2000], at_most=0.6)
    assert row.quartiles == pytest.approx((0.5, 0.5, 0.5))
    assert (row.rounds, row.met) == (4, "yes")


def test_quartiles() -> None:
    row = ratio("ours", "theirs", [4, 1, 3, 2, 5], [1, 1, 1, 1, 1])
    assert row.quartiles == pytest.approx((2, 3, 4))
    assert (row.ours, row.theirs) == ("3 s", "1 s")
    assert ratio("ours", "theirs", [1.0], [4.0], per=1000).ours == "1 ms"


@pytest.mark.parametrize(
    ("quartiles", "met"),
    [
        ((0.9, 1.0, 1.1), "yes"),
        ((1.0, 1.02, 1.1), "yes"),
        ((1.0, 1.021, 1.1), "within the spread"),
        ((1.021, 1.03, 1.1), "no"),
        (None, ""),
    ],
)
def test_a_goal_is_held_against_the_median(quartiles: tuple[float, float, float] | None, met: str) -> None:
    assert Row("ours", "theirs", quartiles, at_most=1.02).met == met
    assert Row("ours", "theirs", quartiles).met == ""


def test_rounds_must_be_paired() -> None:
    for ours, theirs in (([1.0], [1.0, 2.0]), ([], [])):
        with pytest.raises(ValueError, match="a time in each round"):
            ratio("ours", "theirs", ours, theirs)


def test_a_difference_is_in_milliseconds() -> None:
    row = difference("ours", "theirs", [0.02, 0.01, 0.03], 30, theirs=[1.0, 1.0, 1.0])
    assert row.quartiles == pytest.approx((15, 20, 25))
    assert (row.unit, row.met, row.ours, row.theirs) == ("ms", "yes", "1.02 s", "1 s")


def test_times_are_readable() -> None:
    times = [readable(seconds) for seconds in (4e-6, 7.123e-4, 0.0123, 1.0, 61.26, 123456)]
    assert times == ["4 µs", "712 µs", "12.3 ms", "1 s", "61.3 s", "123,456 s"]
