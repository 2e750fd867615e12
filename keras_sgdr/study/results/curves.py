"""The curves that a study's figures show: of each schedule its mean over the seeds, its band, and how it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_sgdr.plotting.style import COLORS, MARKERS, STROKES
from keras_sgdr.schedules.exact import FloatArray
from keras_sgdr.study.results.statistics import finite, spread

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Curve", "curves_of"]

# Of normal values they are one SD from the mean.
QUANTILES = 0.16, 0.84


class Curve(NamedTuple):
    """The curve of a schedule, and how it is drawn."""

    name: str
    label: str
    color: str
    stroke: Any
    marker: str
    epochs: NDArray[np.int64]
    mean: FloatArray
    # What stands in a band, and its edges: the mean and one SD to either side. Where that would fall below 0, as no
    # value of a loss does, median and quantiles.
    middle: FloatArray
    low: FloatArray
    high: FloatArray
    ends: list[int]  # Places in `epochs` that end a cycle.
    runs: FloatArray  # Each seed's values.


def curves_of(results: DataFrame, metric: str) -> list[Curve]:
    """A curve for each schedule of the study's table, in its order."""
    means = spread(results, metric).reset_index()
    has_median = results[metric].min() >= 0 and bool((means["mean"] < means["sd"]).any())
    curves = []
    for place, (name, runs) in enumerate(results.groupby("schedule", sort=False)):
        seeds, lost = runs["seed"].nunique(), runs.loc[~np.isfinite(runs[metric]), "seed"].nunique()
        label = f"{name}, n={seeds}" + (f" of which {lost} diverge" if lost else "")
        look = COLORS[place % len(COLORS)], STROKES[place % len(STROKES)], MARKERS[place % len(MARKERS)]
        curve = means[means["schedule"] == name]
        epochs = curve["epoch"].to_numpy(np.int64)
        mean, sd = (curve[column].to_numpy(np.float64) for column in ("mean", "sd"))
        middle, low, high = mean, mean - sd, mean + sd
        if has_median:
            by_epoch = finite(runs, metric).groupby(runs["epoch"])
            middle, low, high = (by_epoch.quantile(q).to_numpy(np.float64) for q in (0.5, *QUANTILES))
        ends = np.flatnonzero(np.isin(epochs, runs.loc[runs["cycle_end"], "epoch"].to_numpy())).tolist()
        each = runs.pivot(index="seed", columns="epoch", values=metric).to_numpy(np.float64)
        curves.append(Curve(str(name), label, *look, epochs, mean, middle, low, high, ends, each))
    return curves
