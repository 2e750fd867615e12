"""The scripts of the guide on two devices, or in two processes: the same rates everywhere, one writer of snapshots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble, WarmRestarts
from keras_sgdr.snapshots import Manifest
from tests.support.pages import CHECKOUT, PAGES, scripts_of
from tests.support.small_model import values
from tests.support.together import free_port, together

PAGE = CHECKOUT / "docs" / "guide" / "distribution.md"
STEPS = 8
# Script, processes, and devices of each.
CASES = [
    ("mirrored.py", 1, 2),
    ("multi_worker.py", 2, 1),
    ("data_parallel.py", 1, 2),
    ("data_parallel.py", 2, 2),
    ("model_parallel.py", 1, 2),
    ("ddp.py", 2, 1),
]


def environments(name: str, backend: str, processes: int) -> list[dict[str, str]]:
    """What starts each process: that of JAX has two devices, `tests.support.distributed` gives TensorFlow's two."""
    common = {
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "WORLD_SIZE": str(processes),
    }
    each: list[dict[str, str]] = [{**common, "RANK": str(number)} for number in range(processes)]
    if name == "multi_worker.py":
        workers = [f"127.0.0.1:{free_port()}" for _ in each]
        for number, environment in enumerate(each):
            task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": number}}
            environment["TF_CONFIG"] = json.dumps(task)
    return each


def network() -> Any:
    """That of the scripts, without a distribution, on this process's backend."""
    return keras.Sequential([keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(2, "softmax")])


def assert_whole(folder: Path, cycles: Sequence[int]) -> Manifest:
    """The folder lists each cycle once, its files are what was written, and nothing else lies there."""
    manifest = Manifest.read(folder)
    assert [each.cycle for each in manifest.snapshots] == list(cycles)
    files = [manifest.path(each).name for each in manifest.snapshots]  # Their digests are checked.
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, "snapshots.json"])
    return manifest


def test_each_script_of_a_page_is_run() -> None:
    assert (
        {name for page in PAGES for name in scripts_of(page)} == set(scripts_of(PAGE)) == {name for name, *_ in CASES}
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "processes", "devices"), CASES)
def test_rates_and_snapshots(name: str, processes: int, devices: int, tmp_path: Path) -> None:
    block = scripts_of(PAGE)[name]
    assert block.backend
    script = tmp_path / name
    # At its place in the page, so that a traceback shows the line there.
    script.write_text("\n" * (block.line - 1) + block.text)
    started = environments(name, block.backend, processes)
    reports = together("tests.support.distributed", tmp_path, name, environments=started)
    planned = WarmRestarts(2, 2, eta_max=0.1).learning_rates(14, STEPS).astype("float32")
    for report in reports:
        # Those of the script and of the run that has resumed it, on each device.
        np.testing.assert_array_equal(report["applied"], [planned] * devices)
        np.testing.assert_array_equal(report["rates"], planned)
        assert report["cycles"] == [1, 2, 3]
        assert "A folder of snapshots belongs to one run." in report["refused"]
        # What the process that writes has measured decides.
        assert (report["stopped"], report["kept"]) == (2, [1])
    assert sum("In the process that writes" in report["refused"] for report in reports) == len(reports) - 1

    manifest = assert_whole(tmp_path / "snapshots", [1, 2, 3])
    best = assert_whole(tmp_path / "stopped", [1])
    model = network()
    x = np.random.default_rng(0).normal(size=(512, 20)).astype("float32")
    predicted = SnapshotEnsemble.load(tmp_path / "snapshots", model, from_logits=False).predict(x)
    for report in reports:
        if (name, processes) != ("data_parallel.py", 2):  # There Keras's own `predict` fails.
            np.testing.assert_allclose(report["predicted"], predicted, rtol=1e-5, atol=1e-6)
        for folder, weights in ((manifest, "weights"), (best, "after stop")):
            model.load_weights(folder.path(folder.snapshots[-1]))
            for saved, trained in zip(values(model.weights), report[weights], strict=True):
                np.testing.assert_array_equal(saved, trained)
        assert len(report.get("divided", ())) == (2 if name == "model_parallel.py" else 0)
        if "model.fit(" in block.text:
            # `find_learning_rate`, and a training that `BackupAndRestore` has restored in its third epoch.
            assert report["losses"] == reports[0]["losses"] != []
            assert report["same"]
            assert report["after"] == 2 * STEPS
            assert_whole(tmp_path / "restored", [1, 2, 3, 4])
