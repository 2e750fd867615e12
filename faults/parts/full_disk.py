"""A disk that is full after some bytes, in everything that writes: nothing that was there before is lost.

The disk is full for this process alone, by a limit on the size of its files.
"""

from __future__ import annotations

import functools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faults.trials import Fault, Settings, Trials
from keras_sgdr import SGDR, SnapshotEnsemble, cli
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.snapshots import Manifest
from keras_sgdr.study.results.report import write_report
from keras_sgdr.study.trainer import Trainer
from tests.support.full_disk import full_disk
from tests.support.study_nets import point_study

Writer = Callable[[Path], object]


def trials(settings: Settings) -> Iterator[Trials]:
    amounts = random.Random(settings.seed)
    for what, prepare, write in WRITERS:
        found = Trials(f"Disk full: {what}", settings.backend)
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            prepare(root / "before")
            shutil.copytree(root / "before", root / "whole")
            write(root / "whole")
            largest = max(path.stat().st_size for path in changed(root / "before", root / "whole"))
            sizes = [0, 1, 9 * largest // 10, *amounts.choices(range(9 * largest // 10), k=settings.count(17, 2))]
            for number, size in enumerate(sizes):
                folder = root / str(number)
                shutil.copytree(root / "before", folder)
                action = functools.partial(attempt, write, folder, size)
                found.attempt(f"{size} of {largest} bytes", action, within=30, names=str(folder))
        yield found


def attempt(write: Writer, folder: Path, size: int) -> None:
    """Write into the folder with room for so many bytes in each file, which are too few for one of them."""
    before = contents(folder)
    try:
        with full_disk(size):
            write(folder)
    finally:
        readable(folder)
        after = contents(folder)
        if lost := [path for path, content in before.items() if not kept(content, after.get(path))]:
            raise Fault("lost", str(lost))
        if left := [path for path in after if ".unfinished" in path]:
            raise Fault("wrong", f"{left} was left")
    raise Fault("wrong", "nothing was raised")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(before: Path, after: Path) -> list[Path]:
    old = contents(before)
    return [after / path for path, content in contents(after).items() if old.get(path) != content]


def kept(before: bytes, after: bytes | None) -> bool:
    """Whether a file is as it was, or was replaced by a whole one: manifests are, as snapshots are added."""
    return after is not None and (after == before or before[:1] == b"{")


def readable(folder: Path) -> None:
    """See that what a manifest lists is whole."""
    for manifest in (Manifest.read(path.parent) for path in folder.rglob("snapshots.json")):
        for snapshot in manifest.snapshots:
            manifest.path(snapshot)


def model() -> Any:
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(50), keras.layers.Dense(2, activation="softmax")])
    network.compile(keras.optimizers.SGD(0.1), loss="sparse_categorical_crossentropy")
    return network


def train(folder: Path, begin: int, end: int) -> None:
    x, y = np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])
    callbacks = [SGDR(1, 1), SnapshotCheckpoint(folder, resume=True)]
    model().fit(x, y, epochs=end, initial_epoch=begin, batch_size=2, verbose=0, callbacks=callbacks)


def snapshots(folder: Path) -> None:
    train(folder, 0, 2)
    # For the command line.
    model().save(folder / "model.keras")
    np.savez(folder / "data.npz", x=np.ones((500, 3), "float32"))


def empty(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("of the user")


def command(*arguments: str) -> Writer:
    def run(folder: Path) -> None:
        with redirect_stdout(StringIO()):
            cli.run([argument.format(folder=folder) for argument in arguments])

    return run


def study(folder: Path) -> None:
    point_study(folder, seeds=1).run(progress=False)


def stopped_study(folder: Path) -> None:
    study = point_study(folder, seeds=1)
    trainer, run = Trainer(study.spec), study.store.runs[0]
    keep = functools.partial(study.store.write_progress, run, trainer.fingerprint)
    trainer.run(run.schedule, run.seed, keep=keep, stop=lambda: True)


def report_of(folder: Path) -> None:
    runs = point_study(folder / "runs", seeds=2)
    figures = sorted(folder.glob("*.png"))
    write_report(folder / "report.html", "Title", runs.summary(), figures, options={"seeds": 2})


def done_study(folder: Path) -> None:
    point_study(folder / "runs", seeds=2).run(progress=False)


def draw(folder: Path) -> None:
    point_study(folder / "runs", seeds=2).figures(folder / "figures")


WRITERS: list[tuple[str, Writer, Writer]] = [
    ("a snapshot and its manifest", snapshots, lambda folder: train(folder, 2, 3)),
    ("a cycle that is saved again", snapshots, lambda folder: train(folder, 1, 2)),
    ("an ensemble's copy", snapshots, lambda folder: SnapshotEnsemble.load(folder, model()).save(folder / "copy")),
    ("the record of a run", empty, study),
    ("a run that is stopped", empty, stopped_study),
    ("the report of a study", done_study, report_of),
    ("the figures of a study", done_study, draw),
    ("`keras-sgdr plot`", empty, command("plot", "--epochs", "7", "-o", "{folder}/rates.png")),
    (
        "`keras-sgdr ensemble`",
        snapshots,
        command(
            "ensemble",
            "{folder}",
            "--model",
            "{folder}/model.keras",
            "--data",
            "{folder}/data.npz",
            "-o",
            "{folder}/p.npy",
        ),
    ),
]
