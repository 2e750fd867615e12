"""The tables of a study: its results as a data frame, and what is printed of the statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from keras_sgdr._optional import load
from keras_sgdr.schedules import Schedule
from keras_sgdr.study.spec import Spec
from keras_sgdr.study.store import Record

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Table", "compared", "ends", "equivalent", "places_of", "reached", "results_table", "rows_of"]

# Columns of the results.
_KINDS = {
    "schedule": "str",
    "seed": "int64",
    "epoch": "int64",
    "rate": "float64",
    "loss": "float64",
    "accuracy": "float64",
    "val_loss": "float64",
    "val_accuracy": "float64",
    "cycle": "int64",
    "cycle_end": "bool",
}


def results_table(records: Iterable[Record], spec: Spec) -> DataFrame:
    """The runs of a study as one row per schedule, seed and epoch: see `Study.results`.

    Args:
        records: Runs that are done. Those of other schedules and seeds than the study's are left out.
        spec: What the study trains.
    """
    order = {name: place for place, name in enumerate(spec.schedules)}
    chosen = [record for record in records if record.schedule in order and record.seed in spec.seeds]
    positions = {name: _positions(schedule, spec.epochs, spec.steps) for name, schedule in spec.schedules.items()}
    columns: dict[str, list[Any]] = {name: [] for name in _KINDS}
    for record in sorted(chosen, key=lambda record: (order[record.schedule], record.seed)):
        values: dict[str, Iterable[Any]] = {
            "schedule": [record.schedule] * spec.epochs,
            "seed": [record.seed] * spec.epochs,
            "epoch": range(1, spec.epochs + 1),
            **positions[record.schedule],
            **record.metrics,
        }
        for name, column in columns.items():
            column.extend(values[name])
    return load("pandas", "A study").DataFrame(columns).astype(_KINDS)


def _positions(schedule: Schedule, epochs: int, steps: int) -> dict[str, list[Any]]:
    """Rate and cycle of each epoch's last update, and whether a cycle ends with it."""
    index, ends = [-1] * epochs, [False] * epochs
    for cycle in schedule.cycles(steps):
        if cycle.first >= epochs * steps:
            break
        # The epochs whose last update, `steps * (epoch + 1) - 1`, is one of the cycle's.
        for epoch in range(cycle.first // steps, min(cycle.stop // steps, epochs)):
            index[epoch] = cycle.index
            ends[epoch] = cycle.stop == (epoch + 1) * steps
    rates = schedule.learning_rates(epochs, steps)[steps - 1 :: steps].tolist()
    return {"rate": rates, "cycle": index, "cycle_end": ends}


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is left-aligned, the others right.

    Attributes:
        title: What the table shows.
        headings: Of the columns.
        rows: A text for each column.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        return f"{self.title}\n\n{_drawn('simple', self.headings, self.rows)}"

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        headings, *rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.headings, *self.rows)]
        return f"{self.title}\n\n{_drawn('pipe', headings, rows)}"

    def html(self) -> str:
        """The table in HTML, its title as the caption."""
        caption = f"<table>\n<caption>{escape(self.title)}</caption>"
        return _drawn("html", self.headings, self.rows).replace("<table>", caption, 1)


