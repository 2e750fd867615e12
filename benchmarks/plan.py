"""Which jobs there are, and their sizes, rounds and time limits on a CPU, on a GPU, and where it only has to run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.settings import Settings

__all__ = ["DEFAULT_PARTS", "PARTS", "SIZES", "Job", "Profile", "jobs"]

Profile = Literal["cpu", "gpu", "small"]

PER_BACKEND = ("step", "flat", "second_fit")
PARTS = ("imports", "rates", *PER_BACKEND, "ensemble", "epoch", "study")
DEFAULT_PARTS = tuple(part for part in PARTS if part != "study")
SIZES = ((96, 16), (64, 32), (224, 4))  # Side in pixels, batch.


@dataclass(frozen=True)
class Job:
    """One process of the benchmark.

    Attributes:
        part: A module of `benchmarks.parts`.
        case: What of it: a backend or a size; empty where there is one job.
        settings: What it is given.
        limit: Seconds after which it is stopped.
    """

    part: str
    case: str
    settings: Settings
    limit: float

    @property
    def name(self) -> str:
        return f"{self.part} {self.case}".strip()

    @property
    def backends(self) -> tuple[str, ...]:
        """Those that it runs on."""
        return (self.settings.backend,) if self.part in (*PER_BACKEND, "ensemble", "study") else self.settings.backends


# By profile and part: rounds at most; seconds of the rounds, after which no further one begins; limit in seconds.
BUDGETS: dict[Profile, dict[str, tuple[int, float, float]]] = {
    "cpu": {
        "imports": (12, 120, 240),
        "rates": (7, 40, 90),
        "step": (50, 40, 300),
        "flat": (40, 40, 240),
        "second_fit": (7, 30, 300),
        "ensemble": (5, 60, 420),
        "epoch": (7, 150, 900),
        "study": (5, 0, 1200),
    },
    # Their limits are what a card may take at worst; `make bench-gpu` bounds them all together too.
    "gpu": {
        "imports": (5, 20, 50),
        "rates": (3, 8, 30),
        "step": (30, 10, 60),
        "flat": (20, 10, 45),
        "second_fit": (5, 5, 90),
        "ensemble": (3, 10, 60),
        "epoch": (7, 25, 130),
        "study": (5, 0, 480),
    },
    "small": {
        "imports": (2, 10, 50),
        "rates": (3, 5, 30),
        "step": (3, 5, 60),
        "flat": (3, 5, 60),
        "second_fit": (2, 5, 60),
        "ensemble": (1, 5, 60),
        "epoch": (2, 5, 120),
        "study": (1, 0, 480),
    },
}


def jobs(
    profile: Profile,
    parts: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    backends: Sequence[str],
    *,
    gpu: bool,
    rounds: int | None = None,
    limit: float | None = None,
    peers: Sequence[str] | None = None,
) -> Iterator[Job]:
    """The jobs of a run, the quick ones first.

    Args:
        profile: Whose sizes, rounds and limits they have.
        parts: Names of the parts.
        sizes: Side and batch of the epochs.
        backends: Backends that can be imported.
        gpu: Whether there is a GPU.
        rounds: Number of rounds in place of the profile's, however long they take.
        limit: Seconds of each job in place of the profile's.
        peers: Backends of the plain Keras pipeline. None: all, only the first one on images of 224 pixels and on a GPU.
    """
    for part in (part for part in PARTS if part in parts):
        most, seconds, longest = BUDGETS[profile][part]
        base = Settings(
            backend=backends[0],
            backends=tuple(backends),
            gpu=gpu,
            rounds=rounds or most,
            seconds=seconds if rounds is None else 1e6,
            small=profile == "small",
        )
        if part == "epoch":
            for size, batch in sizes:
                chosen = (backends if size < 224 and profile == "cpu" else backends[:1]) if peers is None else peers
                settings = dataclasses.replace(base, size=size, batch=batch, peers=tuple(chosen))
                if profile == "small":
                    settings = dataclasses.replace(settings, size=32, batch=8, images=16)
                yield Job(part, f"{size}x{batch}", settings, limit or longest)
        elif part in PER_BACKEND:
            for backend in backends:
                yield Job(part, backend, dataclasses.replace(base, backend=backend), limit or longest)
        else:
            yield Job(part, "", base, limit or longest)
