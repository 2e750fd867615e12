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
        case: What it was measured on.
        what: The quantity, or the name of the control.
        value: The number.
        limit: What it was held against.
        control: Whether this is a control, whose value must lie above the limit; else it must not.
        compared: How many pairs of numbers the value comes from.
    """

    level: str
    case: str
    what: str
    value: float
    limit: float
    control: bool
    compared: int = 1

    @property
    def holds(self) -> bool:
        return self.value > self.limit if self.control else self.value <= self.limit

    @property
    def title(self) -> str:
        return f"{self.case}: {self.what}" if self.case else self.what


class Recorder:
    """Appends the measurements of a level to a file of JSON lines, and asserts them."""

    def __init__(self, path: Path, level: str) -> None:
        self._path, self._level = path, level

    def agrees(self, case: str, what: str, value: float, limit: float, compared: int = 1) -> None:
        """Assert that `value` is at most `limit`."""
        self._record(Measurement(self._level, case, what, float(value), float(limit), False, compared))

    def caught(self, case: str, what: str, value: float, limit: float, compared: int = 1) -> None:
        """Assert that a control's `value` is above `limit`."""
        self._record(Measurement(self._level, case, what, float(value), float(limit), True, compared))

    def _record(self, measurement: Measurement) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(measurement)) + "\n")
        assert measurement.holds, measurement


def read(path: Path) -> list[Measurement]:
    """The measurements of a file, the last of each, by level and title: in whatever order tests wrote them."""
    lines = [Measurement(**json.loads(line)) for line in path.read_text().splitlines()]
    latest = {(line.level, line.control, line.title): line for line in lines}
    return [line for _, line in sorted(latest.items())]
