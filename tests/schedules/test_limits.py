"""Every call on arguments that are accepted returns within two seconds, or the arguments are refused; and is right."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_sgdr import Cycle, Schedule, SGDRSchedule, StepDecay, WarmRestarts
from keras_sgdr.plotting import plot_learning_rate
from tests.support.literal import literal_rates
from tests.support.time_limit import within_seconds


def within_the_limit(call: Callable[[], Any]) -> Any:
    """What a call returns, or its `ValueError`."""
    with within_seconds(2):
        try:
            return call()
        except ValueError as error:
            return error


class Daily(Schedule):
    """A schedule of a user's own: a cycle an epoch, without end."""

    def __call__(self, t: Any) -> Any:
        return 1 - np.asarray(t) % 1

    def cycles(self, steps_per_epoch: int = 1) -> Iterator[Cycle]:
        return (Cycle.of(i, Fraction(i), Fraction(1), steps_per_epoch) for i in itertools.count())


# What each call returns, None where it is refused.
CALLS: dict[str, tuple[Callable[[], Any], Any]] = {
    "shrinking slowly": (lambda: WarmRestarts(10, 0.9999999)(0.0), 1.0),
    "shrinking more slowly": (lambda: WarmRestarts(10, 1 - 1e-12)(0.0), 1.0),
    "shrinking, later": (lambda: WarmRestarts(10, 1 - 1e-12)(5e4) > 0.99, True),
    "shrinking, much later": (lambda: WarmRestarts(10, 1 - 1e-12)(1e9), None),
    "growing slowly": (lambda: WarmRestarts(1, 1 + 1e-12)(2000.01) > 0.99, True),
    "growing slowly, much later": (lambda: WarmRestarts(1, 1 + 1e-12)(1e9), None),
    "a cycle of what grows slowly": (lambda: WarmRestarts(1, 1.0001).cycle_at(2e4).index, 10986),  # type: ignore[union-attr]
    "far away": (lambda: 0 < WarmRestarts(1, 2)(1e308) <= 1, True),
    "far away by fractions": (lambda: WarmRestarts(1, 1.5).cycle_at(1e308).index, 1747),  # type: ignore[union-attr]
    "far away among equal cycles": (lambda: WarmRestarts(10, 1)(1e300), None),
    "long cycles": (lambda: WarmRestarts(1e308, 1).learning_rates(2, 100)[-1], 1.0),
    "a long warmup": (lambda: WarmRestarts(10, warmup=1e300).learning_rates(2, 1), None),
    "tiny cycles": (lambda: WarmRestarts(1e-9, 1).learning_rates(10, 10), None),
    "tiny cycles that decay": (lambda: WarmRestarts(1e-6, 1, eta_max_decay=0.5).learning_rates(100, 1), None),
    "many limited cycles": (lambda: WarmRestarts(10, 1, cycle_limit=10**15)(1e9 + 5), 0.5),
    "too many limited cycles": (lambda: WarmRestarts(10, 1, cycle_limit=10**30), None),
    "rates of a long run": (lambda: WarmRestarts(10).learning_rates(10**12, 100), None),
    "rates of no run": (lambda: WarmRestarts(10).learning_rates(10**22, 100), None),
    "rates far into a run": (lambda: WarmRestarts(1, 1).learning_rates(10**13, 1, 10**13 - 5).tolist(), [1.0] * 5),
    "decay of a long run": (lambda: StepDecay(0.1).learning_rates(10**12, 100), None),
    "ends of many cycles": (lambda: WarmRestarts(10, 1).cycle_ends(10**9), None),
    "ends of many daily cycles": (lambda: Daily().cycle_ends(10**9), None),
    "ends of cycles of uneven lengths": (lambda: len(WarmRestarts(1, 0.999).cycle_ends(1e5)), 13809),
    "ends far away": (lambda: len(WarmRestarts(0.7, 1.5).cycle_ends(1e308)), 1748),
    "epochs of many cycles": (lambda: WarmRestarts(10, 2).epochs_for(10**5), None),
    "epochs of fewer cycles": (lambda: WarmRestarts(10, 2).epochs_for(10**4) == 10 * (2**10**4 - 1), True),
    "epochs of many equal cycles": (lambda: WarmRestarts(10, 1).epochs_for(10**5), 10**6),
    "epochs of too many daily cycles": (lambda: Daily().epochs_for(10**9), None),
    "a plan of many cycles": (lambda: WarmRestarts.plan(10**6, 10**6), None),
    "a plan of fewer": (lambda: len(str(WarmRestarts.plan(10, 10**4)).splitlines()), 3),
    "a plan of many epochs": (lambda: WarmRestarts.plan(10**400), None),
    "filled by many equal cycles": (
        lambda: WarmRestarts(None, 1, cycle_limit=10**9).for_fit(10, 0.1).T_0,
        Fraction(1, 10**8),
    ),
    "filled by too many cycles": (lambda: WarmRestarts(None, 1.0001, cycle_limit=10**9).for_fit(10, 0.1), None),
    "filled by cycles that grow slowly": (
        lambda: float(WarmRestarts(None, 1.0001, cycle_limit=700).for_fit(700, 0.1).T_0),  # type: ignore[arg-type]
        pytest.approx(0.9655, rel=1e-3),
    ),
    "in the graph, growing slowly": (lambda: SGDRSchedule(1, 1.0001, 0.1, steps_per_epoch=10), None),
    "in the graph, tiny cycles": (lambda: SGDRSchedule(1e-7, 1, 0.1, steps_per_epoch=10), None),
    "in the graph, shrinking slowly": (lambda: SGDRSchedule(1, 0.999, 0.1, steps_per_epoch=10).name, "SGDRSchedule"),
    "a picture of many cycles": (lambda: plot_learning_rate(WarmRestarts(2e-10, 1), 1), None),
    "a picture of cycles of uneven lengths": (
        lambda: len(plot_learning_rate(WarmRestarts(1, 0.999), 1000).lines[0].get_markevery()),  # type: ignore[arg-type]
        20,
    ),
    "a picture of many epochs": (lambda: plot_learning_rate(WarmRestarts(1), 10**22), None),
}


