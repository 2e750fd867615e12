"""Arguments at random for the reference in PyTorch, whose rates are held against those of `keras_sgdr`."""

from __future__ import annotations

import inspect
import io
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import torch

from faults.arguments.target import FLAGS, NASTY, Target, Used, try_targets
from faults.trials import Fault, Settings, Trials
from keras_sgdr import StepDecay, WarmRestarts
from torch_reference import optimizers, schedulers
from torch_reference.models import resnet
from torch_reference.training import train

RATE, STEPS = 0.1, 4
UPDATES = 3 * STEPS
NO_OPTIMIZERS: tuple[Any, ...] = (None, 0, "sgd", torch.optim.SGD, [], object(), torch.nn.Linear(1, 1))
LENGTHS = {
    "T_0": (10, 1, 0.5, 2.5, np.float32(1.5), Fraction(1, 2)),
    "T_mult": (1, 2, 1.5, 3, 0.5, np.int64(2)),
    "eta_min": (0.0, 0, 0.001),
    "eta_max_decay": (1.0, 0.5, 1),
    "eta_min_decay": (1.0, 0.5, 1),
    "warmup": (0, 1, 0.5),
    "cycle_limit": (None, 1, 2, np.int64(3)),
    "end": ("exclusive", "inclusive"),
}
RATES = (0.1, 0.01, 1, np.float32(0.05), torch.tensor(0.1))


def trials(settings: Settings) -> Iterator[Trials]:
    row = Trials("arguments at random: the reference in PyTorch", settings.backend)
    trained(1)  # What takes long the first time.
    try_targets(row, targets(), random.Random(settings.seed), settings.count(1000, 100) / 1000)
    yield row


def targets() -> list[Target]:
    """What is tried; optimizers are made anew for each set of arguments."""
    steps = {"steps_per_epoch": (STEPS,), "last_epoch": (-1,), "optimizer": (sgd, adamwr)}
    parameter = torch.nn.Parameter(torch.ones(3))
    betas = ((0.9, 0.999), (0.0, 0.5), [0.5, 0.5])
    no = {"optimizer": NO_OPTIMIZERS}
    # So many epochs as some ask for would be run.
    few = [value for value in NASTY if not isinstance(value, int | np.integer) or value < 10]
    return [
        Target("SGDR", anew(schedulers.SGDR), {**LENGTHS, **steps}, 400, use_sgdr, no),
        Target(
            "StepDecay",
            anew(schedulers.StepDecay),
            {"step_size": (1, 2, 60, np.int64(3)), "gamma": (0.1, 0.5, 1), **steps},
            150,
            use_step_decay,
            no,
        ),
        Target(
            "KerasSGD",
            partial(optimizers.KerasSGD, [parameter]),
            {"lr": RATES, "momentum": (0.0, 0.9), "nesterov": (False, True), "weight_decay": (0.0, 0.1)},
            150,
            use_optimizer,
            {"nesterov": FLAGS},
        ),
        Target(
            "AdamWR",
            partial(optimizers.AdamWR, [parameter]),
            {"lr": RATES, "lambda_norm": (0.025, 0), "betas": betas, "eps": (1e-8, 1)},
            150,
            use_optimizer,
        ),
        Target("train", trained, {"epochs": (1, 2, np.int64(1)), "initial_epoch": (0, 1)}, 100, odd={"epochs": few}),
        Target(
            "resnet",
            lambda depth, weights, classes: resnet(depth, weights, classes),
            {"depth": (50,), "weights": ("none",), "classes": (2,)},
            50,
        ),
    ]


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=RATE)


def adamwr() -> torch.optim.Optimizer:
    return optimizers.AdamWR([torch.nn.Parameter(torch.ones(2))], lr=torch.tensor(RATE, dtype=torch.float64))


