"""Ten million learning rates, beside PyTorch's scheduler stepped and Keras's schedule called as often."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from benchmarks.rows import Row, ratio, readable
from benchmarks.settings import Settings
from benchmarks.turns import take_turns

__all__ = ["rows"]

RATES, EPOCHS, STEPS = 10**7, 50_000, 200
# The others are called once for each rate, in a sample whose time is multiplied: so many calls, or for so long (on JAX
# one takes a tenth of a second).
SAMPLE, SECONDS = 20_000, 1.0
T_0, T_MULT, ETA_MAX = 10, 2, 0.1
MOST = 0.01


def sampled(call: Callable[[int], Any]) -> float:
    """Seconds of `RATES` calls, from a sample."""
    began = time.perf_counter()
    for step in count():
        call(step)
        seconds = time.perf_counter() - began
        if step + 1 >= SAMPLE or seconds > SECONDS:
            break
    return seconds * RATES / (step + 1)


def stepping() -> Callable[[int], Any]:
    """PyTorch's scheduler, stepped."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=ETA_MAX)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0 * STEPS, T_MULT)
    return lambda step: scheduler.step()


def rows(settings: Settings) -> Iterator[Row]:
    """A row for each of the two, PyTorch's only where it is installed."""
    others: dict[str, Callable[[int], Any]] = {}
    if "torch" in settings.backends:
        others["PyTorch's CosineAnnealingWarmRestarts.step()"] = stepping()  # PyTorch is imported before TensorFlow.
    import keras

    from keras_sgdr import WarmRestarts

    schedule = keras.optimizers.schedules.CosineDecayRestarts(ETA_MAX, T_0 * STEPS, T_MULT)
    others[f"Keras's CosineDecayRestarts called, {settings.backend}"] = lambda step: float(schedule(step))

    def ours() -> float:
        began = time.perf_counter()
        rates = WarmRestarts(T_0, T_MULT, ETA_MAX).learning_rates(EPOCHS, STEPS)
        seconds = time.perf_counter() - began
        assert len(rates) == RATES
        return seconds

    def turn(call: Callable[[int], Any]) -> Callable[[], float]:
        return lambda: sampled(call)

    ours()  # What is imported or allocated once.
    turns = {"ours": ours, **{name: turn(call) for name, call in others.items()}}
    seconds = take_turns(turns, settings.rounds, settings.seconds)
    for name in others:
        each = readable(sorted(seconds[name])[len(seconds[name]) // 2] / RATES)
        note = f"from a sample of calls, {each} each"
        yield ratio("10,000,000 rates of `WarmRestarts`", name, seconds["ours"], seconds[name], MOST, note=note)
