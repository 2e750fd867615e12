"""SIGKILL at random moments of a study, which is begun anew until all its runs are done."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from faults.forks import forked, status_of
from faults.trials import Settings, Trials
from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr.study import Study, trainer
from tests.support.study_nets import point_study

SEEDS, EPOCHS = 2, 30
SCHEDULES = {"SGDR (2, 2)": WarmRestarts(2, 2, 0.1), "constant": StepDecay(0.1, gamma=1)}


def trials(settings: Settings) -> Iterator[Trials]:
    moments = random.Random(settings.seed)
    found = Trials("SIGKILL of a study", settings.backend)
    trainer.SECONDS_BETWEEN_SAVES = 0
    in_a_run = between_runs = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        # Loads what Keras loads late, so that the forks need not.
        point_study(root / "first", seeds=1).run(progress=False)
        began = time.perf_counter()
        attempt(root / "unhurt", None)
        longest = (time.perf_counter() - began) / 5
        expected = small(root / "unhurt").results
        if len(expected) != len(SCHEDULES) * SEEDS * EPOCHS:
            found.add("wrong", "unhurt", f"{len(expected)} rows")
        folder, written = root / "0", dict[Path, int]()
        while found.tried < settings.count(60, 20) or folder.exists():
            kill = found.tried < settings.count(60, 20)
            ended = attempt(folder, moments.uniform(0, longest) if kill else None)
            for path in folder.glob("[!.]*.json"):
                at = path.stat().st_mtime_ns
                if written.setdefault(path, at) != at:
                    found.add("lost", path.name, "a run that was done was made again")
            if not ended:
                found.tried += 1
                is_in_a_run = any(folder.glob("*.stopped.npz"))
                in_a_run, between_runs = in_a_run + is_in_a_run, between_runs + (not is_in_a_run)
                continue
            try:
                pd.testing.assert_frame_equal(small(folder).results, expected, check_exact=True)
            except (AssertionError, ValueError) as error:
                found.add("lost", folder.name, str(error))
            # Another one, if there are kills left to make.
            folder = root / str(int(folder.name) + 1)
    found.note = f"{in_a_run} amid a run; {between_runs} before the first or between two"
    yield found


def small(folder: Path) -> Study:
    """Of few runs with many epochs, so that most kills fall within a run."""
    return point_study(folder, seeds=SEEDS, epochs=EPOCHS, schedules=SCHEDULES)


def attempt(folder: Path, patience: float | None) -> bool:
    """Run the study in a fork, killed after so many seconds. Returns whether it came to its end."""
    child = forked(lambda: small(folder).run(progress=False))
    if patience is not None:
        time.sleep(patience)
        os.kill(child, signal.SIGKILL)  # Of no effect on a fork that has ended.
    status = status_of(child)
    if status > 0:
        raise RuntimeError("The study raised: see above.")
    return status == 0
