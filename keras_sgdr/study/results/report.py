"""The results of a study: its summary in tables and notes, and its report, one HTML file that runs no script."""

from __future__ import annotations

import base64
import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sgdr._files import replace_file
from keras_sgdr._text import WIDTH
from keras_sgdr.environment import environment
from keras_sgdr.study.results.figures import CAPTIONS
from keras_sgdr.study.results.intervals import COVERAGE
from keras_sgdr.study.results.statistics import (
    baseline_of,
    best,
    best_so_far,
    differences,
    ensemble_gains,
    epochs_to,
    equivalence,
    finite,
    spread,
)
from keras_sgdr.study.results.table import Table
from keras_sgdr.study.results.tables import compared, ends, equivalent, places_of, reached, rows_of
from keras_sgdr.study.results.tables import ensembles as gains

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Summary", "summarize", "write_report"]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
figure {{ margin: 2rem 0; }}
img {{ max-width: 100%; }}
figcaption, caption {{ text-align: left; color: #555; padding: 0.3rem 0; }}
table {{ border-collapse: collapse; margin: 1.5rem 0; display: block; overflow-x: auto; }}
th, td {{ text-align: right; padding: 0.2rem 0.8rem; border-bottom: 1px solid #ddd; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
pre {{ overflow-x: auto; background: #f5f5f5; padding: 0.5rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


@dataclass(frozen=True, repr=False)
class Summary:
    """The results of a study: a sentence, tables, and how to read them. Prints as text.

    Attributes:
        headline: The first schedule against the baseline, with its interval; empty where there is none.
        tables: In the order of reading.
        notes: Sentences.
    """

    headline: str
    tables: list[Table]
    notes: list[str]

    def __str__(self) -> str:
        notes = (textwrap.fill(note, WIDTH) for note in self.notes)
        return "\n\n".join(filter(None, [textwrap.fill(self.headline, WIDTH), *map(str, self.tables), *notes]))

    def markdown(self) -> str:
        """All of it in Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        headline = f"**{self.headline}**" if self.headline else ""
        return "\n\n".join(filter(None, [headline, *(table.markdown() for table in self.tables), notes])) + "\n"

    def html(self) -> str:
        """All of it in HTML, to stand inside a page."""
        notes = "\n".join(f"<li>{escape(note)}</li>" for note in self.notes)
        headline = f"<p><strong>{escape(self.headline)}</strong></p>" if self.headline else ""
        tables = (table.html() for table in self.tables)
        return "\n".join(filter(None, [headline, *tables, f"<ul>\n{notes}\n</ul>"])) + "\n"

    # What a notebook shows, and what an interpreter does.
    _repr_html_, __repr__ = html, __str__


def summarize(
    results: DataFrame,
    baseline: str | None = None,
    metric: str = "val_loss",
    *,
    target: float | None = None,
    margin: float | None = None,
    ensembles: DataFrame | None = None,
) -> Summary:
    """What the runs say about a metric: at the end and at its best, against the baseline, and how soon.

    Args:
        results: The study's table.
        baseline: Name of the schedule to compare with; None takes the first.
        metric: Which of the table's columns.
        target: Value to reach; None takes the baseline's mean after the last epoch.
        margin: Largest mean difference that counts as none, for tests of equivalence; None makes no such test.
        ensembles: `Study.ensembles`, of whose rows the gains are told; None tells none.

    Returns:
        The headline, the tables, and notes on how to read them.

    Raises:
        ValueError: If the table is empty or has no such schedule, or the margin is not positive.
    """
    baseline = baseline_of(results, baseline)
    means, last = spread(results, metric), int(results["epoch"].max())
    goal = rows_of(means)[baseline, last]["mean"] if target is None else float(target)
    places = places_of(means["mean"])
    source = f", the mean of {baseline} after the last epoch" if target is None else ""
    tables = [
        ends(metric, last, means, best(results, metric), places),
        reached(f"Epochs to a {metric} of {goal:.4g}{source}", epochs_to(results, goal, metric)),
    ]
    headline = ""
    if results["schedule"].nunique() > 1:
        inside = results.loc[~results["cycle_end"] & (results["cycle"] >= 0), ["schedule", "epoch"]]
        marked = set(inside.itertuples(index=False, name=None))
        for title, values in ((metric, results), (f"Best {metric} so far", best_so_far(results, metric))):
            paired = differences(values, baseline, metric, own_ends=True)
            tables.append(compared(f"{title}: difference to {baseline}", paired, marked, places))
            headline = headline or _headline(paired, baseline, metric, marked, places)
        if margin is not None:
            tables.append(equivalent(metric, margin, equivalence(results, margin, baseline, metric), places))
    if ensembles is not None and (ensembles["members"] > 1).any():
        tables.append(gains(metric, ensemble_gains(ensembles, metric), places))
    return Summary(headline, tables, _notes(results, metric))


def _headline(paired: DataFrame, baseline: str, metric: str, inside: set[Any], places: int) -> str:
    """The first schedule beside the baseline: at its last end of a cycle, and after the last epoch."""
    rows = rows_of(paired)
    first = next(schedule for schedule, _ in rows)
    epochs = [epoch for schedule, epoch in rows if schedule == first]
    told = []
    last_end = max((epoch for epoch in epochs if (first, epoch) not in inside), default=epochs[-1])
    for epoch in sorted({last_end, epochs[-1]}):
        row = rows[first, epoch]
        if math.isnan(row["t_low"]):  # Of one pair nothing is claimed.
            continue
        place = f"after {epoch} epochs" + (", in mid-cycle," if (first, epoch) in inside else "")
        mean, low, high = (f"{row[name]:+.{places}f}" for name in ("mean", "t_low", "t_high"))
        order = "not told apart" if row["t_low"] <= 0 <= row["t_high"] else "lower" if row["mean"] < 0 else "higher"
        told.append(f"{place} {order} ({mean}, 95 % t interval {low} to {high})")
    if not told:
        return ""
    pairs, name = rows[first, epochs[-1]]["n"], metric.replace("val_", "validation ")
    return f"{first} against {baseline}, {pairs} paired seeds: its {name} is {'; '.join(told)}."


def _notes(results: DataFrame, metric: str) -> list[str]:
    runs: dict[Any, int] = results.groupby("schedule", sort=False)["seed"].nunique().to_dict()
    seeds = results["seed"].nunique()
    notes = [
        f"{seeds} seeds. Differences are paired by seed, where a schedule ends a cycle and after the last epoch. Each "
        "interval stands for itself: of twenty, one misses by chance. The last column is corrected for the number "
        "of rows (Holm).",
        f"The best {metric} of a run is chosen on the data that it is measured on, and so flatters.",
    ]
    if seeds == 1:
        notes[0] = "One seed: there is no SD and no interval, and nothing is claimed."
    elif seeds in COVERAGE:
        notes.append(
            f"A bootstrap of {seeds} values is too narrow: of normal ones, its 95 % interval holds the mean in "
            f"{COVERAGE[seeds]} % of cases, the t interval in 95 %."
        )
    for schedule, n in runs.items():
        if n < seeds:
            notes.append(f"{schedule}: {seeds - n} of {seeds} seeds have no run, and no pair.")
    lost = finite(results, metric).isna().groupby([results["schedule"], results["seed"]], sort=False).any()
    for schedule, n in lost.groupby("schedule", sort=False).sum().to_dict().items():
        if n:
            diverged = f"{schedule}: {n} of {runs[schedule]} runs have values that are not finite."
            notes.append(f"{diverged} These enter no mean, so what is left flatters.")
    return notes


def write_report(
    path: str | os.PathLike[str],
    title: str,
    summary: Summary,
    figures: Iterable[str | os.PathLike[str]],
    *,
    options: Mapping[str, Any],
    made_with: Sequence[Mapping[str, Any]] = (),
    failures: DataFrame | None = None,
    introduction: str = "",
) -> Path:
    """Write what a study found, and what it was made with, into one HTML file.

    Args:
        path: The file to write; its folder is made if it is not there.
        title: Of the page.
        summary: What `summarize` returned.
        figures: PNG files, as `figures.draw` returned them.
        options: What the study was asked for, by name.
        made_with: `Study.made_with`; none for this process.
        failures: The table of `Study.failures`.
        introduction: What a reader has to know first, such as what the data is.

    Returns:
        The file.
    """
    parts = [
        f"<p>{escape(introduction)}</p>" if introduction else "",
        summary.html(),
        *(_figure(number, Path(file)) for number, file in enumerate(figures, 1)),
        _failures(failures),
        _pairs("Options", options),
        *(_made_with(each) for each in made_with or [environment()]),
    ]
    path, text = Path(path), PAGE.format(title=escape(title), body="\n".join(filter(None, parts)))
    replace_file(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    return path


def _made_with(made_with: Mapping[str, Any]) -> str:
    hardware = made_with["hardware"]
    pairs = {
        **made_with["versions"],
        "backend": made_with["backend"],
        "processor": f"{hardware['cpu']}, {hardware['cores']} cores",
        "GPU": ", ".join(hardware["gpus"]) or "none",
    }
    return _pairs("Versions and hardware", pairs)


def _figure(number: int, file: Path) -> str:
    picture = base64.b64encode(file.read_bytes()).decode()
    caption = escape(CAPTIONS.get(file.stem, file.stem))
    image = f'<img alt="{caption}" src="data:image/png;base64,{picture}">'
    return f"<figure>\n{image}\n<figcaption>Figure {number}. {caption}</figcaption>\n</figure>"


def _failures(failures: DataFrame | None) -> str:
    if failures is None or failures.empty:
        return ""
    runs = "\n".join(
        f"<details><summary>{escape(f'{schedule}, seed {seed}')}</summary><pre>{escape(traceback)}</pre></details>"
        for schedule, seed, traceback in failures[["schedule", "seed", "traceback"]].itertuples(index=False, name=None)
    )
    return f"<h2>Runs that failed: {len(failures)}</h2>\n{runs}"


def _pairs(title: str, values: Mapping[str, Any]) -> str:
    return Table(title, ("name", "value"), [(name, str(value)) for name, value in values.items()]).html()
