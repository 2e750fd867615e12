"""The Python blocks of the README run, one after another, with a small network and few drawn images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import matplotlib as mpl
import pytest

from keras_sgdr.data import ants_bees, drawn_insects

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def backbone(include_top: bool, pooling: str) -> keras.Model:
    """In place of `keras.applications.ResNet50`."""
    layers = [keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, 2), keras.layers.BatchNormalization()]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that a reader has who begins at the top of the README."""
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    monkeypatch.setattr(keras.applications, "ResNet50", backbone)
    monkeypatch.setattr(ants_bees, "load_data", lambda image_size=16: drawn_insects(32, 16, image_size=16))
    fit = keras.Model.fit
    monkeypatch.setattr(
        keras.Model, "fit", lambda self, *args, **options: fit(self, *args, **{"verbose": 0, **options})
    )
    return {}


def test_quick_start_runs(namespace: dict[str, Any]) -> None:
    exec(compile(BLOCKS[0], "README.md", "exec"), namespace)
    assert [cycle["length"] for cycle in namespace["sgdr"].cycles] == [2, 4, 8]


@pytest.mark.slow
def test_all_blocks_run(namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    *blocks, study = BLOCKS
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)
    assert [cycle["length"] for cycle in namespace["sgdr"].cycles][:2] == [10, 20]
    # The table of the plan stands in the README too.
    (table,) = re.findall(r"((?:    .*\n)+)\nThe test trains", README)
    assert re.sub("^    ", "", table, flags=re.MULTILINE).strip() in capsys.readouterr().out
    compile(study, "README.md", "exec")


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (CHECKOUT / link).exists()] == []
