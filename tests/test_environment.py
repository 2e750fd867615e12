from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import keras
import pytest

import keras_sgdr.environment
from keras_sgdr.environment import environment


def test_versions_are_those_that_run() -> None:
    found = environment()
    assert found["backend"] == keras.config.backend()
    assert found["versions"] == {
        "python": platform.python_version(),
        **{name: version(name) for name in ("keras", "numpy", found["backend"], "keras-sgdr")},
    }


def test_hardware_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Abacus 9000\ncpu MHz\t\t: 1\nmodel name\t: Abacus 9000\n")
    monkeypatch.setattr(keras_sgdr.environment, "CPU_INFO", info)
    hardware = environment()["hardware"]
    assert hardware["cpu"] == "Abacus 9000"
    assert hardware["cores"] >= 1
    assert all(isinstance(gpu, str) for gpu in hardware["gpus"])


def test_processor_without_a_model_name_has_that_of_its_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keras_sgdr.environment, "CPU_INFO", tmp_path / "none")
    assert environment()["hardware"]["cpu"] in (platform.processor(), platform.machine())
