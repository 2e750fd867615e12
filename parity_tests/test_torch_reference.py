"""The reference itself: schedules, Keras's SGD form, the training loop, the command."""

from __future__ import annotations

import copy
import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingWarmRestarts,
    LRScheduler,
    SequentialLR,
    StepLR,
)

from torch_reference.__main__ import cycle_rows, main
from torch_reference.cycles import Cycles
from torch_reference.images import AntsBees, find_folder
from torch_reference.models import resnet
from torch_reference.optimizers import KerasSGD
from torch_reference.schedulers import SGDR, StepDecay
from torch_reference.training import train

EPS = float(np.finfo(np.float64).eps)


def sgd(*rates: float) -> torch.optim.SGD:
    """An optimizer with one parameter group a rate."""
    return torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def applied(scheduler: LRScheduler, updates: int, group: int = 0) -> list[float]:
    """The rates of the next `updates` updates, read where the optimizer reads them."""
    rates = []
    for _ in range(updates):
        rates.append(float(scheduler.optimizer.param_groups[group]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return rates


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
    cycles: int | None = None,
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
    while len(rates) < updates and i != cycles and (i == 0 or T_i >= Fraction(1, 10**6)):
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
    "two_cycles": (400, {"T_0": F(3), "T_mult": F(2), "steps_per_epoch": 5, "eta_min": 0.002, "cycles": 2}),
    "five_equal_cycles": (400, {"T_0": F(3), "T_mult": F(1), "steps_per_epoch": 5, "cycles": 5}),
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
    cycles = Cycles(T_0, T_mult, warmup=0, cycles=None, steps_per_epoch=1)
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
    rates = applied(SGDR(sgd(0.1), 0.1, steps_per_epoch=10), 100)
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
    scheduler = SGDR(sgd(0.1), 2, 2, steps_per_epoch=5, warmup=1, cycles=2)
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
        ({"eta_max_decay": 0}, "`eta_max_decay` must be positive and finite"),
        ({"eta_min_decay": math.inf}, "`eta_min_decay` must be positive and finite"),
        ({"warmup": -1}, "`warmup` must be at least 0 and finite. Received: warmup=-1"),
        (
            {"steps_per_epoch": 2.5},
            "`steps_per_epoch` must be a positive integer. Received: steps_per_epoch=2.5",
        ),
        ({"cycles": True}, "`cycles` must be a positive integer. Received: cycles=True"),
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
        ({"gamma": 0}, "`gamma` must be positive and finite. Received: gamma=0"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` must be a positive integer. Received: steps_per_epoch=0"),
    ],
)
def test_step_decay_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        StepDecay(sgd(0.1), **{"steps_per_epoch": 1, **settings})


# KerasSGD
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer_class", "end"), [(torch.optim.SGD, -0.119), (KerasSGD, -0.200)])
def test_witness_of_the_two_momentum_forms(optimizer_class: Any, end: float) -> None:
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = optimizer_class([p], lr=0.1, momentum=0.9)
    for rate in (0.1, 0.01):
        optimizer.param_groups[0]["lr"] = rate
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert p.item() == pytest.approx(end, rel=4 * EPS)


def test_keras_sgd_skips_parameters_without_gradient_and_returns_the_closure_s_loss() -> None:
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = KerasSGD([used, unused], lr=0.5, momentum=0.5, weight_decay=0.1)

    def closure() -> float:
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 2.0
    torch.testing.assert_close(used.detach(), torch.full((2,), 1.0 - 0.05 - 0.5 * 2.0))
    assert torch.equal(unused, torch.ones(2))


def test_keras_sgd_state_dict_goes_on_where_it_was() -> None:
    def steps(p: nn.Parameter, optimizer: KerasSGD, count: int) -> None:
        for _ in range(count):
            p.grad = p.detach().clone()
            optimizer.step()

    p = nn.Parameter(torch.ones(3))
    optimizer = KerasSGD([p], lr=0.1, momentum=0.9, nesterov=True)
    steps(p, optimizer, 3)
    q = nn.Parameter(p.detach().clone())
    resumed = KerasSGD([q], lr=0.7)
    # PyTorch's state dicts share their tensors with the optimizer; a checkpoint on disk would not.
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps(p, optimizer, 3)
    steps(q, resumed, 3)
    assert torch.equal(p, q)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "`lr` must be at least 0. Received: lr=-1.0"),
        ({"momentum": 1.5}, "`momentum` must lie in [0, 1]. Received: momentum=1.5"),
        ({"weight_decay": -0.1}, "`weight_decay` must be at least 0. Received: weight_decay=-0.1"),
    ],
)
def test_keras_sgd_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KerasSGD([nn.Parameter(torch.zeros(1))], **{"lr": 0.1, **settings})


# Training
# ---------------------------------------------------------------------------------------------------------

Batch = tuple[Tensor, Tensor]


def tiny_batches(epoch: int) -> Iterator[Batch]:
    """Two batches, of 5 and 2 images, whose class is their brightness."""
    generator = torch.Generator().manual_seed(epoch)
    for size in (5, 2):
        labels = torch.randint(0, 2, (size,), generator=generator)
        noise = torch.rand(size, 3, 8, 8, generator=generator, dtype=torch.float64)
        yield noise + labels.reshape(-1, 1, 1, 1), labels


def tiny_model() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 2)).double()


def test_train_records_every_update_and_weights_losses_by_sample() -> None:
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    gradients: list[float] = []

    def record(update: int) -> None:
        gradient = next(model.parameters()).grad
        assert gradient is not None
        gradients.append(float(gradient.abs().sum()))

    run = train(
        model,
        optimizer,
        SGDR(optimizer, 2, 2, steps_per_epoch=2),
        tiny_batches,
        lambda epoch: tiny_batches(99),
        epochs=14,
        on_update=record,
    )
    assert run.rates == applied(SGDR(sgd(0.1), 2, 2, steps_per_epoch=2), 28)
    assert len(run.losses) == len(gradients) == 28
    assert min(gradients) > 0
    images, labels = next(tiny_batches(0))
    assert run.losses[0] == nn.functional.cross_entropy(tiny_model()(images), labels)
    for row in run.epochs:
        five, two = run.losses[2 * row.epoch : 2 * row.epoch + 2]
        assert row.loss == pytest.approx((5 * five + 2 * two) / 7, rel=4 * EPS)
    assert run.epochs[-1].val_loss < 0.1 < run.epochs[0].val_loss
    assert run.epochs[-1].learning_rate == run.rates[-1]


def test_train_keeps_the_best_weights_and_leaves_the_last() -> None:
    model = tiny_model()
    seen: list[dict[str, Tensor]] = []
    run = train(
        model,
        torch.optim.SGD(model.parameters(), lr=0.05),
        None,
        tiny_batches,
        lambda epoch: tiny_batches(99),
        epochs=6,
        on_epoch=lambda row: seen.append({name: value.clone() for name, value in model.state_dict().items()}),
    )
    accuracies = [row.val_accuracy for row in run.epochs]
    assert run.best_epoch == int(np.argmax(accuracies))
    assert run.best_state is not None
    for name, value in seen[run.best_epoch].items():
        assert torch.equal(run.best_state[name], value)
    for name, value in model.state_dict().items():
        assert torch.equal(seen[-1][name], value)
    assert run.rates == [0.05] * 12


def test_train_resumes_at_an_epoch() -> None:
    def state() -> tuple[nn.Module, torch.optim.SGD, SGDR]:
        model = tiny_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return model, optimizer, SGDR(optimizer, 2, 2, steps_per_epoch=2)

    model, optimizer, scheduler = state()
    unbroken = train(model, optimizer, scheduler, tiny_batches, epochs=6)
    parts = state()
    first = train(*parts, tiny_batches, epochs=3)
    resumed = state()
    for new, old in zip(resumed, parts, strict=True):
        new.load_state_dict(old.state_dict())  # type: ignore[attr-defined]
    second = train(*resumed, tiny_batches, epochs=6, initial_epoch=3)
    assert first.losses + second.losses == unbroken.losses
    assert first.rates + second.rates == unbroken.rates
    assert unbroken.best_state is None
    assert math.isnan(unbroken.epochs[0].val_loss)


def test_train_refuses_an_epoch_without_batches() -> None:
    model = tiny_model()
    used_up = tiny_batches(0)
    with pytest.raises(ValueError, match=r"no batch for training in epoch 1\. Pass a function"):
        train(model, torch.optim.SGD(model.parameters(), lr=0.1), None, lambda epoch: used_up, epochs=2)


# Weights and the command


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_resnet_reads_a_state_dict_with_or_without_head(suffix: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = torchvision.models.resnet50().state_dict()
    if suffix == ".safetensors":
        state = {name: value for name, value in state.items() if "fc" not in name and "num_batches" not in name}
        save_file(state, tmp_path / f"weights{suffix}")
    else:
        torch.save(state, tmp_path / f"weights{suffix}")
    model = resnet(50, str(tmp_path / f"weights{suffix}"))
    for name, value in model.state_dict().items():
        if not name.startswith("fc") and "num_batches" not in name:
            assert torch.equal(value, state[name]), name
    assert model.state_dict()["fc.weight"].shape == (2, 2048)


def test_resnet_names_the_tensors_that_do_not_fit(tmp_path: Path) -> None:
    state = torchvision.models.resnet50().state_dict()
    del state["bn1.weight"]
    state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    state["extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "weights.pth")
    message = (
        "3 tensors differ: bn1.weight is missing; conv1.weight has shape (64, 3, 3, 3), not (64, 3, 7, 7); "
        "extra is not in the model."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        resnet(50, str(tmp_path / "weights.pth"))


def test_resnet_refuses() -> None:
    with pytest.raises(ValueError, match=r"must be 50, 101 or 152\. Received: depth=18"):
        resnet(18, "none")
    with pytest.raises(ValueError, match=r"or a .safetensors or .pth file. Received: weights='weights.h5'"):
        resnet(50, "weights.h5")
    with pytest.raises(FileNotFoundError, match=r"Received: weights='absent.pth'. Check the path"):
        resnet(50, "absent.pth")


@pytest.fixture
def drawn_folder(tmp_path: Path) -> Path:
    """Six training and four validation images: dark discs for ants, stripes for bees."""
    rows, columns = np.mgrid[:40, :48]
    disc = np.where((rows - 20) ** 2 + (columns - 24) ** 2 < 80, 20, 220)
    stripes = np.where(columns // 4 % 2, 40, 200)
    for split, count in (("train", 3), ("val", 2)):
        for name, shape in (("ants", disc), ("bees", stripes)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = np.repeat(shape[..., None] + index, 3, axis=2).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{index}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("optimizer", [["--momentum_form", "keras"], ["--optimizer", "adamw"]])
def test_command_fine_tunes_and_writes_its_record(
    optimizer: list[str],
    drawn_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = "--weights none --image_size 40 --batch_size 4 --epochs 3 --T_0 1 --T_mult 2 --eta_max 0.001"
    places = ["--data", str(drawn_folder), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["torch_reference", *settings.split(), *optimizer, *places])
    main()
    assert "Cycle ends" in capsys.readouterr().out
    with (tmp_path / "out" / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["0", "1", "2"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["classes"] == ["ants", "bees"]
    assert summary["options"]["T_mult"] == 2.0
    ends = [(row["cycle"], row["T_i"], row["epochs"], row["first_rate"]) for row in summary["cycles"]]
    assert ends == [(0, 1.0, 1, 0.001), (1, 2.0, 3, 0.001)]
    assert summary["cycles"][1]["val_loss"] == float(history[2]["val_loss"])


def test_cycle_rows_end_where_the_cycles_do() -> None:
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    # Cycles of 1, 1/2, 1/4, ... epochs, two updates an epoch: the first three hold updates, no other does.
    scheduler = SGDR(optimizer, 1, 0.5, steps_per_epoch=2)
    rows = cycle_rows(scheduler, train(model, optimizer, scheduler, tiny_batches, epochs=3))
    assert [(row["cycle"], row["T_i"], row["epochs"]) for row in rows] == [
        (0, 1.0, 1),
        (1, 0.5, 2),
        (2, 0.25, 2),
    ]


def test_find_folder_looks_where_it_says(drawn_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTS_BEES_DIR", str(drawn_folder))
    assert find_folder(None) == drawn_folder
    with pytest.raises(FileNotFoundError, match=r"in two folders, train and val\. Received: data='.*ants'"):
        find_folder(drawn_folder / "train" / "ants")
    monkeypatch.delenv("ANTS_BEES_DIR")
    monkeypatch.chdir(drawn_folder)
    with pytest.raises(FileNotFoundError, match="Received: data='data/hymenoptera_data'"):
        find_folder(None)


def test_images_of_an_epoch_depend_on_seed_and_epoch_alone(drawn_folder: Path) -> None:
    def epoch(seed: int, index: int) -> Tensor:
        data = AntsBees(drawn_folder, 32, batch_size=4, seed=seed, device=torch.device("cpu"))
        before = torch.random.get_rng_state()
        images = torch.cat([images for images, labels in data.training(index)])
        assert torch.equal(torch.random.get_rng_state(), before)
        return images

    assert epoch(0, 1).shape == (6, 3, 32, 32)
    assert torch.equal(epoch(0, 1), epoch(0, 1))
    assert not torch.equal(epoch(0, 1), epoch(0, 2))
    assert not torch.equal(epoch(0, 1), epoch(1, 1))
