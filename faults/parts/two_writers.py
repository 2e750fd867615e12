"""Two trainings, and two studies, begun at the same moment in one folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from faults.forks import REFUSED, forked, status_of
from faults.trials import Settings, Trials
from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import Manifest
from tests.support.study_nets import point_study

EPOCHS = 5


def trials(settings: Settings) -> Iterator[Trials]:
    found = Trials("Two trainings begun at once in one folder of snapshots", settings.backend)
    refused = 0
    with tempfile.TemporaryDirectory() as name:
        for number in range(settings.count(30, 3)):
            folder = Path(name, str(number))
            found.tried += 1
            statuses = both(lambda folder=folder: train(folder))  # type: ignore[misc]
            # One that comes when the other has ended finds a folder of snapshots, and is refused for that.
            if sorted(statuses) != [0, REFUSED]:
                found.add("wrong", folder.name, f"they ended with {statuses}")
                continue
            refused += 1
            try:
                manifest = Manifest.read(folder)
                whole = [manifest.path(each) for each in manifest.snapshots]
            except ValueError as error:
                found.add("lost", folder.name, str(error))
                continue
            if len(whole) != EPOCHS:
                found.add("lost", folder.name, f"{len(whole)} snapshots of {EPOCHS}")
    found.refused = refused
    yield found

    found = Trials("Two studies begun at once in one folder of runs", settings.backend)
    with tempfile.TemporaryDirectory() as name:
        expected = None
        for number in range(settings.count(10, 2)):
            folder = Path(name, str(number))
            found.tried += 1
            statuses = both(lambda folder=folder: point_study(folder).run(progress=False))  # type: ignore[misc]
            if statuses != [0, 0]:
                found.add("wrong", folder.name, f"they ended with {statuses}")
                continue
            results = point_study(folder).results
            if expected is None:
                expected = results
            if not results.equals(expected):
                found.add("wrong", folder.name, "the table is another one")
    yield found


def both(action: Callable[[], object]) -> list[int]:
    """Do it in two forks at the same moment. Returns their exit statuses, `REFUSED` after a `ValueError`."""
    moment = time.time() + 0.05

    def act() -> None:
        while time.time() < moment:
            pass
        action()

    return [status_of(child) for child in [forked(act), forked(act)]]


def train(folder: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    x = np.ones((4, 3), "float32")
    model.fit(x, x[:, :1], epochs=EPOCHS, verbose=0, callbacks=[SGDR(1, 1), SnapshotCheckpoint(folder)])
