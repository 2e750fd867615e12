"""What a training is, said once for both frameworks, and how its trace comes back from the process that made it."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from parity_tests.processes import Arrays, by_group, compute, read

__all__ = [
    "BETAS",
    "EPSILON",
    "MOMENTUM",
    "Run",
    "Side",
    "Variant",
    "n_threads",
    "prepare",
    "runs_of",
    "traces",
    "traces_of_both",
    "versions_of",
]

Side = Literal["keras", "torch"]

# Keras on TensorFlow rounds hyperparameters to float32 in float64 runs too: both sides get the rounded ones.
MOMENTUM = float(np.float32(0.9))
BETAS = (float(np.float32(0.9)), float(np.float32(0.999)))  # of AdamW

# AdamW's epsilon. PyTorch divides by `sqrt(v / (1 - b2^t)) + eps`, Keras by `(sqrt(v) + eps) / sqrt(1 - b2^t)`: they
# agree if Keras's epsilon is PyTorch's times `sqrt(1 - b2^t)`. That depends on `t`, so a fixed epsilon fits one update:
# here the first.
_KERAS_EPSILON = float(np.float32(1e-6))
EPSILON: dict[Side, float] = {"keras": _KERAS_EPSILON, "torch": _KERAS_EPSILON / (1 - BETAS[1]) ** 0.5}

# PyTorch's own ways of computing the same in float32.
Variant = Literal["plain", "no_mkldnn", "channels_last", "two_threads"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training.

    Attributes:
        inputs: File of `inputs.py`.
        net: "small", two convolutions with BatchNorm, or "resnet50", torchvision's.
        precision: Of weights, images and arithmetic.
        optimizer: "sgd", "adamw" or "adamwr".
        momentum_form: Whose form of SGD with momentum. Keras's has decoupled weight decay, PyTorch's coupled.
        momentum: Of SGD.
        nesterov: Of SGD.
        weight_decay: Of the optimizer; the normalised one of AdamWR.
        eta_max: Rate at every restart.
        multipliers: Rates of groups of layers, by patterns that mean the same in the names of both; None for one rate.
        T_0: Length of the first cycle, in epochs.
        T_mult: Growth of the cycles.
        epochs: Epochs to train.
        steps: Updates in an epoch; None, as many as there are images for.
        batch_size: Images in a batch.
        seed: Of the last layer's weights, the order, the crops and the flips.
        validation: Images that the loss is evaluated on after every epoch, 0 for none.
        checkpoint: Save after this epoch, and after the run load that file and train on to the end; 0 for not.
        inspected: The trace holds the gradients of the first update and the weights after so many updates; 0 for not.
        control: Name of what the Keras side does wrong.
        variant: How the PyTorch side computes.
        weight_noise: Relative normal noise on the initial weights, drawn from `noise_seed`.
        noise_seed: Seed of that noise.
    """

    inputs: str
    net: Literal["small", "resnet50"] = "small"
    precision: Literal["float64", "float32"] = "float64"
    optimizer: Literal["sgd", "adamw", "adamwr"] = "sgd"
    momentum_form: Literal["keras", "pytorch"] = "keras"
    momentum: float = MOMENTUM
    nesterov: bool = False
    weight_decay: float = 0.0
    eta_max: float
    multipliers: dict[str, float] | None = None
    T_0: float = 1.0
    T_mult: float = 2.0
    epochs: int
    steps: int | None
    batch_size: int = 8
    seed: int = 0
    validation: int = 16
    checkpoint: int = 0
    inspected: int = 0
    control: str = ""
    variant: Variant = "plain"
    weight_noise: float = 0.0
    noise_seed: int = 0


def runs_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Run]]:
    """Names and runs of a configuration that `traces` wrote."""
    return ((name, Run(**run)) for name, run in config.items())


def traces(side: Side, runs: Mapping[str, Run], folder: Path) -> dict[str, Arrays]:
    """Make the runs of one framework, one after another in one process, unless `folder` has them already.

    Returns:
        A trace for each run: "losses" and "rates" of every update, "val_losses" and "val_accuracies" of every epoch,
        "resumed_losses", "gradients/NAME" and "weights/NAME" where asked for, "versions" as JSON.
    """
    config = {name: dataclasses.asdict(run) for name, run in runs.items()}
    return by_group(read(compute(f"parity_tests.training.{side}_side", folder, config)))


def traces_of_both(
    keras: Mapping[str, Run], torch: Mapping[str, Run], folder: Path
) -> tuple[dict[str, Arrays], dict[str, Arrays]]:
    """The traces of runs of Keras and of runs of PyTorch, made at one time."""
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(traces, "keras", keras, folder)
        theirs = pool.submit(traces, "torch", torch, folder)
        return ours.result(), theirs.result()


def prepare(folder: Path, images: Path | None, weights: Path | None) -> str:
    """Write images and weights into `folder`, once, as both frameworks read them.

    Args:
        folder: Several processes may share it.
        images: Folder of ants and bees; None for drawn ones.
        weights: ResNet-50's, a .safetensors or .pth file; None for random ones.

    Returns:
        The file, for `Run.inputs`.
    """
    config = {"images": images and str(images), "weights": weights and str(weights)}
    return str(compute("parity_tests.training.inputs", folder, config, backend="numpy"))


def n_threads() -> int:
    """The threads that this process may compute with."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


def versions_of(*modules: ModuleType) -> str:
    """The versions of Python and of these packages, as JSON."""
    versions = {module.__name__: module.__version__ for module in modules}
    return json.dumps({"python": platform.python_version(), **versions})
