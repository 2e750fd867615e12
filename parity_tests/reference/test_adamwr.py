"""The reference's AdamWR: the paper's update, and the decay that the scheduler gives it."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from parity_tests.reference.helpers import EPS
from torch_reference.optimizers import AdamWR
from torch_reference.schedulers import SGDR


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64))


def decays(optimizer: AdamWR, scheduler: SGDR, updates: int) -> list[float]:
    """The fraction of the first group's weight that each of so many updates takes, without a gradient."""
    weight = optimizer.param_groups[0]["params"][0]
    decayed = []
    for _ in range(updates):
        before = weight.item()
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        scheduler.step()
        decayed.append(1 - weight.item() / before)
    return decayed


def expected(updates: int, lengths: list[int], norm: float = 0.5) -> Any:
    """Cycles of so many updates each."""
    eta = np.concatenate([0.5 * (1 + np.cos(np.pi * np.arange(length) / length)) for length in lengths])
    return (eta * norm / np.sqrt(np.repeat(lengths, lengths)))[:updates]


def test_decay_is_renormalised_at_every_restart() -> None:
    optimizer = AdamWR([parameter(1.0)], 0.01, lambda_norm=0.5)
    decayed = decays(optimizer, SGDR(optimizer, 1, 2, steps_per_epoch=7), 49)
    # The weight, the quotient and the difference to 1 are rounded, each once.
    np.testing.assert_allclose(decayed, expected(49, [7, 14, 28]), rtol=0, atol=4 * EPS)
    # The control: not renormalised.
    assert np.abs(decayed - expected(49, [7, 14, 28]) * np.sqrt(np.repeat([1, 2, 4], [7, 14, 28]))).max() > 0.05


def test_in_warmup_and_after_the_last_cycle() -> None:
    optimizer = AdamWR([parameter(1.0)], 0.01, lambda_norm=0.5)
    scheduler = SGDR(optimizer, 1, 2, 0.001, steps_per_epoch=4, warmup=1, cycle_limit=2)
    decayed = []
    for _ in range(20):
        decayed.append(optimizer.param_groups[0]["lambda_i"])
        decays(optimizer, scheduler, 1)
    assert decayed == [0.5 / 2] * 8 + [0.5 * math.sqrt(1 / 8)] * 12


def test_groups_decay_from_their_own_rates() -> None:
    groups = [{"params": [parameter(1.0)], "lr": 0.3}, {"params": [parameter(1.0)], "lambda_norm": 0.25}]
    optimizer = AdamWR(groups, 0.01, lambda_norm=0.5)
    assert [group["eta_max"] for group in optimizer.param_groups] == [0.3, 0.01]
    decayed = decays(optimizer, SGDR(optimizer, 1, 2, steps_per_epoch=7), 21)
    np.testing.assert_allclose(decayed, expected(21, [7, 14]), rtol=0, atol=4 * EPS)  # as above
    assert [group["lambda_i"] for group in optimizer.param_groups] == [0.5 / math.sqrt(28), 0.25 / math.sqrt(28)]


def test_other_optimizers_get_no_decay_from_the_scheduler() -> None:
    optimizer = torch.optim.AdamW([parameter(1.0)], 0.01)
    names = set(optimizer.param_groups[0])
    SGDR(optimizer, 1, 2, steps_per_epoch=7)
    assert set(optimizer.param_groups[0]) - names == {"initial_lr"}


def test_is_adamw_where_that_is_normalised_by_hand() -> None:
    """While the rate is constant: `AdamW` decays by `lr * weight_decay`."""
    random = np.random.default_rng(0)
    ours, theirs = parameter(1.0, -2.0, 0.5), parameter(1.0, -2.0, 0.5)
    adamwr = AdamWR([ours], 0.01, lambda_norm=0.3, eps=1e-3)
    adamwr.param_groups[0]["lambda_i"] = 0.1
    adamw = torch.optim.AdamW([theirs], 0.01, eps=1e-3, weight_decay=0.1 / 0.01)
    for _ in range(50):
        gradient = torch.from_numpy(random.normal(size=3) * 1e-3)  # of eps's size, which shows where that is added
        for weight, optimizer in ((ours, adamwr), (theirs, adamw)):
            weight.grad = gradient.clone()
            optimizer.step()
    # Fifty updates of weights of order 1, each rounded some times, in another order.
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=50 * EPS)


def test_closure() -> None:
    weight = parameter(1.0)
    optimizer = AdamWR([weight])
    optimizer.param_groups[0]["lambda_i"] = 0.0

    def closure() -> float:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 1.0
    assert weight.item() == pytest.approx(0.999, abs=1e-10)  # eps beside a gradient of 2


def test_parameters_without_gradient_stay() -> None:
    idle = parameter(1.0)
    optimizer = AdamWR([idle])
    SGDR(optimizer, 1, steps_per_epoch=2)
    optimizer.step()
    assert idle.item() == 1.0


def test_state_goes_on_in_a_new_optimizer() -> None:
    def trained(weight: nn.Parameter, optimizer: AdamWR, scheduler: SGDR, updates: range) -> float:
        for k in updates:
            weight.grad = torch.full_like(weight, math.sin(k))
            optimizer.step()
            scheduler.step()
        return weight.item()

    def make(start: float) -> tuple[nn.Parameter, AdamWR, SGDR]:
        weight = parameter(start)
        optimizer = AdamWR([weight], 0.01, lambda_norm=0.5)
        return weight, optimizer, SGDR(optimizer, 1, 2, steps_per_epoch=7)

    first = make(1.0)
    middle = trained(*first, range(10))
    states = [copy.deepcopy(part.state_dict()) for part in first[1:]]
    end = trained(*first, range(10, 30))
    second = make(middle)
    second[1].load_state_dict(states[0])
    second[2].load_state_dict(states[1])
    assert trained(*second, range(10, 30)) == end


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "`lr` must be positive and finite. Received: lr=0.0. Pass a rate such as lr=0.001."),
        (
            {"lambda_norm": -1},
            "`lambda_norm` must be at least 0 and finite. Received: lambda_norm=-1. A usual value is 0.025.",
        ),
        ({"betas": (0.9, 1.0)}, "`betas` must lie in [0, 1). Received: betas=(0.9, 1.0). Usual ones are (0.9, 0.999)."),
        ({"eps": 0.0}, "`eps` must be positive and finite. Received: eps=0.0. A usual value is 1e-8."),
    ],
)
def test_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        AdamWR([parameter(1.0)], **settings)


def test_refuses_to_guess_the_cycle() -> None:
    weight = parameter(1.0)
    weight.grad = torch.zeros_like(weight)
    optimizer = AdamWR([weight])
    with pytest.raises(ValueError, match=r"Received: lambda_i=None. Step `schedulers.SGDR` beside this optimizer"):
        optimizer.step()
