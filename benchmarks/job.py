"""The process of one job: `python -m benchmarks.job PART SETTINGS` prints each row as JSON as soon as there is one."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from benchmarks import limits
from benchmarks.settings import Settings

__all__ = ["main", "print_each"]


def print_each(rows: Callable[[], Iterable[Any]]) -> None:
    """Print each of these dataclasses in a line of JSON, and end the process.

    Args:
        rows: Makes them. What it prints along the way, and what is imported in it, goes to stderr.
    """
    limits.end_with_parent()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for row in rows():
        channel.write(json.dumps(dataclasses.asdict(row)) + "\n")
        channel.flush()
    # Threads that are left, such as those whose `fit` waits for a turn that will not come, would keep the process.
    sys.stderr.flush()
    os._exit(0)


def main(part: str, settings: Settings) -> None:
    """Run a part and print its rows."""
    print_each(lambda: import_module(f"benchmarks.parts.{part}").rows(settings))


if __name__ == "__main__":
    main(sys.argv[1], Settings.from_json(sys.argv[2]))
