"""The reference's training loop, and the rows of its cycles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parity_tests.reference.helpers import EPS, applied, sgd, tiny_batches, tiny_model
from torch_reference.__main__ import cycle_rows
from torch_reference.schedulers import SGDR
from torch_reference.training import train


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
