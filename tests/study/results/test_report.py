"""The report is one page that a browser reads alone: well formed, escaped, with the pictures inside."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import keras
import pytest
from pandas import DataFrame

from keras_sgdr.study.results.report import Summary, summarize, write_report
from keras_sgdr.study.results.table import Table
from tests.support.synthetic_table import SCHEDULES, plausible

# A picture of one pixel.
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
VOID = {"meta", "img"}


class Page(HTMLParser):
    """What a page holds; every element has to be closed, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "pair.png"
    path.write_bytes(PNG)
    return path


def test_page_holds_tables_figures_options_versions_and_hardware(tmp_path: Path, picture: Path) -> None:
    summary = summarize(plausible(SCHEDULES, 30, 5))
    options = {"epochs": 30, "eta_max": 0.001}
    path = write_report(tmp_path / "new" / "report.html", "A study", summary, [picture], options=options)
    page = Page(path)
    assert page.sources == ["data:image/png;base64," + base64.b64encode(PNG).decode()]
    assert page.tags.count("table") == len(summary.tables) + 2
    # Each of the results scrolls in a box of its own, under a title that stays.
    assert path.read_text().count('<div class="table">') == len(summary.tables)
    assert "caption" not in page.tags
    for text in (
        "A study",
        "SGDR (10, 2)",
        summary.headline,
        summary.tables[2].rows[0][4],
        summary.notes[0],
        "Figure 1. The baseline and the first schedule compared with it",
        "eta_max",
        keras.__version__,
        "cores",
    ):
        assert text in page.text
    assert "failed" not in page.text


def test_a_summary_prints_in_80_columns() -> None:
    lines = str(summarize(plausible(SCHEDULES, 100, 5), margin=0.01)).splitlines()
    assert max(map(len, lines)) <= 80


def test_what_a_user_names_is_escaped_and_no_script_runs(tmp_path: Path, picture: Path) -> None:
    evil = "<script>alert('&\"')</script>"
    failures = DataFrame([(evil, 3, f"ValueError: {evil}")], columns=["schedule", "seed", "traceback"])
    summary = Summary(evil, [Table(evil, (evil, "n"), [(evil, "1")])], [evil])
    path = write_report(
        tmp_path / "report.html", evil, summary, [picture], options={evil: evil}, failures=failures, introduction=evil
    )
    page = Page(path)
    assert "script" not in page.tags
    # Title twice, introduction, headline, table three times, note, options twice, failure twice.
    assert page.text.count(evil) == 12
    assert "Runs that failed: 1" in page.text


def test_every_machine_that_made_runs_is_told(tmp_path: Path, picture: Path) -> None:
    summary = summarize(plausible(SCHEDULES, 30, 5))
    machines = [
        {"backend": "jax", "versions": {"keras": "3"}, "hardware": {"cpu": name, "cores": 2, "gpus": []}}
        for name in ("one", "another")
    ]
    path = write_report(tmp_path / "report.html", "", summary, [picture], options={}, made_with=machines)
    page = Page(path)
    assert page.tags.count("table") == len(summary.tables) + 3
    assert "one, 2 cores" in page.text
    assert "another, 2 cores" in page.text
