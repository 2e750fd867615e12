"""The runs of the normal suite: levels L1 and L2, and level L3 on the small net.

Each framework makes them in one process, in which runs share what is compiled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from parity_tests.processes import Arrays
from parity_tests.training.bands import band_runs
from parity_tests.training.controls import Control, controls_of
from parity_tests.training.run import Run, traces_of_both

__all__ = ["L1", "L2", "Pair", "spoiled", "suite_traces"]

# Traces of Keras and of PyTorch, by the names of their runs.
Pair = tuple[dict[str, Arrays], dict[str, Arrays]]
Settings = dict[str, dict[str, Any]]

DECAY = float(np.float32(0.01))  # rounded as Keras on TensorFlow rounds it

# The first has the schedule's own rate, which is the one that is traced.
_GROUPS = {"fc": 1.0, "conv2": 0.3, "*": 0.1}

# Two updates, the second at half the rate of the first where not said otherwise.
_TWO_UPDATES: dict[str, Any] = {"eta_max": 0.1, "epochs": 1, "steps": 2, "inspected": 2, "validation": 0}
_OPTIMIZERS: Settings = {
    "plain": {"momentum": 0.0},
    "momentum, Keras's form": {},
    "momentum, PyTorch's form": {"momentum_form": "pytorch"},
    "Nesterov, Keras's form": {"nesterov": True},
    "Nesterov, PyTorch's form": {"nesterov": True, "momentum_form": "pytorch"},
    "decoupled decay": {"weight_decay": DECAY},
    "coupled decay": {"weight_decay": DECAY, "momentum_form": "pytorch"},
    # Its epsilons fit one update only: see `run.EPSILON`.
    "AdamW": {"optimizer": "adamw", "weight_decay": DECAY, "eta_max": 0.001, "steps": 1, "inspected": 1},
    # Its cycle is longer than the training, so a decay that is not the cycle's is another one.
    "AdamWR": {"optimizer": "adamwr", "weight_decay": 0.025, "eta_max": 0.001, "T_0": 2.0},
    "rate groups": {"multipliers": _GROUPS, "weight_decay": DECAY},
    "rate groups, AdamWR": {
        "multipliers": _GROUPS,
        "optimizer": "adamwr",
        "weight_decay": 0.025,
        "eta_max": 0.001,
        "T_0": 2.0,
    },
}
L1: Settings = {name: {**_TWO_UPDATES, **settings} for name, settings in _OPTIMIZERS.items()}

# 224 updates and restarts after 1, 3, 7, 15 and 31 epochs, the checkpoint within the cycle that ends at 31.
# The ResNet: 12 updates and a restart after 1 epoch, the checkpoint within the cycle that ends at 3. Its first two
# updates are L1's too.
_SMALL: dict[str, Any] = {"eta_max": 0.01, "epochs": 32, "steps": 7, "checkpoint": 20}
_RESNET: dict[str, Any] = {
    "net": "resnet50",
    "eta_max": 0.001,
    "epochs": 3,
    "steps": 4,
    "batch_size": 4,
    "validation": 8,
    "checkpoint": 2,
    "inspected": 2,
}
L2: Settings = {
    "small net, Keras's form": _SMALL,
    "small net, PyTorch's form": {**_SMALL, "momentum_form": "pytorch"},
    "small net, AdamWR": {**_SMALL, "optimizer": "adamwr", "weight_decay": 0.025, "eta_max": 0.001},
    "small net, rate groups": {**_SMALL, "multipliers": _GROUPS},
    "ResNet-50, Keras's form": _RESNET,
}
_PYTORCH_ONLY = {
    "ResNet-50, PyTorch's form": {
        **_RESNET,
        "momentum_form": "pytorch",
        "checkpoint": 0,
        "inspected": 0,
        "validation": 0,
    }
}

# Up to the third cycle end.
_SHORT: Settings = {
    f"short, {form}": {**L2[f"small net, {form}"], "epochs": 7, "checkpoint": 0} for form in ("Keras's form", "AdamWR")
}

_SPOILED = {
    "L1": {"sgd": "momentum, Keras's form", "adamw": "AdamW", "adamwr": "AdamWR"},
    "L2": {"sgd": "short, Keras's form", "adamwr": "short, AdamWR"},
}


def spoiled(level: str, control: Control) -> str:
    """The name of the run that a control spoils, and is held against."""
    return _SPOILED[level][control.optimizer]


def suite_traces(folder: Path, inputs: str) -> dict[str, Pair]:
    """The traces of the normal suite, by level.

    Args:
        folder: See `processes.compute`.
        inputs: File of `inputs.py`.
    """

    def runs(settings: Settings) -> dict[str, Run]:
        return {name: Run(inputs=inputs, **run) for name, run in settings.items()}

    def with_controls(level: str, settings: Settings, among: Settings) -> dict[str, Run]:
        controls = controls_of(*_SPOILED[level])
        return runs(settings | {c.name: {**among[spoiled(level, c)], "control": c.name} for c in controls})

    levels = {
        "L1": (with_controls("L1", L1, L1), runs(L1)),
        "L2": (with_controls("L2", L2, _SHORT), runs(L2 | _PYTORCH_ONLY | _SHORT)),
        "L3": band_runs("small net", inputs),
    }
    keras, torch = (
        {f"{level} {name}": run for level, sides in levels.items() for name, run in sides[side].items()}
        for side in (0, 1)
    )
    ours, theirs = traces_of_both(keras, torch, folder)
    return {
        level: (
            {name: ours[f"{level} {name}"] for name in sides[0]},
            {name: theirs[f"{level} {name}"] for name in sides[1]},
        )
        for level, sides in levels.items()
    }
