"""Pictures of schedules and of training runs. Each function takes axes, or makes them, and returns them.

Lines differ in stroke and marker as well as in colour, so that they are told apart in a grey print. The colours are
those of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr._checks import invalid, is_number, one_of, require
from keras_sgdr._optional import load
from keras_sgdr.schedules import Schedule
from keras_sgdr.schedules.exact import FloatArray, to_fraction

# Keras is imported by what draws a training, and not at all to draw a schedule.
if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from keras_sgdr.range_test import RangeTest
    from keras_sgdr.snapshots import Report

__all__ = ["plot_ensemble", "plot_history", "plot_learning_rate", "plot_range_test", "plot_run"]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STROKES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (7, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v")
# More markers than this on one line would hide it.
MOST_MARKERS = 20


def plot_learning_rate(
    schedules: Schedule | Mapping[str, Schedule],
    epochs: int,
    ax: Axes | None = None,
    *,
    steps_per_epoch: int = 100,
    log: bool = False,
) -> Axes:
    """Draw the learning rate of every update over the epochs, with the last update of each cycle marked.

    Nothing is trained: these are the rates that `fit` would apply. Of many cycles only some ends are marked,
    the last among them.

    Args:
        schedules: A schedule, or several by their names in the legend.
        epochs: Epochs to draw.
        ax: Axes to draw on; new ones if None.
        steps_per_epoch: Updates in an epoch.
        log: Whether the rate has a logarithmic scale, as in the paper's figure 1. It ends three decades below the
            highest rate; what lies lower, as ends of cycles that anneal to nothing do, is drawn there.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: If no axes are given and matplotlib is not installed.
        ValueError: If there is no schedule, or the updates or the cycles are too many.
    """
    named = schedules if isinstance(schedules, Mapping) else {"": schedules}
    rule = "`schedules` must be a schedule, or a dict of schedules by name, at least one."
    valid = bool(named) and all(isinstance(schedule, Schedule) for schedule in named.values())
    require(valid, rule, "schedules", schedules, "Pass such as WarmRestarts(10, 2, eta_max=0.1).")
    curves = {label: schedule.learning_rates(epochs, steps_per_epoch) for label, schedule in named.items()}
    ax = _new_axes() if ax is None else ax
    foot = max(rates.max(initial=0.0) for rates in curves.values()) / 1000 if log else -np.inf
    for (label, schedule), color, stroke, marker in zip(named.items(), *_looks(), strict=False):
        rates = np.maximum(curves[label], foot)
        ends = schedule.cycle_ends(epochs)
        marked = ends[:: -(1 + len(ends) // MOST_MARKERS)]
        ax.plot(
            np.arange(len(rates)) / steps_per_epoch,
            rates,
            color=color,
            linestyle=stroke,
            marker=marker if marked else None,
            markevery=[math.ceil(to_fraction(end) * steps_per_epoch) - 1 for end in marked],
            label=label,
        )
    if log:
        ax.set_yscale("log")
    ax.set_xlabel("Training time (epochs)")
    ax.set_ylabel("Learning rate")
    if isinstance(schedules, Mapping):
        # Above the axes: curves that rise to the top at every restart leave no corner free.
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax


def plot_history(
    history: keras.callbacks.History | Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    *,
    metrics: Sequence[str] = ("loss", "val_loss"),
    cycle_ends: Sequence[float] = (),
) -> Axes:
    """Draw what `fit` recorded after each epoch: restarts as vertical lines, ends of cycles as points.

    First epochs that lie so far off that they would take half of the axis are cut off.

    Args:
        history: What `fit` returned, or its `history` dictionary; of that the first entry counts as epoch 1.
        ax: Axes to draw on; new ones if None.
        metrics: Names of the entries to draw, one line for each.
        cycle_ends: Epochs that end a cycle, as from `WarmRestarts.cycle_ends`. A restart follows each, except
            where the run ends.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: If no axes are given and matplotlib is not installed.
        ValueError: If the history has no such metric.
    """
    import keras

    rule, fix = "`history` must be what `fit` returned, or a dict.", "Pass such as model.fit(...).history."
    require(isinstance(history, keras.callbacks.History | Mapping), rule, "history", history, fix)
    names = list(metrics) if isinstance(metrics, Sequence) else []
    valid = bool(names) and not isinstance(metrics, str) and all(isinstance(name, str) for name in names)
    rule = "`metrics` must be names of entries of the history, at least one."
    require(valid, rule, "metrics", metrics, 'Pass such as ("loss", "val_loss").')
    valid = np.ndim(cycle_ends) == 1 and all(map(is_number, np.asarray(cycle_ends).tolist()))
    rule, fix = "`cycle_ends` must be a list of epochs.", "Pass what `WarmRestarts.cycle_ends` returns."
    require(valid, rule, "cycle_ends", cycle_ends, fix)
    if isinstance(history, keras.callbacks.History):
        recorded, epochs = history.history, [epoch + 1 for epoch in history.epoch]
    else:
        recorded, epochs = history, list(range(1, 1 + max(map(len, history.values()), default=0)))
    if missing := [name for name in metrics if name not in recorded]:
        received = f"metrics={tuple(metrics)}, of which {', '.join(missing)} was not recorded"
        rule = "`metrics` must name entries of the history."
        raise invalid(rule, received, f"Pass some of: {', '.join(recorded)}.")
    ax = _new_axes() if ax is None else ax
    restarts = [end for end in cycle_ends if epochs and epochs[0] <= end < epochs[-1]]
    for number, end in enumerate(restarts):
        ax.axvline(end, color="0.6", linewidth=0.8, zorder=0, label="" if number else "restart")
    for name, color, stroke, marker in zip(metrics, *_looks(), strict=False):
        ends = [index for index, epoch in enumerate(epochs) if epoch in cycle_ends]
        ax.plot(
            epochs,
            recorded[name],
            color=color,
            linestyle=stroke,
            marker=marker if ends else None,
            markevery=ends,
            label=name,
        )
    settled(ax, [np.asarray(recorded[name], np.float64) for name in metrics])
    ax.set_xlabel("Epochs completed")
    ax.set_ylabel(", ".join(dict.fromkeys(name.removeprefix("val_") for name in metrics)))
    ax.legend(title="points: ends of cycles" if len(cycle_ends) else None)
    return ax


def plot_run(
    history: keras.callbacks.History | Mapping[str, Sequence[float]],
    schedule: Schedule,
    epochs: int,
    steps_per_epoch: int = 100,
) -> Figure:
    """Draw a training in three panels: the learning rate of every update, the losses, the accuracies.

    Args:
        history: What `fit` returned, or its `history` dictionary.
        schedule: What `SGDR` followed.
        epochs: Those of `fit`.
        steps_per_epoch: Updates in an epoch.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the history lacks a loss or an accuracy.
    """
    rule, fix = "`schedule` must be a schedule.", "Pass that of the callback, `sgdr.schedule`."
    require(isinstance(schedule, Schedule), rule, "schedule", schedule, fix)
    figure: Figure = load("matplotlib.figure", "Drawing").Figure(figsize=(8, 7.5), layout="constrained")
    rate, loss, accuracy = figure.subplots(3, 1, sharex=True)
    plot_learning_rate(schedule, epochs, rate, steps_per_epoch=steps_per_epoch)
    rate.lines[0].set_color("0.2")  # Blue is training, orange validation, in both panels below.
    ends = schedule.cycle_ends(epochs)
    plot_history(history, loss, cycle_ends=ends)
    plot_history(history, accuracy, metrics=("accuracy", "val_accuracy"), cycle_ends=ends)
    for panel in (rate, loss):
        panel.label_outer()
    return figure


def plot_range_test(result: RangeTest, ax: Axes | None = None) -> Axes:
    """Draw a learning rate range test: losses over the rate, on a logarithmic scale, and the suggested peaks.

    The vertical axis ends at the highest smoothed loss before divergence, which may leave all bounds.

    Args:
        result: What `find_learning_rate` returned.
        ax: Axes to draw on; new ones if None.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: If no axes are given and matplotlib is not installed.
    """
    ax = _new_axes() if ax is None else ax
    ax.plot(result.rates, result.losses, linestyle="", marker=".", color="0.7", label="loss of a batch")
    ax.plot(result.smoothed_rates, result.smoothed_losses, color=COLORS[0], linestyle="-", label="smoothed")
    suggestions = ((result.suggested, "steepest descent"), (result.suggested_tenth, "a tenth of the minimum's"))
    for (rate, why), stroke, marker in zip(suggestions, STROKES[1:], MARKERS, strict=False):
        if rate is not None:
            loss = np.interp(rate, result.smoothed_rates, result.smoothed_losses)
            ax.axvline(rate, color="0.4", linestyle=stroke, linewidth=0.8, zorder=0)
            ax.plot(rate, loss, linestyle=stroke, color="0.2", marker=marker, label=f"{rate:.2g}: {why}")
    ax.set_xscale("log")
    bounded = result.smoothed_losses[:-1] if result.stopped == "diverged" else result.smoothed_losses
    low, high = float(min(result.losses)), float(max(bounded))
    margin = 0.1 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Loss")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax


def plot_ensemble(report: Report, ax: Axes | None = None, *, score: str = "loss") -> Axes:
    """Draw a score of each member, as a point at its cycle, and of the ensemble, as a horizontal line.

    Args:
        report: What `SnapshotEnsemble.report` returned.
        ax: Axes to draw on; new ones if None.
        score: Which of `Scores`; of a model that is no classifier, which of its loss and metrics.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: If no axes are given and matplotlib is not installed.
        ValueError: If there is no such score.
    """
    from keras_sgdr.snapshots import Scores

    *members, ensemble = [
        row._asdict() if isinstance(row, Scores) else row for row in (*report.members, report.ensemble)
    ]
    one_of("score", score, list(ensemble))
    ax = _new_axes() if ax is None else ax
    ax.plot(report.cycles, [member[score] for member in members], "o-", color="0.5", label="member")
    ax.axhline(ensemble[score], color="black", linestyle="--", label="ensemble")
    ax.set_xticks(report.cycles)
    ax.set_xlabel("Cycle")
    ax.set_ylabel(score.replace("_", " ").capitalize())
    ax.legend()
    return ax


def settled(ax: Axes, curves: Sequence[FloatArray]) -> FloatArray:
    """The values that the axis shows: it cuts the first tenth of the epochs off, if these would take half of it."""
    begin = max(1, len(curves[0]) // 10)
    values, later = (
        np.concatenate([curve[first:][np.isfinite(curve[first:])] for curve in curves]) for first in (0, begin)
    )
    if len(later) < 2 or np.ptp(values) <= 2 * np.ptp(later) or np.ptp(later) == 0:
        return values
    margin = 0.1 * np.ptp(later)
    ax.set_ylim(later.min() - margin, later.max() + margin)
    return later


def _looks() -> tuple[Iterator[str], Iterator[Any], Iterator[str]]:
    """Colours, strokes and markers, begun again where they end."""
    return itertools.cycle(COLORS), itertools.cycle(STROKES), itertools.cycle(MARKERS)


def _new_axes() -> Axes:
    _, ax = load("matplotlib.pyplot", "Drawing", "plot").subplots(layout="constrained")
    return ax
