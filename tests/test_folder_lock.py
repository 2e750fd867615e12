"""A folder is for one training at a time, of this process and of others; one that has ended does not keep it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keras_sgdr._folder_lock import LOCK, FolderLock

# Keeps the lock file locked, with the parts of the module that import nothing of Keras.
HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
sys.modules["keras_sgdr"] = type(sys)("keras_sgdr")
sys.modules["keras_sgdr"].__path__ = [sys.argv[1] + "/keras_sgdr"]
from keras_sgdr._folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[2]), lambda: False)
print("locked", flush=True)
sys.stdin.read()
lock.release()
"""


@contextlib.contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    root = Path(sys.modules["keras_sgdr"].__path__[0]).parent
    command = [sys.executable, "-c", HOLDER, str(root), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(folder: Path) -> bool:
    try:
        FolderLock(folder, lambda: False).release()
    except ValueError:
        return False
    return True


def test_the_folder_is_made_and_left_as_it_was(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "a" / "b", lambda: False)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [LOCK]
    lock.release()
    lock.release()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_another_training_of_this_process_is_refused(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, lambda: False)
    (tmp_path.parent / "link").unlink(missing_ok=True)
    (tmp_path.parent / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path.parent / "link"):
        with pytest.raises(
            ValueError,
            match=r"A folder is for one training at a time. Received: directory='.*', into which another training "
            r"writes, of this process. Pass another folder, or wait until",
        ):
            FolderLock(folder, lambda: False)
    lock.release()
    assert is_free(tmp_path)


def test_what_is_over_makes_way(tmp_path: Path) -> None:
    first = FolderLock(tmp_path, lambda: True)
    second = FolderLock(tmp_path, lambda: False)
    first.release()
    assert not is_free(tmp_path)
    second.release()
    assert is_free(tmp_path)


def test_another_process_is_refused_until_it_ends(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as holder:
        with pytest.raises(ValueError, match=rf"into which another training writes, of process {holder.pid} on .*Pass"):
            FolderLock(tmp_path, lambda: True)
        holder.communicate("")
    assert is_free(tmp_path)


def test_a_killed_process_does_not_keep_it(tmp_path: Path) -> None:
    with held_by_another_process(tmp_path) as holder:
        holder.kill()
        holder.wait()
    assert (tmp_path / LOCK).exists()
    assert is_free(tmp_path)
    assert not (tmp_path / LOCK).exists()


@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")  # By JAX; the child uses none of it.
def test_a_fork_neither_keeps_nor_ends_it(tmp_path: Path) -> None:
    """As of a worker that loads data, which may outlive its parent."""
    lock = FolderLock(tmp_path, lambda: False)
    child = os.fork()
    if child == 0:
        lock.release()
        try:
            FolderLock(tmp_path, lambda: False)
        except ValueError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / LOCK).exists()
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        lock.release()
        assert is_free(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_folder_that_cannot_be_written_into_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ValueError,
        match=r"that can be written into. Received: directory='.*file': .* exists: '.*file'. Pass another folder",
    ):
        FolderLock(tmp_path / "file", lambda: False)


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / "folder").mkdir()
    for target in (elsewhere, tmp_path / "new"):
        (tmp_path / "folder" / LOCK).unlink(missing_ok=True)
        (tmp_path / "folder" / LOCK).symlink_to(target)
        with pytest.raises(ValueError, match=rf"that can be written into\. Received: .*{LOCK}'\. Pass another folder"):
            FolderLock(tmp_path / "folder", lambda: False)
    assert elsewhere.read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_where_files_cannot_be_locked_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.lockf", refuse)
    assert is_free(tmp_path)
