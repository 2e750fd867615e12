"""The runs of a study on disk: one file per run, written once, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from keras_sgdr._checks import invalid
from keras_sgdr._files import UNFINISHED, from_null, read_sealed, replace_file, sealed, to_null
from keras_sgdr.study.spec import METRICS, Spec

__all__ = ["Metrics", "Record", "Run", "Store"]

_FORMAT = 1
_DONE, _FAILED = ".json", ".failed.json"

# The values of each metric, one per epoch.
Metrics = dict[str, list[float]]
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One training: the name of its schedule, and its seed."""

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
        settings: What identifies the schedule: see `Spec.schedule_settings`.
        study: What all runs of the study have in common: see `Spec.shared`.
        fingerprint: Digest of the model: see `fingerprint_of`.
        seconds: Duration of the run.
        metrics: One value per epoch; NaN where it was not finite.
    """

    schedule: str
    seed: int
    settings: dict[str, Any]
    study: dict[str, Any]
    fingerprint: str
    seconds: float
    metrics: Metrics

    @property
    def run(self) -> Run:
        return Run(self.schedule, self.seed)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        return {**asdict(self), "metrics": {name: to_null(values) for name, values in self.metrics.items()}}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The record of what `to_json` made.

        Raises:
            ValueError: If it does not hold a value of each metric for each epoch.
            KeyError, TypeError, AttributeError: If it is not what `to_json` makes at all.
        """
        metrics = {name: from_null(values) for name, values in content["metrics"].items()}
        if {name: len(values) for name, values in metrics.items()} != dict.fromkeys(
            METRICS, content["study"]["epochs"]
        ):
            raise ValueError("its metrics are not one value of each for each epoch")
        return cls(**{**content, "metrics": metrics})


class Store:
    """The files of a study's runs.

    Args:
        folder: Where they are; made when the first run is written. On a cluster, all machines must see it under this
            path, which is made absolute here.
        spec: What the runs train.
    """

    def __init__(self, folder: str | os.PathLike[str], spec: Spec) -> None:
        self.folder = Path(folder).absolute()
        self.spec = spec

    @property
    def runs(self) -> list[Run]:
        """All runs of the study, seed by seed."""
        return [Run(schedule, seed) for seed in self.spec.seeds for schedule in self.spec.schedules]

    def missing(self) -> list[Run]:
        """The runs that are not done, seed by seed. Raises as `records` does."""
        done = {record.run for record in self.records()}
        return [run for run in self.runs if run not in done]

    def records(self) -> list[Record]:
        """All runs that are done, also of other schedules and seeds than the study's.

        Raises:
            ValueError: If a file is not what `write` made, or the run of another study; the message names the file.
        """
        paths = list(self._paths(_DONE))
        records = [_read(path, _DONE, Record.from_json) for path in paths]
        for path, record in zip(paths, records, strict=True):
            theirs, ours = dict(record.study), dict(self.spec.shared)
            if record.schedule in self.spec.schedules:
                name = f"schedules[{record.schedule!r}]"
                theirs[name], ours[name] = record.settings, self.spec.schedule_settings(record.schedule)
            theirs["model"], ours["model"] = record.fingerprint, records[0].fingerprint
            for name in ours:
                if ours[name] != theirs.get(name):
                    rule = "A folder holds the runs of one study, with the same epochs, batch size, data, backend, "
                    received = f"{path} with {name}={theirs.get(name)!r}, in a study with {name}={ours[name]!r}"
                    raise invalid(rule + "model and schedules.", received, "Pass another `folder`.")
        return records

    def check_model(self, fingerprint: str) -> None:
        """Raise a `ValueError` if the folder's runs are of a model with another fingerprint."""
        path = next(self._paths(_DONE), None)
        theirs = fingerprint if path is None else _read(path, _DONE, Record.from_json).fingerprint
        if theirs != fingerprint:
            raise invalid(
                "A folder holds the runs of one study, with the same weights at each seed, optimizer and loss.",
                f"{path}, of a model with the digest {theirs}, and a model with {fingerprint}",
                "Pass another `folder`, or take the random numbers of `model_fn` and `initialize` from the seed alone.",
            )

    def write(self, run: Run, fingerprint: str, seconds: float, metrics: Metrics) -> None:
        """Keep a run that is done, and remove its failure, if it has failed before."""
        settings = self.spec.schedule_settings(run.schedule)
        record = Record(run.schedule, run.seed, settings, self.spec.shared, fingerprint, seconds, metrics)
        self._write(run, _DONE, record.to_json())
        self._path(run, _FAILED).unlink(missing_ok=True)

    def write_failure(self, run: Run, traceback: str) -> None:
        """Keep the traceback of a run that raised."""
        self._write(run, _FAILED, {**asdict(run), "traceback": traceback})

    def failures(self) -> Iterator[tuple[Run, str]]:
        """The runs that raised and have not been done since, each with its traceback."""
        for path in self._paths(_FAILED):
            yield _read(
                path, _FAILED, lambda content: (Run(content["schedule"], content["seed"]), content["traceback"])
            )

    def count(self, runs: Iterable[Run]) -> tuple[int, int]:
        """How many of these runs are done, and how many failed. Reads no file."""
        files = [(self._path(run, _DONE).is_file(), self._path(run, _FAILED).is_file()) for run in runs]
        return sum(done for done, _ in files), sum(failed for _, failed in files)

    def tidy(self, runs: Iterable[Run]) -> None:
        """Remove what a killed process left half written, and the failures of runs that are tried again."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            path.unlink(missing_ok=True)
        for run in runs:
            self._path(run, _FAILED).unlink(missing_ok=True)

    def _path(self, run: Run, ending: str) -> Path:
        return self.folder / (run.file + ending)

    def _paths(self, ending: str) -> Iterator[Path]:
        for path in sorted(self.folder.glob(f"*{ending}")):
            if path.name.endswith(_FAILED) == (ending == _FAILED) and not path.name.startswith(UNFINISHED):
                yield path

    def _write(self, run: Run, ending: str, content: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = sealed({"format": _FORMAT, **content})
        replace_file(self._path(run, ending), lambda path: path.write_text(text))


def _read(path: Path, ending: str, parse: Callable[[dict[str, Any]], T]) -> T:
    """What a file holds, if a study wrote it, under this name."""
    try:
        content = read_sealed(path.read_text())
        if content.pop("format") != _FORMAT:
            raise ValueError("it has another format")
        name = Run(content["schedule"], content["seed"]).file + ending
        if path.name != name:
            raise ValueError(f"it holds the run whose file is {name}")
        return parse(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        rule = "Each file of a study's folder must be a run that a study wrote, unchanged and under its own name."
        fix = "Remove it, or pass another `folder`."
        raise invalid(rule, f"{path}, which is not ({error})", fix) from error
