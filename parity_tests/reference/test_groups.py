"""Rates for groups of layers by parameter groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from keras_sgdr.schedules import WarmRestarts
from parity_tests.reference.helpers import applied
from torch_reference.groups import rate_groups
from torch_reference.models import resnet
from torch_reference.optimizers import AdamWR, KerasSGD
from torch_reference.schedulers import SGDR, StepDecay

MULTIPLIERS = {"head": 1.0, "body": 0.3, "*": 0.1}


def net() -> nn.Module:
    layers = {"stem": nn.Linear(2, 3), "body_1": nn.Linear(3, 3), "body_2": nn.Linear(3, 3), "head": nn.Linear(3, 1)}
    torch.manual_seed(0)
    model = nn.Module()
    for name, layer in layers.items():
        model.add_module(name, layer)
    return model.double()


def names_of(model: nn.Module, groups: list[dict[str, Any]]) -> list[list[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in groups]


def test_rates_are_the_schedules_times_the_multipliers() -> None:
    model = net()
    optimizer = torch.optim.SGD(rate_groups(model, MULTIPLIERS), lr=0.05)
    scheduler = SGDR(optimizer, 2, 2, eta_min=0.001, steps_per_epoch=3)
    etas = WarmRestarts(2, 2, 0.05, 0.001).learning_rates(7, 3)
    read = []
    for _ in etas:
        read.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert read == [[eta * multiplier for multiplier in MULTIPLIERS.values()] for eta in etas.tolist()]


def test_step_decay_has_groups_too() -> None:
    optimizer = torch.optim.SGD(rate_groups(net(), {"head": 1.0, "*": 0.1}), lr=0.05)
    assert applied(StepDecay(optimizer, 1, 0.5, steps_per_epoch=2), 4, group=1) == [0.05 * 0.1] * 2 + [0.025 * 0.1] * 2


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW, KerasSGD, AdamWR])
def test_zero_leaves_parameters_as_they_are(optimizer: Any) -> None:
    model = net()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    update = optimizer(rate_groups(model, {"body": 0, "*": 1.0}), lr=0.05)
    scheduler = SGDR(update, 1, steps_per_epoch=4)
    for _ in range(6):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        update.step()
        scheduler.step()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("body")


def test_resumes_with_the_groups() -> None:
    def parts() -> tuple[Any, Any]:
        optimizer = torch.optim.SGD(rate_groups(net(), MULTIPLIERS), lr=0.05)
        return optimizer, SGDR(optimizer, 1, steps_per_epoch=5)

    optimizer, scheduler = parts()
    applied(scheduler, 7)
    states = optimizer.state_dict(), scheduler.state_dict()
    resumed, again = parts()
    resumed.load_state_dict(states[0])
    again.load_state_dict(states[1])
    assert applied(again, 9, group=1) == applied(scheduler, 9, group=1)


def test_patterns() -> None:
    model = net()
    body = [f"body_{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")]
    head, stem = (["head.weight", "head.bias"], ["stem.weight", "stem.bias"])
    assert names_of(model, rate_groups(model, {"head": 1, "body": 0.3})) == [head, body, stem]
    assert names_of(model, rate_groups(model, {"body_2": 1, "body": 0.3}))[:2] == [body[2:], body[:2]]
    assert names_of(model, rate_groups(model, {"b*.bias": 1, "*": 0.3}))[0] == [body[1], body[3]]
    assert names_of(model, rate_groups(model, {"stem": 1, "head": 1, "body": 1, "*": 0.3})) == [stem, head, body]


def test_patterns_of_a_resnet() -> None:
    model = resnet(50, "none")
    layer4, block, rest = names_of(model, rate_groups(model, {"layer4.0": 1.0, "layer4": 0.3, "*": 0.1}))
    assert all(name.startswith("layer4.0.") for name in layer4)
    assert all(name.startswith(("layer4.1.", "layer4.2.")) for name in block)
    assert {name.split(".")[0] for name in rest} == {"conv1", "bn1", "layer1", "layer2", "layer3", "fc"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"must be a dictionary\. Received: {}\. Pass such as"),
        ({"": 1.0}, r"that is not empty\. Received: ''\. Pass such as"),
        ({"head": -1}, r"`rate_multipliers\['head'\]` must be at least 0 and finite\. Received: .*-1\. Pass 1 for"),
        (
            {"tail": 1},
            r"first that matches some parameter\. Received: 'tail', which is not\. The names are such as head",
        ),
        ({"*": 1, "head": 1}, r"first that matches some parameter\. Received: 'head', which is not"),
        ({"hea": 1}, r"Received: 'hea', which is not"),
    ],
)
def test_refuses(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rate_groups(net(), given)
