"""SGDR as the paper states it: one loop in exact arithmetic. Slow, and it shares nothing with the package."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# Against `literal_rates`, relative to eta_max. Float64 rounds a few times on the way to a rate, at most half a unit
# each: T_cur / T_i where the two are beyond 2**53, pi times it, the cosine, 1 + cosine, the range, the decay, the sum.
FLOAT64 = 1e-15

# With T_mult < 1, cycles shorter than a millionth of an epoch are not run.
SHORTEST = Fraction(1, 10**6)

LENGTHS = [Fraction(T_0) for T_0 in (1, 2, 3, 5, 7, 10, 50, 0.5)]
FACTORS = [Fraction(T_mult) for T_mult in (1, 2, 3, 1.5, 9, 10)]
STEPS_PER_EPOCH = (1, 7, 61, 500)
UPDATES = 10**7


def literal_rates(
    updates: Iterable[int],
    steps_per_epoch: int,
    T_0: Fraction,
    T_mult: Fraction = Fraction(1),
    eta_max: float | Sequence[float] = 1.0,
    eta_min: float | Sequence[float] = 0.0,
    *,
    eta_max_decay: float = 1.0,
    eta_min_decay: float = 1.0,
    warmup: Fraction = Fraction(0),
    cycle_limit: int | None = None,
    end: str = "exclusive",
) -> NDArray[np.float64]:
    """The learning rates of `updates`, in ascending order; `T_0` and `T_mult` as in `WarmRestarts`, but exact."""

    def of_cycle(i: int) -> tuple[Fraction, Fraction]:
        peaks, floors = (rate if isinstance(rate, Sequence) else [rate] for rate in (eta_max, eta_min))
        peak = peaks[min(i, len(peaks) - 1)] * eta_max_decay**i
        floor = floors[min(i, len(floors) - 1)] * eta_min_decay**i
        return Fraction(peak), Fraction(min(floor, peak))

    rates = []
    i, t_i, T_i = 0, warmup, T_0
    over = False
    for k in updates:
        t = Fraction(k, steps_per_epoch)
        while not over and t >= t_i + T_i:
            # Equal cycles need no walking.
            passed = int((t - t_i) // T_i) if T_mult == 1 else 1
            if cycle_limit is not None:
                passed = min(passed, cycle_limit - i)
            i, t_i, T_i = i + passed, t_i + passed * T_i, T_i * T_mult
            over = i == cycle_limit or (T_mult < 1 and T_i < SHORTEST)
        peak, floor = of_cycle(i - over)
        T_cur, T_run = t - t_i, T_i
        if end == "inclusive":
            last_update = math.ceil((t_i + T_i) * steps_per_epoch) - 1
            first_update = math.ceil(t_i * steps_per_epoch)
            T_run = Fraction(last_update, steps_per_epoch) - t_i
            if last_update <= first_update:
                T_cur, T_run = Fraction(0), T_i
        if t < warmup:
            rate = floor + (peak - floor) * t / warmup
        elif over:
            rate = floor
        else:
            rate = floor + (peak - floor) * (1 + Fraction(math.cos(math.pi * float(T_cur / T_run)))) / 2
        rates.append(float(rate))
    return np.array(rates)


def boundaries(T_0: Fraction, T_mult: Fraction, steps_per_epoch: int, first: int, spread: int = 0) -> list[Fraction]:
    """Where cycles begin, counted in updates, below `UPDATES`: the `first` of them, and `spread` over the others."""
    length = T_0 * steps_per_epoch
    if T_mult == 1:
        count = math.ceil(UPDATES / length)
        chosen = {*range(min(first, count)), *np.linspace(0, count - 1, spread).astype(int).tolist()}
        return [i * length for i in sorted(chosen)]
    begins = [Fraction(0)]
    while begins[-1] + length < UPDATES and len(begins) < first:
        begins.append(begins[-1] + length)
        length *= T_mult
    return begins


def around(begins: Sequence[Fraction]) -> list[int]:
    """The updates at the boundaries, one before and one after each."""
    firsts = {math.ceil(begin) for begin in begins}
    return sorted({k for first in firsts for k in (first - 1, first, first + 1) if k >= 0})


def restarts_among(updates: Sequence[int], T_0: Fraction, T_mult: Fraction, steps_per_epoch: int) -> NDArray[np.bool_]:
    """Which of the updates lie exactly on the begin of a cycle; without any cosine."""
    exactly = []
    begin, length = Fraction(0), T_0 * steps_per_epoch
    for k in updates:
        if T_mult == 1:
            exactly.append(k % length == 0)
            continue
        while begin + length <= k:
            begin, length = begin + length, length * T_mult
        exactly.append(begin == k)
    return np.array(exactly)
