"""WarmRestarts against a loop that follows the paper literally, in exact arithmetic."""

from __future__ import annotations

import doctest
import json
import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sgdr import Cycle, Schedule, StepDecay, WarmRestarts
from keras_sgdr.schedules import step_decay, warm_restarts
from tests.support.literal import (
    FACTORS,
    FLOAT64,
    LENGTHS,
    STEPS_PER_EPOCH,
    UPDATES,
    around,
    boundaries,
    literal_rates,
    restarts_among,
)
from tests.support.time_limit import within_seconds


def index_at(schedule: Schedule, t: float) -> int | None:
    """Index of the cycle at a position, None outside the cycles."""
    cycle = schedule.cycle_at(t)
    return None if cycle is None else cycle.index


# Every boundary

# Each pair of lengths with one number of steps; every number comes with each length and each factor.
GRIDS = [
    (T_0, T_mult, STEPS_PER_EPOCH[(i + j) % len(STEPS_PER_EPOCH)])
    for i, T_0 in enumerate(LENGTHS)
    for j, T_mult in enumerate(FACTORS)
]


@pytest.mark.parametrize(("T_0", "T_mult", "steps_per_epoch"), GRIDS, ids=str)
def test_every_boundary_and_its_neighbours(T_0: Fraction, T_mult: Fraction, steps_per_epoch: int) -> None:
    begins = boundaries(T_0, T_mult, steps_per_epoch, first=500, spread=500)
    updates = around(begins)
    # 0.001 + (0.01 - 0.001) is not 0.01 in float64: the peak must be exact all the same.
    restarts = WarmRestarts(float(T_0), float(T_mult), eta_max=0.01, eta_min=0.001)
    rates = warm_restarts.rates_of_updates(restarts.on_grid(steps_per_epoch, UPDATES + 2), np.array(updates))

    exactly = restarts_among(updates, T_0, T_mult, steps_per_epoch)
    assert exactly.any()
    np.testing.assert_array_equal(rates[exactly], 0.01)
    # An update just after a boundary between two updates may round to the peak; one before a boundary does not.
    before = np.isin(updates, [math.ceil(begin) - 1 for begin in begins])
    assert np.all(rates[before & ~exactly] != 0.01)
    expected = literal_rates(updates, steps_per_epoch, T_0, T_mult, 0.01, 0.001)
    np.testing.assert_allclose(rates, expected, rtol=0, atol=FLOAT64 * 0.01)
    # The same positions, asked in epochs: the boundaries are float64's nearest, so no restart is missed there either.
    np.testing.assert_array_equal(restarts(np.array(updates)[exactly] / steps_per_epoch), 0.01)
    assert np.all(restarts(np.array(updates)[before & ~exactly] / steps_per_epoch) != 0.01)


@pytest.mark.parametrize("steps_per_epoch", [1, 7])
@pytest.mark.parametrize("T_mult", FACTORS, ids=str)
@pytest.mark.parametrize("T_0", LENGTHS, ids=str)
def test_every_update_of_a_short_run(T_0: Fraction, T_mult: Fraction, steps_per_epoch: int) -> None:
    rates = WarmRestarts(T_0, T_mult, 0.1, 0.001).learning_rates(200, steps_per_epoch)
    expected = literal_rates(range(200 * steps_per_epoch), steps_per_epoch, T_0, T_mult, 0.1, 0.001)
    np.testing.assert_allclose(rates, expected, rtol=0, atol=FLOAT64 * 0.1)


def test_known_restarts_that_a_logarithm_misses() -> None:
    # Keras misses the first two, PyTorch's `step(epoch)` the others: found by their authors' users.
    for T_0, T_mult, epoch in [(10, 2, 81910), (10, 2, 327670), (1, 3, 121), (10, 3, 1210), (1, 10, 111), (1, 9, 7381)]:
        rates = WarmRestarts(T_0, T_mult, eta_max=0.1).learning_rates(epoch + 1, 1, initial_epoch=epoch - 1)
        assert rates[1] == 0.1 > rates[0]


