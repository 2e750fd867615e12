"""The progress of a study: a bar that counts the epochs of its runs, wherever they are trained."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from keras_sgdr._optional import load
from keras_sgdr.study.store import Run, Store

__all__ = ["Pace", "progress_bar", "progress_text", "shares"]

_SECONDS_BETWEEN_UPDATES = 1.0


def shares(runs: Sequence[Run], jobs: int) -> list[list[Run]]:
    """The runs of each process."""
    return [list(runs[place::jobs]) for place in range(jobs)]


class EpochCounts:
    """Counts of the epochs that runs have completed, which other processes see.

    One file per run, of as many bytes as it has epochs: to count them no file is read, and none can be half written.

    Args:
        folder: Of the study's runs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, run: Run, epochs: int) -> None:
        """Set the count of a run."""
        with contextlib.suppress(OSError):  # No run ends for the sake of a progress bar.
            self._folder.mkdir(parents=True, exist_ok=True)
            self._path(run).write_bytes(bytes(epochs))

    def read(self, runs: Iterable[Run]) -> dict[Run, int]:
        """The counts of those of these runs that have begun."""
        counts = {}
        for run in runs:
            with contextlib.suppress(OSError):
                counts[run] = self._path(run).stat().st_size
        return counts

    def remove(self, runs: Iterable[Run]) -> None:
        """Remove the counts."""
        for run in runs:
            self._path(run).unlink(missing_ok=True)

    def _path(self, run: Run) -> Path:
        return self._folder / f"{run.file}.epochs"


class Pace:
    """The time that is left, from the epochs that were completed since the first runs began.

    What comes before, as the start of the processes, is in no estimate.

    Args:
        runs: Of all processes.
        jobs: Number of processes.
        epochs: Of each run.
        stopped: Runs that go on: their first epochs were completed before.
    """

    def __init__(self, runs: Sequence[Run], jobs: int, epochs: int, stopped: Sequence[Run] = ()) -> None:
        self._shares, self._epochs, self._stopped = shares(runs, jobs), epochs, stopped
        self._began: float | None = None
        self._first: dict[Run, int] = {}

    def left(self, epochs: Mapping[Run, int], over: Sequence[Run], now: float) -> float | None:
        """Seconds that are left, None as long as no epoch has been completed.

        Args:
            epochs: Those completed, of the runs that have begun.
            over: Runs that are done, or failed.
            now: Seconds by a clock.
        """
        for run, number in epochs.items():
            self._first.setdefault(run, number if run in self._stopped else 0)
        if self._began is None and epochs:
            self._began = now
        made = sum(number - self._first[run] for run, number in epochs.items())
        if self._began is None or not made:
            return None
        # The longest share decides: in the end some processes have nothing left to do.
        most = max(sum(self._epochs - epochs.get(run, 0) for run in share if run not in over) for share in self._shares)
        return (now - self._began) * len(self._shares) / made * most


@contextlib.contextmanager
def progress_bar(store: Store, runs: Sequence[Run], jobs: int) -> Iterator[None]:
    """Show a bar while runs are trained, here or elsewhere: it counts by the store's files."""
    rich = load("rich.progress", "The progress of a study")
    columns = rich.TextColumn("{task.description}"), rich.BarColumn(bar_width=None)
    counts, total = EpochCounts(store.folder), len(runs) * store.spec.epochs
    pace, ended = Pace(runs, jobs, store.spec.epochs, store.stopped(runs)), threading.Event()
    with rich.Progress(*columns) as bar:
        task = bar.add_task("", total=total)

        def update() -> None:
            epochs, states = counts.read(runs), {run: store.count([run]) for run in runs}
            over = [run for run, state in states.items() if any(state)]
            done, failed = (sum(state) for state in zip(*states.values(), strict=True))
            left = pace.left(epochs, over, time.monotonic())
            made = sum(epochs.values())
            text = progress_text(done, failed, len(runs), jobs, made, total, left if len(over) < len(runs) else None)
            bar.update(task, completed=made, description=text)

        def keep_up() -> None:
            update()
            while not ended.wait(_SECONDS_BETWEEN_UPDATES):
                update()

        thread = threading.Thread(target=keep_up, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            update()


def progress_text(done: int, failed: int, runs: int, jobs: int, epochs: int, of: int, left: float | None) -> str:
    """The state of the runs in words, with the time left once it is known.

    >>> progress_text(done=3, failed=0, runs=10, jobs=2, epochs=45, of=140, left=210)
    '3 of 10 runs, 45 of 140 epochs, 2 running, 0:03:30 left'
    """
    parts = [f"{done} of {runs} runs, {epochs} of {of} epochs"]
    if running := min(jobs, runs - done - failed):
        parts.append(f"{running} running")
    if failed:
        parts.append(f"{failed} failed")
    if left is not None:
        parts.append(f"{timedelta(seconds=math.ceil(left))} left")
    return ", ".join(parts)
