"""Kills forks of itself while they save snapshots, resumes each, and prints what was found as JSON.

`python killed_while_saving.py FOLDER KILLED`, with the torch backend, which survives a fork.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import MANIFEST, Manifest, weights_alone

CYCLES = 6


def run(folder: Path) -> None:
    """Six cycles of one batch, each saved; goes on after the last snapshot.

    (Not after a `BackupAndRestore`: a kill can leave that one's file half written.)
    """
    keras.utils.set_random_seed(0)
    # Large enough that most of the time goes into writing.
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(3000), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-6), loss="mse")
    x = np.ones((2, 300), "float32")
    snapshots, begin = folder / "snapshots", 0
    if (snapshots / MANIFEST).exists() and (found := Manifest.read(snapshots)).snapshots:
        last = found.snapshots[-1]
        with weights_alone(model):
            model.load_weights(found.path(last))
        begin = int(last.epoch)
    callbacks = [SGDR(1, 1), SnapshotCheckpoint(snapshots, resume=True)]
    model.fit(x, x[:, :1], epochs=CYCLES, initial_epoch=begin, batch_size=2, verbose=0, callbacks=callbacks)


def fork(action: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def wait_for(folder: Path, snapshots: int, child: int) -> None:
    """Until so many snapshots lie there, or the child has ended."""
    while len(list((folder / "snapshots").glob("cycle-*"))) < snapshots:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)


def seconds_of_a_cycle(folder: Path) -> float:
    """From the first snapshot of an unhurt run to its end, a cycle."""
    child = fork(lambda: run(folder))
    wait_for(folder, 1, child)
    began = time.perf_counter()
    os.waitpid(child, 0)
    return (time.perf_counter() - began) / (CYCLES - 1)


def main(folder: Path, count: int) -> None:
    moments = random.Random(0)
    report = {"killed": 0, "unfinished": 0, "listed": 0, "complete": 0}
    run(folder / "first")  # What is imported with the first `fit`, every fork has.
    length = seconds_of_a_cycle(folder / "unhurt")
    for trial in range(4 * count):
        if report["killed"] == count:
            break
        here = folder / str(trial)
        child = fork(lambda here=here: run(here))  # type: ignore[misc]
        wait_for(here, moments.randint(1, CYCLES - 1), child)
        time.sleep(moments.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            continue  # It was done by then.
        report["killed"] += 1
        snapshots = here / "snapshots"
        report["unfinished"] += bool(list(snapshots.glob(".unfinished-*")))
        manifest = Manifest.read(snapshots)
        report["listed"] += len([manifest.path(one) for one in manifest.snapshots])
        assert os.waitstatus_to_exitcode(os.waitpid(fork(lambda here=here: run(here)), 0)[1]) == 0  # type: ignore[misc]
        resumed = Manifest.read(snapshots)
        paths = [resumed.path(one).name for one in resumed.snapshots]
        assert sorted(path.name for path in snapshots.iterdir()) == sorted([*paths, "snapshots.json"])
        report["complete"] += [one.cycle for one in resumed.snapshots] == list(range(1, CYCLES + 1))
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
