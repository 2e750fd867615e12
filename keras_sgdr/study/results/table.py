"""A table of text: as it is printed, in Markdown and in HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from keras_sgdr._optional import load
from keras_sgdr._text import parts, wrapped

__all__ = ["Table"]

# Characters of a row's name that are printed in a line.
_MOST_OF_A_NAME = 26


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is left-aligned, the others right. Prints in 80 columns.

    Attributes:
        title: What the table shows.
        headings: Of the columns.
        rows: A text for each column.
        keys: The first so many columns say what a row is of. They begin each part of a table that is too wide to print.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    keys: int = 1

    def __str__(self) -> str:
        folded = [(textwrap.fill(name, _MOST_OF_A_NAME), *cells) for name, *cells in self.rows]
        columns = list(zip(self.headings, *folded, strict=True))
        # As tabulate makes them: a heading has two blanks beside it.
        widths = [max(len(heading) + 2, *map(_width, cells), 0) for heading, *cells in columns]
        drawn = (
            _drawn("simple", headings, rows)
            for headings, *rows in (
                zip(*(columns[place] for place in part), strict=True) for part in parts(widths, self.keys)
            )
        )
        return "\n\n".join([wrapped(self.title), *drawn])

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        headings, *rows = [[cell.replace("|", "\\|") for cell in row] for row in (self.headings, *self.rows)]
        return f"{self.title}\n\n{_drawn('pipe', headings, rows)}"

    def html(self) -> str:
        """The table in HTML, which scrolls by itself where it is too wide, under its title."""
        drawn = _drawn("html", self.headings, self.rows)
        return f'<p class="caption">{escape(self.title)}</p>\n<div class="table">\n{drawn}\n</div>'


def _width(cell: str) -> int:
    return max(map(len, cell.splitlines()), default=0)


def _drawn(style: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    alignment = ("left", *["right"] * (len(headings) - 1))
    tabulate = load("tabulate", "A table").tabulate
    return str(tabulate(rows, headings, style, disable_numparse=True, colalign=alignment))
