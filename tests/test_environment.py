"""Versions and hardware, as they are kept with a result."""

from __future__ import annotations

import importlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_sgdr.environment
from keras_sgdr.environment import environment


def test_versions_are_those_that_run() -> None:
    backend = keras.config.backend()
    description = environment()
    assert description["backend"] == backend
    assert description["versions"] == {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "numpy": np.__version__,
        backend: str(importlib.import_module(backend).__version__),
        "keras-sgdr": version("keras-sgdr"),
    }
    json.dumps(description)


def test_the_distribution_may_have_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `tensorflow-cpu` and `tf-nightly` have."""

    def only_ours(name: str) -> str:
        if name != "keras-sgdr":
            raise PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(keras_sgdr.environment, "version", only_ours)
    assert environment()["versions"]["keras-sgdr"] == "1.2.3"


def test_checkout_that_is_not_installed_has_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(keras_sgdr.environment, "version", none)
    assert environment()["versions"]["keras-sgdr"] == keras_sgdr.__version__


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
