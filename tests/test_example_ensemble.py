"""`examples/snapshot_ensemble.py`, as a user runs it, on drawn insects and from random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.snapshot_ensemble import AVERAGE, LAST, SNAPSHOT, differences, independent
from keras_sgdr.evaluation import Scores
from keras_sgdr.snapshots import Manifest
from tests.test_examples import EXAMPLES, SMALL, STAND_IN, is_picture, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshot_ensemble")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    finished = run(folder, *STAND_IN, EXAMPLES / "snapshot_ensemble.py", "--output", "run", *SMALL)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_writes_snapshots_scores_table_and_picture(folder: Path, printed: str) -> None:
    assert [one.epoch for one in Manifest.read(folder / "run" / "seed-000" / "snapshots").snapshots] == [1, 3]
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["members"] == 2
    assert set(summary["scores"]) == {LAST, SNAPSHOT, AVERAGE}
    assert all(np.isfinite(score["loss"]) for (score,) in summary["scores"].values())
    assert (folder / "run" / "report.md").read_text() in printed
    assert is_picture(folder / "run" / "ensemble.png")


def test_a_seed_that_is_done_is_not_trained_again(folder: Path, printed: str) -> None:
    finished = run(folder, *STAND_IN, EXAMPLES / "snapshot_ensemble.py", "--output", "run", *SMALL)
    assert finished.returncode == 0, finished.stderr
    assert "epoch" not in finished.stdout
    assert finished.stdout.endswith((folder / "run" / "report.md").read_text() + "\n")


def test_runs_of_other_options_are_not_taken_for_these(folder: Path, printed: str) -> None:
    finished = run(folder, *STAND_IN, EXAMPLES / "snapshot_ensemble.py", "--output", "run", *SMALL, "--T_mult", "1")
    assert finished.returncode != 0
    assert "A folder of runs is of one set of options. Received: " in finished.stderr


def test_independent_models_are_of_as_many_seeds() -> None:
    last = [[[0.9, 0.1]], [[0.5, 0.5]], [[0.2, 0.8]]]
    found = [{"last": one, "labels": [0]} for one in last]
    losses = [score.loss for score in independent(found, 2)]
    assert losses == pytest.approx(-np.log([0.7, 0.35, 0.55]))


def test_differences_are_paired() -> None:
    values = [Scores(loss, 0.5, 0.1) for loss in (1.0, 2.0, 4.0)]
    last = [Scores(loss, 0.5, 0.1) for loss in (1.5, 2.6, 4.4)]
    row = differences(values, last)["loss"]
    assert (row["n"], row["mean"]) == (3, pytest.approx(-0.5))
    # t(.975, 2) = 4.303 and an SD of 0.1.
    assert row["interval"] == pytest.approx([-0.5 - 0.2484, -0.5 + 0.2484], abs=1e-3)
    assert differences(values[:1], last[:1])["loss"]["interval"] == [None, None]
