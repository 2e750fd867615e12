"""The figures of a study's table. Each function takes axes, or makes them by matplotlib, and returns them.

A schedule has the same colour, stroke and marker in all of them, by its place in the table; markers stand at ends of
cycles.
"""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr._checks import at_least, require
from keras_sgdr._files import replace_file
from keras_sgdr._optional import load
from keras_sgdr.plotting import plot_learning_rate
from keras_sgdr.plotting.style import MOST_MARKERS
from keras_sgdr.schedules import Schedule
from keras_sgdr.study.results import conclusions
from keras_sgdr.study.results.axes import labelled, new_axes, scale
from keras_sgdr.study.results.curves import curves_of
from keras_sgdr.study.results.statistics import baseline_of, best_so_far, compared_epochs, differences
from keras_sgdr.study.results.tables import rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

__all__ = ["CAPTIONS", "draw", "plot_differences", "plot_means", "plot_panels", "plot_smoothed"]


# Of fewer seeds than that each is drawn, and no band: it would tell their number, not their spread.
FEWEST_IN_A_BAND = 6
# Of fewer epochs smoothing leaves nothing but what it makes up.
FEWEST_SMOOTHED = 30

# By the names of the files that `draw` writes.
CAPTIONS = {
    "rates": "Learning rate of every update; markers are ends of cycles.",
    "pair": "The baseline and the first schedule compared with it, and the seeds as the legend says.",
    "panels": "Every schedule, its seeds as in the pair. Grey and dashed: the first schedule.",
    "means": f"Means of all schedules together. Of {FEWEST_SMOOTHED} epochs or more: smoothed, and the means as dots.",
    "differences": "Paired differences to the baseline, mean and 95 % t interval, at every end of a cycle and "
    "after the last epoch. Filled markers: it ends a cycle itself. Below zero, it has less than the baseline.",
    "best_so_far": "Anytime curves: mean over the seeds of the best value so far.",
}


