"""What holds for all tests: the backend decides which are run, and where images and weights are found."""

from __future__ import annotations

import gc
import os

import pytest

from tests.support.inputs import ants_bees_dir, pretrained_weights

# As the examples do, before anything imports Keras: this process and those that it starts are to compute alike.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__all__ = ["ants_bees_dir", "pretrained_weights"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of another backend than this process's out: deselected, as nothing about them is in doubt."""
    import keras

    from tests.support.precision import use_exact_float32  # It imports Keras, as above only once this is set up.

    use_exact_float32()
    others = {"tensorflow", "jax", "torch"} - {keras.config.backend()}
    chosen = [item for item in items if not any(item.get_closest_marker(name) for name in others)]
    if left_out := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


def pytest_collection_finish() -> None:
    """Let garbage collections leave out a million objects of imported modules."""
    gc.freeze()
