"""`eta_max_i` and `eta_min_i`: the rates between which each cycle anneals, listed or decayed from cycle to cycle."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from keras_sgdr._checks import between, is_number, require
from keras_sgdr.schedules.exact import MOST_RATES, FloatArray, IntArray

__all__ = ["Peaks", "Rates", "check_rates"]

# One rate, or one for each cycle, of which the last holds on.
Rates: TypeAlias = float | Sequence[float]


def check_rates(name: str, value: object, decay: object, limit: int | None) -> Rates:
    """The rates of `eta_max` or `eta_min` as a float or a tuple of floats.

    Raises:
        ValueError: If a rate is out of range, or a list too long or beside a decay.
    """
    between(f"{name}_decay", decay, "(0, 1]", f"Pass {name}_decay=1 for no decay.")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    rates: list[Any] = list(value) if isinstance(value, Sequence) and listed else [value]
    if listed:
        rule = f"A list for `{name}` must have one rate per cycle: at least 1"
        rule += f", at most cycle_limit={limit}." if limit else "."
        require(
            1 <= len(rates) <= (limit or len(rates)),
            rule,
            name,
            value,
            "The last rate holds on for the cycles after it.",
        )
        rule = f"A list for `{name}` already says every cycle's rate, so `{name}_decay` must be 1."
        require(decay == 1, rule, f"{name}_decay", decay, f"Pass a number for `{name}`, or leave out `{name}_decay`.")
    if name == "eta_max":
        kind, fix = "positive", "Pass a learning rate, such as eta_max=0.1."
        valid = all(is_number(rate) and rate > 0 for rate in rates)
    else:
        kind, fix = "non-negative", "Pass eta_min=0 to anneal to nothing."
        valid = all(is_number(rate) and rate >= 0 for rate in rates)
    require(valid, f"`{name}` must be a finite {kind} number, or a list of such.", name, value, fix)
    return tuple(map(float, rates)) if listed else float(rates[0])


@dataclass(frozen=True)
class Peaks:
    """The rates of each cycle; the floor never exceeds the peak.

    Attributes:
        eta_max: Rate at the restarts, checked; None for 1.
        eta_min: Rate that the cycles anneal to, checked.
        eta_max_decay: Factor on `eta_max` at each restart.
        eta_min_decay: Factor on `eta_min` at each restart.
    """

    eta_max: Rates | None
    eta_min: Rates
    eta_max_decay: float
    eta_min_decay: float

    def check(self) -> None:
        """Raise a `ValueError` unless every cycle's floor is at most its peak."""
        peaks, floors = self._listed
        for i in np.flatnonzero(floors > peaks)[:1].tolist():
            rule = f"`eta_min` must not exceed `eta_max`, in cycle {i} either."
            received = float(floors[i]), float(peaks[i])
            require(False, rule, "(eta_min, eta_max)", received, "Lower `eta_min` or raise `eta_max`.")

    @cached_property
    def _listed(self) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the cycles that lists tell apart, before any decay."""
        peaks, floors = np.atleast_1d(1.0 if self.eta_max is None else self.eta_max), np.atleast_1d(self.eta_min)
        i = np.arange(max(len(peaks), len(floors)))
        return peaks[np.minimum(i, len(peaks) - 1)], floors[np.minimum(i, len(floors) - 1)]

    def of(self, index: IntArray) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the cycles of these numbers."""
        peaks, floors = (rates[np.minimum(index, len(rates) - 1)] for rates in self._listed)
        if self.eta_max_decay != 1:
            peaks = peaks * np.float_power(self.eta_max_decay, index)
        if self.eta_min_decay != 1:
            floors = floors * np.float_power(self.eta_min_decay, index)
        return peaks, np.minimum(floors, peaks)

    def differing(self, count: int) -> tuple[FloatArray, FloatArray]:
        """`eta_max` and `eta_min` of the first `count` cycles, without those at the end that repeat the one before.

        Raises:
            ValueError: If they are too many.
        """
        if self.eta_max_decay == self.eta_min_decay == 1:
            count = min(count, len(self._listed[0]))
        rule = f"Rates that decay must do so over at most {MOST_RATES} cycles."
        require(count <= MOST_RATES, rule, "cycles", count, "Choose longer cycles, or a list of rates.")
        # After the lists the rates only fall, so those that equal the last are together.
        last = self.of(np.array(count - 1))
        listed = min(len(self._listed[0]), count) - 1
        size = bisect.bisect_left(range(count), True, lo=listed, key=lambda i: self.of(np.array(i)) == last)
        return self.of(np.arange(size + 1))
