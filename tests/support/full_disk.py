"""A disk that is full after so many bytes, as far as the files of this process go."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator

__all__ = ["full_disk"]


@contextlib.contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes meanwhile: the system call that would, fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
