"""What a training run is, said once for both frameworks, and how it comes back, from its own process, as a trace."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

__all__ = [
    "BACKENDS",
    "MOMENTUM",
    "Control",
    "Run",
    "Side",
    "Trace",
    "Variant",
    "max_gap",
    "prepare",
    "read_runs",
    "read_traces",
    "sides",
    "start",
    "traces",
    "write_traces",
]

Side = Literal["keras", "torch"]
Trace = dict[str, NDArray[Any]]

BACKENDS = ("tensorflow", "jax", "torch")

# Keras on TensorFlow rounds hyperparameters to float32 in float64 runs too: both sides get the rounded ones.
MOMENTUM = float(np.float32(0.9))

# What is done wrong on purpose; each must be caught.
Control = Literal[
    "same_padding", "caffe", "off_by_one", "batchnorm_momentum", "swapped_images", "adamw_epsilon", "one_length"
]

# PyTorch's own ways of computing the same in float32.
Variant = Literal["plain", "no_mkldnn", "channels_last", "two_threads"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run.

    Attributes:
        images: .npz of `images.py`.
        weights: .npz of `weights.py`; not needed by the small net.
        net: "small", two convolutions with BatchNorm, or "resnet50", torchvision's.
        precision: of weights, images and arithmetic.
        optimizer: "sgd", "adamw" or "adamwr".
        momentum_form: whose form of SGD with momentum. Keras's has decoupled weight decay, PyTorch's coupled.
        momentum: of SGD.
        nesterov: of SGD.
        weight_decay: of the optimizer; the normalised one of AdamWR.
        eta_max: rate at every restart.
        T_0: length of the first cycle, in epochs.
        T_mult: growth of the cycles.
        epochs: epochs to train.
        steps: updates in an epoch; None, as many as there are images for.
        batch_size: images in a batch.
        seed: of the last layer's weights, the order, the crops and the flips.
        validation: images that the loss is evaluated on after every epoch, 0 for none.
        checkpoint: save after this epoch, and after the run load that file into a new model and train on to the end;
            0 for not.
        gradients: whether the gradients of the first update come with the trace.
        tensors: beginnings of the names of weights that come with the trace, as they are at the end.
        control: what the Keras side does wrong.
        variant: how the PyTorch side computes.
        weight_noise: relative normal noise on the initial weights, drawn from `noise_seed`.
        noise_seed: seed of that noise.
    """

    images: str
    weights: str = ""
    net: Literal["small", "resnet50"] = "small"
    precision: Literal["float64", "float32"] = "float64"
    optimizer: Literal["sgd", "adamw", "adamwr"] = "sgd"
    momentum_form: Literal["keras", "pytorch"] = "keras"
    momentum: float = MOMENTUM
    nesterov: bool = False
    weight_decay: float = 0.0
    eta_max: float
    T_0: float = 1.0
    T_mult: float = 2.0
    epochs: int
    steps: int | None
    batch_size: int = 8
    seed: int = 0
    validation: int = 16
    checkpoint: int = 0
    gradients: bool = False
    tensors: tuple[str, ...] = ()
    control: Control | None = None
    variant: Variant = "plain"
    weight_noise: float = 0.0
    noise_seed: int = 0


def traces(side: Side, runs: Mapping[str, Run], folder: Path) -> dict[str, Trace]:
    """Make the runs of one framework, one after another in a process of their own, unless `folder` has them already.

    Args:
        side: the framework.
        runs: runs by name.
        folder: keeps configuration and traces; several processes may share it.

    Returns:
        A trace a run: "losses" and "rates" of every update, "val_losses" of every epoch, "resumed_losses",
        "gradients/NAME" and "weights/NAME" where asked for, "versions" as JSON.
    """
    config = json.dumps({name: dataclasses.asdict(run) for name, run in runs.items()}, indent=1)
    stem = f"{side}-{hashlib.sha256(config.encode()).hexdigest()[:16]}"
    out = folder / f"{stem}.npz"
    with FileLock(folder / f"{stem}.lock"):
        if not out.exists():
            (folder / f"{stem}.json").write_text(config)
            start(f"parity_tests.{side}_run", folder / f"{stem}.json", out)
    return read_traces(out, runs)


