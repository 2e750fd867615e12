"""The reference of PyTorch under `DistributedDataParallel`."""

from __future__ import annotations

from pathlib import Path

import pytest

from keras_sgdr import WarmRestarts
from tests.support.together import together


@pytest.mark.slow
def test_ranks_train_one_model_at_one_rate(tmp_path: Path) -> None:
    first, second = together("tests.support.reference_ranks", tmp_path)
    assert first["rates"] == second["rates"] == WarmRestarts(1, 2, eta_max=0.1).learning_rates(7, 3).tolist()
    assert first["weights"] == second["weights"]
    assert first["losses"] != second["losses"]  # Each has trained on its own batches.
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["epoch-1.pth", "epoch-3.pth", "epoch-7.pth"]
