"""A row of the table: a ratio of two times, its spread over the rounds, and the goal it is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Row", "difference", "ratio", "readable"]

Met = Literal["yes", "within the spread", "no", ""]


@dataclass(frozen=True)
class Row:
    """What was measured, beside what.

    Attributes:
        what: What is ours.
        against: What it is compared with.
        quartiles: Lower quartile, median and upper quartile of ours over the other's, round by round. None where there
            is no figure; `note` says why then.
        rounds: Number of rounds.
        at_most: The goal: what the median is not to exceed. None where there is none.
        ours: Median of ours, readable, such as `"4.1 s"`.
        theirs: Median of the other's.
        unit: Empty for a ratio; `"ms"` for a difference in milliseconds.
        note: A remark.
    """

    what: str
    against: str
    quartiles: tuple[float, float, float] | None = None
    rounds: int = 0
    at_most: float | None = None
    ours: str = ""
    theirs: str = ""
    unit: str = ""
    note: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Row:
        """The row whose attributes were written as JSON."""
        quartiles = values.get("quartiles")
        return cls(**{**values, "quartiles": tuple(quartiles) if quartiles else None})

    @property
    def met(self) -> Met:
        """Whether the goal is met: by the median, or only by the quartile next to it."""
        if self.quartiles is None or self.at_most is None:
            return ""
        lower, median, _ = self.quartiles
        if median <= self.at_most:
            return "yes"
        return "within the spread" if lower <= self.at_most else "no"


def ratio(
    what: str,
    against: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    at_most: float | None = None,
    *,
    per: float = 1.0,
    note: str = "",
) -> Row:
    """A row of ratios of two times (seconds) of the same round.

    Args:
        what: What is ours.
        against: What it is compared with.
        ours: Its time in each round.
        theirs: The other's.
        at_most: The goal.
        per: By what the times are divided where they are shown, such as the steps of an epoch.
        note: A remark.

    Raises:
        ValueError: If the rounds are not as many, or none.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"Both must have a time in each round. Received: {len(ours)} and {len(theirs)} rounds.")
    left, right = (readable(float(np.median(times)) / per) for times in (ours, theirs))
    ratios = np.asarray(ours, float) / np.asarray(theirs, float)
    return Row(what, against, _quartiles(ratios), len(ours), at_most, left, right, note=note)


def difference(what: str, against: str, seconds: Sequence[float], at_most: float, theirs: Sequence[float]) -> Row:
    """A row of what ours takes beyond the other, shown in milliseconds.

    Args:
        what: What is ours.
        against: What comes before it.
        seconds: What ours takes more, in each round.
        at_most: The goal, in milliseconds.
        theirs: What the other takes, in seconds.
    """
    beyond = [1e3 * value for value in seconds]
    both = [ours + other for ours, other in zip(seconds, theirs, strict=True)]
    left, right = (readable(float(np.median(times))) for times in (both, theirs))
    return Row(what, against, _quartiles(beyond), len(beyond), at_most, left, right, unit="ms")


def readable(seconds: float) -> str:
    """A time with three digits and its unit."""
    unit, size = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("µs", 1e-6)
    value = seconds / size
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _quartiles(values: Sequence[float] | np.ndarray[Any, Any]) -> tuple[float, float, float]:
    lower, median, upper = (float(f"{value:.5g}") for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return lower, median, upper
