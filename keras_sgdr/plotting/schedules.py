"""Pictures of learning rates over the epochs, of one schedule or of several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_sgdr._checks import require
from keras_sgdr._optional import load
from keras_sgdr.plotting.style import COLORS, MARKERS, MOST_MARKERS, looks, new_axes
from keras_sgdr.schedules import Schedule
from keras_sgdr.schedules.exact import FloatArray, to_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_learning_rate", "plot_schedules"]

TIME, RATE = "Training time (epochs)", "Learning rate"
MOST_IN_A_COLUMN = 5  # Panels.


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
    the last among them. Of more than three schedules, `plot_schedules` draws a panel each.

    Args:
        schedules: A schedule, or several by their names in the legend.
        epochs: Epochs to draw.
        ax: Axes to draw on; new ones if None.
        steps_per_epoch: Updates in an epoch.
        log: Whether the rate has a logarithmic scale, as in the paper's figure 1. It ends three decades below the
            highest rate: what lies lower, as near the ends of cycles that anneal to nothing, is left out, and such an
            end marked there.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: If no axes are given and matplotlib is not installed.
        ValueError: If there is no schedule, or the updates or the cycles are too many.
    """
    named = schedules if isinstance(schedules, Mapping) else {"": schedules}
    curves, label = _curves(named, epochs, steps_per_epoch, log)
    ax = new_axes() if ax is None else ax
    for (name, curve), color, stroke, marker in zip(curves.items(), *looks(), strict=False):
        curve.draw(ax, marker, color=color, linestyle=stroke, label=name)
    if log:
        ax.set_yscale("log")
    ax.set_xlabel(TIME)
    ax.set_ylabel(label)
    if isinstance(schedules, Mapping):
        # Above the axes: curves that rise to the top at every restart leave no corner free.
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax


def plot_schedules(
    schedules: Mapping[str, Schedule], epochs: int, *, steps_per_epoch: int = 100, log: bool = False
) -> Figure:
    """Draw what `plot_learning_rate` draws in a panel per schedule, with scales in common.

    Args:
        schedules: Schedules by the titles of their panels.
        epochs: Epochs to draw.
        steps_per_epoch: Updates in an epoch.
        log: Whether the rate has a logarithmic scale: see `plot_learning_rate`.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no schedule, or the updates or the cycles are too many.
    """
    curves, label = _curves(schedules, epochs, steps_per_epoch, log)
    columns = 1 if len(curves) <= MOST_IN_A_COLUMN else 2
    rows = math.ceil(len(curves) / columns)
    size = (4 + 3 * columns, 1 + 1.2 * rows)
    figure: Figure = load("matplotlib.figure", "Drawing", "plot").Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, (name, curve) in zip(panels, curves.items(), strict=False):
        curve.draw(panel, MARKERS[0], color=COLORS[0], markersize=4)
        panel.set_title(name, loc="left", fontsize="medium")
        panel.spines[["top", "right"]].set_visible(False)
    if log:
        panels[0].set_yscale("log")
    if len(curves) < len(panels):
        panels[-1].remove()
        panels[-1 - columns].tick_params(labelbottom=True)
    figure.supxlabel(TIME, fontsize="medium")
    figure.supylabel(label, fontsize="medium")
    return figure


class _Curve(NamedTuple):
    """What is drawn of a schedule: of each update the epoch and the rate, and which are the last of a cycle."""

    epochs: FloatArray
    rates: FloatArray
    ends: list[int]

    def draw(self, ax: Axes, marker: str, **style: Any) -> None:
        marked = self.ends[:: -(1 + len(self.ends) // MOST_MARKERS)]
        ax.plot(self.epochs, self.rates, marker=marker if marked else None, markevery=marked, **style)


def _curves(
    schedules: Mapping[str, Schedule], epochs: int, steps_per_epoch: int, log: bool
) -> tuple[dict[str, _Curve], str]:
    """The curves by name, and the label of their rates, which says where a logarithmic scale leaves rates out."""
    rule = "`schedules` must be a schedule, or a dict of schedules by name, at least one."
    valid = isinstance(schedules, Mapping) and bool(schedules)
    valid = valid and all(isinstance(schedule, Schedule) for schedule in schedules.values())
    require(valid, rule, "schedules", schedules, "Pass such as WarmRestarts(10, 2, eta_max=0.1).")
    rates = {name: schedule.learning_rates(epochs, steps_per_epoch) for name, schedule in schedules.items()}
    foot = max(each.max(initial=0.0) for each in rates.values()) / 1000 if log else -math.inf
    label, curves = RATE, {}
    for name, schedule in schedules.items():
        ends = [math.ceil(to_fraction(end) * steps_per_epoch) - 1 for end in schedule.cycle_ends(epochs)]
        drawn = np.where(rates[name] < foot, math.nan, rates[name])
        drawn[ends] = np.maximum(rates[name][ends], foot)
        if np.isnan(drawn).any():
            label = f"{RATE} (not drawn below {foot:.2g})"
        curves[name] = _Curve(np.arange(len(drawn)) / steps_per_epoch, drawn, ends)
    return curves, label
