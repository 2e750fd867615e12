"""Tables of studies that were never run, with known answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from keras_sgdr import Schedule, StepDecay, WarmRestarts

__all__ = ["SCHEDULES", "plausible", "table"]

SCHEDULES: dict[str, Schedule] = {
    "step decay (60, 0.1)": StepDecay(0.001),
    "SGDR (10, 2)": WarmRestarts(10, 2, 0.001),
    "one cosine": WarmRestarts(100, eta_max=0.001, cycle_limit=1),
    "constant": StepDecay(0.001, gamma=1),
}


def table(losses: Mapping[str, Sequence[Sequence[float]]], ends: Mapping[str, Sequence[int]]) -> DataFrame:
    """The table of given validation losses: by schedule a row a seed, from 0, and in it a value an epoch, from 1.

    Args:
        losses: The other columns follow from these.
        ends: Epochs that end a cycle, by schedule.
    """
    rows = [
        {
            "schedule": schedule,
            "seed": seed,
            "epoch": epoch,
            "rate": 0.001,
            "loss": loss,
            "accuracy": 1 - loss,
            "val_loss": loss,
            "val_accuracy": 1 - loss,
            "cycle": sum(end < epoch for end in ends[schedule]) if ends.get(schedule) else -1,
            "cycle_end": epoch in ends.get(schedule, ()),
        }
        for schedule, runs in losses.items()
        for seed, run in enumerate(runs)
        for epoch, loss in enumerate(run, 1)
    ]
    return DataFrame(rows)


def plausible(schedules: Mapping[str, Schedule], epochs: int, seeds: int) -> DataFrame:
    """Losses as of fine-tuning: they fall with the sum of the rates, and rise and scatter with the present rate."""
    losses, ends = {}, {}
    for name, schedule in schedules.items():
        rates = schedule.learning_rates(epochs, 10).reshape(epochs, 10).mean(axis=1) * 1000
        done = np.exp(-np.cumsum(rates) / 6)
        losses[name] = [list(0.2 + 0.5 * done + 0.15 * rates + noise(seed, rates)) for seed in range(seeds)]
        ends[name] = [int(end) for end in schedule.cycle_ends(epochs) if end == math.floor(end)]
    return table(losses, ends)


def noise(seed: int, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is a seed's under every schedule, and what is an epoch's."""
    random = np.random.default_rng(seed)
    return random.normal(0, 0.02) + random.normal(0, 0.04, len(rates)) * rates
