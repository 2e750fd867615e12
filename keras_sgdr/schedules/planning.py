"""Cycles that end exactly when the budget does: a number of epochs to `T_0`, `T_mult` and the number of cycles.

Cycles of `T_0, T_0 T_mult, ..., T_0 T_mult^(n-1)` epochs fill a budget of `E` epochs after a warmup of `w` if

    T_0 = (E - w) / (1 + T_mult + ... + T_mult^(n-1)),

in exact fractions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from keras_sgdr._checks import integer, require
from keras_sgdr.schedules.exact import MOST_UPDATES, Epochs, check_fraction, to_fraction
from keras_sgdr.schedules.grid import Boundaries

__all__ = ["first_length", "listed", "propose", "row", "table", "written"]

# The paper's factors, proposed always, in this order; then others, proposed where all their cycles end on whole epochs.
PAPER = (Fraction(2), Fraction(1))
OTHERS = (Fraction(3), Fraction(3, 2), Fraction(4))
# Unless a number is asked for: one cosine, which is the control of every comparison, up to as many cycles as the
# paper's longest runs begin (T_0=1, T_mult=2, 200 epochs).
SENSIBLE = range(1, 9)
# Epochs. Shorter cycles hold a handful of updates even of a large data set.
SHORTEST = Fraction(1, 1000)
MOST_CYCLES = 10_000  # Of a proposal.

_HEADINGS = ("T_0", "T_mult", "cycles", "ends after epoch", "whole epochs")
_ORDER = "Order: whole epochs first, then T_mult (2, 1, others), then the fewest cycles."
_SHORT = "T_0 below 1"
_OF_SHORT = "Cycles shorter than an epoch end without a validation: take fewer of them."
_LONGEST = 39  # Letters of a list of ends, so that the table fits a terminal.


def propose(epochs: int, n_cycles: int | None = None, warmup: Epochs = 0.0) -> list[Boundaries]:
    """The cycles that fill a budget of epochs, in the order of preference: see `WarmRestarts.plan`.

    Raises:
        ValueError: If no such cycles fit into the budget, or an argument is out of range.
    """
    fix = "Pass the epochs that `fit` will run."
    integer("epochs", epochs, fix)
    require(epochs <= MOST_UPDATES, f"`epochs` must be at most {MOST_UPDATES}.", "epochs", epochs, fix)
    integer("n_cycles", n_cycles, "Pass how many cycles to fit into the budget, or None.", optional=True)
    check_fraction("warmup", warmup, "Pass warmup=0 for none.", zero=True)
    epochs, n_cycles = int(epochs), None if n_cycles is None else int(n_cycles)  # NumPy's integers would overflow.
    before = to_fraction(warmup)
    rule = f"`warmup` must leave some of the budget of {epochs} epochs to the cycles."
    require(before < epochs, rule, "warmup", warmup, "Pass warmup=0 for none.")
    budget = epochs - before
    rule = f"`n_cycles` in {budget} epochs must leave each at least {float(SHORTEST)} epochs."
    fix = f"Pass at most n_cycles={budget // SHORTEST}, or more epochs."
    require(n_cycles is None or n_cycles * SHORTEST <= budget, rule, "n_cycles", n_cycles, fix)
    rule = f"`n_cycles` must be at most {MOST_CYCLES}."
    require(n_cycles is None or n_cycles <= MOST_CYCLES, rule, "n_cycles", n_cycles, "Pass fewer.")
    numbers = SENSIBLE if n_cycles is None else (n_cycles,)
    # Where no number is asked for, no cycle is shorter than an epoch.
    least = min(Fraction(1), budget) if n_cycles is None else SHORTEST
    order = (*PAPER, *OTHERS)
    proposals = [
        Boundaries(T_0, T_mult, before, number)
        for number in numbers
        for T_mult in (order if number > 1 else (Fraction(1),))
        if (T_0 := first_length(budget, number, T_mult, least)) is not None
    ]
    kept = [proposal for proposal in proposals if _whole(proposal) or proposal.T_mult in PAPER]
    return sorted(kept, key=lambda proposal: (not _whole(proposal), order.index(proposal.T_mult)))


def first_length(budget: Fraction, n_cycles: int, T_mult: Fraction, least: Fraction = Fraction(0)) -> Fraction | None:
    """`T_0` of so many cycles that fill the budget, or None if it is below `least`."""
    total = Fraction(n_cycles) if T_mult == 1 else (T_mult**n_cycles - 1) / (T_mult - 1)
    return budget / total if total * least <= budget else None


def table(proposals: Sequence[Boundaries]) -> str:
    """Proposals as they print, with what is to be said of them."""
    rows = [_HEADINGS, *map(row, proposals)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows]
    if len({proposal.n_cycles for proposal in proposals}) > 1:
        lines.append(_ORDER)
    if any(cells[-1] == _SHORT for cells in rows):
        lines.append(_OF_SHORT)
    return "\n".join(lines)


def row(proposal: Boundaries) -> tuple[str, ...]:
    """Its row of the table: lengths are exact, and so fractions; ends are rounded."""
    ends = [float(cycle.end) for cycle in proposal.cycles_from(0, 1)]
    remark = "yes" if _whole(proposal) else _SHORT if proposal.T_0 < 1 else ""
    return str(proposal.T_0), str(proposal.T_mult), str(len(ends)), listed(ends), remark


def listed(ends: Sequence[float]) -> str:
    """Ends of cycles in a line; of many the first and the last."""
    texts = [str(int(end)) if end == int(end) else f"{end:.5g}" for end in ends]
    line = ", ".join(texts)
    if len(line) <= _LONGEST:
        return line
    last = f", ..., {texts[-1]}"
    return line[: line.rindex(", ", 0, _LONGEST - len(last) + 2)] + last


def written(value: Fraction) -> str:
    """A decimal where a short one is exact, else a fraction."""
    decimal = f"{float(value):.6g}"
    return decimal if Fraction(decimal) == value else str(value)


def _whole(proposal: Boundaries) -> bool:
    """Whether all cycles end with an epoch, where validation and checkpoints find them."""
    return all(cycle.end.denominator == 1 for cycle in proposal.cycles_from(0, 1))
