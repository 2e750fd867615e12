"""Statistics of a study: means, paired differences with intervals, tests of equivalence, epochs to a target.

Every function takes the table of `Study.results`, one row per schedule, seed and epoch. A seed has the same weights,
batches, crops and flips under every schedule, so schedules are compared seed by seed. Values that are not finite, of
runs that diverged, enter no mean; every table counts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr._checks import positive, require
from keras_sgdr._optional import load
from keras_sgdr.schedules.exact import FloatArray
from keras_sgdr.snapshots import higher_is_better
from keras_sgdr.study.results.intervals import CONFIDENCE, corrected, mean_and_sd, tested, two_one_sided_tests

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = [
    "baseline_of",
    "best",
    "best_so_far",
    "compared_epochs",
    "differences",
    "ensemble_gains",
    "epochs_to",
    "equivalence",
    "finite",
    "spread",
]


def spread(results: DataFrame, metric: str = "val_loss") -> DataFrame:
    """Mean and SD over the seeds, for every schedule and epoch.

    Args:
        results: The study's table.
        metric: Which of its columns.

    Returns:
        By schedule and epoch: `n` finite values, how many were `not_finite`, their `mean`, and `sd` with `n - 1` in the
        denominator; NaN for less than two.
    """
    values = finite(results, metric).groupby([results["schedule"], results["epoch"]], sort=False)
    names = {"count": "n", "size": "not_finite", "mean": "mean", "std": "sd"}
    table = values.agg(list(names)).rename(columns=names)
    table["not_finite"] -= table["n"]
    return table


def compared_epochs(results: DataFrame) -> list[int]:
    """Epochs at which any schedule ends a cycle, and the last one."""
    ends = results.loc[results["cycle_end"], "epoch"]
    return sorted({*ends.tolist(), int(results["epoch"].max())})


def differences(
    results: DataFrame, baseline: str | None = None, metric: str = "val_loss", *, own_ends: bool = False
) -> DataFrame:
    """Paired differences to the baseline, schedule minus baseline by seed, at the `compared_epochs`.

    Args:
        results: The study's table.
        baseline: Name of the schedule to compare with; None takes the first.
        metric: Which of the table's columns.
        own_ends: Only where a schedule ends a cycle itself, and after the last epoch: fewer comparisons to correct for.

    Returns:
        By schedule and epoch: `n` pairs of finite values, `missing`, the seeds that have no such pair, the `mean` of
        the differences, their `sd`, and `low` and `high`, the ends of its 95 % bootstrap interval (bias-corrected and
        accelerated, Efron 1987); `t_low`, `t_high` and `p` of Student's paired t; and `p_holm`, corrected for the
        number of rows (Holm 1979). NaN for less than two pairs.

    Raises:
        ValueError: If the table has no such schedule.
    """
    paired = _paired(results, baseline, metric, own_ends)
    return _table(corrected({key: {"missing": missing, **tested(values)} for key, values, missing in paired}))


def ensemble_gains(ensembles: DataFrame, metric: str = "val_loss") -> DataFrame:
    """What ensembles of cycle ends gain on their last member, by seed.

    Args:
        ensembles: `Study.ensembles`.
        metric: `"val_loss"` or `"val_accuracy"`.

    Returns:
        By schedule and epoch, where there are two members or more: their number `members`, `value` and `last`, means of
        the ensemble and of its last member, and of the difference between these `n`, `mean`, `sd`, intervals and tests
        as in `differences`.
    """
    rows = {}
    several = ensembles[ensembles["members"] > 1]
    for key, runs in several.groupby(["schedule", "epoch"], sort=False):
        value, last = (runs[name].to_numpy(np.float64) for name in (metric, f"last_{metric}"))
        means = {"value": float(value.mean()), "last": float(last.mean())}
        rows[key] = {"members": int(runs["members"].iloc[0]), **means, **tested(value - last)}
    return _table(corrected(rows))


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
    positive("margin", margin, "Pass the largest difference that counts as none, in units of the metric.")
    rows = {}
    for key, paired, missing in _paired(results, baseline, metric):
        mean, _ = mean_and_sd(paired)
        low, high, p = two_one_sided_tests(paired, margin)
        rows[key] = {"n": len(paired), "missing": missing, "mean": mean, "low": low, "high": high, "p": p}
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
    stats = load("scipy.stats", "A study")
    rows = {}
    sign = -1 if higher_is_better(metric) else 1
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
    sign = -1 if higher_is_better(metric) else 1
    for schedule, curves in _curves(results, metric).items():
        runs = curves.dropna(how="all")
        epochs = curves.columns.to_numpy(np.float64)
        of_runs = np.nanargmin(sign * runs.to_numpy(), axis=1)
        means = runs.mean().to_numpy()
        of_means = np.nanargmin(sign * means) if len(runs) else None
        epoch, epoch_sd = mean_and_sd(epochs[of_runs])
        value, value_sd = mean_and_sd(runs.to_numpy()[range(len(runs)), of_runs])
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
    runs = finite(results, metric).groupby([results["schedule"], results["seed"]], sort=False)
    running = runs.cummax() if higher_is_better(metric) else runs.cummin()
    # pandas leaves a gap where the value itself is NaN.
    filled = running.groupby([results["schedule"], results["seed"]], sort=False).ffill()
    return results.assign(**{metric: filled})


def baseline_of(results: DataFrame, baseline: str | None = None) -> str:
    """The name of the baseline: the first schedule where None is given.

    Raises:
        ValueError: If the table is empty or has no such schedule.
    """
    names = results["schedule"].unique().tolist()
    require(bool(names), "The table must have a run.", "results", names, "Run the study, and look at its failures.")
    rule, fix = "`baseline` must be a schedule that has a run.", f"Pass one of: {'; '.join(names)}."
    require(baseline is None or baseline in names, rule, "baseline", baseline, fix)
    return names[0] if baseline is None else baseline


def finite(results: DataFrame, metric: str) -> Series[Any]:
    """A column of the table, NaN where it is not finite."""
    return results[metric].where(np.isfinite(results[metric]))


def _curves(results: DataFrame, metric: str) -> dict[str, DataFrame]:
    """For each schedule the metric, with a row per seed and a column per epoch."""
    runs = results.assign(**{metric: finite(results, metric)}).groupby("schedule", sort=False)
    return {str(name): group.pivot(index="seed", columns="epoch", values=metric) for name, group in runs}


def _paired(
    results: DataFrame, baseline: str | None, metric: str, own_ends: bool = False
) -> Iterator[tuple[tuple[str, int], FloatArray, int]]:
    """Schedule and epoch, differences of the seeds that have both values, and the number of those that have not."""
    baseline = baseline_of(results, baseline)
    curves = _curves(results, metric)
    rule = "The table must have a schedule beside the baseline."
    require(len(curves) > 1, rule, "schedules", list(curves), "Run the study with what is to be compared.")
    seeds = results["seed"].nunique()
    for schedule, curve in curves.items():
        if schedule != baseline:
            epochs = compared_epochs(results)
            if own_ends:
                ends = results.loc[results["cycle_end"] & (results["schedule"] == schedule), "epoch"].tolist()
                epochs = sorted({*ends, epochs[-1]})
            for epoch in epochs:
                paired = (curve[epoch] - curves[baseline][epoch]).dropna().to_numpy(np.float64)
                yield (schedule, epoch), paired, seeds - len(paired)


def _table(rows: Mapping[Any, Mapping[str, float]], index: tuple[str, ...] = ("schedule", "epoch")) -> DataFrame:
    pandas = load("pandas", "A study")
    table: DataFrame = pandas.DataFrame.from_dict(dict(rows), orient="index")
    table.index = table.index.rename(index[0]) if len(index) == 1 else pandas.MultiIndex.from_tuples(rows, names=index)
    return table
