"""Runs on disk: what is done is kept, and nothing else passes for it."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pandas as pd
import pytest

from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr._files import read_sealed, sealed
from keras_sgdr.environment import environment
from keras_sgdr.study import Study
from keras_sgdr.study.store import Progress, Run, Store
from tests.support.study_nets import EPOCHS, point_model, point_study, points

CONSTANT = {"constant": StepDecay(0.1, gamma=1)}
BOTH = {**CONSTANT, "SGDR (1, 2)": WarmRestarts(1, 2, 0.1)}
METRICS = {name: [1.0, 2.0, math.nan] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}


def table(study: Study) -> pd.DataFrame:
    study.run(progress=False)
    return study.results


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of one run, which is complete."""
    folder = tmp_path_factory.mktemp("done")
    table(point_study(folder, seeds=1, schedules=CONSTANT))
    return folder


def store(folder: Path, **options: Any) -> Store:
    return point_study(folder, **{"schedules": BOTH, **options}).store


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    runs = store(tmp_path)
    runs.write(Run("constant", 1), "model", Progress(METRICS, seconds=2.5))
    (record,) = runs.records()
    assert (record.run, record.fingerprint, record.seconds) == (Run("constant", 1), "model", 2.5)
    assert record.study == runs.spec.shared
    assert record.settings == runs.spec.schedule_settings("constant")
    assert record.metrics["loss"] == pytest.approx([1.0, 2.0, math.nan], nan_ok=True)
    assert record.made_with == environment()
    assert runs.missing() == [Run("constant", 0), Run("SGDR (1, 2)", 0), Run("SGDR (1, 2)", 1)]


def test_the_folder_is_where_it_was_when_the_study_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = store(Path("runs"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    runs.write(Run("constant", 0), "model", Progress(METRICS, seconds=1.0))
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_what_is_done_is_not_repeated_and_seeds_and_schedules_can_be_added(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(done, folder)
    before = files(folder)
    (folder / ".unfinished-1-constant.json").write_text('{"half')
    extended = table(point_study(folder, seeds=2, schedules=BOTH))
    after = files(folder)
    assert len(after) == 4
    assert before.items() <= after.items()
    at_once = table(point_study(tmp_path / "at once", seeds=2, schedules=BOTH))
    pd.testing.assert_frame_equal(extended, at_once, check_exact=True)
    only = point_study(folder, seeds=[1], schedules={"SGDR (1, 2)": BOTH["SGDR (1, 2)"]}).results
    assert only[["schedule", "seed"]].drop_duplicates().to_numpy().tolist() == [["SGDR (1, 2)", 1]]


def other_points() -> Any:
    (x, y), val = points()
    return (x + 1, y), val


def adam_model() -> Any:
    model = point_model()
    model.compile(keras.optimizers.Adam(), loss=model.loss, run_eagerly=True)
    return model


def halved(model: Any, seed: int) -> None:
    for weight in model.weights:
        weight.assign(weight / 2)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"epochs": EPOCHS + 1}, "epochs=3, in a study with epochs=4"),
        ({"batch_size": 5}, "batch_size=4, in a study with batch_size=5"),
        ({"data": other_points()}, "data="),
        ({"schedules": {"constant": StepDecay(0.2, gamma=1)}}, "schedules['constant']={"),
        ({"frozen": True}, "frozen=False, in a study with frozen=True"),
        ({"keep_outputs": True}, "keep_outputs=False, in a study with keep_outputs=True"),
        ({"model_fn": partial(point_model, kernel_initializer="ones")}, "of a model with the digest"),
        ({"model_fn": partial(point_model, kernel_initializer="ones"), "seeds": 2}, "of a model with the digest"),
        ({"model_fn": adam_model}, "of a model with the digest"),
        ({"initialize": halved}, "of a model with the digest"),
    ],
    ids=[
        "epochs",
        "batch",
        "data",
        "schedule",
        "frozen",
        "outputs",
        "model",
        "model, runs left",
        "optimizer",
        "initialize",
    ],
)
def test_the_folder_of_another_study_is_refused(other: dict[str, Any], said: str, done: Path) -> None:
    before = files(done)
    study = point_study(done, **{"seeds": 1, "schedules": CONSTANT, **other})
    with pytest.raises(ValueError, match=r"A folder holds the runs of one study, .* Pass another `folder`") as raised:
        study.run(progress=False)
    assert said in str(raised.value)
    assert next(iter(before)) in str(raised.value)
    assert files(done) == before


