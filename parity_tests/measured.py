"""What the tests measured, written down as they assert it, for the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Measurement", "Recorder", "read"]


@dataclass(frozen=True)
class Measurement:
    """A number beside its limit.

    Attributes:
        level: "L1" and so on.
        what: what was measured.
        value: the number.
        limit: what it was held against.
        control: whether this is a control, whose value must lie above the limit; else it must not.
    """

    level: str
    what: str
    value: float
    limit: float
    control: bool

    @property
    def holds(self) -> bool:
        return self.value > self.limit if self.control else self.value <= self.limit


class Recorder:
    """Appends measurements of a level to a file of JSON lines, and asserts them."""

    def __init__(self, path: Path, level: str) -> None:
        self._path, self._level = path, level

    def agrees(self, what: str, value: float, limit: float) -> None:
        """Assert that `value` is at most `limit`."""
        self._record(what, value, limit, control=False)

    def caught(self, what: str, value: float, limit: float) -> None:
        """Assert that a control's `value` is above `limit`."""
        self._record(what, value, limit, control=True)

    def _record(self, what: str, value: float, limit: float, *, control: bool) -> None:
        measurement = Measurement(self._level, what, float(value), float(limit), control)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(measurement)) + "\n")
        assert measurement.holds, measurement


def read(path: Path) -> list[Measurement]:
    """The measurements of a file, the last of each name, by level and name: in whatever order tests wrote them."""
    lines = [Measurement(**json.loads(line)) for line in path.read_text().splitlines()]
    return [line for _, line in sorted({(line.level, line.what): line for line in lines}.items())]
