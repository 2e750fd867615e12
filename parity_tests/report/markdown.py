"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tabulate import tabulate

__all__ = ["table"]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of GitHub's Markdown, in which no cell ends early at a `|` of its own."""
    cells = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    return tabulate(cells, header, tablefmt="github", disable_numparse=True) + "\n"
