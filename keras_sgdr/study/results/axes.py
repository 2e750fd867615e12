"""Axes of a study's figures: made, scaled and labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_sgdr._optional import load
from keras_sgdr.plotting.style import settled
from keras_sgdr.schedules.exact import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["labelled", "new_axes", "scale"]

# A loss that is so many times as high somewhere as elsewhere is drawn on a logarithmic axis.
MOST_RATIO = 8


def scale(ax: Axes, metric: str, curves: Sequence[FloatArray]) -> None:
    """Make the axis logarithmic where a loss varies so much that a linear one would flatten the rest."""
    values = settled(ax, curves)
    if "accuracy" not in metric and len(values) and values.min() > 0 and values.max() > MOST_RATIO * values.min():
        ax.set_yscale("log")


def new_axes(panels: int = 1, columns: int = 1, width: float = 7.0) -> list[Axes]:
    """Axes of a figure that no window shows, with scales in common."""
    rows = math.ceil(panels / columns)
    size = (3.2 * columns, 2.4 * rows) if columns > 1 else (width, 4.5)
    figure = load("matplotlib.figure", "Drawing", "plot").Figure(figsize=size, layout="constrained")
    axes: list[Axes] = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for ax in axes[panels:]:
        ax.remove()
    return axes[:panels]


def labelled(ax: Axes, metric: str, title: str) -> Axes:
    ax.set_xlabel("Epochs completed")
    ax.locator_params("x", integer=True)
    ax.set_ylabel(metric.replace("val_", "validation ").capitalize())
    # Above the axes: curves that rise at every restart leave no corner free.
    ax.legend(
        title=title, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=8, title_fontsize=8
    )
    return ax