def test_hundreds_of_cycles_of_an_uneven_factor() -> None:
    # The 346 cycles' lengths are fractions over powers of 100, beyond float64's range.
    updates = np.unique(np.random.default_rng(0).integers(0, 9000, 1000)).tolist()
    rates = warm_restarts.rates_of_updates(WarmRestarts(1, 1.01, end="inclusive").on_grid(3, 9000), np.array(updates))
    expected = literal_rates(updates, 3, Fraction(1), Fraction(101, 100), end="inclusive")
    np.testing.assert_allclose(rates, expected, rtol=0, atol=FLOAT64)


def test_numbers_as_they_are_meant() -> None:
    lengths: list[tuple[float | str | Fraction, int, int]]
    lengths = [(0.1, 10, 1), (1 / 3, 3, 1), ("1/3", 3, 1), (Fraction(2, 3), 3, 2), (0.7, 10, 7)]
    for T_0, n, length in lengths:
        rates = WarmRestarts(T_0, 1).learning_rates(50_000, n)
        np.testing.assert_array_equal(np.flatnonzero(rates == 1), np.arange(0, 50_000 * n, length))


def test_numpy_integers_do_not_overflow() -> None:
    ten: Any = np.int64(10)
    assert WarmRestarts(ten, ten, cycle_limit=3 * ten).cycle_ends(1e25) == WarmRestarts(10, 10).cycle_ends(1e25)
    restarts = WarmRestarts(10, 1.5)
    np.testing.assert_array_equal(restarts.learning_rates(500 * ten, 6 * ten), restarts.learning_rates(5000, 60))


@pytest.mark.parametrize("T_0", [math.pi, math.e / 100, 0.1234567890123])
def test_a_length_that_is_no_simple_fraction(T_0: float) -> None:
    exactly = Fraction(T_0)
    restarts = WarmRestarts(T_0, 1)
    expected = literal_rates(range(3000), 3, exactly)
    np.testing.assert_allclose(restarts.learning_rates(1000, 3), expected, rtol=0, atol=FLOAT64)
    for i in (1, 20_001, 10**6 + 1, 10**9 + 1):
        begin = float(i * exactly)
        assert restarts.cycle_at(begin) == Cycle.of(i, i * exactly, exactly, 1)
        assert index_at(restarts, math.nextafter(begin, 0)) == i - 1


def test_a_position_just_before_a_boundary_whose_quotient_rounds_up() -> None:
    for T_0, warmup, i in [("8/3", "7/5", 11), ("2/3", "8/3", 91), ("7/5", "5/3", 149)]:
        end = float(Fraction(warmup) + i * Fraction(T_0))
        before = math.nextafter(end, 0)
        restarts = WarmRestarts(T_0, 1, warmup=warmup)
        assert (before - float(Fraction(warmup))) // float(Fraction(T_0)) == i
        assert [index_at(restarts, t) for t in (before, end)] == [i - 1, i]


def test_positions_of_more_than_one_dimension_and_none() -> None:
    restarts = WarmRestarts(2, 2, warmup=1)
    t = np.array([[0.0, 0.5, 1.0], [2.9, 3.0, 7.1]])
    np.testing.assert_array_equal(restarts(t), [[restarts(float(x)) for x in row] for row in t])
    assert isinstance(restarts(2), float)
    assert restarts([]).shape == (0,)
    assert restarts.learning_rates(0, 5).shape == (0,)
    assert restarts.learning_rates(3, 5, initial_epoch=3).shape == (0,)


