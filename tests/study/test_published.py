"""The published study: its tables are those of the records beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.compare_schedules import Options, make_study
from keras_sgdr._files import read_sealed
from keras_sgdr.study import Study

STUDIES = Path(__file__).parents[2] / "docs" / "study"
PUBLISHED = sorted(path.parts[-3:-1] for path in STUDIES.glob("*/*/summary.md"))
# The images themselves are not needed: so many of them, of two classes, make the table.
TRAINING, VALIDATION = 244, (70, 83)


def published(preset: Any, compare: Any, monkeypatch: pytest.MonkeyPatch) -> Study:
    records = STUDIES / preset / "records"
    options = Options(preset=preset, compare=compare, records=records, weights="none")
    labels = np.repeat([0, 1], VALIDATION)
    images = (np.zeros((len(labels), 1, 1, 3), np.uint8), labels)
    study = make_study(options, (np.zeros((TRAINING, 1, 1, 3), np.uint8), np.zeros(TRAINING, int)), images)
    first = read_sealed(next(records.glob("*.json")).read_text())
    for name in ("data", "backend"):
        monkeypatch.setitem(study.spec.shared, name, first["study"][name])
    return study


def test_something_is_published() -> None:
    assert ("laptop", "step_decay") in PUBLISHED


@pytest.mark.parametrize(("preset", "compare"), PUBLISHED)
def test_tables_are_those_of_the_records(preset: str, compare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = published(preset, compare, monkeypatch)
    summary = (STUDIES / preset / compare / "summary.md").read_text()
    assert summary == study.summary().markdown()
    # Each record says itself what it is of, and with what it was made.
    assert all(record.made_with["versions"]["keras"] for record in study.store.records())


@pytest.mark.parametrize("preset", sorted({preset for preset, _ in PUBLISHED}))
def test_ensembles_are_measured_with_the_labels_of_the_images(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last member alone has the loss that Keras measured."""
    study = published(preset, "step_decay", monkeypatch)
    keys = ["schedule", "seed", "epoch"]
    joined = study.ensembles.merge(study.results, on=keys, suffixes=("_of_mean", ""))
    assert len(joined)
    np.testing.assert_allclose(joined["last_val_loss"], joined["val_loss"], rtol=1e-3)
    np.testing.assert_allclose(joined["last_val_accuracy"], joined["val_accuracy"], atol=1e-6)
