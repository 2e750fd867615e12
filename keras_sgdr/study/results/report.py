"""The results of a study: its summary in tables and notes, and its report, one HTML file that runs no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sgdr._files import replace_file
from keras_sgdr._text import wrapped
from keras_sgdr.environment import environment
from keras_sgdr.study.results.conclusions import conclusion
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
h1, h2 {{ line-height: 1.2; overflow-wrap: anywhere; }}
h2 {{ margin-top: 2.5rem; font-size: 1.3rem; }}
figure {{ margin: 2rem 0; }}
/* Narrower than that, a picture's text would be too small: it scrolls, as a wide table does. */
img {{ display: block; width: 100%; min-width: 36rem; }}
.picture, .table {{ overflow-x: auto; }}
.caption, figcaption {{ color: #555; margin: 1.5rem 0 0.3rem; }}
figcaption {{ margin: 0.3rem 0 0; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: right; padding: 0.2rem 0.6rem; border-bottom: 1px solid #ddd; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
.pairs td {{ text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }}
.pairs td:first-child {{ white-space: nowrap; }}
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
    """The results of a study: its conclusion, tables, and how to read them. Prints as text.

    Attributes:
        headline: Who is ahead, and the first schedule against the baseline; empty where nothing can be claimed.
        tables: In the order of reading.
        notes: Sentences.
    """

    headline: str
    tables: list[Table]
    notes: list[str]

    def __str__(self) -> str:
        return "\n\n".join(filter(None, [wrapped(self.headline), *map(str, self.tables), *map(wrapped, self.notes)]))

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
    tables = [ends(metric, last, means, best(results, metric), places)]
    soon, at_once = (epochs_to(rows, goal, metric) for rows in (results, results[results["epoch"] == 1]))
    # A target that all meet at once, or none at all, tells nothing.
    if soon["reached"].any() and (at_once["reached"] < at_once["n"]).any():
        tables.append(reached(f"Epochs to a {metric} of {goal:.4g}{source}", soon))
    headline = ""
    if results["schedule"].nunique() > 1:
        inside = results.loc[~results["cycle_end"] & (results["cycle"] >= 0), ["schedule", "epoch"]]
        marked = set(inside.itertuples(index=False, name=None))
        for title, values in ((metric, results), (f"Best {metric} so far", best_so_far(results, metric))):
            paired = differences(values, baseline, metric, own_ends=True)
            tables.append(compared(f"{title}: difference to {baseline}", paired, marked, places))
            headline = headline or conclusion(results, paired, baseline, metric, marked, places)
        if margin is not None:
            tables.append(equivalent(metric, margin, equivalence(results, margin, baseline, metric), places))
    if ensembles is not None and (ensembles["members"] > 1).any():
        tables.append(gains(metric, ensemble_gains(ensembles, metric), places))
    return Summary(headline, tables, _notes(results, metric))


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
    trained: Mapping[str, Any] | None = None,
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
        trained: `Study.trained`.
        made_with: `Study.made_with`; none for this process.
        failures: The table of `Study.failures`.
        introduction: What a reader has to know first, such as what the data is.

    Returns:
        The file.
    """
    parts = [
        f"<p>{escape(introduction)}</p>" if introduction else "",
        _pairs("What was trained", trained) if trained else "",
        "<h2>Results</h2>",
        summary.html(),
        "<h2>Figures</h2>",
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
    image = f'<div class="picture"><img alt="{caption}" src="data:image/png;base64,{picture}"></div>'
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
    rows = "\n".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>" for name, value in values.items()
    )
    return f'<h2>{escape(title)}</h2>\n<table class="pairs">\n{rows}\n</table>'