# Random schedules


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    fraction = st.builds(Fraction, st.integers(1, 12), st.integers(1, 6))
    factors = ["1/2", "2/3", "9/10", "1", "1", "10/9", "3/2", "2", "3"]
    rate = st.floats(1e-5, 1.0)
    chosen: dict[str, Any] = {
        "T_0": draw(fraction),
        "T_mult": Fraction(draw(st.sampled_from(factors))),
        "warmup": draw(st.just(Fraction(0)) | fraction),
        "cycle_limit": draw(st.none() | st.integers(1, 8)),
        "end": draw(st.sampled_from(["exclusive", "inclusive"])),
    }
    for name, rates in (("eta_max", rate.map(lambda value: value + 1)), ("eta_min", st.just(0.0) | rate)):
        if draw(st.booleans()):
            chosen[name] = draw(st.lists(rates, min_size=1, max_size=min(4, chosen["cycle_limit"] or 4)))
        else:
            chosen[name] = draw(rates)
            chosen[f"{name}_decay"] = draw(st.just(1.0) | st.floats(0.1, 1.0))
    return chosen


@settings(max_examples=300, deadline=None)
@given(options(), st.integers(1, 20), st.integers(0, 30), st.integers(0, 20))
def test_random_schedules(options: dict[str, Any], steps_per_epoch: int, initial_epoch: int, epochs: int) -> None:
    restarts = WarmRestarts(**options)
    peak = np.max(options["eta_max"])
    updates = range(initial_epoch * steps_per_epoch, (initial_epoch + epochs) * steps_per_epoch)
    rates = restarts.learning_rates(initial_epoch + epochs, steps_per_epoch, initial_epoch)
    expected = literal_rates(updates, steps_per_epoch, **options)
    np.testing.assert_allclose(rates, expected, rtol=0, atol=FLOAT64 * peak)

    again = WarmRestarts.from_config(json.loads(json.dumps(restarts.get_config())))
    np.testing.assert_array_equal(again.learning_rates(initial_epoch + epochs, steps_per_epoch, initial_epoch), rates)


@settings(max_examples=100, deadline=None)
@given(options(), st.integers(1, 12))
def test_the_curve_the_cycles_and_the_updates_agree(options: dict[str, Any], steps_per_epoch: int) -> None:
    options = {**options, "end": "exclusive"}
    restarts = WarmRestarts(**options)
    epochs = 15
    t = np.arange(epochs * steps_per_epoch) / steps_per_epoch
    rates = restarts.learning_rates(epochs, steps_per_epoch)
    parts = list(restarts.split(range(len(t)), steps_per_epoch))
    assert [k for _, updates in parts for k in updates] == list(range(len(t)))

    # A position and the begin of its cycle are rounded to float64, by half a unit in the last place each, and one more
    # in their difference; the slope of the cosine is at most pi / 2 a cycle.
    peak = np.max(options["eta_max"])
    slopes = np.zeros(len(t))
    for cycle, updates in parts:
        if cycle is None:
            slopes[updates.start : updates.stop] = 1 / float(options["warmup"] or 1)
        else:
            slopes[updates.start : updates.stop] = 1 / float(cycle.length)
    np.testing.assert_array_less(
        np.abs(restarts(t) - rates), peak * (FLOAT64 + math.pi / 2 * 1.5 * np.spacing(t) * slopes)
    )
    np.testing.assert_array_equal(restarts(t), [restarts(position) for position in t.tolist()])

    listed = {name: np.atleast_1d(options[name]) for name in ("eta_max", "eta_min")}
    previous = -1
    for cycle, updates in parts:
        for position in t[updates.start : updates.stop].tolist():
            assert restarts.cycle_at(position) == (None if cycle is None else replace_steps(cycle))
        if cycle is None:
            # Warmup, or after the last.
            assert updates.start == 0 or next(restarts.cycles_from(updates.start, steps_per_epoch), None) is None
            continue
        assert cycle.index > previous
        previous = cycle.index
        assert (updates.start, updates.stop) == (cycle.first, min(cycle.stop, len(t)))
        assert cycle.start * steps_per_epoch <= updates.start < updates.stop <= math.ceil(cycle.end * steps_per_epoch)
        # Within the cycle's own bounds, and down, never up, from its first update to its last.
        most, least = (
            listed[name][min(cycle.index, len(listed[name]) - 1)] * options.get(f"{name}_decay", 1.0) ** cycle.index
            for name in ("eta_max", "eta_min")
        )
        ulp = np.spacing(most)  # The sum of floor and range is rounded.
        run = rates[updates.start : updates.stop]
        assert np.all((run <= most + ulp) & (run >= min(least, most) - ulp))
        assert np.all(np.diff(run) <= ulp)


