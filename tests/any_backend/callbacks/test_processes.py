"""Several processes that train one model: one writes its snapshots, and the others go by what it did."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any

import keras
import pytest

from keras_sgdr import SGDR, CycleEarlyStopping
from keras_sgdr.callbacks import SnapshotCheckpoint, early_stopping, snapshot_checkpoint
from keras_sgdr.snapshots import MANIFEST, Manifest, SnapshotError, processes
from tests.support.probe import sgdr
from tests.support.small_model import small_data, small_model, train
from tests.support.snapshots import Judge, warned
from tests.support.together import SECONDS, free_port, together


@pytest.mark.torch
@pytest.mark.slow
def test_ranks_of_torch_write_once_and_agree(tmp_path: Path) -> None:
    first, second = together("tests.support.torch_processes", tmp_path)
    # What rank 0 has measured.
    assert first["cycles"] == second["cycles"] == [[1, 1.0], [4, 2.0]]
    assert first["saved"] == second["saved"] == [1, 2, 3, 4]
    assert "A folder of snapshots belongs to one run." in first["error"]
    assert second["error"] == f"{first['error']} (In the process that writes the snapshots.)"
    manifest = Manifest.read(tmp_path / "snapshots")
    assert [manifest.path(each).name[:9] for each in manifest.snapshots] == ["cycle-001", "cycle-004"]
    assert len(list((tmp_path / "snapshots").iterdir())) == 3


@pytest.mark.tensorflow
@pytest.mark.slow
def test_workers_of_tensorflow_write_once_and_agree(tmp_path: Path) -> None:
    ports = f"{free_port()},{free_port()}"
    first, second = together("tests.support.tensorflow_workers", tmp_path, ports)
    assert first["cycles"] == second["cycles"] == [[1, 1.0], [4, 2.0]]
    assert len(list((tmp_path / "snapshots").iterdir())) == 3


@pytest.mark.jax
@pytest.mark.slow
def test_processes_of_jax_write_once_and_agree(tmp_path: Path) -> None:
    first, second = together("tests.support.jax_processes", tmp_path, free_port())
    assert first["cycles"] == second["cycles"] == [[1, 1.0], [4, 2.0]]
    assert len(list((tmp_path / "snapshots").iterdir())) == 3
    for report in (first, second):
        for callback in ("SnapshotCheckpoint", "CycleEarlyStopping"):
            assert "must be whole in each process. Received: 'sequential" in report[callback]
    assert not (tmp_path / "divided").exists()


@pytest.mark.jax
def test_the_first_process_of_jax_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax
    from jax.experimental import multihost_utils

    sent: list[Any] = []

    def broadcast(array: Any) -> Any:
        """What the first process sends; the second must send arrays of the same shapes."""
        if jax.process_index() == 0:
            sent.append(array)
            return array
        original = sent.pop(0)
        assert original.shape == array.shape
        return original

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", broadcast)
    for index in range(2):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        found = processes.processes_of(small_model("sgd"))
        assert found.writes is (index == 0)
        assert found.by_one(lambda: {"folder": "Schnappschüsse"}) == {"folder": "Schnappschüsse"}
        assert len(sent) == 2 - 2 * index


def test_one_process_alone_writes() -> None:
    found = processes.processes_of(small_model("sgd"))
    assert found.writes
    assert found.by_one(lambda: 3) == 3


def two_threads(writer: Callable[[Any], Any], other: Callable[[Any], Any]) -> None:
    """Run two processes that are threads of this one, each with its `Processes`."""
    sent: Queue[str] = Queue()

    def give(text: str) -> str:
        sent.put(text)
        return text

    thread = threading.Thread(target=writer, args=(processes._Several(True, give),))
    thread.start()
    try:
        other(processes._Several(False, lambda _: sent.get(timeout=SECONDS)))
    finally:
        thread.join(SECONDS)


@pytest.mark.parametrize(("error", "kind"), [(ValueError("no"), ValueError), (OSError("disk full"), RuntimeError)])
def test_an_error_is_everyones(error: Exception, kind: Any) -> None:
    def fail() -> None:
        raise error

    def writer(found: Any) -> None:
        with pytest.raises(type(error), match=str(error)):
            found.by_one(fail)

    def other(found: Any) -> None:
        with pytest.raises(kind, match=rf"{error}.* \(In the process that writes the snapshots.\)"):
            found.by_one(fail)

    two_threads(writer, other)


def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that the process that writes shares in a training whose second cycle diverges."""
    shared: list[str] = []

    def share(text: str) -> str:
        shared.append(text)
        return text

    monkeypatch.setattr(snapshot_checkpoint, "processes_of", lambda model: processes._Several(True, share))
    keeper = SnapshotCheckpoint(tmp_path / "snapshots", keep=("best", 2))
    judge = Judge([1, float("nan"), 3, 2])
    model = small_model(keras.optimizers.SGD(0.1))
    (said,) = warned(model, SGDR(1, 1), judge, keeper, epochs=4, validation_data=small_data())
    assert said.startswith("Cycle 2 ended in epoch 2 with val_loss=nan")
    return shared


