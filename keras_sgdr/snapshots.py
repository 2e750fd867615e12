"""Snapshots on disk: the weights at the end of each cycle, and the manifest that lists them.

A folder holds `cycle-003_epoch-0070.weights.h5` and so on, and `snapshots.json`. Every file is written under another
name, forced to disk and renamed, and the manifest names a file only while that file is whole: a process killed at any
moment leaves a manifest of whole files. Loading reads JSON and weights, nothing that runs code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from keras_sgdr.arguments import is_integer, is_number, require

__all__ = [
    "FILES",
    "MANIFEST",
    "SUFFIX",
    "Manifest",
    "Mode",
    "Snapshot",
    "SnapshotError",
    "architecture",
    "rises",
    "sealed",
    "weights_alone",
]

MANIFEST = "snapshots.json"
SUFFIX = ".weights.h5"
FILES = f"cycle-*_epoch-*{SUFFIX}"
_FORMAT = 1
_UNFINISHED = ".unfinished-"

Mode: TypeAlias = Literal["auto", "min", "max"]


class SnapshotError(ValueError):
    """A snapshot or a manifest is missing, damaged or not what it was; the message names the file."""


@dataclass(frozen=True)
class Snapshot:
    """One line of the manifest.

    Attributes:
        cycle: Number of the cycle, from 1.
        epoch: Epochs completed at its end; a fraction where it ended inside one.
        update: Updates completed at its end, None where the steps of an epoch were unknown.
        rate: Learning rate of its last update.
        metrics: Metrics by name at its end.
        file: Name of the weights' file in the folder.
        sha256: The file's SHA-256, in hexadecimal.
        keras: Version of Keras that wrote it.
        architecture: Digest of the shapes of the model's weights: see `architecture`.
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
            # A plain name: a manifest from elsewhere is not to point out of its folder.
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
        directory: The folder.
        schedule: The schedule of the run, as it prints.
        snapshots: Its snapshots.
    """

    directory: Path
    schedule: str = ""
    snapshots: list[Snapshot] = field(default_factory=list)

    @classmethod
    def read(cls, directory: str | os.PathLike[str]) -> Self:
        """The manifest of a folder.

        Raises:
            SnapshotError: If there is none, or it is damaged.
        """
        path = Path(directory) / MANIFEST
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != _FORMAT:
                raise ValueError(f"format {found['format']!r}, where this version reads {_FORMAT}")
            if found.pop("sha256") != _digest(found):
                raise ValueError("its content does not match its SHA-256")
            snapshots = [_from_json(line) for line in found["snapshots"]]
            if len({one.cycle for one in snapshots}) < len(snapshots):
                raise ValueError("a cycle is listed twice")
            return cls(Path(directory), str(found["schedule"]), snapshots)
        except FileNotFoundError:
            raise SnapshotError(
                f"A folder of snapshots has a `{MANIFEST}`. Received: {str(directory)!r}, which has none. "
                "Pass the folder that a `SnapshotCheckpoint` wrote."
            ) from None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise SnapshotError(
                f"The manifest of the snapshots must be as it was written. Received: {str(path)!r}, damaged: {error}. "
                "Restore it from a copy."
            ) from error

    def write(self) -> None:
        """Write the manifest, whole or not at all."""
        lines = [_to_json(one) for one in self.snapshots]
        text = sealed({"format": _FORMAT, "schedule": self.schedule, "snapshots": lines})

        def write(unfinished: Path) -> None:
            unfinished.write_text(text, encoding="utf-8")

        _replace(self.directory / MANIFEST, write)

    def add(self, snapshot: Snapshot, save: Callable[[str], None]) -> Snapshot:
        """Save the weights of a snapshot and list it, in place of an earlier one of the same cycle.

        Args:
            snapshot: All of it but the `sha256`.
            save: Writes the weights to the path that it is given.

        Returns:
            The snapshot as it is listed.
        """
        if any(one.file == snapshot.file for one in self.snapshots):
            # The old file is about to go: the manifest must not list it while the new one takes its place.
            self._list(one for one in self.snapshots if one.file != snapshot.file)
        _replace(self.directory / snapshot.file, lambda unfinished: save(str(unfinished)))
        listed = replace(snapshot, sha256=_sha256(self.directory / snapshot.file))
        self._list([*(one for one in self.snapshots if one.cycle != snapshot.cycle), listed])
        return listed

    def amend(self, snapshot: Snapshot) -> None:
        """List a snapshot, whose file is unchanged, in place of the one of the same cycle."""
        self._list([*(one for one in self.snapshots if one.cycle != snapshot.cycle), snapshot])

    def keep(self, kept: Sequence[Snapshot]) -> None:
        """Remove the other snapshots, from the manifest first."""
        dropped = [one for one in self.snapshots if one not in kept]
        if dropped:
            self._list(kept)
            for one in dropped:
                (self.directory / one.file).unlink(missing_ok=True)

    def clean(self) -> None:
        """Remove what a killed process left: unfinished files, and snapshots that are not, or no longer, listed."""
        listed = {one.file for one in self.snapshots}
        for path in [*self.directory.glob(f"{_UNFINISHED}*"), *self.directory.glob(FILES)]:
            if path.name not in listed:
                path.unlink(missing_ok=True)

    def _list(self, snapshots: Iterable[Snapshot]) -> None:
        self.snapshots = sorted(snapshots, key=lambda one: one.cycle)
        self.write()

    def path(self, snapshot: Snapshot) -> Path:
        """Where a snapshot's file lies, after its content was checked.

        Raises:
            SnapshotError: If the file is missing, or not what was written.
        """
        path = self.directory / snapshot.file
        try:
            found = _sha256(path)
        except OSError as error:
            raise SnapshotError(
                f"A listed snapshot must be there. Received: {str(path)!r}, which cannot be read: {error.strerror}. "
                "Restore the file from a copy, or leave its cycle out."
            ) from error
        if found != snapshot.sha256:
            raise SnapshotError(
                f"A snapshot must be what was saved. Received: {str(path)!r}, whose content has changed since "
                f"(SHA-256 {found[:12]}... in place of {snapshot.sha256[:12]}...). Restore the file from a copy, or "
                "leave its cycle out."
            )
        return path

    def last(self, m: int = 1) -> list[Snapshot]:
        """The last `m` snapshots, in the order of their cycles."""
        return self.snapshots[-m:]

    def best(self, m: int = 1, monitor: str = "val_loss", mode: Mode = "auto") -> list[Snapshot]:
        """The best `m` snapshots by a metric, the best first; of equals the later. Those that lack it come last.

        Raises:
            ValueError: If all lack the metric.
        """
        up = rises(monitor, mode)
        if self.snapshots and not any(monitor in one.metrics for one in self.snapshots):
            names = sorted({name for one in self.snapshots for name in one.metrics})
            raise ValueError(
                f"`monitor` must be a metric of the snapshots. Received: monitor={monitor!r}, which none has. "
                f"Pass one of: {', '.join(names) or 'none was recorded'}."
            )

        def rank(snapshot: Snapshot) -> tuple[float, int]:
            value = snapshot.metrics.get(monitor, math.nan)
            return (math.inf if math.isnan(value) else -value if up else value), -snapshot.cycle

        return sorted(self.snapshots, key=rank)[:m]


@contextlib.contextmanager
def weights_alone(model: Any) -> Iterator[Any]:
    """A model whose files hold no optimizer: its state is as large again, and of no use to who predicts."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        yield model
        return
    model.optimizer = None
    try:
        yield model
    finally:
        model.optimizer = optimizer