def replace_steps(cycle: Cycle) -> Cycle:
    """The cycle, its updates counted one for each epoch."""
    return Cycle.of(cycle.index, cycle.start, cycle.length, 1)


@settings(max_examples=100, deadline=None)
@given(options())
def test_ends_of_cycles(options: dict[str, Any]) -> None:
    restarts = WarmRestarts(**options)
    ends = restarts.cycle_ends(40)
    begins = [float(options["warmup"]), *ends]
    for i, end in enumerate(ends[:20]):
        before, after = restarts.cycle_at(math.nextafter(end, 0)), restarts.cycle_at(end)
        assert before is not None
        assert (before.index, float(before.start), float(before.end)) == (i, begins[i], end)
        if after is None:
            assert i + 1 == len(list(restarts.cycles()))
        else:
            assert (after.index, after.start) == (i + 1, before.end)
        assert restarts.epochs_for(i + 1) == math.ceil(end)
        assert restarts.cycle_ends(end) == ends[: i + 1]
        assert restarts.cycle_ends(math.nextafter(end, 0)) == ends[:i]
    exact_end = options["warmup"] + sum(options["T_0"] * options["T_mult"] ** i for i in range(len(ends)))
    assert begins[-1] == float(exact_end)


# Each option


def test_both_ends() -> None:
    # T_0=2, two updates an epoch: T_cur of the updates is 0, .5, 1, 1.5 of 2, or 0, 1, 2, 3 of 3.
    exclusive = WarmRestarts(2, 1, 1.0, 0.2).learning_rates(4, 2)
    inclusive = WarmRestarts(2, 1, 1.0, 0.2, end="inclusive").learning_rates(4, 2)
    for rates, of in ((exclusive, 4), (inclusive, 3)):
        expected = [0.6 + 0.4 * math.cos(math.pi * k / of) for k in range(4)] * 2
        np.testing.assert_allclose(rates, expected, rtol=0, atol=FLOAT64)
        assert rates[0] == rates[4] == 1.0
    assert inclusive[3] == inclusive[7] == 0.2 < exclusive[3]


@pytest.mark.parametrize("T_mult", FACTORS, ids=str)
def test_an_inclusive_cycle_ends_exactly_on_eta_min(T_mult: Fraction) -> None:
    restarts = WarmRestarts(2, T_mult, 0.1, 0.007, end="inclusive")
    rates = restarts.learning_rates(3000, 7)
    last = [math.ceil(Fraction(end).limit_denominator(10**6) * 7) - 1 for end in restarts.cycle_ends(3000)]
    np.testing.assert_array_equal(rates[last], 0.007)


def test_an_inclusive_cycle_of_one_update_runs_at_eta_max() -> None:
    np.testing.assert_array_equal(WarmRestarts(1, 1, end="inclusive").learning_rates(5, 1), 1.0)
    np.testing.assert_array_equal(WarmRestarts(1, 2, end="inclusive").learning_rates(3, 1), [1.0, 1.0, 0.0])


def test_warmup_comes_before_the_first_cycle_only() -> None:
    restarts = WarmRestarts(2, 1, 1.0, 0.2, warmup=1)
    rates = restarts.learning_rates(7, 4)
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0], rtol=0, atol=FLOAT64)
    np.testing.assert_array_equal(rates[4:], WarmRestarts(2, 1, 1.0, 0.2).learning_rates(6, 4))
    assert restarts.cycle_at(0.25) is None
    assert restarts.cycle_at(1) == Cycle(0, Fraction(1), Fraction(2), first=1, stop=3)
    assert restarts.cycle_ends(7) == [3, 5, 7]
    assert restarts.epochs_for(2) == 5


