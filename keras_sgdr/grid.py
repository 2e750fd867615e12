"""Where cycles begin, decided in integers: among positions in epochs, and on the grid of updates."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from keras_sgdr.arguments import FloatArray, IntArray

# A position in epochs as integers: `(start, length, denominator)` of a cycle, the first two over the third.
Span = tuple[int, int, int]


def anneal(x: ArrayLike, eta_max: ArrayLike, eta_min: ArrayLike) -> FloatArray:
    """Equation (5) of the paper, `x = T_cur / T_i`; exactly `eta_max` at `x = 0`, exactly `eta_min` at `x = 1`."""
    x, eta_max, eta_min = np.asarray(x, np.float64), np.asarray(eta_max), np.asarray(eta_min)
    rates = eta_min + 0.5 * (eta_max - eta_min) * (1 + np.cos(np.pi * x))
    # eta_min + (eta_max - eta_min) can miss eta_max by one unit in the last place.
    return np.where(x == 0, eta_max, rates)


@dataclass(frozen=True)
class CycleGrid:
    """The cycles laid on the grid of updates: what is needed to find the rate of an update with integers alone.

    Update `k >= origin` belongs to the last cycle `j` with `first[j] <= r`, where `r = k - origin`; it has run the
    fraction `((r - first[j]) * scale[j] + offset[j]) / length[j]` of its cycle. The three are integers where float64
    holds them, so that the quotient is the rounded exact one. `eta_max` and `eta_min` are those of each cycle.

    Attributes:
        origin: First update after warmup.
        stop: First update after the last cycle, or None if the cycles go on.
        period: If the layout repeats (`T_mult=1`), the updates after which it does: then `r` is taken modulo
            `period`, and `eta_max`, `eta_min` are indexed by the running number of the cycle, the last entry holding
            on.
        warmup: Updates of warmup; a fraction where warmup ends between two updates.
    """

    origin: int
    stop: int | None
    period: int | None
    warmup: Fraction
    first: IntArray
    scale: FloatArray
    offset: FloatArray
    length: FloatArray
    eta_max: FloatArray
    eta_min: FloatArray

    def rates(self, k: IntArray) -> FloatArray:
        """Learning rates of the updates `k`, an integer array of any shape."""
        r = np.maximum(k - self.origin, 0)
        number: IntArray | int
        if self.period is None:
            j = np.searchsorted(self.first, r, side="right") - 1
            number = j
        else:
            block, r = np.divmod(r, self.period)
            j = np.searchsorted(self.first, r, side="right") - 1 if len(self.first) > 1 else np.zeros_like(r)
            number = np.minimum(block * len(self.first) + j, len(self.eta_max) - 1)
        x = ((r - self.first[j]) * self.scale[j] + self.offset[j]) / self.length[j]
        rates = anneal(x, self.eta_max[number], self.eta_min[number])
        if self.stop is not None:
            rates = np.where(k >= self.stop, self.eta_min[-1], rates)
        if self.origin:
            rise = k * float(self.warmup.denominator) / float(self.warmup.numerator)
            peak, floor = self.eta_max[0], self.eta_min[0]
            rates = np.where(k < self.origin, floor + (peak - floor) * rise, rates)
        return rates


def first_update(span: Span, steps_per_epoch: int) -> int:
    """The first update in a cycle, or after it where it holds none."""
    return -(-span[0] * steps_per_epoch // span[2])


def lay(span: Span, following: Span, steps_per_epoch: int, inclusive: bool) -> tuple[int, float, float, float]:
    """First update of a cycle, and the numbers that give `T_cur / T_i` from there on: see `CycleGrid`."""
    start, length, scale = span[0] * steps_per_epoch, span[1] * steps_per_epoch, span[2]
    first = first_update(span, steps_per_epoch)
    offset = first * scale - start
    if inclusive:
        last = first_update(following, steps_per_epoch) - 1
        if last <= first:
            return first, 1.0, 0.0, 1.0
        length = (last - first) * scale + offset
    if max(length, scale) < 2**53:
        return first, float(scale), float(offset), float(length)
    return first, 1.0, offset / scale, length / scale


def periods(t: FloatArray, start: int, length: int, denominator: int) -> tuple[IntArray, FloatArray]:
    """Which period holds each position, and where it begins; periods follow one another without a gap.

    A period's begin is the float nearest to the exact one, and belongs to it. Positions before the first are in it.

    Args:
        t: Positions in epochs.
        start: Begin of the first period, in parts of an epoch.
        length: Length of a period, in parts of an epoch.
        denominator: Parts of an epoch.
    """
    index = np.maximum((t - start / denominator) // (length / denominator), 0).astype(np.int64)
    fits = max(start + length * (int(index.max(initial=0)) + 2), denominator) < 2**53

    def begin(i: IntArray) -> FloatArray:
        # Python's integers where float64 does not hold the product.
        return np.asarray((start + (i if fits else i.astype(object)) * length) / denominator, np.float64)

    # The quotient of rounded numbers may be one off.
    index -= (begin(index) > t) & (index > 0)
    index += begin(index + 1) <= t
    return index, begin(index)