def test_a_full_disk_at_the_validation_is_everyones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[str] = []

    def share(text: str) -> str:
        shared.append(text)
        return text

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(snapshot_checkpoint, "processes_of", lambda model: processes._Several(True, share))
    monkeypatch.setattr(snapshot_checkpoint, "save_weights", fail)
    model = small_model(keras.optimizers.SGD(0.1))
    with pytest.raises(SnapshotError, match="disk full"):
        train(model, SGDR(1, 1), SnapshotCheckpoint(tmp_path), epochs=1, validation_data=small_data())
    assert "disk full" in json.loads(shared[-1])["error"]


def test_who_does_not_write_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = iter(recorded(tmp_path, monkeypatch))
    before = {path.name: path.read_bytes() for path in (tmp_path / "snapshots").iterdir()}
    monkeypatch.setattr(
        snapshot_checkpoint, "processes_of", lambda model: processes._Several(False, lambda _: next(shared))
    )
    keeper = SnapshotCheckpoint(tmp_path / "snapshots", keep=("best", 2))
    judge = Judge([4, 3, 2, 1])
    train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1), judge, keeper, epochs=4, validation_data=small_data())
    assert next(shared, None) is None
    assert [each.cycle for each in keeper._manifest.snapshots] == [1, 4]
    assert (keeper._saved, keeper._refused) == ({1, 2, 3, 4}, {2})
    assert {path.name: path.read_bytes() for path in (tmp_path / "snapshots").iterdir()} == before


def test_another_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = iter(recorded(tmp_path, monkeypatch))
    monkeypatch.setattr(
        snapshot_checkpoint, "processes_of", lambda model: processes._Several(False, lambda _: next(shared))
    )
    with pytest.raises(ValueError, match=r"must have one `directory`. Received: directory='.*other'. Pass '.*s'"):
        train(small_model(keras.optimizers.SGD(0.1)), sgdr(), SnapshotCheckpoint(tmp_path / "other"))
    assert not (tmp_path / "other" / MANIFEST).exists()


def test_another_schedule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of `eta_max` found by a range test in each process."""
    shared = iter(recorded(tmp_path, monkeypatch))
    monkeypatch.setattr(
        snapshot_checkpoint, "processes_of", lambda model: processes._Several(False, lambda _: next(shared))
    )
    keeper = SnapshotCheckpoint(tmp_path / "snapshots")
    rule = r"must have one `schedule`. Received: schedule=.*eta_max=0.2.*. Pass .*eta_max=0.1"
    with pytest.raises(ValueError, match=rule):
        train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1, 0.2), keeper)


def test_all_stop_where_the_process_that_writes_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[str] = []

    def trained(judged: list[float], found: Any) -> CycleEarlyStopping:
        monkeypatch.setattr(early_stopping, "processes_of", lambda model: found)
        stopping = CycleEarlyStopping()
        train(small_model(keras.optimizers.SGD(0.1)), SGDR(1, 1), Judge(judged), stopping, epochs=4)
        return stopping

    def share(text: str) -> str:
        shared.append(text)
        return text

    assert trained([1, 2, 3, 4], processes._Several(True, share)).stopped_cycle == 2
    follower = trained([4, 3, 2, 1], processes._Several(False, lambda _: shared.pop(0)))
    assert (follower.stopped_cycle, follower.best_cycle, follower.best, shared) == (2, 1, 1, [])
