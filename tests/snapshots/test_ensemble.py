"""Which members an ensemble has, what it refuses, and its export: what is the same on every backend."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from keras_sgdr._files import sealed, sha256
from keras_sgdr.snapshots import MANIFEST, Manifest, SnapshotError, scores
from tests.support.full_disk import full_disk
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
        ({"weights": [1, 1, 1, 10**400]}, r"`weights` must be numbers, 0 or more and not all 0"),
        ({"weights": [1, 1, 1, float("inf")]}, r"`weights` must be numbers, 0 or more and not all 0"),
        ({"weights": 4}, r"`weights` must be numbers, .* Received: weights=4. Pass the members' shares"),
        ({"select": "greedy"}, r'select="greedy" must have data'),
    ],
)
def test_a_wrong_argument_is_refused(folder: Path, compiled: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SnapshotEnsemble.load(folder, compiled, **arguments)


def test_a_metric_that_no_snapshot_has_is_named(compiled: Any, tmp_path: Path) -> None:
    save_members(tmp_path, compiled, losses=[1], monitor="val_auc")
    with pytest.raises(ValueError, match=r"val_auc., which none has. For one .* one that there is: loss, val_loss\."):
        SnapshotEnsemble.load(tmp_path, compiled, "best")


def test_an_empty_folder_is_refused(tmp_path: Path, compiled: Any) -> None:
    Manifest(tmp_path).write()
    with pytest.raises(ValueError, match=r"An ensemble must have members with a share. Received: snapshots=\[\] in '"):
        SnapshotEnsemble.load(tmp_path, compiled)


def test_a_file_that_says_it_is_larger_than_it_is_costs_nothing(compiled: Any, tmp_path: Path) -> None:
    """HDF5 makes zeros of what is not stored; Keras takes up to 4 GiB of them."""
    save_members(tmp_path, compiled, losses=[1])
    manifest = Manifest.read(tmp_path)
    path = manifest.path(manifest.snapshots[0])
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        del file[names[0]]
        file.create_dataset(names[0], (10**9,), "f4", chunks=(1000,))
    manifest.amend(replace(manifest.snapshots[0], sha256=sha256(path)))
    before = compiled.get_weights()
    tracemalloc.start()
    with pytest.raises(SnapshotError, match=rf"Received: '{path}', which it cannot: .* bytes say that they are 40"):
        SnapshotEnsemble.load(tmp_path, compiled).average_weights()
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    for ours, theirs in zip(compiled.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "labels", [np.full(4, "a"), np.full((4, 2), "a"), np.zeros(4, "M8[s]"), np.full(4, 1j)], ids=str
)
def test_labels_that_are_no_numbers_are_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"Labels must be whole numbers of classes, or one-hot\. Received: labels"):
        scores(np.full((4, 2), 0.5), labels)


def test_a_number_is_no_array_of_samples(folder: Path, compiled: Any) -> None:
    with pytest.raises(ValueError, match=r"same number of samples, at least 1\. Received: samples=\[0\]"):
        SnapshotEnsemble.load(folder, compiled).predict(np.float32(3))


def test_a_saved_ensemble_keeps_what_its_folder_says(folder: Path, compiled: Any, tmp_path: Path) -> None:
    save_members(tmp_path, compiled, losses=[1, 2, 3], schedule="WarmRestarts()", mode="max")
    SnapshotEnsemble.load(tmp_path, compiled, "best", n_members=2).save(tmp_path / "to")
    saved = Manifest.read(tmp_path / "to")
    assert (saved.schedule, saved.monitor, saved.mode) == ("WarmRestarts()", "val_loss", "max")
    assert [snapshot.cycle for snapshot in saved.snapshots] == [2, 3]
    with pytest.raises(ValueError, match=r"a folder of its own.* Received: directory=.*Pass another folder"):
        SnapshotEnsemble.load(folder, compiled).save(tmp_path / "to")


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([1e308, 1e308, 0, 0], [0.5, 0.5, 0, 0]),
        ([1e308, 1e308, 1e308, 1e308], [0.25] * 4),
        ([5e-324, 5e-324, 0, 0], [0.5, 0.5, 0, 0]),
        (np.array([3e38, 3e38, 0, 0], "float32"), [0.5, 0.5, 0, 0]),
    ],
)
def test_shares_of_weights_of_any_size_have_sum_1(folder: Path, compiled: Any, weights: Any, shares: Any) -> None:
    ensemble = SnapshotEnsemble.load(folder, compiled, weights=weights)
    assert ensemble.shares == shares
    np.testing.assert_allclose(ensemble.predict(X).sum(axis=1), 1, rtol=1e-5)


def test_a_member_twice_is_refused(folder: Path, compiled: Any) -> None:
    manifest = Manifest.read(folder)
    with pytest.raises(ValueError, match=r"members .* must be of different cycles. Received: snapshots=.*Pass each"):
        SnapshotEnsemble(manifest, compiled, [manifest.snapshots[0]] * 2)


@pytest.mark.parametrize("which", [2, 4])
def test_a_save_that_is_broken_off_leaves_no_ensemble(
    folder: Path, compiled: Any, tmp_path: Path, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the third copy, or at the manifest."""
    ensemble = SnapshotEnsemble.load(folder, compiled)
    size = max(path.stat().st_size for path in folder.glob("*.h5"))
    copied = iter(range(which))

    def flush(_: int) -> None:
        if next(copied, None) is None:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        with pytest.raises(SnapshotError, match=r"must be written whole. Received: '.*/to/.*No space left .*Make room"):
            ensemble.save(tmp_path / "to")
    with full_disk(size // 2), pytest.raises(SnapshotError, match=r"'.*cycle-001.*File too large.*Make room"):
        ensemble.save(tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())
    with pytest.raises(SnapshotError, match="which has none"):
        SnapshotEnsemble.load(tmp_path / "to", compiled)
    ensemble.save(tmp_path / "to")
    assert len(SnapshotEnsemble.load(tmp_path / "to", compiled).members) == 4


@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")  # By JAX; the child uses none of it.
def test_a_save_that_was_killed_lists_nothing(folder: Path, compiled: Any, tmp_path: Path) -> None:
    ensemble = SnapshotEnsemble.load(folder, compiled)
    child = os.fork()
    if child == 0:
        copy, copies = shutil.copyfile, iter(range(3))

        def killed_at_the_fourth(*paths: Any) -> None:
            if next(copies, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            copy(*paths)

        shutil.copyfile = killed_at_the_fourth  # type: ignore[assignment]
        ensemble.save(tmp_path / "to")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(list((tmp_path / "to").glob("*.h5"))) == 3
    with pytest.raises(SnapshotError, match="which has none"):
        SnapshotEnsemble.load(tmp_path / "to", compiled)
    with pytest.raises(ValueError, match=r"which has cycle-001.*, cycle-003_epoch-0003.weights.h5'. Pass another"):
        ensemble.save(tmp_path / "to")


def test_what_is_in_the_way_of_a_saved_ensemble_is_not_replaced(folder: Path, compiled: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "cycle-002_epoch-0002.weights.h5"
    theirs.write_text("someone's")
    with pytest.raises(ValueError, match=r"a folder of its own.* Received: directory=.*which has cycle-002_.*Pass ano"):
        SnapshotEnsemble.load(folder, compiled).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [theirs.name]


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 no archive", "truncated"])
def test_a_file_that_keras_cannot_read_is_named(folder: Path, compiled: Any, tmp_path: Path, content: Any) -> None:
    """One that is what the manifest says."""
    SnapshotEnsemble.load(folder, compiled, "last", n_members=1).save(tmp_path / "to")
    path = tmp_path / "to" / MANIFEST
    listed = json.loads(path.read_text())
    listed.pop("sha256")
    (snapshot,) = listed["snapshots"]
    member = tmp_path / "to" / snapshot["file"]
    whole = member.read_bytes()
    member.write_bytes(whole[: len(whole) // 2] if content == "truncated" else content)
    snapshot["sha256"] = sha256(member)
    path.write_text(sealed(listed))
    ensemble = SnapshotEnsemble.load(tmp_path / "to", compiled)
    with pytest.raises(SnapshotError, match=r"Keras can read. Received: '.*cycle-004_.*', which it cannot: .*Restore"):
        ensemble.predict(X)


def test_folders_are_absolute(folder: Path, compiled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ensemble = SnapshotEnsemble.load(".", compiled)
    monkeypatch.chdir(tmp_path)
    ensemble.save("to")
    again = SnapshotEnsemble.load("to", compiled)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))


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
