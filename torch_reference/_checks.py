"""Checks of arguments: an error says the rule, what was received, and the fix."""

from __future__ import annotations

import math

__all__ = ["count", "not_negative", "positive", "require"]


def require(valid: bool, rule: str, received: str, fix: str) -> None:
    """Raise a `ValueError` unless `valid`."""
    if not valid:
        raise ValueError(f"{rule} Received: {received}. {fix}")


def positive(name: str, value: float, fix: str) -> None:
    """Require a finite number above 0."""
    require(math.isfinite(value) and value > 0, f"`{name}` must be positive and finite.", f"{name}={value}", fix)


def not_negative(name: str, value: float, fix: str) -> None:
    """Require a finite number that is 0 or more."""
    require(math.isfinite(value) and value >= 0, f"`{name}` must be at least 0 and finite.", f"{name}={value}", fix)


def count(name: str, value: int, fix: str) -> None:
    """Require an integer that is 1 or more."""
    # A bool is an int to Python, but never a count.
    valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    require(valid, f"`{name}` must be a positive integer.", f"{name}={value!r}", fix)
