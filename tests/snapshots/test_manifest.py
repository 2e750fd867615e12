"""The manifest and its files: any damage is an error that names the file."""

from __future__ import annotations

import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keras_sgdr._files import sealed
from keras_sgdr.snapshots import MANIFEST, Manifest, Snapshot, SnapshotError
from tests.support.full_disk import full_disk


def manifest_of(folder: Path, values: list[float], **fields: Any) -> Manifest:
    """Snapshots of one cycle after another, each with its value of `val_loss`; their files hold no weights."""
    manifest = Manifest(folder, **fields)
    for cycle, value in enumerate(values, start=1):
        file = f"cycle-{cycle:03d}_epoch-{cycle:04d}.weights.h5"
        snapshot = Snapshot(cycle, cycle, None, 0.1, {"val_loss": value}, file, "", "3", "a")
        manifest.add(snapshot, lambda path, cycle=cycle: Path(path).write_bytes(bytes(range(cycle, 24))))  # type: ignore[misc]
    return manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return manifest_of(tmp_path, [2.0, 1.0, math.nan])


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = manifest_of(tmp_path, [2.0, 1.0], schedule="WarmRestarts(T_0=1)", monitor="loss", mode="max")
    read = Manifest.read(tmp_path)
    assert read == written
    assert (read.schedule, read.monitor, read.mode) == ("WarmRestarts(T_0=1)", "loss", "max")
    assert all(read.path(snapshot).is_file() for snapshot in read.snapshots)


def test_a_snapshot_prints_what_a_person_reads() -> None:
    metrics = {"loss": 0.123456, "val_loss": math.nan, "hits": 3}
    file = "cycle-005_epoch-0020.weights.h5"
    snapshot = Snapshot(5, 20.0, 320, 6.022718974137975e-05, metrics, file, 64 * "f", "3.15.1", "dec9a67978ab8767")
    read = "cycle 5, epoch 20: rate 6.023e-05, loss 0.1235, val_loss nan, hits 3, in cycle-005_epoch-0020.weights.h5"
    assert str({"last": snapshot}) == f"{{'last': <Snapshot of {read}>}}"


def test_numbers_that_json_has_not_are_read_as_nan(manifest: Manifest) -> None:
    assert "NaN" not in (manifest.directory / MANIFEST).read_text()
    assert math.isnan(Manifest.read(manifest.directory).snapshots[-1].metrics["val_loss"])


def test_the_folder_is_absolute(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(manifest.directory.parent)
    relative = Manifest.read(manifest.directory.name)
    monkeypatch.chdir("/")
    assert relative.path(relative.snapshots[0]).is_file()
    assert Manifest(Path("new")).directory == Path("/new")


@pytest.mark.parametrize(("mode", "cycles"), [("auto", [2, 1, 3]), ("min", [2, 1, 3]), ("max", [1, 2, 3])])
def test_last_and_best(tmp_path: Path, mode: Any, cycles: list[int]) -> None:
    manifest = manifest_of(tmp_path, [2.0, 1.0, math.nan], mode=mode)
    assert [snapshot.cycle for snapshot in manifest.best(3)] == cycles
    assert [snapshot.cycle for snapshot in manifest.best()] == cycles[:1]
    assert [snapshot.cycle for snapshot in manifest.last(2)] == [2, 3]


def test_of_equals_the_later_is_best(tmp_path: Path) -> None:
    assert [snapshot.cycle for snapshot in manifest_of(tmp_path, [1.0, 1.0, 2.0]).best(2)] == [2, 1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "most"}, r'`mode` must be "auto", "min" or "max". Received: mode=\'most\''),
        ({"monitor": "val_score"}, r"must tell whether more is better.*monitor='val_score' and mode=\"auto\""),
    ],
)
def test_a_direction_that_is_not_known_is_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Manifest(tmp_path, **fields)


def test_every_truncation_of_a_snapshot_is_an_error_that_names_it(manifest: Manifest) -> None:
    snapshot = manifest.snapshots[0]
    path = manifest.path(snapshot)
    content = path.read_bytes()
    for length in reversed(range(len(content))):
        os.truncate(path, length)
        with pytest.raises(SnapshotError, match=f"{path.name}', whose content has changed"):
            manifest.path(snapshot)
    path.write_bytes(content)
    assert manifest.path(snapshot) == path


def test_flipped_bits_of_a_snapshot_are_an_error_that_names_it(manifest: Manifest) -> None:
    snapshot = manifest.snapshots[0]
    path = manifest.path(snapshot)
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        with pytest.raises(SnapshotError, match=f"{path.name}', whose content has changed"):
            manifest.path(snapshot)


