"""Numbers of epochs as exact fractions, and positions as arrays."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Rational
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_sgdr._checks import integer, is_number, require

__all__ = [
    "Epochs",
    "FloatArray",
    "IntArray",
    "check_fraction",
    "check_held",
    "check_precision",
    "nearest",
    "position",
    "positions",
    "tidy",
    "to_fraction",
    "to_json",
    "updates_of_fit",
]

FloatArray: TypeAlias = NDArray[np.float64]
# Updates of a run: float64 holds their number exactly.
MOST_UPDATES = 2**53
# Rates that are computed at once, in about two seconds and 400 MB.
MOST_RATES = 40_000_000
IntArray: TypeAlias = NDArray[np.int64]
Epochs: TypeAlias = float | Fraction | str


def to_fraction(value: Epochs) -> Fraction:
    """The fraction that a number stands for: the simplest one that rounds to the float.

    `0.1` means one tenth and `1 / 3` one third, so a cycle of `T_0=0.1` epochs at ten updates an epoch is one update.
    Floats with no such fraction of a denominator up to a million stand for their own binary value.
    """
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))  # NumPy's integers would overflow.
    if isinstance(value, str):
        if "/" in value:
            return Fraction(value)
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{value!r} is beyond the floats.")
        return Fraction(value) if number else Fraction(0)  # An exponent may be too long to be written out.
    simple = Fraction(float(value)).limit_denominator(1_000_000)
    return simple if float(simple) == float(value) else Fraction(float(value))


def to_json(value: Epochs) -> float | str:
    """A float that means the same, or a string."""
    fraction = to_fraction(value)
    return float(fraction) if to_fraction(float(fraction)) == fraction else str(fraction)


def nearest(numerator: int, denominator: int) -> float:
    """The float that is nearest to a quotient of integers, infinity where that is beyond the floats."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf


def tidy(numerator: int, denominator: int) -> float:
    """A quotient of integers: an integer where it is one, else the nearest float."""
    whole, rest = divmod(numerator, denominator)
    return nearest(numerator, denominator) if rest else whole


def check_fraction(
    name: str, value: object, fix: str, *, unit: str = " of epochs", zero: bool = False, most: float = math.inf
) -> None:
    """Require a positive number (or 0 too), also a fraction, or a string that names one, such as `"1/3"`."""
    try:
        fraction = to_fraction(value) if isinstance(value, str) or is_number(value) else None  # type: ignore[arg-type]
    except (ValueError, ZeroDivisionError):
        fraction = None
    valid = fraction is not None and is_number(fraction) and (float(fraction) > 0 or (zero and fraction == 0))
    rule = f"`{name}` must be a {'' if zero else 'positive '}number{unit}{', 0 or more' if zero else ''}."
    require(valid, rule, name, value, fix)
    assert fraction is not None
    require(fraction <= most, f"`{name}` must be at most {most}.", name, value, fix)


def positions(t: ArrayLike) -> FloatArray:
    """Positions in epochs, as float64.

    Raises:
        ValueError: If one is negative, infinite or NaN.
    """
    try:
        array = np.asarray(t, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.array(np.nan)
    valid = bool(np.all((array >= 0) & np.isfinite(array)))
    fix = "Positions count from the start of training."
    require(valid, "A position must be a finite number of epochs, 0 or more.", "t", t, fix)
    return array


def position(t: float) -> float:
    """One position in epochs.

    Raises:
        ValueError: If it is negative, infinite, NaN, or more than one.
    """
    array = positions(t)
    require(array.ndim == 0, "There must be one position, not several.", "t", t, "Pass a number of epochs.")
    return float(array)


def updates_of_fit(epochs: int, steps_per_epoch: int, initial_epoch: int) -> range:
    """The updates of a `fit`, counted from the first of epoch 0.

    Raises:
        ValueError: If `epochs` is less than `initial_epoch`, that negative, `steps_per_epoch` not positive, or they are
            too many.
    """
    fix = "Pass the numbers that `fit` will run."
    integer("initial_epoch", initial_epoch, fix, least=0)
    integer("epochs", epochs, fix, least=initial_epoch)
    integer("steps_per_epoch", steps_per_epoch, fix)
    n: Any = int(steps_per_epoch)
    first, stop = int(initial_epoch) * n, int(epochs) * n
    rule = f"A run must have at most {MOST_UPDATES} updates, of which {MOST_RATES} rates are computed at once."
    received = (epochs, steps_per_epoch, initial_epoch)
    fix = "Pass fewer epochs, or a later `initial_epoch`."
    valid = stop <= MOST_UPDATES and stop - first <= MOST_RATES
    require(valid, rule, "(epochs, steps_per_epoch, initial_epoch)", received, fix)
    return range(first, stop)


def check_precision(rates: FloatArray, dtype: str) -> None:
    """Require that rates which an optimizer keeps in this type are not infinite there, and not all of them zero.

    Single ones near the end of a cycle may be rounded to zero.

    Raises:
        ValueError: If they are.
    """
    with np.errstate(over="ignore"):
        kept = rates.astype(dtype)
    valid = bool(np.all(np.isfinite(kept))) and bool(np.any(kept) or not np.any(rates))
    rule = f"Learning rates must be within the optimizer's {dtype}."
    require(valid, rule, "highest rate", float(rates.max(initial=0.0)), "Pass another `eta_max`.")


def check_held(name: str, value: float, dtype: str, fix: str, *, below: float = math.inf) -> None:
    """Require that a setting of an optimizer is finite in this type too, not rounded to zero, and less than `below`.

    Raises:
        ValueError: If it is not.
    """
    with np.errstate(over="ignore"):
        held = np.asarray(float(value)).astype(dtype)
    valid = bool(held < below) and bool(held or not value)
    rule = f"`{name}` must be {'finite' if below == math.inf else f'below {below:g}'} and not lost in the optimizer's "
    require(valid, f"{rule}{dtype}.", name, value, fix)
