"""The progress of a study, in epochs, and the time left that follows from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from keras_sgdr import StepDecay, WarmRestarts
from keras_sgdr.study.progress import EpochCounts, Pace, progress_text
from keras_sgdr.study.store import Run
from tests.support.study_nets import EPOCHS, point_study

RUNS = [Run("SGDR", seed) for seed in range(4)]
SCHEDULES = {"constant": StepDecay(0.1, gamma=1), "SGDR (1, 2)": WarmRestarts(1, 2, 0.1)}


@pytest.mark.parametrize(
    ("done", "failed", "epochs", "left", "expected"),
    [
        (0, 0, 0, None, "0 of 10 runs, 0 of 140 epochs, 2 running"),
        (3, 0, 45, 210, "3 of 10 runs, 45 of 140 epochs, 2 running, 0:03:30 left"),
        (8, 1, 120, 9.5, "8 of 10 runs, 120 of 140 epochs, 1 running, 1 failed, 0:00:10 left"),
        (10, 0, 140, None, "10 of 10 runs, 140 of 140 epochs"),
    ],
)
def test_progress_in_words(done: int, failed: int, epochs: int, left: float | None, expected: str) -> None:
    text = progress_text(done, failed, 10, jobs=2, epochs=epochs, of=140, left=left)
    assert text == expected
    assert len(text) < 75  # A bar fits beside it.


def test_time_left_is_known_from_the_first_epoch_and_falls() -> None:
    """Two processes, each of two runs of 10 epochs, of a second each, that took a minute to start."""
    pace = Pace(RUNS, 2, epochs=10)
    assert pace.left({}, [], 60.0) is None
    assert pace.left({RUNS[0]: 0, RUNS[1]: 0}, [], 60.0) is None
    for second in range(1, 11):
        assert pace.left({RUNS[0]: second, RUNS[1]: second}, [], 60.0 + second) == pytest.approx(20 - second)
    ended, epochs = RUNS[:2], dict.fromkeys(RUNS[:2], 10)
    for second in range(1, 10):
        now = epochs | {RUNS[2]: second, RUNS[3]: second}
        assert pace.left(now, ended, 70.0 + second) == pytest.approx(10 - second)


def test_epochs_of_an_earlier_call_are_no_work_of_this_one() -> None:
    pace = Pace(RUNS[:1], 1, epochs=10, stopped=RUNS[:1])
    assert pace.left({RUNS[0]: 6}, [], 0.0) is None
    assert pace.left({RUNS[0]: 7}, [], 5.0) == pytest.approx(15)


def test_a_run_that_failed_takes_no_more_time_and_the_longest_share_decides() -> None:
    pace = Pace(RUNS[:3], 2, epochs=10)
    assert pace.left({RUNS[0]: 0, RUNS[1]: 0}, [], 0.0) is None
    # The first process goes on with the third run; the second has failed.
    assert pace.left({RUNS[0]: 10, RUNS[1]: 10, RUNS[2]: 0}, RUNS[:2], 10.0) == pytest.approx(10)
    assert pace.left({RUNS[0]: 10, RUNS[1]: 2, RUNS[2]: 0}, RUNS[:2], 10.0) == pytest.approx(10 / 6 * 10)


def test_counts_are_seen_by_others_and_removed(tmp_path: Path) -> None:
    counts = EpochCounts(tmp_path / "runs")
    assert counts.read(RUNS) == {}
    counts.write(RUNS[0], 0)
    counts.write(RUNS[1], 12)
    assert EpochCounts(tmp_path / "runs").read(RUNS) == {RUNS[0]: 0, RUNS[1]: 12}
    counts.remove(RUNS)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_epochs_are_counted_as_they_end_wherever_they_are_trained(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = point_study(tmp_path, schedules=SCHEDULES)
    seen: list[dict[Run, int]] = []
    remove = EpochCounts.remove

    def removed(counts: EpochCounts, runs: Any) -> None:
        seen.append(counts.read(runs))
        remove(counts, runs)

    monkeypatch.setattr(EpochCounts, "remove", removed)
    study.run(jobs=jobs)
    # Nothing is there before, and all of it at the end; then it is gone.
    assert seen == [{}, dict.fromkeys(study.store.runs, EPOCHS)]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}
    assert re.search(r"4 of 4 runs, 12 of 12 epochs", capsys.readouterr().out)
