"""Where the tests find the real images and the pretrained weights, and which tests a backend runs."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

# As the examples do, before anything imports Keras: this process and those that it starts are to compute alike.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# What holds on every backend; the rest of the tests is about TensorFlow or about none, and runs there alone.
HERE = Path(__file__).parent
ON_EVERY_BACKEND = {
    HERE / name
    for name in (
        "callbacks",
        "data/test_augment.py",
        "data/test_pipeline.py",
        "test_adamwr.py",
        "test_ensembles.py",
        "test_optimizers.py",
        "test_range_test.py",
        "test_schedules.py",
    )
}

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


def on_every_backend(path: Path) -> bool:
    """Whether a test file, or any below a folder, is of those that every backend runs."""
    return any(named in (path, *path.parents) or path in named.parents for named in ON_EVERY_BACKEND)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out of a run of the whole folder, on another backend than TensorFlow, what does not depend on it."""
    import keras

    whole = HERE in (Path(argument).resolve() for argument in config.args)
    left_out = whole and keras.config.backend() != "tensorflow" and not on_every_backend(collection_path)
    return True if left_out else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of another backend than this process's out: deselected, as nothing about them is in doubt."""
    import keras

    backend = keras.config.backend()
    others = {"tensorflow", "jax", "torch"} - {backend}
    chosen = [item for item in items if not any(item.get_closest_marker(name) for name in others)]
    if left_out := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen
    # Measuring coverage makes a test half as slow again, so each is measured once, on the backend where it is fastest.
    for item in items if backend == "tensorflow" else ():
        if on_every_backend(item.path):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Let garbage collections leave out a million objects of imported modules."""
    gc.freeze()