def architecture(model: Any) -> str:
    """Digest of the shapes of a model's weights, in order: Keras loads a file that has more than the model without a
    word."""
    return hashlib.sha256(repr([tuple(one.shape) for one in model.weights]).encode()).hexdigest()[:16]


def sealed(content: dict[str, Any]) -> str:
    """The text of a manifest, with the SHA-256 of its content."""
    return json.dumps({**content, "sha256": _digest(content)}, indent=2) + "\n"


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def rises(monitor: str, mode: Mode = "auto") -> bool:
    """Whether more of a metric is better.

    Raises:
        ValueError: If `mode` is none, or `"auto"` and the name does not tell.
    """
    require(mode in ("auto", "min", "max"), '`mode` must be "auto", "min" or "max".', "mode", mode, "Pass one of them.")
    if mode != "auto":
        return mode == "max"
    name = monitor.removeprefix("val_").lower()
    if any(part in name for part in ("loss", "error", "mse", "mae", "entropy")):
        return False
    if any(part in name for part in ("acc", "auc", "f1", "precision", "recall", "iou")):
        return True
    raise ValueError(
        f"The name of a metric must tell whether more is better, or `mode` must. Received: monitor={monitor!r} and "
        'mode="auto". Pass mode="min" or mode="max".'
    )


def _to_json(snapshot: Snapshot) -> dict[str, Any]:
    # JSON has no infinities and no NaN.
    metrics = {name: value if math.isfinite(value) else None for name, value in snapshot.metrics.items()}
    return {**asdict(snapshot), "metrics": metrics}


def _from_json(line: dict[str, Any]) -> Snapshot:
    if unknown := set(line) - {one.name for one in fields(Snapshot)}:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    metrics = {name: math.nan if value is None else value for name, value in line["metrics"].items()}
    return Snapshot(**{**line, "metrics": metrics})


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file, and give it its name only once it is whole and on disk."""
    unfinished = path.with_name(f"{_UNFINISHED}{os.getpid()}-{path.name}")
    try:
        write(unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
