"""What counts as a fault, and what does not."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import Machine
from faults import report
from faults.trials import KINDS, Fault, Settings, Trials
from keras_sgdr import WarmRestarts


def index_error() -> Any:
    return [][1]


def unnamed() -> None:
    raise OSError("A file must be whole. Received: another one. Pass a whole one.")


def lost() -> None:
    raise Fault("lost", "a file")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (index_error, "inside"),
        (lambda: int("one"), "inside"),  # A `ValueError`, but none that says what to do.
        (lambda: time.sleep(10), "hung"),
        (unnamed, "unnamed"),
        (lost, "lost"),
    ],
)
def test_faults_are_found(action: Any, kind: str) -> None:
    trials = Trials("what")
    assert trials.attempt("a trial", action, within=0.05, names="x.json") is None
    assert [(fault[0], fault[1]) for fault in trials.faults] == [(kind, "a trial")]
    assert (trials.tried, trials.refused) == (1, 0)
    assert kind in KINDS


def test_what_is_accepted_or_refused_is_no_fault() -> None:
    trials = Trials("what")
    assert trials.attempt("accepted", lambda: 3) == 3
    trials.attempt("refused", lambda: WarmRestarts(-1))
    trials.attempt("refused by name", lambda: WarmRestarts(-1), names="T_0")
    assert (trials.tried, trials.refused, trials.faults) == (3, 2, [])
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_the_page_has_a_row_for_what_was_tried_and_names_each_fault(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text(f"Before.\n{report.BEGIN}\nold\n{report.END}\nAfter.\n")
    machine = Machine({"cpu": "A processor", "cores": 2, "gpus": []}, {"keras": "3"})
    good, bad = Trials("kills", "jax", 3), Trials("files", "", 5, 4, [("hung", "a.pth", "after 2 s")])
    report.write(tmp_path / "reliability.json", machine, {"kills jax": [good]}, 0)
    assert "| kills | jax | 3 | 0 | 0 |  |" in page.read_text()
    assert "No fault was found" in page.read_text()
    report.write(tmp_path / "reliability.json", machine, {"files": [bad]}, 0)
    text = page.read_text()
    assert "| kills | jax | 3 | 0 | 0 |  |" in text
    assert text.startswith("Before.\n")
    assert text.endswith("\nAfter.\n")
    assert "old" not in text
    assert "Faults that were found, 1:" in text
    assert "- files, : hung, a.pth: after 2 s" in text


def test_the_short_form_makes_fewer_trials() -> None:
    assert Settings("torch", 0, True).count(100, 3) == 3
    assert Settings("torch", 0, False).count(100, 3) == 100
