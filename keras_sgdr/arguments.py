"""What users pass: numbers taken as they are meant, and errors that say the rule, what was received and the fix."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Rational, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Epochs: TypeAlias = float | Fraction | str


def exact(value: Epochs) -> Fraction:
    """The number that is meant: the simplest fraction that rounds to the float.

    `0.1` means one tenth and `1 / 3` one third, so a cycle of `T_0=0.1` epochs at ten updates an epoch is one update.
    Floats with no such fraction of a denominator up to a million stand for their own binary value.
    """
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))  # NumPy's integers would overflow.
    if isinstance(value, str):
        return Fraction(value)
    simple = Fraction(float(value)).limit_denominator(1_000_000)
    return simple if float(simple) == float(value) else Fraction(float(value))


def to_json(value: Epochs) -> float | str:
    """A float that means the same, or a string."""
    fraction = exact(value)
    return float(fraction) if exact(float(fraction)) == fraction else str(fraction)


def require(valid: bool, rule: str, name: str, value: object, fix: str) -> None:
    """Raise a `ValueError` unless `valid`."""
    if not valid:
        raise ValueError(f"{rule} Received: {name}={value!r}. {fix}")


def is_number(value: object) -> bool:
    """Whether it is one finite real number."""
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # An integer beyond the floats.
        return False


def is_epochs(value: object) -> bool:
    """Whether it is a number or a string that names one: `"1/3"`."""
    if not isinstance(value, str):
        return is_number(value)
    try:
        return is_number(Fraction(value))
    except (ValueError, ZeroDivisionError):
        return False


def is_integer(value: object, least: int = 1) -> bool:
    """Whether it is an integer, and `least` or more."""
    return not isinstance(value, bool) and isinstance(value, int | np.integer) and int(value) >= least


def positions(t: ArrayLike) -> FloatArray:
    """Positions in epochs, as float64.

    Raises:
        ValueError: If one is negative, infinite or NaN.
    """
    array = np.asarray(t, np.float64)
    require(
        bool(np.all((array >= 0) & np.isfinite(array))),
        "A position must be a finite number of epochs, 0 or more.",
        "t",
        t,
        "Positions count from the start of training.",
    )
    return array


def updates_of_fit(epochs: int, steps_per_epoch: int, initial_epoch: int) -> range:
    """The updates of a `fit`, counted from the first of epoch 0.

    Raises:
        ValueError: If `epochs` is less than `initial_epoch`, that negative, or `steps_per_epoch` not positive.
    """
    numbers: tuple[tuple[str, Any, int], ...] = (
        ("initial_epoch", initial_epoch, 0),
        ("epochs", epochs, initial_epoch),
        ("steps_per_epoch", steps_per_epoch, 1),
    )
    for name, value, least in numbers:
        rule = f"`{name}` must be an integer, at least {least}."
        require(is_integer(value, least), rule, name, value, "Pass the numbers that `fit` will run.")
    return range(int(initial_epoch) * int(steps_per_epoch), int(epochs) * int(steps_per_epoch))
