"""Tries to break the package: `python -m faults --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks import limits
from benchmarks.machine import BACKENDS, look
from benchmarks.turns import last_line
from faults import report
from faults.trials import Settings, Trials

__all__ = ["JOBS", "Job", "main"]

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs" / "reliability.json"


class Job(NamedTuple):
    """A part on a backend, in a process of its own.

    Attributes:
        part: Module of `faults.parts`.
        backend: Of Keras.
        limit: Seconds after which it is stopped.
    """

    part: str
    backend: str
    limit: float


# Those that take longest first, so that two at a time end together. On PyTorch nothing is compiled, so what does not
# depend on the backend is tried there.
JOBS = (
    *(Job("kills", backend, 900) for backend in BACKENDS),
    *(Job("soak", backend, 600) for backend in BACKENDS),
    Job("study_kills", "torch", 300),
    Job("arguments", "torch", 600),
    Job("reference_arguments", "torch", 300),
    Job("weight_files", "torch", 600),
    Job("other_files", "torch", 600),
    Job("images", "torch", 300),
    Job("commands", "torch", 300),
    Job("full_disk", "torch", 300),
    Job("two_writers", "torch", 600),
    Job("clusters", "torch", 600),
)


def main(given: Sequence[str] | None = None) -> int:
    """Run the jobs, print what was tried, and write the page.

    Returns:
        0 if there was no fault.
    """
    parser = argparse.ArgumentParser(prog="python -m faults", description="Try to break the package.")
    add = parser.add_argument
    parts = sorted({job.part for job in JOBS})
    add("parts", nargs="*", metavar="part", help=f"of {', '.join(parts)}; all if none is named")
    add("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="those to run on, if installed")
    add("--short", action="store_true", help="a tenth or so of the trials, and no page")
    add("--seed", type=int, default=0, help="of everything that is random (default: %(default)s)")
    add("--jobs", type=int, default=2, help="parts at a time (default: %(default)s)")
    add("--output", type=Path, help="the file to write, with the page beside it (docs/reliability.json)")
    options = parser.parse_args(given)
    if unknown := [part for part in options.parts if part not in parts]:
        parser.error(f"`part` must be one of {', '.join(parts)}. Received: {', '.join(unknown)}.")
    if options.jobs < 1:
        parser.error(f"`--jobs` must be a positive integer. Received: {options.jobs}.")
    began = time.perf_counter()
    machine = look(options.backends)
    chosen = [job for job in JOBS if job.part in (options.parts or parts) and job.backend in machine.backends]
    found: dict[Job, list[Trials]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for job, trials in pool.map(lambda job: (job, run_job(job, options.seed, options.short)), chosen):
            found[job] = trials
    output = options.output or (None if options.short else PUBLISHED)
    if output is not None:
        made = {f"{job.part} {job.backend}": trials for job, trials in found.items()}
        report.write(output, machine, made, options.seed)
    count = sum(len(each.faults) for trials in found.values() for each in trials)
    tried = sum(each.tried for trials in found.values() for each in trials)
    print(f"{tried} trials, {count} faults, {time.perf_counter() - began:.0f} s in all.")
    return 1 if count else 0


def run_job(job: Job, seed: int, short: bool) -> list[Trials]:
    """Run a job. That it was stopped or failed is a fault too."""
    trials: list[Trials] = []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        environment = {"KERAS_BACKEND": job.backend, "TMPDIR": folder, "TF_CPP_MIN_LOG_LEVEL": "3"}
        # One thread, since jobs share the cores, and others would not be there in a fork.
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
        settings = json.dumps(dataclasses.astuple(Settings(job.backend, seed, short)))
        command = [sys.executable, "-m", "faults.job", job.part, settings]
        ended = limits.run(command, job.limit, log, environment, lambda line: trials.append(Trials(**json.loads(line))))
        if ended.status != 0:
            name = f"{job.part}, {job.backend}"
            words = f"stopped after {ended.seconds:.0f} s" if ended.status is None else f"failed: {last_line(log)}"
            trials.append(Trials(f"The part {job.part}", job.backend, 1, faults=[("hung", name, words)]))
    for each in trials:
        where = f" ({each.backend})" if each.backend else ""
        note = f" {each.note}" if each.note else ""
        print(f"{each.what}{where}: {each.tried} tried, {each.refused} refused, {len(each.faults)} faults.{note}")
        for fault in each.faults:
            print(f"    {' | '.join(fault)}")
    print(f"  {job.part} on {job.backend}: {ended.seconds:.0f} s", flush=True)
    return trials


if __name__ == "__main__":
    sys.exit(main())