def test_runs_of_two_models_are_refused(tmp_path: Path) -> None:
    runs = store(tmp_path)
    runs.write(Run("constant", 0), "model", Progress(METRICS, seconds=1.0))
    runs.write(Run("constant", 1), "another", Progress(METRICS, seconds=1.0))
    with pytest.raises(ValueError, match=r"seed-001\.json with model='another', in a study with model='model'"):
        runs.records()


def resealed(path: Path, **changes: Any) -> None:
    path.write_text(sealed({**read_sealed(path.read_text()), **changes}))


def edited(path: Path) -> None:
    content = json.loads(path.read_text())
    content["metrics"]["val_loss"][-1] = 0.1
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (edited, "its content does not match its SHA-256"),
        (lambda path: path.write_text("[1, 2]"), "it has no SHA-256 of its content"),
        (lambda path: path.write_text('{"half'), "Unterminated string"),
        (partial(resealed, seed=1), "it holds the run whose file is constant-.*_seed-001.json"),
        (partial(resealed, schedule="steps"), "it holds the run whose file is steps-"),
        (partial(resealed, format=1), "it has another format"),
        (partial(resealed, notes="a"), "notes"),
        (partial(resealed, metrics={"loss": [1.0] * EPOCHS}), "its metrics are not one value of each for each epoch"),
    ],
    ids=["edited", "no record", "cut off", "another seed", "another schedule", "format", "unknown", "metrics"],
)
def test_a_file_that_is_no_record_of_its_run_is_refused_by_name(
    tamper: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    runs = store(tmp_path)
    runs.write(Run("constant", 0), "model", Progress(METRICS, seconds=1.0))
    (path,) = tmp_path.iterdir()
    tamper(path)
    message = rf"unchanged and under its own name\. Received: .*{path.name}, which is not \(.*{reason}.*Remove it, or"
    with pytest.raises(ValueError, match=message):
        runs.records()


def test_a_copied_record_is_refused_by_name(tmp_path: Path) -> None:
    runs = store(tmp_path)
    runs.write(Run("constant", 0), "model", Progress(METRICS, seconds=1.0))
    (path,) = tmp_path.iterdir()
    copy = path.with_name(path.name.replace("000", "001"))
    shutil.copy(path, copy)
    with pytest.raises(ValueError, match=rf"Received: .*{copy.name}, which is not \(it holds the run whose file is"):
        runs.missing()


def test_a_failure_is_kept_until_the_run_is_done(tmp_path: Path) -> None:
    runs = store(tmp_path)
    runs.write_failure(Run("constant", 0), "Traceback")
    assert list(runs.failures()) == [(Run("constant", 0), "Traceback")]
    assert runs.count(runs.runs) == (0, 1)
    assert runs.records() == []
    runs.write(Run("constant", 0), "model", Progress(METRICS, seconds=1.0))
    assert list(runs.failures()) == []
    assert runs.count(runs.runs) == (1, 0)


def test_an_edited_failure_is_refused_by_name(tmp_path: Path) -> None:
    runs = store(tmp_path)
    runs.write_failure(Run("constant", 0), "Traceback")
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("Traceback", "Nothing"))
    with pytest.raises(ValueError, match=rf"Received: .*{path.name}, which is not"):
        list(runs.failures())


def test_outputs_are_read_as_they_were_written_to_seven_digits(tmp_path: Path) -> None:
    runs = store(tmp_path, keep_outputs=True)
    outputs = np.array([[1 / 3, 2 / 3], [math.nan, 1e-9]], np.float32)
    runs.write(Run("constant", 0), "model", Progress(METRICS, {2: outputs, 3: outputs[:1]}))
    (record,) = runs.records()
    np.testing.assert_allclose(record.outputs[2], outputs, rtol=1e-6)
    assert (list(record.outputs), record.outputs[3].shape) == ([2, 3], (1, 2))


