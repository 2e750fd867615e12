"""Running the example scripts as a user runs them, on a machine without images and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image

from tests.support import small_network

__all__ = ["SMALL", "is_picture", "run", "run_example"]

CHECKOUT = Path(__file__).resolve().parents[2]
# On 244 drawn insects: 4 batches an epoch.
SMALL = ["--image_size", "32", "--batch_size", "61", "--epochs", "3"]


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Python in `folder`, which has no images in it, with neither a cache nor a way to download."""
    environment = {name: value for name, value in os.environ.items() if name not in ("ANTS_BEES_DIR", "SGDR_WEIGHTS")}
    # Nobody listens on port 9, so every download fails at once.
    environment |= {"KERAS_HOME": str(folder / "keras"), "https_proxy": "http://127.0.0.1:9", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def run_example(folder: Path, name: str, *options: str, resnet: bool = False, succeeds: bool = True) -> str:
    """Run an example, with a small network in place of the ResNet.

    Args:
        folder: Working directory.
        name: Name of the script.
        *options: Its options.
        resnet: Whether to train the ResNet after all.
        succeeds: Whether it is expected to succeed.

    Returns:
        Its stdout; its stderr if it is expected to fail.
    """
    substitute = [] if resnet else [small_network.__file__]
    finished = run(folder, *substitute, CHECKOUT / "examples" / name, *options)
    assert (finished.returncode == 0) == succeeds, finished.stderr
    return finished.stdout if succeeds else finished.stderr


def is_picture(path: Path) -> bool:
    """Whether it is a picture with something drawn in it."""
    return bool(matplotlib.image.imread(path).std() > 0)
