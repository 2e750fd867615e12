"""A study that is killed at random moments ends with the table of one that is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from keras_sgdr.study import Study
from tests.support.killed_study import EPOCHS, KILLS, SCHEDULES, SEEDS, small


def read(folder: str | Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    study = small(Path(folder))
    # Read here on any backend; they were made on PyTorch.
    monkeypatch.setitem(study.spec.shared, "backend", "torch")
    return study


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Kills forks of a process.")
def test_a_study_killed_at_20_random_moments_has_the_table_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One thread: others would not be there in a fork.
    environment = {**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.support.killed_study", str(tmp_path), "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert len(report["runs_after_each"]) == KILLS
    # The kills fell among the runs, not all of them before the first or after the last.
    assert len(set(report["runs_after_each"])) > 2
    # Most of them left a run that had begun, to be gone on with.
    assert report["in_a_run"] > KILLS / 2
    assert not report["repeated"]
    uninterrupted = read(tmp_path / "uninterrupted", monkeypatch).results
    assert len(uninterrupted) == len(SCHEDULES) * SEEDS * EPOCHS
    for folder in report["studies"]:
        resumed = read(folder, monkeypatch)
        pd.testing.assert_frame_equal(resumed.results, uninterrupted, check_exact=True)
        assert resumed.failures.empty