def prepare(folder: Path, images: Path | None, weights: Path | None) -> dict[str, Any]:
    """Write images and weights into `folder`, once, as both frameworks read them.

    Args:
        folder: several processes may share it.
        images: folder of ants and bees; None for drawn ones.
        weights: ResNet-50's, a .safetensors or .pth file; None for random ones.

    Returns:
        The two arguments of `Run` that name them.
    """
    paths = {"images": folder / "images.npz", "weights": folder / "weights.npz"}
    with FileLock(folder / "prepare.lock"):
        if not paths["weights"].exists():
            (folder / "inputs.txt").write_text(describe(images, weights))
            start("parity_tests.images", paths["images"], *filter(None, [images]), backend="numpy")
            start("parity_tests.weights", paths["weights"], *filter(None, [weights]))
    return {name: str(path) for name, path in paths.items()}


def describe(images: Path | None, weights: Path | None) -> str:
    """What the networks are trained on and from."""
    return (
        f"on {'the real ants and bees' if images else 'drawn insects'}, "
        f"from {'pretrained' if weights else 'random'} weights"
    )


def start(module: str, *arguments: object, backend: str = "tensorflow") -> None:
    """Run a module of this package in a process of its own, to its end."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=Path(__file__).resolve().parent.parent,
        # Unasked, TensorFlow takes oneDNN only where there is AVX-512; with AVX2 it makes float32 3 times as fast.
        env=dict(os.environ, KERAS_BACKEND=backend, TF_ENABLE_ONEDNN_OPTS="1", TF_CPP_MIN_LOG_LEVEL="3"),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"`python -m {module}` ended with {result.returncode}:\n{result.stderr[-4000:]}")


def sides(module: str, folder: Path) -> dict[str, Trace]:
    """What a module computes with the reference and with Keras on every backend, two processes at a time.

    Args:
        module: of this package, run as `python -m MODULE torch OUT.npz` and `python -m MODULE keras OUT.npz`.
        folder: keeps the arrays; several processes may share it.

    Returns:
        The arrays of OUT.npz, for "reference" and for each of `BACKENDS`.
    """

    def load(side: str) -> Trace:
        out = folder / f"{module}-{side}.npz"
        if not out.exists():
            if side == "reference":
                start(module, "torch", out)
            else:
                start(module, "keras", out, backend=side)
        with np.load(out) as arrays:
            return dict(arrays)

    with FileLock(folder / f"{module}.lock"), ThreadPoolExecutor(2) as pool:
        names = (*BACKENDS, "reference")
        return dict(zip(names, pool.map(load, names), strict=True))


def read_runs(path: Path) -> dict[str, Run]:
    """The runs of a configuration that `traces` wrote."""
    config = json.loads(path.read_text())
    return {name: Run(**{**run, "tensors": tuple(run["tensors"])}) for name, run in config.items()}


def write_traces(path: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Write traces for `traces` to read; under its final name only once it is whole."""
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **{f"{name}/{key}": value for name, trace in found.items() for key, value in trace.items()})
    unfinished.rename(path)


def read_traces(path: Path, names: Iterable[str]) -> dict[str, Trace]:
    """The arrays that a file holds under "NAME/ARRAY", by both; a name without any has none."""
    found: dict[str, Trace] = {name: {} for name in names}
    with np.load(path) as arrays:
        for key in arrays.files:
            name, _, array = key.partition("/")
            found[name][array] = arrays[key]
    return found


def max_gap(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Largest absolute difference; infinite where either is not a number."""
    assert ours.shape == theirs.shape
    gap = float(np.max(np.abs(ours.astype("float64") - theirs.astype("float64"))))
    return gap if np.isfinite(gap) else float("inf")
