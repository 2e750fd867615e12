"""Pictures of an ensemble and its members."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_sgdr._checks import one_of
from keras_sgdr.plotting.style import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from keras_sgdr.snapshots import Report

__all__ = ["plot_ensemble"]


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
    ax = new_axes() if ax is None else ax
    ax.plot(report.cycles, [member[score] for member in members], "o-", color="0.5", label="member")
    ax.axhline(ensemble[score], color="black", linestyle="--", label="ensemble")
    ax.set_xticks(report.cycles)
    ax.set_xlabel("Cycle")
    ax.set_ylabel(score.replace("_", " ").capitalize())
    last = members[-1][score]
    ax.set_title(f"ensemble {ensemble[score]:.3g}, last {last:.3g}", fontsize="medium")
    ax.legend()
    return ax
