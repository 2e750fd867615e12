"""ResNet-50 equals torchvision's in float64, in evaluation and in training; a control is told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.keras_float64 import float64_logits

# On PyTorch Keras takes NumPy's float64 for float32, and on JAX 64 bits are off.
pytestmark = pytest.mark.tensorflow

# Float64 rounds at 1e-16; through 53 convolutions and 53 BatchNorms the frameworks were 3e-15 (evaluation)
# and 2e-13 (training) apart. The control, a stem padded by one pixel otherwise, was 0.08 and 0.7 apart.
FLOAT64 = 1e-10
VISIBLE = 1e-3


@pytest.fixture(scope="module")
def traces(reference: Path) -> tuple[Any, Any]:
    """The results of torchvision and of Keras, both in float64."""
    theirs = np.load(reference / "resnet50.npz")
    weights = {name.removeprefix("weights/"): theirs[name] for name in theirs.files if name.startswith("weights/")}
    return theirs, float64_logits(weights, theirs["images"])


def apart(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_logits_equal_torchvision_in_float64(traces: tuple[Any, Any], mode: str) -> None:
    theirs, ours = traces
    assert ours[mode].dtype == np.float64
    assert apart(ours[mode], theirs[mode]) < FLOAT64


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_control_same_padding_is_told_from_torchvision(traces: tuple[Any, Any], mode: str) -> None:
    theirs, ours = traces
    assert apart(ours[f"control_{mode}"], theirs[mode]) > VISIBLE


def test_moving_statistics_equal_torchvision_after_an_update(traces: tuple[Any, Any]) -> None:
    theirs, ours = traces
    means = [name for name in ours if name.endswith("running_mean")]
    assert len(means) == 53
    for name in means:
        assert apart(ours[name], theirs[name]) < FLOAT64, name
    # Keras's variance is of the batch (n), torch's of the population (n - 1): n = 4 images of 32 x 32.
    before = theirs["weights/bn1.running_var"]
    unbiased = (theirs["updated/bn1.running_var"] - 0.9 * before) * (1 - 1 / (4 * 32 * 32))
    assert apart(ours["updated/bn1.running_var"], 0.9 * before + unbiased) < FLOAT64
