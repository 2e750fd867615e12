"""What all figures have in common: how lines look, and their axes.

Lines differ in stroke and marker as well as in colour, so that they are told apart in a grey print. The colours are
those of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sgdr._optional import load
from keras_sgdr.schedules.exact import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLORS", "MARKERS", "MOST_MARKERS", "STROKES", "looks", "new_axes", "settled"]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STROKES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (7, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v")
# More markers than this on one line would hide it.
MOST_MARKERS = 20


def looks() -> tuple[Iterator[str], Iterator[Any], Iterator[str]]:
    """Colours, strokes and markers, begun again where they end."""
    return itertools.cycle(COLORS), itertools.cycle(STROKES), itertools.cycle(MARKERS)


def new_axes() -> Axes:
    """Axes of a figure of their own, which `pyplot.show` shows."""
    _, ax = load("matplotlib.pyplot", "Drawing", "plot").subplots(layout="constrained")
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
