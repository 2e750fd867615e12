"""The figures of a study's table. Each function takes axes, or makes them by matplotlib, and returns them.

A schedule has the same colour, stroke and marker in all of them, by its place in the table; markers stand at ends of
cycles.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr._checks import at_least, require
from keras_sgdr._files import replace_file
from keras_sgdr._optional import load
from keras_sgdr.plotting import MOST_MARKERS, plot_learning_rate
from keras_sgdr.schedules import Schedule
from keras_sgdr.schedules.exact import FloatArray
from keras_sgdr.study.results.curves import curves_of
from keras_sgdr.study.results.statistics import baseline_of, best_so_far, compared_epochs, differences
from keras_sgdr.study.results.tables import rows_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

__all__ = ["CAPTIONS", "draw", "plot_differences", "plot_means", "plot_panels", "plot_smoothed"]

# A loss that is so many times as high somewhere as elsewhere is drawn on a logarithmic axis.
MOST_RATIO = 8

# By the names of the files that `draw` writes.
CAPTIONS = {
    "rates": "Learning rate of every update; markers are ends of cycles.",
    "pair": "The baseline and the first schedule compared with it, with the band over the seeds that the legend names.",
    "panels": "Every schedule, with the band that the legend of the pair names. Grey and dashed: the first schedule.",
    "smoothed": "Means of all schedules together, smoothed. Dots and markers are the means themselves.",
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
    """Draw the mean over the seeds by epoch, with a band of one SD to either side.

    Where the mean less one SD of a loss would fall below 0, it is the median, with a band from the 16 % to the 84 %
    quantile. A metric that varies by a factor of 8 is drawn on a logarithmic axis.

    Args:
        results: The study's table.
        ax: Axes to draw on; new ones if None.
        metric: Which of the table's columns.
        only: Names of the schedules to draw; all where None.
        band: Whether to draw the band.

    Returns:
        The axes drawn on.
    """
    ax = _new_axes()[0] if ax is None else ax
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
        if band and np.isfinite(curve.low).any():
            is_median = curve.middle is not curve.mean
            described = "median and middle 68 % of the seeds" if is_median else "mean ± 1 SD over the seeds"
            ax.fill_between(curve.epochs, curve.low, curve.high, color=curve.color, alpha=0.15, linewidth=0)
            for edge in (curve.low, curve.high):
                ax.plot(curve.epochs, edge, color=curve.color, linestyle=curve.stroke, linewidth=0.5)
    _scale(ax, metric, middles)
    return _labelled(ax, metric, f"{described}; markers: ends of cycles")


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
    axes = _new_axes(len(curves), columns) if axes is None else list(axes)
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
    """Draw all means in one, smoothed by radial basis functions.

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
    ax = _new_axes()[0] if ax is None else ax
    interpolator = load("scipy.interpolate", "Smoothing").RBFInterpolator
    for curve in curves_of(results, metric):
        finite = np.isfinite(curve.mean)
        epochs, mean = curve.epochs[finite].astype(np.float64), curve.mean[finite]
        # Of less than three points there is no thin-plate spline.
        smooth = interpolator(epochs[:, None], mean, smoothing=smoothing)(epochs[:, None]) if len(mean) > 2 else mean
        ax.plot(epochs, mean, ".", color=curve.color, alpha=0.4, markersize=3)
        ax.plot(epochs, smooth, color=curve.color, linestyle=curve.stroke)
        ax.plot(curve.epochs[curve.ends], curve.mean[curve.ends], curve.marker, color=curve.color)
        # For the legend, with stroke and marker.
        marker = curve.marker if curve.ends else None
        ax.plot([], [], color=curve.color, linestyle=curve.stroke, marker=marker, label=curve.label)
    _scale(ax, metric, [curve.mean for curve in curves_of(results, metric)])
    return _labelled(
        ax, metric, f"thin-plate RBF, smoothing {smoothing:g}; dots: the means; markers: the means at ends of cycles"
    )


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
    ax = _new_axes(width=max(7.0, 0.8 * len(epochs)))[0] if ax is None else ax
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
    _labelled(ax, metric, "mean and 95 % t interval of paired differences; filled: end of its own cycle")
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
        "rates": plot_learning_rate(schedules, epochs, _new_axes()[0]),
        "pair": plot_means(results, metric=metric, only=names[:2]),
        "panels": plot_panels(results, metric=metric)[0],
        "smoothed": plot_smoothed(results, metric=metric),
        "best_so_far": plot_means(best_so_far(results, metric), metric=metric, band=False),
    }
    drawn["best_so_far"].set_ylabel(f"Best {drawn['best_so_far'].get_ylabel().lower()} so far")
    if names != [baseline]:
        drawn["differences"] = plot_differences(results, metric=metric)
    paths = {name: Path(folder, f"{name}.png") for name in CAPTIONS if name in drawn}
    for name, path in paths.items():
        figure = drawn[name].get_figure(root=True)
        assert figure is not None
        replace_file(path, partial(figure.savefig, dpi=150))
    return list(paths.values())


def _scale(ax: Axes, metric: str, curves: Sequence[FloatArray]) -> None:
    """Make the axis logarithmic where a loss varies so much that a linear one would flatten the rest."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if "accuracy" not in metric and len(values) and values.min() > 0 and values.max() > MOST_RATIO * values.min():
        ax.set_yscale("log")


def _new_axes(panels: int = 1, columns: int = 1, width: float = 7.0) -> list[Axes]:
    """Axes of a figure that no window shows, with scales in common."""
    rows = math.ceil(panels / columns)
    size = (3.2 * columns, 2.4 * rows) if columns > 1 else (width, 4.5)
    figure = load("matplotlib.figure", "Drawing", "plot").Figure(figsize=size, layout="constrained")
    axes: list[Axes] = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for ax in axes[panels:]:
        ax.remove()
    return axes[:panels]


def _labelled(ax: Axes, metric: str, title: str) -> Axes:
    ax.set_xlabel("Epochs completed")
    ax.locator_params("x", integer=True)
    ax.set_ylabel(metric.replace("val_", "validation ").capitalize())
    # Above the axes: curves that rise at every restart leave no corner free.
    ax.legend(
        title=title, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=8, title_fontsize=8
    )
    return ax
