"""Where L1 to L4 find their images, weights and traces."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from parity_tests.measured import Recorder
from parity_tests.runs import Run, Trace, describe, prepare, traces
from tests.conftest import ants_bees_dir, pretrained_weights

__all__ = ["ants_bees_dir", "folder", "inputs", "measure", "pretrained_weights", "train_both"]

# Runs of Keras and runs of PyTorch, to their traces by the same names.
TrainBoth = Callable[[Mapping[str, Run], Mapping[str, Run]], tuple[dict[str, Trace], dict[str, Trace]]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For traces and measurements: `$PARITY_OUTPUT`, or one for all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = Path(os.environ.get("PARITY_OUTPUT") or shared / "parity").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def inputs(folder: Path, ants_bees_dir: Path | None, pretrained_weights: Path | None) -> dict[str, Any]:
    """The images and weights of a `Run`: the real ones where they are found, else drawn insects and random weights."""
    return prepare(folder, ants_bees_dir, pretrained_weights)


@pytest.fixture(scope="session")
def train_both(folder: Path) -> TrainBoth:
    """Makes runs of both frameworks at one time, each in a process of its own."""

    def train(keras: Mapping[str, Run], torch: Mapping[str, Run]) -> tuple[dict[str, Trace], dict[str, Trace]]:
        with ThreadPoolExecutor() as pool:
            ours = pool.submit(traces, "keras", keras, folder)
            theirs = pool.submit(traces, "torch", torch, folder)
            return ours.result(), theirs.result()

    return train


@pytest.fixture(scope="module")
def measure(request: pytest.FixtureRequest, folder: Path) -> Recorder:
    """Asserts and records the measurements of the level whose number the module's name has."""
    level = request.path.stem.split("_")[1].upper()
    return Recorder(folder / "measured.jsonl", level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The highest level first: the higher, the longer it takes, and what comes last should be short."""
    items.sort(key=lambda item: item.path, reverse=True)


def pytest_report_header(config: pytest.Config) -> str:
    """Say what the networks are trained on."""
    return "parity: " + describe(*(inspect.unwrap(cast(Any, find))() for find in (ants_bees_dir, pretrained_weights)))
