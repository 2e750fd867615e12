"""The runs of a study on disk: a file each, written once, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from keras_sgdr.study.study import Study

__all__ = ["Folder", "Record", "Run"]

_DONE, _FAILED, _UNFINISHED = ".json", ".failed.json", ".unfinished-"
_FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A schedule's name and a seed."""

    schedule: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its file without the ending."""
        readable = re.sub(r"[^a-z0-9.]+", "-", self.schedule.lower()).strip("-.")
        # Two names may read alike.
        digest = hashlib.sha256(self.schedule.encode()).hexdigest()[:6]
        return f"{readable}-{digest}_seed-{self.seed:03d}"


@dataclass(frozen=True)
class Record:
    """A run that is done.

    Attributes:
        schedule: Name of its schedule.
        seed: Its seed.
        settings: What the schedule is, as JSON.
        study: What all runs of a study share, as JSON.
        fingerprint: Digest of the model: see `Trainer`.
        seconds: What it took.
        metrics: By name the values of the epochs; NaN where they were not finite.
    """

    schedule: str
    seed: int
    settings: dict[str, Any]
    study: dict[str, Any]
    fingerprint: str
    seconds: float
    metrics: dict[str, list[float]]

    @classmethod
    def of(cls, study: Study, run: Run, fingerprint: str, seconds: float, metrics: dict[str, list[float]]) -> Self:
        """What a run of a study came to."""
        shared = study.settings(run.schedule), study.shared
        return cls(run.schedule, run.seed, *shared, fingerprint, seconds, metrics)

    @property
    def run(self) -> Run:
        return Run(self.schedule, self.seed)


class Folder:
    """The files of a study's runs. On a cluster all machines must see it.

    Args:
        path: The folder; made when the first run is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def write(self, record: Record) -> None:
        """Keep a run that is done, and forget that it once failed."""
        # JSON has no infinities and no NaN.
        metrics = {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in record.metrics.items()
        }
        self._replace(record.run.file + _DONE, {"format": _FORMAT, **asdict(record), "metrics": metrics})
        (self.path / (record.run.file + _FAILED)).unlink(missing_ok=True)

    def write_failure(self, run: Run, traceback: str) -> None:
        """Keep the traceback of a run that raised."""
        self._replace(run.file + _FAILED, {"format": _FORMAT, **asdict(run), "traceback": traceback})

    def _replace(self, name: str, content: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / f"{_UNFINISHED}{os.getpid()}-{name}"
        with unfinished.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / name)

    def records(self) -> list[Record]:
        """All runs that are done, of whichever schedules and seeds.

        Raises:
            ValueError: If a file is not what `write` makes.
        """
        found = []
        for path in sorted(self.path.glob(f"*{_DONE}")):
            if not path.name.endswith(_FAILED) and not path.name.startswith(_UNFINISHED):
                found.append(_read(path))
        return found

    def failures(self) -> Iterator[tuple[Run, str]]:
        """The runs that raised and have not been done since, each with its traceback."""
        for path in sorted(self.path.glob(f"*{_FAILED}")):
            if not path.name.startswith(_UNFINISHED):
                content = json.loads(path.read_text())
                yield Run(content["schedule"], content["seed"]), content["traceback"]

    def count(self, runs: Sequence[Run]) -> tuple[int, int]:
        """How many of these runs are done, and how many failed. Reads no file."""
        return sum(self._has(run, _DONE) for run in runs), sum(self._has(run, _FAILED) for run in runs)

    def _has(self, run: Run, ending: str) -> bool:
        return (self.path / (run.file + ending)).is_file()

    def tidy(self, runs: Sequence[Run]) -> None:
        """Remove what a killed process left half written, and the failures of runs that are to be tried again."""
        for path in self.path.glob(f"{_UNFINISHED}*"):
            path.unlink(missing_ok=True)
        for run in runs:
            (self.path / (run.file + _FAILED)).unlink(missing_ok=True)


def _read(path: Path) -> Record:
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        content["metrics"] = {
            name: [math.nan if value is None else value for value in values]
            for name, values in content["metrics"].items()
        }
        return Record(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            "Each file of a study's folder must be a run that a study wrote. "
            f"Received: {path}, which is not ({error}). Remove it, or pass another `folder`."
        ) from error
