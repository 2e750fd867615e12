"""Runs in this process and in others: the same table, whoever trains them, and what fails is kept."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr._optional import load
from keras_sgdr.study.spec import Spec
from keras_sgdr.study.workers import LOCALHOST, workers
from tests.support.addresses import LOCALHOST_OF_RAY, other_addresses
from tests.support.study_nets import image_study, point_model, point_study

os.environ.update(LOCALHOST_OF_RAY)  # Which it reads as it is imported.

SECONDS = 300
SCHEDULES = {"constant": StepDecay(0.1, gamma=1), "SGDR (1, 2)": WarmRestarts(1, 2, 0.1)}


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """Processes that never answer are not waited for without end."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"The processes took more than {SECONDS} seconds.")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def this_machine_alone() -> Iterator[None]:
    """Nothing else is contacted."""
    with other_addresses() as addresses:
        yield
    assert not addresses


@pytest.fixture(scope="module")
def serial_points(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    study = point_study(tmp_path_factory.mktemp("points"), schedules=SCHEDULES)
    study.run(progress=False)
    return study.results


@pytest.fixture(scope="module")
def serial_images(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    study = image_study(tmp_path_factory.mktemp("images"))
    study.run(progress=False)
    return study.results


def test_loky_gives_the_same_table(serial_points: pd.DataFrame, tmp_path: Path) -> None:
    study = point_study(tmp_path, schedules=SCHEDULES)
    study.run(jobs=2, progress=False)
    pd.testing.assert_frame_equal(study.results, serial_points, check_exact=True)


@pytest.fixture
def ray() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address=LOCALHOST)
    yield
    ray.shutdown()


@pytest.mark.slow
# Ray begins by forking, and JAX warns of any fork.
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
@pytest.mark.usefixtures("this_machine_alone", "ray")
def test_a_connected_ray_cluster_gives_the_same_table(serial_images: pd.DataFrame, tmp_path: Path) -> None:
    study = image_study(tmp_path)
    study.run(jobs=2, parallel="ray", progress=False)
    pd.testing.assert_frame_equal(study.results, serial_images, check_exact=True)


@pytest.mark.slow
def test_a_connected_dask_cluster_gives_the_same_table(serial_images: pd.DataFrame, tmp_path: Path) -> None:
    """One of threads, which take turns with the one model of the process, and use its random numbers meanwhile.

    Within a process Dask opens no port.
    """
    study = image_study(tmp_path)
    threads: dict[str, Any] = {"processes": False, "n_workers": 1, "threads_per_worker": 2}
    with load("distributed", "A test").Client(**threads, dashboard_address=None):
        study.run(jobs=2, parallel="dask", progress=False)
    pd.testing.assert_frame_equal(study.results, serial_images, check_exact=True)


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
@pytest.mark.usefixtures("this_machine_alone")
@pytest.mark.parametrize("parallel", ["ray", "dask"])
def test_ray_and_dask_are_started_on_this_machine_where_there_is_no_cluster(
    parallel: Any, serial_points: pd.DataFrame, tmp_path: Path
) -> None:
    study = point_study(tmp_path, schedules=SCHEDULES)
    study.run(jobs=2, parallel=parallel, progress=False)
    pd.testing.assert_frame_equal(study.results, serial_points, check_exact=True)
    # What was started has ended.
    assert not load("ray", "A test").is_initialized()
    with pytest.raises(ValueError, match="No global client"):
        load("distributed", "A test").get_client()


def model_of_which_one_process_ends(marker: Path, parent: int) -> Any:
    """A model that the first process of the study does not live to train."""
    if os.getpid() != parent and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return point_model()


# See `test_a_run_that_raises_is_recorded_and_the_others_go_on`.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn.t accept a copy keyword:DeprecationWarning")
def test_the_runs_of_a_process_that_ended_are_trained_by_the_others(
    serial_points: pd.DataFrame, tmp_path: Path
) -> None:
    model_fn = partial(model_of_which_one_process_ends, tmp_path / "killed", os.getpid())
    study = point_study(tmp_path / "runs", model_fn=model_fn, schedules=SCHEDULES)
    with pytest.warns(RuntimeWarning, match=r"A process ended before its runs .* They are trained by 1\."):
        study.run(jobs=2, progress=False)
    pd.testing.assert_frame_equal(study.results, serial_points, check_exact=True)


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")
@pytest.mark.usefixtures("this_machine_alone")
def test_a_ray_cluster_with_fewer_processors_than_jobs(serial_points: pd.DataFrame, tmp_path: Path) -> None:
    import ray

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, _node_ip_address=LOCALHOST)
    try:
        for folder in ("first", "next"):
            study = point_study(tmp_path / folder, schedules=SCHEDULES)
            study.run(jobs=2, parallel="ray", progress=False)
            pd.testing.assert_frame_equal(study.results, serial_points, check_exact=True)
    finally:
        ray.shutdown()


# `pytest.warns` gives back what it did not expect, without the module by which the suite's own exemption knows it.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn.t accept a copy keyword:DeprecationWarning")
def test_a_run_that_raises_is_recorded_and_the_others_go_on(
    serial_points: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = point_study(tmp_path, schedules=SCHEDULES)
    intact = Spec.batches

    def broken(spec: Spec, seed: int, epoch: int) -> Any:
        if (seed, epoch) == (0, 2):  # In the midst of a run.
            raise OSError("no more batches")
        return intact(spec, seed, epoch)

    with monkeypatch.context() as patched:
        patched.setattr(Spec, "batches", broken)
        with pytest.warns(RuntimeWarning, match="2 of 4 runs failed: see `study.failures`"):
            study.run(progress=False)
    failures = study.failures
    assert sorted(failures[["schedule", "seed"]].to_numpy().tolist()) == [["SGDR (1, 2)", 0], ["constant", 0]]
    assert all("no more batches" in text for text in failures["traceback"])
    assert study.results[["schedule", "seed"]].drop_duplicates().to_numpy().tolist() == [
        [name, 1] for name in SCHEDULES
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        study.run(progress=False)
    assert study.failures.empty
    pd.testing.assert_frame_equal(study.results, serial_points, check_exact=True)


@pytest.mark.parametrize("own", [None, "1"])
def test_processes_hold_back_the_log_of_tensorflow(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if own is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", own)
    with workers("loky", 2):
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (own or "3")
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") == own


def test_what_starts_the_processes_must_be_known(tmp_path: Path) -> None:
    other: Any = "threads"
    message = r"`parallel` must be \"loky\", \"ray\" or \"dask\"\. Received: parallel='threads'\."
    with pytest.raises(ValueError, match=message):
        point_study(tmp_path).run(parallel=other, progress=False)


def test_jobs_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`jobs` must be a positive integer. Received: jobs=0. Pass the number"):
        point_study(tmp_path).run(jobs=0)
    with pytest.raises(ValueError, match=r"`minutes` must be a finite positive number\. Received: minutes=0\. Pass"):
        point_study(tmp_path).run(minutes=0)
