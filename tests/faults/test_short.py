"""A short form of `make faults`, on every backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from faults.__main__ import JOBS


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="Kills forks of a process.")
def test_nothing_breaks_it(tmp_path: Path) -> None:
    output = tmp_path / "reliability.json"
    command = [sys.executable, "-m", "faults", "--short", "--jobs", "1", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert output.with_suffix(".md").is_file()
    trials = [each for job in json.loads(output.read_text())["trials"].values() for each in job]
    assert [each["what"] for each in trials if not each["tried"]] == []
    # A study that is killed has the table of one that is not.
    (studies,) = (each for each in trials if each["what"] == "SIGKILL of a study")
    assert studies["tried"] == 20
    backends = Counter(each["backend"] for each in trials)
    assert set(backends) >= {job.backend for job in JOBS}
