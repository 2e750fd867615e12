"""The reference's SGDR and step decay."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingWarmRestarts, LRScheduler, SequentialLR, StepLR

from parity_tests.reference.helpers import EPS, applied, sgd
from torch_reference.cycles import Cycles
from torch_reference.schedulers import SGDR, StepDecay

# SGDR against the paper, taken literally
# ------------------------------------------------------------------------


def literal(
    updates: int,
    T_0: Fraction,
    T_mult: Fraction,
    steps_per_epoch: int,
    eta_max: float,
    eta_min: float = 0.0,
    eta_max_decay: float = 1.0,
    eta_min_decay: float = 1.0,
    warmup: Fraction = Fraction(0),
    cycle_limit: int | None = None,
    end: str = "exclusive",
) -> list[float]:
    """Each cycle in turn, its updates collected by comparing exact fractions."""
    times = [Fraction(k, steps_per_epoch) for k in range(updates)]
    rates = [
        eta_min + (eta_max - eta_min) * float(t / warmup)  # eta_min is never above eta_max in these cases
        for t in times
        if t < warmup
    ]
    i, t_i, T_i = 0, warmup, T_0
    high = low = math.nan
    while len(rates) < updates and i != cycle_limit and (i == 0 or T_i >= Fraction(1, 10**6)):
        grid = math.ceil((t_i + T_i) * steps_per_epoch) + 1
        if end == "exclusive":
            grid = min(grid, updates)  # saves time; "inclusive" must know the last update of the cycle
        members = [t for t in (Fraction(k, steps_per_epoch) for k in range(len(rates), grid)) if t < t_i + T_i]
        high = eta_max * eta_max_decay**i
        low = min(eta_min * eta_min_decay**i, high)
        for t in members:
            span = members[-1] - t_i if end == "inclusive" else T_i
            if t == t_i or (end == "inclusive" and len(members) == 1):
                rates.append(high)
            elif end == "inclusive" and t == members[-1]:
                rates.append(low)
            else:
                rates.append(low + 0.5 * (high - low) * (1 + math.cos(math.pi * float((t - t_i) / span))))
        i, t_i, T_i = i + 1, t_i + T_i, T_i * T_mult
    return (rates + [low] * updates)[:updates]


F = Fraction
LITERAL_CASES: dict[str, tuple[int, dict[str, Any]]] = {
    # name: (updates, settings); fractions are what the floats given to the scheduler stand for
    "equal": (500, {"T_0": F(10), "T_mult": F(1), "steps_per_epoch": 3}),
    "doubling": (2000, {"T_0": F(1), "T_mult": F(2), "steps_per_epoch": 7}),
    "tutorial": (61 * 70, {"T_0": F(10), "T_mult": F(2), "steps_per_epoch": 61}),
    "tripling": (3700, {"T_0": F(1), "T_mult": F(3), "steps_per_epoch": 1}),
    "tripling_10": (3700, {"T_0": F(10), "T_mult": F(3), "steps_per_epoch": 1}),
    "by_9": (7500, {"T_0": F(1), "T_mult": F(9), "steps_per_epoch": 1}),
    "by_10": (11200, {"T_0": F(1), "T_mult": F(10), "steps_per_epoch": 1}),
    "half_epoch": (300, {"T_0": F(1, 2), "T_mult": F(1), "steps_per_epoch": 5}),
    "tenth": (300, {"T_0": F(1, 10), "T_mult": F(1), "steps_per_epoch": 10}),
    "three_tenths": (600, {"T_0": F(3, 10), "T_mult": F(1), "steps_per_epoch": 10}),
    "third": (600, {"T_0": F(1, 3), "T_mult": F(2), "steps_per_epoch": 9}),
    "one_and_half": (3000, {"T_0": F(2), "T_mult": F(3, 2), "steps_per_epoch": 8}),
    "one_and_tenth": (3000, {"T_0": F(7, 10), "T_mult": F(11, 10), "steps_per_epoch": 13}),
    "shrinking": (400, {"T_0": F(10), "T_mult": F(1, 2), "steps_per_epoch": 16}),
    "shrinking_slowly": (900, {"T_0": F(3), "T_mult": F(9, 10), "steps_per_epoch": 20}),
    "shorter_than_an_update": (50, {"T_0": F(1, 8), "T_mult": F(2), "steps_per_epoch": 3}),
    "floor": (800, {"T_0": F(3), "T_mult": F(2), "steps_per_epoch": 5, "eta_min": 0.003}),
    "decaying_peak": (800, {"T_0": F(3), "T_mult": F(2), "steps_per_epoch": 5, "eta_max_decay": 0.7}),
    "peak_meets_floor": (
        800,
        {"T_0": F(3), "T_mult": F(1), "steps_per_epoch": 5, "eta_min": 0.01, "eta_max_decay": 0.7},
    ),
    "both_decay": (
        800,
        {
            "T_0": F(2),
            "T_mult": F(3, 2),
            "steps_per_epoch": 4,
            "eta_min": 0.01,
            "eta_max_decay": 0.9,
            "eta_min_decay": 0.5,
        },
    ),
    "warmup": (600, {"T_0": F(4), "T_mult": F(2), "steps_per_epoch": 6, "warmup": F(3)}),
    "warmup_between_updates": (
        600,
        {"T_0": F(3, 2), "T_mult": F(2), "steps_per_epoch": 4, "warmup": F(7, 10), "eta_min": 0.001},
    ),
    "two_cycles": (400, {"T_0": F(3), "T_mult": F(2), "steps_per_epoch": 5, "eta_min": 0.002, "cycle_limit": 2}),
    "five_equal_cycles": (400, {"T_0": F(3), "T_mult": F(1), "steps_per_epoch": 5, "cycle_limit": 5}),
    "inclusive": (
        2000,
        {"T_0": F(1), "T_mult": F(2), "steps_per_epoch": 7, "end": "inclusive", "eta_min": 0.002},
    ),
    "inclusive_equal": (300, {"T_0": F(2), "T_mult": F(1), "steps_per_epoch": 5, "end": "inclusive"}),
    "inclusive_one_update": (30, {"T_0": F(1), "T_mult": F(1), "steps_per_epoch": 1, "end": "inclusive"}),
    "inclusive_fractions": (
        900,
        {"T_0": F(7, 10), "T_mult": F(3, 2), "steps_per_epoch": 3, "end": "inclusive", "warmup": F(1, 2)},
    ),
    "inclusive_shrinking": (200, {"T_0": F(4), "T_mult": F(1, 2), "steps_per_epoch": 8, "end": "inclusive"}),
}


@pytest.mark.parametrize("case", LITERAL_CASES)
def test_sgdr_is_the_paper_taken_literally(case: str) -> None:
    updates, settings = LITERAL_CASES[case]
    floats: dict[str, Any] = {
        name: float(value) if isinstance(value, Fraction) else value for name, value in settings.items()
    }
    rates = applied(SGDR(sgd(0.1), **floats), updates)
    expected = literal(updates, eta_max=0.1, **settings)
    # `math.cos` and `numpy.cos` may differ in the last place: half a unit of 2, times half of eta_max.
    np.testing.assert_allclose(rates, expected, rtol=0, atol=0.1 * EPS)
    assert [k for k in range(updates) if rates[k] == 0.1] == [k for k in range(updates) if expected[k] == 0.1]


def test_literal_loop_catches_a_schedule_off_by_one_update() -> None:
    updates, settings = LITERAL_CASES["doubling"]
    late = applied(SGDR(sgd(0.1), 1, 2, steps_per_epoch=7), updates + 1)[1:]
    assert np.abs(np.subtract(late, literal(updates, eta_max=0.1, **settings))).max() > 0.05


@pytest.mark.parametrize("T_0", [1, 2, 5, 10])
@pytest.mark.parametrize("T_mult", [2, 3, 9, 10])
def test_every_boundary_up_to_ten_million_updates(T_0: int, T_mult: int) -> None:
    cycles = Cycles(T_0, T_mult, warmup=0, cycle_limit=None, steps_per_epoch=1)
    boundary, length, index = 0, T_0, 0
    while boundary < 10**7:
        assert cycles.at(boundary).index == index
        assert cycles.at(boundary).first == boundary
        if index:
            assert cycles.at(boundary - 1).index == index - 1
        boundary, length, index = boundary + length, length * T_mult, index + 1


@pytest.mark.parametrize(("T_0", "T_mult", "eta_min"), [(6, 1, 0.0), (1, 2, 0.0), (5, 3, 0.01), (1, 9, 0.0)])
def test_sgdr_is_pytorch_cosine_annealing_warm_restarts(T_0: int, T_mult: int, eta_min: float) -> None:
    updates = 1000
    theirs = applied(CosineAnnealingWarmRestarts(sgd(0.1), T_0, T_mult, eta_min), updates)
    ours = applied(SGDR(sgd(0.1), T_0, T_mult, eta_min, steps_per_epoch=1), updates)
    # Not bitwise: PyTorch computes pi * T_cur / T_i where we compute pi * (T_cur / T_i), and halves last.
    # That is an ulp or two of pi in the angle and of 2 in the sum, times half of eta_max. At a restart both
    # are exact.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2 * EPS * 0.1)
    assert [k for k in range(updates) if ours[k] == 0.1] == [k for k in range(updates) if theirs[k] == 0.1]


def test_pytorch_step_with_an_epoch_misses_a_restart_that_sgdr_meets() -> None:
    theirs = CosineAnnealingWarmRestarts(sgd(0.1), T_0=1, T_mult=3)
    theirs.step(121)
    assert theirs.get_last_lr()[0] < 1e-9
    assert applied(SGDR(sgd(0.1), 1, 3, steps_per_epoch=1), 122)[-1] == 0.1


def test_float_arguments_stand_for_the_simplest_fraction() -> None:
    # In binary 0.1 + 0.1 + 0.1 > 0.3; the third restart is at update 3 all the same.
    rates = applied(SGDR(sgd(0.1), 0.1, 1, steps_per_epoch=10), 100)
    assert rates == [0.1] * 100


# Resuming, chaining, groups
# ---------------------------------------------------------------------------------------

RESUMED: dict[str, Any] = {
    "T_0": 0.7,
    "T_mult": 1.5,
    "eta_min": 0.001,
    "steps_per_epoch": 6,
    "warmup": 0.5,
    "eta_max_decay": 0.9,
}


@pytest.mark.parametrize("end", ["exclusive", "inclusive"])
def test_state_dict_resumes_at_every_batch(end: Any, tmp_path: Path) -> None:
    unbroken = applied(SGDR(sgd(0.1, 0.02), **RESUMED, end=end), 60, group=1)
    for k in range(60):
        first = SGDR(sgd(0.1, 0.02), **RESUMED, end=end)
        applied(first, k)
        torch.save([first.state_dict(), first.optimizer.state_dict()], tmp_path / "checkpoint.pth")
        states = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
        # Settings come from the checkpoint too: these are others.
        second = SGDR(sgd(0.1, 0.02), T_0=3, steps_per_epoch=2)
        second.load_state_dict(states[0])
        second.optimizer.load_state_dict(states[1])
        assert applied(second, 60 - k, group=1) == unbroken[k:]


@pytest.mark.parametrize(
    "make",
    [lambda o, **k: SGDR(o, **RESUMED, **k), lambda o, **k: StepDecay(o, 2, 0.5, steps_per_epoch=6, **k)],
)
def test_last_epoch_resumes_at_every_batch(make: Callable[..., LRScheduler]) -> None:
    unbroken = applied(make(sgd(0.1)), 60)
    for k in range(60):
        optimizer = sgd(0.1)
        optimizer.param_groups[0].update(initial_lr=0.1, lr=0.5)
        assert applied(make(optimizer, last_epoch=k - 1), 60 - k) == unbroken[k:]


def test_chains_in_sequential_lr() -> None:
    optimizer = sgd(0.1)
    hold = ConstantLR(optimizer, factor=0.25, total_iters=100)
    restarts = SGDR(optimizer, 2, 2, steps_per_epoch=5)
    rates = applied(SequentialLR(optimizer, [hold, restarts], milestones=[7]), 80)
    assert rates[:7] == [0.025] * 7
    assert rates[7:] == applied(SGDR(sgd(0.1), 2, 2, steps_per_epoch=5), 73)


def test_sgdr_first_then_another_in_sequential_lr() -> None:
    optimizer = sgd(0.1)
    restarts = SGDR(optimizer, 2, 2, steps_per_epoch=5)
    steps = StepDecay(optimizer, 1, 0.5, steps_per_epoch=10)
    rates = applied(SequentialLR(optimizer, [restarts, steps], milestones=[30]), 60)
    assert rates[:30] == applied(SGDR(sgd(0.1), 2, 2, steps_per_epoch=5), 30)
    assert rates[30:] == [0.1] * 10 + [0.05] * 10 + [0.025] * 10


def test_each_group_is_annealed_from_its_own_rate() -> None:
    for group, eta_max in enumerate([0.1, 0.004]):
        together = applied(SGDR(sgd(0.1, 0.004), 2, 2, 0.001, steps_per_epoch=5), 70, group=group)
        assert together == applied(SGDR(sgd(eta_max), 2, 2, 0.001, steps_per_epoch=5), 70)


def test_cycle_at_tells_the_cycle_of_an_update() -> None:
    scheduler = SGDR(sgd(0.1), 2, 2, steps_per_epoch=5, warmup=1, cycle_limit=2)
    assert [scheduler.cycle_at(k).index for k in (0, 5, 14, 15, 34, 35, 99, 0)] == [0, 0, 0, 1, 1, 1, 1, 0]
    assert (scheduler.cycle_at(20).first, scheduler.cycle_at(20).stop) == (15, 35)


def test_step_decay_is_step_lr_held_through_the_epoch() -> None:
    # gamma = 1/2 is exact however the decays are multiplied up, so the comparison can be exact.
    ours = applied(StepDecay(sgd(0.1), 3, 0.5, steps_per_epoch=4), 4 * 30)
    assert ours == list(np.repeat(applied(StepLR(sgd(0.1), 3, 0.5), 30), 4))
    tenth = applied(StepDecay(sgd(0.1), steps_per_epoch=1), 181)
    assert [tenth[k] for k in (59, 60, 119, 120, 180)] == [
        0.1,
        0.1 * 0.1,
        0.1 * 0.1,
        0.1 * 0.1**2,
        0.1 * 0.1**3,
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"T_0": 0}, "`T_0` must be positive and finite. Received: T_0=0. Pass the length"),
        ({"T_0": math.nan}, "`T_0` must be positive and finite. Received: T_0=nan"),
        ({"T_mult": -1}, "`T_mult` must be positive and finite. Received: T_mult=-1"),
        ({"eta_min": -0.1}, "`eta_min` must be at least 0 and finite. Received: eta_min=-0.1"),
        ({"eta_min": 0.2}, "Received: eta_min=0.2 and lr=0.1 in group 0. Lower eta_min"),
        ({"eta_max_decay": 0}, "`eta_max_decay` must lie in (0, 1]. Received: eta_max_decay=0."),
        ({"eta_min_decay": math.inf}, "`eta_min_decay` must lie in (0, 1]. Received: eta_min_decay=inf."),
        ({"eta_max_decay": 1e308}, "`eta_max_decay` must lie in (0, 1]. Received: eta_max_decay=1e+308."),
        ({"T_0": 10**5000}, "Received: T_0=a value of type int with too many digits to be written."),
        ({"warmup": -1}, "`warmup` must be at least 0 and finite. Received: warmup=-1"),
        (
            {"steps_per_epoch": 2.5},
            "`steps_per_epoch` must be a positive integer. Received: steps_per_epoch=2.5",
        ),
        ({"cycle_limit": True}, "`cycle_limit` must be a positive integer. Received: cycle_limit=True"),
        ({"end": "both"}, "`end` must be 'exclusive' or 'inclusive'. Received: end='both'"),
    ],
)
def test_sgdr_refuses(settings: dict[str, Any], message: str) -> None:
    optimizer = sgd(0.1)
    with pytest.raises(ValueError, match=re.escape(message)):
        SGDR(optimizer, **{"T_0": 1, "steps_per_epoch": 1, **settings})
    assert "initial_lr" not in optimizer.param_groups[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_size": 0}, "`step_size` must be a positive integer. Received: step_size=0"),
        ({"gamma": 0}, "`gamma` must lie in (0, 1]. Received: gamma=0"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` must be a positive integer. Received: steps_per_epoch=0"),
        ({"step_size": 10**30}, f"`step_size` must be at most {2**53}. Received: step_size={10**30}."),
    ],
)
def test_step_decay_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        StepDecay(sgd(0.1), **{"steps_per_epoch": 1, **settings})
