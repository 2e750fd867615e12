"""Memory and time of an ensemble of ten ResNet-50, beside one.

Memory: the peak of a process that predicts with the ensemble, over that of one that predicts with the model. Time: an
ensemble's prediction over ten of Keras's own `predict`, in turns in one process; loading and checking the members'
files is part of it. `make bench` runs it and writes docs/ensemble_cost.json.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import SnapshotEnsemble
from keras_sgdr.environment import environment
from keras_sgdr.models import resnet
from keras_sgdr.snapshots import SUFFIX, Manifest, Snapshot, architecture, weights_alone

MEMBERS, IMAGES, SIDE, ROUNDS = 10, 153, 96, 3
MOST_MEMORY, MOST_TIME = 1.3, 1.1
RESULT = Path(__file__).resolve().parents[1] / "docs" / "ensemble_cost.json"


def model() -> Any:
    return resnet(50, None, classes=2, input_shape=(SIDE, SIDE, 3))


def images() -> Any:
    return np.random.default_rng(0).uniform(0, 255, (IMAGES, SIDE, SIDE, 3)).astype("float32")


def write(folder: Path) -> None:
    """Ten snapshots of random weights."""
    manifest = Manifest(folder)
    network = model()
    for cycle in range(1, MEMBERS + 1):
        file = f"cycle-{cycle:03d}_epoch-{cycle:04d}{SUFFIX}"
        snapshot = Snapshot(cycle, cycle, cycle, 0.0, {}, file, "", keras.__version__, architecture(network))
        with weights_alone(network):
            manifest.add(snapshot, network.save_weights)


def ensemble(folder: Path, network: Any) -> SnapshotEnsemble:
    return SnapshotEnsemble.load(folder, network, from_logits=True)


def child(what: str, folder: Path) -> dict[str, Any]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.test_ensemble", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main(what: str, folder: Path) -> None:
    network, x = model(), images()
    times: dict[str, Any] = {}
    if what == "model":
        manifest = Manifest.read(folder)
        with weights_alone(network):
            network.load_weights(manifest.path(manifest.snapshots[0]))
        network.predict(x, verbose=0)
    elif what == "ensemble":
        ensemble(folder, network).predict(x)
    else:
        members = ensemble(folder, network)
        network.predict(x, verbose=0)
        members.predict(x[:33])
        ratios = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(MEMBERS):
                network.predict(x, verbose=0)
            between = time.perf_counter()
            members.predict(x)
            ratios.append((time.perf_counter() - between) / (between - began))
        times["ratios"] = ratios
    print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, **times}))


@pytest.mark.benchmark
def test_an_ensemble_costs_what_its_members_do(tmp_path: Path, benchmark: Any) -> None:
    write(tmp_path)
    ratios = benchmark.pedantic(lambda: child("time", tmp_path), rounds=1)["ratios"]
    memory = child("ensemble", tmp_path)["peak"] / child("model", tmp_path)["peak"]
    result = {
        **environment(),
        "members": MEMBERS,
        "images": [IMAGES, SIDE, SIDE, 3],
        "memory_ratio": round(memory, 3),
        "time_ratio": {"median": round(float(np.median(ratios)), 3), "all": [round(ratio, 3) for ratio in ratios]},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    assert memory <= MOST_MEMORY
    assert np.median(ratios) <= MOST_TIME


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
