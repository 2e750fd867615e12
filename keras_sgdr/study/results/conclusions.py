"""What a study's numbers say, in sentences: who is ahead, at which ends of cycles, and which intervals exclude 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from keras_sgdr.snapshots import higher_is_better
from keras_sgdr.study.results.statistics import best, spread
from keras_sgdr.study.results.tables import rows_of

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "ahead",
    "and_so_on",
    "best_epoch",
    "conclusion",
    "excluding_zero",
    "pair",
    "restarts",
    "spoken",
    "told_apart",
]

NOT_APART = "not told apart"
# Of a list in a sentence.
_MOST_NAMES = 6


def conclusion(results: DataFrame, paired: DataFrame, baseline: str, metric: str, inside: set[Any], places: int) -> str:
    """Two sentences: who is ahead after the last epoch, and the first schedule against the baseline at its cycle ends.

    Args:
        results: The study's table.
        paired: What `statistics.differences` returned, of its `own_ends`.
        baseline: Name of the schedule that was compared with.
        metric: Which of the table's columns.
        inside: Schedules and the epochs that end in mid-cycle.
        places: Decimal places of the metric.

    Returns:
        The sentences; nothing is claimed of a single pair of runs.
    """
    rows = rows_of(paired)
    first = next(schedule for schedule, _ in rows)
    epochs = [epoch for schedule, epoch in rows if schedule == first]
    known = [epoch for epoch in epochs if not math.isnan(rows[first, epoch]["t_low"])]
    if not known:
        return ""
    last_end = max((epoch for epoch in epochs if (first, epoch) not in inside), default=epochs[-1])
    told: list[str] = []
    earlier: dict[str, list[str]] = {}
    for epoch in known:
        row, order = rows[first, epoch], told_apart(rows[first, epoch])
        if epoch not in (last_end, epochs[-1]):
            earlier.setdefault(order, []).append(str(epoch))
            continue
        place = f"after {epoch} epochs" + (", in mid-cycle," if (first, epoch) in inside else "")
        mean, low, high = (f"{row[name]:+.{places}f}" for name in ("mean", "t_low", "t_high"))
        told.append(f"{place} {order} ({mean}, 95 % t interval {low} to {high})")
    if earlier:
        ends = ", ".join(f"{order} after {and_so_on(numbers)} epochs" for order, numbers in earlier.items())
        told.append(f"at earlier ends of its cycles {ends}")
    pairs = rows[first, epochs[-1]]["n"]
    against = f"{first} against {baseline}, {pairs} paired seeds: its {spoken(metric)} is {'; '.join(told)}."
    at_the_end = {schedule: row for (schedule, epoch), row in rows.items() if epoch == epochs[-1]}
    apart = [f"{name} ({told_apart(row)})" for name, row in at_the_end.items() if told_apart(row) != NOT_APART]
    intervals = f"the 95 % t interval of the difference to {baseline} excludes 0 for {and_so_on(apart) or 'none'}"
    return f"{ahead(results, metric, places)}; {intervals}. {against}"


def ahead(results: DataFrame, metric: str, places: int | None = None, what: str | None = None) -> str:
    """Which schedule has the best mean after the last epoch, of those of which no run diverged.

    Args:
        results: The study's table.
        metric: Which of its columns.
        places: Decimal places of the mean; None leaves it out.
        what: What the column holds, in words.
    """
    last = int(results["epoch"].max())
    rows = {
        schedule: row["mean"]
        for (schedule, epoch), row in rows_of(spread(results, metric)).items()
        if epoch == last and row["n"] and not row["not_finite"]
    }
    if not rows:
        return f"After {last} epochs, a run of every schedule has diverged"
    which, name = ("highest", max) if higher_is_better(metric) else ("lowest", min)
    winner = name(rows, key=rows.__getitem__)
    mean = "" if places is None else f" ({rows[winner]:.{places}f})"
    return f"After {last} epochs, {winner} has the {which} mean {what or spoken(metric)}{mean}"


def excluding_zero(paired: DataFrame, baseline: str) -> str:
    """Which differences to the baseline have a 95 % t interval that excludes 0, and where."""
    found: dict[str, list[str]] = {}
    for (schedule, epoch), row in rows_of(paired).items():
        if told_apart(row) != NOT_APART:
            found.setdefault(schedule, []).append(str(epoch))
    names = "; ".join(f"{schedule} after {and_so_on(epochs)} epochs" for schedule, epochs in found.items())
    return f"Told apart from {baseline}: {names}" if names else f"None is told apart from {baseline}"


def told_apart(row: Mapping[str, float]) -> str:
    """What the interval of a difference says."""
    if math.isnan(row["t_low"]) or row["t_low"] <= 0 <= row["t_high"]:
        return NOT_APART
    return "lower" if row["mean"] < 0 else "higher"


def pair(paired: DataFrame, baseline: str, metric: str) -> str:
    """What the last interval says of the first schedule and the baseline."""
    first, epoch = max((key for key in paired.index if key[0] == paired.index[0][0]), key=lambda key: key[1])
    row = rows_of(paired)[first, epoch]
    if math.isnan(row["t_low"]):
        return f"{first} and {baseline}, of one seed"
    if told_apart(row) == NOT_APART:
        return f"After {epoch} epochs, {first} and {baseline} are not told apart"
    return f"After {epoch} epochs, {first} has {told_apart(row)} {spoken(metric)} than {baseline}"


def best_epoch(results: DataFrame, metric: str) -> str:
    """Where the best mean of all is."""
    sign = -1 if higher_is_better(metric) else 1
    rows = {name: row for name, row in rows_of(best(results, metric)).items() if not math.isnan(row["mean_value"])}
    if not rows:
        return "Every run diverges"
    name = min(rows, key=lambda schedule: sign * rows[schedule]["mean_value"])
    return f"The best mean {spoken(metric)} is that of {name}, after {rows[name]['mean_epoch']:.0f} epochs"


def restarts(results: DataFrame) -> str:
    """The first schedule that restarts, and after which epochs."""
    last = results["epoch"].max()
    for name, rows in results.groupby("schedule", sort=False):
        if ends := sorted(set(rows.loc[rows["cycle_end"] & (rows["epoch"] < last), "epoch"])):
            return f"{name} restarts after {and_so_on(map(str, ends))} epochs"
    return "No schedule restarts at the end of an epoch"


def spoken(metric: str) -> str:
    """A column's name in a sentence."""
    return metric.replace("val_", "validation ")


def and_so_on(words: Iterable[str]) -> str:
    """`1, 3 and 7`; of many the first and the last."""
    words = list(words)
    if len(words) > _MOST_NAMES:
        words = [*words[: _MOST_NAMES - 2], "...", words[-1]]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
