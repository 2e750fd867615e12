"""Where the tests find the real images and the pretrained weights, which are never part of the repository."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

# As the examples do, before anything imports Keras: this process and those that it starts are to compute alike.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def ants_bees_dir() -> Path | None:
    """Folder of the real images: `$ANTS_BEES_DIR`, else `../shared` beside the checkout, else None."""
    path = Path(os.environ.get("ANTS_BEES_DIR") or BESIDE_CHECKOUT / "data" / "hymenoptera_data")
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def pretrained_weights() -> Path | None:
    """ResNet-50 weights: `$SGDR_WEIGHTS`, else `../shared` beside the checkout, else None."""
    if named := os.environ.get("SGDR_WEIGHTS"):
        return Path(named) if Path(named).is_file() else None
    return next(iter(sorted((BESIDE_CHECKOUT / "weights").glob("resnet50*.safetensors"))), None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of another backend than this process's out: deselected, as nothing about them is in doubt."""
    import keras

    others = {"tensorflow", "jax", "torch"} - {keras.config.backend()}
    chosen = [item for item in items if not any(item.get_closest_marker(name) for name in others)]
    if left_out := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen


def pytest_collection_finish() -> None:
    """Let garbage collections leave out a million objects of imported modules."""
    gc.freeze()
