"""A node of a Ray cluster, and a worker of a Dask cluster, killed amid a study: the others train its runs.

Both clusters are of two, on 127.0.0.1 alone: that nothing else is contacted is watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from faults.trials import Settings, Trials
from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr._optional import load
from keras_sgdr.study.workers import LOCALHOST
from tests.support.addresses import LOCALHOST_OF_RAY, other_addresses
from tests.support.study_nets import point_model, point_study

SCHEDULES = {"SGDR (2, 2)": WarmRestarts(2, 2, 0.1), "constant": StepDecay(0.1, gamma=1)}
# Long enough for both processes to be at it when one is killed.
OPTIONS: dict[str, Any] = {"seeds": 4, "epochs": 100, "schedules": SCHEDULES}
WITHIN = 100.0


def trials(settings: Settings) -> Iterator[Trials]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        alone = point_study(root / "alone", **OPTIONS)
        alone.run(progress=False)
        for what, parallel, cluster in (
            ("A node of a Ray cluster is killed amid a study", "ray", ray_cluster),
            ("A worker of a Dask cluster is killed amid a study", "dask", dask_cluster),
        ):
            found = Trials(what, settings.backend)
            for number in range(settings.count(3, 1)):
                folder = root / f"{parallel}-{number}"

                action = partial(run, found, folder, parallel, cluster, alone.results)
                found.attempt(f"{number}", action, within=WITHIN)
            yield found


def run(found: Trials, folder: Path, parallel: Any, cluster: Any, expected: pd.DataFrame) -> None:
    """Run the study on a cluster, of which one of two is killed as soon as both train."""
    study = point_study(folder, model_fn=partial(model_that_tells, folder, os.getpid()), **OPTIONS)
    folder.mkdir()
    killed: list[bool] = []

    def kill_one(kill: Callable[[list[int]], None]) -> None:
        while len(pids := [int(path.suffix[1:]) for path in folder.glob("process.*")]) < 2:
            time.sleep(0.01)
        time.sleep(0.2)
        killed.append(len(list(folder.glob("*.json"))) < len(expected) // OPTIONS["epochs"])
        kill(pids)

    with cluster() as kill, other_addresses() as addresses:
        threading.Thread(target=kill_one, args=(kill,), daemon=True).start()
        study.run(jobs=2, parallel=parallel, progress=False)
    if killed != [True]:
        found.add("wrong", folder.name, "it had ended before one of both was killed")
    if not study.results.equals(expected):
        found.add("lost", folder.name, f"{len(study.results)} rows of {len(expected)}, or others")
    if addresses:
        found.add("outside", folder.name, f"{sorted(addresses)} was contacted")


def model_that_tells(folder: Path, parent: int) -> Any:
    """The model, whose process leaves its number in the folder."""
    if os.getpid() != parent:
        (folder / f"process.{os.getpid()}").touch()
    return point_model()


@contextlib.contextmanager
def ray_cluster() -> Iterator[Callable[[list[int]], None]]:
    """Of two nodes with a processor each. Yields what kills one of them."""
    os.environ.update(LOCALHOST_OF_RAY)  # Which it reads as it is imported.
    ray: Any = load("ray", "This part")
    cluster_utils: Any = load("ray.cluster_utils", "This part")
    here = {"num_cpus": 1, "node_ip_address": LOCALHOST, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=here)
    try:
        node = cluster.add_node(num_cpus=1, node_ip_address=LOCALHOST)
        ray.init(address=cluster.address, _node_ip_address=LOCALHOST, log_to_driver=False)
        yield lambda pids: cluster.remove_node(node, allow_graceful=False)
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextlib.contextmanager
def dask_cluster() -> Iterator[Callable[[list[int]], None]]:
    """Of two processes. Yields what kills the first that trains."""
    options: dict[str, Any] = {"host": LOCALHOST, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with load("distributed", "This part").Client(**options):
        yield lambda pids: os.kill(pids[0], signal.SIGKILL)
