"""Runs the benchmark: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from benchmarks import limits, report
from benchmarks.machine import BACKENDS, SHARED_GPU, Machine, busy_cores, look
from benchmarks.plan import DEFAULT_PARTS, PARTS, SIZES, Job, Profile, jobs
from benchmarks.rows import Row
from benchmarks.turns import last_line

__all__ = ["main", "run_job"]

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs" / "benchmarks.json"


def size(text: str) -> tuple[int, int]:
    side, _, batch = text.partition("x")
    return int(side), int(batch)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and write the page of tables.")
    add = parser.add_argument
    add("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all but study and together if none is named")
    add("--profile", choices=get_args(Profile), default="cpu", help="sizes, rounds and limits (gpu without one: small)")
    add("--sizes", nargs="+", type=size, default=list(SIZES), help="of the epochs, such as 96x16: pixels x batch")
    add("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="those to run on, if installed")
    add("--peers", nargs="*", choices=BACKENDS, help="backends of the plain Keras pipeline")
    add("--rounds", type=int, help="rounds of every job, in place of the profile's")
    add("--limit", type=float, help="seconds of every job, in place of the profile's")
    add("--within", type=float, default=float("inf"), help="seconds of all jobs together")
    add("--output", type=Path, help="the file to write, with the page beside it (docs/benchmarks.json)")
    add("--take", type=Path, help="take in the results of this file, such as another machine's, and measure nothing")
    options = parser.parse_args(given)
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"`part` must be one of {', '.join(PARTS)}. Received: {', '.join(unknown)}.")
    return options


def main(given: Sequence[str] | None = None) -> None:
    """Run the jobs of the command line one after another, and write what each has measured when it has ended."""
    options = arguments(given)
    if options.take:
        output = options.output or PUBLISHED
        results = report.read(output)
        report.merge(results, report.read(options.take))
        report.write(output, results)
        return
    signal.signal(signal.SIGTERM, _terminate)
    began = time.perf_counter()
    machine = look(options.backends)
    gpu = bool(machine.hardware["gpus"])
    profile: Profile = "small" if options.profile == "gpu" and not gpu else options.profile
    # What only shows that everything runs is not published.
    output = options.output or (ROOT / "runs" / "benchmarks.json" if profile == "small" else PUBLISHED)
    print(f"{machine.name}. Backends: {', '.join(machine.backends)}.")
    for backend, reason in machine.missing.items():
        print(f"Without {backend}: {reason}.")
    for backend in machine.without_gpu:
        print(f"{backend} sees no GPU here: its rows are of the CPU.")
    print(f"Profile {profile}, into {output}.", flush=True)
    planned = jobs(
        profile,
        options.parts or DEFAULT_PARTS,
        options.sizes,
        machine.backends,
        gpu=gpu,
        rounds=options.rounds,
        limit=options.limit,
        peers=options.peers,
    )
    for job in planned:
        run_job(job, machine, output, options.within - (time.perf_counter() - began))
    print(f"{time.perf_counter() - began:.0f} s in all.")


def run_job(job: Job, machine: Machine, output: Path, left: float) -> None:
    """Run a job, and write its rows, those of one that was stopped too.

    Args:
        job: The job.
        machine: Where it runs.
        output: File of results.
        left: Seconds that are left of the whole run.
    """
    latest: dict[tuple[str, str], Row] = {}  # A part may yield a row again, after further rounds.

    def add(line: str) -> None:
        row = Row.of(json.loads(line))
        latest[row.what, row.against] = row

    others = [busy_cores()]
    limit = min(job.limit, left)
    interruption: BaseException | None = None
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        environment = {"KERAS_BACKEND": job.settings.backend, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        environment |= SHARED_GPU
        # A job's own temporary files go with it, also when it is killed.
        environment["TMPDIR"] = folder
        if limit > 0:
            command = [sys.executable, "-m", "benchmarks.job", job.part, job.settings.to_json()]
            began = time.perf_counter()
            try:
                seconds, status = limits.run(command, limit, log, environment, add)
            except (KeyboardInterrupt, SystemExit) as error:
                interruption, seconds, status = error, time.perf_counter() - began, None
        else:
            seconds, status = 0.0, None
        if interruption is not None:
            ended = f"interrupted after {seconds:.0f} s"
        elif status is None:
            ended = f"stopped after {seconds:.0f} s" if limit > 0 else "not run: no time was left"
        else:
            ended = "complete" if status == 0 else f"failed: {last_line(log)}"
    rows = list(latest.values())
    if interruption is None:
        others.append(busy_cores())
    busy = max((cores for cores in others if cores is not None), default=None)
    print(f"{job.name}: {ended}, {seconds:.0f} s" + (f"; others used {busy:.1f} cores" if busy else ""))
    for row in rows:
        figure = "not measured" if row.quartiles is None else "{:.4g} [{:.4g}, {:.4g}]".format(*_median_first(row))
        goal = "" if row.at_most is None else f"  goal {row.at_most:g}: {row.met or '-'}"
        print(f"    {row.what}  /  {row.against}: {figure} {row.unit}{goal}  {row.note}".rstrip(), flush=True)
    if rows or interruption is None:
        results = report.read(output)
        report.keep(results, machine, job.name, rows, ended=ended, seconds=seconds, backends=job.backends, busy=busy)
        report.write(output, results)
    if interruption is not None:
        raise interruption


def _median_first(row: Row) -> tuple[float, float, float]:
    assert row.quartiles is not None
    lower, median, upper = row.quartiles
    return median, lower, upper


def _terminate(*_: object) -> NoReturn:
    """End as after Ctrl-C, so that the job that runs is killed."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
