"""The machine: its hardware, the backends that can be imported here, and their versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["BACKENDS", "SHARED_GPU", "Machine", "busy_between", "busy_cores", "look"]

STATISTICS = Path("/proc/stat")

BACKENDS = ("tensorflow", "jax", "torch")
# Environment variables of processes that share a GPU's memory.
SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
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


def busy_cores(seconds: float = 1.0) -> float | None:
    """Cores that are busy now, over all processes; None where Linux's /proc is missing.

    To be asked while no job runs: others are busy then. PyTorch's threads wait for each other actively, so on
    two cores that others use a step of ResNet-50 takes ten times as long, and a ratio to it says nothing.
    """
    if not STATISTICS.is_file():
        return None
    before = _processor_times()
    time.sleep(seconds)
    return round(busy_between(before, _processor_times()) * (os.cpu_count() or 1), 2)


def busy_between(before: Sequence[int], after: Sequence[int]) -> float:
    """The busy share of all cores between two readings of /proc/stat: neither idle nor waiting for a disk."""
    spent = [later - earlier for earlier, later in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / sum(spent) if sum(spent) else 0.0


def _processor_times() -> list[int]:
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first two.
    return [int(value) for value in STATISTICS.read_text().split("\n", 1)[0].split()[1:9]]


if __name__ == "__main__":
    from keras_sgdr.environment import environment

    print(json.dumps(environment()))
