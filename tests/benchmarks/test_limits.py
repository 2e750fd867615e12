"""A command that runs over its limit is stopped with its children, and recorded with what it had measured."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import limits
from benchmarks.machine import Machine
from benchmarks.plan import Job
from benchmarks.report import page, read
from benchmarks.rows import Row
from benchmarks.settings import Settings

ROOT = Path(program.__file__).resolve().parents[1]
# Starts a child, and prints both process ids; then waits, or ends and leaves the child.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(float(sys.argv[1]))
"""


def is_running(process: int) -> bool:
    """Whether it runs: not gone, and not a zombie that nobody waits for."""
    status = Path(f"/proc/{process}/stat")
    try:
        os.kill(process, 0)
        return not status.is_file() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def gone(process: int) -> bool:
    end = time.monotonic() + 5
    while is_running(process) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_running(process)


@pytest.mark.parametrize(("sleep", "status"), [(60, None), (0, 0)], ids=["over its limit", "ended"])
def test_nothing_is_left_of_a_command(sleep: float, status: int | None, tmp_path: Path) -> None:
    alive: list[bool] = []
    processes: list[int] = []

    def note(line: str) -> None:
        processes.extend(map(int, line.split()))
        alive.append(is_running(processes[1]))

    limit = 60 if status == 0 else 1.0
    ended = limits.run([sys.executable, "-c", PARENT, str(sleep)], limit, tmp_path / "log", on_line=note)
    assert ended.status == status
    assert ended.seconds < 30
    assert alive == [True], "the child was there"
    assert all(gone(process) for process in processes)


@pytest.mark.parametrize("watches", [True, False])
def test_a_command_ends_when_the_process_that_runs_it_is_killed(watches: bool) -> None:
    """Unless it does not watch, which is the control."""
    watch = "from benchmarks import limits; limits.end_with_parent()\n" if watches else ""
    text = (
        f"import sys\nfrom benchmarks import limits\nlimits.run([sys.executable, '-c', {watch + PARENT!r}, '60'], 60)"
    )
    runner = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert runner.stdout is not None
    processes = [int(word) for word in runner.stdout.readline().split()]
    assert all(map(is_running, processes))
    runner.kill()
    runner.wait()
    runner.stdout.close()
    if watches:
        assert all(gone(process) for process in processes)
        return
    time.sleep(0.3)
    assert all(map(is_running, processes))
    os.killpg(processes[0], signal.SIGKILL)


def test_the_status_of_a_failure_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = limits.run([sys.executable, "-c", "import sys; sys.exit('no such thing')"], 60, log, on_line=print)
    assert ended.status == 1
    assert log.read_text().strip() == "no such thing"


PART = """
import time
from collections.abc import Callable
from benchmarks.rows import ratio

def rows(settings):
    yield ratio("quick", "slow", [1.0], [2.0], 1.0)
    yield ratio("quick", "slow", [1.0, 1.0], [2.0, 2.0], 1.0)
    if settings.rounds == 0:
        raise RuntimeError("no rounds")
    time.sleep(settings.seconds)
    yield ratio("late", "slow", [1.0], [2.0], 1.0)
"""


@pytest.mark.parametrize(
    ("settings", "limit", "left", "ended", "measured"),
    [
        (Settings(seconds=0), 60.0, 60.0, "complete", ["quick", "late"]),
        (Settings(seconds=60), 3.0, 60.0, "stopped after", ["quick"]),
        (Settings(seconds=60), 60.0, 3.0, "stopped after", ["quick"]),
        (Settings(rounds=0), 60.0, 60.0, "failed: RuntimeError: no rounds", ["quick"]),
        (Settings(), 60.0, 0.0, "not run: no time was left", []),
    ],
    ids=["complete", "over its limit", "over that of the run", "failed", "no time"],
)
def test_a_job_is_recorded_however_it_ends(
    settings: Settings,
    limit: float,
    left: float,
    ended: str,
    measured: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A part of its own, found by the job's process beside those of the benchmark.
    (tmp_path / "sitecustomize.py").write_text(
        f"import benchmarks.parts\nbenchmarks.parts.__path__.append({str(tmp_path)!r})\n"
    )
    (tmp_path / "planted.py").write_text(PART)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    machine = Machine({"cpu": "Abacus", "cores": 2, "gpus": []}, {"python": "3.11"})
    output = tmp_path / "results.json"
    job = Job("planted", "jax", dataclasses.replace(settings, backend="jax"), limit)
    program.run_job(job, machine, output, left)
    record = read(output)[machine.name]["jobs"]["planted jax"]
    assert record["ended"].startswith(ended)
    assert [row["what"] for row in record["rows"]] == measured
    assert all(row["rounds"] == 2 for row in record["rows"] if row["what"] == "quick"), "the later row replaces it"
    assert (ended == "complete") == ("**no**" not in page(read(output)))


def test_an_interrupted_job_keeps_what_it_has_and_replaces_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine({"cpu": "Abacus", "cores": 2, "gpus": []}, {"python": "3.11"})
    output, job = tmp_path / "results.json", Job("step", "jax", Settings(backend="jax"), 60)

    def interrupted(*lines: str) -> list[str]:
        def run(command: object, limit: object, log: object, environment: object, add: Callable[[str], None]) -> None:
            for line in lines:
                add(line)
            raise KeyboardInterrupt

        monkeypatch.setattr(limits, "run", run)
        with pytest.raises(KeyboardInterrupt):
            program.run_job(job, machine, output, 60)
        return [row["what"] for row in read(output)[machine.name]["jobs"]["step jax"]["rows"]]

    row = json.dumps(dataclasses.asdict(Row("measured", "other", (1.0, 1.0, 1.0), 1)))
    assert interrupted(row) == ["measured"]
    assert interrupted() == ["measured"], "it had nothing to put in their place"
