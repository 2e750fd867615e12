"""The reference under PyTorch's own conventions: tensors as rates, chained schedulers, values that are none."""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, SequentialLR

from parity_tests.reference.helpers import applied, sgd
from torch_reference.cycles import Cycles
from torch_reference.optimizers import AdamWR, KerasSGD
from torch_reference.schedulers import SGDR, StepDecay

# Rates that are tensors


def rate(value: float = 0.01, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(value, dtype=dtype)


def decayed(lr: Any, schedule: Callable[[AdamWR], LRScheduler], updates: int = 6) -> list[float]:
    """The fraction of a weight that each update of `AdamWR` takes, without a gradient."""
    weight = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = AdamWR([weight], lr, lambda_norm=0.5)
    scheduler = schedule(optimizer)
    taken = []
    for _ in range(updates):
        before, weight.grad = weight.item(), torch.zeros_like(weight)
        optimizer.step()
        scheduler.step()
        taken.append(1 - weight.item() / before)
    return taken


def test_decay_is_annealed_where_the_rate_is_a_tensor() -> None:
    def schedule(optimizer: Optimizer) -> SGDR:
        return SGDR(optimizer, 6, steps_per_epoch=1)

    assert decayed(rate(), schedule) == decayed(0.01, schedule)
    eta = 0.5 * (1 + np.cos(np.pi * np.arange(6) / 6))
    np.testing.assert_allclose(decayed(rate(), schedule), eta * 0.5 / math.sqrt(6), rtol=1e-12)


@pytest.mark.parametrize("make", [KerasSGD, lambda params, lr: AdamWR(params, lr)], ids=["KerasSGD", "AdamWR"])
def test_a_group_that_is_added_later_begins_with_the_rate_as_it_was_given(make: Any) -> None:
    lr = rate()
    optimizer = make([nn.Parameter(torch.zeros(1))], lr)
    assert optimizer.param_groups[0]["lr"] is lr  # As in PyTorch: whoever fills it changes the rate.
    lr.fill_(1e-9)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    assert float(optimizer.param_groups[1]["lr"]) == 0.01
    assert optimizer.param_groups[1].get("eta_max", 0.01) == 0.01


MAKERS: dict[str, Callable[..., Any]] = {
    "SGDR": lambda optimizer, **options: SGDR(optimizer, 2, steps_per_epoch=3, **options),
    "StepDecay": lambda optimizer, **options: StepDecay(optimizer, 1, 0.5, steps_per_epoch=3, **options),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rate_that_is_a_tensor_stays_one(name: str, dtype: torch.dtype) -> None:
    lr = rate(0.1, dtype)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = MAKERS[name](optimizer)
    floats = applied(MAKERS[name](sgd(lr.item())), 20)
    for expected in floats:
        assert optimizer.param_groups[0]["lr"] is lr
        (last,) = scheduler.get_last_lr()
        with pytest.warns(UserWarning, match="get_last_lr"):
            (computed,) = scheduler.get_lr()
        for value in (last, computed):
            assert isinstance(value, torch.Tensor)
            assert value is not lr
            assert (value.dtype, value.item()) == (dtype, torch.tensor(expected, dtype=dtype).item())
            value.fill_(7.0)  # A copy: nothing else changes.
        optimizer.step()
        scheduler.step()
    assert scheduler.base_lrs == [torch.tensor(0.1, dtype=dtype)]


# Schedulers in schedulers


def test_at_a_milestone_the_decay_is_that_of_the_new_cycle() -> None:
    def chained(optimizer: AdamWR) -> LRScheduler:
        cycles: list[LRScheduler] = [SGDR(optimizer, T_0, steps_per_epoch=4) for T_0 in (1, 4)]
        return SequentialLR(optimizer, cycles, [4])

    # At a restart eta is 1: lambda_i = 0.5 / sqrt(updates of the cycle).
    taken = decayed(0.01, chained, updates=5)
    assert taken[0] == pytest.approx(0.5 / math.sqrt(4), rel=1e-12)
    assert taken[4] == pytest.approx(0.5 / math.sqrt(16), rel=1e-12)


def test_the_decay_needs_nothing_that_older_versions_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: LRScheduler, epoch: int | None = None) -> None:  # As in PyTorch 2.4, which has no `_update_lr`.
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._get_lr_called_within_step = True
        rates = self.get_lr()
        self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    monkeypatch.setattr(LRScheduler, "step", step)
    monkeypatch.setattr(LRScheduler, "_initial_step", LRScheduler.step)
    optimizer = AdamWR([nn.Parameter(torch.ones(1))], 0.01, lambda_norm=0.5)
    scheduler = SGDR(optimizer, 1, 4, steps_per_epoch=4)
    assert optimizer.param_groups[0]["lambda_i"] == pytest.approx(0.5 / math.sqrt(4), rel=1e-12)
    scheduler.step(4)
    assert optimizer.param_groups[0]["lambda_i"] == pytest.approx(0.5 / math.sqrt(16), rel=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_get_lr_warns_outside_of_a_step(name: str) -> None:
    scheduler = MAKERS[name](sgd(0.1))
    with pytest.warns(UserWarning, match=r"To get the last rates, call `get_last_lr\(\)`\."):
        assert scheduler.get_lr() == [0.1]


# Values that are none


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("optimizer", [None, nn.Linear(1, 1), [0.1]], ids=lambda value: type(value).__name__)
def test_what_is_no_optimizer_is_a_type_error(name: str, optimizer: Any) -> None:
    with pytest.raises(TypeError, match=r"which is not an Optimizer\. Pass such as torch\.optim\.SGD"):
        MAKERS[name](optimizer)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("epoch", [-1, "2", 1.5, math.nan, True])
def test_step_refuses_what_is_no_update(name: str, epoch: Any) -> None:
    scheduler = MAKERS[name](sgd(0.1))
    scheduler.optimizer.step()
    message = f"`epoch` must be an integer, 0 or more. Received: epoch={epoch!r}. Call `step()` without it"
    with pytest.raises(ValueError, match=re.escape(message)):
        scheduler.step(epoch)
    assert scheduler.last_epoch == 0


NOT_NUMBERS: list[Any] = ["10", None, [10], True, 1j, torch.ones(2)]


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    "name", ["T_0", "T_mult", "eta_min", "steps_per_epoch", "eta_max_decay", "eta_min_decay", "warmup", "last_epoch"]
)
def test_the_argument_is_named(name: str, value: Any) -> None:
    options = {"T_0": 10, "steps_per_epoch": 5, name: value}
    with pytest.raises(ValueError, match=re.escape(f"Received: {name}={value!r}.")):
        SGDR(sgd(0.1), **options)


@pytest.mark.parametrize(
    ("optimizer", "name", "value"),
    [
        *((KerasSGD, name, value) for name in ("lr", "momentum", "weight_decay") for value in NOT_NUMBERS),
        *((AdamWR, name, value) for name in ("lr", "lambda_norm", "betas", "eps") for value in NOT_NUMBERS),
        (AdamWR, "betas", (0.9, "0.999")),
    ],
    ids=str,
)
def test_the_argument_of_an_optimizer_is_named(optimizer: Any, name: str, value: Any) -> None:
    options = {"lr": 0.1, name: value}
    with pytest.raises(ValueError, match=re.escape(f"Received: {name}={value!r}.")):
        optimizer([nn.Parameter(torch.zeros(1))], **options)


def test_a_group_of_adamwr_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`lr` must be positive and finite\. Received: lr=0\."):
        AdamWR([{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.0}])


def test_integers_of_numpy() -> None:
    five, half, last = np.int64(5), np.float32(1.5), np.int64(-1)
    options: dict[str, Any] = {"T_0": five, "T_mult": half, "steps_per_epoch": five, "cycle_limit": five}
    ours = SGDR(sgd(0.1), **options, last_epoch=last)  # type: ignore[arg-type]
    assert applied(ours, 100) == applied(SGDR(sgd(0.1), 5, 1.5, steps_per_epoch=5, cycle_limit=5), 100)
    assert [type(ours.state_dict()[name]) for name in ("steps_per_epoch", "cycle_limit")] == [int, int]
    assert (
        applied(StepDecay(sgd(0.1), step_size=options["T_0"], steps_per_epoch=options["T_0"]), 60)[-1] == 0.1 * 0.1**2
    )


def test_settings_that_are_none_change_nothing() -> None:
    scheduler = SGDR(sgd(0.1), 2, steps_per_epoch=3)
    before = copy.deepcopy(scheduler.state_dict())
    with pytest.raises(ValueError, match="could not convert"):
        scheduler.load_state_dict({**before, "last_epoch": 5, "T_0": "soon"})
    assert scheduler.state_dict() == before


# Time


@pytest.mark.parametrize(
    ("T_0", "T_mult", "cycle_limit", "step"),
    [(10, 0.9999999, None, 0), (10, 1 - 1e-12, None, 10**4), (1, 1 + 1e-12, None, 5000), (10, 1, 10**15, 10**15)],
    ids=str,
)
def test_an_update_is_found_within_two_seconds(T_0: float, T_mult: float, cycle_limit: int | None, step: int) -> None:
    began = time.process_time()
    cycle = Cycles(T_0, T_mult, 0, cycle_limit, 1).at(step)
    assert cycle.first <= step < cycle.stop
    assert time.process_time() - began < 2


def test_more_cycles_than_can_be_walked_are_refused() -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"in the first \d+ cycles, where T_mult is .* Received: step=1000000000\."):
        Cycles(1, 1 + 1e-12, 0, None, 1).at(10**9)
    assert time.process_time() - began < 2


def test_walking_in_integers_is_walking_in_fractions() -> None:
    cycles = Cycles(0.7, 1.1, 0.3, 40, 13)
    start, length = Fraction(3, 10) * 13, Fraction(7, 10) * 13
    for index in range(40):
        cycle = Cycles(0.7, 1.1, 0.3, 40, 13).at(math.ceil(start))
        assert cycle == cycles.at(math.ceil(start))
        assert (cycle.index, cycle.start, cycle.length) == (index, start, length)
        start, length = start + length, length * Fraction(11, 10)
