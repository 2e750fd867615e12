"""Ratios of interleaved times, and docs/benchmarks.md, which is written from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.race import Seconds
from keras_sgdr.environment import environment

__all__ = ["ratios", "write"]

DOCS = Path(__file__).resolve().parents[1] / "docs"

INTRODUCTION = """# What a step costs

Written by `make bench`; the numbers are in [benchmarks.json](benchmarks.json). `KERAS_BACKEND=jax make bench`
adds that backend.

A small dense network (32-64-64-10, batch 32, SGD with momentum), whose step is mostly overhead: the cost of setting the
learning rate shows here or nowhere. Every row is a `fit` of its own, all in one process, taking turns epoch by epoch in
random order. A ratio is that of two epochs of one round; the table has its median over the rounds and, in brackets, its
quartiles. "Constant rate again" repeats the first row: it shows the resolution of the measurement. CPU time is that of
all threads of the process; other load on the machine disturbs it less than wall time.

Bounds: SGDR at most 1.03 times a constant rate, and 1.10 times with 50 batches per execution; SGDRSchedule at most 1.05
times. Per-batch assignment with 50 batches per execution is cheap because it is wrong: it sets one rate for all 50.
"""


def ratios(seconds: Mapping[str, Sequence[Seconds]], baseline: str, steps: int) -> dict[str, dict[str, Any]]:
    """Quartiles of each runner's ratio to the baseline, round by round.

    Args:
        seconds: By name, the duration of each round's epoch.
        baseline: Name of the runner to compare with.
        steps: Batches in an epoch.

    Returns:
        By name: number of `rounds`; and for `wall` and `cpu` time the median `microseconds` per step, and the `lower`
        quartile, the `median` and the `upper` quartile of the ratio.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, epochs in seconds.items():
        rows[name] = {"rounds": len(epochs)}
        for place, clock in enumerate(Seconds._fields):
            times, base = np.array(epochs)[:, place], np.array(seconds[baseline])[:, place]
            lower, median, upper = (round(float(value), 4) for value in np.quantile(times / base, [0.25, 0.5, 0.75]))
            microseconds = round(1e6 * float(np.median(times)) / steps, 1)
            rows[name][clock] = {"microseconds": microseconds, "lower": lower, "median": median, "upper": upper}
    return rows


def write(results: Mapping[int, Mapping[str, Mapping[str, Any]]], steps: Mapping[int, int]) -> None:
    """Write `docs/benchmarks.json`, which keeps the numbers of other backends, and `docs/benchmarks.md` from it.

    Args:
        results: By batches per execution, the result of `ratios`.
        steps: By batches per execution, batches in an epoch.
    """
    path = DOCS / "benchmarks.json"
    measured = json.loads(path.read_text()) if path.is_file() else {}
    system = environment()
    measured[system["backend"]] = {
        **system,
        "step_cost": [
            {"steps_per_execution": batches, "steps_per_epoch": steps[batches], "rows": rows}
            for batches, rows in results.items()
        ],
    }
    path.write_text(json.dumps(measured, indent=2) + "\n")
    (DOCS / "benchmarks.md").write_text(INTRODUCTION + "".join(map(_section, measured.values())))


def _section(measured: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    hardware = measured["hardware"]
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    lines = [f"\n## {measured['backend']}", "", f"{versions}; {hardware['cpu']}, {hardware['cores']} cores, {gpus}."]
    for case in measured["step_cost"]:
        execution, epoch = case["steps_per_execution"], case["steps_per_epoch"]
        rounds = next(iter(case["rows"].values()))["rounds"]
        lines += [
            "",
            f"Batches per execution: {execution} ({rounds} rounds of {epoch} batches).",
            "",
            "| learning rate | µs per step | ratio to constant | CPU µs per step | ratio to constant |",
            "|---|---:|---:|---:|---:|",
        ]
        for name, row in case["rows"].items():
            lines.append(f"| {name} | {' | '.join(_cells(row[clock]) for clock in Seconds._fields)} |")
    return "\n".join(lines) + "\n"


def _cells(numbers: Mapping[str, float]) -> str:
    spread = f"{numbers['median']:.3f} [{numbers['lower']:.3f}, {numbers['upper']:.3f}]"
    return f"{numbers['microseconds']:.0f} | {spread}"
