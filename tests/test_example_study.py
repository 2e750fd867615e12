"""`examples/compare_with_step_decay.py` and `examples/tune_restarts.py`, as a user runs them, with a small network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from examples import compare_with_step_decay, tune_restarts
from examples.compare_with_step_decay import Preset, chosen
from keras_sgdr import WarmRestarts
from keras_sgdr.study import compared_schedules, figures
from tests.test_examples import EXAMPLES, STAND_IN, is_picture, run

# 244 drawn insects: 4 batches an epoch.
SMALL = ["--image_size", "32", "--batch_size", "61", "--epochs", "3", "--seeds", "2"]
# One job: the small network stands in for a ResNet in that process alone.
SMALL += ["--eta_max", "0.01", "--weights", "None", "--jobs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    options = ["--output", "compared", "--randomized", "2", "--margin", "0.5", *SMALL]
    finished = run(folder, *STAND_IN, EXAMPLES / "compare_with_step_decay.py", *options)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_what_is_not_real_is_said_plainly(folder: Path, printed: str) -> None:
    assert "DRAWN INSECTS" in printed
    report = (folder / "compared" / "report.html").read_text()
    assert "ResNet-50 from random weights, trained on drawn insects: all of it, with 2 modules randomised." in report


def test_writes_table_summary_figures_and_report(folder: Path, printed: str) -> None:
    written = folder / "compared"
    table = pd.read_csv(written / "results.csv")
    assert table["schedule"].unique().tolist() == list(compared_schedules(0.01, 3, T_0=1))
    assert table.groupby("schedule")[["seed", "epoch"]].nunique().values.tolist() == [[2, 3]] * 4
    # The first epoch's last update, the fourth of twelve: a cosine over the budget.
    cosine = table[table["schedule"] == "one cosine"]["rate"]
    assert cosine.iloc[0] == pytest.approx(0.01 * (1 + 2**-0.5) / 2)
    for name in figures.CAPTIONS:
        assert is_picture(written / "figures" / f"{name}.png")
    report, summary = (written / "report.html").read_text(), (written / "summary.md").read_text()
    assert report.count("data:image/png;base64,") == len(figures.CAPTIONS)
    title = "val_loss: difference to step decay (2, 0.1), n=2 where nothing else is said"
    for text in (report, summary, printed):
        assert title in text
        assert "TOST with a margin of 0.5" in text
    assert "<td>image_size</td><td>32</td>" in report


def test_heads_on_a_frozen_backbone_and_settings_of_ones_own(folder: Path) -> None:
    options = ["--output", "tuned", "--frozen", "--settings", "1", "2", "3", "1", *SMALL]
    finished = run(folder, *STAND_IN, EXAMPLES / "tune_restarts.py", *options)
    assert finished.returncode == 0, finished.stderr
    table = pd.read_csv(folder / "tuned" / "results.csv")
    assert table["schedule"].unique().tolist() == ["SGDR (1, 2)", "SGDR (3, 1)"]
    ends = table[table["cycle_end"]].groupby("schedule")["epoch"].unique()
    assert [sorted(epochs) for epochs in ends] == [[1, 3], [3]]
    assert "trained on drawn insects: the head alone." in (folder / "tuned" / "report.html").read_text()


def test_cycles_of_the_laptop_presets_end_with_their_budgets() -> None:
    compared, tuned = compare_with_step_decay.PRESETS["laptop"].epochs, tune_restarts.PRESETS["laptop"].epochs
    assert WarmRestarts(compare_with_step_decay.FIRST_CYCLE["laptop"], 2, 1.0).cycle_ends(compared)[-1] == compared
    for T_0, T_mult in tune_restarts.SETTINGS["laptop"]:
        assert WarmRestarts(T_0, T_mult, 1.0).cycle_ends(tuned)[-1] == tuned


def test_options_replace_what_the_preset_sets() -> None:
    options = compare_with_step_decay.Options(preset="paper", depth=50, seeds=3)
    assert chosen(options, compare_with_step_decay.PRESETS) == Preset(50, 224, 4, 3, 100, 0.001, 1)
    assert chosen(tune_restarts.Options(), tune_restarts.PRESETS) == Preset(50, 64, 32, 5, 7, 0.003, 2)


@pytest.mark.parametrize("example", ["adamw_restarts", "compare_with_step_decay", "snapshot_ensemble"])
def test_onednn_is_on_when_tensorflow_is_imported(example: str, folder: Path) -> None:
    # Where it is off, as it is by default on some processors, an update of a ResNet on small images takes five times as
    # long. The process ends where TensorFlow is imported.
    code = f"""
import os, sys

class Ends:
    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow":
            raise SystemExit(0 if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" else "oneDNN is off")

os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
sys.meta_path.insert(0, Ends())
import examples.{example}
sys.exit("TensorFlow was not imported")
"""
    finished = run(folder, "-c", code)
    assert finished.returncode == 0, finished.stderr
