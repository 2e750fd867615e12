"""The reference's SGD in Keras's form."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import nn

from parity_tests.reference.helpers import EPS
from torch_reference.optimizers import KerasSGD


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
        ({"lr": -1.0}, "`lr` must be at least 0 and finite. Received: lr=-1.0"),
        ({"momentum": 1.5}, "`momentum` must lie in [0, 1]. Received: momentum=1.5"),
        ({"weight_decay": -0.1}, "`weight_decay` must be at least 0 and finite. Received: weight_decay=-0.1"),
    ],
)
def test_keras_sgd_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KerasSGD([nn.Parameter(torch.zeros(1))], **{"lr": 0.1, **settings})
