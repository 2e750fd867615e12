"""Running a study: one run after another, or in parallel through joblib."""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from keras_sgdr._optional import load
from keras_sgdr.study.heads import train_heads
from keras_sgdr.study.progress import EpochCounts, progress_bar, shares
from keras_sgdr.study.spec import Spec, fingerprint_of
from keras_sgdr.study.store import Progress, Run, Store
from keras_sgdr.study.together import TogetherTrainer
from keras_sgdr.study.trainer import Trainer
from keras_sgdr.study.workers import Parallel, lost_worker, take_share, workers

__all__ = ["execute", "train_runs", "trainer_of"]

# The trainer of the last study, by its token: its model is in the device's memory.
_trainers: dict[tuple[str, bool], Trainer] = {}
# A Dask worker may have several threads, and there is one model.
_lock = threading.RLock()


def execute(
    store: Store,
    runs: Sequence[Run],
    *,
    jobs: int,
    parallel: Parallel,
    together: int,
    minutes: float | None,
    progress: bool,
) -> None:
    """Train these runs and save each when it ends, or its traceback when it raises.

    Args:
        store: Where they are saved.
        runs: At least one.
        jobs: Runs at a time, each in a process of its own; 1 for one after another in this process.
        parallel: What starts the processes.
        together: Runs that a process trains at a time, in one compiled step, on JAX.
        minutes: After which those that are running stop, as their epoch ends, to be gone on with; None for no limit.
        progress: Whether to show a bar.

    Raises:
        ValueError: If the store's runs are of another model, or the model is not one that a study can train.
    """
    store.tidy(runs)
    counts = EpochCounts(store.folder)
    counts.remove(runs)  # Those of a killed process.
    deadline = math.inf if minutes is None else time.time() + 60 * minutes
    jobs = len(runs) if store.spec.frozen else min(jobs, len(runs))
    try:
        with progress_bar(store, runs, jobs) if progress else contextlib.nullcontext():
            if store.spec.frozen:
                _train_on_frozen(store, runs)
            elif jobs == 1:
                train_runs(store, runs, deadline, together)
            else:
                _train_in_processes(store, runs, jobs, parallel, deadline, together)
    finally:
        counts.remove(runs)


def train_runs(store: Store, runs: Sequence[Run], deadline: float = math.inf, together: int = 1) -> None:
    """Train these runs in this process, so many together, until the deadline, by `time.time`."""
    with _lock:
        trainer = trainer_of(store.spec, together)
        store.check_model(trainer.fingerprint)
        begins = {run: store.read_progress(run, trainer.fingerprint) for run in runs}
        for group in list(_groups(runs, begins, together)):
            if time.time() >= deadline:
                return
            _train_group(store, {run: begins.pop(run) for run in group}, deadline, together)


def _groups(runs: Sequence[Run], begins: Mapping[Run, Progress | None], together: int) -> Iterator[list[Run]]:
    """Runs that are trained together: those that were stopped go on first, with others that were at the same epoch."""

    def epochs(run: Run) -> int:
        begin = begins[run]
        return 0 if begin is None else begin.epochs

    for _, same in itertools.groupby(sorted(runs, key=epochs, reverse=True), epochs):
        group = list(same)
        for begin in range(0, len(group), together):
            yield group[begin : begin + together]


def _train_group(store: Store, begins: Mapping[Run, Progress | None], deadline: float, together: int) -> None:
    """Train runs together, from where each begins."""
    trainer, runs, counts = trainer_of(store.spec, together), list(begins), EpochCounts(store.folder)

    def keep(run: Run, progress: Progress) -> None:
        counts.write(run, progress.epochs)
        if progress.variables:
            store.write_progress(run, trainer.fingerprint, progress)

    def stop() -> bool:
        return time.time() >= deadline

    for run, begin in begins.items():
        counts.write(run, 0 if begin is None else begin.epochs)
    try:
        if isinstance(trainer, TogetherTrainer):
            results = trainer.run_together(begins, keep=keep, stop=stop)
        else:
            (run,) = runs
            results = [trainer.run(run.schedule, run.seed, begins[run], keep=partial(keep, run), stop=stop)]
    except Exception:
        for run in runs:
            store.write_failure(run, traceback.format_exc())
        _trainers.clear()  # What an exception leaves of a compiled step on JAX cannot be used again.
        return
    for run, progress in zip(runs, results, strict=True):
        if progress.epochs == store.spec.epochs:
            store.write(run, trainer.fingerprint, progress)


def trainer_of(spec: Spec, together: int = 1) -> Trainer:
    """The trainer of a study, which is built once in a process."""
    key = spec.token, together > 1
    if key not in _trainers:
        _trainers.clear()
        _trainers[key] = Trainer(spec) if together == 1 else TogetherTrainer(spec)
    return _trainers[key]


def _train_on_frozen(store: Store, runs: Sequence[Run]) -> None:
    began = time.perf_counter()
    model = store.spec.build(0)
    fingerprint = fingerprint_of(model)
    store.check_model(fingerprint)

    counts = EpochCounts(store.folder)

    def ended(epochs: int) -> None:
        for run in runs:
            counts.write(run, epochs)

    ended(0)
    metrics = train_heads(store.spec, model, runs, ended)
    seconds = (time.perf_counter() - began) / len(runs)
    for run in runs:
        store.write(run, fingerprint, Progress(metrics[run], seconds=seconds))


def _train_in_processes(
    store: Store, runs: Sequence[Run], jobs: int, parallel: Parallel, deadline: float, together: int
) -> None:
    """Each of `jobs` processes builds the model once and trains an equal share of the runs."""
    joblib = load("joblib", "A study with jobs=2 or more")
    left = list(runs)
    while left:
        try:
            with workers(parallel, jobs) as number:
                joblib.Parallel(n_jobs=number, batch_size=1, pre_dispatch="all")(
                    joblib.delayed(_train_in_worker)(
                        store, share, deadline, together, (place, number) if parallel == "loky" else None
                    )
                    for place, share in enumerate(shares(left, number))
                )
            return
        except lost_worker(parallel) as error:
            # With one fewer: the memory may not have been enough for all of them.
            jobs = min(jobs, len(left)) - 1
            left = store.left(left)
            if not jobs:
                raise
            warning = f"A process ended before its runs ({str(error).splitlines()[0]}) They are trained by {jobs}."
            warnings.warn(warning, RuntimeWarning, stacklevel=4)


def _train_in_worker(
    store: Store, runs: Sequence[Run], deadline: float, together: int, share: tuple[int, int] | None
) -> None:
    if share is not None:
        take_share(*share)
    train_runs(store, runs, deadline, together)
