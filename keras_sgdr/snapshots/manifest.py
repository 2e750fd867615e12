"""Snapshots on disk: files of the weights at the end of each cycle, and the manifest that lists them.

A folder holds `cycle-003_epoch-0070.weights.h5` and so on, and `snapshots.json`. Every file is written under another
name, forced to disk and renamed, and the manifest names a file only while that file is whole: a process killed at any
moment leaves a manifest of whole files. A snapshot that is replaced stays listed until the new one is whole. Loading
reads JSON and weights, nothing that runs code.
"""

from __future__ import annotations

import functools
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from keras_sgdr._checks import invalid, is_integer, require
from keras_sgdr._files import UNFINISHED, absolute, read_sealed, replace_file, sealed, sha256
from keras_sgdr.snapshots.scores import Mode, higher_is_better
from keras_sgdr.snapshots.snapshot import SUFFIX, Snapshot, SnapshotError

__all__ = ["FILES", "MANIFEST", "Manifest"]

MANIFEST = "snapshots.json"
FILES = f"cycle-*_epoch-*{SUFFIX}"
_FORMAT = 1
# As `replace_file` names the files that it has not finished.
_UNFINISHED = re.compile(rf"{re.escape(UNFINISHED)}\d+-.*({re.escape(SUFFIX)}|{re.escape(MANIFEST)})")


