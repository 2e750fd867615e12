"""Pictures of learning rate range tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_sgdr.plotting.style import COLORS, MARKERS, STROKES, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keras_sgdr.range_test import RangeTest

__all__ = ["plot_range_test"]


def plot_range_test(result: RangeTest, ax: Axes | None = None) -> Axes:
    """Draw a learning rate range test: losses over the rate, on a logarithmic scale, and the suggested peaks.

    The vertical axis ends at the highest smoothed loss before divergence, which may leave all bounds; batches above it
    are triangles at its end. The smoothed curve is a mean of rates as of losses, so where the loss leaps up, it does so
    at a lower rate than the batches.

    Args:
        result: What `find_learning_rate` returned.
        ax: Axes to draw on; new ones if None.

    Returns:
        The axes drawn on.

    Raises:
        ImportError: If no axes are given and matplotlib is not installed.
    """
    ax = new_axes() if ax is None else ax
    ax.plot(result.rates, result.losses, linestyle="", marker=".", color="0.7", label="loss of a batch")
    ax.plot(
        result.smoothed_rates,
        result.smoothed_losses,
        color=COLORS[0],
        linestyle="-",
        label="mean of recent batches and rates",
    )
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
    if (above := result.losses > high + margin).any():
        edge = np.full(int(above.sum()), high + margin)
        label = f"loss of a batch above, up to {max(result.losses):.2g}"
        ax.plot(result.rates[above], edge, linestyle="", marker="^", color="0.7", clip_on=False, label=label)
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Loss")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return ax
