"""What objects print, and tables of text that fit a terminal of 80 columns."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np

__all__ = ["WIDTH", "CycleRows", "aligned", "call_of", "parts", "settings_of", "wrapped"]

WIDTH = 80
GAP = 2  # Between two columns.
# What a row of a cycle holds beside metrics.
_OWN = ("index", "first_epoch", "last_epoch", "length", "first_rate", "last_rate", "complete")


def parts(widths: Sequence[int], keys: int = 1) -> list[list[int]]:
    """Divide the columns of a table into parts that fit a terminal, each with the table's first columns.

    Args:
        widths: Of the columns.
        keys: The first so many columns say what a row is of.

    Returns:
        For each part, the places of its columns.
    """
    divided = [list(range(keys))]
    for place in range(keys, len(widths)):
        needed = sum(widths[each] + GAP for each in (*divided[-1], place)) - GAP
        if needed > WIDTH and len(divided[-1]) > keys:
            divided.append(list(range(keys)))
        divided[-1].append(place)
    return divided


def wrapped(text: str) -> str:
    """A paragraph in lines that fit a terminal; no name, number or path is broken."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table, its headings the first row: the first column to the left, the others to the right. See `parts`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    tables = []
    for first, *others in parts(widths):
        gap = " " * GAP
        lines = (
            gap.join([row[first].ljust(widths[first]), *(row[place].rjust(widths[place]) for place in others)])
            for row in rows
        )
        tables.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(tables)


class CycleRows(list[dict[str, Any]]):
    """A dict per cycle, and a table when it is printed, in which cycles and epochs count from 1.

    Each has `index`, `first_epoch`, `last_epoch` (from 0), `length` (epochs), `first_rate`, `last_rate`, `complete`
    (whether its last update was run), and the metrics of its last epoch, unless it ended inside that epoch. Updates of
    no cycle, in warmup or after the last one, have index -1 and no length.
    """

    def __str__(self) -> str:
        if not self:
            return "no cycle has begun"
        metrics = list(dict.fromkeys(name for row in self for name in row if name not in _OWN))
        lines = [["cycle", "epochs", "rate from", "to", *metrics]]
        for row in self:
            first, last = row["first_epoch"] + 1, row["last_epoch"] + 1
            epochs = f"{first}" if first == last else f"{first} to {last}"
            is_rise = row["last_rate"] > row["first_rate"]
            cycle = str(row["index"] + 1) if row["index"] >= 0 else "warmup" if is_rise else "none"
            cut = "" if row["complete"] or row["index"] < 0 else " (cut)"
            values = (f"{row[name]:.4g}" if name in row else "" for name in metrics)
            rates = f"{row['first_rate']:.4g}", f"{row['last_rate']:.4g}"
            lines.append([cycle, epochs + cut, *rates, *values])
        return aligned(lines)


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


def _same(value: Any, default: Any) -> bool:
    try:
        return bool(value is default or value == default)
    except ValueError:  # Of arrays.
        return False


def _written(value: Any) -> str:
    if isinstance(value, Fraction) and value.denominator == 1:
        value = int(value)
    return repr(str(value) if isinstance(value, PurePath) else value)
