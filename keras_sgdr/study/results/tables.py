"""The tables of a study: its results as a data frame, and what is printed of the statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr._optional import load
from keras_sgdr.snapshots.scores import scores
from keras_sgdr.study.results.table import Table
from keras_sgdr.study.spec import Spec
from keras_sgdr.study.store import Record

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = [
    "compared",
    "ends",
    "ensembles",
    "ensembles_table",
    "equivalent",
    "places_of",
    "reached",
    "results_table",
    "rows_of",
]

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
    positions = {name: _positions(spec, name) for name in spec.schedules}
    columns: dict[str, list[Any]] = {name: [] for name in _KINDS}
    for record in _chosen(records, spec):
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


def _positions(spec: Spec, name: str) -> dict[str, list[Any]]:
    """Rate and cycle of each epoch's last update, and whether a cycle ends with it."""
    schedule, epochs, steps = spec.schedules[name], spec.epochs, spec.steps
    index, ends = [-1] * epochs, set(spec.ends_of_cycles(name))
    for cycle in schedule.cycles(steps):
        if cycle.first >= epochs * steps:
            break
        # The epochs whose last update, `steps * (epoch + 1) - 1`, is one of the cycle's.
        for epoch in range(cycle.first // steps, min(cycle.stop // steps, epochs)):
            index[epoch] = cycle.index
    rates = schedule.learning_rates(epochs, steps)[steps - 1 :: steps].tolist()
    return {"rate": rates, "cycle": index, "cycle_end": [epoch + 1 in ends for epoch in range(epochs)]}


def ensembles_table(records: Iterable[Record], spec: Spec) -> DataFrame:
    """What ensembles of a run's cycle ends are worth: see `Study.ensembles`. For the arguments see `results_table`."""
    labels, rows = spec.data[1][1], []
    for record in _chosen(records, spec):
        members: list[Any] = []
        for epoch in spec.ends_of_cycles(record.schedule) if record.outputs else ():
            members.append(record.outputs[epoch].astype("float64"))
            of_mean, of_last = (scores(each, labels)[0] for each in (np.mean(members, axis=0), members[-1]))
            measured = of_mean.loss, of_mean.accuracy, of_last.loss, of_last.accuracy
            rows.append((record.schedule, record.seed, epoch, len(members), *measured))
    columns = ["schedule", "seed", "epoch", "members", "val_loss", "val_accuracy", "last_val_loss", "last_val_accuracy"]
    return load("pandas", "A study").DataFrame(rows, columns=columns)


def _chosen(records: Iterable[Record], spec: Spec) -> list[Record]:
    """The runs of the study's schedules and seeds, in the order of these."""
    order = {name: place for place, name in enumerate(spec.schedules)}
    chosen = (record for record in records if record.schedule in order and record.seed in spec.seeds)
    return sorted(chosen, key=lambda record: (order[record.schedule], record.seed))


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


def compared(title: str, differences: DataFrame, inside: Set[tuple[str, int]], places: int) -> Table:
    """One row per schedule and epoch: its difference to the baseline, with intervals and tests.

    Args:
        title: What the differences are of.
        differences: What `statistics.differences` returned.
        inside: Schedules and the epochs that end in mid-cycle.
        places: Decimal places of the metric.
    """
    rows = []
    for (schedule, epoch), row in rows_of(differences).items():
        rows.append(
            (
                schedule,
                f"{epoch}, in mid-cycle" if (schedule, epoch) in inside else str(epoch),
                str(row["n"]),
                _difference(row, places),
                _interval(row, places, "t_"),
                _interval(row, places),
                _p(row["p"]),
                _p(row["p_holm"]),
            )
        )
    headings = ("schedule", "epoch", "n", "difference", "95 % t interval", "95 % bootstrap", "p", "p, Holm")
    return Table(title, headings, rows, keys=2)


def ensembles(metric: str, gains: DataFrame, places: int) -> Table:
    """One row per schedule and number of members: the ensemble of a run's cycle ends beside its last member.

    Args:
        metric: Name of what was measured.
        gains: What `statistics.ensemble_gains` returned.
        places: Decimal places of the metric.
    """
    rows = []
    for (schedule, epoch), row in rows_of(gains).items():
        means = (f"{row[name]:.{places}f}" for name in ("value", "last"))
        tested = _difference(row, places), _interval(row, places, "t_"), _p(row["p_holm"])
        rows.append((schedule, str(epoch), str(row["members"]), str(row["n"]), *means, *tested))
    headings = ("schedule", "epoch", "members", "n", "ensemble", "last member", "difference", "95 % t interval")
    title = f"{metric} of ensembles of a run's cycle ends, mean over the seeds"
    return Table(title, (*headings, "p, Holm"), rows, keys=2)


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
            f"{_difference(row, places)} {_interval(row, places)}".strip(),
            _p(row["p"]),
            "yes" if row["p"] < 0.05 else "not shown",
        )
        for (schedule, epoch), row in rows_of(tested).items()
    ]
    title = f"{metric} minus the baseline: 90 % t interval, TOST with a margin of {margin:g}"
    return Table(title, ("schedule", "epoch", "n", "difference", "p", "equivalent"), rows, keys=2)


def places_of(values: Series[float]) -> int:
    """Decimal places that show four digits of the usual value."""
    usual = values[values > 0].median()
    return 4 if math.isnan(usual) else max(0, 3 - math.floor(math.log10(usual)))


def _with_sd(mean: float, sd: float, places: int) -> str:
    if math.isnan(mean):
        return "none"
    return f"{mean:.{places}f}" + ("" if math.isnan(sd) else f" ± {sd:.{places}f}")


def _difference(row: Mapping[str, float], places: int) -> str:
    return "none" if math.isnan(row["mean"]) else f"{row['mean']:+.{places}f}"


def _interval(row: Mapping[str, float], places: int, kind: str = "") -> str:
    low, high = row[f"{kind}low"], row[f"{kind}high"]
    return "" if math.isnan(low) else "equal" if low == high == 0 else f"[{low:+.{places}f}, {high:+.{places}f}]"


def _p(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def _epoch(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"
