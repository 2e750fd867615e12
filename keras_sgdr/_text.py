"""Tables of text that fit a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

__all__ = ["WIDTH", "aligned", "parts", "wrapped"]

WIDTH = 80
GAP = 2  # Between two columns.


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