def array_file(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def stopped(runs: Store) -> Progress:
    """A run that was stopped after its first epoch, and kept."""
    metrics = {name: [1.0 / 3] for name in METRICS}
    kinds = ((1 / 3, np.float32), (3, np.uint32), (0.3, ml_dtypes.bfloat16))
    variables = [np.array([value, value], kind) for value, kind in kinds]
    progress = Progress(metrics, {1: np.array([[0.5]], np.float32)}, 7.5, variables)
    runs.write_progress(Run("constant", 0), "model", progress)
    return progress


def test_a_run_that_was_stopped_is_read_as_it_was(tmp_path: Path) -> None:
    runs = store(tmp_path)
    kept = stopped(runs)
    progress = runs.read_progress(Run("constant", 0), "model")
    assert progress is not None
    assert (progress.epochs, progress.metrics, progress.seconds) == (1, kept.metrics, 7.5)
    np.testing.assert_array_equal(progress.outputs[1], kept.outputs[1])
    for value, expected in zip(progress.variables, kept.variables, strict=True):
        np.testing.assert_array_equal(value, expected.astype(value.dtype))
    # It is no record, and goes when there is one.
    assert runs.records() == []
    assert Run("constant", 0) in runs.missing()
    runs.write(Run("constant", 0), "model", Progress(METRICS))
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def test_a_stopped_run_of_another_study_and_a_damaged_one_begin_anew(tmp_path: Path) -> None:
    runs = store(tmp_path)
    stopped(runs)
    assert runs.read_progress(Run("constant", 1), "model") is None
    assert runs.read_progress(Run("constant", 0), "another") is None
    assert store(tmp_path, batch_size=5).read_progress(Run("constant", 0), "model") is None
    (path,) = tmp_path.iterdir()
    shutil.copy(path, path.with_name(path.name.replace("000", "001")))
    assert runs.read_progress(Run("constant", 1), "model") is None
    cut(path)
    assert runs.read_progress(Run("constant", 0), "model") is None


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("variable 0.npy", b"no array"),
        ("variable 0.npy", array_file(np.full(2, "text"))),
        ("metrics loss.npy", array_file(np.zeros(0))),
        ("metrics loss.npy", array_file(np.zeros(1)).replace(b"(1,), }" + b" " * 18, b"(1152921504606846976,), }")),
        ("head.npy", b"no array"),
    ],
    ids=["no array", "texts", "no epoch", "2**60 numbers", "no head"],
)
def test_a_stopped_run_of_other_content_begins_anew(tmp_path: Path, member: str, content: bytes) -> None:
    runs = store(tmp_path)
    stopped(runs)
    (path,) = tmp_path.iterdir()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members[member] != content
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, member: content}.items():
            archive.writestr(name, data)
    assert runs.read_progress(Run("constant", 0), "model") is None


@pytest.mark.parametrize("value", [10**400, "x", [1], {}])
def test_a_record_whose_metrics_are_no_numbers_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    runs = store(tmp_path)
    runs.write(Run("constant", 0), "model", Progress(METRICS))
    (path,) = tmp_path.iterdir()
    content = read_sealed(path.read_text())
    content["metrics"]["loss"][0] = value
    path.write_text(sealed(content))
    with pytest.raises(ValueError, match=rf"Received: .*{path.name}, which is not"):
        runs.records()


def test_a_run_has_a_short_name_of_its_own_whatever_its_schedule_is_called() -> None:
    names = ["a" * 300, "a" * 301, "SGDR (1, 2)", "SGDR 1-2", "/", "ä"]
    files = [Run(name, 0).file for name in names]
    assert len(set(files)) == len(names)
    assert all(len(file) < 100 and re.fullmatch(r"[a-z0-9.-]*_seed-000", file) for file in files)
