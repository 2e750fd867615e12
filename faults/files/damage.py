"""Damaged copies of a whole file, and what may lie where a file is expected."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Case", "changed", "content", "cut", "in_place_of", "other_content"]


class Case(NamedTuple):
    """A file to read.

    Attributes:
        name: What is wrong with it.
        write: Makes it.
        refused: Whether it must be refused; else it may be read, if right.
    """

    name: str
    write: Callable[[Path], object]
    refused: bool = True


def content(name: str, data: bytes, refused: bool = True) -> Case:
    """A file of these bytes."""
    return Case(name, lambda path: path.write_bytes(data), refused)


def cut(whole: bytes, count: int, draw: random.Random) -> Iterator[Case]:
    """Begins as a whole file does, and ends too early."""
    for kept in sorted({1, len(whole) - 1, *(draw.randrange(1, len(whole)) for _ in range(count))}):
        yield content(f"cut after {kept} of {len(whole)} bytes", whole[:kept])


def changed(whole: bytes, count: int, draw: random.Random) -> Iterator[Case]:
    """One byte is another one; in formats without a checksum it may be read."""
    # Half of them at its begin or its end, where formats keep what they need.
    edge = min(300, len(whole) // 3)
    for index in range(count):
        places = (range(len(whole)), range(edge), range(len(whole)), range(len(whole) - edge, len(whole)))[index % 4]
        place, bits = draw.choice(places), draw.randrange(1, 256)
        data = whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :]
        yield content(f"byte {place} of {len(whole)} is {data[place]:#x}", data, refused=False)


def other_content(whole: bytes, draw: random.Random) -> Iterator[Case]:
    """Of another kind altogether."""
    yield content("empty", b"")
    yield content("zeros", bytes(len(whole)))
    yield content("noise", draw.randbytes(len(whole)))
    yield content("text", b"These are no weights.\n" * 100)
    yield content("a web page", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n")
    yield content("a picture's begin", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100))
    yield content(
        "a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    )
    yield content("compressed once more", gzip.compress(whole))
    yield content("backwards", whole[::-1])
    yield content("without its first byte", whole[1:])


def in_place_of() -> Iterator[Case]:
    """What is no file."""
    yield Case("a folder", lambda path: path.mkdir())
    yield Case("a link to nothing", lambda path: path.symlink_to(path.with_name("nothing")))
    yield Case("a link to itself", lambda path: path.symlink_to(path))
    yield Case("nothing", lambda path: None)
