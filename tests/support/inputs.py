"""Where the tests find the real images and the pretrained weights, which are never part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE_CHECKOUT = Path(__file__).resolve().parents[3] / "shared"


def find_ants_bees() -> Path | None:
    """Folder of the real images: `$ANTS_BEES_DIR`, else `../shared` beside the checkout, else None."""
    path = Path(os.environ.get("ANTS_BEES_DIR") or BESIDE_CHECKOUT / "data" / "hymenoptera_data")
    return path if path.is_dir() else None


def find_weights() -> Path | None:
    """ResNet-50 weights: `$SGDR_WEIGHTS`, else `../shared` beside the checkout, else None."""
    if named := os.environ.get("SGDR_WEIGHTS"):
        return Path(named) if Path(named).is_file() else None
    return next(iter(sorted((BESIDE_CHECKOUT / "weights").glob("resnet50*.safetensors"))), None)


def describe_inputs() -> str:
    """What networks are trained on and from."""
    images = "the real ants and bees" if find_ants_bees() else "drawn insects"
    return f"on {images}, from {'pretrained' if find_weights() else 'random'} weights"


@pytest.fixture(scope="session")
def ants_bees_dir() -> Path | None:
    return find_ants_bees()


@pytest.fixture(scope="session")
def pretrained_weights() -> Path | None:
    return find_weights()
