"""Weights under SGD and AdamWR in each framework's own optimizers and in our mirrors: one framework a process.

    KERAS_BACKEND=tensorflow python -m parity_tests.optimizer_traces keras OUT.npz
    python -m parity_tests.optimizer_traces torch OUT.npz

All walk down the same float64 quadratic at the same rates, which restart half way, where the two forms part.
OUT.npz holds, under "form/case", an array of weights of shape (updates + 1, 2, 3).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Keras on TensorFlow rounds hyperparameters to float32. These are float32 numbers to begin with, so that all
# compute with the same ones; EXACT_MOMENTUM is not.
MOMENTUM = float(np.float32(0.9))
DECAY = float(np.float32(0.01))
EXACT_MOMENTUM = 0.9

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": MOMENTUM},
    "nesterov": {"momentum": MOMENTUM, "nesterov": True},
    "decay": {"weight_decay": DECAY},
    "momentum_decay": {"momentum": MOMENTUM, "weight_decay": DECAY},
    "nesterov_decay": {"momentum": MOMENTUM, "nesterov": True, "weight_decay": DECAY},
    "exact_momentum": {"momentum": EXACT_MOMENTUM},
}

ADAMWR_CASES: dict[str, dict[str, Any]] = {
    "plain": {"lambda_norm": 0.0},
    "decay": {"lambda_norm": 0.05},
}

# Two cycles of 20 updates: the rate falls to near 0 and jumps back to 0.1.
RATES: list[float] = [0.05 * (1 + np.cos(np.pi * (k % 20) / 20)) for k in range(40)]

# What AdamWR is told of them: as if the second were four times as long as the first, so that its decay is half.
CYCLE_UPDATES: list[float] = [20.0] * 20 + [80.0] * 20

_random = np.random.default_rng(0)
START: Array = _random.normal(size=(2, 3))
TARGET: Array = _random.normal(size=(2, 3))
CURVATURE: Array = np.geomspace(0.05, 5.0, 6).reshape(2, 3)


def gradient(weights: Array) -> Array:
    """Of the quadratic, computed in NumPy so that only the optimizers differ."""
    return CURVATURE * (weights - TARGET)


def torch_path(optimizer_class: Any, settings: dict[str, Any]) -> Array:
    """Weights before the first update and after each, under a PyTorch optimizer."""
    import torch

    p = torch.nn.Parameter(torch.from_numpy(START.copy()))
    optimizer = optimizer_class([p], lr=RATES[0], **settings)
    path = [START]
    for rate, updates in zip(RATES, CYCLE_UPDATES, strict=True):
        group = optimizer.param_groups[0]
        group["lr"] = rate
        if "lambda_norm" in group:
            group["lambda_i"] = group["lambda_norm"] / updates**0.5
        p.grad = torch.from_numpy(gradient(path[-1]))
        optimizer.step()
        path.append(p.detach().numpy().copy())
    return np.stack(path)


def keras_path(optimizer_class: Any, settings: dict[str, Any]) -> Array:
    """Weights before the first update and after each, under a Keras optimizer."""
    import keras

    variable = keras.Variable(START, dtype="float64")
    optimizer = optimizer_class(RATES[0], **settings)
    path = [START]
    for rate, updates in zip(RATES, CYCLE_UPDATES, strict=True):
        optimizer.learning_rate = rate
        if hasattr(optimizer, "cycle_updates"):
            optimizer.cycle_updates = updates
        optimizer.apply([keras.ops.convert_to_tensor(gradient(path[-1]), "float64")], [variable])
        path.append(np.array(keras.ops.convert_to_numpy(variable)))
    return np.stack(path)


def torch_traces() -> dict[str, Array]:
    """`torch.optim.SGD` ("pytorch"), `torch_reference.optimizers.KerasSGD` ("keras"), its AdamWR ("adamwr")."""
    import torch

    from torch_reference.optimizers import AdamWR, KerasSGD

    forms: dict[str, Any] = {"pytorch": torch.optim.SGD, "keras": KerasSGD}
    traces = {f"{form}/{case}": torch_path(forms[form], CASES[case]) for form in forms for case in CASES}
    return traces | {f"adamwr/{case}": torch_path(AdamWR, settings) for case, settings in ADAMWR_CASES.items()}


def keras_traces() -> dict[str, Array]:
    """`keras_sgdr.optimizers.PyTorchSGD` ("pytorch"), `keras.optimizers.SGD` ("keras"), our AdamWR ("adamwr")."""
    os.environ["JAX_ENABLE_X64"] = "1"
    import keras

    from keras_sgdr.optimizers import AdamWR, PyTorchSGD

    keras.config.set_floatx("float64")
    forms: dict[str, Any] = {"pytorch": PyTorchSGD, "keras": keras.optimizers.SGD}
    traces = {f"{form}/{case}": keras_path(forms[form], CASES[case]) for form in forms for case in CASES}
    return traces | {f"adamwr/{case}": keras_path(AdamWR, settings) for case, settings in ADAMWR_CASES.items()}


if __name__ == "__main__":
    arrays: dict[str, Any] = torch_traces() if sys.argv[1] == "torch" else keras_traces()
    np.savez(sys.argv[2], **arrays)
