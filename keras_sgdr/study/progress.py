"""How far the runs are, from what lies in their folder: so whoever trains them, and on whichever machine."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from keras_sgdr.study.packages import load
from keras_sgdr.study.records import Folder, Run

__all__ = ["shown", "status"]

_SECONDS_BETWEEN_LOOKS = 1.0


@contextlib.contextmanager
def shown(folder: Folder, runs: Sequence[Run], jobs: int) -> Iterator[None]:
    """Show a bar of the runs while they are trained, and leave it in its last state.

    Args:
        folder: In which they are saved.
        runs: Those that are to be trained.
        jobs: How many at a time.
    """
    rich = load("rich.progress")
    columns = rich.TextColumn("{task.description}"), rich.BarColumn()
    began, ended = time.monotonic(), threading.Event()
    with rich.Progress(*columns) as bar:
        task = bar.add_task("", total=len(runs))

        def look() -> None:
            done, failed = folder.count(runs)
            text = status(done, failed, len(runs), jobs, time.monotonic() - began)
            bar.update(task, completed=done + failed, description=text)

        def watch() -> None:
            look()
            while not ended.wait(_SECONDS_BETWEEN_LOOKS):
                look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            look()


def status(done: int, failed: int, total: int, jobs: int, seconds: float) -> str:
    """How far the runs are, in words; the time left once one has ended.

    >>> status(done=3, failed=0, total=10, jobs=2, seconds=90)
    '3 of 10 runs done, 2 running, 0:03:30 left'
    """
    ended = done + failed
    parts = [f"{done} of {total} runs done"]
    if running := min(jobs, total - ended):
        parts.append(f"{running} running")
    if failed:
        parts.append(f"{failed} failed")
    if 0 < ended < total:
        parts.append(f"{timedelta(seconds=math.ceil(seconds / ended * (total - ended)))} left")
    return ", ".join(parts)
