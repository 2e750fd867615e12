"""`examples/finetune_ants_bees.py`, as a user runs it, on drawn insects; and `make_figures.py`, on its output."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from examples import finetune_ants_bees, make_figures
from keras_sgdr import WarmRestarts
from keras_sgdr.optimizers import AdamWR
from tests.support.examples import SMALL, is_picture, run, run_example

# Cycles of 1 and 2 epochs.
OPTIONS = ["--output", "run", "--weights", "none", "--T_0", "1", "--eta_max", "0.005", *SMALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    """The output of a fine-tuning; its files are in `folder / "run"`."""
    return run_example(folder, "finetune_ants_bees.py", *OPTIONS, resnet=True)


@pytest.fixture(scope="module")
def summary(folder: Path, printed: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "run" / "summary.json").read_text())
    return loaded


@pytest.mark.slow
class TestRun:
    def test_what_is_not_real_is_said_plainly(self, printed: str, summary: dict[str, Any]) -> None:
        assert "RANDOM WEIGHTS" in printed
        assert (summary["data"]["source"], summary["weights"]) == ("drawn insects", "random weights")

    def test_table_has_a_row_per_cycle(self, printed: str) -> None:
        lines = printed.splitlines()
        heading = next(index for index, line in enumerate(lines) if line.split()[:2] == ["cycle", "epochs"])
        rows = [line.split() for line in lines[heading + 1 :] if line.split()[2:3] == ["to"]]
        assert [row[:5] for row in rows] == [["1", "1", "to", "1", "0.005"], ["2", "2", "to", "3", "0.005"]]
        assert all(0 <= float(row[-1]) <= 1 for row in rows)

    def test_summary_is_complete(self, summary: dict[str, Any]) -> None:
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

    def test_history_has_the_rate_and_the_metrics(self, folder: Path, summary: dict[str, Any]) -> None:
        with (folder / "run" / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        planned = WarmRestarts(1, 2, 0.005).learning_rates(3, 4)[3::4]
        # The applied rates are the planned ones in float32.
        assert [np.float32(row["learning_rate"]) for row in rows] == planned.astype("float32").tolist()
        assert [float(rows[index]["val_loss"]) for index in (0, 2)] == [row["val_loss"] for row in summary["cycles"]]

    def test_pictures_are_drawn(self, folder: Path, printed: str) -> None:
        assert is_picture(folder / "run" / "training.png")

    def test_saved_model_loads_without_keras_sgdr(self, folder: Path, printed: str) -> None:
        lines = [
            "import sys",
            "sys.modules['keras_sgdr'] = None",  # An import of it would fail.
            "import keras, numpy",
            "model = keras.saving.load_model('run/model.keras')",
            "print(model(numpy.zeros((2, 32, 32, 3))).shape, float(model.optimizer.learning_rate))",
        ]
        finished = run(folder, "-c", "\n".join(lines))
        assert finished.stdout.split() == ["(2,", "2)", str(float(np.float32(0.005)))], finished.stderr

    def test_figures_of_the_readme_are_made_from_the_run(self, folder: Path, printed: str) -> None:
        make_figures.main(make_figures.Options(run=folder / "run", output=folder / "figures"))
        assert is_picture(folder / "figures" / "schedules.png")
        assert is_picture(folder / "figures" / "figure_1.png")
        assert is_picture(folder / "figures" / "finetune.png")


@pytest.mark.slow
def test_adamwr(tmp_path: Path) -> None:
    options = ["--optimizer", "adamwr", "--lambda_norm", "0.04", *OPTIONS]
    printed = run_example(tmp_path, "finetune_ants_bees.py", *options)
    # The decay of each cycle, at four updates an epoch: 0.04 / sqrt(4) and 0.04 / sqrt(8).
    rows = [line.split() for line in printed.splitlines()]
    assert [row[6] for row in rows if row[2:3] == ["to"]] == ["0.02", "0.014"]
    names = {"history.csv", "training.png", "summary.json", "model.keras"}
    assert {file.name for file in (tmp_path / "run").iterdir()} == names
    optimizer = keras.saving.load_model(tmp_path / "run" / "model.keras").optimizer
    assert type(optimizer) is AdamWR
    assert (optimizer.eta_max, optimizer.lambda_norm) == (0.005, 0.04)


def test_the_widest_table_of_cycles_fits_80_columns() -> None:
    cycle: dict[str, Any] = {"index": 9, "first_epoch": 99, "last_epoch": 199, "length": 128, "complete": False}
    cycle |= {"first_rate": 3.2e-4, "last_rate": 3.2e-6, "loss": 887.12, "accuracy": 0.5, "val_loss": 887.12}
    lines = finetune_ants_bees.cycle_table([cycle | {"val_accuracy": 0.5}], 4, lambda_norm=0.025).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["cycle", "epochs", "rate", "to", "decay", "loss", "acc.", "val", "val"]
    assert lines[3].split()[-4:] == ["887.120", "0.500", "887.120", "0.500"]


def test_figures_need_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`run` must be the output folder .* Received: run=.*Run `make demo`"):
        make_figures.main(make_figures.Options(run=tmp_path))


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", keras.optimizers.SGD), ("adamw", keras.optimizers.AdamW), ("adamwr", AdamWR)]
)
def test_optimizer_has_the_peak_as_its_rate(name: str, kind: Any) -> None:
    optimizer = finetune_ants_bees.make_optimizer(name, eta_max=0.25)
    assert type(optimizer).__name__ == kind.__name__  # On PyTorch, Keras makes a subclass of the same name.
    assert float(optimizer.learning_rate) == 0.25


def test_a_folder_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must hold the subfolders train/ants"):
        finetune_ants_bees.main(finetune_ants_bees.Options(data=tmp_path, output=tmp_path / "run"))


@pytest.mark.slow
def test_without_images_and_weights_a_small_network_learns_drawn_insects(tmp_path: Path) -> None:
    printed = run_example(tmp_path, "finetune_ants_bees.py", "--output", "run", resnet=True)
    assert "Neither images nor weights" in printed
    assert re.search(r"At most [\d.]+ (seconds|minutes) left, for 13 more epochs\.", printed)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["options"]["network"], summary["data"]["source"]) == ("small", "drawn insects")
    assert summary["cycles"][-1]["val_accuracy"] > 0.9
    assert is_picture(tmp_path / "run" / "training.png")


def test_no_epochs_are_refused_before_anything_is_read() -> None:
    with pytest.raises(ValueError, match=r"`epochs` must be a positive integer. Received: epochs=0. Pass epochs=14"):
        finetune_ants_bees.main(finetune_ants_bees.Options(epochs=0))


@pytest.mark.slow
def test_multipliers_unfreezing_and_the_average(tmp_path: Path) -> None:
    options = ["--network", "small", "--image_size", "32", "--epochs", "3", "--T_0", "1", "--output", "run"]
    asked = ["--multipliers", "dense*", "1", "*", "0.1", "--unfreeze", "1", "*", "--average"]
    unknown = run_example(
        tmp_path, "finetune_ants_bees.py", *options, "--multipliers", "layer9", "1", succeeds=False, resnet=True
    )
    assert "error: Each pattern of `rate_multipliers` must match a variable. Received: 'layer9'" in unknown
    printed = run_example(tmp_path, "finetune_ants_bees.py", *options, *asked, resnet=True)
    assert "The average of 2 cycle ends is in the model." in printed
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["average_val_loss"]) == 2
    with (tmp_path / "run" / "history.csv").open(newline="") as file:
        (last,) = list(csv.DictReader(file))[-1:]
    assert float(last["learning_rate_rest"]) == pytest.approx(0.1 * float(last["learning_rate_dense"]))