def test_after_the_last_cycle_the_floor_is_held() -> None:
    restarts = WarmRestarts(1, 2, 1.0, [0.3, 0.2], cycle_limit=2)
    rates = restarts.learning_rates(8, 5)
    np.testing.assert_array_equal(rates[:15], WarmRestarts(1, 2, 1.0, [0.3, 0.2, 0.1]).learning_rates(3, 5))
    np.testing.assert_array_equal(rates[15:], 0.2)
    np.testing.assert_array_equal(restarts(np.arange(15, 40) / 5), 0.2)
    assert restarts.cycle_at(7.5) is None
    assert restarts.cycle_ends(100) == [1, 3]
    for T_mult in (1, 2):
        decaying = WarmRestarts(1, T_mult, 1.0, 0.4, eta_min_decay=0.5, cycle_limit=3)
        assert decaying(50.0) == decaying.learning_rates(51, 2)[-1] == 0.1


def test_cycles_below_one_shrink_to_a_limit() -> None:
    restarts = WarmRestarts(4, 0.5, 1.0, 0.1)  # 4 + 2 + 1 + ... = 8
    rates = restarts.learning_rates(20, 8)
    for start in (0, 4, 6, 7, 7.5, 7.75):
        assert rates[int(start * 8)] == 1.0
    np.testing.assert_array_equal(rates[8 * 8 :], 0.1)
    assert restarts(8.0) == restarts(1e6) == 0.1
    ends = restarts.cycle_ends(1000)
    assert ends[:4] == [4, 6, 7, 7.5]
    assert 8 - 2e-6 < ends[-1] < 8
    assert restarts.epochs_for(len(ends)) == 8


def test_rates_of_each_cycle() -> None:
    first = [0, 1, 2, 3, 4]
    assert WarmRestarts(1, 1, eta_max=[0.3, 0.1, 0.2])(first).tolist() == [0.3, 0.1, 0.2, 0.2, 0.2]
    array: Any = np.array([0.3, 0.1])
    assert WarmRestarts(1, 1, eta_max=array)(first).tolist() == [0.3, 0.1, 0.1, 0.1, 0.1]
    assert WarmRestarts(1, 1, eta_max=0.5, eta_max_decay=0.5)(first).tolist() == [0.5, 0.25, 0.125, 0.0625, 0.03125]
    floors = WarmRestarts(1, 1, 0.5, 0.25, eta_min_decay=0.5, end="inclusive").learning_rates(4, 2)[1::2]
    assert floors.tolist() == [0.25, 0.125, 0.0625, 0.03125]


def test_the_floor_never_exceeds_the_decaying_peak() -> None:
    rates = WarmRestarts(1, 1, 1.0, 0.25, eta_max_decay=0.5).learning_rates(5, 4)
    np.testing.assert_array_equal(rates[8:], np.repeat([0.25, 0.125, 0.0625], 4))


def test_rates_that_decay_to_nothing() -> None:
    # The smallest numbers repeat before they are zero, while the floor is far from it.
    restarts = WarmRestarts(1, 1, 1.0, 0.5, eta_max_decay=0.9, eta_min_decay=0.9999)
    rates = restarts.learning_rates(10_000, 2)
    np.testing.assert_array_equal(rates[::2], np.float_power(0.9, np.arange(10_000)))
    assert np.all(np.diff(rates[::2]) <= 0)
    assert rates[-1] == 0
    assert restarts(1e9) == 0


# StepDecay


