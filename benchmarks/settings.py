"""What a job of the benchmark is given: sizes, rounds, and what there is on this machine."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The settings of one job.

    Attributes:
        backend: The backend of the job's process.
        backends: Those that can be imported.
        gpu: Whether there is a GPU.
        rounds: Number of rounds at most.
        seconds: Of all rounds together, after which no further one begins.
        size: Side of the images, in pixels.
        batch: Images in a batch.
        images: Number of drawn training images; 0 for the real ones, of which there are 244.
        peers: Backends on which the plain Keras pipeline is run.
        default_jit: Whether that on TensorFlow on a CPU is run with Keras's own choice too, which is XLA and slower.
        small: Whether to use the smallest models and data that still show that everything runs.
    """

    backend: str = ""
    backends: tuple[str, ...] = ()
    gpu: bool = False
    rounds: int = 5
    seconds: float = 60.0
    size: int = 96
    batch: int = 16
    images: int = 0
    peers: tuple[str, ...] = ()
    default_jit: bool = True
    small: bool = False

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()
        }
        return cls(**values)
