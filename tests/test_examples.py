"""The scripts that a user runs, as a user runs them, on a machine without a network."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import keras
import matplotlib.image
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from examples import finetune_ants_bees, make_figures
from keras_sgdr import WarmRestarts
from keras_sgdr.data import drawn_insects

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
# Cycles of 1 and 2 epochs, on 244 drawn insects: 4 batches an epoch.
SMALL = ["--image_size", "32", "--batch_size", "61", "--epochs", "3", "--T_0", "1", "--eta_max", "0.005"]
# Before a script: it then trains a small network in place of the ResNet.
STAND_IN = ["-m", "tests.small_network"]


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Python in `folder`, which has no images in it, with neither a cache nor a way to download."""
    environment = {name: value for name, value in os.environ.items() if name != "ANTS_BEES_DIR"}
    # Nobody listens on port 9, so every download fails at once.
    environment |= {"KERAS_HOME": str(folder / "keras"), "https_proxy": "http://127.0.0.1:9", "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """What the fine-tuning prints; its files are in `folder / "run"`."""
    finished = run(folder, EXAMPLES / "finetune_ants_bees.py", "--output", "run", *SMALL)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def summary(folder: Path, printed: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "run" / "summary.json").read_text())
    return loaded


def is_picture(path: Path) -> bool:
    """Whether it is a picture with something drawn in it."""
    return bool(matplotlib.image.imread(path).std() > 0)


def test_what_is_not_real_is_said_plainly(printed: str, summary: dict[str, Any]) -> None:
    assert "DRAWN INSECTS" in printed
    assert "RANDOM WEIGHTS" in printed
    assert (summary["data"]["source"], summary["weights"]) == ("drawn insects", "random weights")


def test_table_has_a_row_a_cycle(printed: str) -> None:
    lines = printed.splitlines()
    heading = next(index for index, line in enumerate(lines) if line.split()[:2] == ["cycle", "epochs"])
    rows = [line.split() for line in lines[heading + 1 :] if line.split()[2:3] == ["to"]]
    assert [row[:5] for row in rows] == [["1", "1", "to", "1", "0.005"], ["2", "2", "to", "3", "0.005"]]
    assert all(0 <= float(row[-1]) <= 1 for row in rows)


def test_summary_is_complete(summary: dict[str, Any]) -> None:
    assert {"python", "keras", "numpy", "tensorflow", "keras-sgdr"} <= summary["versions"].keys()
    assert summary["hardware"]["cpu"]
    assert summary["hardware"]["cores"] >= 1
    assert summary["seed"] == 0
    assert summary["options"]["T_0"] == 1
    assert summary["data"] == {"source": "drawn insects", "train": 244, "val": 153, "steps_per_epoch": 4}
    assert summary["seconds"] > 0
    assert [(row["first_epoch"], row["last_epoch"], row["complete"]) for row in summary["cycles"]] == [
        (0, 0, True),
        (1, 2, True),
    ]
    assert all(np.isfinite(row[name]) for row in summary["cycles"] for name in ("loss", "val_loss", "val_accuracy"))


def test_history_has_the_rate_and_the_metrics(folder: Path, summary: dict[str, Any]) -> None:
    with (folder / "run" / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    planned = WarmRestarts(1, 2, 0.005).learning_rates(3, 4)[3::4]
    # The applied rates are the planned ones in float32.
    assert [np.float32(row["learning_rate"]) for row in rows] == planned.astype("float32").tolist()
    assert [float(rows[index]["val_loss"]) for index in (0, 2)] == [row["val_loss"] for row in summary["cycles"]]


def test_pictures_are_drawn(folder: Path, printed: str) -> None:
    assert is_picture(folder / "run" / "learning_rate.png")
    assert is_picture(folder / "run" / "loss.png")


def test_saved_model_loads_without_keras_sgdr(folder: Path, printed: str) -> None:
    code = """
import sys
sys.modules["keras_sgdr"] = None  # An import of it would fail.
import keras, numpy
model = keras.saving.load_model("run/model.keras")
print(model(numpy.zeros((2, 32, 32, 3))).shape, float(model.optimizer.learning_rate))
"""
    finished = run(folder, "-c", code)
    assert finished.stdout.split() == ["(2,", "2)", str(float(np.float32(0.005)))], finished.stderr


def test_figures_of_the_readme_are_made_from_the_run(folder: Path, printed: str) -> None:
    make_figures.main(make_figures.Options(run=folder / "run", output=folder / "figures"))
    assert is_picture(folder / "figures" / "schedules.png")
    assert is_picture(folder / "figures" / "figure_1.png")
    assert is_picture(folder / "figures" / "finetune.png")


def test_figures_need_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`run` must be the output folder .* Received: run=.*Run `make demo`"):
        make_figures.main(make_figures.Options(run=tmp_path))


def test_images_in_a_folder_are_found(tmp_path: Path) -> None:
    for split, (images, labels) in zip(("train", "val"), drawn_insects(10, 6, image_size=40), strict=True):
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            file = tmp_path / split / ("ants", "bees")[label] / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    options = finetune_ants_bees.Options(data=tmp_path, image_size=28)
    source, train, val = finetune_ants_bees.load_images(options, Console(quiet=True))
    assert source == "the real images"
    # Training images are larger than a crop of them, validation images as large as a central crop wants them.
    assert train[0].shape == (10, 256, 256, 3)
    assert val[0].shape == (6, 32, 32, 3)


@pytest.mark.parametrize(("name", "kind"), [("sgd", keras.optimizers.SGD), ("adamw", keras.optimizers.AdamW)])
def test_optimizer_has_the_peak_as_its_rate(name: Literal["sgd", "adamw"], kind: Any) -> None:
    optimizer = finetune_ants_bees.make_optimizer(finetune_ants_bees.Options(optimizer=name, eta_max=0.25))
    assert isinstance(optimizer, kind)
    assert float(optimizer.learning_rate) == 0.25


def test_a_folder_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold the subfolders train/ants"):
        finetune_ants_bees.main(finetune_ants_bees.Options(data=tmp_path, output=tmp_path / "run"))
