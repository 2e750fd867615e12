"""The process of one job: `python -m faults.job PART SETTINGS` prints what was tried as JSON, as soon as it was."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import warnings
from importlib import import_module

from benchmarks import limits
from faults.trials import Settings

__all__ = ["main"]


def main(part: str, settings: Settings) -> None:
    """Make the trials of a part and print them."""
    # What is printed along the way goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for trials in import_module(f"faults.parts.{part}").trials(settings):
        channel.write(json.dumps(dataclasses.asdict(trials)) + "\n")
        channel.flush()


if __name__ == "__main__":
    limits.end_with_parent()
    main(sys.argv[1], Settings(*json.loads(sys.argv[2])))
    sys.stderr.flush()
    os._exit(0)  # Threads that a trial left behind would keep the process.
