"""Manifests, study records and archives of images, damaged and hostile, and folders with links that lead outside."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faults.apart import Ground
from faults.files import archives, damage, documents, image_archives
from faults.files.damage import Case
from faults.trials import Fault, Settings, Trials
from keras_sgdr import SGDR, StepDecay, WarmRestarts, cli
from keras_sgdr._files import UNFINISHED, read_sealed, sealed, sha256
from keras_sgdr._folder_lock import LOCK
from keras_sgdr.callbacks import SnapshotCheckpoint
from keras_sgdr.callbacks.snapshot_checkpoint import _describe as described
from keras_sgdr.data import ants_bees
from keras_sgdr.snapshots import MANIFEST, Manifest, Snapshot, SnapshotEnsemble, architecture, save_weights
from keras_sgdr.study import Study
from keras_sgdr.study.store import Progress, Run

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


def trials(settings: Settings) -> Iterator[Trials]:
    draw = random.Random(settings.seed)
    many = settings.count(15, 4)
    with tempfile.TemporaryDirectory() as name:
        ground = Ground(Path(name))
        model = classifier()
        snapshots(ground.files / "whole", model)
        yield manifests(ground, settings, model, many, draw)
        yield links(ground, model)
        yield records(ground, settings, many, draw)
        yield progress(ground, settings, many, draw)
        yield image_downloads(ground, settings, many, draw, published=True)
        yield image_downloads(ground, settings, many, draw, published=False)


def sample(settings: Settings, cases: Iterable[Case]) -> Iterator[Case]:
    """All, or in short every ninth."""
    return itertools.islice(cases, 0, None, settings.count(1, 9))


def damaged(whole: bytes, many: int, draw: random.Random) -> Iterator[Case]:
    yield from damage.cut(whole, many, draw)
    for case in damage.changed(whole, many, draw):
        yield case._replace(refused=True)  # A digest tells.
    yield from damage.other_content(whole, draw)
    yield from damage.in_place_of()


def case_folder(ground: Ground, whole: Path | None = None) -> Path:
    """A new folder for a case, as a copy of a whole one."""
    folder = ground.files / "case"
    if folder.exists():
        shutil.rmtree(folder)
    if whole is None:
        folder.mkdir()
    else:
        shutil.copytree(whole, folder)
    return folder


def manifests(ground: Ground, settings: Settings, model: Any, many: int, draw: random.Random) -> Trials:
    """Whatever a manifest says, it is read as it says or refused, and nothing is done outside its folder."""
    found = Trials("Damaged and hostile manifests")
    whole = ground.files / "whole"
    text = (whole / MANIFEST).read_bytes().rstrip()
    content = read_sealed(text.decode())
    of_snapshot = [("snapshots", 0, key) for key in [*content["snapshots"][0]]]
    cases = [
        *damaged(text, many, draw),
        *documents.broken(),
        *documents.edited(content, [*((key,) for key in content), ("snapshots", 0), *of_snapshot]),
    ]
    for file in (str(ground.secret), f"../../beside/{ground.secret.name}", "..", "a/b.weights.h5", "\0.weights.h5"):
        first = {**content["snapshots"][0], "file": file}
        edit = sealed({**content, "snapshots": [first, content["snapshots"][1]]}).encode()
        cases.append(damage.content(f"a file {Path(file).name!r} elsewhere", edit))
    for case in sample(settings, cases):
        folder = case_folder(ground, whole)
        (folder / MANIFEST).unlink()
        case.write(folder / MANIFEST)
        action = functools.partial(use_snapshots, folder, model)
        ground.attempt(found, case.name, action, names=str(folder), must_refuse=case.refused)
    return found


def use_snapshots(folder: Path, model: Any) -> None:
    """Everything that is done with a folder of snapshots."""
    manifest = Manifest.read(folder)
    if Manifest.from_text(folder, manifest.text).text != manifest.text:
        raise Fault("wrong", "it is not what it says when it is written again")
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        if cli.main(["snapshots", str(folder)]) != 0:
            raise ValueError(said.getvalue())
    ensemble = SnapshotEnsemble.load(folder, model, from_logits=True)
    if not np.isfinite(ensemble.predict(X)).all():
        raise Fault("wrong", "predictions are not finite")
    ensemble.save(folder / "copy")
    SnapshotEnsemble.load(folder / "copy", model, "best", 1, from_logits=True)
    manifest.clean()
    manifest.keep(manifest.best(1))


def links(ground: Ground, model: Any) -> Trials:
    """A folder that came from elsewhere, into which a training writes, holds links and folders in place of files."""
    found = Trials("Folders of snapshots with links that lead outside")
    secret = ground.secret
    unfinished = f"{UNFINISHED}{{process}}-{MANIFEST}"
    unhurt = Trials("")
    ground.attempt(unhurt, "as it was", functools.partial(go_on, case_folder(ground, ground.files / "whole"), model))
    if unhurt.refused or unhurt.faults:
        found.add("wrong", "as it was", "a training cannot go on in it")
    for name in (LOCK, MANIFEST, FILE, AGAIN, unfinished, f"{UNFINISHED}{{process}}-{AGAIN}", f"{UNFINISHED}1-{FILE}"):
        for what, make in {
            "a link to a file": lambda path: path.symlink_to(secret),
            "a link to a new file": lambda path: path.symlink_to(secret.with_name("new")),
            "a link to a folder": lambda path: path.symlink_to(secret.parent),
            "a folder": lambda path: (path / "folder").mkdir(parents=True),
        }.items():
            folder = case_folder(ground, ground.files / "whole")

            def act(folder: Path = folder, name: str = name, make: Callable[[Path], object] = make) -> None:
                path = folder / name.format(process=os.getpid())
                path.unlink(missing_ok=True)
                make(path)
                go_on(folder, model)

            ground.attempt(found, f"{name} is {what}", act, names=str(folder))
    return found


def go_on(folder: Path, model: Any) -> None:
    """Train a second cycle, and use the snapshots."""
    keeper = SnapshotCheckpoint(folder, resume=True)
    options = {"initial_epoch": 1, "epochs": 2, "verbose": 0}
    model.fit(X, np.zeros(4), callbacks=[SGDR(1, 1, 0.1), keeper], **options)
    use_snapshots(folder, model)


def records(ground: Ground, settings: Settings, many: int, draw: random.Random) -> Trials:
    """A record of a run that is not as it was written is refused, and the file named."""
    found = Trials("Damaged and hostile study records")
    whole = ground.files / "runs"
    study(whole).store.write(RUN, "model", progress_of())
    study(whole).store.write_failure(Run("constant", 1), "Traceback: here")
    for ending in (".json", ".failed.json"):
        run = RUN if ending == ".json" else Run("constant", 1)
        text = (whole / (run.file + ending)).read_bytes().rstrip()
        content = read_sealed(text.decode())
        paths: list[tuple[Any, ...]] = [(key,) for key in content]
        if ending == ".json":
            paths += [
                ("metrics", "loss"),
                ("metrics", "loss", 0),
                ("study", "epochs"),
                ("outputs", "3"),
                ("outputs", "3", 0),
            ]
        cases = [
            *damaged(text, many, draw),
            *documents.broken(),
            *itertools.islice(documents.edited(content, paths), 0, None, 2),
        ]
        for case in sample(settings, cases):
            path = case_folder(ground, whole) / (run.file + ending)
            path.unlink()
            case.write(path)
            # Without a file there is no record.
            refused = case.refused and case.name not in ("nothing", "a link to nothing")
            action = functools.partial(use_records, path.parent)
            ground.attempt(found, f"{ending}: {case.name}", action, names=str(path), must_refuse=refused)
    return found


def use_records(folder: Path) -> None:
    made = study(folder)
    rows = made.results
    numbers = rows[[*METRICS, "rate", "epoch", "seed"]].to_numpy()
    if numbers.dtype.kind not in "fi":
        raise Fault("wrong", f"the results are no numbers: {numbers.dtype}")
    made.ensembles.to_numpy().sum()
    made.failures.to_string()
    if made.store.missing() not in ([Run("constant", 1)], [RUN, Run("constant", 1)]):
        raise Fault("wrong", "a run is missing that is done, or the other way round")


def progress(ground: Ground, settings: Settings, many: int, draw: random.Random) -> Trials:
    """What is kept of a run that was stopped is read as it was written, or the run begins anew."""
    found = Trials("Damaged and hostile progress of a run")
    whole = ground.files / "stopped"
    study(whole).store.write_progress(RUN, "model", progress_of())
    (path,) = whole.iterdir()
    members = {f"{name}.npy": archives.npy(array) for name, array in np.load(path).items()}
    cases = [*damaged(path.read_bytes(), many, draw), *archives.arrays(X, ground.canary)]
    for member in ("head", "variable 0", "metrics loss", "outputs 3"):
        for name, data in archives.members(ground.canary):
            edit = archives.packed({**members, f"{member}.npy": data})
            cases.append(damage.content(f"{member} is {name}", edit))
    expected = progress_of()

    def read(folder: Path, edited: bool) -> None:
        given = study(folder).store.read_progress(RUN, "model")
        if given is not None and not (
            (edited or given.metrics == expected.metrics)
            and given.seconds == expected.seconds
            and all(isinstance(array, np.ndarray) and array.dtype.kind == "f" for array in given.variables)
            and (edited or all(map(np.array_equal, given.variables, expected.variables)))
        ):
            raise Fault("wrong", "it is not what was written")

    for case in sample(settings, cases):
        file = case_folder(ground) / path.name
        case.write(file)
        ground.attempt(found, case.name, functools.partial(read, file.parent, " is " in case.name), names=str(file))
    return found


def image_downloads(ground: Ground, settings: Settings, many: int, draw: random.Random, *, published: bool) -> Trials:
    """An archive in Keras's cache, of another digest than the published one, or, for the control, of that."""
    what = "Damaged and hostile archives of images"
    found = Trials(what if published else f"{what}, if their digest were the published one")
    cases = [*damaged(image_archives.whole(), many, draw), *image_archives.hostile(ground.beside)]
    # Without the file it would be downloaded.
    for case in sample(settings, (each for each in cases if each.name not in ("nothing", *LINKS))):
        folder = case_folder(ground) / "datasets"
        folder.mkdir()
        archive = folder / "hymenoptera_data.zip"
        case.write(archive)

        def act(archive: Path = archive) -> None:
            os.environ["KERAS_HOME"] = str(archive.parents[1])
            if not published and archive.is_file():
                ants_bees.SHA256 = sha256(archive)
            try:
                ants_bees._download()
            except Exception:
                if left := [path.name for path in archive.parent.iterdir() if path != archive]:
                    raise Fault("wrong", f"it was refused, and left {left}") from None
                raise

        must_refuse = published or (case.refused and "byte " not in case.name)
        ground.attempt(found, case.name, act, names="hymenoptera_data", must_refuse=must_refuse)
    return found


