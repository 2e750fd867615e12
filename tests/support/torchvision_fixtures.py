"""Fixtures: the results of torchvision, and ResNets that are built once for many tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_sgdr.models import resnet
from tests.support import torchvision_reference


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the results of torchvision, from a process of its own: it and TensorFlow do not share one."""
    folder = tmp_path_factory.mktemp("torchvision")
    subprocess.run([sys.executable, torchvision_reference.__file__, folder], check=True)
    return folder


@pytest.fixture(scope="session")
def resnet50(reference: Path) -> keras.Model:
    """ResNet-50 with torchvision's weights, in float32, for bytes. Built once for many tests, since it takes long."""
    arrays = np.load(reference / "resnet50.npz")
    names = [name for name in arrays.files if name.startswith("weights/")]
    return resnet(50, {name.removeprefix("weights/"): arrays[name] for name in names}, preprocess=True)


@pytest.fixture(scope="session")
def new_resnet50() -> keras.Model:
    """ResNet-50 for 200 classes with new weights, in half precision, for bytes."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return resnet(50, classes=200, preprocess=True)
    finally:
        keras.config.set_dtype_policy(policy)
