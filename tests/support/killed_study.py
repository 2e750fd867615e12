"""A study that is killed again and again: run as a script, on the PyTorch backend, which compiles nothing.

Python, Keras and PyTorch are loaded once; each attempt is a fork of this process, killed at a random moment. A study
that came to its end before all kills were made is followed by another. Prints what `test_killed.py` asserts, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr.study import Study, trainer
from tests.support.study_nets import point_study

KILLS = 20
SEEDS, EPOCHS = 2, 30
SCHEDULES = {"SGDR (2, 2)": WarmRestarts(2, 2, 0.1), "constant": StepDecay(0.1, gamma=1)}


def small(folder: Path) -> Study:
    """Of few runs with many epochs, so that most kills fall within a run."""
    return point_study(folder, seeds=SEEDS, epochs=EPOCHS, schedules=SCHEDULES)


def attempt(folder: Path, patience: float | None) -> bool:
    """Run the study in a fork, killed after so many seconds. Returns whether it came to its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            small(folder).run(progress=False)
            code = 0
        finally:
            os._exit(code)
    if patience is not None:
        time.sleep(patience)
        os.kill(child, signal.SIGKILL)  # Of no effect on a fork that has ended.
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("The study raised: see above.")
    return os.WIFEXITED(status)


def main(folder: Path, seed: int) -> None:
    moments = random.Random(seed)
    trainer.SECONDS_BETWEEN_SAVES = 0
    # Loads what Keras loads late, so that the forks need not.
    point_study(folder / "first", seeds=1).run(progress=False)
    began = time.perf_counter()
    attempt(folder / "uninterrupted", None)
    longest = (time.perf_counter() - began) / 5
    studies: list[Path] = []
    runs_after_each: list[int] = []
    in_a_run = 0
    written: dict[Path, int] = {}
    repeated = False
    finished = True
    while len(runs_after_each) < KILLS or not finished:
        if finished:
            studies.append(folder / f"killed-{len(studies)}")
        finished = attempt(studies[-1], moments.uniform(0, longest) if len(runs_after_each) < KILLS else None)
        for path in studies[-1].glob("[!.]*.json"):
            at = path.stat().st_mtime_ns
            repeated |= written.setdefault(path, at) != at
        if not finished:
            runs_after_each.append(len(written))
            in_a_run += any(studies[-1].glob("*.stopped.npz"))
    report = {"studies": list(map(str, studies)), "runs_after_each": runs_after_each}
    print(json.dumps({**report, "in_a_run": in_a_run, "repeated": repeated}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
