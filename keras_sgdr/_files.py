"""Files that are whole or not there, and JSON that says when it was changed. For snapshots and for study records."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_sgdr._checks import require

__all__ = [
    "UNFINISHED",
    "absolute",
    "from_null",
    "path_of",
    "read_sealed",
    "replace_file",
    "sealed",
    "sha256",
    "to_null",
]

# How the names of files begin that are being written; what is left of them, a killed process has left.
UNFINISHED = ".unfinished-"


def absolute(name: str, folder: Any) -> Path:
    """The path of a folder, which stays the same where the working directory changes.

    Raises:
        ValueError: If it is no path.
    """
    return path_of(name, folder, 'Pass a `str` such as "runs", or a `Path`.', "a folder").absolute()


def path_of(name: str, value: Any, fix: str, kind: str) -> Path:
    """What is given as a path.

    Raises:
        ValueError: If it is none.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    valid = isinstance(path, str) and "\0" not in path
    require(valid, f"`{name}` must be the path of {kind}.", name, value, fix)
    return Path(value)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file, in a folder that is made too, and give it its name only once it is whole and on disk.

    Raises:
        OSError: If it cannot be written, as where the disk is full. It names the file.
    """
    unfinished = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(unfinished)
            with unfinished.open("rb+") as file:
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:  # On a full disk, those of HDF5 are of either kind.
        raise OSError(
            f"A file must be written whole. Received: {str(path)!r}, which could not be: {error}. Make room, or pass "
            "another path; what was there before is as it was."
        ) from error


def _sync(folder: Path) -> None:
    """Put on disk what a folder lists."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(content: Mapping[str, Any], indent: int | None = 2) -> str:
    """JSON of the content, with the SHA-256 of it under `"sha256"`; in one line where `indent` is None."""
    return json.dumps({**content, "sha256": _digest(content)}, indent=indent) + "\n"


def read_sealed(text: str) -> dict[str, Any]:
    """The content of what `sealed` made.

    Raises:
        ValueError: If it is no JSON object, or was changed since.
    """
    try:
        content = json.loads(text)
        if not isinstance(content, dict) or "sha256" not in content:
            raise ValueError("it has no SHA-256 of its content")
        if content.pop("sha256") != _digest(content):
            raise ValueError("its content does not match its SHA-256")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return content


def to_null(values: Iterable[float]) -> list[float | None]:
    """Numbers for JSON, which has no infinities and no NaN: None in their place."""
    return [value if math.isfinite(value) else None for value in values]


def from_null(values: Iterable[float | None]) -> list[float]:
    """Numbers from JSON, NaN in place of None."""
    return [math.nan if value is None else value for value in values]


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
