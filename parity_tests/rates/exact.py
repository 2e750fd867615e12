"""The rates of every case from a loop over integers, which stands beside the two implementations as a third."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from parity_tests.rates.cases import RateCase

__all__ = ["as_pytorch_means_it", "cycles", "exact_rates", "restarts"]


def cycles(case: RateCase) -> Iterator[tuple[int, Fraction, Fraction]]:
    """Number, begin and length of each cycle, in updates, exactly."""
    begin, length = Fraction(case.warmup * case.steps_per_epoch), Fraction(case.T_0 * case.steps_per_epoch)
    for i in itertools.count():
        # Shrinking cycles have a limit point, and no side runs cycles of less than a millionth of an epoch.
        if i == case.cycle_limit or length < Fraction(case.steps_per_epoch, 10**6):
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
        case: The case.
        positions: Updates in rising order; None for all of the case's.
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


def as_pytorch_means_it(case: RateCase) -> bool:
    """Whether PyTorch's `CosineAnnealingWarmRestarts` has the schedule: whole updates, whole growth, nothing more."""
    plain = (case.eta_max_decay, case.eta_min_decay, case.warmup, case.cycle_limit, case.end)
    whole = (case.T_0 * case.steps_per_epoch % 1, case.T_mult % 1)
    return whole == (0, 0) and case.T_mult >= 1 and plain == (1.0, 1.0, 0, None, "exclusive")
