"""Pictures of a training: what `fit` recorded, and beside it the learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_sgdr._checks import invalid, is_number, require
from keras_sgdr._optional import load
from keras_sgdr.plotting.schedules import plot_learning_rate
from keras_sgdr.plotting.style import looks, new_axes, settled
from keras_sgdr.schedules import Schedule

# Keras is imported by what draws a training, and not at all to draw a schedule.
if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_history", "plot_run"]


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
    ax = new_axes() if ax is None else ax
    restarts = [end for end in cycle_ends if epochs and epochs[0] <= end < epochs[-1]]
    for number, end in enumerate(restarts):
        ax.axvline(end, color="0.6", linewidth=0.8, zorder=0, label="" if number else "restart")
    for name, color, stroke, marker in zip(metrics, *looks(), strict=False):
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
