"""The process of one job: `python -m faults.job PART SETTINGS` prints what was tried as JSON, as soon as it was."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from benchmarks.job import print_each
from faults.trials import Settings

__all__ = ["main"]


def main(part: str, settings: Settings) -> None:
    """Make the trials of a part and print them."""
    print_each(lambda: import_module(f"faults.parts.{part}").trials(settings))


if __name__ == "__main__":
    main(sys.argv[1], Settings(*json.loads(sys.argv[2])))
