"""How objects and tables print."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np

__all__ = ["CycleRows", "aligned", "call_of", "settings_of"]

# What a row of a cycle holds beside metrics.
_OWN = ("index", "first_epoch", "last_epoch", "length", "first_rate", "last_rate", "complete")


def call_of(instance: object, arguments: Mapping[str, Any] | None = None) -> str:
    """The call that makes an object, without the arguments that are at their defaults, such as `SGDR(T_0=10)`.

    Args:
        instance: The object.
        arguments: The values of arguments by name; those that are left out are taken from the attributes of that name.
    """
    given = []
    for name, parameter in inspect.signature(type(instance)).parameters.items():
        value = (arguments or {}).get(name, getattr(instance, name, parameter.default))
        if parameter.kind is not parameter.VAR_KEYWORD and not _same(value, parameter.default):
            given.append(f"{name}={_written(value)}")
    return f"{type(instance).__name__}({', '.join(given)})"


def settings_of(optimizer: Any) -> dict[str, Any]:
    """The settings of an optimizer, whose rate is the shortest number that its float32 holds."""
    settings = optimizer.get_config()
    if isinstance(settings["learning_rate"], float):
        settings["learning_rate"] = float(str(np.float32(settings["learning_rate"])))
    return settings


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table of texts in columns, left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


class CycleRows(list[dict[str, Any]]):
    """A dict per cycle, and a table when it is printed, in which cycles and epochs count from 1.

    Each has `index`, `first_epoch`, `last_epoch` (from 0), `length` (epochs), `first_rate`, `last_rate`, `complete`
    (whether its last update was run), and the metrics of its last epoch. Updates of no cycle, as in warmup, have index
    -1 and no length.
    """

    def __str__(self) -> str:
        if not self:
            return "no cycle has begun"
        metrics = list(dict.fromkeys(name for row in self for name in row if name not in _OWN))
        lines = [["cycle", "epochs", "rate from", "to", *metrics]]
        for row in self:
            first, last = row["first_epoch"] + 1, row["last_epoch"] + 1
            epochs = f"{first}" if first == last else f"{first} to {last}"
            cycle = "warmup" if row["index"] < 0 else str(row["index"] + 1)
            cut = "" if row["complete"] or row["index"] < 0 else " (cut)"
            values = (f"{row[name]:.4g}" if name in row else "" for name in metrics)
            rates = f"{row['first_rate']:.4g}", f"{row['last_rate']:.4g}"
            lines.append([cycle, epochs + cut, *rates, *values])
        return aligned(lines)


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value is default or value == default)
    except ValueError:  # Of arrays.
        return False


def _written(value: Any) -> str:
    if isinstance(value, Fraction) and value.denominator == 1:
        value = int(value)
    return repr(str(value) if isinstance(value, PurePath) else value)