LINKS = ("a link to nothing", "a link to itself")
FILE = "cycle-001_epoch-0001.weights.h5"
AGAIN = "cycle-002_epoch-0002.weights.h5"
RUN = Run("constant", 0)


def classifier() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def snapshots(folder: Path, model: Any) -> None:
    """A whole folder of two snapshots."""
    folder.mkdir()
    listed = []
    for cycle, file in ((1, FILE), (2, "cycle-002_epoch-0002_again.weights.h5")):
        save_weights(model, str(folder / file))
        digest = sha256(folder / file)
        metrics = {"val_loss": 1.0 / cycle}
        entry = Snapshot(cycle, float(cycle), cycle, 0.1, metrics, file, digest, keras.__version__, architecture(model))
        listed.append(replace(entry, weight=float(cycle)))
    # As the training describes it that is to go on in the folder.
    Manifest(folder, described(WarmRestarts(1.0, 1.0, 0.1)), listed).write()


def study(folder: Path) -> Study:
    random = np.random.default_rng(0)
    train, validation = ((random.normal(size=(n, 3)).astype("float32"), np.arange(n) % 2) for n in (8, 4))
    return Study(
        classifier, (train, validation), {"constant": StepDecay(0.1, gamma=1)}, seeds=2, epochs=3, folder=folder
    )


def progress_of() -> Progress:
    metrics = {name: [1.0, 2.0, 0.5] for name in METRICS}
    return Progress(metrics, {3: np.full((4, 2), 0.5, "float32")}, 2.5, [X, X[0]])
