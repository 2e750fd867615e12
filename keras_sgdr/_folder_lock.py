"""One training at a time in a folder: a lock of the operating system, which ends with the process that holds it."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from keras_sgdr._checks import invalid

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["LOCK", "FolderLock"]

LOCK = ".training.lock"

_GUARD = threading.RLock()


class FolderLock:
    """A folder that is made if it is not there, and that no other training may take until `release`.

    Args:
        folder: The folder.
        is_over: Whether the training has ended without `release`; asked when another one of this process begins.

    Raises:
        ValueError: If another training has it, or it cannot be written into.
    """

    def __init__(self, folder: Path, is_over: Callable[[], bool]) -> None:
        self._path = folder / LOCK
        self._is_over = is_over
        self._process = os.getpid()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            status = folder.stat()
            self._folder = (status.st_dev, status.st_ino)
            with _GUARD:
                # The operating system refuses other processes only.
                holder = _HELD.get(self._folder)
                if holder is not None:
                    if holder._process == self._process and not holder._is_over():
                        raise BlockingIOError("this process")
                    holder.release()
                self._descriptor = _locked(self._path)
                _HELD[self._folder] = self
        except BlockingIOError as error:
            raise invalid(
                "A folder is for one training at a time.",
                f"directory={str(folder)!r}, into which another training writes, of {error}",
                "Pass another folder, or wait until that training has ended.",
            ) from None
        except OSError as error:
            raise invalid(
                "A folder must be one that can be written into.",
                f"directory={str(folder)!r}: {error}",
                "Pass another folder, or make room and give the right to write there.",
            ) from error

    def release(self) -> None:
        """Let another training have the folder, if none has it yet."""
        with _GUARD:
            if _HELD.get(self._folder) is not self:
                return
            del _HELD[self._folder]
            # A fork has a copy of the descriptor, but not the lock.
            if self._process == os.getpid():
                with contextlib.suppress(OSError):  # Windows removes no open file, which does no harm.
                    self._path.unlink()
            os.close(self._descriptor)


# Those of this process, by device and number of the folder.
_HELD: dict[tuple[int, int], FolderLock] = {}


def _locked(path: Path) -> int:
    """Descriptor of the file, made if it is not there, and locked.

    Raises:
        BlockingIOError: If another process has locked it; says which.
    """
    while True:
        # What is signed must not be a file elsewhere that a link of this name leads to.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            _lock(descriptor)
            with contextlib.suppress(FileNotFoundError):
                # Who had locked it may have removed it before it was locked here.
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    _sign(descriptor)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Say in the file who has locked it, for the message of others."""
    with contextlib.suppress(OSError):
        os.truncate(descriptor, os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode()))


def _lock(descriptor: int) -> None:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # Beyond the content, which others could not read else.
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            # Not `flock`: a fork, such as a worker that loads data, would keep that when this process is killed.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Other errors are of file systems that have no locks: there the user must take care.
        if error.errno in (errno.EACCES, errno.EAGAIN):
            os.lseek(descriptor, 0, os.SEEK_SET)
            holder = os.read(descriptor, 200).decode(errors="replace")
            raise BlockingIOError(holder or "another process") from None
