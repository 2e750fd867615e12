"""L2: whole trajectories in float64, through restarts and through a checkpoint, where rounding does not grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parity_tests import bands
from parity_tests.measured import Recorder
from parity_tests.runs import Run, Trace, max_gap
from parity_tests.tolerances import CONTROL, TRAJECTORY, UNRECONCILED

Pair = tuple[dict[str, Trace], dict[str, Trace]]

# 224 updates and restarts after 1, 3, 7, 15 and 31 epochs, the checkpoint within the cycle that ends at 31.
# The ResNet: 12 updates and a restart after 1 epoch, the checkpoint within the cycle that ends at 3.
SMALL: dict[str, Any] = {"eta_max": 0.01, "epochs": 32, "steps": 7, "checkpoint": 20}
RESNET: dict[str, Any] = {
    "net": "resnet50",
    "eta_max": 0.001,
    "epochs": 3,
    "steps": 4,
    "batch_size": 4,
    "validation": 8,
    "checkpoint": 2,
}

CASES: dict[str, dict[str, Any]] = {
    "small net, Keras's form": SMALL,
    "small net, PyTorch's form": {**SMALL, "momentum_form": "pytorch"},
    "small net, AdamWR": {**SMALL, "optimizer": "adamwr", "weight_decay": 0.025, "eta_max": 0.001},
    "ResNet-50, Keras's form": RESNET,
}
PYTORCH_ONLY = {"ResNet-50, PyTorch's form": {**RESNET, "momentum_form": "pytorch", "checkpoint": 0}}

# Up to the third cycle end.
SHORT = {
    f"short, {form}": {**CASES[f"small net, {form}"], "epochs": 7, "checkpoint": 0}
    for form in ("Keras's form", "AdamWR")
}
CONTROLS = {**bands.CONTROLS, "AdamWR decay not normalised at restarts": "one_length"}


def short(control: str) -> str:
    """What a control is held against."""
    return "short, AdamWR" if control.startswith("AdamWR") else "short, Keras's form"


@pytest.fixture(scope="module")
def pair(inputs: dict[str, Any], train_both: Callable[..., Pair]) -> Pair:
    def runs(cases: dict[str, dict[str, Any]]) -> dict[str, Run]:
        return {name: Run(**inputs, **case) for name, case in cases.items()}

    controls = {name: {**SHORT[short(name)], "control": control} for name, control in CONTROLS.items()}
    return train_both(runs(CASES | controls), runs(CASES | PYTORCH_ONLY | SHORT))


@pytest.mark.parametrize("name", CASES)
def test_trajectory(name: str, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][name], pair[1][name]
    case = CASES[name]
    assert len(theirs["losses"]) == case["epochs"] * case["steps"]
    measure.agrees(f"{name}: rates", max_gap(ours["rates"], theirs["rates"]), 0.0)
    for what in ("losses", "val_losses"):
        measure.agrees(f"{name}: {what}", max_gap(ours[what], theirs[what]), TRAJECTORY.limit)


@pytest.mark.parametrize("name", CASES)
def test_resumed(name: str, pair: Pair, measure: Recorder) -> None:
    # Both against PyTorch's uninterrupted run: what was resumed goes on where it would have gone.
    case = CASES[name]
    uninterrupted = pair[1][name]["losses"][case["checkpoint"] * case["steps"] :]
    assert len(uninterrupted) > 0
    for side, found in zip(("Keras", "PyTorch"), pair, strict=True):
        gap = max_gap(found[name]["resumed_losses"], uninterrupted)
        measure.agrees(f"{name}: {side} resumed in mid-cycle", gap, TRAJECTORY.limit)


@pytest.mark.parametrize("name", CONTROLS)
def test_control(name: str, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][name], pair[1][short(name)]
    gap = max(max_gap(ours[what], theirs[what]) for what in ("losses", "val_losses"))
    measure.caught(name, gap / TRAJECTORY.limit, CONTROL.limit)


@pytest.mark.parametrize("net", ["small net", "ResNet-50"])
def test_stock_momentum(net: str, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][f"{net}, Keras's form"], pair[1][f"{net}, PyTorch's form"]
    gap = max_gap(ours["losses"], theirs["losses"])
    measure.caught(f"{net}: stock SGD against stock SGD, losses", gap, UNRECONCILED.limit)
