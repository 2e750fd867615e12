from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what torchvision computed. (It and TensorFlow do not go into one process.)"""
    folder = tmp_path_factory.mktemp("torchvision")
    script = Path(__file__).with_name("torchvision_reference.py")
    subprocess.run([sys.executable, script, folder], check=True)
    return folder
