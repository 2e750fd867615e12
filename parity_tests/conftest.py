"""Where the levels find their images, weights, traces and measurements."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parity_tests.measurements import Recorder
from parity_tests.processes import BACKENDS, Arrays, compute, read
from parity_tests.training.run import prepare
from parity_tests.training.suite import Pair, suite_traces
from tests.support.inputs import ants_bees_dir, describe_inputs, pretrained_weights

__all__ = ["ants_bees_dir", "folder", "inputs", "measure", "pretrained_weights", "sides", "suite"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For traces and measurements: `$PARITY_OUTPUT`, or one for all workers of this session."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = Path(os.environ.get("PARITY_OUTPUT") or shared / "parity").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def inputs(folder: Path, ants_bees_dir: Path | None, pretrained_weights: Path | None) -> str:
    """Images and weights for a `Run`: the real ones where they are found, else drawn insects and random weights."""
    return prepare(folder, ants_bees_dir, pretrained_weights)


@pytest.fixture(scope="session")
def sides(folder: Path) -> dict[str, Arrays]:
    """Rates and optimizer paths of the "reference" and of Keras on each backend, two processes at a time."""
    modules = {"reference": ("torch_side", "torch"), **{name: ("keras_side", name) for name in BACKENDS}}
    with ThreadPoolExecutor(2) as pool:
        runs = {
            side: pool.submit(compute, f"parity_tests.rates.{module}", folder, backend=backend)
            for side, (module, backend) in modules.items()
        }
        return {side: read(run.result()) for side, run in runs.items()}


@pytest.fixture(scope="session")
def suite(folder: Path, inputs: str) -> dict[str, Pair]:
    """The traces of all levels' runs that are not slow, by level."""
    return suite_traces(folder, inputs)


@pytest.fixture(scope="module")
def measure(request: pytest.FixtureRequest, folder: Path) -> Recorder:
    """Asserts and records the measurements of the level that the module's name begins with."""
    level = request.path.stem.split("_")[1].upper()
    return Recorder(folder / "measured.jsonl", level)


def pytest_collection_finish() -> None:
    """Let garbage collections leave out a million objects of imported modules."""
    gc.freeze()


def pytest_report_header(config: pytest.Config) -> str:
    """Say what the networks are trained on."""
    return "parity: " + describe_inputs()
