"""The results of all machines in one file of JSON, and the page of tables that is written from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import BACKENDS, Machine
from benchmarks.plan import PARTS
from benchmarks.rows import Row

__all__ = ["keep", "merge", "page", "read", "write"]

Results = dict[str, dict[str, Any]]

QUIET = 0.15  # The share of all cores that others may use without being named.

INTRODUCTION = """# Benchmarks

Written by `make bench` and `make bench-gpu`; the numbers are in [{json}]({json}). Each section is of one machine.

Every figure is **ours over the other's**, so below 1 is ahead: the median over the rounds, and its quartiles in
brackets. In each round both have a turn, in random order, while the other waits, so that other load on the machine
affects both alike. A goal is held against the median; "within the spread" says that only the lower quartile meets it.
Rows with one round have no spread.

- *Step* and *update*: a small dense network (32-64-64-10, batch 32, SGD with momentum), whose step is mostly overhead;
  each row is a `fit` of its own, all in one process, and a turn is an epoch.
- *Epoch of fine-tuning*: `examples/finetune_ants_bees.py` with its default settings but for size and batch, training
  and validation with all input; ResNet-50, images of ants and bees. "PyTorch tutorial's loop" is that of the
  transfer-learning tutorial as published, with its four workers, on a ResNet-50. "Plain Keras" is
  `image_dataset_from_directory`, a random flip, `keras.applications.ResNet50` and `fit`. Each is a process, and a turn
  is an epoch. *Start to the end of the first epoch*: the first turn, from the start of the process, a new one in each
  round.
- *Ensemble*: `SnapshotEnsemble.predict`, which reads and checks its members' files, over `predict` of models that Keras
  loads from the same files, and of models that are in memory.
"""


def read(path: Path) -> Results:
    """The sections of a file by the machine's name; none if there is no file."""
    return json.loads(path.read_text())["machines"] if path.is_file() else {}


def keep(
    results: Results,
    machine: Machine,
    job: str,
    rows: list[Row],
    *,
    ended: str,
    seconds: float,
    backends: tuple[str, ...],
    busy: float | None = None,
) -> None:
    """Put the rows of a job into the machine's section, in place of those of an earlier run of the same job.

    Args:
        results: By machine; changed in place.
        machine: Where they were measured.
        job: Name of the job, such as `"epoch 96x16"`.
        rows: What it has measured.
        ended: `"complete"`, or how it ended otherwise.
        seconds: Its duration.
        backends: Whose versions matter to it.
        busy: Cores that other processes used before or after it, whichever is more; None if unknown.
    """
    others = [name for name in BACKENDS if name not in backends]
    versions = {name: version for name, version in machine.versions.items() if name not in others}
    section = results.setdefault(machine.name, {"hardware": machine.hardware, "jobs": {}})
    section["jobs"][job] = {
        "ended": ended,
        "seconds": round(seconds, 1),
        "busy": busy,
        "versions": versions,
        # As a mapping without what is empty.
        "rows": [{name: value for name, value in vars(row).items() if value not in (None, "")} for row in rows],
    }


def merge(results: Results, others: Results) -> None:
    """Take the jobs of another file: in place of the same jobs of the same machine, beside all others."""
    for name, section in others.items():
        mine = results.setdefault(name, {"hardware": section["hardware"], "jobs": {}})
        mine["jobs"] |= section["jobs"]


def write(path: Path, results: Results) -> None:
    """Write the file of JSON and the page beside it, each at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, text in (
        (path, json.dumps({"machines": results}, indent=1, ensure_ascii=False) + "\n"),
        (path.with_suffix(".md"), page(results, path.name)),
    ):
        temporary = file.with_name(f".{file.name}.part")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, file)


def page(results: Results, name: str = "benchmarks.json") -> str:
    """The page: a section with one table for each machine."""
    lines = [INTRODUCTION.format(json=name)]
    for machine, section in results.items():
        lines += [f"## {machine}", "", *_table(section["jobs"]), "", *_versions(section), ""]
    return "\n".join(lines)


def order(job: str) -> tuple[int, str]:
    """Where the rows of a job stand in the table: as in the list of parts, whatever was run last."""
    part = job.partition(" ")[0]
    return (PARTS.index(part) if part in PARTS else len(PARTS), job)


def _table(jobs: Mapping[str, Any]) -> Iterator[str]:
    yield "| what | against | ours / theirs | ratio | rounds | goal | met | remark |"
    yield "|---|---|---:|---:|---:|---:|---|---|"
    for name in sorted(jobs, key=order):
        for values in jobs[name]["rows"]:
            row = Row.of(values)
            times = f"{row.ours} / {row.theirs}" if row.ours else ""
            goal = "" if row.at_most is None else f"≤ {row.at_most:g} {row.unit}".rstrip()
            met = f"**{row.met}**" if row.met == "no" else row.met
            cells = (row.what, row.against, times, _ratio(row), str(row.rounds or ""), goal, met, row.note)
            yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
        if jobs[name]["ended"] != "complete":
            yield f"| `{name}` | | | | | | **no** | {jobs[name]['ended'].replace('|', '/')} |"


def _ratio(row: Row) -> str:
    if row.quartiles is None:
        return "not measured"
    lower, median, upper = (number(value, row.unit) for value in row.quartiles)
    return median if row.rounds == 1 else f"{median} [{lower}, {upper}]"


def number(value: float, unit: str = "") -> str:
    """A ratio, to three decimals or to two digits; or a difference with its unit."""
    if unit:
        return f"{value:.1f} {unit}"
    if abs(value) >= 0.1:
        return f"{value:.3f}"
    return f"{value:.2g}"


def _versions(section: Mapping[str, Any]) -> Iterator[str]:
    """A line for each set of versions, with the jobs that it holds for; whether the machine was quiet; the time."""
    jobs = section["jobs"]
    merged: list[tuple[dict[str, str], list[str]]] = []
    for name in sorted(jobs, key=order):
        versions = jobs[name]["versions"]
        for known, names in merged:
            if all(known.get(package, version) == version for package, version in versions.items()):
                known |= versions
                names.append(name)
                break
        else:
            merged.append((dict(versions), [name]))
    for versions, names in merged:
        whose = "Versions" if len(merged) == 1 else f"Versions for {', '.join(names)}"
        yield f"{whose}: {', '.join(f'{package} {version}' for package, version in versions.items())}."
    cores = section["hardware"]["cores"]
    if disturbed := [name for name in sorted(jobs, key=order) if (jobs[name].get("busy") or 0) > QUIET * cores]:
        most = max(jobs[name]["busy"] for name in disturbed)
        yield ""
        yield f"**Not quiet:** other processes used up to {most:.1f} of {cores} cores beside {', '.join(disturbed)}."
        yield ""
    minutes = sum(job["seconds"] for job in jobs.values()) / 60
    if minutes:
        yield f"Measured in {minutes:.0f} minutes."
