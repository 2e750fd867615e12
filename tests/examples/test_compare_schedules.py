"""`examples/compare_schedules.py`, as a user runs it, with a small network."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest

from examples.compare_schedules import PRESETS, Options, chosen, schedules_of
from keras_sgdr import WarmRestarts
from keras_sgdr.study import compared_schedules
from keras_sgdr.study.results import figures
from tests.support.examples import SMALL, is_picture, run_example

# One job: the small network takes the place of the ResNet in that process alone.
OPTIONS = ["--seeds", "2", "--eta_max", "0.01", "--weights", "none", "--jobs", "1", *SMALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    options = ["--output", "compared", "--T_0", "1", "--randomized", "2", "--margin", "0.5", *OPTIONS]
    return run_example(folder, "compare_schedules.py", *options)


@pytest.mark.slow
class TestRun:
    def test_what_is_not_real_is_said_plainly(self, folder: Path, printed: str) -> None:
        assert "Trained on drawn insects, from random weights." in printed
        report = (folder / "compared" / "report.html").read_text()
        trained = "all of it, 2 modules of it from scratch."
        assert f"ResNet-50 from random weights, trained on drawn insects: {trained}" in report

    def test_writes_table_summary_figures_and_report(self, folder: Path, printed: str) -> None:
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
        title = "val_loss: difference to step decay (2, 0.1)"
        for text in (report, summary, printed):
            assert title in text
            assert "TOST with a margin of 0.5" in text
        assert re.search(r"<td[^>]*>image_size *</td><td[^>]*> *32 *</td>", report)

    def test_heads_on_a_frozen_backbone_and_settings_of_your_own(self, folder: Path) -> None:
        settings = ["--compare", "cycles", "--settings", "1", "2", "3", "1"]
        run_example(folder, "compare_schedules.py", "--output", "tuned", "--frozen", *settings, *OPTIONS)
        table = pd.read_csv(folder / "tuned" / "results.csv")
        assert table["schedule"].unique().tolist() == ["SGDR (1, 2)", "one cosine"]
        ends = table[table["cycle_end"]].groupby("schedule")["epoch"].unique()
        assert [sorted(epochs) for epochs in ends] == [[1, 3], [3]]
        assert "trained on drawn insects: the head alone." in (folder / "tuned" / "report.html").read_text()


def test_cycles_of_the_laptop_preset_end_with_its_budget() -> None:
    laptop = PRESETS["laptop"]
    for T_0, T_mult in [(laptop.T_0, 2), *laptop.settings]:
        assert WarmRestarts(T_0, T_mult).cycle_ends(laptop.epochs)[-1] == laptop.epochs


def test_options_replace_what_the_preset_sets() -> None:
    options = Options(preset="paper", image_size=64, seeds=3)
    assert chosen(options) == dataclasses.replace(PRESETS["paper"], image_size=64, seeds=3)
    assert chosen(Options(compare="cycles")) == PRESETS["laptop"]


def test_both_comparisons_of_the_paper_share_their_runs() -> None:
    beside_steps, cycles = (schedules_of(compare, PRESETS["paper"]) for compare in ("step_decay", "cycles"))
    assert list(beside_steps) == ["step decay (60, 0.1)", "SGDR (10, 2)", "one cosine"]
    assert list(cycles) == ["SGDR (10, 2)", "SGDR (1, 2)", "SGDR (50, 1)", "one cosine"]
    assert cycles["one cosine"].cycle_ends(100) == [100]
