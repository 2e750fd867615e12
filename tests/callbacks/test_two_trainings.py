"""Two trainings that would write their snapshots into one folder: the second is refused, before it trains."""

from __future__ import annotations

import contextlib
import gc
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from keras_sgdr import SGDR
from keras_sgdr._folder_lock import LOCK
from keras_sgdr.callbacks import SnapshotCheckpoint
from tests.support.probe import Raise, sgdr
from tests.support.small_model import train
from tests.support.snapshots import At, model, whole_files

IN_USE = r"A folder is for one training at a time. Received: directory='.*', into which another training writes, of "


def test_a_training_within_another_is_refused_and_the_other_goes_on(tmp_path: Path) -> None:
    def second() -> None:
        with pytest.raises(ValueError, match=rf"{IN_USE}this process. Pass another folder, or wait until"):
            train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True))

    train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path), At("on_epoch_begin", 1, second))
    assert len(whole_files(tmp_path)) == 3


def test_a_training_in_another_thread_is_refused(tmp_path: Path) -> None:
    began, refused = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        refused.wait(60)

    callbacks = [SGDR(1, 1), SnapshotCheckpoint(tmp_path), At("on_epoch_begin", 1, wait)]
    first = threading.Thread(target=train, args=(model(), *callbacks))
    first.start()
    try:
        assert began.wait(60)
        with pytest.raises(ValueError, match=IN_USE):
            train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path, resume=True))
    finally:
        refused.set()
        first.join(60)
    assert len(whole_files(tmp_path)) == 3


def test_two_of_one_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=IN_USE):
        train(model(), SGDR(1, 1), SnapshotCheckpoint(tmp_path), SnapshotCheckpoint(tmp_path, resume=True))


@pytest.mark.filterwarnings("ignore:With `resume=True` the folder is that of:UserWarning")
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_epoch_end"])
@pytest.mark.parametrize("same", [True, False])
def test_a_fit_that_was_left_by_an_exception_makes_way_for_the_next(tmp_path: Path, hook: str, same: bool) -> None:
    trained, keeper = model(), SnapshotCheckpoint(tmp_path, resume=True)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        train(trained, SGDR(1, 1), keeper, Raise(hook))
    # What was raised, and with it the frame of that `fit`, is still there: as in a notebook.
    train(trained, SGDR(1, 1), keeper if same else SnapshotCheckpoint(tmp_path, resume=True))
    assert interrupted.tb is not None
    assert len(whole_files(tmp_path)) == 3
    assert not (tmp_path / LOCK).exists()


def test_the_folder_is_free_once_a_fit_has_ended_or_raised(tmp_path: Path) -> None:
    keeper = SnapshotCheckpoint(tmp_path)
    with contextlib.suppress(RuntimeError):  # Not by pytest, which keeps what is raised.
        train(model(), sgdr(), keeper, Raise("on_train_batch_begin", RuntimeError))
    gc.collect()  # On JAX, Keras leaves circles of references.
    assert not (tmp_path / LOCK).exists()
    train(model(), sgdr(), keeper)
    assert not (tmp_path / LOCK).exists()
    with pytest.raises(ValueError, match="belongs to one run"):
        train(model(), sgdr(), keeper)
    assert not (tmp_path / LOCK).exists()


TRAINING = """
import sys
from keras_sgdr import SGDR
from keras_sgdr.callbacks import SnapshotCheckpoint
from tests.support.small_model import train
from tests.support.snapshots import At, model
print("ready", flush=True)
sys.stdin.readline()
wait = At("on_epoch_begin", 1, lambda: (print("training", flush=True), sys.stdin.readline()))
train(model(), SGDR(1, 1), SnapshotCheckpoint(sys.argv[1]), wait, epochs=4)
"""


@pytest.mark.slow
def test_of_two_processes_begun_together_one_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TRAINING, str(tmp_path)]
    pipes: Any = {"text": True, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    try:
        for process in both:
            assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
        for process in both:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        begun = [process.stdout.readline() for process in both]  # type: ignore[union-attr]
        errors = [process.communicate("\n", timeout=120)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert sorted(begun) == ["", "training\n"]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert re.search(rf"{IN_USE}process {both[begun.index('training' + chr(10))].pid} on ", "".join(errors))
    assert len(whole_files(tmp_path)) == 4
