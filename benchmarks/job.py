"""The process of one job: `python -m benchmarks.job PART SETTINGS` prints each row as JSON as soon as there is one."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from importlib import import_module

from benchmarks import limits
from benchmarks.settings import Settings

__all__ = ["main"]


def main(part: str, settings: Settings) -> None:
    """Run a part and print its rows."""
    # What is printed along the way goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for row in import_module(f"benchmarks.parts.{part}").rows(settings):
        channel.write(json.dumps(dataclasses.asdict(row)) + "\n")
        channel.flush()


if __name__ == "__main__":
    limits.end_with_parent()
    main(sys.argv[1], Settings.from_json(sys.argv[2]))
    # Threads whose `fit` waits for a turn that will not come would keep the process.
    sys.stderr.flush()
    os._exit(0)
