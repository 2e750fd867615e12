"""Checks of arguments: an error says the rule, what was received, and the fix."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch

__all__ = ["as_number", "count", "factor", "not_negative", "positive", "require", "written"]


def require(valid: bool, rule: str, received: str, fix: str) -> None:
    """Raise a `ValueError` unless `valid`."""
    if not valid:
        raise ValueError(f"{rule} Received: {received}. {fix}")


def written(value: object) -> str:
    """A value as a message shows it, of a long one the beginning."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of thousands of digits.
        return f"a value of type {type(value).__name__} with too many digits to be written"
    return text if len(text) <= 500 else f"{text[:500]}..."


def positive(name: str, value: object, fix: str) -> None:
    """Require a finite number above 0."""
    valid = 0 < as_number(value) < math.inf
    require(valid, f"`{name}` must be positive and finite.", f"{name}={written(value)}", fix)


def factor(name: str, value: object, fix: str) -> None:
    """Require a number above 0 and at most 1."""
    valid = 0 < as_number(value) <= 1
    require(valid, f"`{name}` must lie in (0, 1].", f"{name}={written(value)}", fix)


def not_negative(name: str, value: object, fix: str) -> None:
    """Require a finite number that is 0 or more."""
    valid = 0 <= as_number(value) < math.inf
    require(valid, f"`{name}` must be at least 0 and finite.", f"{name}={written(value)}", fix)


def count(name: str, value: object, fix: str, *, least: int = 1, most: int = 2**53) -> None:
    """Require an integer from `least` to `most`; NumPy's are integers too."""
    # A bool is an int to Python, but never a count.
    valid = not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least
    kind = "a positive integer" if least == 1 else f"an integer, {least} or more"
    require(valid, f"`{name}` must be {kind}.", f"{name}={written(value)}", fix)
    require(int(value) <= most, f"`{name}` must be at most {most}.", f"{name}={written(value)}", fix)  # type: ignore[call-overload]


def as_number(value: Any) -> float:
    """A number, also a tensor of one, as a float; NaN for what is none."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # An integer or a fraction beyond the floats.
        return math.inf
