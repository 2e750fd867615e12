"""Snapshots on disk: the weights at the end of each cycle, and the manifest that lists them.

A folder holds `cycle-003_epoch-0070.weights.h5` and so on, and `snapshots.json`. Every file is written under another
name, forced to disk and renamed, and the manifest names a file only while that file is whole: a process killed at any
moment leaves a manifest of whole files. Loading reads JSON and weights, nothing that runs code.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from keras_sgdr._checks import invalid, is_integer, is_number
from keras_sgdr._files import UNFINISHED, from_null, read_sealed, replace_file, sealed, sha256, to_null
from keras_sgdr.snapshots.scores import Mode, higher_is_better

__all__ = ["FILES", "MANIFEST", "SUFFIX", "Manifest", "Snapshot", "SnapshotError"]

MANIFEST = "snapshots.json"
SUFFIX = ".weights.h5"
FILES = f"cycle-*_epoch-*{SUFFIX}"
_FORMAT = 1


class SnapshotError(ValueError):
    """A snapshot or a manifest is missing, damaged or not what it was; the message names the file."""


@dataclass(frozen=True)
class Snapshot:
    """An entry of the manifest: the weights at the end of a cycle.

    Attributes:
        cycle: Number of the cycle, from 1.
        epoch: Epochs completed at its end; a fraction where it ended inside one.
        update: Updates completed at its end, None where the steps of an epoch were unknown.
        rate: Learning rate of its last update.
        metrics: Metrics by name at its end.
        file: Name of the weights' file in the folder.
        sha256: The file's SHA-256, in hexadecimal.
        keras: Version of Keras that wrote it.
        architecture: Digest of the shapes of the model's weights: see `model_weights.architecture`.
        weight: Its share in an ensemble, relative to the others'.
    """

    cycle: int
    epoch: float
    update: int | None
    rate: float
    metrics: dict[str, float]
    file: str
    sha256: str
    keras: str
    architecture: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        valid = (
            is_integer(self.cycle)
            and is_number(self.epoch)
            and (self.update is None or is_integer(self.update, 0))
            and is_number(self.rate)
            and isinstance(self.metrics, dict)
            and all(isinstance(value, int | float) for value in self.metrics.values())
            # A plain name: a manifest from elsewhere must not point out of its folder.
            and isinstance(self.file, str)
            and Path(self.file).name == self.file
            and self.file.endswith(SUFFIX)
            and isinstance(self.sha256, str)
            and isinstance(self.keras, str)
            and isinstance(self.architecture, str)
            and is_number(self.weight)
            and self.weight >= 0
        )
        if not valid:
            raise ValueError(f"not a snapshot: {self!r}")


@dataclass
class Manifest:
    """The snapshots of a folder, in the order of their cycles.

    Args:
        directory: The folder; kept as an absolute path.
        schedule: The schedule of the run, as it prints.
        snapshots: Its snapshots.
        monitor: Metric that says which of them is best.
        mode: `"min"`, `"max"`, or `"auto"` to go by the metric's name.

    Raises:
        ValueError: If `mode` is none of the three, or `"auto"` and the metric's name does not tell.
    """

    directory: Path
    schedule: str = ""
    snapshots: list[Snapshot] = field(default_factory=list)
    monitor: str = "val_loss"
    mode: Mode = "auto"

    def __post_init__(self) -> None:
        self.directory = Path(self.directory).absolute()
        higher_is_better(self.monitor, self.mode)

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> Self:
        """The manifest of a folder.

        Raises:
            SnapshotError: If there is none, or it is damaged.
        """
        path = Path(directory).absolute() / MANIFEST
        try:
            return cls.from_text(path.parent, path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SnapshotError(
                f"A folder of snapshots has a `{MANIFEST}`. Received: {str(path.parent)!r}, which has none. "
                "Pass the folder that a `SnapshotCheckpoint` wrote."
            ) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise SnapshotError(
                f"The manifest of the snapshots must be as it was written. Received: {str(path)!r}, damaged: {error}. "
                "Restore it from a copy."
            ) from error

    @classmethod
    def from_text(cls, directory: Path, text: str) -> Self:
        """The manifest of a folder from the text of its file, whatever is wrong with it an error."""
        content = read_sealed(text)
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}, where this version reads {_FORMAT}")
        snapshots = [_from_json(entry) for entry in content["snapshots"]]
        if len({snapshot.cycle for snapshot in snapshots}) < len(snapshots):
            raise ValueError("a cycle is listed twice")
        return cls(directory, str(content["schedule"]), snapshots, str(content["monitor"]), content["mode"])

    @property
    def text(self) -> str:
        """The text of its file."""
        head = {"format": _FORMAT, "schedule": self.schedule, "monitor": self.monitor, "mode": self.mode}
        return sealed({**head, "snapshots": [_to_json(snapshot) for snapshot in self.snapshots]})

    def write(self) -> None:
        """Write the manifest, whole or not at all."""
        text = self.text
        replace_file(self.directory / MANIFEST, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))

    def add(self, snapshot: Snapshot, save: Callable[[str], object]) -> Snapshot:
        """Save the weights of a snapshot and list it, in place of an earlier one of the same cycle.

        Args:
            snapshot: All of it but the `sha256`.
            save: Writes the weights to the path that it is given.

        Returns:
            The snapshot as it is listed.
        """
        if any(listed.file == snapshot.file for listed in self.snapshots):
            # The old file is about to go: the manifest must not list it while the new one takes its place.
            self._list(listed for listed in self.snapshots if listed.file != snapshot.file)
        path = self.directory / snapshot.file
        replace_file(path, lambda unfinished: save(str(unfinished)))
        snapshot = replace(snapshot, sha256=sha256(path))
        self.amend(snapshot)
        return snapshot

    def amend(self, snapshot: Snapshot) -> None:
        """List a snapshot, whose file is whole, in place of the one of the same cycle."""
        self._list([*(listed for listed in self.snapshots if listed.cycle != snapshot.cycle), snapshot])

    def keep(self, snapshots: Sequence[Snapshot]) -> None:
        """Remove the other snapshots, from the manifest first."""
        dropped = [listed for listed in self.snapshots if listed not in snapshots]
        if dropped:
            self._list(snapshots)
            for snapshot in dropped:
                (self.directory / snapshot.file).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what a killed process left: unfinished files, and snapshots that are not, or no longer, listed."""
        listed = {snapshot.file for snapshot in self.snapshots}
        for path in [*self.directory.glob(f"{UNFINISHED}*"), *self.directory.glob(FILES)]:
            if path.name not in listed:
                path.unlink(missing_ok=True)

    def _list(self, snapshots: Iterable[Snapshot]) -> None:
        self.snapshots = sorted(snapshots, key=lambda snapshot: snapshot.cycle)
        self.write()

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
                "Set the manifest's `monitor`, as `SnapshotCheckpoint(monitor=...)` does, to one of: "
                f"{', '.join(names) or 'none was recorded'}.",
            )
        sign = -1 if higher_is_better(self.monitor, self.mode) else 1

        def rank(snapshot: Snapshot) -> tuple[float, int]:
            value = snapshot.metrics.get(self.monitor, math.nan)
            return (math.inf if math.isnan(value) else sign * value), -snapshot.cycle

        return sorted(self.snapshots, key=rank)[:n]


def _to_json(snapshot: Snapshot) -> dict[str, Any]:
    metrics = dict(zip(snapshot.metrics, to_null(snapshot.metrics.values()), strict=True))
    return {**asdict(snapshot), "metrics": metrics}


def _from_json(entry: dict[str, Any]) -> Snapshot:
    if unknown := set(entry) - {attribute.name for attribute in fields(Snapshot)}:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    metrics = dict(zip(entry["metrics"], from_null(entry["metrics"].values()), strict=True))
    return Snapshot(**{**entry, "metrics": metrics})
