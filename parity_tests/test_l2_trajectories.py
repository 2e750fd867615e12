"""L2: whole trajectories in float64, through restarts and through a checkpoint, where rounding does not grow."""

from __future__ import annotations

import pytest

from parity_tests.measurements import Recorder
from parity_tests.processes import max_gap
from parity_tests.tolerances import CONTROL, TRAJECTORY, UNRECONCILED
from parity_tests.training.controls import Control, controls_of
from parity_tests.training.suite import L2, Pair, spoiled


@pytest.fixture(scope="module")
def pair(suite: dict[str, Pair]) -> Pair:
    return suite["L2"]


@pytest.mark.parametrize("name", L2)
def test_trajectory(name: str, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][name], pair[1][name]
    assert len(theirs["losses"]) == L2[name]["epochs"] * L2[name]["steps"]
    measure.agrees(name, "rates", max_gap(ours["rates"], theirs["rates"]), 0.0)
    for what in ("losses", "val_losses"):
        measure.agrees(name, what, max_gap(ours[what], theirs[what]), TRAJECTORY.limit)


@pytest.mark.parametrize("name", L2)
def test_resumed(name: str, pair: Pair, measure: Recorder) -> None:
    # Both against PyTorch's uninterrupted run: what was resumed goes on where it would have gone.
    uninterrupted = pair[1][name]["losses"][L2[name]["checkpoint"] * L2[name]["steps"] :]
    assert len(uninterrupted) > 0
    for side, traces in zip(("Keras", "PyTorch"), pair, strict=True):
        gap = max_gap(traces[name]["resumed_losses"], uninterrupted)
        measure.agrees(name, f"{side} resumed in mid-cycle", gap, TRAJECTORY.limit)


@pytest.mark.parametrize("control", controls_of("sgd", "adamwr"), ids=lambda control: control.name)
def test_control(control: Control, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][control.name], pair[1][spoiled("L2", control)]
    gap = max(max_gap(ours[what], theirs[what]) for what in ("losses", "val_losses"))
    measure.caught("", control.name, gap / TRAJECTORY.limit, CONTROL.limit)


def test_one_rate_for_all_groups(pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0]["small net, Keras's form"], pair[1]["small net, rate groups"]
    gap = max(max_gap(ours[what], theirs[what]) for what in ("losses", "val_losses"))
    measure.caught("", "one rate for all groups", gap / TRAJECTORY.limit, CONTROL.limit)


@pytest.mark.parametrize("net", ["small net", "ResNet-50"])
def test_stock_momentum(net: str, pair: Pair, measure: Recorder) -> None:
    ours, theirs = pair[0][f"{net}, Keras's form"], pair[1][f"{net}, PyTorch's form"]
    gap = max_gap(ours["losses"], theirs["losses"])
    measure.caught(net, "stock SGD against stock SGD, losses", gap, UNRECONCILED.limit)
