"""Tables that a terminal, a Markdown page, a web page and a notebook can show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["Summary", "Table", "compared", "ends", "equivalent", "places_of", "reached", "records"]


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
        lines = [self.headings, *self.rows]
        first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]).rstrip()
            for line in (self.headings, ("-" * first, *("-" * width for width in others)), *self.rows)
        ]
        return "\n".join([self.title, "", *text])

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        lines = [self.headings, ("---", *["---:"] * (len(self.headings) - 1)), *self.rows]
        text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        return "\n".join([self.title, "", *text])

    def html(self) -> str:
        """The table in HTML, its title as the caption."""
        head, *body = (
            "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line)
            for tag, line in (("th", self.headings), *(("td", row) for row in self.rows))
        )
        rows = "\n".join(f"<tr>{row}</tr>" for row in body)
        caption = f"<caption>{escape(self.title)}</caption>"
        return f"<table>\n{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


@dataclass(frozen=True, repr=False)
class Summary:
    """What a study found: tables, and what to keep in mind when reading them. Prints as text.

    Attributes:
        tables: In the order of reading.
        notes: Sentences.
    """

    tables: list[Table]
    notes: list[str]

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.tables), "\n".join(self.notes)])

    def markdown(self) -> str:
        """Tables and notes in Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([*(table.markdown() for table in self.tables), notes]) + "\n"

    def html(self) -> str:
        """Tables and notes in HTML, to stand inside a page."""
        notes = "\n".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return "\n".join([*(table.html() for table in self.tables), f"<ul>\n{notes}\n</ul>"]) + "\n"

    # What a notebook shows, and what an interpreter does.
    _repr_html_, __repr__ = html, __str__


def records(table: DataFrame) -> dict[Any, dict[str, Any]]:
    """The rows of a table of `statistics`, by its index."""
    rows: dict[Any, Any] = table.to_dict("index")
    return rows


def ends(metric: str, last: int, spread: DataFrame, best: DataFrame, places: int) -> Table:
    """A row a schedule: the last epoch, and the best one.

    Args:
        metric: Name of what was measured.
        last: The last epoch.
        spread: What `statistics.spread` returned.
        best: What `statistics.best` returned.
        places: Decimal places of the metric.
    """
    means, rows = records(spread), []
    for schedule, own in records(best).items():
        end = means[schedule, last]
        rows.append(
            (
                schedule,
                str(end["n"]),
                _with_sd(end["mean"], end["sd"], places),
                _with_sd(own["value"], own["value_sd"], places),
                _with_sd(own["epoch"], own["epoch_sd"], 1),
                f"{own['mean_value']:.{places}f}",
                f"{own['mean_epoch']:.0f}",
            )
        )
    headings = ("schedule", "n", f"epoch {last}", "best of a run", "its epoch", "best of the mean", "its epoch")
    return Table(f"{metric}: mean ± SD over the seeds", headings, rows)


def compared(title: str, differences: DataFrame, marked: Set[tuple[str, int]], places: int) -> Table:
    """A row an epoch, a column a schedule: its difference to the baseline with the interval.

    Args:
        title: What the differences are of.
        differences: What `statistics.differences` returned.
        marked: Schedules and epochs to put a dot at.
        places: Decimal places of the metric.
    """
    found = records(differences)
    schedules, epochs = (list(dict.fromkeys(level)) for level in zip(*found, strict=True))
    most, rows = max(own["n"] + own["missing"] for own in found.values()), []
    for epoch in epochs:
        cells = []
        for schedule in schedules:
            own = found[schedule, epoch]
            text = _interval(own, places) + (f" n={own['n']}" if own["missing"] else "")
            cells.append(("• " if (schedule, epoch) in marked else "") + text)
        rows.append((str(epoch), *cells))
    return Table(f"{title}, n={most} where nothing else is said", ("epoch", *schedules), rows)


def reached(title: str, epochs_to: DataFrame) -> Table:
    """A row a schedule: how many of its runs reached a target, and when.

    Args:
        title: What the target is.
        epochs_to: What `statistics.epochs_to` returned.
    """
    rows = [
        (
            schedule,
            f"{own['reached']} of {own['n']}",
            _epoch(own["median"]),
            "" if math.isnan(own["low"]) else f"{_epoch(own['low'])} to {_epoch(own['high'])}",
        )
        for schedule, own in records(epochs_to).items()
    ]
    return Table(title, ("schedule", "runs that reach it", "median epoch", "95 % interval"), rows)


def equivalent(metric: str, margin: float, tested: DataFrame, places: int) -> Table:
    """A row a schedule and epoch: the test of equivalence with the baseline.

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
            str(own["n"]),
            _interval(own, places),
            "" if math.isnan(own["p"]) else f"{own['p']:.3g}",
            "yes" if own["p"] < 0.05 else "not shown",
        )
        for (schedule, epoch), own in records(tested).items()
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
