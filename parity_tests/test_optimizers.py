"""Every optimizer against its twin in the other framework: whole paths in float64, through a restart."""

from __future__ import annotations

import numpy as np
import pytest

from parity_tests.processes import BACKENDS, Arrays
from parity_tests.rates.optimizers import ADAMWR_CASES, CASES

EPS = float(np.finfo(np.float64).eps)

# Weights are of order 1; in 40 updates of at most 4 roundings each, contracting, a dozen ulps cannot pile up. PyTorch
# fuses the last multiply-add and rounds once less.
SGD_BOUND = 12 * EPS

# 40 updates of weights of order 1; an update has about ten roundings, of terms that are 0.1 of a weight.
ADAMWR_BOUND = 40 * EPS

each_backend = pytest.mark.parametrize("backend", BACKENDS)


@each_backend
@pytest.mark.parametrize("case", CASES)
def test_pytorch_sgd_is_torch_optim_sgd(case: str, backend: str, sides: dict[str, Arrays]) -> None:
    ours, theirs = sides[backend][f"pytorch/{case}"], sides["reference"][f"pytorch/{case}"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SGD_BOUND)


@pytest.mark.parametrize("case", [name for name in CASES if name != "exact_momentum"])
def test_keras_sgd_is_keras_optimizers_sgd(case: str, sides: dict[str, Arrays]) -> None:
    ours, theirs = sides["reference"][f"keras/{case}"], sides["tensorflow"][f"keras/{case}"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=SGD_BOUND)


def test_keras_on_tensorflow_rounds_momentum_to_float32(sides: dict[str, Arrays]) -> None:
    ours, theirs = sides["reference"]["keras/exact_momentum"], sides["tensorflow"]["keras/exact_momentum"]
    assert 1e-9 < np.abs(ours - theirs).max() < 1e-5


@each_backend
@pytest.mark.parametrize("case", ["momentum", "nesterov", "momentum_decay"])
def test_stock_sgd_is_not_stock_sgd(case: str, backend: str, sides: dict[str, Arrays]) -> None:
    """The control."""
    keras, pytorch = sides[backend][f"keras/{case}"], sides["reference"][f"pytorch/{case}"]
    assert np.abs(keras - pytorch).max() > 0.1


@each_backend
@pytest.mark.parametrize("case", ADAMWR_CASES)
def test_adamwr_is_its_twin(case: str, backend: str, sides: dict[str, Arrays]) -> None:
    ours, theirs = sides[backend][f"adamwr/{case}"], sides["reference"][f"adamwr/{case}"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=ADAMWR_BOUND)


def test_adamwr_s_decay_is_seen(sides: dict[str, Arrays]) -> None:
    """The control."""
    decayed, without = (sides["reference"][f"adamwr/{case}"] for case in ("decay", "plain"))
    assert np.abs(decayed - without).max() > 0.01
