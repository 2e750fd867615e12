"""Which members an ensemble has, what it refuses, and its export: what is the same on every backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from keras_sgdr.snapshots import Manifest, SnapshotError
from tests.support.members import X, Y, save_members


def test_select(folder: Path, compiled: Any, tmp_path: Path) -> None:
    def cycles(*arguments: Any, directory: Path = folder) -> list[int]:
        return [member.cycle for member in SnapshotEnsemble.load(directory, compiled, *arguments).members]

    assert cycles() == cycles("best") == [1, 2, 3, 4]
    assert cycles("last", 2) == [3, 4]
    assert cycles("best", 2) == [2, 4]
    # What is best, and which direction that is, the folder says.
    save_members(tmp_path, compiled, monitor="val_loss", mode="max")
    assert cycles("best", 2, directory=tmp_path) == [1, 3]


def test_greedy_stops_at_the_number_of_members(folder: Path, compiled: Any) -> None:
    ensemble = SnapshotEnsemble.load(folder, compiled, "greedy", n_members=1, data=(X, Y))
    losses = [score.loss for score in SnapshotEnsemble.load(folder, compiled).report(X, Y).members]
    assert [member.cycle - 1 for member in ensemble.members] == [np.argmin(losses)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"select": "first"}, r'`select` must be "all", "last", "best" or "greedy"'),
        ({"n_members": 2}, r'`n_members` must be a positive integer, and `select` other than "all"'),
        ({"select": "last", "n_members": 0}, r"`n_members` must be a positive integer"),
        ({"select": "last", "n_members": 9}, r"`n_members` must be at most the 4 snapshots"),
        (
            {"weights": [1, 2]},
            r"`weights` must be .* one for each of the 4 members. Received: weights=\[1, 2\]",
        ),
        ({"weights": [0, 0, 0, 0]}, r"`weights` must be numbers, 0 or more and not all 0"),
        ({"select": "greedy"}, r'select="greedy" must have data'),
    ],
)
def test_a_wrong_argument_is_refused(folder: Path, compiled: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SnapshotEnsemble.load(folder, compiled, **arguments)


def test_a_metric_that_no_snapshot_has_is_named(compiled: Any, tmp_path: Path) -> None:
    save_members(tmp_path, compiled, losses=[1], monitor="val_auc")
    with pytest.raises(ValueError, match=r"monitor='val_auc', which none has. Set the .* to one of: loss, val_loss\."):
        SnapshotEnsemble.load(tmp_path, compiled, "best")


def test_an_empty_folder_is_refused(tmp_path: Path, compiled: Any) -> None:
    Manifest(tmp_path).write()
    with pytest.raises(ValueError, match=r"An ensemble must have members with a share. Received: snapshots=\[\]"):
        SnapshotEnsemble.load(tmp_path, compiled)


def test_a_saved_ensemble_keeps_what_its_folder_says(folder: Path, compiled: Any, tmp_path: Path) -> None:
    save_members(tmp_path, compiled, losses=[1, 2, 3], schedule="WarmRestarts()", mode="max")
    SnapshotEnsemble.load(tmp_path, compiled, "best", n_members=2).save(tmp_path / "to")
    saved = Manifest.read(tmp_path / "to")
    assert (saved.schedule, saved.monitor, saved.mode) == ("WarmRestarts()", "val_loss", "max")
    assert [snapshot.cycle for snapshot in saved.snapshots] == [2, 3]
    with pytest.raises(ValueError, match=r"a folder of its own.* Received: directory=.*Pass another folder"):
        SnapshotEnsemble.load(folder, compiled).save(tmp_path / "to")


def test_another_architecture_is_an_error(folder: Path) -> None:
    wide = keras.Sequential([keras.Input((5,)), keras.layers.Dense(9)])
    # Keras would load this one without an error: the file holds more than the model.
    shallow = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8)])
    for model in (wide, shallow):
        ensemble = SnapshotEnsemble.load(folder, model, from_logits=True)
        rule = "architecture that was trained. Received: .*weights.h5', whose weights"
        with pytest.raises(SnapshotError, match=rule):
            ensemble.predict(X)


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("sparse_categorical_crossentropy", False),
        (keras.losses.sparse_categorical_crossentropy, False),
        (keras.losses.MeanSquaredError(), False),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), True),
        ([keras.losses.SparseCategoricalCrossentropy(from_logits=True)], True),
        (lambda y, z: keras.losses.sparse_categorical_crossentropy(y, z, from_logits=True), None),
        (None, None),
    ],
)
def test_what_losses_tell(
    folder: Path, compiled: Any, loss: Any, logits: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "loss", loss)
    if logits is not None:
        assert SnapshotEnsemble.load(folder, compiled).from_logits is logits
    else:
        rule = "must know whether the model gives logits.*which does not tell. Pass from_logits=True"
        with pytest.raises(ValueError, match=rule):
            SnapshotEnsemble.load(folder, compiled)
        assert SnapshotEnsemble.load(folder, compiled, from_logits=True).from_logits


def test_the_exported_model_holds_nothing_of_keras_sgdr(folder: Path, compiled: Any, tmp_path: Path) -> None:
    def packages(config: Any) -> set[str]:
        parts = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
        module = config.get("module") if isinstance(config, dict) else None
        return {str(module).partition(".")[0]} - {"None"} | {name for part in parts for name in packages(part)}

    SnapshotEnsemble.load(folder, compiled).to_model().save(tmp_path / "ensemble.keras")
    with zipfile.ZipFile(tmp_path / "ensemble.keras") as archive:
        config = archive.read("config.json").decode()
    assert packages(json.loads(config)) == {"keras"}
    assert "sgdr" not in config


WITHOUT_KERAS_SGDR = """
import sys
sys.modules["keras_sgdr"] = None
import keras, numpy as np
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""


@pytest.mark.slow
def test_the_exported_model_loads_where_keras_sgdr_cannot_be_imported(
    folder: Path, compiled: Any, tmp_path: Path
) -> None:
    ensemble = SnapshotEnsemble.load(folder, compiled, weights=[1, 2, 3, 4])
    ensemble.to_model().save(tmp_path / "ensemble.keras")
    np.save(tmp_path / "x.npy", X)
    paths = [str(tmp_path / name) for name in ("ensemble.keras", "x.npy", "y.npy")]
    command = [sys.executable, "-c", WITHOUT_KERAS_SGDR, *paths]
    subprocess.run(command, check=True, cwd=tmp_path, env=dict(os.environ))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), ensemble.predict(X), rtol=0, atol=1e-6)
