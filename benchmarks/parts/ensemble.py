"""Prediction with an ensemble of 1, 3 and 10 ResNet-50, beside as many models: time, and memory of the process.

Time: an ensemble's prediction, with reading and checking its members' files, over as many of Keras's own `predict`: of
a model into which the same files are loaded, and of one that is in memory, in turns in one process. Memory: the peak of
a process that does nothing else.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.rows import Row, ratio
from benchmarks.settings import Settings
from benchmarks.turns import seconds_of, take_turns
from keras_sgdr import SnapshotEnsemble
from keras_sgdr.models import resnet
from keras_sgdr.snapshots import SUFFIX, Manifest, Snapshot, architecture, weights_alone

__all__ = ["rows"]

MEMBERS, IMAGES = (1, 3, 10), 153
SIDE, SMALL = 96, 8  # In pixels.
MOST_TIME, FLAT = 1.1, 1.05


def network(side: int) -> Any:
    """A ResNet-50; a dense network on the smallest images, where it only has to run."""
    shape = (side, side, 3)
    if side > SMALL:
        return resnet(50, None, classes=2, input_shape=shape)
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2)])


def images(side: int) -> Any:
    return np.random.default_rng(0).uniform(0, 255, (IMAGES, side, side, 3)).astype("float32")


def write(folder: Path, model: Any, members: int) -> list[Path]:
    """As many snapshots of the same random weights. Returns their files."""
    manifest = Manifest(folder)
    files = [f"cycle-{cycle:03d}_epoch-{cycle:04d}{SUFFIX}" for cycle in range(1, members + 1)]
    for cycle, file in enumerate(files, 1):
        snapshot = Snapshot(cycle, cycle, cycle, 0.0, {}, file, "", keras.__version__, architecture(model))
        with weights_alone(model):
            manifest.add(snapshot, model.save_weights)
    return [folder / file for file in files]


def load(folder: Path, model: Any, members: int) -> Any:
    return SnapshotEnsemble.load(folder, model, select="last", n_members=members, from_logits=True)


def peak() -> float:
    """Peak of resident memory, in megabytes, of this program alone: `getrusage` counts what was before `exec` too."""
    status = Path("/proc/self/status")
    if status.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(what: str, members: int, side: int, folder: Path) -> float:
    """Peak of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.parts.ensemble", what, str(members), str(side), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(what: str, members: int, side: int, folder: Path) -> None:
    """Predict with an ensemble, or with as many models that are all in memory, and print the peak."""
    x = images(side)
    if what == "ensemble":
        load(folder, network(side), members).predict(x)
    else:
        models = [network(side) for _ in range(members)]
        for model in models:
            model.predict(x, verbose=0)
    print(json.dumps(peak()))


def rows(settings: Settings) -> Iterator[Row]:
    """Time and memory for each number of members, on the job's backend."""
    side = SMALL if settings.small else SIDE
    backend = keras.backend.backend()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, x = network(side), images(side)
        files = write(folder, model, max(MEMBERS))
        model.predict(x, verbose=0)
        for members in MEMBERS:
            ensemble = load(folder, model, members)
            ensemble.predict(x[:33])
            loaded, in_memory = f"{members} models, loaded from their files", f"{members} models in memory"
            turns = {
                "ours": partial(seconds_of, partial(ensemble.predict, x)),
                loaded: partial(seconds_of, partial(predict_with_each, model, files[:members], x)),
                in_memory: partial(seconds_of, partial(predict_with_each, model, [None] * members, x)),
            }
            seconds = take_turns(turns, settings.rounds, settings.seconds / len(MEMBERS))
            what = f"prediction of an ensemble, {members} members, {backend}"
            for against in (loaded, in_memory):
                yield ratio(what, against, seconds["ours"], seconds[against], MOST_TIME)
        del model
        alone = child("ensemble", 1, side, folder)
        for members in MEMBERS[1:]:
            memory, separate = (child(what, members, side, folder) for what in ("ensemble", "models"))
            what = f"memory of an ensemble, {members} members, {backend}"
            for against, other, most in (("1 member", alone, FLAT), (f"{members} models in memory", separate, 1.0)):
                quotient = round(memory / other, 4)
                yield Row(
                    what,
                    against,
                    (quotient, quotient, quotient),
                    rounds=1,
                    at_most=most,
                    ours=f"{memory:,.0f} MB",
                    theirs=f"{other:,.0f} MB",
                )


def predict_with_each(model: Any, files: Sequence[Path | None], x: Any) -> None:
    """As with so many models: each loaded from a file into a model that is built, or, for None, in memory."""
    for file in files:
        if file is not None:
            model.load_weights(file)
        model.predict(x, verbose=0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
