"""A command with a time limit, of which nothing is left when it has ended: neither it nor any process it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Ended", "end_with_parent", "run"]


class Ended(NamedTuple):
    """How a command ended.

    Attributes:
        seconds: Its duration.
        status: Its exit status; None if it was stopped at its limit.
    """

    seconds: float
    status: int | None


def run(
    command: Sequence[str],
    limit: float,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], object] | None = None,
) -> Ended:
    """Run a command in a process group of its own, which is killed when it ends or its time is over.

    Args:
        command: Program and arguments.
        limit: Seconds.
        log: File to which its stderr is appended; None for that of this process.
        environment: Environment variables beside those of this process.
        on_line: Called with each line of its stdout, as it comes. None: its stdout is that of this process.
    """
    began = time.perf_counter()
    errors = None if log is None else log.open("a")
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.PIPE,  # Held open and never written to: see `end_with_parent`.
        stdout=None if on_line is None else subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            assert on_line is not None
            on_line(line.rstrip("\n"))

    reader = threading.Thread(target=read, daemon=True)
    status: int | None = None
    try:
        if on_line is not None:
            reader.start()
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _kill(process.pid)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        if on_line is not None:
            reader.join(10)
            assert process.stdout is not None
            process.stdout.close()
        if errors is not None:
            errors.close()
    return Ended(time.perf_counter() - began, status)


def end_with_parent() -> None:
    """In a command: end with all of its process group as soon as the process that runs it is gone, even if killed."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _kill(group: int) -> None:
    """Kill a process group, which may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
