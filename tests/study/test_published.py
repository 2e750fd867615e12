"""The published study: its tables are those of the records beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from examples.compare_schedules import Options, make_study
from keras_sgdr._files import read_sealed
from keras_sgdr.study import Study
from keras_sgdr.study.results.statistics import ensemble_gains
from keras_sgdr.study.results.tables import rows_of

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


def times(ours: Any, theirs: Any) -> str:
    """How many times as high losses are as others, paired by seed: the geometric mean with its 95 % t interval."""
    logs = np.log(ours) - np.log(theirs)
    interval = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    return "{:.2f} [{:.2f}, {:.2f}]".format(*np.exp([logs.mean(), interval.low, interval.high]))


def curves_of(*studies: Study) -> Any:
    """Validation losses: a row for each seed that every schedule has, a column for each schedule and epoch."""
    results = pd.concat([study.results for study in studies]).drop_duplicates(["schedule", "seed", "epoch"])
    return results.pivot_table(index="seed", columns=["schedule", "epoch"], values="val_loss").dropna()


def mean(curve: Any, first: int, last: int) -> Any:
    """The geometric mean over epochs, of each seed."""
    return np.exp(np.log(curve.loc[:, first:last]).mean(axis=1))


def claims(study: Study) -> list[str]:
    """The numbers of docs/study/README.md on what was reported of the original experiment, in order."""
    curves = curves_of(study)
    sgdr, decay, cosine = (curves[name] for name in ("SGDR (10, 2)", "step decay (60, 0.1)", "one cosine"))
    ensembles = study.ensembles.query("schedule == 'SGDR (10, 2)' and epoch == 70").set_index("seed")["val_loss"]
    return [
        f"{len(curves)} seeds",
        *(times(sgdr[end], mean(sgdr, end + 1, end + 5)) for end in (10, 30, 70)),
        *(times(sgdr[end], decay[end]) for end in (10, 30, 70)),
        *(times(sgdr[end], decay[100]) for end in (10, 30, 70)),
        times(mean(decay, 61, 70), mean(decay, 51, 60)),
        times(mean(decay, 91, 100), mean(decay, 61, 70)),
        times(sgdr[100], decay[100]),
        *(times(ensembles[curves.index], curve[100]) for curve in (decay, cosine)),
    ]


def claims_on_short_cycles(step_decay: Study, cycles: Study) -> list[str]:
    """Its numbers on T_0 = 1, T_mult = 2, over the seeds that every schedule has, in order."""
    curves = curves_of(step_decay, cycles)
    short, decay = curves["SGDR (1, 2)"], curves["step decay (60, 0.1)"]
    means = short.mean()
    ensemble = rows_of(ensemble_gains(cycles.ensembles))["SGDR (1, 2)", 63]
    rivals = [decay[100], curves["SGDR (10, 2)"][70], curves["one cosine"][100]]
    return [
        f"{len(curves)} seeds",
        *(times(short[end], decay[100]) for end in (7, 15, 31, 63)),
        f"{means.min():.3f} after {means.idxmin()} epochs",
        *(times(mean(short, 55, 63), rival) for rival in rivals),
        "{:.3f} beside {:.3f}, {:.3f} and {:.3f}".format(*(end.std() for end in (short[63], *rivals))),
        "{value:.3f} where its last member has {last:.3f}".format(**ensemble),
        "{mean:+.3f} [{t_low:+.3f}, {t_high:+.3f}]".format(**ensemble),
    ]


def assert_said(claims: list[str]) -> None:
    text = (STUDIES / "README.md").read_text().partition("## The original experiment")[2]
    place = 0
    for claim in claims:
        place = text.index(claim, place) + len(claim)


def test_what_is_said_of_the_original_experiment_is_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_said(claims(published("paper", "step_decay", monkeypatch)))


def test_what_is_said_of_its_shortest_cycles_is_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    studies = [published("paper", compare, monkeypatch) for compare in ("step_decay", "cycles")]
    assert_said(claims_on_short_cycles(*studies))


INTERVAL = re.compile(r"\[([+-]?\d\.\d+), ([+-]?\d\.\d+)\]")


def test_intervals_of_the_laptop_preset_are_those_of_its_tables() -> None:
    said = (STUDIES / "README.md").read_text().partition("## The original experiment")[0]
    tables = "".join(path.read_text() for path in STUDIES.glob("laptop/*/summary.md"))
    measured = np.array([[float(end) for end in pair] for pair in INTERVAL.findall(tables)])
    for pair in INTERVAL.findall(said):
        distances = np.abs(measured - [float(end) for end in pair]).max(axis=1)
        assert distances.min() <= 0.00051, pair  # Said in three digits.


@pytest.mark.parametrize("preset", sorted({preset for preset, _ in PUBLISHED}))
def test_ensembles_are_measured_with_the_labels_of_the_images(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last member alone has the loss that Keras measured."""
    study = published(preset, "step_decay", monkeypatch)
    keys = ["schedule", "seed", "epoch"]
    joined = study.ensembles.merge(study.results, on=keys, suffixes=("_of_mean", ""))
    assert len(joined)
    np.testing.assert_allclose(joined["last_val_loss"], joined["val_loss"], rtol=1e-3)
    np.testing.assert_allclose(joined["last_val_accuracy"], joined["val_accuracy"], atol=1e-6)
