"""The runs of a study on disk: one file per run, written once, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np

from keras_sgdr._checks import invalid
from keras_sgdr._files import UNFINISHED, absolute, from_null, read_sealed, replace_file, sealed, to_null
from keras_sgdr.data.samples import Array
from keras_sgdr.environment import environment
from keras_sgdr.study.spec import METRICS, Spec

__all__ = ["Metrics", "Progress", "Record", "Run", "Store"]

_FORMAT = 2
_DONE, _FAILED, _STOPPED = ".json", ".failed.json", ".stopped.npz"

# The values of each metric, one per epoch.
Metrics = dict[str, list[float]]
# What the model made of the validation samples, by the epochs completed: probabilities where it gives logits.
Outputs = dict[int, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One training: the name of its schedule, and its seed."""

    schedule: str
    seed: int

    @property
    def file(self) -> str:
        """Name of its file without the ending."""
        readable = re.sub(r"[^a-z0-9.]+", "-", self.schedule.lower())[:60].strip("-.")
        # Two names may read alike, and a file's name is short.
        digest = hashlib.sha256(self.schedule.encode()).hexdigest()[:6]
        return f"{readable}-{digest}_seed-{self.seed:03d}"


@dataclass(frozen=True)
class Progress:
    """What there is of a run after some of its epochs.

    Attributes:
        metrics: One value per epoch so far.
        outputs: For the epochs at which they are kept: see `Spec.kept_epochs`.
        seconds: Duration so far.
        variables: Values of the model's and the optimizer's, with which it goes on.
    """

    metrics: Metrics
    outputs: Outputs = field(default_factory=dict)
    seconds: float = 0.0
    variables: list[Array] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs completed."""
        return min(map(len, self.metrics.values()), default=0)


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
        outputs: See `Progress`; seven digits of each number, NaN as above.
        made_with: Versions and hardware that ended it: see `environment`.
        ended: The date of that; empty in records of before it was kept.
    """

    schedule: str
    seed: int
    settings: dict[str, Any]
    study: dict[str, Any]
    fingerprint: str
    seconds: float
    metrics: Metrics
    outputs: Outputs
    made_with: dict[str, Any]
    ended: str = ""

    @property
    def run(self) -> Run:
        return Run(self.schedule, self.seed)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON can hold it."""
        return {
            **asdict(self),
            "metrics": {name: to_null(values) for name, values in self.metrics.items()},
            "outputs": {str(epoch): _to_list(values) for epoch, values in self.outputs.items()},
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The record of what `to_json` made.

        Raises:
            ValueError: If it does not hold a value of each metric for each epoch.
            ArithmeticError, LookupError, TypeError, AttributeError: If it is not what `to_json` makes at all.
        """
        metrics = {name: list(map(float, from_null(values))) for name, values in content["metrics"].items()}
        if {name: len(values) for name, values in metrics.items()} != dict.fromkeys(
            METRICS, content["study"]["epochs"]
        ):
            raise ValueError("its metrics are not one value of each for each epoch")
        outputs = {int(epoch): np.array(values, np.float32) for epoch, values in content["outputs"].items()}
        return cls(**{**content, "metrics": metrics, "outputs": outputs})


