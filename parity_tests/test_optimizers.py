"""Every optimizer against its twin in the other framework: whole paths in float64, through a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from parity_tests.optimizer_traces import ADAMWR_CASES, CASES
from parity_tests.runs import BACKENDS, Trace, sides

EPS = float(np.finfo(np.float64).eps)

# Weights are of order 1; in 40 updates of at most 4 roundings each, contracting, a dozen ulps cannot pile up. PyTorch
# fuses the last multiply-add and rounds once less.
SGD_BOUND = 12 * EPS

# 40 updates of weights of order 1; an update has about ten roundings, of terms that are 0.1 of a weight.
ADAMWR_BOUND = 40 * EPS

each_backend = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def traces(folder: Path) -> dict[str, Trace]:
    return sides("parity_tests.optimizer_traces", folder)


@each_backend
@pytest.mark.parametrize("case", CASES)
def test_pytorch_sgd_is_torch_optim_sgd(case: str, backend: str, traces: dict[str, Trace]) -> None:
    ours, theirs = traces[backend][f"pytorch/{case}"], traces["reference"][f"pytorch/{case}"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SGD_BOUND)


@pytest.mark.parametrize("case", [name for name in CASES if name != "exact_momentum"])
def test_keras_sgd_is_keras_optimizers_sgd(case: str, traces: dict[str, Trace]) -> None:
    ours, theirs = traces["reference"][f"keras/{case}"], traces["tensorflow"][f"keras/{case}"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SGD_BOUND)


def test_keras_on_tensorflow_rounds_momentum_to_float32(traces: dict[str, Trace]) -> None:
    ours, theirs = traces["reference"]["keras/exact_momentum"], traces["tensorflow"]["keras/exact_momentum"]
    assert 1e-9 < np.abs(ours - theirs).max() < 1e-5


@each_backend
@pytest.mark.parametrize("case", ["momentum", "nesterov", "momentum_decay"])
def test_stock_sgd_is_not_stock_sgd(case: str, backend: str, traces: dict[str, Trace]) -> None:
    """The control."""
    keras, pytorch = traces[backend][f"keras/{case}"], traces["reference"][f"pytorch/{case}"]
    assert np.abs(keras - pytorch).max() > 0.1


@each_backend
@pytest.mark.parametrize("case", ADAMWR_CASES)
def test_adamwr_is_its_twin(case: str, backend: str, traces: dict[str, Trace]) -> None:
    ours, theirs = traces[backend][f"adamwr/{case}"], traces["reference"][f"adamwr/{case}"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=ADAMWR_BOUND)


def test_adamwr_s_decay_is_seen(traces: dict[str, Trace]) -> None:
    """The control."""
    decayed, without = (traces["reference"][f"adamwr/{case}"] for case in ("decay", "plain"))
    assert np.abs(decayed - without).max() > 0.01
