"""SIGKILL at random moments of a training that saves snapshots, which is begun anew until it ends.

Each training is a fork of this process, which has imported everything but has computed nothing: a backend that has
would not survive in a fork.
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np

from faults.forks import forked, status_of
from faults.trials import Settings, Trials
from keras_sgdr import SGDR
from keras_sgdr._files import UNFINISHED
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import MANIFEST, Manifest, weights_alone

EPOCHS, BATCHES = 6, 30
# What a training is doing, as it notes it for the parent.
BUILDS, TRAINS, SAVES = range(3)
NAMES = ("before the first batch", "amid an epoch", "at the end of a cycle")


def trials(settings: Settings) -> Iterator[Trials]:
    moments = random.Random(settings.seed)
    found = Trials("SIGKILL of a training that saves snapshots", settings.backend)
    phases: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        unhurt = Training(root / "unhurt")
        unhurt.start()
        unhurt.wait_for_batches()
        began = time.perf_counter()
        if unhurt.wait() != 0:
            found.add("wrong", "unhurt", "the training raised: see above")
            yield found
            return
        seconds = time.perf_counter() - began
        expected = final(root / "unhurt"), snapshots_of(root / "unhurt")
        number = 0
        while found.tried < settings.count(24, 3):
            training = Training(root / str(number))
            number += 1
            # Three kills at most, then it may end.
            for _ in range(3):
                training.start()
                if moments.random() < 0.8:  # The others before the first batch, or soon after.
                    training.wait_for_batches()
                time.sleep(moments.uniform(0, seconds))
                if not training.kill():
                    break
                found.tried += 1
                phases[NAMES[training.phase]] += 1
                phases["with a file half written"] += any(training.folder.glob(f"{UNFINISHED}*"))
                check(found, training.folder, expected[1])
            else:
                training.start()
                if training.wait() != 0:
                    found.add("lost", training.folder.name, "the killed training could not go on: see above")
                    continue
            check(found, training.folder, expected[1], whole=True)
            if not same(final(training.folder), expected[0]):
                found.add("wrong", training.folder.name, "its last weights are not those of the unhurt training")
    found.note = "; ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
    yield found


class Training:
    """A training in a fork."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shared = mmap.mmap(-1, 1)
        self._child = 0

    @property
    def phase(self) -> int:
        return self._shared[0]

    def start(self) -> None:
        """Begin it, or go on after its last snapshot."""
        self._shared[0] = BUILDS
        self._child = forked(lambda: train(self.folder, self._shared))

    def wait_for_batches(self) -> None:
        """Until it trains, or has ended."""
        while self.phase == BUILDS and not os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.001)

    def wait(self) -> int:
        """Its exit status."""
        return status_of(self._child)

    def kill(self) -> bool:
        """Kill it. Returns whether it had not ended before."""
        os.kill(self._child, signal.SIGKILL)
        return status_of(self._child) == -signal.SIGKILL


def train(folder: Path, phase: mmap.mmap) -> None:
    """Cycles of an epoch, each saved, and the last weights."""
    keras.utils.set_random_seed(0)
    # Large enough that writing takes its time, too.
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(2000), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-5), loss="mse")
    x = np.random.default_rng(0).normal(size=(2 * BATCHES, 100)).astype("float32")
    begin = 0
    if (folder / MANIFEST).exists() and (found := Manifest.read(folder)).snapshots:
        last = found.snapshots[-1]
        with weights_alone(model):
            model.load_weights(found.path(last))
        begin = int(last.epoch)

    def note(value: int) -> None:
        phase[0] = value

    noted = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: note(TRAINS), on_epoch_end=lambda epoch, logs: note(SAVES)
    )
    if begin < EPOCHS:
        keeper = SnapshotCheckpoint(folder, resume=True)
        options = {"epochs": EPOCHS, "initial_epoch": begin, "batch_size": 2, "shuffle": False, "verbose": 0}
        model.fit(x, x[:, :1], callbacks=[noted, SGDR(1, 1), keeper], **options)
    np.savez(folder / "final.npz", *model.get_weights())


def check(found: Trials, folder: Path, expected: list[dict[str, np.ndarray]], *, whole: bool = False) -> None:
    """See that what the folder lists is whole, and what the unhurt training saved."""
    if not (folder / MANIFEST).exists():
        if whole:
            found.add("lost", folder.name, "there is no manifest")
        return
    try:
        listed = snapshots_of(folder)
    except Exception as error:
        found.add("lost", folder.name, str(error))
        return
    if len(listed) > len(expected) or (whole and len(listed) < len(expected)):
        found.add("lost", folder.name, f"{len(listed)} snapshots are listed, not {len(expected)}")
    if not all(map(same, map(dict.values, listed), map(dict.values, expected))):
        found.add("wrong", folder.name, "a snapshot is not that of the unhurt training")


def snapshots_of(folder: Path) -> list[dict[str, np.ndarray]]:
    """The arrays of each listed snapshot, read without a backend."""
    manifest = Manifest.read(folder)
    return [arrays_of(manifest.path(each)) for each in manifest.snapshots]


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.asarray(item)

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return arrays


def final(folder: Path) -> list[np.ndarray]:
    with np.load(folder / "final.npz") as arrays:
        return list(arrays.values())


def same(ours: object, theirs: object) -> bool:
    return all(map(np.array_equal, ours, theirs))  # type: ignore[call-overload]
