"""L1: one update in float64, made after another one, so that momentum has something to remember."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from parity_tests.measurements import Recorder
from parity_tests.processes import Arrays, max_gap
from parity_tests.tolerances import CONTROL, GRADIENT, ONE_UPDATE, STATISTICS
from parity_tests.training.controls import Control, controls_of
from parity_tests.training.suite import L1, Pair, spoiled

RESNET = "ResNet-50"


def traces_of(name: str, suite: dict[str, Pair]) -> tuple[Arrays, Arrays]:
    """Of a case: ResNet-50's are the first two updates of L2's trajectory."""
    level, name = ("L2", "ResNet-50, Keras's form") if name == RESNET else ("L1", name)
    ours, theirs = suite[level]
    return ours[name], theirs[name]


def relative(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def gaps(ours: Arrays, theirs: Arrays) -> dict[str, tuple[float, float]]:
    """What L1 compares: the largest gap of each kind and its limit."""
    gradients = [name for name in theirs if name.startswith("gradients/")]
    weights = [name for name in theirs if name.startswith("weights/") and not name.endswith("num_batches_tracked")]
    statistics = [name for name in weights if "running" in name]
    assert gradients
    assert statistics
    assert {*gradients, *weights} == {name for name in ours if name.startswith(("gradients/", "weights/"))}
    return {
        "rate": (max_gap(ours["rates"][:2], theirs["rates"][:2]), 0.0),
        "loss": (max_gap(ours["losses"][:2], theirs["losses"][:2]), ONE_UPDATE.limit),
        "weights": (
            max(max_gap(ours[name], theirs[name]) for name in set(weights) - set(statistics)),
            ONE_UPDATE.limit,
        ),
        "gradients": (max(relative(ours[name], theirs[name]) for name in gradients), GRADIENT.limit),
        "BatchNorm": (max(relative(ours[name], theirs[name]) for name in statistics), STATISTICS.limit),
    }


@pytest.mark.parametrize("name", [*L1, RESNET])
def test_update(name: str, suite: dict[str, Pair], measure: Recorder) -> None:
    for what, (value, limit) in gaps(*traces_of(name, suite)).items():
        measure.agrees(name, what, value, limit)


@pytest.mark.parametrize("control", controls_of("sgd", "adamw", "adamwr"), ids=lambda control: control.name)
def test_control(control: Control, suite: dict[str, Pair], measure: Recorder) -> None:
    ours, theirs = suite["L1"]
    differing = gaps(ours[control.name], theirs[spoiled("L1", control)])
    differing.pop("rate")  # whose limit is 0; what follows from it must be seen
    measure.caught("", control.name, max(value / limit for value, limit in differing.values()), CONTROL.limit)


@pytest.mark.parametrize("name", ["decoupled decay", "AdamWR"])
def test_one_rate_for_all_groups(name: str, suite: dict[str, Pair], measure: Recorder) -> None:
    ours, theirs = suite["L1"]
    groups = "rate groups" if name == "decoupled decay" else f"rate groups, {name}"
    value, limit = gaps(ours[name], theirs[groups])["weights"]
    measure.caught(name, "one rate for all groups", value / limit, CONTROL.limit)


def test_stock_momentum(suite: dict[str, Pair], measure: Recorder) -> None:
    ours, theirs = suite["L1"]
    value, limit = gaps(ours["momentum, Keras's form"], theirs["momentum, PyTorch's form"])["weights"]
    measure.caught("", "stock SGD against stock SGD", value / limit, CONTROL.limit)
