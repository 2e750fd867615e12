"""Runs a module in a process of its own, with one framework, and reads the arrays that it computes.

The module defines `arrays(config)`, which returns arrays by name. `python -m parity_tests.processes MODULE CONFIG.json
OUT.npz` calls it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

__all__ = ["BACKENDS", "Arrays", "by_group", "compute", "max_gap", "read"]

Arrays = dict[str, NDArray[Any]]

BACKENDS = ("tensorflow", "jax", "torch")


def compute(module: str, folder: Path, config: Any = None, *, backend: str = "tensorflow") -> Path:
    """The file of what `arrays(config)` of a module returns, computed unless `folder` has it already.

    Args:
        module: Name of the module.
        folder: Keeps the configurations and the arrays; several processes may share it.
        config: Anything that JSON can hold.
        backend: Keras's, in that process.

    Raises:
        RuntimeError: If the process fails, with what it wrote.
    """
    text = json.dumps(config, indent=1)
    digest = hashlib.sha256(f"{backend} {text}".encode()).hexdigest()[:16]
    stem = folder / f"{module}-{digest}"
    out, config_file = stem.with_name(f"{stem.name}.npz"), stem.with_name(f"{stem.name}.json")
    with FileLock(stem.with_name(f"{stem.name}.lock")):
        if not out.exists():
            config_file.write_text(text)
            _start(module, config_file, out, backend)
    return out


def read(path: Path) -> Arrays:
    """The arrays of a file that `compute` returned."""
    with np.load(path) as arrays:
        return dict(arrays)


def by_group(arrays: Arrays) -> dict[str, Arrays]:
    """Arrays named "GROUP/NAME", by both."""
    groups: dict[str, Arrays] = {}
    for key, array in arrays.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = array
    return groups


def max_gap(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Largest absolute difference; infinite where either is not a number."""
    assert ours.shape == theirs.shape
    gap = float(np.max(np.abs(ours.astype("float64") - theirs.astype("float64"))))
    return gap if np.isfinite(gap) else float("inf")


def _start(module: str, config: Path, out: Path, backend: str) -> None:
    settings = {
        "KERAS_BACKEND": backend,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # Unasked, TensorFlow takes oneDNN only where there is AVX-512; with AVX2 it makes float32 3 times as fast.
        "TF_ENABLE_ONEDNN_OPTS": "1",
        # glibc else gives the memory of large tensors back to the system and asks for it anew at every update.
        "MALLOC_ARENA_MAX": "1",
    }
    result = subprocess.run(
        [sys.executable, "-m", "parity_tests.processes", module, str(config), str(out)],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"`{module}` ended with {result.returncode}:\n{result.stderr[-4000:]}")


def _main(module: str, config: str, out: str) -> None:
    compute_arrays = importlib.import_module(module).arrays
    gc.freeze()  # Let garbage collections leave out a million objects of imported modules.
    arrays = compute_arrays(json.loads(Path(config).read_text()))
    unfinished = Path(out).with_suffix(".part.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(out)


if __name__ == "__main__":
    _main(*sys.argv[1:])