@settings(max_examples=100, deadline=None)
@given(
    st.builds(Fraction, st.integers(1, 30), st.integers(1, 7)) | st.floats(0.1, 10).map(Fraction),
    st.floats(0.01, 1.0),
    st.integers(1, 20),
    st.integers(0, 30),
)
def test_step_decay(step_size: Fraction, gamma: float, steps_per_epoch: int, initial_epoch: int) -> None:
    decay = StepDecay(0.5, step_size, gamma)
    updates = range(initial_epoch * steps_per_epoch, 60 * steps_per_epoch)
    expected = [0.5 * gamma ** (Fraction(k, steps_per_epoch) // step_size) for k in updates]
    rates = decay.learning_rates(60, steps_per_epoch, initial_epoch)
    # NumPy's power may round otherwise than Python's.
    np.testing.assert_allclose(rates, expected, rtol=FLOAT64)
    again = StepDecay.from_config(json.loads(json.dumps(decay.get_config())))
    np.testing.assert_array_equal(again.learning_rates(60, steps_per_epoch, initial_epoch), rates)
    t = np.array([float(i * step_size) for i in range(10)])
    np.testing.assert_allclose(decay(t), 0.5 * gamma ** np.arange(10), rtol=FLOAT64)
    np.testing.assert_allclose(decay(np.nextafter(t[1:], 0)), 0.5 * gamma ** np.arange(9), rtol=FLOAT64)


def test_step_decay_has_no_cycles() -> None:
    decay = StepDecay(0.1)
    assert decay([0, 59.9, 60, 120]).tolist() == pytest.approx([0.1, 0.1, 0.01, 0.001], rel=FLOAT64)
    assert isinstance(decay(3), float)
    assert decay.cycle_at(70) is None
    assert decay.cycle_ends(1000) == []
    with pytest.raises(ValueError, match=r"at most 0, the number of cycles that are run\. Received: n_cycles=3"):
        decay.epochs_for(3)


def test_step_decay_far_into_a_run() -> None:
    # k * denominator needs more than 64 bits.
    decay = StepDecay(1.0, math.pi, 0.5)
    k = 10**6
    rates = decay.learning_rates(k + 40, 10, initial_epoch=k)
    drops = [Fraction(i, 10) // Fraction(math.pi) for i in range(10 * k, 10 * (k + 40))]
    np.testing.assert_array_equal(rates, [math.ldexp(1.0, -drop) for drop in drops])


# The rest


def test_both_schedules_are_schedules() -> None:
    schedules: list[Schedule] = [WarmRestarts(10), StepDecay(0.1)]  # Checked by mypy.
    for schedule in schedules:
        assert schedule.learning_rates(3, 2, 1).shape == (4,)
        assert schedule(0.0) == schedule.learning_rates(1, 1)[0]
        assert schedule.cycle_ends(9.5) == []


@pytest.mark.parametrize("T_0", [Fraction(1, 3), "1/3", 1 / 3, 10, Fraction(1234567, 7654321), math.pi])
def test_configuration_round_trip(T_0: Any) -> None:
    options: dict[str, Any] = {"warmup": "1/7", "cycle_limit": np.int64(4), "end": "inclusive"}
    quarter: Any = np.float32(0.25)
    for schedule in (
        WarmRestarts(T_0, "3/2", [1, 0.5], quarter, **options),
        WarmRestarts(T_0, eta_max_decay=quarter, eta_min_decay=1),
        StepDecay(quarter, T_0, quarter),
    ):
        config = json.loads(json.dumps(schedule.get_config()))
        again = type(schedule).from_config(config)
        assert again.get_config() == schedule.get_config()
        np.testing.assert_array_equal(again.learning_rates(50, 7), schedule.learning_rates(50, 7))


def test_examples_in_docstrings() -> None:
    for module in (warm_restarts, step_decay):
        assert doctest.testmod(module) == (0, doctest.testmod(module).attempted)
        assert doctest.testmod(module).attempted > 0


@pytest.mark.parametrize("arguments", [(10, 2), (1, 1), ("1/3", 1), (10, 1.5)], ids=str)
def test_ten_million_updates(arguments: tuple[Any, Any]) -> None:
    restarts = WarmRestarts(*arguments)
    # 0.3 s of processor time on two shared cores; a loop in Python takes 5 s and more.
    with within_seconds(2):
        assert restarts.learning_rates(10**6, 10).shape == (10**7,)


# Errors

NUMBERS = [0, -1, math.nan, math.inf, -math.inf, True, "ten", "1/0", "1e999", 10**400, [10]]
NOT_POSITIVE = [*NUMBERS, "-1/2", "0"]


def message(rule: str, name: str, value: Any) -> str:
    return re.escape(f"{rule} Received: {name}={value!r}. ")


@pytest.mark.parametrize("value", NOT_POSITIVE, ids=lambda value: repr(value)[:9])
def test_lengths_out_of_range(value: Any) -> None:
    with pytest.raises(ValueError, match=message("`T_0` must be a positive number of epochs.", "T_0", value) + "Pass"):
        WarmRestarts(T_0=value)
    with pytest.raises(ValueError, match=message("`T_mult` must be a positive number.", "T_mult", value) + "Pass T_mu"):
        WarmRestarts(10, T_mult=value)
    rule = "`step_size` must be a positive number of epochs."
    with pytest.raises(ValueError, match=message(rule, "step_size", value) + "Pass the epochs between two drops"):
        StepDecay(0.1, step_size=value)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, True, "soon", None, "-1/2"], ids=repr)
def test_warmup_out_of_range(value: Any) -> None:
    with pytest.raises(ValueError, match=message("`warmup` must be a number of epochs, 0 or more.", "warmup", value)):
        WarmRestarts(10, warmup=value)


@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, True, "3", [3]], ids=repr)
def test_cycles_out_of_range(value: Any) -> None:
    with pytest.raises(
        ValueError, match=message("`cycle_limit` must be a positive integer or None.", "cycle_limit", value)
    ):
        WarmRestarts(10, cycle_limit=value)
    with pytest.raises(ValueError, match=message("`n_cycles` must be a positive integer.", "n_cycles", value)):
        WarmRestarts(10).epochs_for(value)


