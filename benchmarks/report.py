"""Ratios of interleaved times, and docs/benchmarks.md made from them."""

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

Made by `make bench`; the numbers are in [benchmarks.json](benchmarks.json). `KERAS_BACKEND=jax make bench`
adds that backend.

A small dense network (32-64-64-10, batch 32, SGD with momentum), whose step is mostly overhead: what the learning rate
costs shows here or nowhere. Every row is a `fit` of its own, all in one process, taking turns by the epoch in random
order. A ratio is that of two epochs of one round; given are its median over the rounds and, in brackets, its quartiles.
"Constant rate again" is the same as the first row: it shows what the measurement resolves. CPU time is that of all
threads of the process; what else the machine does disturbs it less than the clock.

Bounds: SGDR at most 1.03 times a constant rate, and 1.10 times with 50 batches an execution. Per-batch assignment with
50 batches an execution is cheap because it is wrong: it sets one rate for all 50.
"""


def ratios(seconds: Mapping[str, Sequence[Seconds]], baseline: str, steps: int) -> dict[str, dict[str, Any]]:
    """Quartiles of each runner's ratio to the baseline, round by round.

    Args:
        seconds: By name, what each round's epoch took.
        baseline: Name of the runner to compare with.
        steps: Batches in an epoch.

    Returns:
        By name: number of `rounds`; and for `wall` and `cpu` time the median `microseconds` a step, and of the ratio
        the `lower` quartile, the `median` and the `upper` quartile.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, own in seconds.items():
        rows[name] = {"rounds": len(own)}
        for clock in Seconds._fields:
            times, base = (np.array([getattr(one, clock) for one in all_]) for all_ in (own, seconds[baseline]))
            lower, median, upper = (round(float(value), 4) for value in np.quantile(times / base, [0.25, 0.5, 0.75]))
            microseconds = round(1e6 * float(np.median(times)) / steps, 1)
            rows[name][clock] = {"microseconds": microseconds, "lower": lower, "median": median, "upper": upper}
    return rows


def write(results: Mapping[int, Mapping[str, Mapping[str, Any]]], steps: Mapping[int, int]) -> None:
    """Write `docs/benchmarks.json`, in which other backends' numbers stay, and `docs/benchmarks.md` from it.

    Args:
        results: By batches an execution, what `ratios` returned.
        steps: By batches an execution, batches in an epoch.
    """
    path = DOCS / "benchmarks.json"
    measured = json.loads(path.read_text()) if path.is_file() else {}
    found = environment()
    measured[found["backend"]] = {
        **found,
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
            f"Batches an execution: {execution} ({rounds} rounds of {epoch} batches).",
            "",
            "| learning rate | µs a step | ratio to constant | CPU µs a step | ratio to constant |",
            "|---|---:|---:|---:|---:|",
        ]
        for name, row in case["rows"].items():
            lines.append(f"| {name} | {' | '.join(_cells(row[clock]) for clock in Seconds._fields)} |")
    return "\n".join(lines) + "\n"


def _cells(numbers: Mapping[str, float]) -> str:
    spread = f"{numbers['median']:.3f} [{numbers['lower']:.3f}, {numbers['upper']:.3f}]"
    return f"{numbers['microseconds']:.0f} | {spread}"
