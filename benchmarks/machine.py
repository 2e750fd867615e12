"""The machine: its hardware, the backends that can be imported here, and their versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

__all__ = ["BACKENDS", "Machine", "look"]

BACKENDS = ("tensorflow", "jax", "torch")
# Others than the backends that a row depends on.
PEERS = ("torchvision",)


@dataclass(frozen=True)
class Machine:
    """Where the rows are measured.

    Attributes:
        hardware: Name of the `cpu`, `cores`, names of the `gpus` that any backend sees.
        versions: Of Python, Keras, the backends and their peers.
        missing: By the name of a backend that is not used, why.
        without_gpu: Backends that see no GPU where others see one.
    """

    hardware: dict[str, Any]
    versions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    without_gpu: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What its section is called."""
        gpus = self.hardware["gpus"]
        cores = f"{self.hardware['cores']} cores"
        return (
            f"{', '.join(gpus)}; {self.hardware['cpu']}, {cores}"
            if gpus
            else f"{self.hardware['cpu']}, {cores}, no GPU"
        )

    @property
    def backends(self) -> tuple[str, ...]:
        return tuple(name for name in BACKENDS if name in self.versions)


def look(backends: Sequence[str] = BACKENDS) -> Machine:
    """Import each backend in a process of its own, and ask it for its hardware and versions.

    Raises:
        RuntimeError: If none can be imported.
    """
    answers: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for backend in backends:
        if find_spec(backend) is None:
            missing[backend] = "not installed"
            continue
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.machine"],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            timeout=180,
        )
        if done.returncode == 0:
            answers[backend] = json.loads(done.stdout.splitlines()[-1])
        else:
            missing[backend] = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    if not answers:
        raise RuntimeError(f"Keras needs a backend that can be imported. Received: {missing}.")
    versions: dict[str, str] = {}
    for answer in answers.values():
        versions |= answer["versions"]
    for package in PEERS:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    gpus: list[str] = next(
        (answer["hardware"]["gpus"] for answer in answers.values() if answer["hardware"]["gpus"]), []
    )
    without = tuple(name for name, answer in answers.items() if gpus and not answer["hardware"]["gpus"])
    hardware = {**next(iter(answers.values()))["hardware"], "gpus": gpus}
    return Machine(hardware, versions, missing, without)


if __name__ == "__main__":
    from keras_sgdr.environment import environment

    print(json.dumps(environment()))
