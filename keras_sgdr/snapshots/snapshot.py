"""What a manifest says of one snapshot."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from keras_sgdr._checks import is_integer, is_number
from keras_sgdr._files import from_null, to_null

__all__ = ["SUFFIX", "Snapshot", "SnapshotError"]

SUFFIX = ".weights.h5"


class SnapshotError(ValueError):
    """A snapshot or a manifest is missing, damaged, changed or cannot be written; the message names the file."""


@dataclass(frozen=True, repr=False)
class Snapshot:
    """An entry of the manifest: the weights at the end of a cycle. Prints without the digests.

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
        measured: Whether `metrics` are all that there will be; not yet where a run was stopped before.
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
    measured: bool = True

    def __post_init__(self) -> None:
        valid = (
            is_integer(self.cycle)
            and is_number(self.epoch)
            and (self.update is None or is_integer(self.update, 0))
            and is_number(self.rate)
            and isinstance(self.metrics, dict)
            and all(map(_is_value, self.metrics.values()))
            # A plain name: a manifest from elsewhere must not point out of its folder.
            and isinstance(self.file, str)
            and self.file.isprintable()
            and Path(self.file).name == self.file
            and self.file.endswith(SUFFIX)
            and isinstance(self.sha256, str)
            and isinstance(self.keras, str)
            and isinstance(self.architecture, str)
            and is_number(self.weight)
            and self.weight >= 0
            and isinstance(self.measured, bool)
        )
        if not valid:
            raise ValueError(f"not a snapshot: {asdict(self)}")

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in {"rate": self.rate, **self.metrics}.items())
        return f"<Snapshot of cycle {self.cycle}, epoch {self.epoch:g}: {values}, in {self.file}>"

    def to_json(self) -> dict[str, Any]:
        """The snapshot as JSON can hold it."""
        metrics = dict(zip(self.metrics, to_null(self.metrics.values()), strict=True))
        return {**asdict(self), "metrics": metrics}

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """The snapshot of what `to_json` made.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: If it is something else.
        """
        if unknown := set(entry) - {attribute.name for attribute in fields(cls)}:
            raise ValueError(f"unknown entries {sorted(unknown)}")
        metrics = dict(zip(entry["metrics"], from_null(entry["metrics"].values()), strict=True))
        return cls(**{**entry, "metrics": metrics})


def _is_value(metric: Any) -> bool:
    """Whether it is a float, NaN and infinity among them, or an integer that has one."""
    return isinstance(metric, float) or is_number(metric)
