"""L1: one update in float64, made after another one at twice its rate, so that momentum has something to remember."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parity_tests import bands
from parity_tests.measured import Recorder
from parity_tests.runs import Run, Trace, max_gap
from parity_tests.tolerances import CONTROL, GRADIENT, ONE_UPDATE, STATISTICS

Pair = tuple[dict[str, Trace], dict[str, Trace]]

DECAY = float(np.float32(0.01))  # rounded as Keras on TensorFlow rounds it

# Two updates, the second at half the rate of the first where not said otherwise.
CASES: dict[str, dict[str, Any]] = {
    "plain": {"momentum": 0.0},
    "momentum, Keras's form": {},
    "momentum, PyTorch's form": {"momentum_form": "pytorch"},
    "Nesterov, Keras's form": {"nesterov": True},
    "Nesterov, PyTorch's form": {"nesterov": True, "momentum_form": "pytorch"},
    "decoupled decay": {"weight_decay": DECAY},
    "coupled decay": {"weight_decay": DECAY, "momentum_form": "pytorch"},
    # Its epsilons fit one update only: see `adamw.py`.
    "AdamW": {"optimizer": "adamw", "weight_decay": DECAY, "eta_max": 0.001, "steps": 1},
    # Its cycle is longer than the training, so a decay that is not the cycle's is another one.
    "AdamWR": {"optimizer": "adamwr", "weight_decay": 0.025, "eta_max": 0.001, "T_0": 2.0},
    "ResNet-50": {"net": "resnet50", "eta_max": 0.001},
}

CONTROLS: dict[str, dict[str, Any]] = {
    **{name: {"control": how} for name, how in bands.CONTROLS.items()},
    "AdamW epsilon unmapped": {**CASES["AdamW"], "control": "adamw_epsilon"},
    "AdamWR decay not normalised by the cycle": {**CASES["AdamWR"], "control": "one_length"},
}


@pytest.fixture(scope="module")
def pair(inputs: dict[str, Any], train_both: Callable[..., Pair]) -> Pair:
    def runs(cases: dict[str, dict[str, Any]]) -> dict[str, Run]:
        common = {"eta_max": 0.1, "epochs": 1, "steps": 2, "gradients": True, "tensors": ("",), **inputs}
        return {name: Run(**{**common, **case}) for name, case in cases.items()}

    return train_both(runs(CASES | CONTROLS), runs(CASES))


def relative(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def gaps(ours: Trace, theirs: Trace) -> dict[str, tuple[float, float]]:
    """What L1 compares: the largest gap of each kind and its limit."""
    gradients = [name for name in theirs if name.startswith("gradients/")]
    weights = [name for name in theirs if name.startswith("weights/") and not name.endswith("num_batches_tracked")]
    statistics = [name for name in weights if "running" in name]
    assert gradients
    assert statistics
    assert {*gradients, *weights} == {name for name in ours if name.startswith(("gradients/", "weights/"))}
    return {
        "rate": (max_gap(ours["rates"], theirs["rates"]), 0.0),
        "loss": (max_gap(ours["losses"], theirs["losses"]), ONE_UPDATE.limit),
        "weights": (
            max(max_gap(ours[name], theirs[name]) for name in set(weights) - set(statistics)),
            ONE_UPDATE.limit,
        ),
        "gradients": (max(relative(ours[name], theirs[name]) for name in gradients), GRADIENT.limit),
        "BatchNorm": (max(relative(ours[name], theirs[name]) for name in statistics), STATISTICS.limit),
    }


@pytest.mark.parametrize("name", CASES)
def test_update(name: str, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][name], pair[1][name]
    for what, (value, limit) in gaps(ours, theirs).items():
        measure.agrees(f"{name}: {what}", value, limit)


@pytest.mark.parametrize("name", CONTROLS)
def test_control(name: str, pair: Pair, measure: Recorder) -> None:
    case = name.split()[0] if name.startswith("AdamW") else "momentum, Keras's form"
    found = gaps(pair[0][name], pair[1][case])
    found.pop("rate")  # whose limit is 0; what follows from it must be seen
    measure.caught(name, max(value / limit for value, limit in found.values()), CONTROL.limit)


def test_stock_momentum(pair: Pair, measure: Recorder) -> None:
    found = gaps(pair[0]["momentum, Keras's form"], pair[1]["momentum, PyTorch's form"])
    value, limit = found["weights"]
    measure.caught("stock SGD against stock SGD", value / limit, CONTROL.limit)
