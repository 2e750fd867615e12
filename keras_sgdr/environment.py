"""What a measured result was measured with: versions and hardware."""

from __future__ import annotations

import os
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras

__all__ = ["environment"]

CPU_INFO = Path("/proc/cpuinfo")


def environment() -> dict[str, Any]:
    """Versions and hardware of this process, to be kept with a result.

    Returns:
        `versions`: of Python, Keras, NumPy, the backend and this package. `hardware`: name of the `cpu`, `cores` that
        this process may use, names of the `gpus` that the backend sees. `backend`: its name.
    """
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "versions": {
            "python": platform.python_version(),
            # Of the modules themselves: TensorFlow's comes with distributions of several names.
            **{name: str(import_module(name).__version__) for name in ("keras", "numpy", backend)},
            "keras-sgdr": _own_version(),
        },
        "hardware": {"cpu": _cpu(), "cores": _cores(), "gpus": _gpus(backend)},
    }


def _own_version() -> str:
    try:
        return version("keras-sgdr")
    except PackageNotFoundError:  # A checkout on the path, as on a machine where nothing can be installed.
        return str(import_module("keras_sgdr").__version__)


def _cpu() -> str:
    # `platform.processor` names no more than the architecture on Linux.
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus(backend: str) -> list[str]:
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
