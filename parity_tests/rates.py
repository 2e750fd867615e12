"""The rates of every case, from each side in a process of its own, and from a loop over integers as the third witness.

    python -m parity_tests.rates torch OUT.npz
    KERAS_BACKEND=tensorflow python -m parity_tests.rates keras OUT.npz

OUT.npz holds, under "what/case", the rate of every update: of `torch_reference` ("reference") and of PyTorch's own
`CosineAnnealingWarmRestarts`, stepped without ("step") and with an argument ("step_epoch"), float64; of
`WarmRestarts.learning_rates` ("array"), float64, of a compiled `SGDRSchedule` ("schedule") and of what the `SGDR`
callback let `fit` apply ("fit"), float32.
"""

from __future__ import annotations

import itertools
import math
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.cases import BEYOND_INTEGERS, FIT_CASES, RATE_CASES, RateCase

__all__ = ["as_pytorch_means_it", "cycles", "exact_rates", "restarts"]

Array = NDArray[Any]


# The third witness
# ------------------------------------------------------------------------


def cycles(case: RateCase) -> Iterator[tuple[int, Fraction, Fraction]]:
    """Number, begin and length of each cycle, in updates, exactly."""
    begin, length = Fraction(case.warmup * case.steps_per_epoch), Fraction(case.T_0 * case.steps_per_epoch)
    for i in itertools.count():
        # Shrinking cycles have a limit point, and no side runs cycles of less than a millionth of an epoch.
        if i == case.cycles or length < Fraction(case.steps_per_epoch, 10**6):
            return
        yield i, begin, length
        begin, length = begin + length, length * case.T_mult


def restarts(case: RateCase, updates: int) -> list[int]:
    """The first update of every cycle but the first, up to `updates`. Cycles between two updates have none."""
    begins = itertools.takewhile(lambda cycle: cycle[1] < updates, cycles(case))
    members = ((math.ceil(begin), math.ceil(begin + length)) for i, begin, length in begins if i > 0)
    return [first for first, stop in members if first < min(stop, updates)]


def exact_rates(case: RateCase, positions: Sequence[int] | None = None) -> NDArray[np.float64]:
    """The paper's equation (5), one cycle after the other, every position a quotient of two Python integers.

    Args:
        case: the case.
        positions: updates in rising order; None for all of the case's.
    """
    positions = range(case.updates) if positions is None else positions
    quotients, peaks, floors = (np.zeros(len(positions)) for _ in range(3))
    warmup = Fraction(case.warmup * case.steps_per_epoch)
    at = bisect_left(positions, warmup)
    quotients[:at] = [k / warmup for k in positions[:at]]
    eta_min = case.eta_min
    rising = case.eta_min + (case.eta_max - case.eta_min) * quotients[:at]
    for i, begin, length in cycles(case):
        if at == len(positions):
            break
        eta_max = case.eta_max * case.eta_max_decay**i
        eta_min = min(case.eta_min * case.eta_min_decay**i, eta_max)
        first, last = math.ceil(begin), math.ceil(begin + length) - 1
        until = bisect_left(positions, last + 1, lo=at)
        peaks[at:until], floors[at:until] = eta_max, eta_min
        T_i = length if case.end == "exclusive" else last - begin
        unit = math.lcm(begin.denominator, T_i.denominator)
        whole_begin, whole_T_i = int(begin * unit), int(T_i * unit)
        if case.end == "exclusive" or last > first:  # The only update of a cycle is made at eta_max.
            # Python rounds the quotient of two integers to the nearest float64, however long they are.
            quotients[at:until] = [(k * unit - whole_begin) / whole_T_i for k in positions[at:until]]
        at = until
    peaks[at:], floors[at:] = eta_min, eta_min
    rates = floors + 0.5 * (peaks - floors) * (1 + np.cos(np.pi * quotients))
    rates = np.where(quotients == 0, peaks, rates)
    rates[: len(rising)] = rising
    return rates


# The two sides
# ------------------------------------------------------------------------


def as_pytorch_means_it(case: RateCase) -> bool:
    """Whether PyTorch's `CosineAnnealingWarmRestarts` has the schedule: whole updates, whole growth, nothing more."""
    plain = (case.eta_max_decay, case.eta_min_decay, case.warmup, case.cycles, case.end)
    whole = (case.T_0 * case.steps_per_epoch % 1, case.T_mult % 1)
    return whole == (0, 0) and case.T_mult >= 1 and plain == (1.0, 1.0, 0, None, "exclusive")


def torch_traces() -> dict[str, Array]:
    import torch
    from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

    from torch_reference.schedulers import SGDR

    def optimizer(case: RateCase) -> torch.optim.SGD:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=case.eta_max)

    def applied(scheduler: Any, updates: int, *, told: bool = False) -> Array:
        (group,) = scheduler.optimizer.param_groups
        scheduler.optimizer.step()  # PyTorch warns of a scheduler that is stepped before any update.
        rates = np.empty(updates)
        for k in range(updates):
            rates[k] = group["lr"]
            scheduler.step(*([k + 1] if told else []))
        return rates

    traces = {}
    for case in RATE_CASES + BEYOND_INTEGERS:
        scheduler = SGDR(optimizer(case), steps_per_epoch=case.steps_per_epoch, **case.settings)
        traces[f"reference/{case.name}"] = applied(scheduler, case.updates)
        if as_pytorch_means_it(case):
            for what in ("step", "step_epoch"):
                own = CosineAnnealingWarmRestarts(
                    optimizer(case), int(case.T_0 * case.steps_per_epoch), int(case.T_mult), case.eta_min
                )
                traces[f"{what}/{case.name}"] = applied(own, case.updates, told=what == "step_epoch")
    return traces


def keras_traces() -> dict[str, Array]:
    import keras

    from keras_sgdr import SGDR, SGDRSchedule, WarmRestarts
    from tests.callbacks.probe import fit, probe

    traces = {}
    for case in RATE_CASES + BEYOND_INTEGERS:
        restarts = WarmRestarts(eta_max=case.eta_max, **case.settings)
        traces[f"array/{case.name}"] = restarts.learning_rates(case.epochs, case.steps_per_epoch)
        schedule = SGDRSchedule(case.eta_max, steps_per_epoch=case.steps_per_epoch, **case.settings)
        traces[f"schedule/{case.name}"] = vectorised(schedule, np.arange(case.updates))
    for case in FIT_CASES:
        model = probe(keras.optimizers.SGD(case.eta_max), steps=case.steps_per_epoch)
        traces[f"fit/{case.name}"] = fit(model, SGDR(**case.settings), epochs=case.epochs)
    return traces


def vectorised(schedule: Any, updates: Array) -> Array:
    """A Keras schedule of every update in one call, compiled where the backend compiles."""
    import keras

    match keras.config.backend():
        case "tensorflow":
            import tensorflow as tf

            compiled = tf.function(lambda k: tf.vectorized_map(schedule, k, fallback_to_while_loop=False))
            return np.asarray(compiled(tf.constant(updates)))
        case "jax":
            import jax

            return np.asarray(jax.jit(jax.vmap(schedule))(updates))
        case _:
            import torch

            return np.asarray(torch.vmap(schedule)(torch.from_numpy(updates)))


if __name__ == "__main__":
    arrays: dict[str, Any] = torch_traces() if sys.argv[1] == "torch" else keras_traces()
    np.savez(sys.argv[2], **arrays)