def plot_means(
    results: DataFrame,
    ax: Axes | None = None,
    *,
    metric: str = "val_loss",
    only: Collection[str] | None = None,
    band: bool = True,
) -> Axes:
    """Draw the mean over the seeds by epoch, with a band of one SD to either side; up to 5 seeds each as a thin line.

    Where the mean less one SD of a loss would fall below 0, it is the median, with a band from the 16 % to the 84 %
    quantile. A metric that varies by a factor of 8 is drawn on a logarithmic axis. First epochs that lie so far off
    that they would take half of the axis are cut off.

    Args:
        results: The study's table.
        ax: Axes to draw on; new ones if None.
        metric: Which of the table's columns.
        only: Names of the schedules to draw; all where None.
        band: Whether to draw the band, or the seeds.

    Returns:
        The axes drawn on.
    """
    ax = new_axes()[0] if ax is None else ax
    described = "mean over the seeds"
    curves = curves_of(results, metric)
    middles = [curve.middle if band else curve.mean for curve in curves]
    for curve, middle in zip(curves, middles, strict=True):
        if only is not None and curve.name not in only:
            continue
        # Of many ends only some are marked, the last among them.
        marked = curve.ends[:: -(1 + len(curve.ends) // MOST_MARKERS)]
        style: dict[str, Any] = {"color": curve.color, "linestyle": curve.stroke, "label": curve.label}
        ax.plot(curve.epochs, middle, marker=curve.marker if marked else None, markevery=marked, **style)
        is_median = curve.middle is not curve.mean
        if band and 1 < len(curve.runs) < FEWEST_IN_A_BAND:
            described = f"{'median' if is_median else 'mean'} over the seeds; thin: each of them"
            ax.plot(curve.epochs, curve.runs.T, color=curve.color, linestyle=curve.stroke, linewidth=0.6, alpha=0.6)
        elif band and np.isfinite(curve.low).any():
            described = "median and middle 68 % of the seeds" if is_median else "mean ± 1 SD over the seeds"
            ax.fill_between(curve.epochs, curve.low, curve.high, color=curve.color, alpha=0.15, linewidth=0)
            for edge in (curve.low, curve.high):
                ax.plot(curve.epochs, edge, color=curve.color, linestyle=curve.stroke, linewidth=0.5)
    scale(ax, metric, middles)
    return labelled(ax, metric, f"{described}; markers: ends of cycles")


def plot_panels(results: DataFrame, axes: Sequence[Axes] | None = None, *, metric: str = "val_loss") -> list[Axes]:
    """Draw one panel per schedule: what `plot_means` draws, and the first schedule's curve in grey.

    Args:
        results: The study's table.
        axes: Axes to draw on, one per schedule; new ones, with scales in common, if None.
        metric: Which of the table's columns.

    Returns:
        The axes drawn on.

    Raises:
        ValueError: If there are fewer axes than schedules.
    """
    curves = curves_of(results, metric)
    columns = math.ceil(math.sqrt(len(curves)))
    given = axes is not None
    axes = new_axes(len(curves), columns) if axes is None else list(axes)
    rule = "`axes` must be one per schedule."
    require(len(axes) >= len(curves), rule, "axes", len(axes), f"Pass {len(curves)}, or None.")
    for place, (curve, ax) in enumerate(zip(curves, axes, strict=False)):
        if place:
            ax.plot(curves[0].epochs, curves[0].middle, color="0.5", linestyle="--", linewidth=1)
        plot_means(results, ax, metric=metric, only=[curve.name])
        if legend := ax.get_legend():
            legend.remove()
        ax.set_title(curve.label, fontsize="medium")
        if not given and place % columns:
            ax.set_ylabel("")
        if not given and place + columns < len(curves):
            ax.set_xlabel("")
        elif not given:  # The last of its column, though perhaps not in the last row.
            ax.tick_params(labelbottom=True)
    return axes[: len(curves)]


def plot_smoothed(
    results: DataFrame, ax: Axes | None = None, *, metric: str = "val_loss", smoothing: float = 1.0
) -> Axes:
    """Draw all means in one, smoothed by radial basis functions; those of less than 30 epochs as they are.

    Smoothing reaches across a restart, so the means themselves are there too: dots, and markers at ends of cycles.

    Args:
        results: The study's table.
        ax: Axes to draw on; new ones if None.
        metric: Which of the table's columns.
        smoothing: Of `scipy.interpolate.RBFInterpolator` with its thin-plate spline, epochs as coordinates; 0 goes
            through every mean.

    Returns:
        The axes drawn on, whose legend states the smoothing.

    Raises:
        ValueError: If `smoothing` is negative.
    """
    at_least("smoothing", smoothing, 0, "Pass smoothing=0 for curves through every mean.")
    ax = new_axes()[0] if ax is None else ax
    interpolator = load("scipy.interpolate", "Smoothing").RBFInterpolator
    for curve in curves_of(results, metric):
        finite = np.isfinite(curve.mean)
        epochs, mean = curve.epochs[finite].astype(np.float64), curve.mean[finite]
        is_smoothed = len(curve.epochs) >= FEWEST_SMOOTHED and len(mean) >= FEWEST_SMOOTHED
        smooth = interpolator(epochs[:, None], mean, smoothing=smoothing)(epochs[:, None]) if is_smoothed else mean
        ax.plot(epochs, mean, ".", color=curve.color, alpha=0.4, markersize=3)
        ax.plot(epochs, smooth, color=curve.color, linestyle=curve.stroke)
        ax.plot(curve.epochs[curve.ends], curve.mean[curve.ends], curve.marker, color=curve.color)
        # For the legend, with stroke and marker.
        marker = curve.marker if curve.ends else None
        ax.plot([], [], color=curve.color, linestyle=curve.stroke, marker=marker, label=curve.label)
    scale(ax, metric, [curve.mean for curve in curves_of(results, metric)])
    described = f"thin-plate RBF, smoothing {smoothing:g}; dots: the means; markers: the means at ends of cycles"
    is_smoothed = results["epoch"].nunique() >= FEWEST_SMOOTHED
    return labelled(ax, metric, described if is_smoothed else "means over the seeds; markers: ends of cycles")


def plot_differences(
    results: DataFrame, ax: Axes | None = None, *, baseline: str | None = None, metric: str = "val_loss"
) -> Axes:
    """Draw the paired differences to the baseline at the ends of cycles, with their 95 % t intervals.

    Args:
        results: The study's table.
        ax: Axes to draw on; new ones if None.
        baseline: Name of the schedule to compare with; None takes the first.
        metric: Which of the table's columns.

    Returns:
        The axes drawn on. Epochs are evenly spaced. A marker is filled where its own schedule ends a cycle.

    Raises:
        ValueError: If the table has no such baseline, or nothing beside it.
    """
    rows = rows_of(differences(results, baseline, metric))
    baseline, epochs = baseline_of(results, baseline), compared_epochs(results)
    ax = new_axes(width=max(7.0, 0.8 * len(epochs)))[0] if ax is None else ax
    compared = [curve for curve in curves_of(results, metric) if curve.name != baseline]
    for number, curve in enumerate(compared):
        shift = 0.6 * ((number + 0.5) / len(compared) - 0.5)
        ends = set(curve.epochs[curve.ends].tolist())
        for column, epoch in enumerate(epochs):
            row = rows[curve.name, epoch]
            ax.errorbar(
                [column + shift],
                [row["mean"]],
                # Of one pair there is no interval.
                yerr=[[row["mean"] - row["t_low"]], [row["t_high"] - row["mean"]]] if row["n"] > 1 else None,
                color=curve.color,
                marker=curve.marker,
                markerfacecolor=curve.color if epoch in ends else "white",
                linestyle="",
                capsize=3,
                label="" if column else curve.label,
            )
    ax.axhline(0, color="0.4", linewidth=0.8, zorder=0)
    for column in range(1, len(epochs)):
        ax.axvline(column - 0.5, color="0.9", linewidth=0.8, zorder=0)
    labelled(ax, metric, "mean and 95 % t interval of paired differences; filled: end of its own cycle")
    ax.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
    ax.set_xlim(-0.5, len(epochs) - 0.5)
    ax.set_ylabel(f"{ax.get_ylabel()}, minus {baseline}")
    return ax


def draw(
    results: DataFrame,
    schedules: Mapping[str, Schedule],
    folder: str | os.PathLike[str],
    epochs: int,
    *,
    metric: str = "val_loss",
) -> list[Path]:
    """Draw a study's figures into a folder, one PNG for each of `CAPTIONS`.

    Args:
        results: The study's table.
        schedules: What was compared, the baseline first.
        folder: Where to write; made if it is not there.
        epochs: Epochs of a run.
        metric: Which of the table's columns.

    Returns:
        The files. Without a second schedule there are no differences.

    Raises:
        ValueError: If the table is empty.
    """
    baseline = baseline_of(results)
    names = [curve.name for curve in curves_of(results, metric)]
    drawn = {
        "rates": plot_learning_rate(schedules, epochs, new_axes()[0]),
        "pair": plot_means(results, metric=metric, only=names[:2]),
        "panels": plot_panels(results, metric=metric)[0],
        "means": plot_smoothed(results, metric=metric),
        "best_so_far": plot_means(best_so_far(results, metric), metric=metric, band=False),
    }
    drawn["best_so_far"].set_ylabel(f"Best {drawn['best_so_far'].get_ylabel().lower()} so far")
    titles = {
        "rates": conclusions.restarts(results),
        "panels": conclusions.ahead(results, metric),
        "means": conclusions.best_epoch(results, metric),
        "best_so_far": conclusions.ahead(
            best_so_far(results, metric), metric, what=f"of the best {conclusions.spoken(metric)} so far"
        ),
    }
    if names != [baseline]:
        drawn["differences"] = plot_differences(results, metric=metric)
        paired = differences(results, metric=metric, own_ends=True)  # As in the report's table.
        titles["differences"] = conclusions.excluding_zero(paired, baseline)
        titles["pair"] = conclusions.pair(paired, baseline, metric)
    paths = {name: Path(folder, f"{name}.png") for name in CAPTIONS if name in drawn}
    for name, path in paths.items():
        figure = drawn[name].get_figure(root=True)
        assert figure is not None
        figure.suptitle(textwrap.fill(titles.get(name, ""), 80), fontsize="medium")
        replace_file(path, partial(figure.savefig, dpi=150))
    return list(paths.values())