@pytest.mark.parametrize("name", CALLS)
def test_returns_in_time_or_is_refused(name: str) -> None:
    mpl.use("Agg")
    call, expected = CALLS[name]
    returned = within_the_limit(call)
    plt.close("all")
    if expected is None:
        assert isinstance(returned, ValueError)
        # Of this package, not from inside: the rule, what was received, the fix.
        assert re.search(r"Received: .*\. (Pass|Choose) ", str(returned)), returned
    else:
        assert returned == expected


def test_the_number_of_cycles_that_shrink() -> None:
    for T_0, T_mult in ((4, 0.5), (10, 0.9), (3, 0.97), (1e-6, 0.5), (1e-7, 0.5)):
        lengths = [T_0]
        while T_0 * T_mult ** len(lengths) >= 1e-6:
            lengths.append(T_0 * T_mult ** len(lengths))
        assert len(list(WarmRestarts(T_0, T_mult).cycles())) == len(lengths)
        assert len(list(WarmRestarts(T_0, T_mult, cycle_limit=2).cycles())) == min(2, len(lengths))


def test_epochs_are_rounded_up_from_the_exact_end() -> None:
    # The end is 10 + 1e-20 epochs, which rounds to 10.0.
    assert WarmRestarts(Fraction(10**21 + 1, 10**20), 1, cycle_limit=1).epochs_for(1) == 11
    assert WarmRestarts("1/3", 1, warmup="2/3").epochs_for(1) == 1


# Numbers that are beyond an integer of 64 bits, or a float


def test_step_decay_of_more_drops_than_an_integer_holds() -> None:
    decay = StepDecay(0.1, 1e-18)
    assert decay(20.0) == 0.0
    assert decay([0.0, 20.0, 1e300]).tolist() == [0.1, 0.0, 0.0]
    assert decay.learning_rates(21, 1)[-1] == 0.0
    assert StepDecay(0.1, 1e-18, gamma=1.0)(20.0) == 0.1
    assert StepDecay(0.1, 5e-324)(20.0) == 0.0
    # 3 * 10**17 drops an update are more than 64 bits hold after a few.
    many = StepDecay(1.0, Fraction(1, 3 * 10**17), gamma=math.nextafter(1, 0))
    rates = many.learning_rates(100, 1)
    assert rates[99] == pytest.approx(math.exp(99 * 3e17 * math.log1p(-(2**-53))), rel=1e-9)
    # Beside such a position, others are as exact as ever.
    third = StepDecay(1.0, "1/3", gamma=0.5)
    t = np.array([1 / 3, 2 / 3, 0.9999999, 1e17])
    assert third(t).tolist() == [0.5, 0.25, 0.25, 0.0]


@pytest.mark.parametrize("t", [10.0**9, 10.0**15, 2.0**53 - 5])
def test_equal_cycles_far_away(t: float) -> None:
    (expected,) = literal_rates([int(t)], 1, Fraction(10))
    assert WarmRestarts(10, 1)(t) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("rate", [1e39, 1e-46])
def test_rates_beyond_the_optimizers_precision_are_refused_in_the_graph(rate: float) -> None:
    message = rf"must be within the optimizer's float32\. Received: highest rate={re.escape(repr(rate))}\. Pass another"
    with pytest.raises(ValueError, match=message):
        SGDRSchedule(10, eta_max=rate, steps_per_epoch=5)
    with pytest.raises(ValueError, match=message):
        SGDRSchedule(10, eta_max=[0.1, rate] if rate > 1 else [rate, rate], steps_per_epoch=5)


def test_rates_that_decay_to_nothing_are_no_fault() -> None:
    schedule = SGDRSchedule(1, 1, 0.1, eta_max_decay=0.1, steps_per_epoch=5)
    assert float(schedule(5 * 60)) == 0.0