@pytest.mark.parametrize("value", ["open", None, True], ids=repr)
def test_unknown_end(value: Any) -> None:
    with pytest.raises(ValueError, match=message('`end` must be "exclusive" or "inclusive".', "end", value)):
        WarmRestarts(10, end=value)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True, "0.1", {}, 10**400], ids=lambda v: repr(v)[:9])
def test_rates_out_of_range(value: Any) -> None:
    for bad in (value, [0.1, value]):
        rule = "`eta_max` must be a finite positive number, or a list of such."
        with pytest.raises(ValueError, match=message(rule, "eta_max", bad) + "Pass a learning rate"):
            WarmRestarts(10, eta_max=bad)
        rule = "`eta_min` must be a finite non-negative number, or a list of such."
        with pytest.raises(ValueError, match=message(rule, "eta_min", bad) + "Pass eta_min=0"):
            WarmRestarts(10, eta_min=bad)
    with pytest.raises(ValueError, match=message("`eta` must be a finite positive number.", "eta", value)):
        StepDecay(value)


def test_a_peak_of_zero_and_a_floor_of_zero() -> None:
    with pytest.raises(ValueError, match=r"`eta_max` must be a finite positive number.*eta_max=0\. "):
        WarmRestarts(10, eta_max=0)
    assert WarmRestarts(10, eta_min=0).eta_min == 0


@pytest.mark.parametrize("value", [0, -0.5, 1.5, math.nan, math.inf, True, "0.5", None, [0.5]], ids=repr)
@pytest.mark.parametrize("name", ["eta_max_decay", "eta_min_decay"])
def test_decays_out_of_range(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=message(f"`{name}` must be a number in (0, 1].", name, value)):
        WarmRestarts(10, **{name: value})


@pytest.mark.parametrize("value", [0, -0.5, 1.5, math.nan, True, "0.5"], ids=repr)
def test_gamma_out_of_range(value: Any) -> None:
    with pytest.raises(ValueError, match=message("`gamma` must be a number in (0, 1].", "gamma", value)):
        StepDecay(0.1, gamma=value)


@pytest.mark.parametrize("name", ["eta_max", "eta_min"])
def test_lists_of_the_wrong_length(name: str) -> None:
    rule = f"A list for `{name}` must have one rate per cycle: at least 1"
    none: dict[str, Any] = {name: []}
    with pytest.raises(ValueError, match=message(rule + ".", name, []) + "The last rate holds on"):
        WarmRestarts(10, **none)
    three: dict[str, Any] = {name: [0.3, 0.2, 0.1]}
    with pytest.raises(ValueError, match=message(rule + ", at most cycle_limit=2.", name, [0.3, 0.2, 0.1])):
        WarmRestarts(10, cycle_limit=2, **three)


