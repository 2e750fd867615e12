"""Results of several machines in one file, and the page that is written from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import Machine, busy_between
from benchmarks.report import Results, keep, merge, number, page, read, write
from benchmarks.rows import Row

VERSIONS = {"python": "3.11", "keras": "3.15", "tensorflow": "2.21", "jax": "0.10"}
LAPTOP = Machine({"cpu": "Abacus", "cores": 2, "gpus": []}, VERSIONS)
SERVER = Machine({"cpu": "Abacus", "cores": 16, "gpus": ["H200"]}, VERSIONS)
ROW = Row("step under SGDR", "constant rate", (0.99, 1.0, 1.01), 9, 1.02, "400 µs", "401 µs")
MISSED = Row("epoch", "the tutorial's loop", (1.4, 1.5, 1.6), 5, 1.0, "3 s", "2 s")


def kept(results: Results, machine: Machine, job: str, *rows: Row, ended: str = "complete") -> Results:
    keep(results, machine, job, list(rows), ended=ended, seconds=60, backends=("jax",))
    return results


def test_a_machine_leaves_the_sections_of_others() -> None:
    results = kept({}, SERVER, "step jax", ROW)
    before = results[SERVER.name].copy()
    kept(results, LAPTOP, "step jax", MISSED)
    assert list(results) == ["H200; Abacus, 16 cores", "Abacus, 2 cores, no GPU"]
    assert results[SERVER.name] == before


def test_a_job_replaces_its_own_rows_alone() -> None:
    results = kept(kept({}, LAPTOP, "epoch 96x16", MISSED), LAPTOP, "epoch 64x32", MISSED)
    kept(results, LAPTOP, "epoch 96x16", ROW)
    jobs = results[LAPTOP.name]["jobs"]
    assert [jobs[name]["rows"][0]["what"] for name in ("epoch 96x16", "epoch 64x32")] == [ROW.what, MISSED.what]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.json"
    assert read(file) == {}
    results = kept(kept({}, LAPTOP, "step jax", ROW), SERVER, "epoch 96x16", MISSED)
    write(file, results)
    assert page(read(file), file.name) == page(results, file.name) == file.with_suffix(".md").read_text()
    assert sorted(path.name for path in file.parent.iterdir()) == ["results.json", "results.md"]


def test_results_of_another_machine_are_taken_in() -> None:
    mine, other = kept(kept({}, LAPTOP, "step jax", ROW), SERVER, "step jax", ROW), kept({}, SERVER, "epoch 96x16", ROW)
    kept(other, SERVER, "step jax", MISSED)
    merge(mine, other)
    assert list(mine[LAPTOP.name]["jobs"]) == ["step jax"]
    assert list(mine[SERVER.name]["jobs"]) == ["step jax", "epoch 96x16"]
    assert mine[SERVER.name]["jobs"]["step jax"]["rows"][0]["what"] == MISSED.what


def test_the_table() -> None:
    results = kept(kept({}, LAPTOP, "epoch 96x16", MISSED), LAPTOP, "step jax", ROW)
    text = page(results)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[2:] == [
        "| step under SGDR | constant rate | 400 µs / 401 µs | 1.000 [0.990, 1.010] | 9 | ≤ 1.02 | yes |  |",
        "| epoch | the tutorial's loop | 3 s / 2 s | 1.500 [1.400, 1.600] | 5 | ≤ 1 | **no** |  |",
    ]
    assert "## Abacus, 2 cores, no GPU\n" in text
    assert "Versions: python 3.11, keras 3.15, jax 0.10." in text
    assert "Measured in 2 minutes." in text
    assert "tensorflow 2.21" not in text, "no row was measured with it"


def test_versions_that_changed_are_told_apart() -> None:
    results = kept({}, LAPTOP, "step jax", ROW)
    newer = Machine(LAPTOP.hardware, {**VERSIONS, "keras": "3.16"})
    text = page(kept(results, newer, "epoch 96x16", ROW))
    assert "Versions for step jax: python 3.11, keras 3.15" in text
    assert "Versions for epoch 96x16: python 3.11, keras 3.16" in text


def test_what_was_not_measured_is_said() -> None:
    skipped = Row(
        "epoch: ours", "plain Keras", at_most=1.0, note="plain Keras: needs tensorflow, which is not installed"
    )
    text = page(kept({}, LAPTOP, "epoch 96x16", skipped, ended="stopped after 900 s"))
    assert "| epoch: ours | plain Keras |  | not measured |  | ≤ 1 |  | plain Keras: needs tensorflow" in text
    assert "| `epoch 96x16` | | | | | | **no** | stopped after 900 s |" in text


@pytest.mark.parametrize(("busy", "named"), [(None, False), (0.2, False), (1.9, True)])
def test_a_machine_that_was_not_quiet_is_named(busy: float | None, named: bool) -> None:
    results: Results = {}
    keep(results, LAPTOP, "epoch 96x16", [ROW], ended="complete", seconds=60, backends=("jax",), busy=busy)
    assert ("used up to 1.9 of 2 cores beside epoch 96x16" in page(results)) == named
    assert ("Not quiet" in page(results)) == named


def test_busy_is_neither_idle_nor_waiting_for_a_disk() -> None:
    before = [100, 0, 50, 1000, 10, 0, 0, 0]
    assert busy_between(before, [150, 0, 100, 1080, 30, 0, 0, 0]) == 0.5
    assert busy_between(before, before) == 0.0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1.0, "", "1.000"), (0.333, "", "0.333"), (0.01, "", "0.01"), (1.2345e-5, "", "1.2e-05"), (30, "ms", "30.0 ms")],
)
def test_numbers(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_the_published_page_is_that_of_the_published_numbers() -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    published: Any = read(docs / "benchmarks.json")
    assert page(published) == (docs / "benchmarks.md").read_text(encoding="utf-8")