@dataclass
class Manifest:
    """The snapshots of a folder, in the order of their cycles.

    Args:
        directory: The folder; kept as an absolute path.
        schedule: The schedule of the run, as it prints.
        snapshots: Its snapshots.
        monitor: Metric that says which of them is best.
        mode: `"min"`, `"max"`, or `"auto"` to go by the metric's name.
        ended: Number of the last cycle that was saved with its metrics, dropped or refused.

    Raises:
        ValueError: If `directory` is no path, `mode` is none of the three, or `"auto"` and the metric's name does not
            tell.
    """

    directory: Path
    schedule: str = ""
    snapshots: list[Snapshot] = field(default_factory=list)
    monitor: str = "val_loss"
    mode: Mode = "auto"
    ended: int = 0

    def __post_init__(self) -> None:
        self.directory = absolute("directory", self.directory)
        higher_is_better(self.monitor, self.mode)

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> Self:
        """The manifest of a folder.

        Raises:
            SnapshotError: If there is none, or it is damaged.
            ValueError: If `directory` is no path.
        """
        path = absolute("directory", directory) / MANIFEST
        try:
            return cls.from_text(path.parent, path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise SnapshotError(
                f"A folder of snapshots has a `{MANIFEST}`. Received: {str(path.parent)!r}, which has none. "
                "Pass the folder that a `SnapshotCheckpoint` wrote."
            ) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise SnapshotError(
                f"The manifest of the snapshots must be as it was written. Received: {str(path)!r}, damaged: "
                f"{str(error).rstrip('.')}. Restore it from a copy."
            ) from error

    @classmethod
    def of_folder(cls, directory: Path) -> Self:
        """Read the manifest of a folder; a new one where it has none.

        Raises:
            ValueError: If there are snapshots that no manifest lists.
            SnapshotError: If it is damaged.
        """
        if (directory / MANIFEST).exists():
            return cls.read(directory)
        if any(directory.glob(FILES)):
            raise invalid(
                f"A folder of snapshots has its `{MANIFEST}`.",
                f"directory={str(directory)!r}, which has snapshots and no manifest",
                "Pass another folder.",
            )
        return cls(directory)

    @classmethod
    def from_text(cls, directory: Path, text: str) -> Self:
        """The manifest of a folder from the text of its file, whatever is wrong with it an error."""
        content = read_sealed(text)
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}, where this version reads {_FORMAT}")
        if not isinstance(entries := content["snapshots"], list):
            raise ValueError(f"{entries!r} is no list of snapshots")
        snapshots = [Snapshot.from_json(entry) for entry in entries]
        if len({snapshot.cycle for snapshot in snapshots}) < len(snapshots):
            raise ValueError("a cycle is listed twice")
        if not is_integer(ended := content.get("ended", 0), 0):
            raise ValueError(f"{ended!r} is no number of a cycle")
        return cls(directory, str(content["schedule"]), snapshots, str(content["monitor"]), content["mode"], ended)

    @property
    def text(self) -> str:
        """The text of its file."""
        head = {"format": _FORMAT, "schedule": self.schedule, "monitor": self.monitor, "mode": self.mode}
        return sealed({**head, "ended": self.ended, "snapshots": [snapshot.to_json() for snapshot in self.snapshots]})

    def write(self) -> None:
        """Write the manifest, whole or not at all.

        Raises:
            SnapshotError: If it cannot be written, as where the disk is full; so for all that writes.
        """
        text = self.text
        _write(self.directory / MANIFEST, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))

    def add(self, snapshot: Snapshot, save: Callable[[str], object], replaced: Sequence[Snapshot] = ()) -> Snapshot:
        """Save the weights of a snapshot and list it, in place of an earlier one of the same cycle.

        Args:
            snapshot: All of it but the `sha256`.
            save: Writes the weights to the path that it is given.
            replaced: Others in whose place it is listed.

        Returns:
            The snapshot as it is listed.
        """
        if any(listed.file == snapshot.file for listed in self.snapshots):
            # A name of its own: the old file stays, and stays listed, until the new one is whole.
            snapshot = replace(snapshot, file=f"{snapshot.file.removesuffix(SUFFIX)}_again{SUFFIX}")
        path = self.directory / snapshot.file
        _write(path, lambda unfinished: save(str(unfinished)))
        snapshot = replace(snapshot, sha256=sha256(path))
        self.amend(snapshot, replaced)
        return snapshot

    def amend(self, snapshot: Snapshot, replaced: Sequence[Snapshot] = ()) -> None:
        """List a snapshot, whose file is whole, in place of the one of the same cycle, and of others."""
        others = (each for each in self.snapshots if each.cycle != snapshot.cycle and each not in replaced)
        self._list([*others, snapshot])

    def keep(self, snapshots: Sequence[Snapshot]) -> None:
        """Remove the other snapshots."""
        if any(listed not in snapshots for listed in self.snapshots):
            self._list(snapshots)

    def _list(self, snapshots: Iterable[Snapshot]) -> None:
        """List these snapshots, and then remove the files of those that are no longer listed."""
        listed = sorted(snapshots, key=lambda snapshot: snapshot.cycle)
        replace(self, snapshots=listed).write()
        dropped = {snapshot.file for snapshot in self.snapshots} - {snapshot.file for snapshot in listed}
        self.snapshots = listed
        for file in dropped:
            (self.directory / file).unlink(missing_ok=True)

    def copy(self, directory: str | os.PathLike[str], snapshots: Sequence[Snapshot]) -> None:
        """Copy snapshots into another folder, which lists all of them at the end; broken off before, it lists none.

        Raises:
            SnapshotError: If a file is missing or damaged, or cannot be written.
            ValueError: If the folder has snapshots.
        """
        copy = replace(self, directory=absolute("directory", directory), snapshots=list(snapshots))
        paths = [copy.directory / name for name in (MANIFEST, *(snapshot.file for snapshot in snapshots))]
        rule = "An ensemble must be saved into a folder of its own, without snapshots."
        found = [path.name for path in paths if path.exists()]
        require(not found, rule, "directory", f"{copy.directory}, which has {', '.join(found)}", "Pass another folder.")
        try:
            for snapshot, path in zip(snapshots, paths[1:], strict=True):
                _write(path, functools.partial(shutil.copyfile, self.path(snapshot)))
            copy.write()
        except BaseException:
            for path in paths:
                path.unlink(missing_ok=True)
            raise

    def clean(self) -> None:
        """Remove what a killed process has left unfinished; a file that is not listed may be the user's."""
        for path in self.directory.iterdir():
            if _UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def path(self, snapshot: Snapshot) -> Path:
        """Path of a snapshot's file, whose content is checked first.

        Raises:
            SnapshotError: If the file is missing, or not what was written.
        """
        path = self.directory / snapshot.file
        try:
            digest = sha256(path)
        except OSError as error:
            raise SnapshotError(
                f"A listed snapshot must be there. Received: {str(path)!r}, which cannot be read: {error.strerror}. "
                "Restore the file from a copy, or leave its cycle out."
            ) from error
        if digest != snapshot.sha256:
            raise SnapshotError(
                f"A snapshot must be what was saved. Received: {str(path)!r}, whose content has changed since "
                f"(SHA-256 {digest[:12]}... in place of {snapshot.sha256[:12]}...). Restore the file from a copy, or "
                "leave its cycle out."
            )
        return path

    def last(self, n: int = 1) -> list[Snapshot]:
        """The last `n` snapshots, in the order of their cycles."""
        return self.snapshots[-n:]

    @property
    def unmeasured(self) -> list[Snapshot]:
        """The snapshots that lack `monitor` because a run was stopped, so that it is not known how good they are."""
        return [each for each in self.snapshots if not each.measured and self.monitor not in each.metrics]

    def best(self, n: int = 1) -> list[Snapshot]:
        """The best `n` snapshots by `monitor`, the best first; of equals the later. Those that lack it come last.

        Raises:
            ValueError: If all lack the metric.
        """
        if self.snapshots and not any(self.monitor in snapshot.metrics for snapshot in self.snapshots):
            names = sorted({name for snapshot in self.snapshots for name in snapshot.metrics})
            raise invalid(
                "`monitor` must be a metric of the snapshots.",
                f"monitor={self.monitor!r}, which none has",
                "For one that begins with val_ pass `validation_data` to `fit`; or set the `monitor` of "
                f"`SnapshotCheckpoint`, or of the manifest, to one that there is: {', '.join(names) or 'none'}.",
            )
        sign = -1 if higher_is_better(self.monitor, self.mode) else 1

        def rank(snapshot: Snapshot) -> tuple[float, int]:
            value = snapshot.metrics.get(self.monitor, math.nan)
            return (math.inf if math.isnan(value) else sign * value), -snapshot.cycle

        return sorted(self.snapshots, key=rank)[:n]


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file as `replace_file` does."""
    try:
        replace_file(path, write)
    except OSError as error:
        raise SnapshotError(str(error)) from error