@pytest.mark.parametrize("name", ["eta_max", "eta_min"])
def test_a_list_does_not_decay(name: str) -> None:
    rule = f"A list for `{name}` already says every cycle's rate, so `{name}_decay` must be 1."
    options: dict[str, Any] = {name: [0.2, 0.1], f"{name}_decay": 0.5}
    with pytest.raises(ValueError, match=message(rule, f"{name}_decay", 0.5) + f"Pass a number for `{name}`, or"):
        WarmRestarts(10, **options)


def test_a_floor_above_the_peak() -> None:
    rule = "`eta_min` must not exceed `eta_max`, in cycle {} either."
    with pytest.raises(ValueError, match=message(rule.format(0), "(eta_min, eta_max)", (0.2, 0.1)) + "Lower"):
        WarmRestarts(10, eta_max=0.1, eta_min=0.2)
    with pytest.raises(ValueError, match=message(rule.format(2), "(eta_min, eta_max)", (0.2, 0.1))):
        WarmRestarts(10, eta_max=[0.3, 0.2, 0.1], eta_min=0.2)
    with pytest.raises(ValueError, match=message(rule.format(1), "(eta_min, eta_max)", (0.5, 0.3))):
        WarmRestarts(10, eta_max=0.3, eta_min=[0.2, 0.5])
    assert WarmRestarts(10, eta_max=0.1, eta_min=0.1).learning_rates(5, 3).tolist() == [0.1] * 15


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, [1.0, -2.0]], ids=repr)
def test_positions_out_of_range(value: Any) -> None:
    expected = message("A position must be a finite number of epochs, 0 or more.", "t", value) + "Positions count from"
    asked: list[Any] = [WarmRestarts(10), WarmRestarts(10, 2), WarmRestarts(10).cycle_at, WarmRestarts(10).cycle_ends]
    for ask in [*asked, StepDecay(0.1), StepDecay(0.1).cycle_at]:
        with pytest.raises(ValueError, match=expected):
            ask(value)


def test_more_cycles_than_are_run() -> None:
    rule = "`n_cycles` must be at most 3, the number of cycles that are run."
    with pytest.raises(ValueError, match=message(rule, "n_cycles", 4) + "Pass how many cycles to complete"):
        WarmRestarts(10, 2, cycle_limit=3).epochs_for(4)
    assert WarmRestarts(10, 2, cycle_limit=3).epochs_for(3) == 70
    with pytest.raises(ValueError, match=r"at most 22, the number of cycles that are run\. Received: n_cycles=100"):
        WarmRestarts(4, 0.5).epochs_for(100)


def kind(least: int) -> str:
    return "a positive integer" if least == 1 else f"an integer, {least} or more"


@pytest.mark.parametrize("schedule", [WarmRestarts(10), StepDecay(0.1)], ids=["SGDR", "step decay"])
def test_updates_out_of_range(schedule: Schedule) -> None:
    for epochs, steps, first, name, least, value in (
        (-1, 5, 0, "epochs", 0, -1),
        (2, 5, 3, "epochs", 3, 2),
        (1.5, 5, 0, "epochs", 0, 1.5),
        (True, 5, 0, "epochs", 0, True),
        (3, 0, 0, "steps_per_epoch", 1, 0),
        (3, None, 0, "steps_per_epoch", 1, None),
        (3, 2.0, 0, "steps_per_epoch", 1, 2.0),
        (3, 5, -1, "initial_epoch", 0, -1),
        (3, 5, math.nan, "initial_epoch", 0, math.nan),
    ):
        expected = message(f"`{name}` must be {kind(least)}.", name, value) + "Pass the numbers"
        with pytest.raises(ValueError, match=expected):
            schedule.learning_rates(epochs, steps, first)  # type: ignore[arg-type]
