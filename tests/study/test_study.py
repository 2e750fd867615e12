"""A study as a user sees it: run it, read its table, its summary and its figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_sgdr import StepDecay, WarmRestarts
from tests.support.study_nets import EPOCHS, compiled, point_study


def test_results_summary_and_figures_are_of_the_runs(tmp_path: Path) -> None:
    schedules = {"constant": StepDecay(0.1, gamma=1), "SGDR (1, 2)": WarmRestarts(1, 2, 0.1)}
    study = point_study(tmp_path / "runs", schedules=schedules)
    study.run(progress=True)
    results = study.results
    assert results["schedule"].unique().tolist() == list(schedules)
    assert len(results) == 2 * 2 * EPOCHS
    assert np.isfinite(results.drop(columns="schedule").to_numpy(dtype=float)).all()
    assert results.groupby("schedule")["val_loss"].nunique().min() == 2 * EPOCHS
    assert "SGDR (1, 2)" in str(study.summary())
    drawn = study.figures(tmp_path / "figures")
    assert drawn
    assert all(path.stat().st_size > 0 for path in drawn)


def test_a_run_that_diverges_is_no_failure_and_its_rows_hold_nan(tmp_path: Path) -> None:
    def model_fn() -> Any:
        model = compiled([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(), loss="mse", run_eagerly=True)
        return model

    study = point_study(tmp_path, model_fn=model_fn, seeds=1, schedules={"too high": StepDecay(1e20, gamma=1)})
    study.run(progress=False)
    assert np.isnan(study.results["val_loss"]).all()
    assert study.failures.empty


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    study = point_study(tmp_path, schedules={"SGDR (1, 2)": WarmRestarts(1, 2, 0.1)})
    with pytest.raises(ImportError, match=r'A study needs pandas: pip install "keras-sgdr\[study\]"'):
        _ = study.results
