"""The reference's and PyTorch's own rates and optimizer paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler

from parity_tests.processes import Arrays
from parity_tests.rates.cases import BEYOND_INTEGERS, MISSED_WITH_EPOCH, MOST_STEPS, RATE_CASES, RateCase
from parity_tests.rates.exact import as_pytorch_means_it
from parity_tests.rates.optimizers import ADAMWR_CASES, CASES, CYCLE_UPDATES, RATES, START, gradient
from torch_reference.optimizers import AdamWR, KerasSGD
from torch_reference.schedulers import SGDR

__all__ = ["arrays"]

Array = NDArray[Any]


def arrays(config: None) -> Arrays:
    """The rate of every update of a case, and the weights before the first update of a path and after each, float64.

    "reference/CASE" is `torch_reference`'s SGDR; "step/CASE" and "step_epoch/CASE" are PyTorch's own
    `CosineAnnealingWarmRestarts`, stepped without an argument and, up to the first restart that it misses, with one.
    "pytorch/CASE", "keras/CASE" and "adamwr/CASE" are the paths of PyTorch's SGD, and of the reference's KerasSGD and
    AdamWR.
    """
    del config
    results = {}
    for case in RATE_CASES + BEYOND_INTEGERS:
        reference = SGDR(sgd(case), steps_per_epoch=case.steps_per_epoch, **case.settings)
        results[f"reference/{case.name}"] = applied(reference, case.updates)
        if as_pytorch_means_it(case):
            results[f"step/{case.name}"] = applied(pytorchs(case), case.shortened(MOST_STEPS).updates)
        if case.name in MISSED_WITH_EPOCH:
            updates = MISSED_WITH_EPOCH[case.name] + 1
            results[f"step_epoch/{case.name}"] = applied(pytorchs(case), updates, with_epoch=True)
    forms: dict[str, Any] = {"pytorch": torch.optim.SGD, "keras": KerasSGD}
    results |= {f"{form}/{case}": path(forms[form], CASES[case]) for form in forms for case in CASES}
    return results | {f"adamwr/{case}": path(AdamWR, settings) for case, settings in ADAMWR_CASES.items()}


def sgd(case: RateCase) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case.eta_max)


def pytorchs(case: RateCase) -> LRScheduler:
    T_0 = int(case.T_0 * case.steps_per_epoch)
    return CosineAnnealingWarmRestarts(sgd(case), T_0, int(case.T_mult), case.eta_min)


def applied(scheduler: LRScheduler, updates: int, *, with_epoch: bool = False) -> Array:
    """The rates that the optimizer holds when the updates are made."""
    (group,) = scheduler.optimizer.param_groups
    scheduler.optimizer.step()  # PyTorch warns of a scheduler that is stepped before any update.
    rates = np.empty(updates)
    for k in range(updates):
        rates[k] = group["lr"]
        scheduler.step(*([k + 1] if with_epoch else []))
    return rates


def path(optimizer_class: Any, settings: dict[str, Any]) -> Array:
    """The weights, shape (updates + 1, 2, 3)."""
    parameter = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = optimizer_class([parameter], lr=RATES[0], **settings)
    weights = [START]
    for rate, updates in zip(RATES, CYCLE_UPDATES, strict=True):
        group = optimizer.param_groups[0]
        group["lr"] = rate
        if "lambda_norm" in group:
            group["lambda_i"] = group["lambda_norm"] / updates**0.5
        parameter.grad = torch.from_numpy(gradient(weights[-1]))
        optimizer.step()
        weights.append(parameter.detach().numpy().copy())
    return np.stack(weights)
