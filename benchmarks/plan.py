"""Which jobs there are, and their sizes, rounds and time limits on a CPU, on a GPU, and where it only has to run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.settings import Settings

__all__ = ["DEFAULT_PARTS", "PARTS", "SIZES", "Job", "Profile", "jobs"]

Profile = Literal["cpu", "gpu", "small"]

PARTS = ("step", "epoch", "second_fit", "rates", "ensemble", "imports", "flat", "study", "together")
PER_BACKEND = ("step", "second_fit", "imports", "flat")
DEFAULT_PARTS = tuple(part for part in PARTS if part not in ("study", "together"))
SIZES = ((96, 16), (64, 32), (224, 4))  # Side in pixels, batch.
MAIN_SIZE = SIZES[0]  # At which a CPU, on which epochs take long, runs all backends.
SMALL_SIZE = (32, 8)


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
        is_alone = self.part in (*PER_BACKEND, "ensemble", "study", "together")
        return (self.settings.backend,) if is_alone else self.settings.backends


# By profile and part: rounds at most; seconds of the rounds, after which no further one begins; limit in seconds.
BUDGETS: dict[Profile, dict[str, tuple[int, float, float]]] = {
    "cpu": {
        "imports": (12, 60, 180),
        "rates": (7, 30, 90),
        "step": (50, 30, 240),
        "flat": (40, 25, 180),
        "second_fit": (7, 25, 360),
        "ensemble": (5, 60, 420),
        "epoch": (7, 150, 2400),
        "study": (5, 0, 1200),
        "together": (3, 60, 1200),
    },
    # Their limits are what a card may take at worst; `make bench-gpu` bounds them all together too.
    "gpu": {
        "imports": (10, 15, 40),
        "rates": (3, 8, 30),
        "step": (30, 10, 60),
        "flat": (20, 10, 45),
        "second_fit": (5, 5, 90),
        "ensemble": (3, 10, 60),
        "epoch": (7, 25, 130),
        "study": (5, 0, 480),
        "together": (3, 20, 460),
    },
    "small": {
        "imports": (1, 5, 40),
        "rates": (1, 5, 40),
        "step": (3, 2, 60),
        "flat": (3, 2, 60),
        "second_fit": (2, 2, 60),
        "ensemble": (1, 2, 90),
        "epoch": (1, 2, 240),
        "study": (1, 0, 480),
        "together": (1, 2, 480),
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
    """The jobs of a run, in the order of the table.

    Args:
        profile: Whose sizes, rounds and limits they have.
        parts: Names of the parts.
        sizes: Side and batch of the epochs.
        backends: Backends that can be imported.
        gpu: Whether there is a GPU.
        rounds: Number of rounds in place of the profile's, however long they take.
        limit: Seconds of each job in place of the profile's.
        peers: Backends of the plain Keras pipeline. None: the first.
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
            plain = tuple(backends[:1] if peers is None else peers)
            for size, batch in sizes if profile != "small" else [SMALL_SIZE]:
                main = profile != "cpu" or (size, batch) == MAIN_SIZE
                settings = dataclasses.replace(
                    base,
                    size=size,
                    batch=batch,
                    images=16 if profile == "small" else 0,
                    backends=tuple(backends if main or peers is not None else backends[:1]),
                    peers=plain,
                    default_jit=main,
                )
                yield Job(part, f"{size}x{batch}", settings, limit or longest)
        elif part == "together":
            if "jax" in backends:
                yield Job(part, "jax", dataclasses.replace(base, backend="jax"), limit or longest)
        elif part in PER_BACKEND:
            for backend in backends:
                yield Job(part, backend, dataclasses.replace(base, backend=backend), limit or longest)
        else:
            yield Job(part, "", base, limit or longest)
