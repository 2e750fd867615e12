"""Validation of arguments, one line per check: errors say the rule, what was received, and the fix."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Collection
from numbers import Real
from typing import Any

import numpy as np

__all__ = [
    "at_least",
    "between",
    "integer",
    "invalid",
    "is_integer",
    "is_number",
    "one_of",
    "positive",
    "require",
    "users_level",
    "warn",
    "whole",
]

# Packages whose lines no user would look for.
_NOT_THE_USERS = ("keras_sgdr", "keras")
LONGEST = 500  # Letters of a value in a message.


def invalid(rule: str, received: str, fix: str) -> ValueError:
    """The error to raise where an argument breaks a rule."""
    return ValueError(f"{rule} Received: {received}. {fix}")


def warn(rule: str, received: str, fix: str) -> None:
    """Warn of what breaks a rule where an error would do more harm, such as end a training."""
    warnings.warn(f"{rule} Received: {received}. {fix}", stacklevel=users_level())


def users_level() -> int:
    """The `stacklevel` of a warning of what the user's own code has called, also through Keras.

    For a call of `warnings.warn` in the function that calls this, or in `warn`.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USERS:
        level, frame = level + 1, frame.f_back
    return level


def require(valid: bool, rule: str, name: str, value: object, fix: str) -> None:
    """Raise a `ValueError` unless `valid`."""
    if not valid:
        raise invalid(rule, f"{name}={_written(value)}", fix)


def _written(value: object) -> str:
    """A value as a message shows it, of a long one the beginning."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits.
        return f"a value of type {type(value).__name__} with too many digits to be written"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def positive(name: str, value: object, fix: str) -> None:
    """Require a finite number above 0."""
    require(is_number(value) and value > 0, f"`{name}` must be a finite positive number.", name, value, fix)  # type: ignore[operator]


def at_least(name: str, value: object, least: float, fix: str) -> None:
    """Require a finite number that is `least` or more."""
    valid = is_number(value) and value >= least  # type: ignore[operator]
    require(valid, f"`{name}` must be a finite number, {least} or more.", name, value, fix)


def between(name: str, value: object, interval: str, fix: str) -> None:
    """Require a number in an interval, written as `"[0, 1)"` or `"(0, 1]"`."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    valid = (
        is_number(value)
        and (low <= value if interval[0] == "[" else low < value)  # type: ignore[operator]
        and (value <= high if interval[-1] == "]" else value < high)  # type: ignore[operator]
    )
    require(valid, f"`{name}` must be a number in {interval}.", name, value, fix)


def integer(
    name: str, value: object, fix: str, *, least: int = 1, most: int | None = None, optional: bool = False
) -> None:
    """Require an integer that is `least` or more, and at most `most`, or also None where it is `optional`."""
    kind = "a positive integer" if least == 1 else f"an integer, {least} or more"
    valid = is_integer(value, least) or (optional and value is None)
    require(valid, f"`{name}` must be {kind}{' or None' if optional else ''}.", name, value, fix)
    valid = most is None or value is None or int(value) <= most  # type: ignore[call-overload]
    require(valid, f"`{name}` must be at most {most}.", name, value, fix)


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Require one of a few values."""
    *others, last = [f'"{option}"' if isinstance(option, str) else str(option) for option in allowed]
    valid = any(type(value) is type(option) and value == option for option in allowed)
    choice = f"{', '.join(others)} or {last}" if others else last
    require(valid, f"`{name}` must be {choice}.", name, value, "Pass one of them." if others else "Pass it.")


def is_number(value: Any) -> bool:
    """Whether it is one finite real number."""
    try:
        return not isinstance(value, bool | np.bool_) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # An integer beyond the floats.
        return False


def is_integer(value: Any, least: int = 1) -> bool:
    """Whether it is an integer, and `least` or more."""
    return not isinstance(value, bool) and isinstance(value, int | np.integer) and int(value) >= least


def whole(value: Any) -> Any:
    """A float that is an integer as one, such as `np.ceil(samples / batch_size)` gives; anything else as it is."""
    is_whole = is_number(value) and isinstance(value, float | np.floating) and float(value).is_integer()
    return int(value) if is_whole else value
