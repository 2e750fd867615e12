"""The weights that both frameworks begin with, in torchvision's names and layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity_tests.training.run import Run

__all__ = ["CHANNELS", "initial_weights"]

CHANNELS = (8, 16)  # of the small net's two convolutions


def initial_weights(run: Run) -> dict[str, NDArray[Any]]:
    """A state dict in float64: of the file or the small net, the last layer drawn anew from the run's seed."""
    random = np.random.default_rng((run.seed, 1))
    if run.net == "small":
        weights, features = _small(random), CHANNELS[1]
    else:
        with np.load(run.inputs) as file:
            names = [name for name in file.files if name.startswith("weights/")]
            weights = {name.removeprefix("weights/"): file[name].astype("float64") for name in names}
            features = 2048
    bound = features**-0.5  # torch's and ours for a linear layer
    weights["fc.weight"] = random.uniform(-bound, bound, (2, features))
    weights["fc.bias"] = random.uniform(-bound, bound, 2)
    # Rounded, so that a float32 and a float64 run begin at one point.
    weights = {name: tensor.astype("float32").astype("float64") for name, tensor in weights.items()}
    if run.weight_noise:
        noise = np.random.default_rng((run.noise_seed, 2))
        for name, tensor in weights.items():
            if "running" not in name:
                tensor *= 1 + run.weight_noise * noise.normal(size=tensor.shape)
    return weights


def _small(random: np.random.Generator) -> dict[str, NDArray[Any]]:
    weights = {}
    inputs = 3
    for i, outputs in enumerate(CHANNELS, 1):
        weights[f"conv{i}.weight"] = random.normal(0, (2 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3))
        # Not the usual ones and zeros, which would hide a confusion of the four.
        weights[f"bn{i}.weight"] = random.uniform(0.5, 1.5, outputs)
        weights[f"bn{i}.bias"] = random.normal(0, 0.1, outputs)
        weights[f"bn{i}.running_mean"] = random.normal(0, 0.1, outputs)
        weights[f"bn{i}.running_var"] = random.uniform(0.5, 1.5, outputs)
        inputs = outputs
    return weights
