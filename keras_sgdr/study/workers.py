"""The processes that train the runs of a study, here or on a cluster, and each one's share of this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Literal

import keras

from keras_sgdr._optional import load

__all__ = ["PARALLEL", "Parallel", "lost_worker", "take_share", "workers"]

Parallel = Literal["loky", "ray", "dask"]
PARALLEL = ("loky", "ray", "dask")
# Ray and Dask that are started here serve this machine alone.
LOCALHOST = "127.0.0.1"


@contextlib.contextmanager
def workers(parallel: Parallel, jobs: int) -> Iterator[int]:
    """Select joblib's backend. Ray or Dask are started on this machine unless they are connected already.

    Args:
        parallel: What starts the processes.
        jobs: How many.

    Yields:
        How many there are: on Ray, at most as many as the cluster has processors.
    """
    what = f'A study with parallel="{parallel}"'
    config = load("joblib", "A study with jobs=2 or more").parallel_config
    with contextlib.ExitStack() as stack:
        if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
            # Processes begin with it. TensorFlow's log of each would be written into the progress bar.
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
            stack.callback(os.environ.pop, "TF_CPP_MIN_LOG_LEVEL")
        options: dict[str, Any] = {}
        if parallel == "ray":
            ray = load("ray", what)
            load("ray.util.joblib", what).register_ray()
            if not ray.is_initialized():
                stack.callback(ray.shutdown)
                ray.init(num_cpus=jobs, include_dashboard=False, _node_ip_address=LOCALHOST)
            resources = ray.cluster_resources()
            # One that waits for a processor would keep all from beginning.
            jobs = max(1, min(jobs, int(resources.get("CPU", 1))))
            # Ray hides the GPUs from tasks that do not ask for them.
            if gpus := resources.get("GPU", 0):
                options = {"ray_remote_args": {"num_gpus": min(1.0, gpus / jobs)}}
        elif parallel == "dask":
            distributed = load("distributed", what)
            try:
                distributed.get_client()
            except ValueError:
                cluster = {"host": LOCALHOST, "n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
                stack.enter_context(distributed.Client(**cluster))
        stack.enter_context(config(parallel, **options))
        yield jobs


def lost_worker(parallel: Parallel) -> tuple[type[Exception], ...]:
    """What is raised where a process has ended before its runs. Dask itself gives these to another one."""
    if parallel != "ray":
        return (BrokenProcessPool,)
    exceptions = load("ray.exceptions", 'A study with parallel="ray"')
    return (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.NodeDiedError)


def take_share(place: int, number: int) -> None:
    """Let this process use its share of this machine, one of `number`.

    That is one GPU, the first again after the last, and memory as it is needed: several may share it. On TensorFlow and
    PyTorch also as many threads, since more than there are cores wait for one another; JAX's are set before it begins.
    """
    backend = keras.config.backend()
    threads = max(1, (os.cpu_count() or 1) // number)
    if backend == "tensorflow":
        import tensorflow as tf

        # A process that has trained before keeps what it has.
        with contextlib.suppress(RuntimeError):
            if "TF_NUM_INTRAOP_THREADS" not in os.environ:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
            if gpus := tf.config.list_physical_devices("GPU"):
                for gpu in gpus:
                    tf.config.experimental.set_memory_growth(gpu, True)
                tf.config.set_visible_devices(gpus[place % len(gpus)], "GPU")
    elif backend == "torch":
        import torch

        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(threads)
        if count := torch.cuda.device_count():
            torch.cuda.set_device(place % count)
    else:
        import jax

        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        devices: Any = jax.local_devices()
        jax.config.update("jax_default_device", devices[place % len(devices)])