class Store:
    """The files of a study's runs.

    Args:
        folder: Where they are; made when the first run is written. On a cluster, all machines must see it under this
            path, which is made absolute here.
        spec: What the runs train.
    """

    def __init__(self, folder: str | os.PathLike[str], spec: Spec) -> None:
        self.folder = absolute("folder", folder)
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

    def write(self, run: Run, fingerprint: str, progress: Progress) -> None:
        """Keep a run that is done, and remove what was kept of it before."""
        results = {name: getattr(progress, name) for name in ("metrics", "outputs", "seconds")}
        record = Record(**self._identity(run, fingerprint), **results, made_with=environment(), ended=f"{date.today()}")
        self._write(run, _DONE, record.to_json())
        for ending in (_FAILED, _STOPPED):
            self._path(run, ending).unlink(missing_ok=True)

    def write_progress(self, run: Run, fingerprint: str, progress: Progress) -> None:
        """Keep a run that is not done, to go on with it."""
        head = sealed({"format": _FORMAT, **self._identity(run, fingerprint), "seconds": progress.seconds})
        arrays: dict[str, Any] = {f"metrics {name}": np.array(values) for name, values in progress.metrics.items()}
        arrays |= {f"outputs {epoch}": values for epoch, values in progress.outputs.items()}
        # NumPy's files know no bfloat16, of which float32 holds every value.
        variables = [value.astype("float32") if value.dtype.kind == "V" else value for value in progress.variables]
        arrays |= {f"variable {number}": value for number, value in enumerate(variables)}

        def write(path: Path) -> None:
            with path.open("wb") as file:  # Given a name, NumPy would end it in .npz.
                np.savez(file, head=np.array(head), **arrays)

        replace_file(self._path(run, _STOPPED), write)

    def read_progress(self, run: Run, fingerprint: str) -> Progress | None:
        """What `write_progress` kept of a run; None if nothing, or nothing that this study can go on with."""
        try:
            # NumPy itself leaves a damaged file open.
            with self._path(run, _STOPPED).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                head = read_sealed(str(arrays["head"]))
                parts: dict[str, dict[str, Array]] = {"metrics": {}, "outputs": {}, "variable": {}}
                for name in set(arrays.files) - {"head"}:
                    kind, _, key = name.partition(" ")
                    parts[kind][key] = np.asarray(arrays[name])
                    # What is no array in the archive, NumPy gives as bytes.
                    if parts[kind][key].dtype.kind not in "biuf":
                        return None
        except Exception:  # Of a damaged file, of any type.
            return None
        if head != {"format": _FORMAT, **self._identity(run, fingerprint), "seconds": head.get("seconds")}:
            return None
        metrics = {name: parts["metrics"][name].tolist() for name in METRICS}
        if len({len(values) for values in metrics.values()}) != 1:
            return None
        return Progress(
            metrics,
            {int(epoch): parts["outputs"][epoch] for epoch in sorted(parts["outputs"], key=int)},
            head["seconds"],
            [parts["variable"][str(number)] for number in range(len(parts["variable"]))],
        )

    def write_failure(self, run: Run, traceback: str) -> None:
        """Keep the traceback of a run that raised."""
        self._write(run, _FAILED, {**asdict(run), "traceback": traceback})

    def failures(self) -> Iterator[tuple[Run, str]]:
        """The runs that raised and have not been done since, each with its traceback."""
        for path in self._paths(_FAILED):
            yield _read(path, _FAILED, lambda found: (Run(found["schedule"], found["seed"]), found["traceback"]))

    def count(self, runs: Iterable[Run]) -> tuple[int, int]:
        """How many of these runs are done, and how many failed. Reads no file."""
        files = [(self._path(run, _DONE).is_file(), self._path(run, _FAILED).is_file()) for run in runs]
        return sum(done for done, _ in files), sum(failed for _, failed in files)

    def stopped(self, runs: Iterable[Run]) -> list[Run]:
        """Which of these runs go on where they were stopped."""
        return [run for run in runs if self._path(run, _STOPPED).is_file()]

    def left(self, runs: Iterable[Run]) -> list[Run]:
        """Which of these runs are neither done nor failed. Reads no file."""
        return [run for run in runs if self.count([run]) == (0, 0)]

    def tidy(self, runs: Iterable[Run]) -> None:
        """Remove what a killed process left half written, and the failures of runs that are tried again."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            path.unlink(missing_ok=True)
        for run in runs:
            self._path(run, _FAILED).unlink(missing_ok=True)

    def _identity(self, run: Run, fingerprint: str) -> dict[str, Any]:
        """What a run is the run of."""
        settings = self.spec.schedule_settings(run.schedule)
        return {**asdict(run), "settings": settings, "study": self.spec.shared, "fingerprint": fingerprint}

    def _path(self, run: Run, ending: str) -> Path:
        return self.folder / (run.file + ending)

    def _paths(self, ending: str) -> Iterator[Path]:
        for path in sorted(self.folder.glob(f"*{ending}")):
            if path.name.endswith(_FAILED) == (ending == _FAILED) and not path.name.startswith(UNFINISHED):
                yield path

    def _write(self, run: Run, ending: str, content: dict[str, Any]) -> None:
        # One line: outputs are many numbers.
        text = sealed({"format": _FORMAT, **content}, indent=None)
        replace_file(self._path(run, ending), lambda path: path.write_text(text))


def _to_list(values: Any) -> list[Any]:
    """An array of floats for JSON: seven digits, None where it is not finite."""
    return [_to_list(part) if part.ndim else to_null([float(f"{part:.7g}")])[0] for part in np.asarray(values)]


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
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        rule = "Each file of a study's folder must be a run that a study wrote, unchanged and under its own name."
        fix = "Remove it, or pass another `folder`."
        raise invalid(rule, f"{path}, which is not ({error})", fix) from error
