"""`examples/adamw_restarts.py`, as a user runs it, on drawn insects and from random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import pytest

from keras_sgdr.optimizers import AdamWR
from tests.test_examples import EXAMPLES, SMALL, STAND_IN, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adamw_restarts")


@pytest.fixture(scope="module")
def printed(folder: Path) -> str:
    finished = run(
        folder, *STAND_IN, EXAMPLES / "adamw_restarts.py", "--output", "run", "--lambda_norm", "0.04", *SMALL
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_table_has_the_decay_of_each_cycle(printed: str) -> None:
    # Four updates an epoch: 0.04 / sqrt(4) and 0.04 / sqrt(8).
    rows = [line.split() for line in printed.splitlines()]
    assert ["1", "1", "4", "0.02"] in rows
    assert ["2", "2", "8", "0.014"] in rows


def test_writes_what_the_other_example_writes(folder: Path, printed: str) -> None:
    names = {"history.csv", "learning_rate.png", "loss.png", "summary.json", "model.keras"}
    assert {file.name for file in (folder / "run").iterdir()} == names
    summary: dict[str, Any] = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["options"]["lambda_norm"] == 0.04
    assert "optimizer" not in summary["options"]
    assert [row["complete"] for row in summary["cycles"]] == [True, True]


def test_saved_model_has_the_optimizer(folder: Path, printed: str) -> None:
    optimizer = keras.saving.load_model(folder / "run" / "model.keras").optimizer
    assert type(optimizer) is AdamWR
    assert (optimizer.eta_max, optimizer.lambda_norm) == (0.005, 0.04)
