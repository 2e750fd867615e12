"""Runs in several processes, through joblib: on this machine, or by Ray or Dask on a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_sgdr.arguments import require
from keras_sgdr.study.packages import load
from keras_sgdr.study.records import Run
from keras_sgdr.study.worker import work

if TYPE_CHECKING:
    from keras_sgdr.study.study import Study

__all__ = ["PARALLEL", "share_out"]

PARALLEL = ("loky", "ray", "dask")


def share_out(study: Study, runs: Sequence[Run], fingerprint: str | None, jobs: int, parallel: str) -> None:
    """Let `jobs` processes train an equal share of the runs each, and build the model once for it.

    Args:
        study: The study.
        runs: What is to be trained.
        fingerprint: Of the runs in the folder.
        jobs: Processes.
        parallel: One of `PARALLEL`.

    Raises:
        ValueError: If `parallel` is none of them, or the folder's runs are of another model.
    """
    require(
        parallel in PARALLEL,
        f"`parallel` must be one of {', '.join(PARALLEL)}.",
        "parallel",
        parallel,
        'Pass "loky" for the processes of this machine.',
    )
    joblib = load("joblib")
    with _backend(parallel, jobs):
        joblib.Parallel(n_jobs=jobs, batch_size=1, pre_dispatch="all")(
            joblib.delayed(_work)(study, runs[number::jobs], fingerprint, number if parallel == "loky" else None)
            for number in range(jobs)
        )


def _work(study: Study, runs: Sequence[Run], fingerprint: str | None, number: int | None) -> None:
    if number is not None:
        take_gpu(number)
    work(study, runs, fingerprint)


@contextlib.contextmanager
def _backend(parallel: str, jobs: int) -> Iterator[None]:
    """Let joblib use it; Ray or Dask are begun on this machine unless they are connected already."""
    config = load("joblib").parallel_config
    if parallel == "loky":
        with config("loky"):
            yield
    elif parallel == "ray":
        ray = load("ray")
        load("ray.util.joblib").register_ray()
        if not ray.is_initialized():
            ray.init()
        # Ray hides the GPUs from who does not ask for them.
        gpus = ray.cluster_resources().get("GPU", 0)
        with config("ray", ray_remote_args={"num_gpus": min(1.0, gpus / jobs)} if gpus else {}):
            yield
    else:
        distributed = load("distributed")
        with contextlib.ExitStack() as stack:
            try:
                distributed.get_client()
            except ValueError:
                stack.enter_context(distributed.Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None))
            stack.enter_context(config("dask"))
            yield


def take_gpu(number: int) -> None:
    """Let this process use the GPU of its number, counted round, and memory as it needs it: several may share one."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # A process that has trained before keeps the one it has.
        with contextlib.suppress(RuntimeError):
            if gpus := tf.config.list_physical_devices("GPU"):
                for gpu in gpus:
                    tf.config.experimental.set_memory_growth(gpu, True)
                tf.config.set_visible_devices(gpus[number % len(gpus)], "GPU")
    elif backend == "torch":
        import torch

        if count := torch.cuda.device_count():
            torch.cuda.set_device(number % count)
    else:
        import jax

        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        devices: Any = jax.local_devices()
        jax.config.update("jax_default_device", devices[number % len(devices)])