def test_any_change_of_a_manifest_is_an_error_that_names_it(manifest: Manifest) -> None:
    path = manifest.directory / MANIFEST
    text = path.read_bytes()
    for length in range(0, len(text) - 1, 7):  # Without the last line break it is whole.
        path.write_bytes(text[:length])
        with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: "):
            Manifest.read(manifest.directory)
    flips, messages = random.Random(0), set()
    for _ in range(200):
        altered = bytearray(text)
        altered[flips.randrange(len(text))] ^= 1 << flips.randrange(8)
        path.write_bytes(altered)
        try:
            snapshots = Manifest.read(manifest.directory).snapshots
        except SnapshotError as error:
            messages.add(str(error).partition(", damaged: ")[0])
        else:
            # White space may change and change nothing.
            assert repr(snapshots) == repr(manifest.snapshots)
    assert messages == {f"The manifest of the snapshots must be as it was written. Received: {str(path)!r}"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"mode": "most"}, "`mode` must be"),
        ({"monitor": None}, "must tell whether more is better"),
        ({"snapshots": {"file": "../cycle-001_epoch-0001.weights.h5"}}, "not a snapshot"),
        ({"snapshots": {"cycle": 0}}, "not a snapshot"),
        ({"snapshots": {"code": "1"}}, "unknown entries"),
        ({"snapshots": {"cycle": 2}}, "listed twice"),
        ({"ended": -1}, "-1 is no number of a cycle"),
        ({"snapshots": {"measured": 1}}, "not a snapshot"),
        # Beyond the floats, with which metrics are compared.
        ({"snapshots": {"metrics": {"val_loss": 10**400}}}, "not a snapshot"),
        ({"snapshots": {"rate": math.nan}}, "not a snapshot"),
        ({"snapshots": {"epoch": math.inf}}, "not a snapshot"),
        ({"snapshots": [1]}, "'int'"),
        ({"snapshots": None}, "None is no list of snapshots"),
        ({"snapshots": ""}, "'' is no list of snapshots"),
        ({"snapshots": {"file": "\0.weights.h5"}}, "not a snapshot"),
        ({"snapshots": {"file": "\ud800.weights.h5"}}, "not a snapshot"),
    ],
)
def test_a_manifest_of_other_content_is_an_error(manifest: Manifest, change: dict[str, Any], reason: str) -> None:
    path = manifest.directory / MANIFEST
    content = json.loads(path.read_text())
    content.pop("sha256")
    if isinstance(change.get("snapshots"), dict):
        content["snapshots"][0].update(change["snapshots"])
    else:
        content.update(change)
    path.write_text(sealed(content))
    with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: .*{reason}"):
        Manifest.read(manifest.directory)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"sha256": ' * 100_000, "nested too deeply"),
        ('{"sha256": "", "a": ' + "[" * 900 + "]" * 900 + "}", "does not match|nested too deeply"),
        ('{"format": ' + "1" * 5000 + ', "sha256": ""}', "Exceeds the limit"),
        ("NaN", "no SHA-256"),
        ("[]", "no SHA-256"),
        ("", "Expecting value"),
    ],
)
def test_deep_and_huge_content_is_an_error(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: .*({reason}).*Restore it from a copy"):
        Manifest.read(tmp_path)


def test_a_manifest_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe")
    with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: .*decode"):
        Manifest.read(tmp_path)
    (tmp_path / "folder" / MANIFEST).mkdir(parents=True)
    with pytest.raises(SnapshotError, match=f"{MANIFEST}', damaged: .*directory"):
        Manifest.read(tmp_path / "folder")


@pytest.mark.parametrize("folder", [None, 3, b"runs", "a\0b"])
def test_what_is_no_path_is_refused(folder: Any) -> None:
    for use in (Manifest.read, Manifest):
        with pytest.raises(ValueError, match=r"`directory` must be the path of a folder. Received: directory="):
            use(folder)


FULL = r"must be written whole. Received: '.*{}', which could not be: .*File too large.*Make room, or pass another"


def test_on_a_full_disk_the_manifest_stays_as_it_was(manifest: Manifest) -> None:
    with full_disk(0), pytest.raises(SnapshotError, match=FULL.format(MANIFEST)):
        manifest.keep(manifest.snapshots[1:])
    read = Manifest.read(manifest.directory)
    assert repr(read.snapshots) == repr(manifest.snapshots)
    assert all(read.path(snapshot).is_file() for snapshot in read.snapshots)
    assert len(list(manifest.directory.iterdir())) == 4
    manifest.keep(manifest.snapshots[1:])
    assert len(Manifest.read(manifest.directory).snapshots) == 2


def test_what_is_replaced_is_listed_until_the_new_one_is_whole(manifest: Manifest) -> None:
    replaced = manifest.snapshots[1]

    def save(path: str) -> None:
        read = Manifest.read(manifest.directory)
        assert read.path(read.snapshots[1]).read_bytes() == bytes(range(2, 24))
        Path(path).write_bytes(b"new")

    names = ("cycle-002_epoch-0002_again.weights.h5", "cycle-002_epoch-0002.weights.h5")
    for name, write in zip(names, (save, lambda path: Path(path).touch()), strict=True):
        added = manifest.add(replaced, write)
        assert added.file == name
        read = Manifest.read(manifest.directory)
        assert read.snapshots[1] == added
        assert {path.name for path in manifest.directory.glob("*.h5")} == {each.file for each in read.snapshots}


def test_those_that_could_not_be_measured_are_told(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, [2.0, 1.0, 3.0])
    manifest.amend(replace(manifest.snapshots[0], metrics={"loss": 1.0}, measured=False))
    manifest.amend(replace(manifest.snapshots[1], measured=False))
    manifest.amend(replace(manifest.snapshots[2], metrics={"loss": 1.0}))
    assert [snapshot.cycle for snapshot in Manifest.read(tmp_path).unmeasured] == [1]


def test_a_manifest_of_before_is_read(manifest: Manifest) -> None:
    """Without what is new in it."""
    path = manifest.directory / MANIFEST
    content = json.loads(path.read_text())
    content.pop("sha256")
    content.pop("ended")
    for entry in content["snapshots"]:
        entry.pop("measured")
    path.write_text(sealed(content))
    assert repr(Manifest.read(manifest.directory)) == repr(manifest)