def anew(scheduler: Callable[..., Any]) -> Callable[..., Any]:
    """The scheduler on a new optimizer, with the same signature."""

    def make(optimizer: Any, **options: Any) -> Any:
        if optimizer in (sgd, adamwr):
            optimizer = optimizer()
            for group in optimizer.param_groups:  # As PyTorch wants it of one that is resumed.
                group["initial_lr"] = RATE
        return scheduler(optimizer, **options)

    make.__signature__ = inspect.signature(scheduler)  # type: ignore[attr-defined]
    return make


def rates_of(scheduler: Any, updates: int) -> list[float]:
    """The rates of the next updates, as applied."""
    optimizer = scheduler.optimizer
    rates = []
    for _ in range(updates):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        scheduler.step()
    return rates


def check(scheduler: Any, expected: Any) -> None:
    """See that the scheduler gives these rates, and goes on with them from its state at any update."""
    half = UPDATES // 2
    rates = rates_of(scheduler, half)
    # Through a file, as a checkpoint goes.
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    scheduler.load_state_dict(torch.load(file, weights_only=True))
    rates += rates_of(scheduler, UPDATES - half)
    if expected is not None and not np.allclose(rates, expected, rtol=1e-12, atol=0):
        raise Fault("wrong", f"rates {rates}, of keras_sgdr {expected.tolist()}")
    if not (np.isfinite(rates).all() and min(rates) >= 0 and max(rates) <= RATE * (1 + 1e-12)):
        raise Fault("wrong", f"rates {rates}")


def theirs(make: Callable[[], Any], steps_per_epoch: int) -> Any:
    """The rates of `keras_sgdr`, None where it refuses what the reference takes."""
    try:
        return make().learning_rates(-(-UPDATES // steps_per_epoch), steps_per_epoch)[:UPDATES]
    except ValueError:
        return None


def use_sgdr(used: Used) -> None:
    scheduler, given = used.made, dict(used.given)
    begin = given.pop("last_epoch", -1)
    del given["optimizer"], given["steps_per_epoch"]
    expected = None
    # With T_mult below 1 the reference ends with the cycles that are too short to be run.
    if begin == -1 and given.get("T_mult", 2) >= 1:
        expected = theirs(lambda: WarmRestarts(eta_max=RATE, **given), scheduler.steps_per_epoch)
    check(scheduler, expected)
    scheduler.cycle_at(UPDATES)


def use_step_decay(used: Used) -> None:
    scheduler, begin = used.made, used.given.get("last_epoch", -1)
    expected = None
    if begin == -1:
        make = partial(StepDecay, RATE, scheduler.step_size, scheduler.gamma)
        expected = theirs(make, scheduler.steps_per_epoch)
    check(scheduler, expected)


def use_optimizer(used: Used) -> None:
    """Make an update by a gradient and one by none, and see that small arguments give finite weights."""
    optimizer = used.made
    group = optimizer.param_groups[0]
    (parameter,) = group["params"]
    with torch.no_grad():
        parameter.fill_(1.0)
    if "lambda_i" in group:
        group["lambda_i"] = 0.1
    for gradient in (torch.tensor([0.5, -1.0, 0.0]), torch.zeros(3)):
        parameter.grad = gradient
        optimizer.step()
    arguments = [float(value) for value in used.given.values() if isinstance(value, int | float | np.number)]
    if not torch.isfinite(parameter).all() and all(abs(value) < 10 for value in arguments):
        raise Fault("wrong", f"weights {parameter}")


def trained(epochs: Any, initial_epoch: Any = 0) -> None:
    """Train a model of two weights."""
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    scheduler = schedulers.SGDR(optimizer, 1, steps_per_epoch=2)
    batch = torch.ones(4, 3), torch.tensor([0, 1, 0, 1])
    run = train(model, optimizer, scheduler, lambda epoch: [batch, batch], epochs=epochs, initial_epoch=initial_epoch)
    if len(run.epochs) != max(0, int(epochs) - int(initial_epoch)) or not np.isfinite(run.losses).all():
        raise Fault("wrong", f"{len(run.epochs)} epochs, losses {run.losses}")
