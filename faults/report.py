"""What was tried as a file of JSON, and the tables of the page `docs/reliability.md`, between two marks of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import Machine
from faults.trials import KINDS, Trials

__all__ = ["table", "write"]

BEGIN, END = "<!-- tried -->", "<!-- end of tried -->"


def write(path: Path, machine: Machine, trials: Mapping[str, Sequence[Trials]], seed: int) -> None:
    """Write the file, in which the jobs that were not run keep their trials, and the tables of the page beside it.

    Args:
        path: File of JSON.
        machine: Where it was tried.
        trials: What was tried, by the name of the job.
        seed: Of everything that was random.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text())["trials"] if path.is_file() else {}
    made = {job: [dataclasses.asdict(one) for one in each] for job, each in trials.items()}
    content = {"hardware": machine.hardware, "versions": machine.versions, "seed": seed, "trials": {**kept, **made}}
    path.write_text(json.dumps(content, indent=1) + "\n")
    page = path.with_suffix(".md")
    text = page.read_text() if page.is_file() else f"# Reliability\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(json.loads(path.read_text()))}\n{END}{after}")


def table(content: dict[str, object]) -> str:
    """The tables of a file's content, as Markdown: what was tried, and the faults that were found."""
    trials = [Trials(**entry) for job in content["trials"].values() for entry in job]  # type: ignore[attr-defined]
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())  # type: ignore[attr-defined]
    lines = [
        f"{content['hardware']['cpu']}, {content['hardware']['cores']} cores; {versions}; seed {content['seed']}.",  # type: ignore[index]
        "",
        "| tried | backend | times | refused | faults |  |",
        "|---|---|---:|---:|---:|---|",
        *(
            f"| {each.what} | {each.backend} | {each.tried} | {each.refused} | {len(each.faults)} | {each.note} |"
            for each in trials
        ),
    ]
    faults = [(each, fault) for each in trials for fault in each.faults]
    if not faults:
        kinds = "; ".join(KINDS.values())
        return "\n".join([*lines, "", f"No fault was found. These would be faults: {kinds}."])
    found = [f"- {each.what}, {each.backend}: {kind}, {name}: {words}" for each, (kind, name, words) in faults]
    return "\n".join([*lines, "", f"Faults that were found, {len(faults)}:", "", *found])
