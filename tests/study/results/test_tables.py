"""The results as a table, and tables as text."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from keras_sgdr import Schedule, StepDecay, WarmRestarts
from keras_sgdr.study import compared_schedules
from keras_sgdr.study.results.table import Table
from keras_sgdr.study.results.tables import rows_of
from keras_sgdr.study.store import Metrics, Progress
from tests.support.study_nets import EPOCHS, STEPS, point_study


def results(folder: Path, schedules: dict[str, Schedule], epochs: int = EPOCHS) -> pd.DataFrame:
    """The table of runs that were never trained."""
    study = point_study(folder, schedules=schedules, epochs=epochs)
    for run in reversed(study.store.runs):
        metrics: Metrics = {
            name: [10.0 * run.seed + epoch for epoch in range(epochs)]
            for name in ("loss", "accuracy", "val_loss", "val_accuracy")
        }
        study.store.write(run, "model", Progress(metrics))
    return study.results


def test_results_have_one_row_per_schedule_seed_and_epoch(tmp_path: Path) -> None:
    schedules = compared_schedules(0.1, EPOCHS)
    table = results(tmp_path, schedules)
    assert list(table) == [
        "schedule", "seed", "epoch", "rate", "loss", "accuracy", "val_loss", "val_accuracy", "cycle", "cycle_end"
    ]  # fmt: skip
    rows = [(name, seed, epoch) for name in schedules for seed in (0, 1) for epoch in range(1, EPOCHS + 1)]
    assert list(table[["schedule", "seed", "epoch"]].itertuples(index=False, name=None)) == rows
    assert table["val_loss"].tolist() == [10.0 * seed + epoch - 1 for _, seed, epoch in rows]
    for name, schedule in schedules.items():
        rates = table[(table["schedule"] == name) & (table["seed"] == 0)]["rate"]
        np.testing.assert_array_equal(rates, schedule.learning_rates(EPOCHS, STEPS)[STEPS - 1 :: STEPS])


def test_cycles_are_those_of_the_last_update_of_an_epoch(tmp_path: Path) -> None:
    # Cycles of a third of an epoch hold one update each, of a quarter one or none.
    schedules: dict[str, Schedule] = {
        "(1, 2)": WarmRestarts(1, 2, 0.1),
        "half": WarmRestarts(0.5, 1, 0.1),
        "quarter": WarmRestarts("1/4", 1, 0.1, cycle_limit=6),
        "inside": WarmRestarts(Fraction(4, 3), 1, 0.1),
        "after warmup": WarmRestarts(1, 1, 0.1, warmup=1, cycle_limit=1),
        "constant": StepDecay(0.1, gamma=1),
    }
    table = results(tmp_path, schedules)
    table = table[table["seed"] == 0]
    cycles = {name: group["cycle"].tolist() for name, group in table.groupby("schedule")}
    ends = {name: group["cycle_end"].tolist() for name, group in table.groupby("schedule")}
    assert cycles == {
        "(1, 2)": [0, 1, 1],
        "half": [1, 3, 5],
        "quarter": [2, -1, -1],
        "inside": [0, 1, 2],
        "after warmup": [-1, 0, -1],
        "constant": [-1, -1, -1],
    }
    assert ends == {
        "(1, 2)": [True, False, True],
        "half": [True, True, True],
        "quarter": [True, False, False],
        "inside": [False, False, False],
        "after warmup": [False, True, False],
        "constant": [False, False, False],
    }


def test_tables_are_aligned_as_text() -> None:
    table = Table("Title", ("name", "value"), [("a|b", "1"), ("long name", "-22")])
    assert str(table).splitlines() == [
        "Title",
        "",
        "name         value",
        "---------  -------",
        "a|b              1",
        "long name      -22",
    ]


def test_a_wide_table_is_printed_in_parts_of_80_columns() -> None:
    name = "step decay (60, 0.1) with a name that is long"
    headings = ("schedule", "epoch", *(f"measured {number}" for number in range(8)))
    cells = (*map(str, range(8)),)
    lines = str(Table("A title " * 12, headings, [(name, "7", *cells), ("short", "9", *cells)], keys=2)).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line.startswith("short")]
    # Each part says which schedule and epoch its rows are of; nothing is lost.
    assert [row[:2] for row in rows] == [["short", "9"]] * len(rows)
    assert [cell for row in rows for cell in row[2:]] == list(cells)
    assert sum(line.count("measured") for line in lines) == 8
    folded = [line.split("  ")[0].strip() for line in lines if line[:1].isalpha() and "measured" not in line]
    assert name in " ".join(folded)


def test_tables_are_escaped_as_markdown() -> None:
    table = Table("Title", ("a|b", "value"), [("a|b", "1"), ("long name", "-22")])
    title, empty, *lines = table.markdown().splitlines()
    assert (title, empty) == ("Title", "")
    unescaped = [line.strip("|").replace(r"\|", "/") for line in lines]
    headings, rule, *rows = [[cell.strip() for cell in line.split("|")] for line in unescaped]
    assert (headings, rows) == (["a/b", "value"], [["a/b", "1"], ["long name", "-22"]])
    assert [cell.replace("-", "") for cell in rule] == [":", ":"]
    assert rule[0].startswith(":")
    assert rule[1].endswith(":")


def test_a_title_stays_where_its_table_scrolls_in_html() -> None:
    html = Table("a < b", ("name", "value"), [("<b>", "1")]).html()
    assert html.startswith('<p class="caption">a &lt; b</p>\n<div class="table">\n<table>\n<thead>')
    assert "&lt;b&gt;" in html


def test_ensembles_are_means_of_the_cycle_ends_so_far(tmp_path: Path) -> None:
    schedules: dict[str, Schedule] = {"(1, 2)": WarmRestarts(1, 2, 0.1), "constant": StepDecay(0.1, gamma=1)}
    study = point_study(tmp_path, schedules=schedules, seeds=1, keep_outputs=True)
    labels = study.spec.data[1][1]
    random = np.random.default_rng(0)
    outputs = {epoch: random.dirichlet([1, 1], len(labels)).astype("float32") for epoch in (1, 3)}
    assert {name: study.spec.kept_epochs(name) for name in schedules} == {"(1, 2)": {1, 3}, "constant": {3}}
    metrics: Metrics = dict.fromkeys(("loss", "accuracy", "val_loss", "val_accuracy"), [1.0] * EPOCHS)
    for run in study.store.runs:
        kept = {epoch: outputs[epoch] for epoch in study.spec.kept_epochs(run.schedule)}
        study.store.write(run, "model", Progress(metrics, kept))

    first, second = rows_of(study.ensembles).values()
    names = ["schedule", "epoch", "members"]
    assert [[row[name] for name in names] for row in (first, second)] == [["(1, 2)", 1, 1], ["(1, 2)", 3, 2]]
    mean = (outputs[1].astype("float64") + outputs[3]) / 2
    rows = np.arange(len(labels))
    assert first["val_loss"] == first["last_val_loss"]
    np.testing.assert_allclose(second["val_loss"], -np.log(mean[rows, labels]).mean(), rtol=1e-6)
    np.testing.assert_allclose(second["last_val_loss"], -np.log(outputs[3][rows, labels]).mean(), rtol=1e-6)
    assert second["val_accuracy"] == (mean.argmax(axis=1) == labels).mean()
    assert study.summary().tables[-1].rows[0][:4] == ("(1, 2)", "3", "2", "1")