def _drawn(style: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    alignment = ("left", *["right"] * (len(headings) - 1))
    tabulate = load("tabulate", "A table").tabulate
    return str(tabulate(rows, headings, style, disable_numparse=True, colalign=alignment))


def rows_of(table: DataFrame) -> dict[Any, dict[str, Any]]:
    """The rows of a table of `statistics`, by its index."""
    rows: dict[Any, Any] = table.to_dict("index")
    return rows


def ends(metric: str, last: int, spread: DataFrame, best: DataFrame, places: int) -> Table:
    """One row per schedule: the last epoch, and the best one.

    Args:
        metric: Name of what was measured.
        last: The last epoch.
        spread: What `statistics.spread` returned.
        best: What `statistics.best` returned.
        places: Decimal places of the metric.
    """
    means, rows = rows_of(spread), []
    for schedule, row in rows_of(best).items():
        end = means[schedule, last]
        rows.append(
            (
                schedule,
                str(end["n"]),
                _with_sd(end["mean"], end["sd"], places),
                _with_sd(row["value"], row["value_sd"], places),
                _with_sd(row["epoch"], row["epoch_sd"], 1),
                f"{row['mean_value']:.{places}f}",
                f"{row['mean_epoch']:.0f}",
            )
        )
    headings = ("schedule", "n", f"epoch {last}", "best of a run", "its epoch", "best of the mean", "its epoch")
    return Table(f"{metric}: mean ± SD over the seeds", headings, rows)


def compared(title: str, differences: DataFrame, marked: Set[tuple[str, int]], places: int) -> Table:
    """One row per epoch, one column per schedule: its difference to the baseline with the interval.

    Args:
        title: What the differences are of.
        differences: What `statistics.differences` returned.
        marked: Schedules and epochs to put a dot at.
        places: Decimal places of the metric.
    """
    by_key = rows_of(differences)
    schedules, epochs = (list(dict.fromkeys(level)) for level in zip(*by_key, strict=True))
    most, rows = max(row["n"] + row["missing"] for row in by_key.values()), []
    for epoch in epochs:
        cells = []
        for schedule in schedules:
            row = by_key[schedule, epoch]
            text = _interval(row, places) + (f" n={row['n']}" if row["missing"] else "")
            cells.append(("• " if (schedule, epoch) in marked else "") + text)
        rows.append((str(epoch), *cells))
    return Table(f"{title}, n={most} where nothing else is said", ("epoch", *schedules), rows)


def reached(title: str, epochs_to: DataFrame) -> Table:
    """One row per schedule: how many of its runs reached a target, and when.

    Args:
        title: What the target is.
        epochs_to: What `statistics.epochs_to` returned.
    """
    rows = [
        (
            schedule,
            f"{row['reached']} of {row['n']}",
            _epoch(row["median"]),
            "" if math.isnan(row["low"]) else f"{_epoch(row['low'])} to {_epoch(row['high'])}",
        )
        for schedule, row in rows_of(epochs_to).items()
    ]
    return Table(title, ("schedule", "runs that reach it", "median epoch", "95 % interval"), rows)


def equivalent(metric: str, margin: float, tested: DataFrame, places: int) -> Table:
    """One row per schedule and epoch: the test of equivalence with the baseline.

    Args:
        metric: Name of what was measured.
        margin: Largest mean difference that counts as none.
        tested: What `statistics.equivalence` returned.
        places: Decimal places of the metric.
    """
    rows = [
        (
            schedule,
            str(epoch),
            str(row["n"]),
            _interval(row, places),
            "" if math.isnan(row["p"]) else f"{row['p']:.3g}",
            "yes" if row["p"] < 0.05 else "not shown",
        )
        for (schedule, epoch), row in rows_of(tested).items()
    ]
    title = f"{metric}: difference to the baseline, 90 % t interval, and TOST with a margin of {margin:g}"
    return Table(title, ("schedule", "epoch", "n", "difference", "p", "equivalent"), rows)


def places_of(values: Series[float]) -> int:
    """Decimal places that show four digits of the usual value."""
    usual = values[values > 0].median()
    return 4 if math.isnan(usual) else max(0, 3 - math.floor(math.log10(usual)))


def _with_sd(mean: float, sd: float, places: int) -> str:
    if math.isnan(mean):
        return "none"
    return f"{mean:.{places}f}" + ("" if math.isnan(sd) else f" ± {sd:.{places}f}")


def _interval(row: Mapping[str, float], places: int) -> str:
    if row["low"] == row["high"] == 0:
        return "equal"
    mean, low, high = (f"{row[name]:+.{places}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if math.isfinite(row["low"]) else "none" if math.isnan(row["mean"]) else mean


def _epoch(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"
