"""What `import keras_sgdr` takes beyond `import keras`, in fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

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


def imported() -> tuple[float, float]:
    """Seconds of `import keras`, and then of `import keras_sgdr`, from bytecode, as an installed package has it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=env)
    keras, ours = json.loads(done.stdout.splitlines()[-1])
    return keras, ours


def rows(settings: Settings) -> Iterator[Row]:
    """A row of the job's backend."""
    imported()  # Files are read from the disk, and compiled to bytecode, once.
    seconds = take_turns({"import": imported}, settings.rounds, settings.seconds)["import"]
    keras, ours = zip(*seconds, strict=True)
    yield difference(f"`import keras_sgdr`, {settings.backend}", "`import keras`", ours, MOST, keras)
