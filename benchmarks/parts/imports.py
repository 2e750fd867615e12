"""What `import keras_sgdr` takes beyond `import keras`, in fresh processes of each backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.rows import Row, difference
from benchmarks.settings import Settings
from benchmarks.turns import take_turns

__all__ = ["rows"]

MOST = 30.0  # Milliseconds.
# Timed within the process: its start and that of the backend vary by more than what is to be seen.
PROGRAM = """
import time
began = time.perf_counter()
import keras
between = time.perf_counter()
import keras_sgdr
print([between - began, time.perf_counter() - between])
"""


def imported(backend: str) -> tuple[float, float]:
    """Seconds of `import keras`, and then of `import keras_sgdr`."""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    keras, ours = json.loads(done.stdout.splitlines()[-1])
    return keras, ours


def rows(settings: Settings) -> Iterator[Row]:
    """A row for each backend; the processes take turns."""

    for backend in settings.backends:
        imported(backend)  # Files are read from the disk, and compiled to bytecode, once.
    turns = {backend: partial(imported, backend) for backend in settings.backends}
    for backend, seconds in take_turns(turns, settings.rounds, settings.seconds).items():
        keras, ours = zip(*seconds, strict=True)
        yield difference(f"`import keras_sgdr`, {backend}", "`import keras`", ours, MOST, keras)
