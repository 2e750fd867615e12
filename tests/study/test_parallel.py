from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from keras_sgdr.study.packages import load
from keras_sgdr.study.progress import status
from tests.study.nets import image_study


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    study = image_study(tmp_path_factory.mktemp("serial"))
    study.run(progress=False)
    return study.results


@pytest.fixture
def ray() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_loky_gives_the_same_table(serial: pd.DataFrame, tmp_path: Path) -> None:
    study = image_study(tmp_path)
    study.run(jobs=2, progress=False)
    pd.testing.assert_frame_equal(study.results, serial, check_exact=True)


# Ray begins by forking, and JAX warns of any fork.
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
@pytest.mark.usefixtures("ray")
def test_a_ray_cluster_of_two_workers_gives_the_same_table(serial: pd.DataFrame, tmp_path: Path) -> None:
    study = image_study(tmp_path)
    study.run(jobs=2, parallel="ray", progress=False)
    pd.testing.assert_frame_equal(study.results, serial, check_exact=True)


def test_a_connected_dask_cluster_gives_the_same_table(serial: pd.DataFrame, tmp_path: Path) -> None:
    """One of threads, which take turns with the one model of the process, and use its random numbers meanwhile."""
    study = image_study(tmp_path)
    with load("distributed").Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None):
        study.run(jobs=2, parallel="dask", progress=False)
    pd.testing.assert_frame_equal(study.results, serial, check_exact=True)


def test_who_runs_them_must_be_known(tmp_path: Path) -> None:
    other: Any = "threads"
    with pytest.raises(ValueError, match=r"`parallel` must be one of loky, ray, dask. Received: parallel='threads'."):
        image_study(tmp_path).run(jobs=2, parallel=other, progress=False)


@pytest.mark.parametrize(
    ("done", "failed", "jobs", "expected"),
    [
        (0, 0, 2, "0 of 10 runs done, 2 running"),
        (3, 0, 2, "3 of 10 runs done, 2 running, 0:03:30 left"),
        (8, 1, 2, "8 of 10 runs done, 1 running, 1 failed, 0:00:10 left"),
        (10, 0, 2, "10 of 10 runs done"),
    ],
)
def test_progress_in_words(done: int, failed: int, jobs: int, expected: str) -> None:
    assert status(done, failed, 10, jobs, seconds=90) == expected
