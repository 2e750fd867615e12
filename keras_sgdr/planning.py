"""Cycles that end exactly when the budget does: `WarmRestarts.plan`.

Cycles of `T_0, T_0 T_mult, ..., T_0 T_mult^(n-1)` epochs fill a budget of `E` epochs after a warmup of `w` if

    T_0 = (E - w) / (1 + T_mult + ... + T_mult^(n-1)),

in exact fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from keras_sgdr.arguments import Epochs, exact, is_epochs, is_integer, require
from keras_sgdr.cycles import WarmRestarts

__all__ = ["HEADINGS", "Plan", "Proposal", "propose"]

# The paper's factors, proposed always, in this order; then others, proposed where all their cycles end on whole epochs.
PAPER = (Fraction(2), Fraction(1))
OTHERS = (Fraction(3), Fraction(3, 2), Fraction(4))
# Without a wish for a number: one cosine, which is the control of every comparison, up to as many cycles as the paper's
# longest runs begin (T_0=1, T_mult=2, 200 epochs).
SENSIBLE = range(1, 9)
# Epochs. Shorter cycles hold a handful of updates even of a large data set.
SHORTEST = Fraction(1, 1000)

HEADINGS = ("T_0", "T_mult", "cycles", "ends after epoch", "whole epochs")
_SHOWN = 8  # Ends in a row of the table.


@dataclass(frozen=True)
class Proposal:
    """Cycles that fill a budget of epochs.

    Attributes:
        epochs: The budget: the last cycle ends after so many epochs.
        T_0: Length of the first cycle in epochs, exact.
        T_mult: Factor from one cycle's length to the next, exact.
        cycles: Number of cycles.
        warmup: Epochs before the first cycle, exact.
    """

    epochs: int
    T_0: Fraction
    T_mult: Fraction
    cycles: int
    warmup: Fraction = Fraction(0)

    @cached_property
    def ends(self) -> list[float]:
        """The epochs after which a cycle is complete; the last is the budget."""
        return self.restarts().cycle_ends(self.epochs)

    @cached_property
    def whole(self) -> bool:
        """Whether all cycles end with an epoch, where validation and checkpoints find them."""
        return all(end == int(end) for end in self.ends)

    def restarts(
        self, eta_max: float | Sequence[float] = 1.0, eta_min: float | Sequence[float] = 0.0, **options: Any
    ) -> WarmRestarts:
        """The schedule, for `SGDR(schedule=...)`. It goes on with a next cycle if training goes on after the budget.

        Args:
            eta_max: Learning rate at every restart, or a list; the default gives the schedule relative to its peak.
            eta_min: Learning rate that a cycle anneals to, or a list.
            **options: Of `WarmRestarts`: `eta_max_decay`, `eta_min_decay`, `cycles`, `end`.

        Raises:
            ValueError: If a value is out of range.
        """
        return WarmRestarts(self.T_0, self.T_mult, eta_max, eta_min, warmup=self.warmup, **options)

    def cells(self) -> tuple[str, ...]:
        """A row of a table under `HEADINGS`."""
        ends = [f"{end:.5g}" for end in self.ends[: _SHOWN - 1]]
        if self.cycles > _SHOWN:
            ends.append("...")
        if self.cycles >= _SHOWN:
            ends.append(str(self.epochs))
        return _written(self.T_0), _written(self.T_mult), str(self.cycles), ", ".join(ends), "yes" if self.whole else ""

    def __str__(self) -> str:
        return f"T_0={_written(self.T_0)}, T_mult={_written(self.T_mult)}"


class Plan(tuple[Proposal, ...]):
    """Proposals in the order of preference; a table when printed."""

    def __str__(self) -> str:
        rows = [HEADINGS, *(proposal.cells() for proposal in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def propose(epochs: int, cycles: int | None = None, warmup: Epochs = 0.0) -> Plan:
    """See `WarmRestarts.plan`."""
    require(
        is_integer(epochs),
        "`epochs` must be a positive integer.",
        "epochs",
        epochs,
        "Pass the epochs that `fit` will run.",
    )
    require(
        cycles is None or is_integer(cycles),
        "`cycles` must be a positive integer or None.",
        "cycles",
        cycles,
        "Pass how many cycles to fit into the budget, or None for all sensible numbers of them.",
    )
    require(
        is_epochs(warmup) and 0 <= exact(warmup) < epochs,
        f"`warmup` must be a number of epochs, 0 or more, and leave some of the budget of {epochs} to the cycles.",
        "warmup",
        warmup,
        "Pass warmup=0 for none.",
    )
    budget = int(epochs) - exact(warmup)
    require(
        cycles is None or cycles * SHORTEST <= budget,
        f"`cycles` in {budget} epochs must leave each at least {float(SHORTEST)} epochs.",
        "cycles",
        cycles,
        f"Pass at most cycles={budget // SHORTEST}, or more epochs.",
    )
    numbers = SENSIBLE if cycles is None else (int(cycles),)
    # Asked for no number, none of cycles shorter than an epoch.
    least = min(Fraction(1), budget) if cycles is None else SHORTEST
    found = [
        Proposal(int(epochs), T_0, T_mult, number, exact(warmup))
        for number in numbers
        for T_mult in ((*PAPER, *OTHERS) if number > 1 else (Fraction(1),))
        if (T_0 := _first_length(budget, number, T_mult, least)) is not None
    ]
    kept = [proposal for proposal in found if proposal.whole or proposal.T_mult in PAPER]
    order = (*PAPER, *OTHERS)
    return Plan(sorted(kept, key=lambda proposal: (not proposal.whole, order.index(proposal.T_mult))))


def _first_length(budget: Fraction, cycles: int, T_mult: Fraction, least: Fraction) -> Fraction | None:
    """`T_0` of so many cycles that fill the budget, or None if it is below `least`."""
    total, power = Fraction(0), Fraction(1)
    for _ in range(cycles):
        total += power
        power *= T_mult
        if total * least > budget:
            return None
    return budget / total


def _written(value: Fraction) -> str:
    """A decimal where a short one is exact, else a fraction."""
    decimal = f"{float(value):.6g}"
    return decimal if Fraction(decimal) == value else str(value)
