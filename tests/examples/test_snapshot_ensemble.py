"""`examples/snapshot_ensemble.py`, as a user runs it, on drawn insects and from random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.snapshot_ensemble import AVERAGE, LAST, SNAPSHOT, differences, independent
from keras_sgdr.snapshots import Manifest, Scores
from tests.support.examples import SMALL, is_picture, run_example

# Cycles of 1 and 2 epochs.
OPTIONS = ["--output", "run", "--T_0", "1", "--eta_max", "0.005", *SMALL]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the script ran, and its output."""
    folder = tmp_path_factory.mktemp("snapshot_ensemble")
    return folder, run_example(folder, "snapshot_ensemble.py", *OPTIONS)


@pytest.mark.slow
class TestRun:
    def test_writes_snapshots_scores_table_and_picture(self, trained: tuple[Path, str]) -> None:
        folder, printed = trained
        snapshots = Manifest.read(folder / "run" / "seed-000" / "snapshots").snapshots
        assert [snapshot.epoch for snapshot in snapshots] == [1, 3]
        summary = json.loads((folder / "run" / "summary.json").read_text())
        assert summary["members"] == 2
        assert set(summary["scores"]) == {LAST, SNAPSHOT, AVERAGE}
        assert all(np.isfinite(score["loss"]) for (score,) in summary["scores"].values())
        report = (folder / "run" / "report.md").read_text()
        cells = [cell.strip() for line in report.splitlines()[4:] for cell in line.strip("|").split("|")]
        assert len(cells) >= 3 * 8
        # The same table, as a terminal shows it.
        shown = printed[printed.index("Mean over the seeds") :]
        assert all(cell in shown for cell in cells)
        assert max(map(len, shown.splitlines())) <= 80
        assert is_picture(folder / "run" / "ensemble.png")

    def test_a_seed_that_is_done_is_not_trained_again(self, trained: tuple[Path, str]) -> None:
        folder, printed = trained
        again = run_example(folder, "snapshot_ensemble.py", *OPTIONS)
        assert "Epoch" in printed
        assert "Epoch" not in again
        table = again[again.index("Mean over the seeds") :]
        assert printed.endswith(table)

    def test_runs_of_other_options_are_not_taken_for_these(self, trained: tuple[Path, str]) -> None:
        error = run_example(trained[0], "snapshot_ensemble.py", *OPTIONS, "--T_mult", "1", succeeds=False)
        assert "All runs of a folder must have the same options. Received: " in error


def test_independent_models_are_of_several_seeds() -> None:
    last = [[[0.9, 0.1]], [[0.5, 0.5]], [[0.2, 0.8]]]
    results = [{"last": probabilities, "labels": [0]} for probabilities in last]
    losses = [score.loss for score in independent(results, 2)]
    assert losses == pytest.approx(-np.log([0.7, 0.35, 0.55]))


def test_differences_are_paired() -> None:
    values = [Scores(loss, 0.5, 0.1) for loss in (1.0, 2.0, 4.0)]
    last = [Scores(loss, 0.5, 0.1) for loss in (1.5, 2.6, 4.4)]
    row = differences(values, last)["loss"]
    assert (row["n"], row["mean"]) == (3, pytest.approx(-0.5))
    # t(.975, 2) = 4.303 and an SD of 0.1.
    assert row["interval"] == pytest.approx([-0.5 - 0.2484, -0.5 + 0.2484], abs=1e-3)
    assert differences(values[:1], last[:1])["loss"]["interval"] == [None, None]
