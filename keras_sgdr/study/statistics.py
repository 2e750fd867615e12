"""Statistics of a study's table: what the runs say, how sure that is, and how many runs say it.

Every function takes the table of `Study.results`: a row a schedule, seed and epoch. A seed has the same weights,
batches, crops and flips under every schedule, so schedules are compared seed by seed. Values that are not finite, of
runs that diverged, enter no mean; every table counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr.arguments import FloatArray, is_number, require
from keras_sgdr.snapshots import rises
from keras_sgdr.study import tables
from keras_sgdr.study.packages import load
from keras_sgdr.study.tables import Summary

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = [
    "baseline_of",
    "best",
    "best_so_far",
    "compared_epochs",
    "differences",
    "epochs_to",
    "equivalence",
    "spread",
    "summarize",
]

CONFIDENCE = 0.95
# Of the bootstrap.
RESAMPLES, SEED = 9999, 0
# Per cent of the samples of so many independent normal values whose 95 % interval holds the mean; of ten, 90.
COVERAGE = {2: 51, 3: 72, 4: 80, 5: 84, 6: 86, 7: 87, 8: 88, 9: 89}


def spread(results: DataFrame, metric: str = "val_loss") -> DataFrame:
    """Mean and SD over the seeds, for every schedule and epoch.

    Args:
        results: The study's table.
        metric: Which of its columns.

    Returns:
        By schedule and epoch: `n` finite values, how many were `not_finite`, their `mean`, and `sd` with `n - 1` in the
        denominator; NaN for less than two.
    """
    values = _values(results, metric).groupby([results["schedule"], results["epoch"]], sort=False)
    names = {"count": "n", "size": "not_finite", "mean": "mean", "std": "sd"}
    table = values.agg(list(names)).rename(columns=names)
    table["not_finite"] -= table["n"]
    return table


def compared_epochs(results: DataFrame) -> list[int]:
    """Epochs at which any schedule ends a cycle, and the last one."""
    found = results.loc[results["cycle_end"], "epoch"]
    return sorted({*found.tolist(), int(results["epoch"].max())})


def differences(results: DataFrame, baseline: str | None = None, metric: str = "val_loss") -> DataFrame:
    """Paired differences to the baseline, schedule minus baseline by seed, at the `compared_epochs`.

    Args:
        results: The study's table.
        baseline: Name of the schedule to compare with; None takes the first.
        metric: Which of the table's columns.

    Returns:
        By schedule and epoch: `n` pairs of finite values, `missing`, the seeds that have no such pair, the `mean` of
        the differences, their `sd`, and `low` and `high`, the ends of its 95 % bootstrap interval (bias-corrected and
        accelerated, Efron 1987); NaN for less than two pairs.

    Raises:
        ValueError: If the table has no such schedule.
    """
    rows = {}
    for key, paired, missing in _paired(results, baseline, metric):
        (mean, sd), (low, high) = _mean_and_sd(paired), _bootstrap(paired)
        rows[key] = {"n": len(paired), "missing": missing, "mean": mean, "sd": sd, "low": low, "high": high}
    return _table(rows)


def equivalence(results: DataFrame, margin: float, baseline: str | None = None, metric: str = "val_loss") -> DataFrame:
    """Two one-sided t-tests (Schuirmann 1987) that a schedule differs from the baseline by less than a margin.

    Args:
        results: The study's table.
        margin: Largest mean difference that counts as none, in units of the metric. State it before the runs.
        baseline: Name of the schedule to compare with; None takes the first.
        metric: Which of the table's columns.

    Returns:
        By schedule and epoch: `n` and `missing` as in `differences`, the `mean`, `low` and `high` of its 90 % t
        interval, and `p`, below 0.05 exactly where that interval lies within the margin; NaN for less than two pairs.

    Raises:
        ValueError: If the margin is not positive, or the table has no such schedule.
    """
    require(
        is_number(margin) and margin > 0,
        "`margin` must be a finite positive number.",
        "margin",
        margin,
        "Pass the largest difference that counts as none, in units of the metric.",
    )
    tost, quantile = load("statsmodels.stats.weightstats").ttost_paired, load("scipy.stats").t.ppf
    rows = {}
    for key, paired, missing in _paired(results, baseline, metric):
        mean, sd = _mean_and_sd(paired)
        p = half = math.nan
        if sd > 0:
            p = float(tost(paired, np.zeros_like(paired), -margin, margin)[0])
            half = float(quantile(CONFIDENCE, len(paired) - 1)) * sd / math.sqrt(len(paired))
        elif sd == 0:  # Equal at every seed, as two schedules are until the first that they do differently.
            p, half = float(abs(mean) >= margin), 0.0
        rows[key] = {
            "n": len(paired),
            "missing": missing,
            "mean": mean,
            "low": mean - half,
            "high": mean + half,
            "p": p,
        }
    return _table(rows)


def epochs_to(results: DataFrame, target: float, metric: str = "val_loss") -> DataFrame:
    """Epochs after which a run first reaches a target, at most for a loss, at least for an accuracy.

    Args:
        results: The study's table.
        target: Value of the metric to reach.
        metric: Which of the table's columns.

    Returns:
        By schedule: `n` runs, how many `reached` it, the `median` of their epochs, and `low` and `high`, the ends of
        its 95 % interval by order statistics, NaN of less than 6 runs, whose extremes hold the median less often than
        that. A run that never reached it counts as infinity.
    """
    stats = load("scipy.stats")
    rows = {}
    sign = -1 if rises(metric) else 1
    for schedule, curves in _curves(results, metric).items():
        hits = sign * curves.to_numpy() <= sign * target
        epochs = np.where(hits.any(axis=1), curves.columns.to_numpy()[hits.argmax(axis=1)], math.inf)
        low, high = stats.quantile_test(epochs, p=0.5).confidence_interval(CONFIDENCE)
        rows[schedule] = {
            "n": len(epochs),
            "reached": int(np.isfinite(epochs).sum()),
            # The middle value, or of two the higher: between an epoch and never there is no mean.
            "median": float(np.sort(epochs)[len(epochs) // 2]),
            "low": float(low),
            "high": float(high),
        }
    return _table(rows, ("schedule",))


def best(results: DataFrame, metric: str = "val_loss") -> DataFrame:
    """The best epoch of each run, and of the mean of all runs.

    A value that was chosen as the best of many on the validation data flatters: on new data it is worse.

    Args:
        results: The study's table.
        metric: Which of its columns.

    Returns:
        By schedule: `n` runs with any finite value, `epoch` and `epoch_sd`, mean and SD of their best epochs, `value`
        and `value_sd`, mean and SD of their best values, and `mean_epoch` and `mean_value`, the best of the mean over
        the runs.
    """
    rows = {}
    sign = -1 if rises(metric) else 1
    for schedule, curves in _curves(results, metric).items():
        runs = curves.dropna(how="all")
        epochs = curves.columns.to_numpy(np.float64)
        of_runs = np.nanargmin(sign * runs.to_numpy(), axis=1)
        means = runs.mean().to_numpy()
        of_means = np.nanargmin(sign * means) if len(runs) else None
        epoch, epoch_sd = _mean_and_sd(epochs[of_runs])
        value, value_sd = _mean_and_sd(runs.to_numpy()[range(len(runs)), of_runs])
        rows[schedule] = {
            "n": len(runs),
            "epoch": epoch,
            "epoch_sd": epoch_sd,
            "value": value,
            "value_sd": value_sd,
            "mean_epoch": math.nan if of_means is None else float(epochs[of_means]),
            "mean_value": math.nan if of_means is None else float(means[of_means]),
        }
    return _table(rows, ("schedule",))


def best_so_far(results: DataFrame, metric: str = "val_loss") -> DataFrame:
    """The table with the best value up to each epoch in place of the metric: what a run is worth if it ends there.

    A run that diverges keeps what it had reached. `spread` of it is the anytime curve.
    """
    runs = _values(results, metric).groupby([results["schedule"], results["seed"]], sort=False)
    running = runs.cummax() if rises(metric) else runs.cummin()
    # pandas leaves a gap where the value itself is none.
    filled = running.groupby([results["schedule"], results["seed"]], sort=False).ffill()
    return results.assign(**{metric: filled})


def baseline_of(results: DataFrame, baseline: str | None = None) -> str:
    """The name of the baseline: the first schedule where None is given.

    Raises:
        ValueError: If the table is empty or has no such schedule.
    """
    names = results["schedule"].unique().tolist()
    require(bool(names), "The table must have a run.", "results", names, "Run the study, and look at its failures.")
    require(
        baseline is None or baseline in names,
        "`baseline` must be a schedule that has a run.",
        "baseline",
        baseline,
        f"Pass one of: {'; '.join(names)}.",
    )
    return names[0] if baseline is None else baseline


def summarize(
    results: DataFrame,
    baseline: str | None = None,
    metric: str = "val_loss",
    *,
    target: float | None = None,
    margin: float | None = None,
) -> Summary:
    """What the runs say about a metric: at the end and at its best, against the baseline, and how soon.

    Args:
        results: The study's table.
        baseline: Name of the schedule to compare with; None takes the first.
        metric: Which of the table's columns.
        target: Value whose first epoch is asked for; None takes the baseline's mean after the last epoch.
        margin: Largest mean difference that counts as none, for tests of equivalence; None makes no such test.

    Returns:
        The tables, and notes on how to read them.

    Raises:
        ValueError: If the table is empty or has no such schedule, or the margin is not positive.
    """
    baseline = baseline_of(results, baseline)
    means, last = spread(results, metric), int(results["epoch"].max())
    goal = tables.records(means)[baseline, last]["mean"] if target is None else float(target)
    places = tables.places_of(means["mean"])
    source = f", the mean of {baseline} after the last epoch" if target is None else ""
    found = [
        tables.ends(metric, last, means, best(results, metric), places),
        tables.reached(f"Epochs to a {metric} of {goal:.4g}{source}", epochs_to(results, goal, metric)),
    ]
    if results["schedule"].nunique() > 1:
        ends = results.loc[results["cycle_end"], ["schedule", "epoch"]]
        marked = set(ends.itertuples(index=False, name=None))
        for title, compared in ((metric, results), (f"Best {metric} so far", best_so_far(results, metric))):
            of_these = differences(compared, baseline, metric)
            found.append(tables.compared(f"{title}: difference to {baseline}", of_these, marked, places))
        if margin is not None:
            tested = equivalence(results, margin, baseline, metric)
            found.append(tables.equivalent(metric, margin, tested, places))
    return Summary(found, _notes(results, metric))


def _notes(results: DataFrame, metric: str) -> list[str]:
    runs: dict[Any, int] = results.groupby("schedule", sort=False)["seed"].nunique().to_dict()
    seeds = results["seed"].nunique()
    notes = [
        f"{seeds} seeds. Differences are paired by seed: their mean and its 95 % bootstrap interval. A dot marks an "
        "epoch that ends a cycle of that schedule. Each interval stands for itself: of twenty, one misses by chance.",
        f"The best {metric} of a run is chosen on the data that it is measured on, and so flatters.",
    ]
    if seeds == 1:
        notes[0] = "One seed: there is no SD and no interval, and nothing is claimed."
    elif seeds in COVERAGE:
        notes.append(
            f"A bootstrap of {seeds} values is too narrow: of normal ones, its 95 % interval holds the mean in "
            f"{COVERAGE[seeds]} % of cases."
        )
    for schedule, n in runs.items():
        if n < seeds:
            notes.append(f"{schedule}: {seeds - n} of {seeds} seeds have no run, and no pair.")
    lost = _values(results, metric).isna().groupby([results["schedule"], results["seed"]], sort=False).any()
    for schedule, n in lost.groupby("schedule", sort=False).sum().to_dict().items():
        if n:
            notes.append(
                f"{schedule}: {n} of {runs[schedule]} runs have values that are not finite. These enter no mean, so "
                "what is left flatters."
            )
    return notes


def _values(results: DataFrame, metric: str) -> Series[Any]:
    """The metric, NaN where it is not finite."""
    return results[metric].where(np.isfinite(results[metric]))


def _curves(results: DataFrame, metric: str) -> dict[str, DataFrame]:
    """For each schedule a row a seed and a column an epoch."""
    runs = results.assign(**{metric: _values(results, metric)}).groupby("schedule", sort=False)
    return {str(name): own.pivot(index="seed", columns="epoch", values=metric) for name, own in runs}


def _paired(results: DataFrame, baseline: str | None, metric: str) -> Iterator[tuple[tuple[str, int], FloatArray, int]]:
    """Schedule and epoch, differences of the seeds that have both values, and the number of those that have not."""
    baseline = baseline_of(results, baseline)
    curves = _curves(results, metric)
    require(
        len(curves) > 1,
        "The table must have a schedule beside the baseline.",
        "schedules",
        list(curves),
        "Run the study with what is to be compared.",
    )
    seeds = results["seed"].nunique()
    for schedule, own in curves.items():
        if schedule != baseline:
            for epoch in compared_epochs(results):
                paired = (own[epoch] - curves[baseline][epoch]).dropna().to_numpy(np.float64)
                yield (schedule, epoch), paired, seeds - len(paired)


def _mean_and_sd(values: FloatArray) -> tuple[float, float]:
    mean = float(values.mean()) if len(values) else math.nan
    return mean, float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _bootstrap(values: FloatArray) -> tuple[float, float]:
    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) == 0:  # Every sample of equal values has the same mean.
        return float(values[0]), float(values[0])
    found = (
        load("scipy.stats")
        .bootstrap((values,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="BCa", rng=SEED)
        .confidence_interval
    )
    return float(found.low), float(found.high)


def _table(rows: Mapping[Any, Mapping[str, float]], index: tuple[str, ...] = ("schedule", "epoch")) -> DataFrame:
    pandas = load("pandas")
    table: DataFrame = pandas.DataFrame.from_dict(dict(rows), orient="index")
    table.index = table.index.rename(index[0]) if len(index) == 1 else pandas.MultiIndex.from_tuples(rows, names=index)
    return table
